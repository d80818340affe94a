"ATR momentum by hand: every rule of the impulse, every filter and part at its edges, shorts as mirrors, a whole series (quant_spec C7)."
from dataclasses import replace
from itertools import pairwise
from math import inf, isnan, nan
from statistics import median

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
from perps_kit.indicators.donchian import Channel
from perps_kit.indicators.patterns import PatternsView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.atr_momentum import NO_IMPULSE, AtrMomentum, MomentumScore, impulse_stop

Row = row_type(tuple(AtrMomentum().features()))
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)
LOOSE = AtrMomentum(least=0.0, max_stop=0.5)


def bar(open=99.5, high=103.0, low=99.0, close=102.5): return candle(41, open, high, low, close)


def row(bar=bar(), atr=2.0, volume=2.25, resistance=109.5, support=-inf, hour=1.0, four_hours=1.0, hour_average=90.0, four_average=90.0,
        usual=2.0, upper=102.0, lower=96.0, rsi=60.0, pin=0.0, pin_before=0.0):
    zones = FREE._replace(resistance=resistance, support=support)
    return Row(bar, atr, volume, NO_SWING, zones, TrendView(hour, hour_average), TrendView(four_hours, four_average), usual,
               Channel(upper, lower, nan, nan), rsi, PatternsView(pin, *[0.0] * 6), pin_before)


def decide(strategy=LOOSE, last=100.0, was_usual=2.0, was_pin=0.0, **now):
    "What it says to the row, after a bar that closed at `last`; now.usual and now.patterns are not what it may read."
    was = row(bar=candle(40, last, last, last, last), usual=was_usual, pin=was_pin)
    return strategy.decide(row(**dict(usual=nan, pin=nan) | now), was)


def why(signal): return failed_filters(AtrMomentum, signal)


# --- what it is ---

def test_it_is_registered_as_what_it_is():
    assert strategies()["atr_momentum"] is AtrMomentum
    assert (AtrMomentum.minutes, AtrMomentum.family) == (15, "momentum")
    assert (trait(AtrMomentum, "scale"), trait(AtrMomentum, "minimum")) == (10.0, None)


def test_an_impulse_in_the_open():
    s = decide(AtrMomentum())
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, 0, 102.5, 99.5, STANDARD, 2.0, 0)
    assert s.parts == pytest.approx(MomentumScore(impulse=3 * 0.6 / 1.1, volume=1.0, room=1.0, trend=1.5, close=0.5, pin=0.0))
    assert s.raw == 5.6
    assert isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "the preset's targets"


# --- the impulse ---

@pytest.mark.parametrize("usual, side", [(2.5, 1), (2.501, 0), (0.001, 1), (0.0, 0), (nan, 0)])
def test_the_range_is_wide_against_the_usual_of_the_bars_before(usual, side):
    "Range 3.5; 1.4 times 2.5 is 3.5."
    assert decide(bar=bar(99.5, 102.5, 99.0, 102.5), upper=102.0, was_usual=usual).side == side


@pytest.mark.parametrize("last, side", [(98.0, 1), (97.5, 1), (98.001, 0), (100.0, 0)])
def test_a_gap_belongs_to_the_range(last, side):
    "From the last close up to 103: 5 or more of it are needed, and the bar itself has 4."
    assert decide(last=last, was_usual=5.0 / 1.4).side == side


@pytest.mark.parametrize("open, side", [(100.0, 1), (100.001, 0), (99.0, 1)])
def test_the_body_is_six_tenths_of_the_range(open, side):
    "Range 5, close at 103."
    assert decide(bar=bar(open, 104.0, 99.0, 103.0), upper=102.0).side == side


@pytest.mark.parametrize("close, side", [(103.0, 1), (102.999, 0), (104.0, 1)])
def test_it_closes_in_the_last_quarter(close, side):
    "Range 4 from 100 to 104."
    assert decide(bar=bar(100.0, 104.0, 100.0, close), upper=102.0).side == side


@pytest.mark.parametrize("upper, side", [(102.499, 1), (102.5, 0), (103.0, 0)])
def test_it_closes_beyond_the_channel_of_the_bars_before(upper, side): assert decide(upper=upper).side == side


def test_a_falling_bar_out_of_the_top_is_nothing():
    assert same_bits(decide(bar=bar(103.0, 103.0, 99.0, 99.5), upper=99.0, lower=96.0), NO_IMPULSE)


@pytest.mark.parametrize("changes", [
    dict(bar=bar(100.0, 100.0, 100.0, 100.0)), dict(bar=bar(102.5, 103.0, 99.0, 102.5)), dict(upper=110.0), dict(was_usual=9.0),
    dict(atr=0.0), dict(atr=nan)])
