"The figures behind the job notebooks, against scipy, statsmodels and what can be counted by hand."

from itertools import pairwise
from math import isclose, isnan, nan

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from perps_kit.backtest.splits import Fold
from perps_kit.backtest.statistics import Interval
from perps_kit.backtest.walk_forward import Part, Pick
from perps_kit.core.clock import DAY, HOUR
from perps_kit.data.funding import Funding
from perps_kit.data.sample import sample_bars
from perps_kit.storage.candles import CandleStore, same
from perps_kit.strategies.ema_scalper import EmaScalper
from runners.errors import ConfigError
from runners.jobs.catalog import extras_of
from runners.jobs.drift import drift, edges_of, ks, psi
from runners.jobs.funding import extremes, interval, rates
from runners.jobs.market import NONE, listed, market
from runners.jobs.record import keep
from runners.jobs.refit import KEEP, PROPOSAL, class_of, decide, known, sets_of, written
from runners.jobs.scan import moved
from runners.jobs.weekly import Comparison, Difference, Life, by_strategy, compare, mean_difference, remarks, share_difference

VALUES = st.lists(st.integers(-20, 20).map(lambda x: x / 4), min_size=1, max_size=60)


@limits(deadline=None)
@given(VALUES, VALUES)
def test_the_distance_is_that_of_scipy(a, b):
    scipy_stats = pytest.importorskip("scipy.stats")
    assert isclose(ks(np.array(a), np.array(b)), scipy_stats.ks_2samp(a, b, method="asymp").statistic, abs_tol=1e-12)


def test_chance_is_about_what_scipy_says_of_continuous_values():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.3, 0.6):
        a, b = rng.normal(shift, 1, 60), rng.normal(0, 1, 150)
        assert abs(drift(a, b).ks_chance - scipy_stats.ks_2samp(a, b).pvalue) < 0.03


def test_drift_is_seen_where_there_is_one_and_chance_is_even_where_there_is_none():
    rng = np.random.default_rng(1)
    far = drift(rng.normal(1.0, 1, 80), rng.normal(0, 1, 200), draws=500)
    assert far.ks_chance < 0.01 and far.psi_chance < 0.01 and far.psi > 0.25
    chances = np.array([drift(rng.normal(0, 1, 40), rng.normal(0, 1, 100), draws=99)[4:] for _ in range(150)])
    assert (abs((chances < 0.2).mean(0) - 0.2) < 0.1).all()


@limits(max_examples=50, deadline=None)
@given(VALUES, VALUES)
def test_the_stability_index_is_its_formula(a, b):
    x, y = np.array(a), np.array(b)
    edges = edges_of(y)
    assert (np.diff(edges) > 0).all() and psi(y, y, edges) == 0
    bounds = [-np.inf, *edges, np.inf]
    shares = [
        [(sum(low < v <= high for v in side) + 0.5) / (len(side) + 0.5 * (len(edges) + 1)) for low, high in pairwise(bounds)]
        for side in (a, b)
    ]
    assert isclose(psi(x, y, edges), sum((p - q) * np.log(p / q) for p, q in zip(*shares)), abs_tol=1e-12)


def test_too_few_values_give_no_verdict_and_bad_ones_are_refused():
    few = drift(np.arange(19.0), np.arange(100.0))
    assert (few.recent, few.past) == (19, 100) and all(isnan(x) for x in few[2:])
    with pytest.raises(ValueError, match="finite"):
        drift(np.array([nan] * 30), np.arange(30.0))


@limits(deadline=None)
@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_shares_differ_within_the_interval_of_statsmodels(k1, n1, k2, n2):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    k1, k2 = min(k1, n1), min(k2, n2)
    found = share_difference([True] * k1 + [False] * (n1 - k1), [True] * k2 + [False] * (n2 - k2))
    low, high = proportion.confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff")
    assert isclose(found.interval.low, low, abs_tol=1e-9) and isclose(found.interval.high, high, abs_tol=1e-9)
    assert isclose(found.value, k1 / n1 - k2 / n2, abs_tol=1e-12)


