"Touches and the pullback by hand: every rule, filter and part at its edges, shorts as mirrors, a whole series (quant_spec C5)."
from dataclasses import replace
from math import inf, isnan, nan

import pytest
from fixtures.candles import candle, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.registry import strategies
from perps_kit.core.signal import STANDARD, failed_filters, trait
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, make, same_bits
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.adx import ADXView
from perps_kit.indicators.anchored_vwap import AnchoredView
from perps_kit.indicators.patterns import PatternsView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.touches import Touches, TouchView
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.vwap import VWAPView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.pullback import NO_PULLBACK, Pullback, PullbackScore, ordered

# --- touches ---

FAR = 50.0                                      # a line that no bar here comes near
LINES = ("average", "day", "swing_low", "swing_high")


def touched(bars, near=0.25, n=5, atr=1.0, volumes=None, slow=90.0, **lines):
    "What the unit says after each bar; a line stands still, or is given bar by bar."
    at = {name: [x] * len(bars) if isinstance(x, float) else x for name, x in (dict.fromkeys(LINES, FAR) | lines).items()}
    unit, seen = Touches.of(n, near), []
    for i, bar in enumerate(bars):
        vr = 0.5 if volumes is None else volumes[i]
        unit, view = unit.update(bar, atr, vr, at["average"][i], slow, at["day"][i], at["swing_low"][i], at["swing_high"][i])
        seen.append(view)
    return seen


def flat(lows, high=104.0, close=103.0): return [candle(i, 103.0, high, low, close) for i, low in enumerate(lows)]


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("low, ago", [(100.25, 0.0), (100.26, inf), (100.0, 0.0), (99.75, 0.0)])
def test_a_low_within_reach_of_a_line_touches_it_and_no_other(name, low, ago):
    "Line at 100, a quarter of an ATR of 1 around it."
    seen = touched(flat([102.0] * 4 + [low]), **{name: 100.0})[-1]
    assert getattr(seen, name) == ago and all(getattr(seen, other) == inf for other in LINES if other != name)


@pytest.mark.parametrize("high, ago", [(99.75, 0.0), (99.74, inf), (100.0, 0.0), (100.25, 0.0)])
def test_a_high_within_reach_of_a_line_touches_it(high, ago):
    assert touched([candle(i, 97.0, high if i == 4 else 98.0, 96.0, 97.0) for i in range(5)], average=100.0)[-1].average == ago


@pytest.mark.parametrize("atr, ago", [(1.0, inf), (2.0, 0.0), (1.99, inf)])
def test_the_reach_is_a_part_of_the_range(atr, ago):
    assert touched(flat([102.0] * 4 + [100.5]), atr=atr, average=100.0)[-1].average == ago


def test_five_bars_are_remembered_this_one_included():
    seen = touched(flat([102.0] * 5 + [100.0] + [102.0] * 6), average=100.0)
    assert [x.average for x in seen[4:]] == [inf, 0.0, 1.0, 2.0, 3.0, 4.0, inf, inf]


def test_the_last_touch_counts():
    seen = touched(flat([100.0, 102.0, 100.0, 102.0, 102.0]), average=100.0)
    assert seen[-1].average == 2.0


def test_a_touch_is_of_the_line_as_it_was_then():
    "The low of 100 met a line at 100, which now lies at 95; later lows meet nothing."
    assert touched(flat([102.0, 102.0, 100.0, 102.0, 102.0]), average=[95.0, 95.0, 100.0, 95.0, 95.0])[-1].average == 2.0
    assert touched(flat([102.0, 102.0, 100.0, 102.0, 102.0]), average=[100.0, 100.0, 95.0, 100.0, 100.0])[-1].average == inf


def test_lines_that_are_not_known_are_not_touched():
    seen = touched(flat([100.0] * 5), day=nan, swing_low=nan, swing_high=nan, average=100.0)[-1]
    assert (seen.average, seen.day, seen.swing_low, seen.swing_high) == (0.0, inf, inf, inf) and not any(isnan(x) for x in seen)


def test_a_line_that_becomes_known_is_touched_from_then_on():
    seen = touched(flat([100.0] * 6), day=[nan, nan, nan, nan, nan, 100.0])
    assert [x.day for x in seen[4:]] == [inf, 0.0]


