"The EMA scalper's decision by hand: every filter at its edge, the score by its parts, and longs as mirrored shorts (quant_spec C1)."
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest
from fixtures.candles import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.columns import Columns, leaves_of, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.signal import TRIPLE, Candidate, failed_filters
from perps_kit.core.stream import Stream, spaced
from perps_kit.core.unit import ParameterError, make
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.ema_scalper import CROSS, TREND, EmaScalper, EmaScore

Row, MINUTE = row_type(tuple(EmaScalper().features())), 60_000
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)


def bar(close=100.5, open=100.1, high=100.7, low=99.9, minute=600) -> Bar:
    "A bar that closes at a minute of the day."
    return Bar((minute - 15) * MINUTE, minute * MINUTE, open, high, low, close, 100.0)


def row(bar=bar(), fast=100.25, slow=100.0, slow_before=99.75, rsi=50.0, atr=1.0, volume=1.85, zones=FREE, hour=1.0, four_hours=1.0):
    return Row(bar, fast, slow, slow_before, rsi, atr, volume, NO_SWING, zones, TrendView(hour, 90.0), TrendView(four_hours, 90.0))


BELOW = row(fast=99.9)


def cross(**now): return EmaScalper().decide(row(**now), BELOW)


def pullback(**now):
    "A rising trend whose bar dipped to the fast average and closed above it."
    usual = dict(bar=bar(102.0, 101.5, 102.2, 100.9), fast=101.0, slow=100.0, slow_before=99.5)
    return EmaScalper().decide(row(**usual | now), row(fast=100.9, slow=99.9))


def why(signal) -> list[str]: return failed_filters(EmaScalper(), signal)


def test_a_cross_in_the_open():
    s = cross()
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, CROSS, 100.5, 99.0, TRIPLE, 1.0, 0)
    assert s.parts == pytest.approx(EmaScore(volume=1.25, momentum=1.0, trend=2.0, headroom=1.5, room=1.0, overlap=0.0)) and s.raw == 6.8
    assert isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "the preset's targets"


def test_a_pullback_in_a_trend():
    s = pullback()
    assert (s.side, s.mode, s.entry, s.stop, s.failed) == (1, TREND, 102.0, 100.5, 0)
    assert s.parts.momentum == pytest.approx(2 * (0.01 - 0.008) / 0.008)


@pytest.mark.parametrize("was_fast, fast, side", [(100.0, 100.0, 0), (100.0, 100.0001, 1), (99.0, 100.0, 0), (100.0001, 100.0002, 0),
    (99.0, 101.0, 1)])
def test_a_cross_begins_at_or_below_and_ends_above(was_fast, fast, side):
    assert EmaScalper().decide(row(fast=fast), row(fast=was_fast)).side == side


@pytest.mark.parametrize("close, side", [(100.0, 0), (100.01, 1), (99.0, 0)])
def test_a_cross_needs_the_close_beyond_the_slow_average(close, side): assert cross(bar=bar(close, 99.5)).side == side


@pytest.mark.parametrize("fast, side", [(125.99, 0), (126.0, 1), (126.01, 1)])
def test_a_trend_needs_the_averages_apart(fast, side):
    assert pullback(fast=fast, slow=125.0, slow_before=124.0, bar=bar(127.0, 126.5, 127.2, 125.5)).side == side


@pytest.mark.parametrize("changes, side", [
    (dict(bar=bar(102.0, 101.5, 102.2, 101.0)), 1), (dict(bar=bar(102.0, 101.5, 102.2, 101.01)), 0),     # touch of the fast average
    (dict(bar=bar(101.01, 101.0, 102.2, 100.9)), 1), (dict(bar=bar(101.0, 100.95, 102.2, 100.9)), 0),    # close above it
    (dict(bar=bar(102.0, 102.0, 102.2, 100.9)), 0), (dict(bar=bar(102.0, 102.1, 102.2, 100.9)), 0),      # a rising bar
    (dict(slow_before=100.0), 0), (dict(slow_before=100.1), 0), (dict(slow_before=99.99), 1)])           # the slow average rises
def test_a_pullback_touches_closes_above_and_rises(changes, side): assert pullback(**changes).side == side


@pytest.mark.parametrize("changes, failed", [
    (dict(volume=1.19), ["volume"]), (dict(volume=1.2), []), (dict(volume=0.0), ["volume"]),
    (dict(rsi=70.0), []), (dict(rsi=70.01), ["rsi"]), (dict(rsi=30.0), []), (dict(rsi=29.99), ["rsi"]),
    (dict(bar=bar(minute=480)), []), (dict(bar=bar(minute=465)), ["session"]),
    (dict(bar=bar(minute=1245)), []), (dict(bar=bar(minute=1260)), ["session"]), (dict(bar=bar(minute=1440)), ["session"]),
    (dict(zones=FREE._replace(resistance=100.5 + 1.2)), []), (dict(zones=FREE._replace(resistance=100.5 + 1.19)), ["room"]),
    (dict(zones=FREE._replace(resistance=99.0, resistance_far=101.0)), ["room"]), (dict(zones=FREE._replace(support=100.4)), []),
    (dict(hour=1.0, four_hours=-1.0), []), (dict(hour=0.0, four_hours=-1.0), ["alignment"]),
    (dict(hour=-1.0, four_hours=-1.0), ["alignment"]),
    (dict(atr=0.1005), []), (dict(atr=0.1004), ["volatility"]), (dict(atr=6.6), []), (dict(atr=6.8), ["stop_width"]),
    (dict(atr=10.04), ["stop_width"]), (dict(atr=10.06), ["volatility", "stop_width"])])
