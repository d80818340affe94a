"Pools of liquidity and sweeps (R74; quant_spec A13): by hand, at their limits, and against a slow and literal second writing."
from itertools import pairwise
from math import inf, isnan, nan

import numpy as np
import pytest
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.unit import ParameterError, fold, same_bits
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.liquidity import EQUAL, OF_DAY, OF_WEEK, SINGLE, Pool, pools_of
from perps_kit.indicators.sweep import Sweep, SweepView
from perps_kit.indicators.swings import Swings

DAY, WEEK, HOURS = 86_400_000, 7 * 86_400_000, 3_600_000
SIDES = {1.0: "H", -1.0: "L", 2.0: "HL", -2.0: "LH"}
NONE = (0.0, nan, nan)


class SlowPool:
    "A pool as its members; everything else is worked out when asked."

    def __init__(self, side, members, strong=False, period=""):
        self.side, self.members, self.strong, self.period = side, members, strong, period

    @property
    def kind(self): return {"day": 3, "week": 4}.get(self.period) or (2 if len(self.members) > 1 else 1 if self.strong else 0)

    @property
    def level(self): return max(self.members) if self.side == "H" else min(self.members)

    @property
    def rank(self): return self.kind, len(self.members), self.level if self.side == "H" else -self.level

    def depth(self, bar, atr): return (bar.high - self.level if self.side == "H" else self.level - bar.low) / atr

    def swept(self, bar, atr):
        if not self.kind or self.depth(bar, atr) > 1.5: return False
        if self.side == "H": return bar.high > self.level + 0.05 * atr and bar.close < self.level
        return bar.low < self.level - 0.05 * atr and bar.close > self.level

    def broken(self, bar, atr):
        return bar.close > self.level + 0.25 * atr if self.side == "H" else bar.close < self.level - 0.25 * atr


def whole(bars, length, offset):
    "The bars of the period that ends with the last bar, if all of them are there; None otherwise; False where none ends."
    if (bars[-1].close_time - offset) % length: return False
    begin = bars[-1].close_time - length
    found = [bar for bar in bars[-3000:] if bar.open_time >= begin]
    unbroken = all(a.close_time == b.open_time for a, b in pairwise(found))
    return found if found[0].open_time == begin and unbroken else None


def slow(inputs):
    pools, bars, views, at = [], [], [], []
    for bar, atr, kind, high, low, kind10, high10, low10 in inputs:
        bars.append(bar)
        gone = [p for p in pools if atr > 0 and p.swept(bar, atr)]
        sides = {p.side for p in gone}
        told = max(gone, key=lambda p: p.rank) if len(sides) == 1 else None
        event = (0.0, inf, 0.0, 0.0, 0.0) if told is None else (
            1.0 if told.side == "L" else -1.0, told.level, told.depth(bar, atr), float(len(told.members)), float(told.kind))
        pools = [p for p in pools if not (atr > 0 and (p.swept(bar, atr) or p.broken(bar, atr)))]
        for side in sorted(SIDES.get(kind, "")):
            price = high if side == "H" else low
            fits = [p for p in pools if p.side == side and not p.period and max(*p.members, price) - min(*p.members, price) <= 0.15 * atr]
            if fits: min(fits, key=lambda p: abs(p.level - price)).members.append(price)
            else: pools.append(SlowPool(side, [price]))
        for side in sorted(SIDES.get(kind10, "")):
            price = high10 if side == "H" else low10
            same = [p for p in pools if p.side == side and not p.period and min(p.members) <= price <= max(p.members)]
            if same: same[0].strong = True
            else: pools.append(SlowPool(side, [price], True))
        for period, length, offset in (("day", DAY, 0), ("week", WEEK, 4 * DAY)):
            past = whole(bars, length, offset)
            if past is False: continue
            pools = [p for p in pools if p.period != period]
            if not past: continue
            edges = ("H", max(b.high for b in past)), ("L", min(b.low for b in past))
            pools += [SlowPool(side, [price], period=period) for side, price in edges]
        above = [p for p in pools if p.kind and p.side == "H" and p.level > bar.close]
        below = [p for p in pools if p.kind and p.side == "L" and p.level < bar.close]
        up = max(above, key=lambda p: (-p.level, p.rank), default=None)
        down = max(below, key=lambda p: (p.level, p.rank), default=None)
        ends = [(p.level, float(len(p.members)), float(p.kind)) if p else (none, 0.0, 0.0) for p, none in ((up, inf), (down, -inf))]
        warming = isnan(atr) or isnan(kind) or isnan(kind10)
        views.append(SweepView(*[nan] * 11) if warming else SweepView(*event, *ends[0], *ends[1]))
        at.append(sorted(Pool(1 if p.side == "H" else -1, p.level, min(p.members) if p.side == "H" else max(p.members), NAMED[p.kind],
                              len(p.members), 0) for p in pools if p.kind))
    return views, at


