"The parts that the guides' studies share, against statsmodels, scipy, plain loops and processes that are known; and the guides' own links."
import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.research import studies as it

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared/data/binance_usdm_15m"
GUIDES = sorted(ROOT / "nbs/90_guides" / f"{name}.ipynb" for name in (
    "45_portfolio_and_risk", "50_sweeps_on_a_cluster", "60_regimes", "65_funding_seasonality", "70_pairs_and_beta", "75_funding_extremes"))
PARAMS = np.array([0.97, 0.06, 0.05, -0.1, 0.5, 4.0])


def two_moods(n: int, seed: int, params: np.ndarray = PARAMS) -> tuple[np.ndarray, np.ndarray]:
    "Values of the model, and the states that made them."
    rng, state, states = np.random.default_rng(seed), 0, np.zeros(n, int)
    for k in range(n):
        state = int(rng.random() >= (params[0] if state == 0 else params[1]))
        states[k] = state
    return params[2 + states] + rng.normal(size=n) * np.sqrt(params[4 + states]), states


def by_hand(y: np.ndarray, params: np.ndarray) -> np.ndarray:
    "Hamilton's filter, as it stands in the book."
    stay, back, *_ = params
    step = np.array([[stay, back], [1 - stay, 1 - back]])
    storm = (1 - stay) / (1 - stay + back)
    now, out = np.array([1 - storm, storm]), []
    for k, value in enumerate(y):
        ahead = step @ now if k else now
        weight = ahead * np.exp(-((value - params[2:4]) ** 2) / 2 / params[4:6]) / np.sqrt(params[4:6])
        now = weight / weight.sum()
        out.append(now[1])
    return np.array(out)


def test_the_filter_is_hamiltons():
    y, _ = two_moods(500, 1)
    assert np.allclose(it.filtered(y, PARAMS), by_hand(y, PARAMS), atol=1e-10, rtol=0)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(2, 299), seed=st.integers(0, 5), stay=st.floats(0.6, 0.99), back=st.floats(0.02, 0.4), storm=st.floats(1.5, 9.0),
       size=st.floats(-30, 30))
def test_the_future_never_changes_a_filtered_probability(cut, seed, stay, back, storm, size):
    params, (y, _) = np.array([stay, back, 0.0, 0.1, 1.0, storm]), two_moods(300, seed)
    other = y.copy()
    other[cut:] = size
    past = it.filtered(y, params)[:cut]
    assert np.array_equal(past, it.filtered(other, params)[:cut])
    assert np.allclose(past, it.filtered(y[:cut], params), atol=1e-12, rtol=0)


def test_the_future_changes_a_smoothed_one():
    y, _ = two_moods(300, 2)
    calm, wild = y.copy(), y.copy()
    calm[200:], wild[200:] = 0.05, 5.0
    apart = np.abs(it.smoothed(calm, PARAMS) - it.smoothed(wild, PARAMS))[:200]
    assert apart.max() > 0.05 and apart[-1] > apart[100]
    assert np.allclose(it.smoothed(y, PARAMS)[-1], it.filtered(y, PARAMS)[-1], atol=1e-12)      # at the end there is no future


def test_the_calm_state_comes_first_whatever_statsmodels_calls_it():
    y, _ = two_moods(400, 3)
    other = np.array([1 - PARAMS[1], 1 - PARAMS[0], PARAMS[3], PARAMS[2], PARAMS[5], PARAMS[4]])
    assert np.allclose(it.calm_first(other), PARAMS) and np.array_equal(it.calm_first(PARAMS), PARAMS)
    assert np.allclose(it.filtered(y, other), 1 - it.filtered(y, PARAMS), atol=1e-12)


def test_a_known_process_is_found():
    y, states = two_moods(3000, 4)
    params = it.fitted(y[:1500])
    assert abs(params[0] - 0.97) < 0.03 and abs(params[1] - 0.06) < 0.05
    assert params[4:6] == pytest.approx([0.5, 4.0], rel=0.25)
    assert np.mean((it.filtered(y, params) > 0.5)[1500:] == states[1500:]) > 0.9


