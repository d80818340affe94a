"Structure (R74) by hand, against a slow second writing, and against smartmoneyconcepts as far as the two can be compared."
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
from perps_kit.indicators.structure import BOS_DOWN, BOS_UP, CHOCH_DOWN, CHOCH_UP, Structure, StructureView
from perps_kit.indicators.swings import Swings

os.environ["SMC_CREDIT"] = "0"     # it prints a banner when imported
from smartmoneyconcepts import smc

MIRRORED = {BOS_UP: BOS_DOWN, CHOCH_UP: CHOCH_DOWN, BOS_DOWN: BOS_UP, CHOCH_DOWN: CHOCH_UP, 0.0: 0.0}


def inputs_of(bars, n=5) -> list[tuple]:
    "The arguments of `Structure.update` for every bar."
    return [(bar, s.kind, s.high, s.low) for bar, s in zip(bars, fold(Swings.of(n), bars)[1], strict=True)]


def rows(bars, n=5, **choices) -> list[StructureView]: return fold(Structure.of(**choices), inputs_of(bars, n))[1]


def events(seen) -> list[tuple]: return [(i, row.code, row.level) for i, row in enumerate(seen) if row.code in (1, 2, -1, -2)]


def slowly(inputs, wick: bool) -> list[tuple]:
    "Code, trend, level and agos of each row, from the list of all swings so far and the list of all events so far."
    highs, lows, told, out = [], [], [], []         # swings as [price, spent]; events as (bar, name, side, level)
    for t, (bar, kind, high, low) in enumerate(inputs):
        if isnan(kind):
            out.append((nan,) * 6)
            continue
        if kind in (1, 2, -2): highs.append([high, False])
        if kind in (-1, 2, -2): lows.append([low, False])
        up = bool(highs) and not highs[-1][1] and (bar.high if wick else bar.close) > highs[-1][0]
        down = bool(lows) and not lows[-1][1] and (bar.low if wick else bar.close) < lows[-1][0]
        if up and down: up, down = bar.close > highs[-1][0], bar.close < lows[-1][0]
        assert not (up and down)
        side, mine = (1, highs) if up else (-1, lows)
        if up or down:
            mine[-1][1] = True
            told.append((t, "CHoCH" if told and told[-1][2] == -side else "BOS", side, mine[-1][0]))
        new = told[-1] if told and told[-1][0] == t else None
        ago = [next((float(t - e[0]) for e in reversed(told) if wanted(e)), inf) for wanted in
               (lambda e: True, lambda e: e[1:3] == ("CHoCH", 1), lambda e: e[1:3] == ("CHoCH", -1))]
        code = float(new[2] * (2 if new[1] == "CHoCH" else 1)) if new else 0.0
        out.append((code, float(told[-1][2]) if told else 0.0, told[-1][3] if told else inf, *ago))
    return out


@pytest.mark.parametrize("wick", [0, 1])
@pytest.mark.parametrize("make", [lambda: walk(1), lambda: walk(2, tick=0.5), lambda: walk(3, tick=2.0), lambda: real("ETH", 40_000, 1500)],
                         ids=["fine", "ties", "many ties", "ether"])
def test_as_the_slow_writing(make, wick):
    inputs = inputs_of(make(), 3)
    ours = fold(Structure.of(wick=wick), inputs)[1]
    np.testing.assert_array_equal([row[:6] for row in ours], slowly(inputs, wick == 1))
    assert {1.0, -1.0} <= {np.sign(row.code) for row in ours}


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 3), st.integers(0, 1), st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5)), max_size=60))
def test_as_the_slow_writing_on_a_coarse_grid(n, wick, cells):
    bars = [candle(i, low + min(a, b), low + max(a, b), low, low + b) for i, (low, a, b) in enumerate(cells)]
    inputs = inputs_of(bars, n)
    ours = fold(Structure.of(wick=wick), inputs)[1]
    np.testing.assert_array_equal(np.array([row[:6] for row in ours]).reshape(-1, 6), np.array(slowly(inputs, wick == 1)).reshape(-1, 6))


@pytest.mark.parametrize("seed", [4, 5])
def test_what_a_row_says_fits_together(seed):
    bars = walk(seed, 900, tick=0.5)
    ours, swings = rows(bars), fold(Swings.of(5), bars)[1]
    for bar, before, row, swing in zip(bars, [None, *ours], ours, swings, strict=False):
        if isnan(row.code): continue
        assert row.high == (inf if isnan(swing.high) else swing.high)
        assert row.high_broken or bar.close <= row.high, "a close above an unbroken high would have broken it"
        assert row.low_broken or bar.close >= row.low
        if row.code > 0: assert row.trend == 1 and row.level == row.high and row.high_broken == 1 and row.ago == 0
        if row.code < 0: assert row.trend == -1 and row.level == row.low and row.low_broken == 1 and row.ago == 0
        if row.code == 0 and before and not isnan(before.code): assert (row.trend, row.level) == (before.trend, before.level)


