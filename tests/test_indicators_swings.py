"Confirmed swings against their definition, looked at directly."
from math import nan

import numpy as np
import pytest
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bars
from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.indicators.swings import Swing, Swings


def by_definition(high, low, n) -> list[Swing]:
    "Every row from the whole past, nothing remembered but the list of accepted pivots (kind, price, bar)."
    high, low = list(map(float, high)), list(map(float, low))
    accepted, rows = [], []
    for t in range(len(high)):
        i, new = t - n, []
        if i >= n:
            is_high = high[i] > max(high[i - n:i]) and high[i] >= max(high[i + 1:t + 1])
            is_low = low[i] < min(low[i - n:i]) and low[i] <= min(low[i + 1:t + 1])
            found = [(1, high[i])] * is_high + [(-1, low[i])] * is_low
            if accepted and accepted[-1][0] == 1: found.reverse()
            for kind, price in found:
                same = bool(accepted) and accepted[-1][0] == kind
                if same and kind * price <= kind * accepted[-1][1]: continue
                new.append((kind, same))
                accepted.append((kind, price, i))
        kinds = [kind for kind, _ in new]
        code = nan if i < n else {(): 0.0, (1,): 1.0, (-1,): -1.0, (1, -1): 2.0, (-1, 1): -2.0}[tuple(kinds)]
        last = {kind: next(((p, float(t - at)) for k, p, at in reversed(accepted) if k == kind), (nan, nan)) for kind in (1, -1)}
        rows.append(Swing(code, last[1][0], last[-1][0], last[1][1], last[-1][1], nan if i < n else float(any(same for _, same in new))))
    return rows


def of_highs_and_lows(high, low) -> Bars:
    middle = (np.asarray(high, float) + np.asarray(low, float)) / 2
    return Bars.from_columns("HAND", 15, 900_000 * np.arange(len(middle)), middle, high, low, middle, np.ones(len(middle)))


def rows(bars, n=5): return fold(Swings.of(n), bars)[1]


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("make", [lambda: walk(1), lambda: walk(2, tick=0.5), lambda: walk(3, tick=2.0), lambda: real("ETH", 40_000, 1500)],
                         ids=["fine", "ties", "many ties", "ether"])
def test_every_row_is_as_defined(make, n):
    bars = make()
    ours, expected = rows(bars, n), by_definition(bars.high, bars.low, n)
    assert same_bits(ours, expected)
    codes = {row.kind for row in ours}
    assert {1.0, -1.0} <= codes and any(row.replaced == 1 for row in ours)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), max_size=60))
def test_every_row_is_as_defined_on_a_coarse_grid(n, cells):
    low = np.array([float(a) for a, _ in cells])
    bars = of_highs_and_lows(low + [b for _, b in cells], low) if cells else of_highs_and_lows([], [])
    assert same_bits(rows(bars, n), by_definition(bars.high, bars.low, n))


def test_a_pivot_is_known_n_bars_late():
    high = [1, 2, 3, 4, 5, 9, 5, 4, 3, 2, 1, 1, 1]
    out = rows(of_highs_and_lows(high, [0.5] * 13))
    assert [row.kind for row in out[10:]] == [1, 0, 0] and np.isnan([row.kind for row in out[:10]]).all()
    assert out[10].high == 9 and out[10].high_ago == 5 and out[12].high_ago == 7 and np.isnan(out[12].low)


def test_among_equal_highs_the_first_is_the_pivot():
    high = [1, 2, 7, 3, 7, 2, 1, 1, 1]
    out = rows(of_highs_and_lows(high, [0.5] * 9), 2)
    assert [i for i, row in enumerate(out) if row.kind == 1] == [4] and out[4].high_ago == 2


def test_a_higher_high_replaces_and_a_lower_one_is_passed_over():
    high = [1, 1, 5, 1, 1, 8, 1, 1, 6, 1, 1]
    out = rows(of_highs_and_lows(high, [0.5] * 11), 2)
    events = [(i, row.kind, row.high, row.replaced) for i, row in enumerate(out) if row.kind and not np.isnan(row.kind)]
    assert events == [(4, 1.0, 5.0, 0.0), (7, 1.0, 8.0, 1.0)] and out[10].high == 8


def test_a_bar_that_is_both_counts_twice_in_the_order_that_alternates():
    quiet, wild = (10.0, 9.0), (12.0, 7.0)
    first = [quiet, (11.0, 9.0), quiet, quiet, quiet, wild, quiet, quiet]            # a high, then the wild bar: low first
    out = rows(of_highs_and_lows(*zip(*first, strict=True)), 1)
    assert out[2].kind == 1 and out[6].kind == -2 and (out[6].high, out[6].low) == (12, 7) and out[6].replaced == 0
    alone = rows(of_highs_and_lows(*zip(quiet, wild, quiet, strict=True)), 1)
    assert alone[2].kind == 2, "with nothing before, the high comes first"


def test_flat_prices_have_no_swings():
    out = fold(Swings.of(3), [candle(i, 5, 5, 5, 5) for i in range(30)])[1]
    assert {row.kind for row in out[6:]} == {0.0} and np.isnan([row.high for row in out]).all()


def test_the_past_does_not_change_when_the_future_arrives():
    bars = walk(7, 400)
    whole = rows(bars)
    for k in (11, 57, 200, 333): assert same_bits(rows(bars[:k]), whole[:k])


def test_stopping_anywhere_and_going_on_changes_nothing():
    bars = list(walk(8, 120))
    whole = fold(Swings.of(5), bars)[1]
    for cut in (0, 5, 11, 60, 119):
        half, _ = fold(Swings.of(5), bars[:cut])
        assert same_bits(fold(loads(Swings.of(5), dumps(half)), bars[cut:])[1], whole[cut:])


def test_a_strength_of_nothing_is_refused():
    with pytest.raises(ParameterError, match="n = 0"): Swings.of(0)