@pytest.mark.parametrize("seed", [5, 6])
def test_a_fit_is_as_likely_as_that_of_statsmodels(seed):
    y, _ = two_moods(500, seed)
    params = it.fitted(y)
    assert it.moods(y).loglike(params) >= it.moods(y).fit(disp=False).llf - 1e-3
    assert np.allclose(it.fitted(1e-3 * y)[[0, 1]], params[[0, 1]], atol=1e-3)      # a unit of measure is no information


def test_a_schedule_knows_only_its_past():
    y, _ = two_moods(500, 7)
    whole = it.walked(y, 200, 120)
    other = y.copy()
    other[400:] += 5
    assert np.isnan(whole[:200]).all() and not np.isnan(whole[200:]).any()
    assert np.array_equal(it.walked(other, 200, 120)[200:400], whole[200:400])
    assert np.allclose(whole[200:320], it.filtered(y[:320], it.fitted(y[:200]))[200:], atol=1e-12)
    short = it.walked(y, 200, 120, window=150)
    assert np.allclose(short[320:440], it.filtered(y[170:440], it.fitted(y[170:320]))[150:], atol=1e-12)


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: it.fitted(np.arange(10.0)), "too few"), (lambda: it.fitted(np.ones(100)), "do not vary"),
    (lambda: it.filtered(np.array([1.0, np.nan]), PARAMS), "warm-up"), (lambda: it.walked(np.arange(100.0), 10, 5), "begin after 60"),
    (lambda: it.beta_before(np.arange(5.0), np.arange(5.0), 5), "fewer than there are"),
    (lambda: it.seasons(np.arange(30.0), (3, 21)), "no two periods")])
def test_what_cannot_be_answered_is_said(wrong, said):
    with pytest.raises(ValueError, match=said): wrong()


@pytest.mark.parametrize("n", [3, 20, 60])
def test_beta_is_least_squares_over_the_rows_before(n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=90)
    y = 0.3 + 1.7 * x + rng.normal(size=90)
    made = it.beta_before(y, x, n)
    for t in range(90):
        if t < n:
            assert np.isnan(made.beta[t]) and np.isnan(made.error[t])
            continue
        a = np.column_stack([np.ones(n), x[t - n:t]])
        line, left, *_ = np.linalg.lstsq(a, y[t - n:t], rcond=None)
        error = np.sqrt(left[0] / (n - 2) * np.linalg.inv(a.T @ a)[1, 1])
        assert (made.alpha[t], made.beta[t], made.error[t]) == pytest.approx((*line, error), rel=1e-6, abs=1e-8)


def test_a_beta_has_not_seen_its_own_row():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=200), rng.normal(size=200)
    other = y.copy()
    other[120:] = 99.0
    assert np.allclose(it.beta_before(other, x, 30).beta[30:121], it.beta_before(y, x, 30).beta[30:121], atol=1e-9)
    assert abs(it.beta_before(other, x, 30).beta[121] - it.beta_before(y, x, 30).beta[121]) > 0.01


def test_the_half_life_of_a_known_process():
    rng = np.random.default_rng(9)
    for phi in (0.5, 0.9, 0.97):
        z = np.zeros(20_000)
        for k in range(1, len(z)): z[k] = phi * z[k - 1] + rng.normal()
        assert it.half_life(z) == pytest.approx(np.log(0.5) / np.log(phi), rel=0.12)
    assert it.half_life(np.tile([1.0, -1.0], 50)) == 0.0
    assert it.half_life(1.01 ** np.arange(300.0)) == float("inf")


