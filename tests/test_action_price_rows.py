"Action price: which row, bar and line each number is read from, the score's edges; sticky lines and crossed edges by hand (quant_spec C8)."

from math import inf, isnan, nan
from types import SimpleNamespace as Row

import numpy as np
import pytest
from fixtures.candles import candle

from perps_kit.core.bar import Bar
from perps_kit.core.signal import SCALP, STANDARD, failed_filters
from perps_kit.indicators.crossing import Crossing, crossed
from perps_kit.indicators.sticky import Sticky
from perps_kit.indicators.zones import LOWER, ROLE, ROWS, TOUCHED, TOUCHES, UPPER, WORTH
from perps_kit.strategies.action_price import NO_ACTION, ActionPrice, action_raw, depth_points

LINE = 128.0
AWAY = 64.0                 # an average that takes no part


def rows(side=1, first=(127.5, 129.1, 127.5, 128.5), second=(128.5, 129.0, 128.25, 128.5), slow=LINE, before=None, edge=inf, vr=1.0,
         stuck=0.0, level=0.0, dips=0.0, beside=0.0, touches=0.0, low_line=nan, high_line=nan, ema13=129.0, ema5=129.0):
    "The confirmation and the initiator of a long, or mirrored; what must be read from the other of the two would change the score."
    def flip(x): return x if side > 0 else 2.0 * LINE - x
    def bar(o, h, low, c): return Bar(0, 900_000, flip(o), flip(h if side > 0 else low), flip(low if side > 0 else h), flip(c), 10.0)
    def fan(x): return Row(ema5=flip(ema5), ema13=flip(ema13), ema200=flip(x), ordered=0.0, spread=0.15)
    def crossing(at, n): return Row(edge=flip(at) if at < inf else inf, touches=n, strength=60.0,
                                    support_touches=beside if side > 0 else 5.0, resistance_touches=beside if side < 0 else 5.0)
    behind, ahead = (low_line, high_line) if side > 0 else (high_line, low_line)
    lines = dict(day=Row(vwap=nan), busy=Row(vwap=nan), swing_low=Row(vwap=flip(behind)), swing_high=Row(vwap=flip(ahead)))
    seen = Row(moving=stuck, level=level, dips=dips if side > 0 else 9.0, peaks=dips if side < 0 else 9.0)
    now = Row(bar=bar(*second), atr=1.0, volume=9.0, fan=fan(slow), sticky=Row(moving=15.0, level=15.0, dips=9.0, peaks=9.0),
              crossing=crossing(inf, 5.0), **lines)
    then = fan(slow if before is None else before)
    return now, Row(bar=bar(*first), atr=1.0, volume=vr, fan=then, sticky=seen, crossing=crossing(edge, touches), **lines)


def told(side=1, least=-9.5, **given): return ActionPrice(least=least).decide(*rows(side, **given))


BOTH = pytest.mark.parametrize("side", [1, -1])


@BOTH
def test_the_body_is_held_against_the_average_of_its_own_bar(side):
    assert told(side, slow=128.0, before=127.0) is NO_ACTION        # 127.5 to 128.5 goes through 128, which was at 127 then
    assert told(side, slow=127.0, before=128.0).side == side        # and the confirmation against the average of now
    assert told(side, slow=128.25, before=128.0) is NO_ACTION       # whose low touches it


@BOTH
def test_the_edge_is_the_one_that_was_known_at_the_close_of_the_initiator(side):
    now, was = rows(side, slow=AWAY, edge=LINE)
    assert ActionPrice(least=-9.5).decide(now, was).side == side
    now.crossing, was.crossing = was.crossing, now.crossing
    assert ActionPrice(least=-9.5).decide(now, was) is NO_ACTION