@pytest.mark.parametrize("wick", [0, 1])
def test_prices_upside_down_give_the_mirror_image(wick):
    bars = walk(6, 700)
    other = Bars.from_columns("DOWN", 15, bars.open_time, 500 - bars.open, 500 - bars.low, 500 - bars.high, 500 - bars.close, bars.volume)
    up, down = rows(bars, wick=wick), rows(other, wick=wick)
    assert [MIRRORED.get(row.code, nan) for row in up[10:]] == [row.code for row in down[10:]]
    assert [row.choch_up_ago for row in up[10:]] == [row.choch_down_ago for row in down[10:]]


class Chart:
    "A hand-driven structure; swings are given with the close that confirms them."

    def __init__(self, **choices): self.unit, self.i, self.high, self.low = Structure.of(**choices), 0, nan, nan

    def bar(self, close, kind=0, high=None, low=None, top=None, bottom=None) -> StructureView:
        if high is not None: self.high = float(high)
        if low is not None: self.low = float(low)
        bar = candle(self.i, close, close if top is None else top, close if bottom is None else bottom, close)
        self.unit, row = self.unit.update(bar, float(kind), self.high, self.low)
        self.i += 1
        return row


def test_a_level_gives_one_event_and_a_new_level_another():
    chart = Chart()
    assert chart.bar(100, 1, high=105).code == 0
    assert chart.bar(105).code == 0, "at the level is not beyond it"
    assert chart.bar(105.5).code == BOS_UP
    assert chart.bar(104).code == 0 and chart.bar(106).code == 0
    row = chart.bar(106, 1, high=107)
    assert row.high_broken == 0 and row.level == 105 and row.ago == 3, "a replacement is a new level"
    assert chart.bar(107.5).code == BOS_UP
    assert chart.bar(106, 1, high=108).code == 0 and chart.bar(106, -1, low=103).code == 0 and chart.bar(107, 1, high=108).code == 0
    assert chart.bar(108.5).code == BOS_UP, "a swing at the same price is a new level, too"


def test_the_first_break_is_no_change_of_character():
    down = Chart()
    down.bar(100, -1, low=99)
    row = down.bar(98)
    assert (row.code, row.trend, row.choch_down_ago, row.high) == (BOS_DOWN, -1, inf, inf)
    row = down.bar(98, 1, high=99)
    assert down.bar(99.5).code == CHOCH_UP
    assert [down.bar(99).choch_up_ago for _ in range(3)] == [1, 2, 3]


def test_a_swing_known_at_this_close_is_the_level_of_this_close():
    chart = Chart()
    chart.bar(100, 1, high=105)
    chart.bar(100, -1, low=98)
    assert chart.bar(106, 1, high=107).code == 0, "the wick to 107 is the last swing high as of this close"
    assert chart.bar(107.25).code == BOS_UP
    early = Chart()
    early.bar(100, 1, high=105)
    early.bar(100, -1, low=98)
    assert early.bar(106).code == BOS_UP, "a bar before its confirmation it is none"


def test_a_bar_that_is_two_swings_renews_both_levels():
    for kind in (2, -2):
        chart = Chart()
        chart.bar(100, 1, high=105)
        chart.bar(100, -1, low=95)
        assert chart.bar(106).code == BOS_UP and chart.bar(94).code == CHOCH_DOWN
        row = chart.bar(100, kind, high=107, low=93)
        assert (row.high_broken, row.low_broken) == (0, 0) and chart.bar(108).code == CHOCH_UP and chart.bar(92).code == CHOCH_DOWN


def test_a_wick_counts_only_where_it_is_asked_for():
    for wick, code in ((0, 0), (1, BOS_UP)):
        chart = Chart(wick=wick)
        chart.bar(100, 1, high=105)
        assert chart.bar(104, top=106).code == code


@pytest.mark.parametrize("close, code", [(100, 0), (105, 0), (105.5, BOS_UP), (94.5, BOS_DOWN)])
def test_a_wick_beyond_both_levels_is_decided_by_the_close(close, code):
    chart = Chart(wick=1)
    chart.bar(100, 1, high=105)
    chart.bar(100, -1, low=95)
    row = chart.bar(close, top=106, bottom=94)
    assert row.code == code and (row.high_broken, row.low_broken) == (code > 0, code < 0)


def test_flat_prices_and_warm_up():
    out = rows([candle(i, 5, 5, 5, 5) for i in range(30)], 3)
    assert all(map(isnan, [x for row in out[:6] for x in row])) and {row.code for row in out[6:]} == {0.0}
    assert out[-1] == StructureView(0.0, 0.0, inf, inf, inf, inf, inf, -inf, 0.0, 0.0)