def test_the_ends_are_those_of_the_last_five_bars():
    lows, highs = [90.0, 99.0, 97.0, 98.0, 99.5, 100.0, 100.5], [120.0, 105.0, 104.0, 107.0, 103.0, 103.5, 103.6]
    bars = [candle(i, 102.0, h, low, 102.0) for i, (low, h) in enumerate(zip(lows, highs, strict=True))]
    assert [(x.low, x.high) for x in touched(bars)[4:]] == [(90.0, 120.0), (97.0, 107.0), (97.0, 107.0)]


@pytest.mark.parametrize("volumes, quiet", [
    ([0.5, 0.25, 1.0, 0.25, 9.0], 0.5), ([9.0, 0.5, 0.5, 0.5, 0.5, 3.0], 0.5), ([0.0] * 5, 0.0), ([0.5, nan, 0.5, 0.5, 0.5], inf),
    ([0.5, 0.5, 0.5, 0.5, nan], 0.5), ([nan, 0.5, 0.5, 0.5, 0.5, 0.5], 0.5)])
def test_the_way_back_is_quiet_without_the_turning_bar(volumes, quiet):
    assert touched(flat([102.0] * len(volumes)), volumes=volumes)[-1].quiet == quiet


@pytest.mark.parametrize("closes, below, above", [
    ([103.0] * 5, 0.0, 5.0), ([100.0] * 5, 0.0, 0.0), ([99.99, 100.0, 100.01, 99.0, 103.0], 2.0, 2.0),
    ([99.0, 103.0, 103.0, 103.0, 103.0, 103.0], 0.0, 5.0), ([103.0, 103.0, 103.0, 103.0, 99.0], 1.0, 4.0)])
def test_closes_beyond_the_slow_average_are_counted_on_it_is_neither(closes, below, above):
    seen = touched([candle(i, c, 104.0, 98.0, c) for i, c in enumerate(closes)], slow=100.0)[-1]
    assert (seen.below, seen.above) == (below, above)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_nothing_is_said_before_the_window_is_full(n):
    seen = touched(flat([100.0] * (n + 2)), n=n, average=100.0)
    assert Touches.of(n).warmup() == n and all(isnan(x) for view in seen[:n - 1] for x in view)
    assert not any(isnan(x) for view in seen[n - 1:] for x in view)


@pytest.mark.parametrize("missing", range(3))
def test_bars_without_their_range_or_averages_do_not_count(missing):
    unit, bars = Touches.of(), flat([100.0] * 6)
    given_ = [1.0, 100.0, 90.0]
    given_[missing] = nan
    unit, first = unit.update(bars[0], given_[0], 0.5, given_[1], given_[2], nan, nan, nan)
    assert unit.k == 0 and all(isnan(x) for x in first)
    for bar in bars[1:5]: unit, view = unit.update(bar, 1.0, 0.5, 100.0, 90.0, nan, nan, nan)
    assert isnan(view.low)
    assert unit.update(bars[5], 1.0, 0.5, 100.0, 90.0, nan, nan, nan)[1].low == 100.0


@pytest.mark.parametrize("wrong", [dict(n=1), dict(n=51), dict(near=-0.1), dict(near=5.1), dict(near=nan)])
def test_senseless_windows_are_refused(wrong):
    with pytest.raises(ParameterError): make(Touches, **wrong)


def test_its_numbers_are_five_bars_and_a_fifth_of_the_range():
    assert same_bits(Touches.of(), Touches.of(5, 0.2)) and Touches.wired()["touches"].unit.near == 0.2


quarters = st.integers(-12, 12).map(lambda k: 100.0 + k / 4)


@st.composite
def told(draw):
    "Some bars with their lines, on a grid that floats hold exactly."
    rows = []
    for i in range(draw(st.integers(5, 14))):
        o, c, up, down = draw(quarters), draw(quarters), draw(st.integers(0, 4)) / 4, draw(st.integers(0, 4)) / 4
        bar = candle(i, o, max(o, c) + up, min(o, c) - down, c)
        lines = [draw(st.one_of(st.just(nan), quarters)) for _ in range(3)]
        rows.append((bar, draw(st.integers(1, 8)) / 4, draw(st.integers(0, 12)) / 4, draw(quarters), draw(quarters), *lines))
    return rows