@BOTH
def test_counts_are_those_of_the_bars_before_the_initiator(side):
    assert told(side, stuck=2.0).parts.lipuchka_penalty == 0.0 and told(side, stuck=3.0).parts.lipuchka_penalty == -1.0
    at_edge = dict(slow=AWAY, edge=LINE)
    assert told(side, **at_edge, level=2.0).parts.lipuchka_penalty == 0.0
    assert told(side, **at_edge, level=5.0).parts.lipuchka_penalty == -2.0
    assert told(side, dips=0.0).parts.retest_tag == 0.0 and told(side, dips=1.0).parts.retest_tag == 1.5
    assert told(side, **at_edge, touches=1.0).parts.zone_touches == 0.0 and told(side, **at_edge, touches=3.0).parts.zone_touches == 1.0
    assert told(side, beside=1.0).parts.zone_touches == 0.0 and told(side, beside=2.0).parts.zone_touches == 0.5


@BOTH
def test_the_last_swing_is_the_low_for_a_long_and_the_high_for_a_short(side):
    assert told(side, low_line=LINE).parts.avwap_confluence == 0.75 and told(side, high_line=LINE).parts.avwap_confluence == 0.0


@BOTH
def test_in_a_tie_the_average_wins_and_the_better_edge_wins_over_it(side):
    "The average has two touches beside it (0.5), the edge is worn (-1) and has four touches (1.5): the same sum."
    tie = dict(edge=LINE, beside=2.0, touches=4.0, level=3.0)
    assert told(side, **tie).parts.zone_touches == 0.5 and told(side, **tie).parts.lipuchka_penalty == 0.0
    better = told(side, **tie | dict(beside=1.0))
    assert better.parts.zone_touches == 1.5 and better.parts.lipuchka_penalty == -1.0


def test_the_ends_of_depth_belong_to_the_row_behind_them():
    assert [depth_points(x) for x in (0.29, 0.30, 0.59, 0.60, 0.99, 1.0)] == [2.0, 1.0, 1.0, 0.0, 0.0, -1.0]


def body(total, rest):
    "A body that adds what is missing to `total`, 0 to 1.5."
    return 0.4 + 0.7 * (total - rest) / 1.5


@BOTH
@pytest.mark.parametrize(("total", "raw", "mode", "preset", "failed"), [
    (2.94, 2.9, 0, SCALP, ["score"]), (2.951, 3.0, 0, SCALP, []), (5.94, 5.9, 0, SCALP, []), (5.951, 6.0, 1, STANDARD, [])])
def test_the_score_is_rounded_before_it_is_compared(side, total, raw, mode, preset, failed):
    "Depth and position give 3, a worn line takes 1, a retest and twice the usual volume give 3.5 where they are; the body adds the rest."
    more = dict(vr=2.0, dips=1.0, stuck=3.0) if total > 5.0 else dict(stuck=3.0)
    rest = 5.5 if total > 5.0 else 2.0
    size = body(total, rest)
    signal = told(side, least=3.0, first=(128.5 - size, 129.1, 128.5 - size, 128.5), **more)
    assert sum(signal.parts) == pytest.approx(total) and action_raw(signal.parts) == signal.raw
    assert (signal.raw, signal.mode, signal.preset, failed_filters(ActionPrice(), signal)) == (raw, mode, preset, failed)


@BOTH
def test_three_exactly_is_enough(side):
    "Depth 1 and position 2; a body too small for any points."
    exact = told(side, least=3.0, first=(127.875, 129.0, 127.875, 128.125))
    assert (exact.raw, exact.failed, exact.mode) == (3.0, 0, 0)


# Sticky


def fed(unit, *bars, moving=100.0, level=100.0, fast=50.0, slow=50.0):
    "What the unit says at the last of the bars (low, high, close)."
    seen = None
    for i, (low, high, close) in enumerate(bars):
        unit, seen = unit.update(candle(i, close, high, low, close), moving, level, fast, slow)
    return seen


def test_sticky_counts_the_bars_before_this_one_and_not_this_one():
    through, clear = (99.0, 101.0, 100.5), (101.0, 102.0, 101.5)
    assert fed(Sticky.of(3, 2), clear, clear, clear, through).moving == 0.0
    assert fed(Sticky.of(3, 2), through, clear, clear, clear).moving == 1.0
    assert fed(Sticky.of(3, 2), through, clear, clear, clear, clear).moving == 0.0         # the first has left the window
    assert isnan(fed(Sticky.of(3, 2), through, through, through).moving)