def test_pairs_are_statsmodels_test_and_holms_correction():
    from statsmodels.tsa.stattools import coint
    rng = np.random.default_rng(10)
    walk = np.cumsum(rng.normal(size=(300, 3)), axis=0)
    prices = dict(a=walk[:, 0], b=walk[:, 1], c=walk[:, 2], d=2 * walk[:, 1] + rng.normal(size=300),
                  e=walk[:, 2] + 2 * rng.normal(size=300))
    found = it.pairs(prices)
    assert {(f.y, f.x) for f in found} == set(combinations(prices, 2))
    for f in found: assert f.p == coint(prices[f.y], prices[f.x], autolag="aic")[1]
    worst = 0.0
    for k, f in enumerate(found):
        worst = max(worst, min(1.0, f.p * (len(found) - k)))
        assert f.holm == pytest.approx(worst, rel=1e-9, abs=0)
        assert f.half_life == pytest.approx(it.half_life(prices[f.y] - f.ratio * prices[f.x]))
    assert sum(f.holm < 0.01 for f in found) >= 2
    tied = next(f for f in found if (f.y, f.x) == ("b", "d"))
    assert tied.ratio == pytest.approx(0.5, abs=0.02) and tied.half_life < 1
    assert it.pairs({"a": walk[:, 0]}) == []


def test_a_known_season_is_recovered():
    rng, n = np.random.default_rng(11), 630
    day, week = np.tile([0.5, 0.0, -0.5], n // 3), np.tile(np.repeat([0.2, 0.2, 0.2, 0.2, 0.2, -0.5, -0.5], 3), n // 21)
    y = np.cumsum(rng.normal(0, 0.02, n)) + day + week + rng.normal(0, 0.2, n)
    parts = np.asarray(it.seasons(y, (21, 3)).seasonal)
    assert np.array_equal(parts, np.asarray(it.seasons(y, (3, 21)).seasonal))
    assert np.abs(parts[:, 0] - day).max() < 0.1 and np.corrcoef(parts[:, 1], week)[0, 1] > 0.95
    strong = it.strengths(y, (3, 21))
    assert (strong > 0.5).all() and (it.strengths(it.turned(it.turned(y, 3, rng), 21, rng, 3), (3, 21)) < 0.2).all()


def test_a_rigid_season_is_that_of_statsmodels_without_jumps():
    from statsmodels.tsa.seasonal import MSTL
    rng = np.random.default_rng(12)
    y = np.cumsum(rng.normal(size=420)) + 3 * np.sin(np.arange(420) * 2 * np.pi / 21)
    plain = MSTL(y, periods=(3, 21), windows=(2801, 401), stl_kwargs=dict(seasonal_deg=0)).fit()
    assert np.abs(np.asarray(it.seasons(y, (3, 21)).seasonal) - np.asarray(plain.seasonal)).max() < 0.05 * np.std(plain.seasonal)
    free = MSTL(y, periods=(3, 21)).fit()
    assert np.array_equal(np.asarray(it.seasons(y, (3, 21), rigid=False).seasonal), np.asarray(free.seasonal))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 70), step=st.integers(1, 4), per=st.integers(1, 4), seed=st.integers(0, 9))
def test_turning_keeps_each_period_and_its_order(n, step, per, seed):
    period, y = step * per, np.arange(float(n))
    made = it.turned(y, period, np.random.default_rng(seed), step)
    whole = n // period * period
    assert np.array_equal(made[whole:], y[whole:])
    for a in range(0, whole, period):
        assert any(np.array_equal(made[a:a + period], np.roll(y[a:a + period], -step * k)) for k in range(per))


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=40), n=st.integers(1, 10))
def test_a_rank_is_among_the_values_before(values, n):
    from scipy.stats import percentileofscore
    x = np.array(values, float)
    made = it.rank_before(x, n)
    for t in range(len(x)):
        if t < n: assert np.isnan(made[t])
        else: assert made[t] == pytest.approx(percentileofscore(x[t - n:t], x[t], "mean") / 100)
    for cut in range(len(x)): assert np.array_equal(it.rank_before(x[:cut], n), made[:cut], equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 30), rows=st.lists(st.integers(0, 29), max_size=6), before=st.integers(0, 5), after=st.integers(0, 5))
