"Volume profile by hand: what accepts an edge, what a profile says, every filter and part at its edges, shorts as mirrors (quant_spec C6)."
from dataclasses import replace
from math import inf, isnan, nan

import pytest
from fixtures.candles import candle, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.signal import STANDARD, failed_filters
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, dumps, loads, make, same_bits
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.acceptance import Acceptance, AcceptanceView
from perps_kit.indicators.cvd import CVDView
from perps_kit.indicators.rolling_profile import RollingView
from perps_kit.indicators.session_profile import SessionView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.profile_trade import ACCEPTANCE, NO_PROFILE, REJECTION, ProfileScore, ProfileTrade, edge_of

Row = row_type(tuple(ProfileTrade().features()))
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)
QUIET = AcceptanceView(inf, 0.0, inf, 0.0)
ABOVE, BELOW = AcceptanceView(3.0, 1.0, inf, 0.0), AcceptanceView(inf, 0.0, 3.0, 1.0)


# --- the memory ---

def feed(steps, unit=None, atr=1.0, vah=100.0, val=96.0):
    "What the unit says over bars of (low, high, close)."
    unit, told = unit or Acceptance.of(), []
    for i, (low, high, close) in enumerate(steps):
        unit, seen = unit.update(candle(i, close, high, low, close), atr, vah, val)
        told.append(seen)
    return unit, told


def over(close, low=None): return (close if low is None else low, close + 0.25, close)


UP = [over(100.5), over(100.5)]


def test_the_second_close_above_accepts_and_the_first_does_not():
    assert [x.up_ago for x in feed([over(99.0), *UP, over(101.0)])[1]] == [inf, inf, 0.0, 1.0]


@pytest.mark.parametrize("close, ago", [(100.0, inf), (100.001, 0.0), (99.5, inf)])
def test_a_close_on_the_edge_is_not_above_it(close, ago): assert feed([over(100.5), over(close)])[1][-1].up_ago == ago


def test_a_close_inside_takes_it_back_and_counting_begins_anew():
    assert [x.up_ago for x in feed([*UP, over(100.0), over(100.5), over(100.5)])[1]] == [inf, 0.0, inf, inf, 0.0]


@pytest.mark.parametrize("low, held", [(100.0, 1.0), (100.25, 1.0), (100.26, 0.0), (99.75, 1.0)])
def test_a_retest_comes_within_a_quarter_of_the_range(low, held): assert feed([*UP, over(100.5, low)])[1][-1].up_retest == held


def test_a_retest_is_a_later_bar(): assert [x.up_retest for x in feed([over(100.5, 100.0)] * 3)[1]] == [0.0, 0.0, 1.0]


def test_a_retest_that_closes_on_the_edge_does_not_hold():
    seen = feed([*UP, over(100.0, 99.9)])[1][-1]
    assert seen.up_retest == 0.0 and seen.up_ago == inf


@pytest.mark.parametrize("bars, held", [(19, 1.0), (20, 1.0), (21, 0.0)])
def test_it_lasts_twenty_bars(bars, held):
    seen = feed([*UP, *[over(102.0)] * (bars - 1), over(100.5, 100.1)])[1][-1]
    assert seen.up_retest == held and seen.up_ago == (bars if held else inf)


def test_what_has_lapsed_wants_a_close_inside_first():
    unit, _ = feed([*UP, *[over(102.0)] * 30])
    assert feed([over(102.0)] * 3, unit)[1][-1].up_ago == inf
    assert feed([over(99.0), *UP], unit)[1][-1].up_ago == 0.0


def test_three_closes_may_be_asked_for():
    assert [x.up_ago for x in feed([over(100.5)] * 4, Acceptance.of(closes=3))[1]] == [inf, inf, 0.0, 1.0]


@pytest.mark.parametrize("fixed, ago", [(1, inf), (0, 2.0)])
def test_other_levels_begin_anew_where_they_belong_to_sessions(fixed, ago):
    unit, _ = feed([*UP, over(101.0)], Acceptance.of(fixed=fixed))
    assert feed([over(101.0)], unit, vah=100.125)[1][-1].up_ago == (ago if fixed else 2.0)
    assert feed([over(101.0)], unit, val=96.125)[1][-1].up_ago == (ago if fixed else 2.0)
    assert feed([over(101.0)], unit)[1][-1].up_ago == 2.0, "the same levels go on"