def test_means_differ_by_an_interval_that_covers():
    rng, hits = np.random.default_rng(5), 0
    for _ in range(100):
        found = mean_difference(rng.normal(0.3, 1, 60), rng.normal(0, 1.5, 90))
        hits += found.interval.low <= 0.3 <= found.interval.high
    assert 88 <= hits <= 100
    assert isnan(mean_difference([1.0] * 9, [0.0] * 50).interval.low) and mean_difference([1.0] * 9, [0.0] * 50).value == 1.0
    assert isnan(mean_difference([], [1.0]).value) and isnan(share_difference([], [True]).value)


def life(id: str, r: float = nan, strategy: str = "a") -> Life:
    return Life(id, strategy, "BTCUSDT", 1, 0, 70.0, nan, 100.0, r, r)


def test_signals_are_matched_by_their_names():
    live, test = [life("1", 1.0), life("2", -1.0), life("3"), life("4", 0.5, "b")], [life("1", 0.8), life("3", 2.0), life("5", 1.0)]
    found = compare("all", live, test)
    assert [x.id for x in found.only_live] == ["2", "4"] and [x.id for x in found.only_test] == ["5"]
    assert [(a.id, b.id) for a, b in found.both] == [("1", "1")] and isclose(found.expectancy.live, 0.5 / 3)
    assert [c.name for c in by_strategy(live, test)] == ["a", "b"] and len(by_strategy(live, test)[1].test) == 0


def test_what_stands_out_is_said_and_nothing_else():
    calm = Difference(0.1, 0.1, 0.0, Interval(-0.2, 0.2))
    whole = Comparison("all", [], [], [], [], [], calm, calm, Interval(nan, nan))
    assert remarks(whole, [whole], [], {}, [], True) == []
    same = [(life(str(k), 0.1 * k), life(str(k), 0.1 * k - 1e-9)) for k in range(20)]
    assert remarks(compare("all", *map(list, zip(*same))), [compare("a", *map(list, zip(*same)))], [], {}, [], True) == []
    loud = Comparison("x", [], [], [], [], [life("9")], Difference(0.1, 0.5, -0.4, Interval(-0.7, -0.1)), calm, Interval(nan, nan))
    rng = np.random.default_rng(2)
    gone = drift(rng.normal(3, 1, 50), rng.normal(0, 1, 50))
    said = remarks(loud, [loud], [0.1] * 12, {("x", "score"): gone}, [], True)
    assert len(said) == 4 and "expectancy differs" in said[1] and "R worse" in said[2] and "drifted" in said[3]
    assert "not stored" in remarks(whole, [], [], {}, [], False)[0]


def funding(values, every: int = 8) -> Funding:
    return Funding.of("BTCUSDT", np.arange(len(values)) * every * HOUR, values)


def test_rates_a_year_and_the_next_settlement():
    four = rates(funding([0.0001] * 30 + [0.0002], 4), 31 * 4 * HOUR - 1)
    assert four.every == 4 * HOUR and isclose(four.yearly, 0.0002 * 6 * 365) and four.next_time == 31 * 4 * HOUR and four.percentile == 1.0
    eight = rates(funding([0.0003, -0.0001]), 8 * HOUR)
    assert (
        eight.next_time == 16 * HOUR and isnan(eight.percentile) and isclose(eight.paid, 0.0002) and isclose(eight.week, 0.0001 * 3 * 365)
    )
    late = rates(funding([0.0001, 0.0001]), 40 * HOUR)
    assert late.next_time == 48 * HOUR and interval(funding([0.1])) == 8 * HOUR


def test_extremes_stand_far_out_and_need_a_spread():
    values = np.tile([0.0001, 0.0002, 0.0003], 10)
    values[7] = -0.005
    [found] = extremes(funding(values))
    assert found.time == 7 * 8 * HOUR and found.rate == -0.005 and found.score < -3
    assert extremes(funding([0.0001] * 50)) == [] and extremes(funding(values[:10])) == []


def test_the_move_of_a_day_is_that_of_96_quarters():
    bars = sample_bars("BTCUSDT")
    move, score = moved(bars)
    days = bars.close[::-1][::96][::-1]
    assert isclose(move, bars.close[-1] / bars.close[-97] - 1) and isclose(score, move / np.std((days[1:] / days[:-1] - 1)[:-1], ddof=1))
    assert isnan(moved(bars[:50])[0]) and isnan(moved(bars[:500])[1])


