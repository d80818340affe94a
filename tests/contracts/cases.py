"""What the contracts are held against: every registered unit with plausible inputs, every registered strategy, candles.

A unit gets its inputs from the strategies that use it, wired as they wire it. One that no strategy uses is fed as its own `wired()`
says, or with bars or closes if that is all that it takes; otherwise MAKERS has to say how.
"""
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
from fixtures.candles import real, walk

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.features import Feature, Plan, plan_of
from perps_kit.core.registry import Entry, entries, strategies, units, wiring
from perps_kit.core.resample import Resample
from perps_kit.core.signal import Signal, no_signal
from perps_kit.core.stream import Step, Stream
from perps_kit.core.unit import dumps, make, output_fields
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.book_imbalance import BookImbalance
from perps_kit.indicators.cvd import TradeCVD
from perps_kit.indicators.excursion import Excursion
from perps_kit.indicators.fear_greed import FearGreed
from perps_kit.indicators.funding_rate import FundingRate
from perps_kit.indicators.long_short_ratio import LongShortRatio
from perps_kit.indicators.open_interest import OpenInterest
from perps_kit.indicators.trade_flow import TradeFlow
from perps_kit.strategies.order_flow import OrderFlow
from perps_kit.trackers.ladder import Ladder

LONGEST = 800       # inputs of a unit


@cache
def candles(series: str) -> Bars:
    "A series by name; recorded ones skip the test where they are not at hand."
    if series == "recorded": return with_takers(real("SOL", 30_000, 7000))
    if series == "ties": return with_takers(walk(2, 5000, tick=0.5, step=0.5))
    return sample_bars("SOLUSDT")[:7000]


def with_takers(bars: Bars) -> Bars:
    "The series with a made-up share of taker buys, lost for two bars, so that order flow has something to read and to lose."
    bought = bars.volume * np.random.default_rng(len(bars)).beta(8.0, 8.0, len(bars))
    bought[300:302] = np.nan
    return replace(bars, taker_buy=bought)


SERIES = ("sample", "recorded", "ties")


class Case(NamedTuple):
    "A fresh unit and the arguments of its updates."
    unit: Any
    inputs: list[tuple]


def ladder(bars: list[Bar]) -> Case:
    "A long with a far stop, and funding now and then."
    first = bars[0].close
    paid = [(0.0001 * bar.open if k % 32 == 0 else 0.0, 0.00005 * bar.open if k % 50 == 7 else 0.0) for k, bar in enumerate(bars)]
    return Case(Ladder.of(1, first, 0.94 * first, 0.004 * first, tick=0.01), [(bar, *two) for bar, two in zip(bars, paid, strict=True)])


def excursion(bars: list[Bar]) -> Case:
    "A long that ends three quarters through, and bars fed too many."
    end, atr = 3 * len(bars) // 4, max(bars[0].high - bars[0].low, 0.001 * bars[0].open)
    rows = [(bar, 0.5 * (bar.low + bar.close) if k == end else float("nan")) for k, bar in enumerate(bars)]
    return Case(Excursion.of(1, bars[0].open, 1.5 * atr), rows)


def trades(bars: list[Bar]) -> list[tuple]:
    "Time, price, quantity, buyer is maker; some late by up to ten seconds, some silence, and ticks of the clock without a trade."
    rng = np.random.default_rng(len(bars))
    wait = np.where(rng.random(len(bars)) < 0.02, 90_000.0, rng.exponential(400.0, len(bars)))
    times = np.floor(1.7e12 + np.cumsum(wait) - np.where(rng.random(len(bars)) < 0.1, 10_000.0 * rng.random(len(bars)), 0.0)).tolist()
    ticks, makers = (rng.random(len(bars)) < 0.1).tolist(), (rng.random(len(bars)) < 0.5).tolist()
    rows = zip(times, bars, ticks, makers, strict=True)
    return [(t, bar.close, 0.0 if tick else bar.volume, float(maker)) for t, bar, tick, maker in rows]