def test_wicks_are_compiled_alike():
    pytest.importorskip("numba")
    wish = Structure.wired() | dict(structure=on(Structure.of(wick=1), "bar", "swings.kind", "swings.high", "swings.low"))
    plain, compiled = (look(walk(8, 900, tick=0.5), compiled, **wish).structure for compiled in (False, True))
    assert same_bits(plain, compiled) and (plain.code == 1).any()


def test_higher_timeframes_ask_for_swings_of_strength_three():
    assert [Structure.wired(m)["swings"].unit.n for m in (0, 5, 15, 60, 240)] == [5, 5, 5, 3, 3]


def test_senseless_parameters_are_refused():
    for wrong in (2, -1, 0.5, nan):
        with pytest.raises(ParameterError, match=f"Structure: wick = {wrong}"): Structure.of(wick=wrong)


def exact(bars: Bars) -> Bars:
    "Prices on a grid of 1/64: smartmoneyconcepts keeps the broken levels as float32, which holds these exactly."
    grid = [np.round(x * 64) / 64 for x in (bars.open, bars.high, bars.low, bars.close)]
    return Bars.from_columns(bars.symbol, 15, bars.open_time, *grid, bars.volume)


def frame(bars: Bars) -> pd.DataFrame:
    return pd.DataFrame({name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")})


def recipe(bars: Bars, n: int) -> list[tuple[int, int, float]]:
    "Swings (bar, kind, price) as smartmoneyconcepts leaves them: n - 1 bars before, n after, ties count, of a run the extreme stays."
    found = []
    for i in range(2 * n - 1, len(bars) - n):      # its rolling window is full from bar 2n - 1 on
        top, bottom = bars.high[i] == bars.high[i - n + 1:i + n + 1].max(), bars.low[i] == bars.low[i - n + 1:i + n + 1].min()
        if not (top or bottom): continue
        kind, price = (1, float(bars.high[i])) if top else (-1, float(bars.low[i]))
        if found and found[-1][1] == kind:
            if kind * price <= kind * found[-1][2]: continue
            found.pop()
        found.append((i, kind, price))
    return found


CASES = pytest.mark.parametrize("make, n", [(lambda: walk(1, 800), 5), (lambda: walk(2, 800, tick=0.5), 3),
                                            (lambda: real("BTC", 20_000, 2000), 5), (lambda: real("SOL", 30_000, 2000), 3)],
                                ids=["fine", "ties", "bitcoin", "solana"])


@CASES
def test_interior_swings_of_smartmoneyconcepts_follow_the_recipe(make, n):
    bars = exact(make())
    theirs = smc.swing_highs_lows(frame(bars), n).iloc[1:-1].dropna()     # first and last row are forced, not found
    assert [(i, kind, price) for i, kind, price in recipe(bars, n)] == [*theirs.itertuples(name=None)]


@CASES
def test_breaks_agree_with_smartmoneyconcepts_where_both_speak_of_the_same(make, n):
    """Both are given the swings that its detector leaves in the end, ours each n bars after its pivot, as they would be known.

    Comparable, and exact: for swings broken in a pattern of four (A B C D, where D goes beyond B) its BrokenIndex is our bar, as long as B
    is the last swing of its side until then; and each of our breaks of such a swing is in its table, including those that it withdraws
    later (a BrokenIndex without BOS and CHOCH). Not comparable: breaks of levels that D has replaced, or outside the pattern, and the
    names, which it takes from the pattern and we from the trend state.
    """
    bars, swings = exact(make()), recipe(exact(make()), n)
    theirs = smc.swing_highs_lows(frame(bars), n)
    theirs.iloc[[0, -1]] = nan
    broken = smc.bos_choch(frame(bars), theirs).BrokenIndex.dropna().astype(int).to_dict()
    known = {i + n: (i, kind, price) for i, kind, price in swings}
    unit, level, ours = Structure.of(), {1: (-1, nan), -1: (-1, nan)}, {}
    for t, bar in enumerate(bars):
        i, kind, price = known.get(t, (0, 0, nan))
        if kind: level[kind] = i, price
        unit, row = unit.update(bar, float(kind), level[1][1], level[-1][1])
        if row.code: ours[level[1 if row.code > 0 else -1][0]] = t
    pattern, stands = set(), {}
    for (_, _, a), (i, kind, b), (_, _, c), (j, _, d) in zip(swings, swings[1:], swings[2:], swings[3:], strict=False):
        a, b, c, d = (kind * x for x in (a, b, c, d))
        if a != c and max(a, c) < b < d: pattern.add(i)
        if i in broken and broken[i] < j + n: stands[i] = broken[i]
    assert {i: t for i, t in ours.items() if i in pattern} == stands
    assert len(stands) > 20 and set(broken) <= pattern