async def test_the_store_alone_or_nothing_gives_its_candles(tmp_path):
    store = CandleStore(tmp_path / "candles")
    nothing = await market(NONE, store, 15)
    assert nothing == ({}, {}, {})
    store.append(sample_bars("SOLUSDT")[:300])
    found = await market(NONE, store, 15, until=int(sample_bars("SOLUSDT").open_time[100]))
    assert list(found.bars) == ["SOLUSDT"] and same(found.bars["SOLUSDT"], sample_bars("SOLUSDT")[:100])
    assert (await market(NONE, store, 15, ["BTCUSDT"])).bars == {} and (await market(NONE, store, 60)).bars == {}
    assert listed("BTCUSDT, ETHUSDT  SOLUSDT,") == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_sets_begin_with_the_present_one_and_vary_what_was_wished():
    sets = sets_of(EmaScalper, "fast=7,9,12 surge=0.8,1.2", 60, 1, dict(surge=0.8))
    assert sets[0] == {**EmaScalper()._asdict(), "surge": 0.8} and len(sets) == 6 == len({str(s) for s in sets})
    assert all({k for k in s if s[k] != sets[0][k]} <= {"fast", "surge"} for s in sets)
    assert len(sets_of(EmaScalper, "", 10, 1, {})) == 11 and len(sets_of(EmaScalper, "fast=5..15", 4, 1, {})) <= 5
    for vary, sentence in (("speed=1", "speed"), ("fast", "fast")):
        with pytest.raises(ConfigError, match=sentence):
            sets_of(EmaScalper, vary, 10, 1, {})
    with pytest.raises(ConfigError, match="unknown strategy"):
        class_of("nope")


class Shown:
    "A walk-forward run as far as a decision looks at it."

    def __init__(self, expectancy: float, *objections: str):
        self.plan = type("Plan", (), dict(least=50, train=180.0))
        self.case = type("Case", (), dict(objections=objections))
        self.page = type("Page", (), dict(trades=type("Trades", (), dict(expectancy=expectancy))))


def picked(set: int, expectancy: float = 0.1) -> Pick:
    return Pick(Fold(0, DAY, DAY, 2 * DAY), set, Part(60, 6.0, 0.1), Part(60, 60 * expectancy, expectancy))


@pytest.mark.parametrize(
    "run, latest, incumbent, verdict, sentence",
    [
        (Shown(0.3, "no 30 days on paper behind it"), picked(2), picked(0, 0.1), PROPOSAL, "30 days on paper"),
        (Shown(0.3), picked(0), picked(0, 0.1), KEEP, "chooses the current parameters again"),
        (Shown(0.3), picked(-1), picked(0, 0.1), KEEP, "no set has 50 trades in the newest 180 days"),
        (Shown(0.1), picked(2), picked(0, 0.1), KEEP, "the current parameters +0.100"),
        (Shown(nan), picked(2), picked(0, 0.1), KEEP, "the current parameters +0.100"),
        (Shown(0.3, "16 trades; 200 are asked for"), picked(2), picked(0, 0.1), KEEP, "16 trades"),
    ],
)
def test_only_what_nothing_speaks_against_is_proposed(run, latest, incumbent, verdict, sentence):
    found, why = decide(run, latest, incumbent)
    assert found == verdict and any(sentence in text for text in why)


def test_a_proposal_is_yaml_without_nan(tmp_path, monkeypatch):
    import yaml

    told = known(dict(a=nan, b=np.float64(1.5), c=[np.int64(3), float("inf")], d=None, e="x"))
    assert told == dict(a=None, b=1.5, c=[3, None], d=None, e="x")
    assert yaml.safe_load(written(told)) == told and written(told).startswith("# Nothing has been applied")
    monkeypatch.setenv("JOB_FOLDER", str(tmp_path))
    assert keep("x.yaml", "one").read_text() == "one" and keep("x.yaml", "two").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


@pytest.mark.parametrize("told", [{"extras": "research"}, {"extras": [1]}, ["research"], {"extras": {"research": True}}])
def test_metadata_that_names_no_extras_is_refused(told):
    book = nbformat.v4.new_notebook(metadata={"perps_kit": told})
    with pytest.raises(ConfigError, match="its metadata should hold"):
        extras_of(book, "toy")