NAMED = {1: "far-seen swing", 2: "equal swings", 3: "day", 4: "week"}


def inputs_of(bars, n=5, far=10) -> list[tuple]:
    "The arguments of `Sweep.update` for every bar."
    swings, majors = fold(Swings.of(n), bars)[1], fold(Swings.of(far), bars)[1]
    return [(bar, atr, s.kind, s.high, s.low, m.kind, m.high, m.low)
            for bar, atr, s, m in zip(bars, fold(ATR.of(14), bars)[1], swings, majors, strict=True)]


def compare(inputs):
    "The unit's views and, bar by bar, its pools; the views."
    views, pools = slow(inputs)
    unit, ours = Sweep.of(capacity=512), []
    for i, row in enumerate(inputs):
        unit, y = unit.update(*row)
        ours.append(y)
        assert same_bits(y, views[i]), f"bar {i}: {y} is not {views[i]}"
        assert sorted(p._replace(born=0) for p in pools_of(unit)) == pools[i], f"bar {i}"
    return ours


@pytest.mark.parametrize("seed, tick, step", [(1, 0.01, 0.4), (2, 0.01, 0.4), (3, 0.25, 0.5)])
def test_as_the_slow_writing_on_walks(seed, tick, step):
    ours = compare(inputs_of(walk(seed, 1500, tick, step), 3, 6))
    events = [y for y in ours if y.event in (1, -1)]
    assert len(events) > 20 and {y.kind for y in events} >= {SINGLE, EQUAL, OF_DAY}
    assert {y.above_kind for y in ours} | {y.below_kind for y in ours} >= {0, SINGLE, EQUAL, OF_DAY, OF_WEEK}


@pytest.mark.parametrize("symbol, start", [("BTC", 28_000), ("SOL", 60_000)])
def test_as_the_slow_writing_on_recorded_candles(symbol, start): compare(inputs_of(real(symbol, start, 1600)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0, 4.0]),
                          *[st.sampled_from([0.0] * 4 + [1.0, -1.0, 2.0, -2.0])] * 2, st.sampled_from([0] * 15 + [1])),
                min_size=60, max_size=120))
def test_as_the_slow_writing_on_anything(cells):
    "Four-hour candles on a coarse grid: levels are met to the tick, days and weeks end, bars are missing, swings come in any order."
    inputs, at = [], 4 * DAY
    for low, reach, close, atr, kind, kind10, missing in cells:
        if missing: at += 4 * HOURS
        o, c, high = 100.0 + low, 100.0 + min(low + close, low + reach), 100.0 + low + reach
        bar = Bar(at, at + 4 * HOURS, o, high, 100.0 + low, c, 1.0)
        inputs.append((bar, atr, kind, high + 0.25, 99.75 + low, kind10, high + 0.25, 99.75 + low))
        at += 4 * HOURS
    compare(inputs)


class Chart:
    "A hand-driven chart with an ATR of 1; its bars are far from midnight unless they say otherwise."

    def __init__(self, **choices): self.unit, self.i, self.seen = Sweep.of(**choices), 0, None

    def bar(self, open, high, low, close, atr=1.0, small=NONE, large=NONE):
        self.unit, self.seen = self.unit.update(candle(self.i % 90 + 1, open, high, low, close), atr, *small, *large)
        self.i += 1
        return self.seen

    def swing(self, side, price, at=None, strong=False, atr=1.0):
        at = price - 4.0 * side if at is None else at
        news = (float(side), price, price)
        return self.bar(at, at, at, at, atr, NONE if strong else news, news if strong else NONE)

    @property
    def pools(self): return [(p.side, p.level, p.kind, p.members) for p in pools_of(self.unit)]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("reach, inside, event, left", [
    (0.05, 0.5, 0, True), (0.0625, 0.5, 1, False), (1.5, 0.5, 1, False), (1.5000001, 0.5, 0, True), (9.0, 0.5, 0, True),
    (0.5, 0.0, 0, True), (0.5, 1e-9, 1, False), (0.5, -0.125, 0, True), (0.5, -0.25, 0, True), (0.5, -0.2500001, 0, False)])
