"Walk-forward: what chooses has not seen what is reported, and each trade counts once, by its entry."

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.backtest.equity import day_ends
from perps_kit.backtest.ledger import Ledger
from perps_kit.backtest.overfitting import overfitting
from perps_kit.backtest.run import backtest
from perps_kit.backtest.search import axes_of, grid
from perps_kit.backtest.walk_forward import Fold, Lives, Part, Pick, Plan, by_day, pick, picture, walk_forward, yearly
from perps_kit.core.clock import DAY, HOUR
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.strategies.ema_scalper import EmaScalper

SYMBOLS = ("BTCUSDT", "SOLUSDT", "XRPUSDT")
BARS = {s: sample_bars(s) for s in SYMBOLS}
PAID = {s: sample_funding(s) for s in SYMBOLS}
SETS = grid(axes_of(EmaScalper, dict(fast="7,9,12", surge="0.8,1.2")))
PLAN = Plan(train=80, test=25, step=25, least=8)


@pytest.fixture(scope="module")
def run():
    return walk_forward(EmaScalper, SETS, BARS, PAID, plan=PLAN, ledger=Ledger("off"))


def test_the_usual_folds():
    found = Plan().folds(0, 300 * DAY)
    assert [tuple(round(x / DAY) for x in f) for f in found] == [(0, 180, 183, 213), (30, 210, 213, 243), (60, 240, 243, 273)]


@given(st.floats(1, 60), st.floats(1, 30), st.floats(0, 30), st.floats(0, 5), st.integers(0, 10**12), st.integers(100, 500))
def test_folds_never_see_their_tests_and_tests_never_overlap(train, test, more, embargo, begin, days):
    plan = Plan(train, test, test + more, embargo)
    found = plan.folds(begin, begin + days * DAY)
    for f in found:
        assert f.end - f.begin == round(train * DAY) and f.test_begin - f.end == round(embargo * DAY) and f.test_end <= begin + days * DAY
    assert all(a.test_end <= b.test_begin for a, b in pairwise(found))
    assert found[-1].test_end + round((test + more) * DAY) > begin + days * DAY or found[-1].test_end == begin + days * DAY


@pytest.mark.parametrize(("plan", "told"), [(Plan(), "take more candles"), (Plan(30, 20, 10), "count twice"), (Plan(0, 5, 5), "positive"),
                                            (Plan(10, 5, 5, -1), "positive")])
def test_plans_that_cannot_be_are_told(plan, told):
    with pytest.raises(ValueError, match=told): plan.folds(0, 90 * DAY)


def lives(*rows: tuple[float, float, float]) -> Lives:
    return Lives(np.array([round(a * DAY) for a, _, _ in rows], np.int64), np.array([round(b * DAY) for _, b, _ in rows], np.int64),
                 np.array([r for _, _, r in rows]))


def test_a_trade_belongs_to_the_fold_of_its_entry_and_runs_on():
    fold = Fold(0, 10 * DAY, 13 * DAY, 20 * DAY)
    one = lives((0, 1, 1.0), (9.99, 12.9, 2.0), (10, 11, 50.0), (12.9, 14, 60.0), (13, 14, 0.5), (19.99, 23, 0.25), (20, 21, 70.0))
    assert pick([one], fold, 1) == Pick(fold, 0, Part(2, 3.0, 1.5), Part(2, 0.75, 0.375))


def test_what_ends_after_the_test_has_begun_teaches_nothing():
    fold = Fold(0, 10 * DAY, 13 * DAY, 20 * DAY)
    assert pick([lives((1, 2, 1.0), (9, 13, 99.0))], fold, 1).train == Part(1, 1.0, 1.0)


def test_the_choice_is_the_highest_expectancy_among_those_with_enough_trades():
    fold = Fold(0, 10 * DAY, 13 * DAY, 20 * DAY)
    few, many, worse = lives((1, 2, 9.0)), lives((1, 2, 1.0), (2, 3, 1.0)), lives((1, 2, 0.5), (2, 3, 0.5))
    assert pick([few, worse, many], fold, 2).set == 2 and pick([few, worse, many], fold, 1).set == 0
    assert pick([many, many], fold, 2).set == 0 and pick([few], fold, 2).set == -1


def test_the_efficiency_compares_years():
    a = Pick(Fold(0, 100 * DAY, 103 * DAY, 113 * DAY), 0, Part(10, 20.0, 2.0), Part(1, 1.0, 1.0))
    b = Pick(Fold(10 * DAY, 110 * DAY, 113 * DAY, 123 * DAY), 1, Part(10, 30.0, 3.0), Part(1, 2.0, 2.0))
    none = Pick(Fold(20 * DAY, 120 * DAY, 123 * DAY, 133 * DAY), -1, Part(0, 0.0, np.nan), Part(0, 0.0, np.nan))
    assert yearly([a, b, none]) == pytest.approx((3 / 20) / (50 / 200))
    assert np.isnan(yearly([none])) and np.isnan(yearly([])) and np.isnan(yearly([a._replace(train=Part(5, -1.0, -0.2))]))