def test_the_close_that_brings_new_levels_is_the_first_against_them():
    unit, _ = feed([over(101.0)] * 5)
    assert [x.up_ago for x in feed([over(101.0)] * 2, unit, vah=100.125)[1]] == [inf, 0.0]


def test_without_levels_nothing_is_accepted_and_nothing_is_nan():
    for vah, val in ((nan, nan), (nan, 96.0), (100.0, nan)):
        for seen in feed([over(98.0)] * 5, vah=vah, val=val)[1]: assert seen == QUIET
    unit, told = feed([over(101.0)] * 4, vah=nan, val=nan)
    assert told[-1] == QUIET
    assert [x.up_ago for x in feed([over(101.0)] * 2, unit)[1]] == [inf, 0.0], "closes before the levels do not count"


def test_levels_that_get_lost_take_it_back():
    unit, _ = feed(UP, Acceptance.of(fixed=0))
    assert feed([over(101.0)], unit, vah=nan, val=nan)[1][-1] == QUIET


def test_it_is_silent_until_the_range_is_known_but_counts():
    unit, told = feed(UP, atr=nan)
    assert all(isnan(v) for x in told for v in x)
    assert feed([over(101.0)], unit)[1][-1].up_ago == 1.0


def test_below_is_above_in_the_mirror():
    steps = [over(99.0), *UP, over(102.0), over(100.5, 100.25), over(100.5, 100.3), over(99.0), *UP, over(100.5, 99.8)]
    for up, down in zip(feed(steps)[1], feed([(196.0 - h, 196.0 - low, 196.0 - c) for low, h, c in steps])[1], strict=True):
        assert (up.up_ago, up.up_retest, up.down_ago, up.down_retest) == (down.down_ago, down.down_retest, down.up_ago, down.up_retest)


def test_the_memory_survives_saving_at_any_bar():
    steps = [*UP, over(102.0), over(100.5, 100.1), over(99.0), (95.0, 96.0, 95.5), (95.0, 96.0, 95.5), (95.0, 95.9, 95.5)]
    whole = feed(steps)[1]
    for k in range(len(steps)):
        unit, _ = feed(steps[:k])
        assert same_bits(feed(steps[k:], loads(Acceptance.of(), dumps(unit)))[1], whole[k:])


@pytest.mark.parametrize("wrong", [dict(closes=0), dict(latest=0), dict(near=-0.1), dict(fixed=2), dict(closes=1.5)])
def test_senseless_memories_are_refused(wrong):
    with pytest.raises(ParameterError): Acceptance.of(**wrong)


# --- what one profile says ---

def bar(close=96.5, low=95.5, high=96.75, open=96.25) -> Bar: return candle(40, open, high, low, close)


@pytest.mark.parametrize("low, close, side", [
    (95.99, 96.5, 1), (96.0, 96.5, 0), (96.2, 96.5, 0),                 # strictly below the area
    (95.5, 96.0, 0), (95.5, 96.01, 1), (95.5, 95.9, 0),                 # and back inside
    (95.5, 99.99, 1), (95.5, 100.0, 0), (95.5, 100.5, 0)])              # not out on the other side
def test_a_rejection_dips_out_and_closes_inside(low, close, side):
    at = edge_of(bar(close, low, close), 98.0, 100.0, 96.0, QUIET)
    assert at.side == side and (not side or (at.mode, at.edge, at.reach, at.width) == (REJECTION, 96.0, 96.0 - low, 4.0))


@pytest.mark.parametrize("high, close, side", [
    (100.01, 99.5, -1), (100.0, 99.5, 0), (100.5, 100.0, 0), (100.5, 99.99, -1), (100.5, 96.01, -1), (100.5, 96.0, 0)])
def test_a_rejection_from_above(high, close, side): assert edge_of(bar(close, close, high), 98.0, 100.0, 96.0, QUIET).side == side