def test_sweep_and_break_at_their_limits(side, reach, inside, event, left):
    "reach 0.05: 128 + 0.05 is what the spec compares with, and the bar's extreme is that very number."
    chart, level = Chart(), 128.0
    chart.swing(side, level, strong=True)
    far, close, start = level + side * reach, level - side * inside, level - side
    y = chart.bar(start, max(start, far, close), min(start, far, close), close)
    assert y.event == -side * event and len(chart.pools) == left
    if event: assert (y.level, y.members, y.kind) == (level, 1, SINGLE) and y.depth == pytest.approx(reach)
    else: assert (y.level, y.depth, y.members, y.kind) == (inf, 0, 0, 0)


def test_a_pool_closed_beyond_but_not_broken_waits_and_is_not_ahead():
    chart = Chart()
    chart.swing(1, 110.0, strong=True)
    chart.swing(1, 104.0, at=100.0, strong=True)
    assert chart.seen.above == 104.0
    y = chart.bar(103.0, 104.5, 103.0, 104.2)
    assert (y.event, y.above) == (0, 110.0) and len(chart.pools) == 2
    y = chart.bar(103.5, 103.8, 103.2, 103.5)               # falls back without having reached beyond in this bar
    assert (y.event, y.above) == (0, 104.0)
    y = chart.bar(103.5, 104.5, 103.0, 103.2)
    assert (y.event, y.level, y.above) == (-1, 104.0, 110.0)


def test_a_pool_is_swept_once():
    chart = Chart()
    chart.swing(-1, 100.0, strong=True)
    assert [chart.bar(101.0, 101.0, 99.5, 101.0).event for _ in range(3)] == [1, 0, 0]


def test_equal_highs_are_those_that_all_lie_within_the_width():
    chart = Chart(equal=0.25)
    for price in (100.0, 100.25, 100.5): chart.swing(1, price, at=90.0)
    assert chart.pools == [(1, 100.25, "equal swings", 2)], "no chain: the third is too far from the first"
    chart.swing(1, 100.375, at=90.0)
    assert chart.pools == [(1, 100.25, "equal swings", 2), (1, 100.5, "equal swings", 2)]
    chart.swing(1, 100.125, at=90.0)
    assert chart.pools[0] == (1, 100.25, "equal swings", 3), "a member within changes neither edge"
    low = Chart()
    low.swing(1, 100.0, at=90.0), low.swing(-1, 100.0, at=110.0)
    assert low.pools == [], "a high and a low are no pair"


def test_the_level_is_the_outermost_member():
    for side in (1, -1):
        chart = Chart()
        for price in (100.0, 100.125, 100.0625): chart.swing(side, price, at=100.0 - 5 * side)
        level = 100.125 if side > 0 else 100.0
        assert chart.pools == [(side, level, "equal swings", 3)] and pools_of(chart.unit)[0].inner == (100.0 if side > 0 else 100.125)


def test_a_swing_of_both_strengths_counts_once():
    chart = Chart()
    chart.swing(1, 100.0)
    assert chart.pools == [] and chart.seen.above == inf, "alone it waits"
    chart.swing(1, 100.0, strong=True)
    assert chart.pools == [(1, 100.0, "far-seen swing", 1)]
    chart.swing(1, 100.1)
    chart.swing(1, 100.1, strong=True)
    assert chart.pools == [(1, 100.1, "equal swings", 2)]


def test_a_waiting_swing_is_not_swept_but_a_close_beyond_ends_its_wait():
    chart = Chart()
    chart.swing(1, 100.0)
    assert chart.bar(99.0, 100.5, 99.0, 99.0).event == 0
    chart.swing(1, 100.125)
    assert chart.pools == [(1, 100.125, "equal swings", 2)]
    other = Chart()
    other.swing(1, 100.0)
    other.bar(99.0, 100.5, 99.0, 100.5)
    other.swing(1, 100.125)
    assert other.pools == []