def upside_down(row):
    m = lambda x: 200.0 - x
    b, atr, vr, average, slow, day, low, high = row
    turned = b._replace(open=m(b.open), high=m(b.low), low=m(b.high), close=m(b.close))
    return turned, atr, vr, m(average), m(slow), m(day), m(high), m(low)


@settings(max_examples=300, deadline=None)
@given(told())
def test_touches_are_those_of_a_plain_search_and_turn_with_the_prices(rows):
    one, two = Touches.of(5, 0.25), Touches.of(5, 0.25)
    for i, row in enumerate(rows):
        one, seen = one.update(*row)
        two, turned = two.update(*upside_down(row))
        if i < 4: continue
        window = rows[i - 4:i + 1][::-1]
        found = [min((float(ago) for ago, r in enumerate(window) if not isnan(r[k]) and max(r[0].low - r[k], r[k] - r[0].high) <= r[1] / 4),
                     default=inf) for k in (3, 5, 6, 7)]
        bars = [r[0] for r in window]
        assert seen == (*found, min(b.low for b in bars), max(b.high for b in bars), sum(r[2] for r in window[1:]) / 4,
                        sum(r[0].close < r[4] for r in window), sum(r[0].close > r[4] for r in window))
        assert turned == (seen.average, seen.day, seen.swing_high, seen.swing_low, 200.0 - seen.high, 200.0 - seen.low, seen.quiet,
                          seen.above, seen.below)


# --- the strategy: what it is ---

Row = row_type(tuple(Pullback().features()))
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)
LOOSE = Pullback(least=0.0, max_stop=0.5)


def row(close=102.0, ema21=101.0, ema50=100.0, ema200=97.0, average=1.0, day=inf, swing_low=inf, swing_high=inf, low=100.75, high=104.0,
        quiet=0.5, below=0.0, above=5.0, day_line=nan, low_line=nan, high_line=nan, adx=30.0, rsi=50.0, volume=1.5, pin=0.0, engulfing=0.0,
        atr=1.0, support=-inf, resistance=inf, hour=1.0, four_hours=1.0):
    "A long in the open: the average was touched a bar ago, price closes above the high before."
    touches = TouchView(average, day, swing_low, swing_high, low, high, quiet, below, above)
    anchored = [AnchoredView(x, nan, nan, nan, 9.0) for x in (low_line, high_line)]
    return Row(candle(41, 101.25, 102.25, 101.0, close), atr, volume, NO_SWING, FREE._replace(support=support, resistance=resistance),
               TrendView(hour, 95.0), TrendView(four_hours, 94.0), ema21, ema50, VWAPView(day_line, nan, nan, nan, 1.0), *anchored, touches,
               ema200, ADXView(adx, 25.0, 15.0), rsi, PatternsView(pin, engulfing, *[0.0] * 5))


def before(high=101.75, low=100.75): return row()._replace(bar=candle(40, 101.5, high, low, 101.25))


def mirrored(r, level=100.0):
    "The row of prices reflected at a level."
    m = lambda x: 2 * level - x
    t, z, b, p = r.touches, r.zones, r.bar, r.patterns
    turned = lambda x: TrendView(-x.dir, m(x.average))
    touches = TouchView(t.average, t.day, t.swing_high, t.swing_low, m(t.high), m(t.low), t.quiet, t.above, t.below)
    zones = ZoneView(m(z.support), m(z.support_far), z.support_strength, m(z.resistance), m(z.resistance_far), z.resistance_strength)
    return r._replace(bar=b._replace(open=m(b.open), high=m(b.low), low=m(b.high), close=m(b.close)), zones=zones, touches=touches,
                      hour=turned(r.hour), four_hours=turned(r.four_hours), ema21=m(r.ema21), ema50=m(r.ema50), ema200=m(r.ema200),
                      day=r.day._replace(vwap=m(r.day.vwap)), swing_low=r.swing_high._replace(vwap=m(r.swing_high.vwap)),
                      swing_high=r.swing_low._replace(vwap=m(r.swing_low.vwap)), rsi=100.0 - r.rsi,
                      patterns=p._replace(pin=-p.pin, engulfing=-p.engulfing))


def decide(strategy=LOOSE, last=None, side=1, **now):
    two = row(**now), last or before()
    return strategy.decide(*two) if side > 0 else strategy.decide(*map(mirrored, two))