def trades_of(given: dict) -> pd.DataFrame:
    "Every trade of a set in one backtest over everything."
    found = backtest(EmaScalper(**given), BARS, funding=PAID).outcomes
    return pd.DataFrame([(o.entry_time, o.exit_time, o.net_r) for o in found], columns=["entry", "exit", "r"])


def test_the_whole_agrees_with_backtests_sorted_by_pandas(run):
    every, total = [trades_of(given) for given in SETS], 0.0
    assert sum(p.set >= 0 for p in run.picks) >= 3
    for p in run.picks:
        f = p.fold
        scored = [t[(t.entry >= f.begin) & (t.entry < f.end) & (t.exit < f.test_begin)].r for t in every]
        fit = {k: r.mean() for k, r in enumerate(scored) if len(r) >= PLAN.least}
        if not fit:
            assert p.set == -1
            continue
        assert p.set == max(fit, key=lambda k: fit[k]) and p.train.trades == len(scored[p.set])
        test = every[p.set][(every[p.set].entry >= f.test_begin) & (every[p.set].entry < f.test_end)].r
        assert p.test.trades == len(test) and p.test.total_r == pytest.approx(test.sum(), abs=1e-12)
        total += test.sum()
    assert run.page.trades.n == sum(p.test.trades for p in run.picks) > 10 and run.page.trades.total_r == pytest.approx(total)
    assert (run.page.curve.equity[-1] - run.page.capital) / 100 == pytest.approx(total)
    assert run.page.begin == run.picks[0].fold.test_begin


def test_the_future_changes_no_earlier_choice(run):
    cut = run.picks[1].fold.test_begin
    past = {s: b[b.close_time <= run.picks[1].fold.test_end] for s, b in BARS.items()}
    again = walk_forward(EmaScalper, SETS, past, PAID, plan=PLAN, ledger=Ledger("off"))
    assert [(p.set, p.train) for p in again.picks] == [(p.set, p.train) for p in run.picks[:2]]
    assert again.picks[0] == run.picks[0] and cut > again.picks[0].fold.end


def test_overfitting_is_measured_on_all_sets(run):
    days = day_ends(int(BARS["BTCUSDT"].open_time[0]), int(BARS["BTCUSDT"].close_time[-1]))
    every = [trades_of(given) for given in SETS]
    daily = np.zeros((len(days), len(SETS)))
    for k, t in enumerate(every):
        for exit, r in zip(t.exit, t.r): daily[np.searchsorted(days, exit), k] += r
    assert run.overfitting == overfitting(daily).probability
    said = any("overfitted with" in line for line in run.case.objections)
    assert said == (run.overfitting > 0.2) and not any("not measured" in line or "in sample" in line for line in run.case.objections)


def test_r_by_day_is_that_of_the_exit():
    days = day_ends(0, 5 * DAY)
    one = Lives(np.array([0, 0, 0]), np.array([DAY, DAY + 1, 5 * DAY + HOUR]), np.array([1.0, 2.0, 4.0]))
    assert by_day(one, days).tolist() == [1.0, 2.0, 0.0, 0.0, 4.0]


def test_workers_change_nothing_and_every_set_is_a_trial(run, tmp_path):
    ledger = Ledger(tmp_path / "x.db")
    two = walk_forward(EmaScalper, SETS, BARS, PAID, plan=PLAN, ledger=ledger, workers=2)
    assert two.picks == run.picks and two.page.curve.equity.tobytes() == run.page.curve.equity.tobytes()
    assert ledger.count() == len(SETS) + 1 == two.case.trials
    joined = ledger.trials()[-1]
    assert joined.kind == "walkforward" and joined.metrics["trades"] == two.page.trades.n and joined.begin == two.page.begin
    walk_forward(EmaScalper, SETS, BARS, PAID, plan=PLAN, ledger=ledger, workers=1)
    assert ledger.count() == len(SETS) + 1                       # the same again is no new trial
    walk_forward(EmaScalper, SETS, BARS, PAID, plan=PLAN._replace(train=60), ledger=ledger)
    assert ledger.count() == len(SETS) + 2                       # the sets are known, the plan is new


def test_a_fold_without_enough_trades_sits_out_and_nothing_is_divided_by_nothing(recwarn):
    found = walk_forward(EmaScalper, SETS[:2], BARS, PAID, plan=PLAN._replace(least=10**6), ledger=Ledger("off"))
    assert all(p.set == -1 for p in found.picks) and found.page.trades.n == 0 and np.isnan(found.efficiency)
    assert found.rows[0]["chosen"] is None and found.case.label == "unproven" and not recwarn.list
    assert picture(found) and picture(found).renderers