def test_of_several_swept_pools_the_best_known_is_reported_and_all_are_gone():
    chart = Chart()
    for price in (100.0, 100.5): chart.swing(-1, price, at=105.0, strong=True)
    y = chart.bar(102.0, 102.0, 99.75, 101.0)
    assert (y.event, y.level, y.depth) == (1, 100.0, 0.25) and chart.pools == [], "of equals the outermost"
    for price in (100.0, 100.5, 100.5, 100.25, 100.25, 100.25):
        chart.swing(-1, price, at=105.0, strong=price == 100.0, atr=1e-9)
    y = chart.bar(102.0, 102.0, 99.75, 101.0)
    assert (y.event, y.level, y.members, y.kind) == (1, 100.25, 3, EQUAL) and chart.pools == [], "then most members"


def test_pools_on_both_sides_of_one_bar_are_no_evidence():
    chart = Chart()
    chart.swing(1, 110.0, strong=True), chart.swing(-1, 100.0, at=105.0, strong=True)
    y = chart.bar(105.0, 110.5, 99.5, 105.0)
    assert (y.event, y.level, y.members) == (0, inf, 0) and chart.pools == []
    chart.swing(1, 110.0, strong=True), chart.swing(-1, 100.0, at=105.0, strong=True)
    assert chart.bar(105.0, 112.0, 99.5, 105.0).event == 1, "the one above is reached too deep: no sweep, so nothing speaks against"


def hourly(prices, start=0):
    "Candles of an hour from the given hour on, flat but for their prices (high, low)."
    bars = [Bar((start + i) * HOURS, (start + i + 1) * HOURS, low, high, low, low, 1.0) for i, (high, low) in enumerate(prices)]
    return [(bar, 1.0, *NONE, *NONE) for bar in bars]


def days_of(unit): return sorted((p.side, p.level, p.kind) for p in pools_of(unit))


def test_the_edges_of_a_day_are_known_at_midnight_and_replaced_at_the_next():
    prices = [(110.0, 100.0)] + [(106.0, 102.0)] * 22 + [(104.0, 101.0)] + [(108.0, 103.0)] * 24
    unit, views = fold(Sweep.of(), hourly(prices))
    assert (views[22].above, views[23].above, views[23].above_kind) == (inf, 110.0, OF_DAY) and views[23].below == 100.0
    assert days_of(unit) == [(-1, 103.0, "day"), (1, 108.0, "day")]


def test_a_day_not_seen_from_its_beginning_or_with_a_hole_gives_no_pool():
    assert days_of(fold(Sweep.of(), hourly([(110.0, 100.0)] * 23, start=1))[0]) == []
    holed = hourly([(110.0, 100.0)] * 24)
    del holed[5]
    assert days_of(fold(Sweep.of(), holed)[0]) == []
    second = hourly([(108.0, 103.0)] * 24, start=24)
    assert days_of(fold(Sweep.of(), holed + second)[0]) == [(-1, 103.0, "day"), (1, 108.0, "day")]
    holed_later = hourly([(110.0, 100.0)] * 24) + second[:3] + second[4:]
    assert days_of(fold(Sweep.of(), holed_later)[0]) == [], "the day before yesterday is not yesterday"


def test_a_week_is_from_monday_to_monday():
    "1 January 1970 was a Thursday: the first whole week begins with hour 96."
    low_then_high = [(110.0, 100.0)] * 96 + [(106.0, 101.0)] * (7 * 24) + [(105.0, 103.0)]
    unit, views = fold(Sweep.of(), hourly(low_then_high))
    assert {p.kind for p in pools_of(fold(Sweep.of(), hourly(low_then_high[:263]))[0])} == {"day"}
    assert days_of(unit) == [(-1, 101.0, "day"), (-1, 101.0, "week"), (1, 106.0, "day"), (1, 106.0, "week")]
    assert (views[263].above, views[263].above_kind) == (106.0, OF_WEEK), "at one level the week is named first"
    unit, y = unit.update(Bar(265 * HOURS, 266 * HOURS, 105.0, 106.5, 105.0, 105.0, 1.0), 1.0, *NONE, *NONE)
    assert (y.event, y.level, y.kind, y.members) == (-1, 106.0, OF_WEEK, 1) and days_of(unit) == [(-1, 101.0, "day"), (-1, 101.0, "week")]