def why(signal): return failed_filters(Pullback, signal)


BOTH = pytest.mark.parametrize("side", [1, -1])


def test_it_is_registered_as_what_it_is():
    assert strategies()["pullback"] is Pullback
    assert (Pullback.minutes, Pullback.family, Pullback.filters[-3:]) == (15, "trend", ("volatility", "stop_width", "score"))
    assert (trait(Pullback, "scale"), trait(Pullback, "minimum")) == (10.0, None)


def test_the_row_is_the_one_that_its_features_make():
    assert [type(getattr(row(), x)).__name__ for x in ("touches", "day", "swing_low", "adx", "patterns")] == [
        "TouchView", "VWAPView", "AnchoredView", "ADXView", "PatternsView"]


def test_a_pullback_in_the_open():
    s = decide(Pullback())
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, 0, 102.0, pytest.approx(100.65), STANDARD, 1.0, 0)
    assert s.parts == pytest.approx(PullbackScore(confluence=0.0, strength=1.0, trend=2.0, quiet=0.75, volume=0.5, balance=1.0))
    assert s.raw == 5.2 and isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "4 + 1.25: half to even; the preset's targets"


def test_a_short_by_hand():
    s = decide(Pullback(), side=-1)
    assert (s.side, s.entry, s.stop, s.raw, s.failed) == (-1, 98.0, pytest.approx(99.35), 5.2, 0)


# --- the trend ---

@pytest.mark.parametrize("averages, side", [
    ((101.0, 100.0, 97.0), 1), ((101.0, 101.0, 97.0), 0), ((101.0, 100.0, 100.0), 0), ((101.0, 100.0, 100.5), 0), ((99.0, 100.0, 97.0), 0),
    ((97.0, 100.0, 101.0), -1), ((100.0, 100.0, 101.0), 0), ((97.0, 101.0, 101.0), 0), ((100.0, 100.0, 100.0), 0),
    ((nan, 100.0, 97.0), 0), ((101.0, 100.0, nan), 0)])
def test_three_averages_in_strict_order_are_a_trend(averages, side):
    assert ordered(row(ema21=averages[0], ema50=averages[1], ema200=averages[2])) == side


@BOTH
@pytest.mark.parametrize("changes", [
    dict(ema50=101.0), dict(ema200=100.0), dict(average=inf), dict(close=101.75), dict(ema21=102.0), dict(atr=0.0), dict(atr=nan)])
def test_nothing_where_nothing_triggers(side, changes): assert same_bits(decide(side=side, **changes), NO_PULLBACK)


# --- the lines ---

@BOTH
@pytest.mark.parametrize("changes, found", [
    (dict(), 0), (dict(average=0.0), 1), (dict(average=4.0), 1), (dict(average=0.0, ema21=101.999), 1), (dict(average=0.0, ema21=102.0), 0),
    (dict(day=0.0, day_line=101.5), 1), (dict(day=4.0, day_line=101.999), 1), (dict(day=0.0, day_line=102.0), 0),
    (dict(day=0.0, day_line=nan), 0), (dict(day_line=101.5), 0),
    (dict(swing_low=0.0, low_line=101.5), 1), (dict(swing_low=0.0, low_line=102.0), 0), (dict(swing_low=0.0, low_line=nan), 0),
    (dict(low_line=101.5), 0), (dict(swing_high=0.0, high_line=101.5), 0),
    (dict(average=0.0, ema21=103.0, day=0.0, day_line=101.5), 1)])
def test_a_touched_line_that_price_closes_away_from_is_needed(side, changes, found):
    "The other side's swing line is no line of this side; a line touched and lost does not stand in the way of another."
    assert decide(side=side, **dict(average=inf) | changes).side == side * found


# --- the turn ---

@BOTH
@pytest.mark.parametrize("close, changes, found", [
    (101.75, dict(), 0), (101.751, dict(), 1), (101.5, dict(), 0), (101.5, dict(pin=1.0), 1), (101.5, dict(engulfing=1.0), 1),
    (101.5, dict(pin=-1.0), 0), (101.5, dict(engulfing=-1.0), 0), (101.5, dict(pin=nan, engulfing=nan), 0), (102.0, dict(pin=-1.0), 1),
    (101.0, dict(pin=1.0), 0)])
