"Order blocks (R74) by hand and against a slow second writing; smartmoneyconcepts defines them otherwise and is only looked at."
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
from perps_kit.indicators.order_block import Block, BlockView, OrderBlock, blocks_over

os.environ["SMC_CREDIT"] = "0"     # it prints a banner when imported
from smartmoneyconcepts import smc

NOTHING = BlockView(0.0, inf, inf, 0.0, -inf, -inf, inf, 0.0, inf, inf, inf, 0.0)


def inputs_of(bars) -> list[tuple]:
    "The arguments of `OrderBlock.update` for every bar, as `wired` feeds them."
    seen = look(bars, compiled=False, **OrderBlock.wired())
    return list(zip(bars, seen.atr.tolist(), seen.structure.code.tolist(), seen.swings.high_ago.tolist(), seen.swings.low_ago.tolist(),
                    strict=True))


def slowly(inputs, displacement=1.5, full=0, capacity=32) -> list[tuple]:
    "Rows from the whole past: at each break the candles are searched back to the swing, and all blocks tried against all closes since."
    bars, out, blocks, newest = [x[0] for x in inputs], [], [], (inf, inf, 0.0)
    for t, (bar, atr, code, high_ago, low_ago) in enumerate(inputs):
        side, ago = (1, low_ago) if code > 0 else (-1, high_ago)
        valid = [b for b in blocks if all(side_of(b) * x.close >= side_of(b) * far_of(b) for x in bars[b["known"] + 1:t + 1])]
        event = 0
        if code in (1, 2, -1, -2) and atr > 0 and ago >= 0:
            origin = max(t - int(ago), 0)
            i = next((i for i in range(t - 1, origin - 1, -1) if side * (bars[i].close - bars[i].open) < 0), None)
            if i is not None:
                x = bars[i]
                end, far = (x.high, x.low) if side > 0 else (x.low, x.high)
                near, quality = (end if full else x.open), side * (bar.close - end) / atr
                dead = any(side * y.close < side * far for y in bars[i:t + 1])
                if quality >= displacement and not dead and not any((b["side"], b["made"]) == (side, i) for b in valid):
                    event, newest = side, (min(near, far), max(near, far), quality)
                    valid.append(dict(side=side, bottom=newest[0], top=newest[1], quality=quality, made=i, known=t))
        blocks = valid[-capacity:]
        below = max((b for b in blocks if b["side"] > 0), key=lambda b: (b["top"], b["known"]), default=None)
        above = min((b for b in blocks if b["side"] < 0), key=lambda b: (b["bottom"], -b["known"]), default=None)
        under = (below["top"], below["bottom"], t - below["known"], below["quality"]) if below else (-inf, -inf, inf, 0)
        over = (above["bottom"], above["top"], t - above["known"], above["quality"]) if above else (inf, inf, inf, 0)
        out.append((nan,) * 12 if isnan(atr) or isnan(code) else (event, *newest, *under, *over))
    return out


def side_of(block) -> int: return block["side"]


def far_of(block) -> float: return block["bottom"] if block["side"] > 0 else block["top"]


@pytest.mark.parametrize("choices", [{}, dict(displacement=0.0), dict(displacement=0.5, full=1), dict(displacement=0.0, capacity=4)],
                         ids=str)
@pytest.mark.parametrize("make", [lambda: walk(1, 900), lambda: walk(2, 900, tick=0.5), lambda: real("ETH", 40_000, 1200)],
                         ids=["fine", "ties", "ether"])
def test_as_the_slow_writing(make, choices):
    inputs = inputs_of(make())
    ours = fold(OrderBlock.of(**choices), inputs)[1]
    np.testing.assert_array_equal(ours, slowly(inputs, **choices))
    assert {1.0, -1.0} <= {row.event for row in ours}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1), st.lists(st.tuples(*[st.integers(1, 12)] * 2, *[st.integers(0, 2)] * 2, st.sampled_from([0.0, 0.5, 1.0]),
                                             st.sampled_from([0.0, 0.0, 1.0, 2.0, -1.0, -2.0]), *[st.integers(0, 9)] * 2), max_size=60))
def test_as_the_slow_writing_on_anything(full, cells):
    inputs = [(candle(i, o, max(o, c) + a, min(o, c) - b, c), atr, code, float(high), float(low))
              for i, (o, c, a, b, atr, code, high, low) in enumerate(cells)]
    ours = fold(OrderBlock.of(full=full, capacity=4), inputs)[1]
    np.testing.assert_array_equal(np.array(ours).reshape(-1, 12), np.array(slowly(inputs, full=full, capacity=4), float).reshape(-1, 12))