def checks(bars: list[Bar]) -> list[tuple]:
    "Checks of book, trades and candles that lean for a while, some with something missing."
    rows = []
    for k, bar in enumerate(bars):
        lean = 0.5 if k // 7 % 2 else -0.5
        push, wall = lean * (0.3 + bar.volume % 1.0), bar.close - 2.0 * lean * (bar.high - bar.low + 0.01)
        walls = (wall, inf) if lean > 0 else (-inf, wall)
        row = (bar.close, 0.0001 * (k % 9), lean, push, *walls, 0.004 * bar.close, 2.0 * push * 100.0, 40.0, bar.close - lean, lean, lean)
        rows.append(tuple(nan if (k + j) % 97 == 13 else x for j, x in enumerate(row)))
    return rows


def books(bars: list[Bar]) -> Case:
    "Snapshots of a book, now and then absent, crossed, stale or with nothing near the price."
    rows = []
    for k, bar in enumerate(bars):
        gap, bids, asks = 0.0001 * bar.close, bar.volume * (bar.close - bar.low), bar.volume * (bar.high - bar.close)
        row = (bar.close - gap, bar.close + gap, bids, asks, 2500.0 if k % 97 > 90 else 40.0)
        if k % 71 == 30: row = (row[1], row[0], *row[2:])
        if k % 53 == 20: row = (*row[:2], 0.0, 0.0, row[4])
        rows.append((float("nan"),) * 5 if k % 50 == 20 else row)
    return Case(BookImbalance.of(), rows)


def hourly(bars: list[Bar]) -> list[tuple]:
    "Hour by hour, some missing, some repeated, some without a number."
    rows = []
    for k, bar in enumerate(bars):
        if k % 61 == 40: continue
        time = 1.7e12 + 3_600_000.0 * (k - 1 if k % 83 == 50 else k)
        rows.append((time, float("nan") if k % 37 == 20 else 0.0 if k % 89 == 30 else 1000.0 * bar.close))
    return rows


