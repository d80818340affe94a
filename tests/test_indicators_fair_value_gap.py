"Fair value gaps (R74) by hand, against a slow second writing, and against smartmoneyconcepts, exactly."
import os
from math import inf, isnan, nan

import numpy as np
import pandas as pd
import pytest
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bars
from perps_kit.core.features import on
from perps_kit.core.unit import ParameterError, fold, same_bits
from perps_kit.data.look import look
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.fair_value_gap import FairValueGap, Gap, GapView, gaps_over

os.environ["SMC_CREDIT"] = "0"     # it prints a banner when imported
from smartmoneyconcepts import smc

NOTHING = GapView(0.0, inf, inf, -inf, -inf, inf, 0.0, inf, inf, inf, 0.0, 0.0, 0.0)


def inputs_of(bars) -> list[tuple]: return list(zip(bars, fold(ATR.of(14), bars)[1], strict=True))


def reach(gap, bar) -> int:
    "How far a bar comes into a gap: 0 not, 1 touched, 2 half, 3 filled."
    middle = 0.5 * (gap["bottom"] + gap["top"])
    if gap["side"] > 0: return sum(bar.low <= price for price in (gap["top"], middle, gap["bottom"]))
    return sum(bar.high >= price for price in (gap["bottom"], middle, gap["top"]))


def slowly(inputs, minimum=0.1, age=100, capacity=32) -> list[tuple]:
    "Rows from the list of all gaps, each with the deepest reach of the bars after it."
    usable = [(bar, atr) for bar, atr in inputs if not isnan(atr)]
    out, gaps, newest = [(nan,) * 13] * (len(inputs) - len(usable)), [], (inf, inf)
    for t, (bar, atr) in enumerate(usable):
        for gap in gaps: gap["state"] = max(gap["state"], reach(gap, bar))
        gaps = [gap for gap in gaps if gap["state"] < 3 and t - gap["known"] < age]
        event = 0
        if t >= 2:
            first, middle = usable[t - 2][0], usable[t - 1][0]
            up = middle.close > middle.open and bar.low > first.high and bar.low - first.high >= minimum * atr
            down = middle.close < middle.open and bar.high < first.low and first.low - bar.high >= minimum * atr
            event = up - down
            if event:
                newest = (first.high, bar.low) if up else (bar.high, first.low)
                gaps = [*gaps, dict(side=event, bottom=newest[0], top=newest[1], known=t, state=0)][-capacity:]
        ups, downs = [gap for gap in gaps if gap["side"] > 0], [gap for gap in gaps if gap["side"] < 0]
        below = max(ups, key=lambda gap: (gap["top"], gap["known"]), default=None)
        above = min(downs, key=lambda gap: (gap["bottom"], -gap["known"]), default=None)
        under = [below[x] for x in ("top", "bottom", "known", "state")] if below else [-inf, -inf, -inf, 0]
        over = [above[x] for x in ("bottom", "top", "known", "state")] if above else [inf, inf, -inf, 0]
        under[2], over[2] = t - under[2], t - over[2]
        out.append((event, *newest, *under, *over, len(ups), len(downs)) if t >= 2 else (nan,) * 13)
    return out


@pytest.mark.parametrize("choices", [{}, dict(minimum=0.0), dict(age=5), dict(minimum=0.5, age=1), dict(minimum=0.0, age=400, capacity=4)],
                         ids=str)
@pytest.mark.parametrize("make", [lambda: walk(1), lambda: walk(2, tick=0.5), lambda: real("ETH", 40_000, 1500)],
                         ids=["fine", "ties", "ether"])
def test_as_the_slow_writing(make, choices):
    inputs = inputs_of(make())
    ours = fold(FairValueGap.of(**choices), inputs)[1]
    np.testing.assert_array_equal(ours, slowly(inputs, **choices))
    assert {1.0, -1.0} <= {row.event for row in ours}


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(*[st.integers(1, 8)] * 2, *[st.integers(0, 2)] * 2, st.sampled_from([0.0, 1.0, 20.0])),
                                    max_size=60))