def test_it_turns_above_the_high_before_or_by_a_shape(side, close, changes, found):
    "At 101 a pin bar closes on the line, not above it."
    assert decide(side=side, close=close, **changes).side == side * found


# --- the stop ---

@BOTH
@pytest.mark.parametrize("low, atr, risk", [
    (100.75, 1.0, 1.35), (101.5, 1.0, 0.8), (101.25, 1.0, 0.85), (101.31, 1.0, 0.8), (101.29, 1.0, 0.81), (102.0, 1.0, 0.8),
    (99.0, 2.0, 3.2), (101.0, 2.0, 1.6)])
def test_the_stop_is_a_tenth_beyond_the_worst_and_not_nearer_than_eight(side, low, atr, risk):
    s = decide(side=side, low=low, atr=atr)
    assert side * (s.entry - s.stop) == pytest.approx(risk)


# --- filters ---

@BOTH
@pytest.mark.parametrize("changes, failed", [
    (dict(adx=20.0), []), (dict(adx=19.99), ["strength"]), (dict(adx=0.0), ["strength"]),
    (dict(quiet=0.999), []), (dict(quiet=1.0), ["quiet"]), (dict(quiet=inf), ["quiet"]), (dict(quiet=0.0), []),
    (dict(below=1.0), ["held"]), (dict(below=5.0, above=0.0), ["held"]), (dict(above=0.0), []),
    (dict(close=102.5), []), (dict(close=102.501), ["stretch"]), (dict(close=103.0, atr=1.5), []),
    (dict(hour=-1.0, four_hours=-1.0), []), (dict(volume=0.0), []), (dict(rsi=90.0), [])])
def test_every_filter_at_its_edge(side, changes, failed): assert why(decide(side=side, **changes)) == failed


@pytest.mark.parametrize("atr, failed", [(0.1025, []), (0.1024, ["volatility"]), (10.25, []), (10.26, ["volatility"])])
def test_a_market_that_hardly_moves_or_moves_too_much_is_refused(atr, failed):
    assert why(decide(LOOSE._replace(stretch=10.0), close=102.5, ema21=102.0, atr=atr)) == failed