def test_nothing_where_nothing_triggers(changes): assert same_bits(decide(**changes), NO_IMPULSE)


# --- the stop ---

@pytest.mark.parametrize("atr, risk", [(2.0, 3.0), (1.0, 1.5), (0.875, 1.5), (0.625, 1.5), (0.6, 1.5), (0.5, 1.25), (0.25, 0.625)])
def test_the_stop_is_between_one_and_a_half_and_two_and_a_half_ranges(atr, risk):
    "The middle of the impulse lies 1.5 below the close."
    assert impulse_stop(1, row(atr=atr)) == pytest.approx(risk) and decide(atr=atr).stop == pytest.approx(102.5 - risk)


# --- filters ---

@pytest.mark.parametrize("changes, failed", [
    (dict(volume=1.5), []), (dict(volume=1.49), ["volume"]), (dict(volume=0.0), ["volume"]),
    (dict(rsi=70.0), []), (dict(rsi=70.01), ["rsi"]), (dict(rsi=5.0), []),
    (dict(hour_average=102.49), []), (dict(hour_average=102.5), ["higher"]), (dict(hour_average=103.0), ["higher"]),
    (dict(four_average=102.49), []), (dict(four_average=102.5), ["higher"]), (dict(hour_average=103.0, four_average=103.0), ["higher"]),
    (dict(resistance=106.5), []), (dict(resistance=106.49), ["room"]), (dict(resistance=101.0), ["room"]), (dict(resistance=inf), []),
    (dict(support=102.4), []),
    (dict(atr=0.1025, resistance=inf), []), (dict(atr=0.1024, resistance=inf), ["volatility"]),
    (dict(atr=10.25, resistance=inf), []), (dict(atr=10.26, resistance=inf), ["volatility"])])
def test_every_filter_at_its_edge(changes, failed): assert why(decide(**changes)) == failed


def test_direction_of_the_higher_timeframes_is_no_filter(): assert why(decide(hour=-1.0, four_hours=-1.0)) == []