def test_a_range_contains_its_own_ends_and_no_level_is_in_none():
    assert fed(Sticky.of(2, 1), (100.0, 101.0, 100.5), (99.0, 100.0, 99.5), (98.0, 99.0, 98.5)).moving == 2.0
    assert fed(Sticky.of(2, 1), (100.0, 101.0, 100.5), (99.0, 100.0, 99.5), (98.0, 99.0, 98.5)).level == 2.0
    assert fed(Sticky.of(2, 1), *[(99.0, 101.0, 100.0)] * 3, level=inf).level == 0.0


def test_a_moving_line_counts_as_it_was_and_a_level_as_it_is():
    unit, seen = Sticky.of(3, 1), None
    for i, line in enumerate((100.0, 200.0, 100.0, 300.0)):
        unit, seen = unit.update(candle(i, 100.0, 101.0, 99.0, 100.0), line, line, 50.0, 50.0)
    assert (seen.moving, seen.level) == (2.0, 0.0)


def test_dips_and_peaks_are_looked_for_in_the_shorter_window():
    dip, none = (99.0, 101.0, 100.5), (101.0, 102.0, 101.5)
    assert fed(Sticky.of(4, 2), none, none, dip, none, none, fast=100.0).dips == 1.0
    assert fed(Sticky.of(4, 2), none, dip, none, none, none, fast=100.0).dips == 0.0
    assert fed(Sticky.of(2, 1), none, (99.0, 101.0, 99.5), none, fast=100.0, slow=100.0)[2:] == (0.0, 1.0)
    assert fed(Sticky.of(2, 1), none, (99.0, 100.0, 100.0), none, fast=100.0, slow=100.0)[2:] == (0.0, 0.0)      # closed on it


# Crossing


def table(*zones):
    "Zones (lower, upper, worth) that were touched at bar 10."
    t = np.zeros((ROWS, 8))
    for i, (lower, upper, worth) in enumerate(zones):
        t[LOWER, i], t[UPPER, i], t[WORTH, i], t[TOUCHED, i], t[ROLE, i], t[TOUCHES, i] = lower, upper, worth, 10.0, 1.0, 2.0
    return t


def edge_of(open_, close, *zones):
    return crossed(table(*zones), len(zones), 10, candle(0, open_, max(open_, close) + 1, min(open_, close) - 1, close), 50.0)


def test_an_edge_on_the_end_of_the_body_is_not_inside_it():
    assert edge_of(100.0, 104.0, (102.0, 104.0, 40.0)) == (0, 102.0) and edge_of(102.0, 104.0, (102.0, 104.0, 40.0)) == (-1, inf)
    assert edge_of(100.0, 104.0, (98.0, 100.0, 40.0)) == (-1, inf) and edge_of(100.0, 104.0, (104.0, 106.0, 40.0)) == (-1, inf)


def test_of_two_edges_the_one_nearer_to_the_close_counts_and_of_two_zones_the_stronger():
    assert edge_of(100.0, 105.0, (101.0, 103.0, 40.0)) == (0, 103.0) and edge_of(105.0, 100.0, (101.0, 103.0, 40.0)) == (0, 101.0)
    assert edge_of(100.0, 110.0, (101.0, 102.0, 40.0), (105.0, 106.0, 50.0)) == (1, 106.0)
    assert edge_of(100.0, 110.0, (101.0, 102.0, 40.0), (105.0, 106.0, 40.0)) == (0, 102.0)         # alike: the older


def test_a_strength_of_fifty_is_enough():
    assert edge_of(100.0, 105.0, (101.0, 103.0, 30.0)) == (0, 103.0) and edge_of(100.0, 105.0, (101.0, 103.0, 29.99)) == (-1, inf)


def test_before_anything_is_known_a_crossing_is_nan_and_without_zones_it_is_nothing():
    _, unknown = Crossing.of().update(candle(0, 100.0, 101.0, 99.0, 100.5), nan, nan, nan, nan, nan, 100.0)
    _, none = Crossing.of().update(candle(0, 100.0, 101.0, 99.0, 100.5), 1.0, 1.0, 0.0, inf, -inf, 100.0)
    assert all(isnan(x) for x in unknown) and none == (inf, 0.0, 0.0, 0.0, 0.0)