def test_daily_candles_are_whole_days():
    bars = [Bar(i * DAY, (i + 1) * DAY, 100.0, 101.0 + i, 99.0 - i, 100.0, 1.0) for i in range(11)]
    unit, _ = fold(Sweep.of(), [(bar, 1.0, *NONE, *NONE) for bar in bars])
    assert days_of(unit) == [(-1, 89.0, "day"), (-1, 89.0, "week"), (1, 111.0, "day"), (1, 111.0, "week")]


def test_nothing_is_said_while_warming_up_but_days_are_counted():
    rows = [(bar, nan, nan, nan, nan, nan, nan, nan) for bar, *_ in hourly([(110.0, 100.0)] * 24)]
    unit, views = fold(Sweep.of(), rows)
    assert all(isnan(x) for y in views for x in y) and days_of(unit) == [(-1, 100.0, "day"), (1, 110.0, "day")]
    bar = hourly([(105.0, 104.0)], 24)[0][0]
    for row in [(nan, *NONE, *NONE), (1.0, nan, nan, nan, *NONE), (1.0, *NONE, nan, nan, nan)]:
        assert all(map(isnan, unit.update(bar, *row)[1]))
    seen = unit.update(bar, 1.0, *NONE, *NONE)[1]
    assert (seen.above, seen.below) == (110.0, 100.0)


def test_an_atr_of_zero_judges_nothing():
    chart = Chart()
    chart.swing(1, 100.0, strong=True)
    y = chart.bar(99.0, 101.0, 99.0, 99.0, atr=0.0)
    assert (y.event, y.above) == (0, 100.0)
    assert chart.bar(99.0, 103.0, 99.0, 102.0, atr=0.0).event == 0 and len(chart.pools) == 1


def test_flat_candles_give_a_day_of_one_price_and_no_event():
    unit, views = fold(Sweep.of(), inputs_of([candle(i, 50, 50, 50, 50, 0) for i in range(200)]))
    assert days_of(unit) == [(-1, 50.0, "day"), (1, 50.0, "day")] and {y.event for y in views[20:]} == {0.0}
    assert {(y.above, y.below) for y in views[20:]} == {(inf, -inf)}, "a level at the close is not ahead of it"


def test_a_full_table_lets_go_of_what_is_farthest_from_the_close():
    chart = Chart(capacity=8)
    for k in range(8): chart.swing(1, 110.0 + 5 * k, at=100.0, strong=True)
    chart.swing(-1, 99.0, at=100.0, strong=True)
    assert [level for _, level, *_ in chart.pools] == [110.0, 115.0, 120.0, 125.0, 130.0, 135.0, 140.0, 99.0]


def test_a_smaller_table_misses_little():
    inputs = inputs_of(walk(7, 3000))
    small, large = (fold(Sweep.of(capacity=c), inputs)[1] for c in (128, 512))
    assert np.mean([a.event == b.event for a, b in zip(small[25:], large[25:], strict=True)]) > 0.999


@pytest.mark.parametrize("wrong", [dict(equal=-0.1), dict(least=-1), dict(most=0), dict(through=6), dict(capacity=4)], ids=str)
def test_senseless_parameters_are_refused_by_name(wrong):
    (name, value), = wrong.items()
    with pytest.raises(ParameterError, match=f"Sweep: {name} = {value} is outside"): Sweep.of(**wrong)


def test_wired_over_candles_and_over_hours():
    from perps_kit.data.look import look
    bars = walk(4, 4000)
    for minutes, swings in ((0, 5), (60, 3)):
        features = Sweep.wired(minutes)
        assert features["swings"].unit.n == swings and features["majors"].unit.n == 10
        seen = look(bars, **features).sweep
        assert (seen.event == 1).any() and (seen.event == -1).any()
        known = ~np.isnan(seen.event)
        assert (seen.above[known] > bars.close[known]).all() or minutes, "ahead of the close of its own bar"