def test_both_edges_at_once_say_nothing(): assert edge_of(bar(98.0, 95.5, 100.5), 98.0, 100.0, 96.0, QUIET).side == 0


def test_a_retest_that_holds_speaks_for_its_side():
    assert edge_of(bar(100.5, 100.125, 101.0), 98.0, 100.0, 96.0, ABOVE)[:4] == (1, ACCEPTANCE, 100.0, 98.0)
    assert edge_of(bar(95.5, 95.0, 95.875), 98.0, 100.0, 96.0, BELOW)[:4] == (-1, ACCEPTANCE, 96.0, 98.0)


def test_acceptance_alone_is_no_trigger():
    assert edge_of(bar(101.5, 101.0, 102.0), 98.0, 100.0, 96.0, AcceptanceView(3.0, 0.0, inf, 0.0)).side == 0


def test_an_unknown_profile_says_nothing():
    for accepted in (QUIET, AcceptanceView(nan, nan, nan, nan)): assert edge_of(bar(), nan, nan, nan, accepted).side == 0


# --- the decision ---

def row(bar=bar(), atr=1.0, volume=1.85, poc=98.0, vah=100.0, val=96.0, accepted=QUIET, rolling=RollingView(nan, nan, nan, nan),
        rolling_accepted=QUIET, zones=FREE, delta=1.0, hour=1.0, four_hours=1.0):
    return Row(bar, atr, volume, NO_SWING, zones, TrendView(hour, 90.0), TrendView(four_hours, 90.0),
               SessionView(poc, vah, val, nan, nan, nan, nan, 1.0), rolling, accepted, rolling_accepted,
               CVDView(delta, 0.0, 1.0, 50.0, 0.0))


def decide(strategy=None, **now):
    r = row(**now)
    return (strategy or ProfileTrade()).decide(r, r)


def accept(strategy=None, **now):
    "A bar that came back to the upper edge of 100 and held; its stop stands at 99.5, the point of control at 98."
    return decide(strategy, **dict(bar=bar(100.5, 100.125, 101.0, 100.75), accepted=ABOVE) | now)


def why(signal) -> list[str]: return failed_filters(ProfileTrade(), signal)


def test_a_rejection_in_the_open():
    s = decide()
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, REJECTION, 96.5, 95.5, STANDARD, 1.0, 0)
    assert s.parts == pytest.approx(ProfileScore(precision=1.25, room=0.5, volume=1.0, shape=1.5, delta=1.0, trend=1.0)) and s.raw == 6.2
    assert (s.t1, s.t2) == (1.5, 2.0) and isnan(s.t3)


def test_an_acceptance_in_the_open():
    s = accept()
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.failed) == (1, ACCEPTANCE, 100.5, 99.5, STANDARD, 0)
    assert s.parts == pytest.approx(ProfileScore(precision=2.1875, room=2.0, volume=1.0, shape=1.5, delta=1.0, trend=1.0)) and s.raw == 8.7
    assert isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "the preset's targets"


def test_nothing_where_no_edge_speaks():
    for now in (dict(bar=bar(98.0, 97.5, 98.5)), dict(poc=nan, vah=nan, val=nan), dict(atr=0.0), dict(atr=nan)):
        assert same_bits(decide(**now), NO_PROFILE)


def test_yesterday_is_asked_first_and_then_the_last_bars():
    wide = RollingView(97.0, 99.0, 95.625, 0.25)
    assert decide(rolling=wide).stop == 95.5, "yesterday speaks"
    assert decide(rolling=wide, volume=0.1).stop == 95.5, "a refusal is an answer too"
    for silent in (dict(val=95.0), dict(poc=nan, vah=nan, val=nan)):
        s = decide(rolling=wide, **silent)
        assert (s.side, s.mode, s.stop) == (1, REJECTION, 95.125)
    one = dict(bar=bar(100.5, 100.125, 101.0), vah=104.0, val=90.0, rolling=RollingView(98.0, 100.0, 96.0, 0.25))
    s = decide(rolling_accepted=ABOVE, **one)
    assert (s.side, s.mode, s.stop) == (1, ACCEPTANCE, 99.5)
    assert decide(**one).side == 0, "each profile has its own memory"
    both = decide(bar=bar(98.0, 95.5, 100.5), rolling=wide._replace(vah=100.75))
    assert both.side == 1, "both of yesterday's edges at once say nothing, the last bars do"