def test_prices_upside_down_give_the_mirror_image():
    bars = walk(6, 1500, tick=0.25)
    other = Bars.from_columns("DOWN", 15, bars.open_time, 500 - bars.open, 500 - bars.low, 500 - bars.high, 500 - bars.close, bars.volume)
    up, down = (blocks_over(OrderBlock.of(), inputs_of(x)) for x in (bars, other))
    assert [(b.side, b.bottom, b.top, b.made, b.known, b.closed) for b in up] == \
        [(-b.side, 500 - b.top, 500 - b.bottom, b.made, b.known, b.closed) for b in down]
    assert len(up) > 5


class Chart:
    "A hand-driven chart at an ATR of 1; the swings lie 10 bars back unless it is said otherwise."

    def __init__(self, **choices): self.unit, self.i = OrderBlock.of(**choices), 0

    def bar(self, open, close, code=0.0, wick=0.5, ago=10.0, atr=1.0) -> BlockView:
        bar = candle(self.i, open, max(open, close) + wick, min(open, close) - wick, close)
        self.unit, row = self.unit.update(bar, atr, code, ago, ago)
        self.i += 1
        return row


def test_the_last_candle_against_the_move_is_the_block():
    chart = Chart()
    for open, close in ((104, 103), (103, 101), (101, 101), (101, 103)): chart.bar(open, close)
    row = chart.bar(103, 105.5, code=2.0)
    assert row == BlockView(1.0, 100.5, 103.0, 2.0, 103.0, 100.5, 0.0, 2.0, inf, inf, inf, 0.0)
    row = chart.bar(105.5, 106)
    assert (row.event, row.bottom, row.top, row.below_ago) == (0, 100.5, 103, 1)


def test_a_whole_candle_where_it_is_asked_for():
    chart = Chart(full=1)
    chart.bar(103, 101)
    row = chart.bar(101, 106, code=1.0)
    assert (row.bottom, row.top, row.quality) == (100.5, 103.5, 2.5)


@pytest.mark.parametrize("close, event", [(105.0, 1), (104.99, 0)])
def test_the_least_displacement_is_included_and_counts_from_the_high(close, event):
    chart = Chart()
    chart.bar(103, 101)
    assert chart.bar(101, close, code=1.0).event == event


@pytest.mark.parametrize("ago, event", [(nan, 0), (0.0, 0), (1.0, 0), (2.0, 1), (50.0, 1)])
def test_the_candle_is_not_older_than_the_swing(ago, event):
    chart = Chart()
    chart.bar(103, 101)
    chart.bar(101, 103)
    assert chart.bar(103, 106, code=1.0, ago=ago).event == event


def test_the_breaking_candle_is_no_block_of_its_own():
    chart = Chart()
    chart.bar(103, 101)
    row = chart.bar(107, 106, code=1.0)
    assert (row.event, row.bottom, row.top) == (1, 100.5, 103), "it opens with a jump and falls, and the candle before it counts"


def test_a_close_at_the_far_edge_leaves_a_block_and_one_beyond_takes_it():
    chart = Chart()
    chart.bar(103, 101)
    chart.bar(101, 106, code=1.0)
    assert chart.bar(106, 100.5).below_bottom == 100.5, "at the edge"
    assert chart.bar(100.5, 101, wick=5).below_bottom == 100.5, "a wick does not count"
    row = chart.bar(101, 100.4)
    assert row.below_top == -inf and (row.bottom, row.top) == (100.5, 103) and not chart.unit.table.any()


def test_a_candle_that_was_closed_through_before_the_break_is_none():
    chart = Chart()
    chart.bar(103, 101)
    chart.bar(100, 100.25, wick=0)                  # opens with a jump below the candle and rises: not bearish, and beyond its low
    assert chart.bar(100.25, 106, code=1.0) == NOTHING


def test_a_candle_makes_one_block_but_may_need_two_breaks():
    chart = Chart()
    chart.bar(103, 101)
    assert chart.bar(101, 104, code=1.0).event == 0, "0.5 ATR: too near"
    assert chart.bar(104, 106, code=1.0).quality == 2.5
    row = chart.bar(106, 108, code=1.0)
    assert (row.event, row.quality, row.below_ago) == (0, 2.5, 1)
    assert chart.unit.live == 1


def test_a_full_table_lets_go_of_its_oldest():
    chart = Chart(capacity=4)
    for k in range(6):
        chart.bar(103 + 10 * k, 101 + 10 * k)
        chart.bar(101 + 10 * k, 110 + 10 * k, code=1.0)
    assert chart.unit.live == 4 and chart.unit.table[1, :4].tolist() == [123, 133, 143, 153]


