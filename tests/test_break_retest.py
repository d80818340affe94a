"Break and retest by hand: what breaks a zone, when price is back at it, what ends it; then the strategy and whole series (quant_spec C3)."
from dataclasses import replace
from itertools import pairwise
from math import inf, isnan, nan

import numpy as np
import pytest
from fixtures.candles import candle, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.signal import STANDARD, failed_filters
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, make, same_bits
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.break_retest import BreakRetest, RetestView
from perps_kit.indicators.patterns import PatternsView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.break_retest import NO_RETEST, BreakAndRetest, Retested, RetestScore, retest_stop

MIDDLE = 100.0      # prices are mirrored here


def m(side, x): return x if side > 0 else 2 * MIDDLE - x


# --- the unit: zones that broke ---

NO_ZONE = (inf, inf, 0.0, -inf, -inf, 0.0)
ZONE = (100.0, 101.0, 60.0, -inf, -inf, 0.0)        # resistance from 100 to 101
AWAY = (102.0, 102.5, 101.75, 102.25)               # a bar that touches nothing
BACK = (102.0, 102.25, 101.0, 101.5)                # one that comes back to 101


def seen_zones(side, z):
    if side > 0: return z
    return (m(-1, z[3]), m(-1, z[4]), z[5], m(-1, z[0]), m(-1, z[1]), z[2])


def bar_of(side, i, o, h, low, c, v=100.0):
    return candle(i, m(side, o), *((m(side, h), m(side, low)) if side > 0 else (m(side, low), m(side, h))), m(side, c), v)


def mine(view, side): return RetestView(*view)[:8] if side > 0 else RetestView(*view)[8:]


def run(steps, side=1, unit=None):
    "What the unit tells after each (bar, times the usual volume, zones, ATR) of a long; all that is left out is as usual."
    unit, told = unit or BreakRetest.of(), []
    for i, step in enumerate(steps):
        row, vr, zones, atr = (*step, *(None, 1.0, NO_ZONE, 1.0)[len(step):])
        unit, view = unit.update(bar_of(side, i, *row), atr, vr, *seen_zones(side, zones))
        told.append(view)
    return told


FIRST = ((99.5, 100.25, 99.25, 99.75), 1.0, ZONE)


def broken(close=102.0, vr=2.0, open=99.75, low=99.5, high=None, volume=200.0, first=FIRST, atr=1.0, after=NO_ZONE):
    "The zone, and a bar that may break it."
    return [first, ((open, close + 0.25 if high is None else high, low, close, volume), vr, after, atr)]


def returns(steps, side=1, quiet=2, back=BACK, unit=None) -> bool:
    "Whether a touch some bars later finds a broken zone."
    return mine(run([*steps, *[(AWAY,)] * quiet, (back,)], side, unit)[-1], side)[7] > 0.0


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("change, breaks", [
    ({}, True), (dict(close=101.25), True), (dict(close=101.24), False),                    # a quarter of an ATR beyond the far edge
    (dict(close=101.5, atr=2.0), True), (dict(close=101.49, atr=2.0), False),
    (dict(vr=1.3), True), (dict(vr=1.29), False), (dict(vr=nan), False), (dict(vr=0.0), False),
    (dict(open=100.75, low=99.75, high=102.25), True), (dict(open=100.76, low=99.75, high=102.25), False),     # half of the range
    (dict(open=103.25, low=101.75, high=103.5), True)])                                     # a falling bar may close beyond it too
def test_what_breaks_a_zone(side, change, breaks): assert returns(broken(**change), side) is breaks


@pytest.mark.parametrize("side", [1, -1])
def test_the_zone_is_that_of_the_close_before(side):
    blank = (FIRST[0], 1.0, NO_ZONE)
    assert not returns(broken(first=blank, after=ZONE), side), "a zone first told with the bar itself did not break"
    assert not returns(broken()[1:], side), "nothing was told before the first bar"
    assert not returns([FIRST, (FIRST[0],), *broken()[1:]], side), "nor does the zone of two bars before"