def test_where_they_disagree_yesterday_decides():
    other = RollingView(95.0, 96.625, 92.0, 0.25)       # the same bar went above this one's edge and closed below it
    assert decide(rolling=other).side == 1 and decide(rolling=other, poc=nan, vah=nan, val=nan).side == -1


@pytest.mark.parametrize("changes, failed", [
    (dict(volume=1.2), []), (dict(volume=1.19), ["volume"]), (dict(volume=0.0), ["volume"]),
    (dict(poc=97.5), []), (dict(poc=97.49), ["goal"]), (dict(poc=96.5), ["goal"]),                    # at least one R ahead
    (dict(poc=96.49), ["magnet", "goal"]), (dict(poc=96.01), ["magnet", "goal"]),                      # behind, but near
    (dict(atr=0.0966, val=96.4, bar=bar(96.5, 96.39)), []),
    (dict(atr=0.0964, val=96.4, bar=bar(96.5, 96.39)), ["volatility"])])
def test_every_filter_of_a_rejection_at_its_edge(changes, failed):
    "A rich score otherwise, so that only the filter in question speaks."
    assert why(decide(ProfileTrade(least=0.0), **dict(volume=2.5) | changes)) == failed


@pytest.mark.parametrize("poc, failed", [(100.0, ["magnet"]), (100.25, ["magnet"]), (99.99, []), (98.0, [])])
def test_the_point_of_control_pulls_from_half_a_range(poc, failed): assert why(accept(volume=2.5, poc=poc)) == failed


def test_a_point_of_control_at_the_entry_is_not_behind_it(): assert "magnet" not in why(decide(poc=96.5))


def test_an_acceptance_does_not_ask_for_a_goal_ahead(): assert why(accept(poc=97.0, volume=2.5)) == []