def test_both_sides_may_be_valid():
    chart = Chart()
    chart.bar(103, 101)
    chart.bar(101, 106, code=1.0)
    chart.bar(106, 112)
    row = chart.bar(112, 103.5, code=-2.0)
    assert (row.event, row.bottom, row.top, row.quality) == (-1, 106, 112.5, 2)
    assert (row.below_top, row.below_ago, row.above_bottom, row.above_ago) == (103, 2, 106, 0)
    inside = chart.bar(103.5, 102)
    assert (inside.below_top, inside.below_bottom) == (103, 100.5), "price stands in it"


def test_of_equal_edges_the_newest_is_the_nearest():
    chart = Chart()
    chart.bar(103, 101)
    chart.bar(101, 106, code=1.0)
    chart.bar(103, 102)
    row = chart.bar(102, 106, code=1.0)
    assert (row.below_top, row.below_bottom, row.below_ago) == (103, 101.5, 0) and chart.unit.live == 2


def test_no_atr_makes_no_block_and_nothing_is_said_while_warming_up():
    for atr, code in ((nan, 1.0), (1.0, nan), (nan, nan)):
        chart = Chart()
        chart.bar(103, 101)
        assert all(map(isnan, chart.bar(101, 106, code=code, atr=atr))) and chart.unit.live == 0
    chart = Chart()
    chart.bar(103, 101)
    assert chart.bar(101, 106, code=1.0, atr=0.0) == NOTHING
    assert chart.bar(106, 107, code=1.0).event == 1, "the candles before were seen all the same"


def test_flat_prices():
    rows = fold(OrderBlock.of(), inputs_of(flat(40)))[1]
    assert all(map(isnan, rows[13])) and set(rows[14:]) == {NOTHING}


def flat(n: int) -> Bars:
    five = np.full(n, 5.0)
    return Bars.from_columns("FLAT", 15, 900_000 * np.arange(n), five, five, five, five, five)


def test_whole_candles_in_a_small_table_are_compiled_alike():
    pytest.importorskip("numba")
    wish, fed = OrderBlock.wired(), ("bar", "atr", "structure.code", "swings.high_ago", "swings.low_ago")
    wish |= dict(order_block=on(OrderBlock.of(displacement=0.0, full=1, capacity=4), *fed))
    plain, compiled = (look(walk(8, 900), compiled, **wish).order_block for compiled in (False, True))
    assert same_bits(plain, compiled) and (plain.event == 1).any() and (plain.event == -1).any()


def test_fates_go_on_where_a_unit_has_been_before():
    "What `blocks_over` says does not depend on how many bars the unit has seen."
    inputs = inputs_of(walk(9, 900))
    half, _ = fold(OrderBlock.of(0.5), inputs[:400])
    whole = [b for b in blocks_over(OrderBlock.of(0.5), inputs) if b.known >= 400]
    later = [Block(*b[:4], b.made + 400, b.known + 400, b.closed + 400 if b.closed >= 0 else -1) for b in blocks_over(half, inputs[400:])]
    assert later == whole and len(later) > 5


def test_overlap_with_smartmoneyconcepts(capsys):
    "A look, no oracle: it takes the lowest candle since the broken swing, knows swings early, and deletes blocks later."
    for symbol, start in (("BTC", 20_000), ("SOL", 30_000)):
        bars = real(symbol, start, 2000)
        blocks = blocks_over(OrderBlock.of(displacement=0.0, full=1, capacity=512), inputs_of(bars))
        frame = pd.DataFrame({name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")})
        theirs = smc.ob(frame, smc.swing_highs_lows(frame, 5)).dropna(subset=["OB"])
        shared = [any(b.side == row.OB and b.bottom <= row.Top and b.top >= row.Bottom and abs(b.made - row.Index) <= 10 for b in blocks)
                  for row in theirs.itertuples()]
        with capsys.disabled(): print(f"\n{symbol}: {sum(shared)} of its {len(theirs)} order blocks overlap one of our {len(blocks)}")
        assert len(blocks) > 20 and len(theirs) > 5


def test_senseless_parameters_are_refused():
    for wrong in (dict(displacement=-0.1), dict(displacement=21), dict(full=2), dict(capacity=3), dict(displacement=nan)):
        (name, value), = wrong.items()
        with pytest.raises(ParameterError, match=f"OrderBlock: {name} = {value}"): OrderBlock.of(**wrong)
