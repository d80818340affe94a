"The backtest: machine code, plain loops and the service's way make the same trades; locks, conflicts, holes, funding, nothing at all."

import warnings
from dataclasses import replace

import numpy as np
import pytest
from fixtures.candles import QUARTER, walk
from told import BUY, FREELY, LEAVE_LONGS, QUIET, SELL, Told

from perps_kit.backtest.lanes import lanes
from perps_kit.backtest.run import Result, backtest
from perps_kit.backtest.run import walk as walked
from perps_kit.core.bar import Bars
from perps_kit.core.clock import HOUR
from perps_kit.core.signal import SINGLE
from perps_kit.core.stream import Stream
from perps_kit.core.unit import same_bits
from perps_kit.data.funding import Funding, settlements
from perps_kit.data.sample import sample_bars, sample_funding, sample_markets
from perps_kit.data.series import fill_holes
from perps_kit.engine.engine import Engine
from perps_kit.scoring.book import Pipeline
from perps_kit.scoring.context import KEPT, context_features
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.trackers.plan import TARGET_FIRST, Rules

LOOSE = EmaScalper(surge=0.5, rsi_low=0.0, rsi_high=100.0, room=0.0, opens=0, closes=1440, least=0.0)
NAMES = ("BTCUSDT", "SOLUSDT", "XRPUSDT")


def without(bars: Bars, *holes: tuple[int, int]) -> Bars:
    "The bars less those of the holes (first, how many)."
    return bars[~np.isin(np.arange(len(bars)), [i + k for i, n in holes for k in range(n)])]


def stepped(strategies, bars, pipeline=Pipeline(), rules=Rules(), funding=None, ticks=None):
    "Ladders of all signals at the end, and the decisions on clean ones, as the service comes to have them."
    paid, ladders, decisions, minutes = {}, {}, [], next(iter(bars.values())).minutes
    for s in bars:
        whole = fill_holes(bars[s])
        cash = settlements(whole, (funding or {}).get(s))
        rows = zip(whole.open_time.tolist(), whole.close_time.tolist(), cash.at_open.tolist(), cash.inside.tolist())
        paid |= {(s, opened, closed): both for opened, closed, *both in rows}
    if pipeline.leader not in bars: pipeline = pipeline._replace(leader="")
    streams = {s: Stream(strategies, s, minutes, context_features(minutes), KEPT) for s in bars}
    engine = Engine(strategies, pipeline, rules, ticks)
    rows = {s: {bar.close_time: bar for bar in bars[s]} for s in bars}
    for time in sorted(set().union(*rows.values())):
        cycle = engine.cycle(time, {s: streams[s].accept(rows[s][time]) for s in rows if time in rows[s]}, paid)
        decisions += [d for c, d in cycle.decisions if not c.signal.failed]
        ladders |= {p.id: (p.candidate.symbol, p.ladder) for p in cycle.published} | {m.id: (m.symbol, m.after) for m in cycle.moves}
    return {id: x.finish(streams[s].last.close, streams[s].last.close_time) for id, (s, x) in ladders.items()}, decisions


def alike(run: Result, ladders, decisions) -> None:
    found = {t.id: t.ladder for t in run.trades}
    assert found.keys() == ladders.keys()
    for id, ladder in ladders.items(): assert same_bits(found[id], ladder), (found[id], ladder)
    assert [repr(d) for d in run.decisions] == [repr(d) for d in decisions]


@pytest.fixture(scope="module")
def market():
    "Three sample coins with holes of two, three and forty bars, their funding and ticks."
    holes = [(5000, 2), (6000, 3), (6800, 40)]
    bars = {s: without(sample_bars(s)[:11_500], *((i + 50 * k, n) for i, n in holes)) for k, s in enumerate(NAMES)}
    return bars, {s: sample_funding(s) for s in NAMES}, {s: sample_markets()[s].tick for s in NAMES}


def test_three_ways_to_the_same_trades(market):
    bars, funding, ticks = market
    two, pipeline = {"loose": LOOSE, "scalper": EmaScalper()}, Pipeline(weigh=False, minimum=30.0)
    fast = backtest(two, bars, pipeline, funding=funding, ticks=ticks, compiled=True)
    plain = backtest(two, bars, pipeline, funding=funding, ticks=ticks, compiled=False)
    alike(fast, {t.id: t.ladder for t in plain.trades}, plain.decisions)
    alike(fast, *stepped(two, bars, pipeline, Rules(), funding, ticks))
    assert len(fast.trades) > 100 and {d.reason for d in fast.decisions} >= {"", "minimum", "duplicate"}
    assert {t.candidate.strategy for t in fast.trades} == {"loose", "scalper"} and {t.symbol for t in fast.trades} == set(NAMES)


