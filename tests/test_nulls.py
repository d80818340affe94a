"Null tests: the fast lives are those of the backtest, the coin is fair, and what stands on nothing is told so."
import warnings
from math import isnan

import numpy as np
import pytest
from evidence_kit import market, paid
from fixtures.candles import walk as wandering
from told import BUY, FREELY, LEAVE_LONGS, QUIET, SELL, Told

from perps_kit.backtest.lanes import lanes
from perps_kit.backtest.nulls import Coin, Nulls, dearer, entries_of, mean_of, net_r, nulls, picture, random_entries
from perps_kit.backtest.report import report
from perps_kit.backtest.run import backtest, walk
from perps_kit.core.bar import Bars
from perps_kit.core.compiled import have_numba
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.trackers.plan import Rules

needs_numba = pytest.mark.skipif(not have_numba(), reason="numba is not installed")


def told_on(bars, every=12, seed=0):
    "The bars with random orders in their volumes."
    rng, volume = np.random.default_rng(seed), np.full(len(bars), QUIET)
    at = np.arange(40, len(bars) - 40, every)
    volume[at] = rng.choice([BUY, SELL], len(at))
    volume[at + 7] = np.where(rng.random(len(at)) < 0.3, LEAVE_LONGS, QUIET)
    return Bars.from_columns("BTCUSDT", 15, bars.open_time, bars.open, bars.high, bars.low, bars.close, volume)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_numba)])
@pytest.mark.parametrize("rules", [Rules(), Rules(patience=6, progress=0.8, entry_bp=0, fee=0), Rules(hold=3_600_000, trail=0.5, veto=0.9)])
def test_the_fast_lives_are_those_of_the_walk(compiled, rules):
    bars = told_on(wandering(5, 900))
    found = lanes({"told": Told(width=1.5)}, bars, compiled=compiled)
    run = walk(found, FREELY, rules, {"BTCUSDT": 0.01}, compiled)
    e = entries_of(found[0], run.trades, compiled)
    again = net_r(e, e.at, e.shapes, rules, compiled)
    wanted = [t.outcome.net_r if t.outcome else np.nan for t in sorted(run.trades, key=lambda t: t.candidate.time)]
    assert len(again) > 30 and again == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    assert net_r(e, e.at, e.shapes, rules, compiled, alone=True) == pytest.approx(wanted, abs=1e-9, nan_ok=True)


@needs_numba
def test_with_funding_and_holes_and_real_exits_they_are_the_same():
    whole = sample_bars("ETHUSDT")
    bars = whole[np.r_[0:7000, 7100:len(whole)]]                                # a hole that starts everything anew
    found = lanes(EmaScalper(), bars, {"ETHUSDT": sample_funding("ETHUSDT")})
    run = walk(found)
    e = entries_of(found[0], run.trades, True)
    wanted = [t.outcome.net_r if t.outcome else np.nan for t in run.trades]
    assert net_r(e, e.at, e.shapes, run.rules, True) == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    assert len(found[0].starts) == 2 and not np.isin(np.arange(7000, 7050), e.free).any()


@needs_numba
def test_plain_and_compiled_throw_the_same_coins():
    bars = told_on(wandering(3, 700))
    found = lanes({"told": Told()}, bars, compiled=False)
    run = walk(found, FREELY, compiled=False)
    slow, fast = (random_entries(found, run, 5, compiled=c) for c in (False, True))
    assert (slow.random == fast.random).all() and slow.own == fast.own
    assert not (random_entries(found, run, 5, seed=1, compiled=True).random == fast.random).any()


def test_random_entries_keep_sides_stops_and_number():
    bars = told_on(wandering(4, 1500))
    found = lanes({"told": Told()}, bars)
    run = walk(found, FREELY)
    e = entries_of(found[0], run.trades, have_numba())
    assert len(e.at) == len(run.trades) and (e.shapes[:, 0] == [t.side for t in run.trades]).all()
    assert e.shapes[:, 1] * e.unit[e.at] == pytest.approx([abs(t.ladder.plan.reference - t.ladder.plan.stop) for t in run.trades])
    at = np.sort(np.random.default_rng(0).choice(e.free, len(e.at)))
    lived = net_r(e, at, e.shapes, run.rules, have_numba(), alone=True)
    assert np.isfinite(lived).mean() > 0.8 and e.free.min() >= 14