@pytest.mark.parametrize("side", [1, -1])
def test_what_is_told_of_a_retest(side):
    *_, early, first, second = run([*broken(), (AWAY,), (AWAY,), ((102.0, 102.25, 100.875, 101.5, 60.0),),
                                    ((101.5, 102.5, 101.75, 102.0, 90.0),)], side)
    none, edge = (inf, 1) if side > 0 else (-inf, -1)
    assert mine(early, side) == (none, none, 0.0, 0.0, 0.0, 0.0, none, 0.0), "broken, but not back yet"
    low = m(side, 100.875)
    assert mine(first, side) == (m(edge, 101.0), m(edge, 100.0), 60.0, 200.0, 2.0, 60.0, low, 1.0)
    assert mine(second, side) == (m(edge, 101.0), m(edge, 100.0), 60.0, 200.0, 2.0, 75.0, low, 2.0), "it goes on away from the edge"
    assert mine(second, -side) == (-none, -none, 0.0, 0.0, 0.0, 0.0, -none, 0.0), "nothing on the other side"


def test_the_worst_price_only_gets_worse():
    lows = [101.125, 100.75, 101.0, 100.5]
    told = run([*broken(), (AWAY,), (AWAY,), *(((101.5, 102.0, low, 101.5),) for low in lows)])
    assert [v.up_extreme for v in told[-4:]] == [101.125, 100.75, 100.75, 100.5]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("age, found", [(1, False), (2, False), (3, True), (12, True), (20, True), (21, False)])
def test_price_is_back_between_the_third_bar_and_the_twentieth(side, age, found): assert returns(broken(), side, quiet=age - 1) is found


@pytest.mark.parametrize("side", [1, -1])
def test_a_touch_too_soon_does_no_harm(side): assert returns([*broken(), (BACK,), (BACK,)], side, quiet=0)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("low, atr, found", [(101.25, 1.0, True), (101.26, 1.0, False), (101.5, 2.0, True), (101.51, 2.0, False)])
def test_a_quarter_of_an_atr_is_near(side, low, atr, found):
    told = run([*broken(), (AWAY,), (AWAY,), ((102.0, 102.5, low, 102.0), 1.0, NO_ZONE, atr)], side)
    assert (mine(told[-1], side)[7] > 0.0) is found


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("close, holds", [(100.75, True), (100.74, False), (99.0, False)])
@pytest.mark.parametrize("age", [1, 3, 5])
def test_a_close_within_the_zone_ends_it(side, close, holds, age):
    inside = ((101.5, 101.75, 98.75, close),)
    assert returns([*broken(), *[(AWAY,)] * (age - 1), inside], side) is holds


@pytest.mark.parametrize("side", [1, -1])
def test_a_dip_that_closes_well_does_not_end_it(side): assert returns([*broken(), (AWAY,), (AWAY,), ((102.0, 102.0, 98.0, 101.5),)], side)


@pytest.mark.parametrize("side", [1, -1])
def test_a_retest_ends_when_the_zone_is_old(side):
    told = run([*broken(), (AWAY,), (AWAY,), *[(BACK,)] * 19], side)
    assert [mine(v, side)[7] for v in told[-19:]] == [*(float(k) for k in range(1, 19)), 0.0]


def test_a_zone_that_failed_may_break_again():
    once = [*broken(), ((101.5, 101.75, 99.0, 99.5), 1.0, ZONE)]
    assert not returns(once) and returns([*once, *broken()[1:]])


# --- the unit: more than one ---

def zone(low, strength): return (low, low + 1.0, strength, -inf, -inf, 0.0)


def two(first, second):
    "Zones from 100 and from 104, broken one after the other; price comes back to both at once."
    quiet = ((106.0, 106.5, 105.75, 106.25),)
    return [((99.5, 100.0, 99.0, 99.75), 1.0, zone(100.0, first)), ((99.75, 102.25, 99.5, 102.0), 2.0, zone(104.0, second)),
            ((102.0, 106.25, 101.75, 106.0), 2.0), quiet, quiet, ((106.0, 106.25, 101.0, 105.5),)]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("first, second, edge", [(70.0, 50.0, 101.0), (50.0, 70.0, 105.0), (60.0, 60.0, 105.0)])