def test_every_filter_at_its_edge(changes, failed):
    "A rich score otherwise, so that only the filter in question speaks."
    rich = dict(volume=2.5, slow_before=99.0, bar=bar(minute=795))
    if "bar" not in changes and "atr" in changes: rich["bar"] = bar(100.5, minute=795)
    assert why(cross(**rich | changes)) == failed


def test_where_all_filters_fail_all_are_named():
    s = cross(volume=0.1, rsi=90.0, bar=bar(minute=60), zones=FREE._replace(resistance=100.6), hour=-1.0, four_hours=-1.0, atr=11.0)
    assert why(s) == list(EmaScalper().filters)


@pytest.mark.parametrize("score, raw, failed", [(4.84, 4.8, ["score"]), (4.94, 4.9, ["score"]), (4.951, 5.0, []), (4.96, 5.0, []),
    (5.0, 5.0, [])])
def test_the_score_is_compared_after_rounding(score, raw, failed):
    "2 for the trend, 1.5 headroom, 1 room, no momentum: the volume gives the rest."
    s = cross(slow_before=100.0, volume=1.2 + 1.3 * (score - 4.5) / 2.5)
    assert sum(s.parts) == pytest.approx(score) and s.raw == raw and why(s) == failed


def test_half_a_tenth_rounds_to_the_even_one():
    s = cross(slow_before=100.0 - 1.0 * 0.5 * 0.2, volume=1.2, rsi=60.0, hour=1.0, four_hours=1.0)
    assert sum(s.parts) == pytest.approx(4.15) and s.raw == (4.2 if 10.0 * sum(s.parts) >= 41.5 else 4.1)
    assert EmaScalper(least=4.2).decide(row(slow_before=99.9, volume=1.2, rsi=60.0), BELOW).failed == (0 if s.raw == 4.2 else 128)


@pytest.mark.parametrize("part, changes, points", [
    ("volume", dict(volume=1.2), 0.0), ("volume", dict(volume=2.5), 2.5), ("volume", dict(volume=9.0), 2.5),
    ("momentum", dict(slow_before=100.0), 0.0), ("momentum", dict(slow_before=99.5), 2.0), ("momentum", dict(slow_before=100.25), 1.0),
    ("trend", dict(hour=1.0, four_hours=0.0), 1.0), ("trend", dict(hour=1.0, four_hours=-1.0), 0.0),
    ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0),
    ("headroom", dict(rsi=70.0), 0.0), ("headroom", dict(rsi=60.0), 0.75), ("headroom", dict(rsi=50.0), 1.5),
    ("headroom", dict(rsi=31.0), 1.5),
    ("room", dict(zones=FREE._replace(resistance=100.5 + 1.5 * 0.8)), 0.0),
    ("room", dict(zones=FREE._replace(resistance=100.5 + 1.5 * 1.4)), 0.5),
    ("room", dict(zones=FREE._replace(resistance=100.5 + 1.5 * 2.0)), 1.0),
    ("overlap", dict(bar=bar(minute=765)), 0.0), ("overlap", dict(bar=bar(minute=780)), 1.0), ("overlap", dict(bar=bar(minute=945)), 1.0),
    ("overlap", dict(bar=bar(minute=960)), 0.0)])
def test_points_of_each_part(part, changes, points): assert getattr(cross(**changes).parts, part) == pytest.approx(points, abs=1e-12)


@pytest.mark.parametrize("fast, points", [(100.8, 0.0), (101.2, 1.0), (101.6, 2.0), (103.0, 2.0)])
def test_momentum_of_a_pullback_is_the_separation(fast, points):
    assert pullback(fast=fast, bar=bar(104.0, 103.5, 104.2, 100.0)).parts.momentum == pytest.approx(points, abs=1e-12)


def test_nothing_without_a_range(): assert cross(atr=0.0).side == 0 and cross(atr=nan).side == 0


def test_the_opposite_cross_closes():
    s = EmaScalper()
    assert s.leave(row(), BELOW) == -1 and s.leave(row(fast=99.9), row()) == 1 and s.leave(row(), row()) == 0
    assert s.leave(row(bar=bar(99.0, 99.5, 99.6, 98.0)), BELOW) == -1, "wherever the close is"


def test_pullbacks_of_one_side_keep_eight_bars_apart():
    strategy, last, span, signal = EmaScalper(), {}, 15 * MINUTE, pullback()
    assert signal.mode == TREND and signal.failed == 0
    short = signal._replace(side=-1)
    assert [failed_filters(strategy, spaced(strategy, s, t * span, span, last)) for s, t in
            ((signal, 100), (signal, 101), (short, 101), (signal, 108), (signal, 109), (short, 110), (signal, 117), (signal, 118))] == [
            [], ["spacing"], [], ["spacing"], [], [], ["spacing"], []]
    assert all(spaced(strategy, cross(), t * span, span, last).failed == 0 for t in range(200, 204)), "crosses are not held back"