def test_nothing_is_said_on_a_flat_bar_or_before_the_averages_are_back(market):
    bars, funding, ticks = market
    run = backtest(LOOSE, bars, Pipeline(weigh=False, minimum=0.0), funding=funding, ticks=ticks)
    for t in run.trades:
        series = run.bars[t.symbol]
        i = int(np.searchsorted(series.close_time, t.candidate.time))
        hole = int(np.flatnonzero(np.diff(series.open_time) > series.minutes * 60_000)[0]) + 1
        assert not series.synthetic[i] and (4000 <= i + 1 <= hole or i + 1 - hole >= 4000)
        assert t.candidate.origin == int(series.open_time[0 if i < hole else hole])


def random_market(seed: int) -> tuple[dict[str, Bars], dict[str, Funding]]:
    "Walks with told signals at random bars, small and large holes, and funding every eight hours."
    rng, bars, funding = np.random.default_rng(seed), {}, {}
    for k, s in enumerate(("AUSDT", "BUSDT", "CUSDT")):
        one = walk(10 * seed + k, 700)
        words = rng.choice([QUIET, 1001.0, 1002.0, 1003.0, 1004.0, 2001.0, 2002.0], len(one), p=[0.7, 0.06, 0.06, 0.03, 0.03, 0.06, 0.06])
        one = replace(one, symbol=s, volume=words, taker_buy=np.full(len(one), np.nan))
        bars[s] = without(one, *((int(i), int(n)) for i, n in zip(rng.integers(50, 650, 6), rng.choice([1, 2, 3, 4, 9], 6))))
        times = np.arange(8 * HOUR, 700 * QUARTER, 8 * HOUR)
        funding[s] = Funding.of(s, times, rng.normal(0, 1e-4, len(times)), rng.uniform(250, 350, len(times)))
    return bars, funding


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rules", [Rules(), Rules(policy=TARGET_FIRST, patience=3, hold=HOUR)], ids=["default", "hasty"])
def test_whatever_the_candles_say_the_service_would_have_done_the_same(seed, rules):
    bars, funding = random_market(seed)
    two = {"first": Told(), "second": Told(9.0, 1000.0, 1.0)}
    pipeline = Pipeline(weigh=False, near_time=2 * HOUR, lock=5 * HOUR, minimum=0.0, on_opposite=("reject", "close", "flip")[seed % 3])
    ticks = {"AUSDT": 0.01, "BUSDT": 0.1}
    run = backtest(two, bars, pipeline, rules, funding, ticks, compiled=False)
    alike(run, *stepped(two, bars, pipeline, rules, funding, ticks))
    assert len(run.trades) > 60 and {d.reason for d in run.decisions} >= {"", "lock", "duplicate", "cooldown"}
    assert any(d.closes for d in run.decisions) == (pipeline.on_opposite != "reject")


def told(words: dict[int, float], n: int = 40, symbol: str = "BTCUSDT", price: float = 100.0, **moves: float) -> Bars:
    "Calm candles around a price with words in their volumes; b7=3.0 lifts the close of bar 7 by 3."
    close = np.full(n, price)
    for name, by in moves.items(): close[int(name[1:])] += by
    first, volume = np.full(n, price), np.array([words.get(i, QUIET) for i in range(n)])
    high, low = np.maximum(first, close) + 0.1, np.minimum(first, close) - 0.1
    return Bars.from_columns(symbol, 15, QUARTER * np.arange(n), first, high, low, close, volume)


FREE = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0, fee=0.0, target_fee=0.0, patience=0)


def run(bars, pipeline=FREELY, **more) -> Result: return backtest({"told": Told()}, bars, pipeline, FREE, compiled=False, **more)


def reasons(result: Result) -> list[str]: return [d.reason for d in result.decisions]


def test_one_position_a_side_and_the_other_side_waits():
    found = run(told({2: BUY, 5: BUY, 8: SELL}))
    assert reasons(found) == ["", "lock", "conflict"] and found.trades[0].outcome.marked


def test_the_lock_is_free_at_the_close_that_ends_the_trade():
    stopped = told({2: BUY, 6: BUY}, b6=-3.0)               # bar 6 hits the stop at 98 and says buy at its close, 3 lower
    assert reasons(run(stopped)) == ["", ""]
    assert [t.outcome.exit_type for t in run(stopped).trades] == ["SL", "END"]