@pytest.mark.parametrize("most, failed", [(0.03125, []), (0.03124, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 96, the least stop of 0.8 ATR at 93: one part in 32."
    s = decide(LOOSE._replace(max_stop=most), close=96.0, ema21=95.0, ema50=94.0, ema200=90.0, low=96.0, atr=3.75,
               last=before(high=95.5, low=94.0))
    assert (s.entry, s.stop) == (96.0, 93.0) and why(s) == failed


@pytest.mark.parametrize("quiet, raw, failed", [(0.7, 5.0, []), (0.71, 4.9, ["score"]), (0.73, 4.9, ["score"]), (0.69, 5.0, [])])
def test_the_score_is_compared_after_rounding(quiet, raw, failed):
    "4.5 without the quiet, of which 0.45 make 4.95: to 5.0 by half to even, to 4.9 a hair below."
    s = decide(Pullback(), quiet=quiet)
    assert (s.raw, why(s)) == (raw, failed)


def test_where_all_fail_all_are_named():
    s = decide(Pullback(max_stop=0.001), adx=10.0, quiet=2.0, below=1.0, close=120.0, atr=12.1, volume=0.1, rsi=90.0, hour=-1.0)
    assert why(s) == list(Pullback.filters)


# --- score ---

DAY, SWING = dict(day=0.0, day_line=101.0), dict(swing_low=2.0, low_line=101.0)


@BOTH
@pytest.mark.parametrize("part, changes, points", [
    ("confluence", dict(), 0.0), ("confluence", DAY, 1.25), ("confluence", DAY | SWING, 2.5),
    ("confluence", DAY | SWING | dict(average=inf), 1.25),
    ("confluence", SWING | dict(average=inf), 0.0), ("confluence", DAY | SWING | dict(support=101.0), 2.5),
    ("confluence", dict(day=0.0, day_line=102.5), 0.0), ("confluence", dict(swing_high=0.0, high_line=101.0), 0.0),
    ("confluence", dict(support=100.75), 1.25), ("confluence", dict(support=100.74), 0.0), ("confluence", dict(support=-inf), 0.0),
    ("confluence", dict(resistance=101.0), 0.0),
    ("strength", dict(adx=20.0), 0.0), ("strength", dict(adx=30.0), 1.0), ("strength", dict(adx=40.0), 2.0),
    ("strength", dict(adx=80.0), 2.0), ("strength", dict(adx=5.0), 0.0),
    ("trend", dict(), 2.0), ("trend", dict(hour=0.0), 1.0), ("trend", dict(four_hours=0.0), 1.0), ("trend", dict(hour=-1.0), 0.0),
    ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0), ("trend", dict(hour=0.0, four_hours=0.0), 0.0),
    ("quiet", dict(quiet=0.0), 1.5), ("quiet", dict(quiet=0.5), 0.75), ("quiet", dict(quiet=1.0), 0.0), ("quiet", dict(quiet=3.0), 0.0),
    ("quiet", dict(quiet=inf), 0.0),
    ("volume", dict(volume=1.0), 0.0), ("volume", dict(volume=1.5), 0.5), ("volume", dict(volume=2.0), 1.0),
    ("volume", dict(volume=9.0), 1.0), ("volume", dict(volume=0.2), 0.0),
    ("balance", dict(rsi=40.0), 1.0), ("balance", dict(rsi=60.0), 1.0), ("balance", dict(rsi=39.9), 0.0), ("balance", dict(rsi=60.1), 0.0)])
def test_points_of_each_part(side, part, changes, points):
    assert getattr(decide(side=side, **changes).parts, part) == pytest.approx(points, abs=1e-12)


def test_ten_points_are_the_most_and_none_the_least():
    most = decide(**DAY, **SWING, adx=40.0, quiet=0.0, volume=2.0)
    assert most.raw == 10.0 == sum(most.parts)
    assert decide(adx=20.0, quiet=1.0, volume=1.0, rsi=70.0, hour=-1.0).raw == 0.0


# --- mirror ---

@st.composite
def rows(draw):
    "Two rows of numbers on a grid that floats hold exactly, most of them near a pullback."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    ago, way = st.sampled_from([0.0, 1.0, 4.0, inf]), st.sampled_from([-1.0, 0.0, 1.0])
    line = lambda: draw(st.one_of(st.just(nan), st.integers(1600, 1648).map(lambda k: k / 16)))
    close, low = grid(101, 103), grid(99, 101)
    now = row(close, grid(100, 102), grid(99, 101), grid(96, 100), draw(ago), draw(ago), draw(ago), draw(ago), low, grid(103, 105),
              grid(0, 2), draw(st.sampled_from([0.0, 0.0, 1.0])), draw(st.sampled_from([0.0, 4.0, 5.0])), line(), line(), line(),
              grid(15, 45), grid(30, 70), grid(0, 3), draw(way), draw(way), grid(0.25, 2), draw(st.sampled_from([-inf, 99.5, 100.5])),
              draw(st.sampled_from([inf, 103.5, 104.5])), draw(way), draw(way))
    return now, before(high=grid(101, 103), low=grid(99, 101))


@settings(max_examples=500, deadline=None)
@given(rows())
def test_longs_are_mirrored_shorts(pair):
    now, was = pair
    long, short = LOOSE.decide(now, was), LOOSE.decide(mirrored(now), mirrored(was))
    assert short.side == -long.side
    if not long.side: return
    no = (1 << Pullback.filters.index("volatility")) | (1 << Pullback.filters.index("stop_width"))     # percentages know up from down
    assert (short.failed & ~no, short.raw) == (long.failed & ~no, long.raw) and short.parts == pytest.approx(long.parts, abs=1e-12)
    assert (short.entry, short.stop) == (200.0 - long.entry, pytest.approx(200.0 - long.stop))
    assert long.side * (long.entry - long.stop) >= 0.8 * now.atr - 1e-9 and 0.0 <= long.raw <= 10.0


# --- parameters ---

@pytest.mark.parametrize("wrong, hint", [
    (dict(strenght=1.0), "did you mean 'strength'"), (dict(strength=101.0), "outside"), (dict(stretch=0.0), "outside"),
    (dict(max_stop=0.6), "outside"), (dict(least=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(Pullback, **wrong)


@pytest.mark.parametrize("strategy, failed", [
    (LOOSE._replace(strength=30.0), []), (LOOSE._replace(strength=30.1), ["strength"]), (LOOSE._replace(stretch=1.0), []),
    (LOOSE._replace(stretch=0.99), ["stretch"]), (LOOSE._replace(least=5.2), []), (LOOSE._replace(least=5.3), ["score"])])
def test_its_numbers_are_parameters(strategy, failed): assert why(decide(strategy)) == failed


# --- whole series ---

N = 7000


@pytest.fixture(scope="module")
def found():
    "Candidates, refused ones too, on made-up candles."
    stream = Stream({"pullback": Pullback()}, "TEST", 15)
    return [c for b in sample_bars("SOLUSDT")[:N] for step in stream.accept(b) for c in step.candidates]


def test_both_sides_come_up_and_some_pass(found):
    assert {c.signal.side for c in found} == {1, -1} and any(not c.signal.failed for c in found)


def test_triggers_of_a_series_are_those_of_the_plain_rules(found):
    "Averages, lines and range are read from columns of their own tests; window, touch, turn and stop are worked out anew from the candles."
    bars = sample_bars("SOLUSDT")[:N]
    candles, columns, it = list(bars), Columns(bars), Pullback()
    get = lambda name: columns.of(it, name)
    fast, slow, slower, atr, shape = get("ema21"), get("ema50"), get("ema200"), get("atr"), get("patterns")
    lines = {1: (fast, get("day").vwap, get("swing_low").vwap), -1: (fast, get("day").vwap, get("swing_high").vwap)}
    wanted, start = [], 4100                            # all features speak from candle 4000 on
    for i in range(start, N):
        side = 1 if fast[i] > slow[i] > slower[i] else -1 if fast[i] < slow[i] < slower[i] else 0
        b, last, window = candles[i], candles[i - 1], range(i - 4, i + 1)
        if not side: continue
        near = lambda line, k: max(candles[k].low - line[k], line[k] - candles[k].high) <= 0.2 * atr[k]
        held = any(side * (b.close - line[i]) > 0 and any(near(line, k) for k in window) for line in lines[side])
        beyond = b.close > last.high if side > 0 else b.close < last.low
        if not held or not (beyond or side in (shape.pin[i], shape.engulfing[i])): continue
        worst = min(candles[k].low for k in window) if side > 0 else max(candles[k].high for k in window)
        wanted.append((b.close_time, side, pytest.approx(b.close - side * max(side * (b.close - worst) + 0.1 * atr[i], 0.8 * atr[i]))))
    said = [(c.time, c.signal.side, c.signal.stop) for c in found if c.time > bars.open_time[start]]
    assert len(wanted) > 50 and said == wanted


def test_signals_of_a_series_keep_the_rules(found):
    bars = {b.close_time: b for b in sample_bars("SOLUSDT")[:N]}
    for c in found:
        s, f = c.signal, c.features
        last = [bars[c.time - k * 900_000] for k in range(5)]
        assert s.entry == c.bar.close and s.side * (s.entry - s.stop) >= 0.8 * s.atr - 1e-9
        assert s.stop < min(b.low for b in last) if s.side > 0 else s.stop > max(b.high for b in last)
        if s.failed: continue
        assert s.raw >= 5.0 and f["adx.adx"] >= 20.0 and f["touches.quiet"] < 1.0
        assert s.side * (s.entry - f["ema21"]) <= 1.5 * s.atr and f["touches.below" if s.side > 0 else "touches.above"] == 0.0


@pytest.mark.parametrize("seed", [41, 42])
def test_compiled_and_plain_agree(seed):
    bars = walk(seed, 6000, step=0.25)
    bars = replace(bars, taker_buy=0.5 * bars.volume)
    loose = Pullback(least=0.0, strength=0.0, stretch=10.0)
    one, two = (signals_of(loose, Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])


def test_what_it_asks_can_be_said_of_every_filter(found):
    for c in found[:50]:
        words = {k.replace(".", "_"): v for k, v in c.features.items()} | dict(entry=c.signal.entry, stop=c.signal.stop, raw=c.signal.raw)
        for name, value in Pullback()._asdict().items(): words.setdefault(name, value)
        for name in Pullback.filters: assert Pullback.asks[name].format(**words)
        assert Pullback.idle.format(**words)