def test_a_rejected_pullback_does_not_hold_back_the_next():
    strategy, last, span = EmaScalper(), {}, 15 * MINUTE
    assert why(spaced(strategy, pullback(volume=1.0), 0, span, last)) == ["volume"]
    assert spaced(strategy, pullback(), span, span, last).failed == 0


@pytest.mark.parametrize("wrong, hint", [(dict(fsat=9), "did you mean 'fast'"), (dict(surge=-1), "outside"),
    (dict(fast=1.5), "whole number"),
                                         (dict(room=float("nan")), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(EmaScalper, **wrong)


def mirrored_bar(b: Bar, level: float) -> Bar:
    return b._replace(open=2 * level - b.open, high=2 * level - b.low, low=2 * level - b.high, close=2 * level - b.close)


def mirrored(r, level: float):
    "The row of prices reflected at a level, volumes kept."
    z = r.zones
    return Row(mirrored_bar(r.bar, level), 2 * level - r.fast, 2 * level - r.slow, 2 * level - r.slow_before, 100.0 - r.rsi, r.atr,
        r.volume, r.swings,
               ZoneView(2 * level - z.support, 2 * level - z.support_far, z.support_strength,
                        2 * level - z.resistance, 2 * level - z.resistance_far, z.resistance_strength),
               TrendView(-r.hour.dir, r.hour.average), TrendView(-r.four_hours.dir, r.four_hours.average))


@st.composite
def rows(draw):
    "Rows of numbers on a grid that floats hold exactly; the slow average lies at 100, where the mirror is."
    grid = lambda low, high: draw(st.integers(int(low * 64), int(high * 64))) / 64
    prices = sorted(grid(97, 103) for _ in range(4))
    inner = draw(st.permutations(prices[1:3]))
    b = Bar(0, 15 * MINUTE * draw(st.integers(1, 96)), inner[0], prices[3], prices[0], inner[1], 100.0)
    zones = ZoneView(draw(st.sampled_from([inf, 101.0, 102.5])), inf, 50.0, draw(st.sampled_from([-inf, 99.0, 97.5])), -inf, 50.0)
    way = st.sampled_from([-1.0, 0.0, 1.0])
    return row(b, grid(97, 103), 100.0, grid(99, 101), grid(20, 80), draw(st.integers(20, 200)) / 64, grid(0.5, 3), zones, draw(way),
        draw(way))


@settings(max_examples=400, deadline=None)
@given(rows(), st.integers(97 * 64, 103 * 64))
def test_longs_are_mirrored_shorts(now, was_fast):
    was = row(fast=was_fast / 64)
    long, short = (EmaScalper().decide(*pair) for pair in ((now, was), (mirrored(now, 100.0), mirrored(was, 100.0))))
    assert short.side == -long.side and short.mode == long.mode and short.failed == long.failed
    if long.side:
        assert short.raw == long.raw and short.parts == long.parts and short.atr == long.atr
        assert short.entry - 100.0 == 100.0 - long.entry and short.stop == pytest.approx(200.0 - long.stop, abs=1e-9)
    assert EmaScalper().leave(mirrored(now, 100.0), mirrored(was, 100.0)) == -EmaScalper().leave(now, was)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_mirrored_market_gives_mirrored_signals(seed):
    "Whole series; what is relative to the price (0.8 %, 0.1 %) is left out, for a mirror does not keep it."
    bars, level = walk(seed, 6000, step=0.25), 300.0
    other = replace(bars, open=2 * level - bars.open, high=2 * level - bars.low, low=2 * level - bars.high, close=2 * level - bars.close)
    loose = EmaScalper(separation=0.1, max_stop=0.5, least=0.0, surge=0.0, room=0.0, opens=0, closes=1440)
    a, b = (Columns(x) for x in (bars, other))
    one, two = signals_of(loose, a), signals_of(loose, b)
    assert len(one) > 5 and one.index.tolist() == two.index.tolist()
    assert {one[k].side for k in range(len(one))} == {1, -1}
    for k in range(len(one)):
        assert one[k].side == -two[k].side and one[k].mode == two[k].mode
        assert tuple(one[k].parts) == pytest.approx(tuple(two[k].parts), abs=1e-6)
    assert (leaves_of(loose, a) == -leaves_of(loose, b)).all()


def test_candidates_carry_what_was_read():
    bars = walk(14, 4600, step=0.25)
    stream, found = Stream({"ema_scalper": EmaScalper()}, "TEST", 15), list[Candidate]()
    for b in bars: found += [c for step in stream.accept(b) for c in step.candidates]
    assert found and all(c.origin == bars[0].open_time and not c.warm for c in found)
    assert {"zones.support", "hour.dir", "fast", "volume"} <= set(found[0].features)
    assert all(np.isfinite(c.features["fast"]) and c.signal.entry == c.bar.close for c in found)