def test_the_strongest_is_told_and_of_two_alike_the_newer(side, first, second, edge):
    assert mine(run(two(first, second), side)[-1], side)[0] == m(side, edge)


def test_where_there_is_no_place_the_oldest_is_forgotten():
    one = BreakRetest.of(capacity=1)
    assert run(two(70.0, 50.0), unit=one)[-1].up_edge == 105.0, "the weaker, for the stronger was the older"
    assert run(two(70.0, 50.0), unit=BreakRetest.of(capacity=2))[-1].up_edge == 101.0


@pytest.mark.parametrize("side", [1, -1])
def test_both_sides_are_told_beside_each_other(side):
    "A resistance that broke upwards, then a support above it that broke downwards; a long bar touches both."
    steps = [FIRST, ((99.75, 104.5, 99.5, 104.25), 2.0, (inf, inf, 0.0, 104.0, 103.0, 45.0)), ((104.0, 104.25, 102.25, 102.5), 2.0),
             (AWAY,), (AWAY,), ((102.0, 103.0, 101.0, 102.0),)]
    last = run(steps, side)[-1]
    assert mine(last, side)[:3] == (m(side, 101.0), m(side, 100.0), 60.0)
    assert mine(last, -side)[:3] == (m(side, 103.0), m(side, 104.0), 45.0)


@pytest.mark.parametrize("hole", [dict(atr=nan), dict(zones=(nan,) * 6)])
def test_before_anything_is_known_nothing_is_told_and_nothing_changes(hole):
    blind = (BACK, 2.0, hole.get("zones", ZONE), hole.get("atr", 1.0))
    told = run([blind, *broken()[1:]])
    assert all(isnan(x) for x in told[0]) and not returns([blind, *broken()[1:]]), "its zone is no zone before the next bar"
    assert run([*broken(), (AWAY,), (AWAY,), (BACK,), blind, (BACK,)])[-1].up_bars == 2.0, "a blind bar is none of the retest's"


@pytest.mark.parametrize("wrong, hint", [
    (dict(surg=2.0), "did you mean 'surge'"), (dict(body=1.5), "outside"), (dict(near=nan), "not a number"),
    (dict(soonest=0), "outside"), (dict(capacity=0), "outside")])
def test_senseless_parameters_of_the_unit_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(BreakRetest, **wrong)


# --- the unit against its rules told once more ---

def slow(bars, atrs, vrs, zones, places):
    "Each side's told zone by quant_spec C3, from lists and the whole past; nothing shared with the unit."
    held, told = [], []
    for i, (b, atr, vr) in enumerate(zip(bars, atrs, vrs, strict=True)):
        kept = []
        for z in held:
            inside = z["edge"] - b.close if z["side"] > 0 else b.close - z["edge"]
            if inside > 0.25 * atr or i - z["born"] > 20: continue
            kept.append(z)
            near = b.low <= z["edge"] + 0.25 * atr and b.high >= z["edge"] - 0.25 * atr
            if z["bars"] or (near and i - z["born"] >= 3): z["bars"].append(b)
        held = kept
        if i and vr >= 1.3 and abs(b.close - b.open) >= 0.5 * (b.high - b.low):
            top, roof, force, floor, ground, weight = zones[i - 1]
            for side, edge, far, s, out in ((1, roof, top, force, b.close - roof), (-1, ground, floor, weight, ground - b.close)):
                if out < 0.25 * atr: continue
                if len(held) == places: held.remove(min(held, key=lambda z: z["born"]))
                held.append(dict(side=side, edge=edge, far=far, s=s, v=b.volume, vr=vr, born=i, bars=[]))
        view = []
        for side, none in ((1, inf), (-1, -inf)):
            best = max((z for z in held if z["side"] == side and z["bars"]), key=lambda z: (z["s"], z["born"]), default=None)
            if best is None: view += [none, none, 0.0, 0.0, 0.0, 0.0, none, 0.0]
            else:
                b = best["bars"]
                worst = min(x.low for x in b) if side > 0 else max(x.high for x in b)
                view += [best["edge"], best["far"], best["s"], best["v"], best["vr"]]
                view += [sum(x.volume for x in b) / len(b), worst, float(len(b))]
        told.append(view)
    return told