@pytest.mark.parametrize("most, failed", [(0.03125, []), (0.03124, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 96, stop 93: one part in 32."
    s = decide(LOOSE._replace(max_stop=most), bar=bar(93.0, 96.5, 92.5, 96.0), last=93.5, upper=95.0)
    assert (s.entry, s.stop) == (96.0, 93.0) and why(s) == failed


@pytest.mark.parametrize("volume, raw, failed", [
    (1.5 + 0.75 * 0.31, 4.9, ["score"]), (1.5 + 0.75 * 0.32, 5.0, []), (1.5 + 0.75 * 0.4, 5.0, [])])
def test_the_score_is_compared_after_rounding(volume, raw, failed):
    "4.636 without volume; 0.31 make 4.946 of it, 0.32 make 4.956."
    s = decide(AtrMomentum(), volume=volume)
    assert (s.raw, why(s)) == (raw, failed)


def test_where_all_fail_all_are_named():
    against = dict(hour_average=110.0, hour=-1.0, four_hours=-1.0)
    s = decide(AtrMomentum(max_stop=0.001), volume=0.1, rsi=90.0, resistance=102.6, atr=11.0, **against)
    assert why(s) == list(AtrMomentum.filters)


# --- score ---

@pytest.mark.parametrize("part, changes, points", [
    ("impulse", dict(was_usual=4.0 / 1.4), 0.0), ("impulse", dict(was_usual=4.0 / 1.95), 1.5), ("impulse", dict(was_usual=1.6), 3.0),
    ("impulse", dict(was_usual=0.5), 3.0), ("impulse", dict(last=98.0, was_usual=2.0), 3.0),
    ("volume", dict(volume=1.5), 0.0), ("volume", dict(volume=0.5), 0.0),
    ("volume", dict(volume=3.0), 2.0), ("volume", dict(volume=9.0), 2.0),
    ("room", dict(resistance=106.5), 0.0), ("room", dict(resistance=103.0), 0.0), ("room", dict(resistance=112.5), 2.0),
    ("room", dict(resistance=inf), 2.0), ("room", dict(atr=1.0, resistance=106.0), 1.0),
    ("trend", dict(hour=0.0), 0.75), ("trend", dict(hour=-1.0), 0.0), ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0),
    ("close", dict(bar=bar(99.0, 103.0, 99.0, 102.0), upper=101.0), 0.0), ("close", dict(bar=bar(99.5, 103.0, 99.0, 103.0)), 1.0),
    ("pin", dict(was_pin=1.0), 0.5), ("pin", dict(pin_before=1.0), 0.5), ("pin", dict(was_pin=1.0, pin_before=1.0), 0.5),
    ("pin", dict(was_pin=-1.0), 0.0), ("pin", dict(pin_before=-1.0), 0.0), ("pin", dict(pin=1.0), 0.0), ("pin", dict(pin_before=nan), 0.0)])
def test_points_of_each_part(part, changes, points): assert getattr(decide(**changes).parts, part) == pytest.approx(points, abs=1e-12)


def test_ten_points_are_the_most():
    s = decide(bar=bar(99.0, 103.0, 99.0, 103.0), was_usual=1.0, volume=3.0, resistance=inf, was_pin=1.0)
    assert s.raw == 10.0 == sum(s.parts)


# --- mirror ---

def mirrored(r, level=100.0):
    "The row of prices reflected at a level."
    m, z, c = lambda x: 2 * level - x, r.zones, r.channel
    zones = ZoneView(m(z.support), m(z.support_far), z.support_strength, m(z.resistance), m(z.resistance_far), z.resistance_strength)
    b = r.bar._replace(open=m(r.bar.open), high=m(r.bar.low), low=m(r.bar.high), close=m(r.bar.close))
    turned = lambda t: TrendView(-t.dir, m(t.average))
    return r._replace(bar=b, hour=turned(r.hour), four_hours=turned(r.four_hours), channel=Channel(m(c.lower), m(c.upper), nan, nan),
                      zones=zones, rsi=100.0 - r.rsi, patterns=r.patterns._replace(pin=-r.patterns.pin), pin_before=-r.pin_before)


@st.composite
def rows(draw):
    "Two rows of numbers on a grid that floats hold exactly, most of them near an impulse."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    way = st.sampled_from([-1.0, 0.0, 1.0])
    low, high = grid(98, 100), grid(101, 104)
    span = high - low
    ends = [low + draw(st.integers(0, 4)) / 16 * span, high - draw(st.integers(0, 4)) / 16 * span]
    open_, close = ends if draw(st.booleans()) else ends[::-1]
    now = row(bar(open_, high, low, close), grid(0.5, 3), grid(0.5, 4), draw(st.sampled_from([inf, 104.5, 108.0])),
              draw(st.sampled_from([-inf, 96.5, 92.0])), draw(way), draw(way), grid(98, 103), grid(98, 103), nan,
              grid(100, 103), grid(98, 101), grid(20, 80), nan, draw(way))
    last = grid(98, 103)
    return now, row(candle(40, last, last, last, last), usual=grid(0.5, 2), pin=draw(way))


@settings(max_examples=400, deadline=None)
@given(rows())
def test_longs_are_mirrored_shorts(pair):
    now, was = pair
    long, short = LOOSE.decide(now, was), LOOSE.decide(mirrored(now), mirrored(was))
    assert short.side == -long.side
    if long.side:
        assert same_bits((short.failed, short.raw), (long.failed, long.raw)) and short.parts == pytest.approx(long.parts, abs=1e-12)
        assert (short.entry, short.stop) == (200.0 - long.entry, 200.0 - long.stop)
        assert 1.5 * now.atr <= long.side * (long.entry - long.stop) <= 2.5 * now.atr and 0.0 <= long.raw <= 10.0


def test_a_short_by_hand():
    now = mirrored(row(usual=nan, pin=nan))
    s = AtrMomentum().decide(now, mirrored(row(bar=candle(40, 100, 100, 100, 100))))
    assert (s.side, s.entry, s.stop, s.raw, s.failed) == (-1, 97.5, 100.5, 5.6, 0)


@pytest.mark.parametrize("rsi, failed", [(30.0, []), (29.99, ["rsi"]), (95.0, [])])
def test_a_short_asks_for_an_rsi_of_thirty(rsi, failed):
    now, was = mirrored(row(usual=nan))._replace(rsi=rsi), mirrored(row(bar=candle(40, 100, 100, 100, 100)))
    assert why(LOOSE.decide(now, was)) == failed


# --- parameters ---

@pytest.mark.parametrize("wrong, hint", [
    (dict(srge=1.0), "did you mean 'surge'"), (dict(top=1.0), "outside"), (dict(exhausted=49.0), "outside"),
    (dict(room=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(AtrMomentum, **wrong)


@pytest.mark.parametrize("strategy, changes, side", [
    (LOOSE._replace(least_range=2.5), dict(), 0), (LOOSE._replace(least_range=2.0), dict(), 1), (LOOSE._replace(body=0.76), dict(), 0),
    (LOOSE._replace(top=0.88), dict(), 0), (LOOSE._replace(top=0.875), dict(), 1)])
def test_the_numbers_of_the_impulse_are_parameters(strategy, changes, side): assert decide(strategy, **changes).side == side


def test_it_looks_at_what_the_specification_names():
    f = AtrMomentum().features()
    assert (f["usual"].unit.n, f["usual"].inputs, f["channel"].unit.top.n, f["rsi"].unit.n, f["pin_before"].unit.n) == (100, ("atr",), 20,
                                                                                                                        14, 2)
    assert [(f[x].minutes, f[x].unit.slow.n) for x in ("hour", "four_hours")] == [(60, 200), (240, 200)] and AtrMomentum().max_stop == 0.1


# --- whole series ---

N = 7000


@pytest.fixture(scope="module")
def found():
    "Candidates, refused ones too, on made-up candles."
    stream = Stream({"atr_momentum": AtrMomentum()}, "TEST", 15)
    return [c for b in sample_bars("SOLUSDT")[:N] for step in stream.accept(b) for c in step.candidates]


def test_both_sides_come_up_and_some_pass(found):
    assert {c.signal.side for c in found} == {1, -1} and any(not c.signal.failed for c in found)


def test_triggers_of_a_series_are_those_of_the_plain_rules(found):
    "Range, channel and median worked out anew from the candles; Wilder's ATR in a loop."
    bars = list(sample_bars("SOLUSDT")[:N])
    reach = [max(b.high, a.close) - min(b.low, a.close) for a, b in pairwise(bars)]
    atr, mean = [nan] * 14, sum(reach[:14]) / 14
    atr.append(mean)
    for x in reach[14:]: atr.append(mean := mean + (x - mean) / 14)
    wanted, start = [], 4100                            # all features speak from candle 4000 on
    for i in range(start, N):
        b, before, share = bars[i], bars[i - 20:i], 0.75 * (bars[i].high - bars[i].low)
        if b.high == b.low or reach[i - 1] < 1.4 * median(atr[i - 100:i]) or abs(b.close - b.open) < 0.6 * (b.high - b.low): continue
        if b.close > b.open and b.close > max(x.high for x in before) and b.close - b.low >= share: wanted.append((b.close_time, 1))
        if b.close < b.open and b.close < min(x.low for x in before) and b.high - b.close >= share: wanted.append((b.close_time, -1))
    said = [(c.time, c.signal.side) for c in found if c.time > bars[start].open_time]
    assert len(wanted) > 50 and said == wanted


def test_signals_of_a_series_keep_the_rules(found):
    for c in found:
        s, f = c.signal, c.features
        risk = s.side * (s.entry - s.stop)
        assert s.entry == c.bar.close and 1.5 * s.atr - 1e-9 <= risk <= 2.5 * s.atr + 1e-9
        if s.failed: continue
        assert s.raw >= 5.0 and f["volume"] >= 1.5 and all(s.side * (s.entry - f[f"{x}.average"]) > 0.0 for x in ("hour", "four_hours"))
        assert f["rsi"] <= 70.0 if s.side > 0 else f["rsi"] >= 30.0
        assert s.side * ((f["zones.resistance"] if s.side > 0 else f["zones.support"]) - s.entry) >= 2.0 * s.atr


def test_the_pin_bars_read_are_one_and_two_bars_ago():
    "A pin bar k bars before the impulse, in a series of small bars, counts for k = 1 and 2 only."
    quiet = [candle(i, 100.0, 100.5, 99.5, 100.0 + 0.1 * (i % 2)) for i in range(40)]
    patterns, lag = AtrMomentum().features()["patterns"].unit, AtrMomentum().features()["pin_before"].unit
    for k in range(4):
        p, g, seen = patterns, lag.of(lag.n), []
        series = [candle(i, 100.0, 100.125, 97.0, 100.0625) if i == 39 - k else b for i, b in enumerate(quiet)]
        for b in series:
            p, view = p.update(b, 1.0)
            g, then = g.update(view.pin)
            seen.append((view, then))
        assert [seen[-2][0].pin == 1.0, seen[-1][1] == 1.0] == [k == 1, k == 2]


@pytest.mark.parametrize("seed", [31, 32])
def test_compiled_and_plain_agree(seed):
    bars = walk(seed, 6000, step=0.25)
    bars = replace(bars, taker_buy=0.5 * bars.volume)
    loose = AtrMomentum(least=0.0, surge=0.0, room=0.0, exhausted=100.0, least_range=0.5, body=0.3, top=0.5)
    one, two = (signals_of(loose, Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])


def test_what_it_asks_can_be_said_of_every_filter(found):
    for c in found[:50]:
        words = {k.replace(".", "_"): v for k, v in c.features.items()} | dict(entry=c.signal.entry, stop=c.signal.stop, raw=c.signal.raw)
        for name, value in AtrMomentum()._asdict().items(): words.setdefault(name, value)
        for name in AtrMomentum.filters: assert AtrMomentum.asks[name].format(**words)
        assert AtrMomentum.idle.format(**words)