def test_as_the_slow_writing_on_a_coarse_grid(age, cells):
    inputs = [(candle(i, o, max(o, c) + a, min(o, c) - b, c), atr) for i, (o, c, a, b, atr) in enumerate(cells)]
    ours, slow = fold(FairValueGap.of(age=age, capacity=4), inputs)[1], slowly(inputs, age=age, capacity=4)
    np.testing.assert_array_equal(np.array(ours).reshape(-1, 13), np.array(slow, float).reshape(-1, 13))


@pytest.mark.parametrize("make", [lambda: walk(1, 1000), lambda: walk(2, 1000, tick=0.5), lambda: real("BTC", 20_000, 2000),
                                  lambda: real("SOL", 30_000, 2000)], ids=["fine", "ties", "bitcoin", "solana"])
def test_gaps_and_first_touches_are_those_of_smartmoneyconcepts(make):
    "With a least height of 0 and no age: every gap, its edges, and its MitigatedIndex, which is our first touch (0 there: not yet)."
    bars = make()
    frame = pd.DataFrame({name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")})
    theirs = smc.fvg(frame).dropna()
    gaps = gaps_over(FairValueGap.of(minimum=0.0, age=10_000, capacity=512), ((bar, 0.0) for bar in bars))
    assert [(gap.known - 1, gap.side, gap.top, gap.bottom, max(gap.touched, 0)) for gap in gaps] == [*theirs.itertuples(name=None)]
    assert len(gaps) > 80 and all(gap.closed == gap.filled for gap in gaps)


def test_prices_upside_down_give_the_mirror_image():
    bars = walk(6, 700)
    other = Bars.from_columns("DOWN", 15, bars.open_time, 500 - bars.open, 500 - bars.low, 500 - bars.high, 500 - bars.close, bars.volume)
    up, down = (fold(FairValueGap.of(minimum=0.0), [(bar, 1.0) for bar in x])[1] for x in (bars, other))
    for x, y in zip(up[2:], down[2:], strict=True):
        np.testing.assert_allclose([x.event, 500 - x.below_top, 500 - x.below_bottom, x.below_ago, x.below_state, x.bullish],
                                   [-y.event, y.above_bottom, y.above_top, y.above_ago, y.above_state, y.bearish])


class Chart:
    "A hand-driven chart at an ATR of 1."

    def __init__(self, **choices): self.unit, self.i = FairValueGap.of(**choices), 0

    def bar(self, open, high, low, close, atr=1.0) -> GapView:
        self.unit, row = self.unit.update(candle(self.i, open, high, low, close), atr)
        self.i += 1
        return row

    def gap(self, bottom=101.0, top=103.0) -> GapView:
        "A candle without a body, and three that leave a bullish gap; together they leave no other one, nor next to a gap ten below."
        self.bar(bottom - 0.5, bottom, bottom - 7, bottom - 0.5)
        self.bar(bottom - 0.5, bottom, bottom - 1, bottom - 0.2)
        self.bar(bottom - 0.2, top + 1, bottom - 0.3, top + 0.8)
        return self.bar(top + 0.8, top + 1.2, top, top + 1)

    def quiet(self, price, n=1):
        for _ in range(n): row = self.bar(price, price + 0.1, price - 0.1, price)
        return row


def test_a_gap_is_known_with_its_third_candle_and_not_touched_by_it():
    chart = Chart()
    row = chart.gap()
    assert (row.event, row.bottom, row.top, row.below_ago, row.below_state) == (1, 101, 103, 0, 0)
    row = chart.quiet(104)
    assert (row.event, row.bottom, row.top, row.below_ago, row.below_state) == (0, 101, 103, 1, 0)


@pytest.mark.parametrize("low, state", [(103.01, 0), (103.0, 1), (102.01, 1), (102.0, 2), (101.01, 2), (101.0, None), (100.0, None)])
def test_states_at_their_edges(low, state):
    chart = Chart()
    chart.gap()
    row = chart.bar(104, 104.2, low, 104)
    if state is None: assert row == NOTHING._replace(bottom=101, top=103), "filled: it is open no longer"
    else:
        assert (row.below_state, row.bullish) == (state, 1)
        assert chart.quiet(104).below_state == state, "it does not heal"


def test_a_gap_is_forgotten_at_its_age():
    chart = Chart(age=5)
    chart.gap()
    assert chart.quiet(104, 4).below_ago == 4 and chart.quiet(104) == NOTHING._replace(bottom=101, top=103)


def test_the_least_height_is_in_atr_and_included():
    for height, known in ((0.25, True), (0.249, False)):
        chart = Chart(minimum=0.25)
        assert (chart.gap(101, 101 + height).event == 1) is known


def test_a_full_table_lets_go_of_its_oldest():
    chart = Chart(capacity=4)
    for k in range(6): row = chart.gap(101 + 10 * k, 103 + 10 * k)
    edges = chart.unit.table[2, :chart.unit.live].tolist()
    assert row.bullish == 4 and edges == [121, 131, 141, 151]
    assert chart.bar(160, 160, 111, 160).bullish == 0 and not chart.unit.table.any()


def test_of_equal_edges_the_newest_is_the_nearest():
    chart = Chart()
    chart.gap(101, 103)
    chart.bar(104, 104, 102.2, 102.4)       # into the gap, then up and away: another with the same top
    chart.bar(102.4, 104.5, 102.3, 104.4)
    row = chart.bar(104.4, 105, 104.2, 104.8)
    assert (row.event, row.bottom, row.top, row.bullish) == (1, 104, 104.2, 2)
    other = Chart()
    other.gap(101, 103)
    other.bar(103.5, 103.6, 101.9, 102)
    other.bar(102, 102.5, 101.5, 101.6)
    other.bar(101.6, 103.4, 101.4, 103.3)
    row = other.bar(103.3, 104, 103, 103.8)
    assert (row.event, row.bottom, row.top, row.below_bottom, row.below_ago, row.bullish) == (1, 102.5, 103, 102.5, 0, 2)


def test_nothing_is_said_while_warming_up():
    unit = FairValueGap.of()
    for k in range(3):
        unit, row = unit.update(candle(k, 100, 101, 99, 100), nan)
        assert all(map(isnan, row)) and unit.k == 0
    rows = fold(unit, [(candle(k, 100, 100, 100, 100), 1.0) for k in range(4)])[1]
    assert all(map(isnan, rows[1])) and rows[2] == rows[3] == NOTHING


def test_a_small_table_is_compiled_alike():
    pytest.importorskip("numba")
    wish = FairValueGap.wired() | dict(fair_value_gap=on(FairValueGap.of(minimum=0.0, age=400, capacity=4), "bar", "atr"))
    plain, compiled = (look(walk(8, 900), compiled, **wish).fair_value_gap for compiled in (False, True))
    assert same_bits(plain, compiled) and (plain.bullish + plain.bearish == 4).any()


def test_fates_go_on_where_a_unit_has_been_before():
    "What `gaps_over` says does not depend on how many bars the unit has seen."
    inputs = inputs_of(walk(9, 500))
    half, _ = fold(FairValueGap.of(), inputs[:200])
    whole = gaps_over(FairValueGap.of(), inputs)
    later = [Gap(*gap[:3], *(at + 200 if at >= 0 else -1 for at in gap[3:])) for gap in gaps_over(half, inputs[200:])]
    assert later == [gap for gap in whole if gap.known >= 200] and len(later) > 30


def test_gaps_are_filled_no_oftener_than_a_level_as_far_on_the_other_side():
    "What the page says of the years 2024 to 2026, on a part of them."
    bars = real("BTC", 20_000, 20_000)
    rows = np.array(fold(FairValueGap.of(), inputs_of(bars))[1])
    there = here = count = 0
    for t in np.flatnonzero(np.abs(rows[:, 0]) == 1.0):
        if t + 101 > len(bars): break
        side, close = rows[t, 0], bars.close[t]
        distance = side * (close - (rows[t, 1] if side > 0 else rows[t, 2]))
        above, below = bars.high[t + 1:t + 101].max() >= close + distance, bars.low[t + 1:t + 101].min() <= close - distance
        here, there, count = here + (below if side > 0 else above), there + (above if side > 0 else below), count + 1
    assert count > 2500 and 0.84 < here / count < 0.89 and abs(here - there) / count < 0.02


def test_senseless_parameters_are_refused():
    for wrong in (dict(minimum=-0.1), dict(minimum=11), dict(age=0), dict(age=2.5), dict(capacity=3), dict(minimum=nan)):
        (name, value), = wrong.items()
        with pytest.raises(ParameterError, match=f"FairValueGap: {name} = {value}"): FairValueGap.of(**wrong)