def rates(bars: list[Bar]) -> list[tuple]:
    "Settlements of changing intervals, some extreme, some unknown."
    rents = [float("nan") if k % 41 == 20 else 0.02 * (bar.close / bar.open - 1.0) for k, bar in enumerate(bars)]
    return [(rent, 0.0 if k % 97 == 50 else (8.0, 4.0, 1.0)[k // 50 % 3]) for k, rent in enumerate(rents)]


def moods(bars: list[Bar]) -> list[tuple]:
    "Whole numbers around 0 to 100, some beyond, and some that are not whole."
    return [(float((int(bar.volume) + k) % 104 - 2) + 0.5 * (k % 9 == 4),) for k, bar in enumerate(bars)]


MAKERS: dict[type, Callable[[list[Bar]], Case]] = {
    TradeFlow: lambda bars: Case(TradeFlow.of(), trades(bars)),
    TradeCVD: lambda bars: Case(TradeCVD.of(), [(quantity, maker) for _, _, quantity, maker in trades(bars)]),
    Resample: lambda bars: Case(Resample(60, 15), [(bar,) for bar in bars]),
    Ladder: ladder,
    Excursion: excursion,
    BookImbalance: books,
    OrderFlow: lambda bars: Case(OrderFlow.of(), checks(bars)),
    FundingRate: lambda bars: Case(FundingRate.of(), rates(bars)),
    OpenInterest: lambda bars: Case(OpenInterest.of(), hourly(bars)),
    LongShortRatio: lambda bars: Case(LongShortRatio.of(), [(bar.high / bar.close - 1.02 * (k % 53 == 9),) for k, bar in enumerate(bars)]),
    FearGreed: lambda bars: Case(FearGreed.of(), moods(bars)),
}


class Looker(NamedTuple):
    "Looks at features and never speaks, so that a stream steps them."
    wishes: tuple[tuple[str, Feature], ...]

    minutes, modes, filters, parts, spacing = 15, (), (), tuple, {}

    def features(self) -> dict[str, Feature]: return dict(self.wishes)

    def decide(self, now: Any, was: Any) -> Signal: return no_signal(())


def fed(entry: Entry, minutes: int = 0) -> dict[str, Feature] | None:
    "How a unit is fed from candles; None for one that has a maker of its own."
    return None if entry.cls in MAKERS else wiring(entry.cls, minutes)


def fed_from_candles() -> list[Entry]:
    "The indicators that can be looked at over candles."
    return [e for e in units() if e.kind == "indicator" and fed(e)]


@cache
def chosen(name: str) -> Any:
    "A strategy with its default parameters."
    return make(strategies()[name])


def base_of(name: str) -> int:
    "The candles that a strategy is tried on, in minutes: quarter hours, or its own where those are shorter."
    return min(15, chosen(name).minutes)


@cache
def candles_for(name: str, series: str) -> Bars:
    "A series as a strategy takes it: the prices of quarter hours may stand for minutes, and the walk goes further in each."
    bars, minutes = candles(series), base_of(name)
    if minutes == bars.minutes: return bars
    if series == "ties": bars = with_takers(walk(2, 5000, tick=0.5, step=1.5))
    return replace(bars, minutes=minutes, open_time=bars.open_time[0] + 60_000 * minutes * np.arange(len(bars)))


@cache
def plan(name: str) -> Plan: return plan_of({name: chosen(name)}, base_of(name))


def labels(name: str) -> dict[str, int]:
    "A strategy's features by name, each node once."
    return {f"{name}.{c.name}": c.node for c in reversed(plan(name).columns[name])}


def case_names() -> list[str]:
    "Names of all cases: `strategy.feature`, or the name of a unit that no strategy uses."
    wired: dict[tuple[type, str], str] = {}     # each unit once for every set of parameters
    for name in strategies():
        for label, node in labels(name).items():
            unit = plan(name).nodes[node].unit
            if unit.warmup() < LONGEST: wired.setdefault((type(unit), dumps(unit)), label)
    used = {type(node.unit) for name in strategies() for node in plan(name).nodes}
    return [*wired.values()] + [e.name for e in units() if e.cls not in used and (e.cls in MAKERS or fed(e))]


def uncovered() -> list[Entry]:
    "Registered units without a case."
    used = {type(node.unit) for name in strategies() for node in plan(name).nodes}
    return [e for e in units() if e.cls not in used and e.cls not in MAKERS and not fed(e)]


@cache
def case(name: str, series: str) -> Case:
    "A case by name over a series; whoever folds the unit takes a copy first."
    strategy, _, _ = name.partition(".")
    if strategy in strategies(): return lived(strategy, series).cases[labels(strategy)[name]]
    entry = next(e for e in entries() if e.name == name)
    if entry.cls in MAKERS: return MAKERS[entry.cls](list(candles(series)[:LONGEST]))
    features = fed(entry)
    assert features
    return stepped({"look": Looker(tuple(features.items()))}, candles(series)[:LONGEST]).cases[-1]


class Spy:
    "A unit that writes down what it is fed with."

    def __init__(self, unit: Any): self.unit, self.inputs = unit, []

    def update(self, *args: Any) -> tuple["Spy", Any]:
        if len(self.inputs) < LONGEST: self.inputs.append(args)
        self.unit, y = self.unit.update(*args)
        return self, y


class Lived(NamedTuple):
    "A strategy stepped over a series, and what was seen on the way."
    steps: list[Step]
    values: list[np.ndarray]    # of each node, (fields, n), as `Columns.held` gives them
    cases: list[Case]           # of each node


@cache
def lived(name: str, series: str) -> Lived:
    "The stream of a strategy over all of a series, plain Python."
    return stepped({name: chosen(name)}, candles_for(name, series))


def stepped(strategies: dict[str, Any], bars: Bars) -> Lived:
    stream = Stream(strategies, "TEST", bars.minutes)
    spies = stream.units = [Spy(unit) for unit in stream.units]
    values = [np.full((len(output_fields(type(node.unit))), len(bars)), np.nan) for node in stream.plan.nodes]
    steps = []
    for i, bar in enumerate(bars):
        steps += stream.accept(bar)
        for column, y in zip(values, stream.values, strict=True): column[:, i] = y
    return Lived(steps, values, [Case(node.unit, spy.inputs) for node, spy in zip(stream.plan.nodes, spies, strict=True)])