@pytest.mark.parametrize("places", [1, 2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_unit_tells_what_the_rules_say(seed, places):
    bars, rng = list(walk(seed, 3000)), np.random.default_rng(seed)
    atrs, vrs = rng.uniform(0.5, 1.5, 3000).tolist(), rng.lognormal(0.2, 0.5, 3000).tolist()
    zones = [(b.close + up, b.close + up + 0.3, float(s), b.close - down, b.close - down - 0.3, float(t))
             for b, up, down, s, t in zip(bars, *rng.uniform(-0.2, 0.6, (2, 3000)), *rng.integers(40, 100, (2, 3000)), strict=True)]
    unit, expected, seen = BreakRetest.of(capacity=places), slow(bars, atrs, vrs, zones, places), [0, 0]
    for b, atr, vr, z, right in zip(bars, atrs, vrs, zones, expected, strict=True):
        unit, view = unit.update(b, atr, vr, *z)
        assert list(view) == pytest.approx(right, abs=1e-9)
        seen[0] += view.up_bars > 0.0
        seen[1] += view.down_bars > 0.0
    assert min(seen) > 20, "both sides came back"


# --- the strategy: which bar speaks ---

Row = row_type(tuple(BreakAndRetest().features()))
FREE, QUIET, NO_SWING = ZoneView(*NO_ZONE), PatternsView(*[0.0] * 7), Swing(0.0, nan, nan, nan, nan, 0.0)
NONE_UP, NONE_DOWN = (inf, inf, 0.0, 0.0, 0.0, 0.0, inf, 0.0), (-inf, -inf, 0.0, 0.0, 0.0, 0.0, -inf, 0.0)
UP = Retested(1, 101.0, 100.0, 60.0, 200.0, 1.9, 120.0, 100.75, 2.0)


def row(bar=candle(40, 101.25, 102.0, 101.0, 101.75), up=UP[1:], down=NONE_DOWN, atr=1.0, hour=1.0, four_hours=1.0, average=95.0,
        average_4h=95.0, pin=0.0, engulfing=0.0, atr_ratio=1.0):
    shapes = QUIET._replace(pin=pin, engulfing=engulfing)
    return Row(bar, atr, 1.0, NO_SWING, FREE, TrendView(hour, average), TrendView(four_hours, average_4h), RetestView(*up, *down), shapes,
               atr_ratio)


LAST = row(bar=candle(39, 101.5, 101.625, 101.0, 101.25))


def decide(strategy=None, was=LAST, **now): return (strategy or BreakAndRetest(least=0.0)).decide(row(**now), was)
def told(**changes): return dict(up=UP._replace(**changes)[1:])
def why(signal): return failed_filters(BreakAndRetest(), signal)
def closing(c, o=101.0, low=100.5): return dict(bar=candle(40, o, max(o, c, 101.0), low, c))


def test_a_retest_in_the_open():
    s = decide()
    assert (s.side, s.mode, s.entry, s.preset, s.atr, s.failed) == (1, 0, 101.75, STANDARD, 1.0, 0)
    assert s.stop == pytest.approx(101.75 - 1.0 - 0.1) and (s.t1, s.t2) == (1.0, 2.0) and isnan(s.t3)
    assert s.parts == pytest.approx(RetestScore(zone=1.25, break_volume=1.0, pattern=0.0, trend=2.0, shallow=0.0, quiet=1.0))
    assert s.raw == 5.2, "5.25, half to even"


@pytest.mark.parametrize("close, open, side", [(101.01, 100.9, 1), (101.0, 100.9, 0), (100.99, 100.9, 0),       # beyond the edge
                                               (101.75, 101.74, 1), (101.75, 101.75, 0), (101.75, 101.76, 0)])  # and rising
def test_the_trigger_at_its_edges(close, open, side): assert decide(**closing(close, open)).side == side


def test_without_a_retest_or_without_a_range_nothing_is_said():
    for now in (dict(up=NONE_UP), dict(atr=0.0), closing(100.5, 101.0)): assert same_bits(decide(**now), NO_RETEST)


def test_a_side_whose_retest_is_not_confirmed_leaves_the_other_alone():
    "Both zones are in retest; the bar rises above the one and stays below the other, so that its body decides."
    short = (102.0, 103.0, 60.0, 200.0, 1.9, 120.0, 102.25, 2.0)
    assert decide(down=short).side == 1
    falling = candle(40, 101.875, 102.25, 100.75, 101.25)
    assert decide(down=short, bar=falling).side == -1 and same_bits(decide(bar=falling), NO_RETEST)


# --- its filters ---

@pytest.mark.parametrize("changes, failed", [
    (closing(101.63), []), (closing(101.625), ["turn"]), (closing(101.62), ["turn"]),           # the high before is 101.625
    (closing(101.5) | dict(pin=1.0), []), (closing(101.5) | dict(engulfing=1.0), []),
    (closing(101.5) | dict(pin=-1.0, engulfing=-1.0), ["turn"]),
    (told(mean=199.9), []), (told(mean=200.0), ["quiet"]), (told(mean=300.0), ["quiet"]),
    (dict(average=101.74), []), (dict(average=101.75), ["higher"]), (dict(average=102.0), ["higher"]),
    (dict(average_4h=101.74), []), (dict(average_4h=101.75), ["higher"]), (dict(hour=-1.0, four_hours=-1.0), []),
    (dict(atr=0.102), []), (dict(atr=0.101), ["volatility"]), (dict(atr=10.17), []), (dict(atr=10.18), ["volatility"])])
def test_every_filter_at_its_edge(changes, failed): assert why(decide(BreakAndRetest(least=0.0, max_stop=0.5), **changes)) == failed


@pytest.mark.parametrize("most, failed", [(0.025, []), (0.0249, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 100, stop 97.5: exactly one part in forty."
    now = dict(bar=candle(40, 99.5, 100.25, 98.5, 100.0), up=UP._replace(edge=99.0, far=97.75, extreme=98.5)[1:], atr=2.5, pin=1.0)
    s = decide(BreakAndRetest(least=0.0, max_stop=most), **now)
    assert (s.entry, s.stop) == (100.0, 97.5) and why(s) == failed


@pytest.mark.parametrize("least, failed", [(5.2, []), (5.3, ["score"])])
def test_the_score_is_compared_after_rounding(least, failed): assert why(decide(BreakAndRetest(least=least))) == failed


def test_the_least_score_is_five(): assert BreakAndRetest().least == 5.0 and why(decide(BreakAndRetest(), hour=0.0)) == ["score"]


def test_where_all_fail_all_are_named():
    now = closing(101.5) | dict(atr=20.0, average=110.0, up=UP._replace(mean=300.0)[1:])
    assert why(decide(BreakAndRetest(least=9.0, max_stop=0.001), **now)) == list(BreakAndRetest.filters)


# --- its stop, its targets, its score ---

@pytest.mark.parametrize("far, extreme, stop", [
    (100.0, 101.0, 100.75), (101.0, 100.0, 100.75),         # the nearer of the two
    (103.0, 100.0, 99.75), (100.0, 103.0, 99.75),           # it is too near: the other
    (102.0, 100.0, 101.75), (102.125, 100.0, 99.75),        # two away is 0.8 ATR exactly; a little less
    (103.0, 102.5, 101.75)])                                # both are too near: 0.8 ATR, and a tenth
@pytest.mark.parametrize("side", [1, -1])
def test_the_stop_is_behind_the_nearer_of_two_that_are_far_enough(side, far, extreme, stop):
    "Close 104, ATR 2.5."
    assert retest_stop(UP._replace(side=side, far=m(side, far), extreme=m(side, extreme)), m(side, 104.0), 2.5) == m(side, stop)


@pytest.mark.parametrize("ratio, scale", [(0.0, 0.8), (0.79, 0.8), (0.8, 0.8), (1.0, 1.0), (1.3, 1.3), (1.31, 1.3), (9.0, 1.3)])
def test_targets_breathe_within_bounds(ratio, scale): assert [decide(atr_ratio=ratio).t1, decide(atr_ratio=ratio).t2] == [scale, 2 * scale]


@pytest.mark.parametrize("part, changes, points", [
    ("zone", told(strength=39.0), 0.0), ("zone", told(strength=40.0), 0.0),
    ("zone", told(strength=80.0), 2.5), ("zone", told(strength=99.0), 2.5),
    ("break_volume", told(surge=1.3), 0.0), ("break_volume", told(surge=2.5), 2.0), ("break_volume", told(surge=9.0), 2.0),
    ("pattern", dict(pin=1.0), 1.5), ("pattern", dict(engulfing=1.0), 1.5), ("pattern", dict(pin=1.0, engulfing=1.0), 1.5),
    ("pattern", dict(pin=-1.0), 0.0),
    ("trend", dict(hour=0.0), 1.0), ("trend", dict(hour=-1.0), 0.0), ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0),
    ("shallow", told(extreme=101.0), 1.0), ("shallow", told(extreme=100.99), 0.0),
    ("quiet", told(mean=139.9), 1.0), ("quiet", told(mean=140.0), 0.0)])
def test_points_of_each_part(part, changes, points): assert getattr(decide(**changes).parts, part) == pytest.approx(points, abs=1e-12)


def test_ten_points_are_the_most():
    s = decide(pin=1.0, **told(strength=90.0, surge=3.0, extreme=101.125, mean=50.0))
    assert s.raw == 10.0 == sum(s.parts)


@pytest.mark.parametrize("wrong, hint", [
    (dict(leas=5.0), "did you mean 'least'"), (dict(max_stop=0.0), "outside"), (dict(least=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(BreakAndRetest, **wrong)


# --- mirrors ---

def mirrored(r):
    "The row of prices reflected, volumes kept."
    b, v, f = r.bar, r.break_retest, lambda x: m(-1, x)
    turn = lambda e, far, s, vol, vr, mean, worst, n: (f(e), f(far), s, vol, vr, mean, f(worst), n)
    return r._replace(bar=b._replace(open=f(b.open), high=f(b.low), low=f(b.high), close=f(b.close)),
                      hour=TrendView(-r.hour.dir, f(r.hour.average)), four_hours=TrendView(-r.four_hours.dir, f(r.four_hours.average)),
                      patterns=r.patterns._replace(pin=-r.patterns.pin, engulfing=-r.patterns.engulfing),
                      break_retest=RetestView(*turn(*v[8:]), *turn(*v[:8])))


@st.composite
def rows(draw, i=40):
    "Rows of numbers on a grid that floats hold exactly."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    low, a, b, high = sorted(grid(96, 104) for _ in range(4))
    open_, close = draw(st.permutations([a, b]))
    way = st.sampled_from([-1.0, 0.0, 1.0])

    def entry(side, none):
        if draw(st.booleans()): return none
        edge = grid(97, 103)
        return (edge, edge - side * grid(0, 2), grid(30, 90), grid(50, 300), grid(1, 3), grid(20, 300), edge - side * grid(-0.25, 1), 2.0)

    return row(candle(i, open_, high, low, close), entry(1, NONE_UP), entry(-1, NONE_DOWN), grid(0, 3), draw(way), draw(way), grid(96, 104),
               grid(96, 104), draw(way), draw(way), grid(0.5, 1.5))


@settings(max_examples=400, deadline=None)
@given(rows(), rows(39))
def test_longs_are_mirrored_shorts(now, was):
    strategy = BreakAndRetest(max_stop=0.5)
    long, short = strategy.decide(now, was), strategy.decide(mirrored(now), mirrored(was))
    assert short.side == -long.side
    if long.side:
        alike = lambda s: (s.mode, s.raw, s.parts, s.t1, s.t2)
        veto = 1 << strategy.filters.index("volatility") | 1 << strategy.filters.index("stop_width")    # percentages know up from down
        assert same_bits(alike(short), alike(long)) and (short.failed | veto) == (long.failed | veto)
        assert short.entry - MIDDLE == MIDDLE - long.entry and short.stop - MIDDLE == pytest.approx(MIDDLE - long.stop, abs=1e-12)
        assert long.side * (long.entry - long.stop) >= 0.9 * now.atr - 1e-9 and 0.0 <= sum(long.parts) <= 10.0


# --- whole series ---

@pytest.fixture(scope="module")
def found():
    "Candidates, refused ones too, on made-up candles."
    stream, heard = Stream({"break_retest": BreakAndRetest()}, "TEST", 15), []
    for b in sample_bars("SOLUSDT")[:12000]: heard += [c for step in stream.accept(b) for c in step.candidates]
    return heard


def test_signals_of_a_series_keep_the_rules(found):
    "The rules told once more, from the candles where they can be."
    bars = list(sample_bars("SOLUSDT")[:12000])
    at = {b.close_time: i for i, b in enumerate(bars)}
    assert {c.signal.side for c in found} == {1, -1} and any(not c.signal.failed for c in found)
    for c in found:
        s, f, i = c.signal, c.features, at[c.bar.close_time]
        b, way = bars[i], "up" if s.side > 0 else "down"
        edge, n = f[f"break_retest.{way}_edge"], int(f[f"break_retest.{way}_bars"])
        assert s.entry == b.close and s.side * (b.close - edge) > 0.0 and s.side * (b.close - b.open) > 0.0 and 1 <= n <= 18
        past = bars[i - n + 1:i + 1]
        worst = min(x.low for x in past) if s.side > 0 else max(x.high for x in past)
        assert f[f"break_retest.{way}_extreme"] == worst
        assert f[f"break_retest.{way}_mean"] == pytest.approx(sum(x.volume for x in past) / n)
        assert f[f"break_retest.{way}_surge"] >= 1.3 and f[f"break_retest.{way}_strength"] >= 40.0
        breaks = bars[i - 20:i - n - 1]     # three bars before the retest began at least
        assert f[f"break_retest.{way}_volume"] in [x.volume for x in breaks]
        assert ("quiet" in why(s)) == (f[f"break_retest.{way}_mean"] >= f[f"break_retest.{way}_volume"])
        assert ("higher" in why(s)) == (min(s.side * (b.close - f[f"{tf}.average"]) for tf in ("hour", "four_hours")) <= 0.0)
        assert 0.9 * f["atr"] - 1e-9 <= s.side * (s.entry - s.stop) and 0.8 <= s.t1 <= 1.3 and s.t2 == 2.0 * s.t1


def test_a_zone_speaks_once():
    "Clean signals of a side are more than twenty bars apart, and no zone lives that long after its third bar."
    loose = BreakAndRetest(least=0.0)
    assert loose.spacing[0] >= BreakRetest.of().latest
    signals = signals_of(loose, Columns(sample_bars("SOLUSDT")))
    for side in (1, -1):
        index = [int(i) for k, i in enumerate(signals.index) if signals[k].side == side]
        assert len(index) > 1 and min(np.diff(index)) > 20


def test_a_refused_bar_does_not_silence_the_one_that_holds(found):
    "Spacing counts clean signals only: a refused bar is followed by the trigger of the same retest."
    def zone_of(c):
        way = "up" if c.signal.side > 0 else "down"
        return c.signal.side, c.features[f"break_retest.{way}_edge"], c.features[f"break_retest.{way}_volume"]

    assert any(a.signal.failed and not b.signal.failed and zone_of(a) == zone_of(b) for a, b in pairwise(found))


@pytest.mark.parametrize("seed", [21, 22])
def test_compiled_and_plain_agree(seed):
    bars = walk(seed, 6000, step=0.25)
    bars = replace(bars, taker_buy=0.5 * bars.volume)
    one, two = (signals_of(BreakAndRetest(least=0.0), Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])