def test_orders_that_fall_into_an_open_position_wait():
    bars = told_on(wandering(4, 1500))
    found = lanes({"told": Told()}, bars)
    e = entries_of(found[0], walk(found, FREELY).trades, have_numba())
    same = np.full(3, e.at[0])
    shapes = np.repeat(e.shapes[:1], 3, axis=0)
    together = net_r(e, same, shapes, Rules(), have_numba())
    waiting = net_r(e, same, shapes, Rules(), have_numba(), alone=True)
    assert together[0] == together[1] == together[2] == waiting[0] and waiting[1] != waiting[0]


@needs_numba
def test_a_worthless_strategy_is_one_coin_among_many():
    shares = []
    for seed in range(12):
        found = lanes({"told": Told()}, told_on(wandering(seed, 3000), seed=seed))
        shares.append(random_entries(found, walk(found, FREELY), 60).better)
    assert 0.2 < np.mean(shares) < 0.8 and min(shares) < 0.4 and max(shares) > 0.6


@needs_numba
def test_an_edge_beats_every_coin_and_its_opposite_loses():
    bars = market(6000, 24, 3.5, 0.5)
    found = lanes({"told": Told()}, bars, paid(bars))
    run = walk(found, FREELY, Rules(patience=0))
    it = nulls(found, run, FREELY)
    assert it.coin.passed and it.coin.better == 0.0 and len(it.coin.random) == 200 and it.flipped < 0 < it.delayed and not it.objections
    assert it.coin.own == pytest.approx(report(run).trades.expectancy)


def test_doubled_costs_are_a_walk_of_their_own():
    assert dearer(Rules()) == Rules(entry_bp=4.0, stop_bp=10.0, close_bp=10.0, fee=0.001, target_fee=0.001)
    assert dearer(Rules(), fees=1.0).fee == Rules().fee
    bars = told_on(wandering(2, 900))
    found = lanes({"told": Told()}, bars, compiled=False)
    run = walk(found, FREELY, compiled=False)
    it = nulls(found, run, FREELY, seeds=3, compiled=False)
    again = backtest({"told": Told()}, bars, FREELY, dearer(Rules()), compiled=False)
    assert it.costly == pytest.approx(np.mean([o.net_r for o in again.outcomes])) and it.costly < it.coin.own


def test_without_trades_there_is_nothing_to_test():
    bars = wandering(1, 300)
    found = lanes({"told": Told()}, bars, compiled=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        it = nulls(found, walk(found, FREELY, compiled=False), FREELY, seeds=3, compiled=False)
        assert isnan(it.coin.own) and isnan(it.coin.bar) and isnan(it.flipped) and it.objections == ("no trades to test against chance",)
        assert not it.coin.passed and isnan(mean_of([])) and isnan(mean_of([np.array([np.nan])]))
    with pytest.raises(ValueError, match="at least one"): random_entries(found, walk(found, FREELY, compiled=False), 0, compiled=False)


def test_each_null_has_its_words():
    coin = Coin(0.1, np.zeros(3), 0.2, 0.5)
    said = " | ".join(Nulls(coin, 0.3, -0.1, float("nan")).objections)
    for text in ("random entries do as well", "opposite side makes money", "one bar late nothing", "twice the costs"): assert text in said
    losing = Nulls(coin._replace(own=-0.1), -0.3, -0.4, -0.5)
    assert len(losing.objections) == 1                                          # what loses anyway need not be told that it loses late


def test_the_picture_holds_every_seed():
    p = picture(Coin(0.1, np.random.default_rng(0).normal(size=50), 1.6, 0.5))
    assert sum(p.renderers[0].data_source.data["top"]) == 50