@pytest.mark.parametrize("most, failed", [(0.01, []), (0.0099, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 100, stop 99: one part in a hundred."
    s = decide(ProfileTrade(max_stop=most), bar=bar(100.0, 99.25), val=99.5, vah=103.5, poc=102.0, volume=2.5)
    assert (s.entry, s.stop) == (100.0, 99.0) and why(s) == failed


def test_a_market_that_moves_too_much():
    assert why(decide(ProfileTrade(least=0.0), atr=9.65, poc=103.0, vah=120.0)) == []
    assert why(decide(ProfileTrade(least=0.0), atr=9.66, poc=103.0, vah=120.0)) == ["volatility"]


@pytest.mark.parametrize("volume, raw, failed", [
    (1.2 + 1.3 * 0.47, 4.9, ["score"]), (1.2 + 1.3 * 0.48, 5.0, []), (1.2 + 1.3 * 0.5, 5.0, [])])
def test_the_score_is_compared_after_rounding(volume, raw, failed):
    "1.5 for the shape, 2 for room, no trend, no delta, half a point of precision; the volume gives up to 2."
    s = decide(volume=volume, bar=bar(low=95.2), poc=99.5, delta=0.0, hour=0.0, four_hours=0.0)
    assert s.parts.precision == pytest.approx(0.5) and s.raw == raw and why(s) == failed


def test_where_all_fail_all_are_named():
    s = decide(ProfileTrade(max_stop=0.001), volume=0.1, poc=96.25, atr=9.8, delta=-1.0, hour=-1.0, four_hours=-1.0)
    assert why(s) == list(ProfileTrade.filters)


@pytest.mark.parametrize("part, changes, points", [
    ("precision", dict(bar=bar(low=95.0)), 0.0), ("precision", dict(bar=bar(low=94.0)), 0.0),
    ("precision", dict(bar=bar(low=95.75)), 1.875),
    ("precision", dict(atr=2.0), 1.875),
    ("room", dict(poc=97.5), 0.0), ("room", dict(poc=98.5), 1.0), ("room", dict(poc=99.5), 2.0), ("room", dict(poc=99.9), 2.0),
    ("room", dict(poc=96.0), 0.0), ("room", dict(zones=FREE._replace(resistance=96.6)), 0.5),
    ("volume", dict(volume=1.2), 0.0), ("volume", dict(volume=2.5), 2.0), ("volume", dict(volume=9.0), 2.0),
    ("volume", dict(volume=0.1), 0.0),
    ("shape", dict(vah=98.0), 1.5), ("shape", dict(vah=97.99), 0.0), ("shape", dict(vah=102.0), 1.5), ("shape", dict(vah=102.01), 0.0),
    ("delta", dict(delta=0.0), 0.0), ("delta", dict(delta=-1.0), 0.0), ("delta", dict(delta=nan), 0.0), ("delta", dict(delta=0.01), 1.0),
    ("trend", dict(four_hours=0.0), 0.5), ("trend", dict(four_hours=-1.0), 0.0), ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0)])
def test_points_of_each_part(part, changes, points): assert getattr(decide(**changes).parts, part) == pytest.approx(points, abs=1e-12)


@pytest.mark.parametrize("resistance, points", [(100.25, 0.0), (101.5, 0.0), (102.5, 1.0), (103.5, 2.0), (inf, 2.0)])
def test_room_of_an_acceptance_is_that_to_the_next_zone(resistance, points):
    assert accept(zones=FREE._replace(resistance=resistance)).parts.room == pytest.approx(points, abs=1e-12)


@pytest.mark.parametrize("low, points", [(100.0, 2.5), (100.25, 1.875), (99.75, 1.875)])
def test_precision_of_an_acceptance_counts_either_way(low, points):
    assert accept(bar=bar(100.5, low, 101.0)).parts.precision == pytest.approx(points)


@pytest.mark.parametrize("poc, t1, t2", [
    (97.25, nan, nan), (97.375, 0.875, 2.0), (97.5, 1.0, 2.0), (98.0, 1.5, 2.0), (98.25, 1.75, 2.25), (98.5, 2.0, 2.5), (98.625, nan, nan)])
def test_the_point_of_control_is_the_first_target_where_it_lies_between(poc, t1, t2):
    assert same_bits((decide(poc=poc).t1, decide(poc=poc).t2), (t1, t2))


def test_eight_tenths_are_enough_and_less_is_not():
    "Entry 10, stop 5: the risk is exactly 5, and 4 ahead are 0.8 of it."
    near = dict(bar=bar(10.0, 5.5, 10.0), atr=2.0, val=6.0, vah=20.0)
    assert decide(**near, poc=14.0).t1 == 0.8 and decide(**near, poc=14.0).t2 == 2.0 and isnan(decide(**near, poc=13.999).t1)


def test_targets_rise():
    for k in range(0, 320):
        s = decide(poc=96.0 + k / 64)
        assert (isnan(s.t1) and isnan(s.t2)) or (0.8 <= s.t1 <= 2.0 and s.t1 < s.t2)


def mirrored(r, level=98.0):
    "The row of prices reflected at a level, volumes kept."
    m, z = lambda x: 2 * level - x, r.zones
    b = r.bar._replace(open=m(r.bar.open), high=m(r.bar.low), low=m(r.bar.high), close=m(r.bar.close))
    turn = lambda a: AcceptanceView(a.down_ago, a.down_retest, a.up_ago, a.up_retest)
    return r._replace(bar=b, zones=ZoneView(m(z.support), m(z.support_far), z.support_strength, m(z.resistance), m(z.resistance_far),
                                            z.resistance_strength),
                      hour=TrendView(-r.hour.dir, 0.0), four_hours=TrendView(-r.four_hours.dir, 0.0),
                      session=r.session._replace(poc=m(r.session.poc), vah=m(r.session.val), val=m(r.session.vah)),
                      rolling=r.rolling._replace(poc=m(r.rolling.poc), vah=m(r.rolling.val), val=m(r.rolling.vah)),
                      session_accepted=turn(r.session_accepted), rolling_accepted=turn(r.rolling_accepted),
                      cvd=r.cvd._replace(delta=-r.cvd.delta))


@st.composite
def rows(draw):
    "Rows of numbers on a grid that floats hold exactly; what was accepted agrees with the close."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    low, open_, close, high = (lambda p, turn: (p[0], p[1 + turn], p[2 - turn], p[3]))(sorted(grid(94, 102) for _ in range(4)),
        draw(st.integers(0, 1)))
    val, poc, vah = sorted(grid(95, 101) for _ in range(3))
    other = sorted(grid(95, 101) for _ in range(3))
    told = lambda top, bottom: draw(st.sampled_from([QUIET, ABOVE if close > top else QUIET, BELOW if close < bottom else QUIET]))
    way = st.sampled_from([-1.0, 0.0, 1.0])
    zones = ZoneView(draw(st.sampled_from([inf, 102.5])), inf, 50.0, draw(st.sampled_from([-inf, 93.5])), -inf, 50.0)
    return row(bar(close, low, high, open_), grid(0.5, 3), grid(0.5, 3), poc, vah, val, told(vah, val),
               RollingView(other[1], other[2], other[0], 0.25),
               told(other[2], other[0]), zones, draw(way), draw(way), draw(way))


@settings(max_examples=400, deadline=None)
@given(rows())
def test_longs_are_mirrored_shorts(now):
    strategy = ProfileTrade(max_stop=0.5)
    long, short = strategy.decide(now, now), strategy.decide(mirrored(now), mirrored(now))
    assert short.side == -long.side
    if long.side:
        alike = lambda s: (s.mode, s.failed, s.raw, s.parts, s.t1, s.t2)
        assert same_bits(alike(short), alike(long))
        assert short.entry - 98.0 == 98.0 - long.entry and short.stop - 98.0 == 98.0 - long.stop
        assert long.side * (long.entry - long.stop) > 0.0 and 0.0 <= sum(long.parts) <= 10.0


@pytest.mark.parametrize("wrong, hint", [
    (dict(srge=1.0), "did you mean 'surge'"), (dict(beyond=0.0), "outside"), (dict(magnet=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(ProfileTrade, **wrong)


# --- whole series ---

@pytest.fixture(scope="module")
def found():
    "Candidates, refused ones too, and their bars on made-up candles."
    stream, told = Stream({"profile_trade": ProfileTrade()}, "TEST", 15), []
    for b in sample_bars("SOLUSDT")[:7000]: told += [c for step in stream.accept(b) for c in step.candidates]
    return told


def test_both_modes_and_sides_come_up_on_the_sample(found):
    assert {(c.signal.mode, c.signal.side) for c in found} == {(m, s) for m in (REJECTION, ACCEPTANCE) for s in (1, -1)}
    assert any(not c.signal.failed for c in found)


def test_signals_of_a_series_keep_the_rules(found):
    for c in found:
        s, f = c.signal, c.features
        edges = [f[f"{p}.{e}"] - s.side * 0.5 * s.atr for p in ("session", "rolling") for e in ("val", "vah")]
        assert s.stop in edges and s.entry == c.bar.close and s.side * (s.entry - s.stop) > 0.0
        assert isnan(s.t1) or (s.mode == REJECTION and s.t1 < s.t2)
        assert "goal" in why(s) or s.mode == ACCEPTANCE or isnan(s.t1) or s.t1 >= 1.0


@pytest.mark.parametrize("seed", [21, 22])
def test_compiled_and_plain_agree(seed):
    bars = walk(seed, 6000, step=0.25)
    bars = replace(bars, taker_buy=0.5 * bars.volume)
    loose = ProfileTrade(least=0.0, surge=0.0)
    one, two = (signals_of(loose, Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])


# --- where the module and what was asked for part ways ---

def test_an_acceptance_asks_for_no_volume(): assert "volume" not in why(accept(volume=1.0))


def test_a_low_far_below_the_edge_is_no_retest(): assert feed([*UP, over(100.5, 99.0)])[1][-1].up_retest == 0.0


def test_after_settling_the_beginning_is_forgotten():
    steps = [over(102.0)] * 60
    late, whole = feed(steps[35:])[1], feed(steps)[1]
    assert same_bits(late[Acceptance.of().settle():][0], whole[35 + Acceptance.of().settle()])