def test_a_window_is_split_at_its_event(n, rows, before, after):
    y, rows = np.arange(100.0, 100.0 + n), [k for k in rows if k < n]
    made = it.windows(y, np.array(rows, int), before, after)
    assert made.shape == (len(rows), before + after)
    for k, row in zip(rows, made):
        wanted = [y[j] if 0 <= j < n else np.nan for j in range(k + 1 - before, k + after + 1)]
        assert np.array_equal(row, wanted, equal_nan=True)
        if before: assert row[before - 1] == y[k]                       # what was known with the event belongs to the past
        assert all(v != v or v > y[k] for v in row[before:])            # all behind it is later


def test_selection_never_sees_the_windows_future():
    rng = np.random.default_rng(13)
    rate, other = rng.normal(size=400), None
    rows = np.flatnonzero(it.rank_before(rate, 90) > 0.95)
    for k in rows:
        other = rate.copy()
        other[k + 1:] = rng.normal(0, 50, 400 - k - 1)
        again = np.flatnonzero(it.rank_before(other, 90) > 0.95)
        assert np.array_equal(again[again <= k], rows[rows <= k])
    assert len(rows) > 5


@settings(max_examples=60, deadline=None)
@given(times=st.lists(st.integers(0, 200), max_size=15), reach=st.integers(1, 30), seed=st.integers(0, 9))
def test_episodes_are_chains_of_short_gaps(times, reach, seed):
    t = np.array(times, np.int64)
    made = it.episodes(t, reach)
    joined = np.abs(t[:, None] - t[None]) < reach
    for _ in range(len(t)): joined = (joined.astype(int) @ joined.astype(int)) > 0
    assert np.array_equal(made[:, None] == made[None], joined)
    order = np.random.default_rng(seed).permutation(len(t))
    assert np.array_equal(it.episodes(t[order], reach), made[order])


@settings(max_examples=60, deadline=None)
@given(rows=st.sets(st.integers(10, 59), max_size=12), seed=st.integers(0, 99))
def test_a_placebo_keeps_the_gaps_around_the_circle(rows, seed):
    own = np.array(sorted(rows), np.int64)
    made = it.placebo(own, 10, 60, np.random.default_rng(seed))
    assert len(made) == len(own) and ((made >= 10) & (made < 60)).all()
    assert any(set((own - 10 + shift) % 50) == set(made - 10) for shift in range(1, 50))


@pytest.mark.skipif(not REAL.is_dir(), reason="no real market data in ../shared/data")
def test_real_storms_are_seen_before_they_move():
    from perps_kit.core.clock import HOUR
    from perps_kit.storage.candles import load_bars
    bars = load_bars(REAL, ["BTCUSDT"], "15m")["BTCUSDT"]
    y = 100 * np.diff(np.log(bars.close[bars.close_time % (4 * HOUR) == 0]))
    chance = it.filtered(y, it.fitted(y[:1500]))
    assert np.array_equal(it.filtered(y[:2000], it.fitted(y[:1500])), chance[:2000])
    after, storm = np.abs(y[1501:]), chance[1500:-1] > 0.5
    assert 0.05 < storm.mean() < 0.6 and after[storm].mean() > 1.25 * after[~storm].mean()


def cells(page: Path) -> list[dict]: return json.loads(page.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("page", [*GUIDES, ROOT / "nbs/75_research/60_studies.ipynb"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = "".join("".join(c["source"]) for c in cells(page) if c["cell_type"] == "markdown")
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("https://") or (page.parent / link).is_file(), f"{page.name} links to {link}, which is not there"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_teaches_and_exports_nothing(page):
    prose = "".join("".join(c["source"]) + "\n" for c in cells(page) if c["cell_type"] == "markdown")
    code = ["".join(c["source"]) for c in cells(page) if c["cell_type"] == "code"]
    assert re.match(r"# .+\n\n> .+\n\nAt|# .+\n\n> (.+\n)+\nAt the end you will know", prose)
    assert "## Try it yourself" in prose and "## Where next" in prose and "made up" in prose
    assert not any(c.startswith(("#| export", "#| default_exp")) for c in code)
    assert not any("eval: false" in c for c in code)        # JupyterLab and papermill run every cell
    assert sum("assert " in c for c in code) >= 5 and re.search(r"^    .*load_(bars|funding)\(", prose, re.M)