def test_a_close_decided_frees_the_other_side_at_once_and_its_own_side_when_it_is_done():
    out, wide = {2: BUY, 5: LEAVE_LONGS}, FREELY._replace(near_time=0)
    assert run(told(out)).trades[0].outcome.exit_type == "OPPOSITE"
    assert reasons(run(told(out | {6: BUY}))) == ["", "duplicate"]          # free again, but the same signal within four hours
    assert reasons(run(told(out | {6: BUY}), pipeline=wide)) == ["", ""]
    two = {"told": Told(), "other": Told(9.0, 1000.0)}
    assert [d.reason for d in backtest(two, told({2: BUY, 5: 2002.0}), FREELY, FREE, compiled=False).decisions] == ["", "conflict"]
    assert [d.reason for d in backtest(two, told(out | {6: 2002.0}), FREELY, FREE, compiled=False).decisions] == ["", ""]


def test_a_lock_outlives_no_more_than_its_time():
    ten = FREELY._replace(lock=10 * QUARTER, near_time=0)
    assert reasons(run(told({2: BUY, 12: BUY}), pipeline=ten)) == ["", ""]
    assert reasons(run(told({2: BUY, 11: BUY}), pipeline=ten)) == ["", "lock"]


def test_an_entry_that_opens_beyond_its_stop_is_called_off():
    bars = told({2: BUY}, b2=0.0)
    bars = replace(bars, open=np.where(np.arange(40) == 3, 97.0, bars.open), low=np.where(np.arange(40) == 3, 96.9, bars.low))
    found = run(bars)
    assert found.trades[0].outcome is None and found.outcomes == [] and reasons(found) == [""]


def test_the_last_bar_may_speak_but_nothing_fills():
    found = run(told({39: BUY}))
    assert len(found.trades) == 1 and found.trades[0].outcome is None


def test_funding_is_paid_for_what_was_held_and_missing_series_are_told():
    bars = told({2: BUY}, n=100)                                 # entered at bar 3, settlements at bars 32, 64, 96
    full = Funding.of("BTCUSDT", [8 * HOUR, 16 * HOUR, 24 * HOUR], [1e-4, 2e-4, -1e-4], [100.0, 100.0, 200.0])
    found = run(bars, funding={"BTCUSDT": full})
    assert found.outcomes[0].funding == pytest.approx(-(0.01 + 0.02 - 0.02)) and found.unpaid == {"BTCUSDT": 1}    # due at 0:00, too
    partial = run(bars, funding={"BTCUSDT": full[np.array([True, False, True])]})
    assert partial.outcomes[0].funding == pytest.approx(-(0.01 - 0.02)) and partial.unpaid == {"BTCUSDT": 2}
    assert run(bars).unpaid == run(bars, funding={"ETHUSDT": full}).unpaid == {"BTCUSDT": -1} and run(bars).outcomes[0].funding == 0.0


def test_the_same_again_is_the_same_and_the_order_of_symbols_does_not_matter(market):
    bars, funding, ticks = market
    runs = [{s: bars[s] for s in names} for names in (NAMES, NAMES[::-1])]
    one, two = (backtest(LOOSE, some, Pipeline(weigh=False, minimum=30.0), funding=funding, ticks=ticks) for some in runs)
    alike(one, {t.id: t.ladder for t in two.trades}, two.decisions)
    assert [t.id for t in one.trades] == [t.id for t in two.trades]


def test_prices_lie_on_the_tick(market):
    bars, funding, ticks = market
    for t in backtest(LOOSE, bars, Pipeline(weigh=False, minimum=30.0), funding=funding, ticks=ticks).trades:
        for price in (t.ladder.plan.stop, t.ladder.fills.entry, t.ladder.levels.t1, t.ladder.levels.t3):
            assert price == pytest.approx(round(price / ticks[t.symbol]) * ticks[t.symbol], abs=1e-9)


def test_lanes_are_found_once_and_walked_under_any_rules(market):
    bars, funding, ticks = market
    seen = []
    found = lanes(EmaScalper(), bars, funding, over=lambda symbols: [seen.append(s) or s for s in symbols])
    assert seen == sorted(NAMES)
    for rules in (Rules(), Rules(policy=TARGET_FIRST)):
        direct = backtest(EmaScalper(), bars, rules=rules, funding=funding, ticks=ticks)
        alike(direct, {t.id: t.ladder for t in walked(found, rules=rules, ticks=ticks).trades}, direct.decisions)


def test_exits_may_be_forced():
    found = run(told({2: BUY}, b5=2.2), exits=lambda s: s._replace(preset=SINGLE, t1=1.0))
    assert found.trades[0].outcome.exit_type == "TP1" and found.trades[0].outcome.gross_r == pytest.approx(1.0)


def test_no_candles_no_signals_no_trouble():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bars in (told({}), told({2: BUY})[:0], told({0: BUY})[:1]):
            found = run(bars)
            assert found.trades == [] and found.decisions == [] and found.outcomes == []
