"Continuation by hand: trend, sign and momentum, filters and parts at their edges, mirrored shorts, half hours of candles (quant_spec C10)."
from dataclasses import replace
from math import inf, isnan, nan

import pytest
from fixtures.candles import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.registry import strategies
from perps_kit.core.signal import STANDARD, failed_filters
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, make, same_bits
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.adx import ADXView
from perps_kit.indicators.macd import MACDView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.continuation import NO_CONTINUATION, Continuation, ContinuationScore

Row = row_type(tuple(Continuation().features()))
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)
LOOSE, HALF = Continuation(least=0.0, max_stop=0.5), 1_800_000


def half(i, close, high=None, low=None) -> Bar:
    "Half hour number i."
    return Bar(i * HALF, (i + 1) * HALF, close, close if high is None else high, close if low is None else low, close, 100.0)


def row(close=102.0, sma20=101.0, sma50=100.0, sma20_before=100.0, roc=2.0, roc_before=1.0, histogram=0.5, highest=103.0, lowest=97.0,
        four_close=102.0, four_average=99.0, day_close=102.0, day_average=95.0, rsi=60.0, adx=25.0, atr=2.0, volume=1.5,
        hour=1.0, four_hours=1.0):
    return Row(half(50, close), sma20, sma50, sma20_before, roc, roc_before, MACDView(nan, nan, histogram), highest, lowest, four_close,
               four_average, day_close, day_average, rsi, ADXView(adx, 30.0, 10.0), atr, volume, NO_SWING, FREE, TrendView(hour, 90.0),
               TrendView(four_hours, 90.0))


def decide(strategy=LOOSE, last=100.5, last_sma20=100.75, last_highest=103.0, last_histogram=0.25, **now):
    "What it says to the row, after a half hour that closed at `last`, below its short average."
    was = row(last, last_sma20, highest=last_highest, lowest=97.0, histogram=last_histogram)
    return strategy.decide(row(**now), was)


def why(signal): return failed_filters(Continuation, signal)


# --- what it is ---

def test_it_is_registered_as_what_it_is():
    assert strategies()["continuation"] is Continuation
    assert (Continuation.minutes, Continuation.family, Continuation.scale, Continuation.minimum) == (30, "trend", 100.0, 75.0)
    assert Continuation.tags == ("continuation",) and Continuation().least == 75.0


def test_a_continuation_in_the_open():
    s = decide(Continuation(least=65.0))
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, 0, 102.0, 99.0, STANDARD, 2.0, 0)
    assert s.parts == pytest.approx(ContinuationScore(stack=25.0, slope=10.0, strength=10.0, trend=15.0, volume=5.0, balance=10.0))
    assert s.raw == 75.0 and isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "a score of a hundred, and the preset's targets"


# --- trend and sign ---

@pytest.mark.parametrize("changes, side", [
    (dict(), 1), (dict(sma50=101.0), 0), (dict(sma50=100.999), 1), (dict(sma50=101.5), 0),
    (dict(close=100.0, sma20=101.0), 0), (dict(sma50=102.0, sma20=103.0), 0)])
def test_the_averages_stand_in_order_and_price_above_the_slow_one(changes, side): assert decide(last_highest=90.0, **changes).side == side


def test_price_may_be_below_its_short_average_if_it_makes_a_new_high():
    s = decide(close=100.5, last_highest=100.25)
    assert s.side == 1 and decide(close=100.5, last_highest=100.5).side == 0


@pytest.mark.parametrize("last, close, side", [
    (100.74, 102.0, 1), (100.75, 102.0, 0), (101.0, 102.0, 0),          # a bar strictly below its average
    (100.5, 101.001, 1), (100.5, 101.0, 0), (100.5, 100.9, 0)])         # and this one strictly above
def test_a_cross_goes_from_below_to_above(last, close, side): assert decide(last=last, close=close).side == side


@pytest.mark.parametrize("highest, side", [(101.999, 1), (102.0, 0), (103.0, 0)])
def test_a_new_high_beats_the_closes_of_ten_bars_before(highest, side):
    assert decide(last=101.5, last_highest=highest, highest=102.0).side == side


@pytest.mark.parametrize("changes", [dict(last=101.5), dict(sma20=99.0), dict(atr=0.0), dict(atr=nan)])
def test_nothing_where_nothing_triggers(changes): assert same_bits(decide(**changes), NO_CONTINUATION)


# --- filters ---

@pytest.mark.parametrize("changes, failed", [
    (dict(four_close=99.001), []), (dict(four_close=99.0), ["higher"]), (dict(four_close=98.0), ["higher"]),
    (dict(day_close=95.001), []), (dict(day_close=95.0), ["higher"]), (dict(day_close=94.0, four_close=98.0), ["higher"]),
    (dict(histogram=-1.0, roc=0.001, roc_before=0.0), []), (dict(histogram=-1.0, roc=0.0, roc_before=-1.0), ["momentum"]),
    (dict(histogram=-1.0, roc=2.0, roc_before=2.0), ["momentum"]), (dict(histogram=-1.0, roc=2.0, roc_before=1.999), []),
    (dict(roc=-1.0, histogram=0.2501), []), (dict(roc=-1.0, histogram=0.25), ["momentum"]), (dict(roc=-1.0, histogram=0.1), ["momentum"]),
    (dict(roc=-1.0, histogram=-0.1, last_histogram=-0.5), ["momentum"]), (dict(roc=-1.0, histogram=0.0, last_histogram=-0.5), ["momentum"]),
    (dict(roc=-1.0, histogram=0.001, last_histogram=0.0), []),
    (dict(close=104.0), []), (dict(close=104.001), ["stretch"]), (dict(close=104.0, atr=1.9), ["stretch"]),
    (dict(close=100.5, last_highest=90.0), []),
    (dict(close=101.5, atr=0.34), []),
    (dict(close=125.0, sma20=124.9, sma50=124.0, atr=0.125), []), (dict(close=125.0, sma20=124.9, sma50=124.0, atr=0.1249), ["volatility"]),
    (dict(atr=10.2), []), (dict(atr=10.21), ["volatility"])])
def test_every_filter_at_its_edge(changes, failed): assert why(decide(**changes)) == failed


@pytest.mark.parametrize("most, failed", [(0.03125, []), (0.03124, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 96, stop 93: one part in 32."
    s = decide(LOOSE._replace(max_stop=most), close=96.0, last=94.0, last_sma20=95.0, sma20=95.0, sma50=94.0)
    assert (s.entry, s.stop) == (96.0, 93.0) and why(s) == failed


@pytest.mark.parametrize("adx, raw, failed", [(24.94, 74.9, ["score"]), (24.96, 75.0, []), (25.0, 75.0, [])])
def test_the_score_is_compared_after_rounding(adx, raw, failed):
    s = decide(Continuation(), adx=adx)
    assert (s.raw, why(s)) == (raw, failed)


def test_where_all_fail_all_are_named():
    against = dict(roc=-1.0, histogram=-1.0, day_close=90.0, hour=0.0, four_hours=0.0)
    s = decide(Continuation(max_stop=0.001, stretch=0.5), close=112.0, atr=11.5, sma20=105.0, adx=10.0, volume=0.1, **against)
    assert why(s) == list(Continuation.filters)


# --- score ---

@pytest.mark.parametrize("part, changes, points", [
    ("stack", dict(), 25.0),
    ("slope", dict(sma20_before=101.0), 0.0), ("slope", dict(sma20_before=102.0), 0.0), ("slope", dict(sma20_before=100.5), 5.0),
    ("slope", dict(sma20_before=99.0), 20.0), ("slope", dict(sma20_before=90.0), 20.0), ("slope", dict(sma20_before=100.0, atr=4.0), 5.0),
    ("strength", dict(adx=15.0), 0.0), ("strength", dict(adx=5.0), 0.0), ("strength", dict(adx=20.0), 5.0),
    ("strength", dict(adx=35.0), 20.0), ("strength", dict(adx=80.0), 20.0),
    ("trend", dict(hour=0.0), 7.5), ("trend", dict(hour=-1.0), 0.0), ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0),
    ("volume", dict(volume=1.0), 0.0), ("volume", dict(volume=0.2), 0.0),
    ("volume", dict(volume=2.0), 10.0), ("volume", dict(volume=9.0), 10.0),
    ("balance", dict(rsi=45.0), 10.0), ("balance", dict(rsi=44.99), 0.0),
    ("balance", dict(rsi=65.0), 10.0), ("balance", dict(rsi=65.01), 0.0)])
def test_points_of_each_part(part, changes, points): assert getattr(decide(**changes).parts, part) == pytest.approx(points, abs=1e-12)


def test_a_hundred_points_are_the_most():
    s = decide(sma20_before=99.0, adx=35.0, volume=2.0)
    assert s.raw == 100.0 == sum(s.parts)


# --- mirror ---

def mirrored(r, level=100.0):
    "The row of prices reflected at a level; what falls rises."
    m = lambda x: 2 * level - x
    levels = ("sma20", "sma50", "sma20_before", "four_close", "four_average", "day_close", "day_average")
    bar = r.bar._replace(open=m(r.bar.open), high=m(r.bar.low), low=m(r.bar.high), close=m(r.bar.close))
    return r._replace(bar=bar, **{f: m(getattr(r, f)) for f in levels}, highest=m(r.lowest), lowest=m(r.highest), roc=-r.roc,
                      roc_before=-r.roc_before, rsi=100.0 - r.rsi, macd=r.macd._replace(histogram=-r.macd.histogram),
                      hour=TrendView(-r.hour.dir, nan), four_hours=TrendView(-r.four_hours.dir, nan))


@st.composite
def rows(draw):
    "Numbers on a grid that floats hold exactly."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    way = st.sampled_from([-1.0, 0.0, 1.0])

    def one():
        return row(grid(97, 103), *(grid(98, 102) for _ in range(3)), grid(-2, 2), grid(-2, 2), grid(-1, 1), grid(99, 102), grid(98, 101),
                   *(grid(98, 102) for _ in range(4)), grid(20, 80), grid(5, 45), grid(0.5, 3), grid(0, 3), draw(way), draw(way))
    return one(), one()


@settings(max_examples=400, deadline=None)
@given(rows())
def test_longs_are_mirrored_shorts(pair):
    now, was = pair
    long, short = LOOSE.decide(now, was), LOOSE.decide(mirrored(now), mirrored(was))
    assert short.side == -long.side
    if long.side:
        assert (short.failed, short.raw, short.parts) == (long.failed, long.raw, long.parts)
        assert (short.entry, short.stop) == (200.0 - long.entry, 200.0 - long.stop)
        assert long.side * (long.entry - long.stop) == 1.5 * now.atr and 0.0 <= long.raw <= 100.0


@pytest.mark.parametrize("rsi, points", [(35.0, 10.0), (34.99, 0.0), (55.0, 10.0), (55.01, 0.0)])
def test_the_rsi_of_a_short_is_mirrored(rsi, points):
    s = LOOSE.decide(mirrored(row())._replace(rsi=rsi), mirrored(row(100.5, 100.75)))
    assert (s.side, s.entry, s.stop, s.parts.balance) == (-1, 98.0, 101.0, points)


# --- parameters ---

@pytest.mark.parametrize("wrong, hint", [
    (dict(strech=1.0), "did you mean 'stretch'"), (dict(stretch=0.0), "outside"), (dict(least=101.0), "outside"),
    (dict(stop_atr=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(Continuation, **wrong)


def test_the_width_of_the_stop_is_a_parameter(): assert decide(LOOSE._replace(stop_atr=2.0)).stop == 98.0


def test_it_looks_at_what_the_specification_names():
    f = Continuation().features()
    assert [f[x].unit.n for x in ("rsi", "adx", "roc", "highest", "lowest", "sma20", "sma50")] == [14, 14, 10, 10, 10, 20, 50]
    assert (f["macd"].unit.fast.n, f["macd"].unit.slow.n, f["macd"].unit.smooth.n) == (12, 26, 9) and Continuation().max_stop == 0.1
    assert [(f[x].minutes, f[x].unit.n) for x in ("four_average", "day_average")] == [(240, 50), (1440, 20)]


# --- whole series ---

N = 9000


@pytest.fixture(scope="module")
def candles(): return list(sample_bars("SOLUSDT")[:N])


@pytest.fixture(scope="module")
def found(candles):
    "Candidates, refused ones too, on made-up candles of 15 minutes."
    stream = Stream({"continuation": Continuation()}, "TEST", 15)
    return [c for b in candles for step in stream.accept(b) for c in step.candidates]


def closes(candles, minutes):
    "Close time and close of the whole bars of so many minutes."
    span, bars = minutes * 60_000, {}
    for b in candles: bars.setdefault(b.open_time // span, []).append(b)
    return [((k + 1) * span, group[-1].close) for k, group in bars.items() if len(group) == minutes // 15]


def known_at(series, time): return [close for known, close in series if known <= time]


def test_half_hours_of_both_sides_come_up_and_some_pass(found):
    assert {c.signal.side for c in found} == {1, -1} and any(not c.signal.failed for c in found)
    assert all(c.minutes == 30 and c.time % HALF == 0 and c.bar.close_time - c.bar.open_time == HALF for c in found)


def test_triggers_of_a_series_are_those_of_the_plain_rules(candles, found):
    "Averages and closes worked out anew from the candles, half hour by half hour."
    series, wanted = closes(candles, 30), []
    price = [close for _, close in series]
    mean = lambda i, n: sum(price[i - n + 1:i + 1]) / n
    start = next(i for i, (time, _) in enumerate(series) if time > candles[4100].open_time)
    for i in range(start, len(series)):
        for side in (1, -1):
            if not (side * (mean(i, 20) - mean(i, 50)) > 0.0 and side * (price[i] - mean(i, 50)) > 0.0): continue
            crossed = side * (price[i] - mean(i, 20)) > 0.0 > side * (price[i - 1] - mean(i - 1, 20))
            if crossed or side * price[i] > max(side * x for x in price[i - 10:i]): wanted.append((series[i][0], side))
    said = [(c.time, c.signal.side) for c in found if c.time > candles[4100].open_time]
    assert len(wanted) > 100 and said == wanted


def test_the_four_hours_and_the_day_are_the_last_that_closed(candles, found):
    "A bar that closes with the decision counts, one that is still forming does not."
    fours, days = closes(candles, 240), closes(candles, 1440)
    assert any(c.time % 14_400_000 == 0 for c in found) and any(c.time % 14_400_000 for c in found)
    for c in found:
        four, day, f = known_at(fours, c.time), known_at(days, c.time), c.features
        assert (f["four_close"], f["day_close"]) == (four[-1], day[-1])
        assert f["four_average"] == pytest.approx(sum(four[-50:]) / 50) and f["day_average"] == pytest.approx(sum(day[-20:]) / 20)
        held = c.signal.side * (four[-1] - sum(four[-50:]) / 50) > 0.0 and c.signal.side * (day[-1] - sum(day[-20:]) / 20) > 0.0
        assert ("higher" in why(c.signal)) == (not held)


def test_momentum_of_a_series_compares_five_half_hours(candles, found):
    series = closes(candles, 30)
    at = {time: i for i, (time, _) in enumerate(series)}
    for c in found:
        i, f = at[c.time], c.features
        change = lambda k: 100.0 * (series[k][1] / series[k - 10][1] - 1.0)
        assert f["roc"] == pytest.approx(change(i), abs=1e-9) and f["roc_before"] == pytest.approx(change(i - 5), abs=1e-9)
        assert f["sma20_before"] == pytest.approx(sum(x for _, x in series[i - 29:i - 9]) / 20)


def test_signals_of_a_series_keep_the_rules(found):
    for c in found:
        s, f = c.signal, c.features
        assert s.entry == c.bar.close and s.side * (s.entry - s.stop) == pytest.approx(1.5 * s.atr)
        if not s.failed: assert s.raw >= 75.0 and s.side * (s.entry - f["sma20"]) <= 1.5 * s.atr


def test_candles_of_half_an_hour_say_the_same(candles, found):
    "The higher timeframes of half hours made by hand are those of the candles that made them."
    span, groups = HALF, {}
    for b in candles: groups.setdefault(b.open_time // span, []).append(b)
    stream, said = Stream({"continuation": Continuation()}, "TEST", 30), []
    for k, (a, b) in ((k, g) for k, g in groups.items() if len(g) == 2):
        high, low, volume, bought = max(a.high, b.high), min(a.low, b.low), a.volume + b.volume, a.taker_buy + b.taker_buy
        one = Bar(k * span, (k + 1) * span, a.open, high, low, b.close, volume, bought)
        said += [c for step in stream.accept(one) for c in step.candidates]
    assert same_bits([(c.time, c.signal) for c in said], [(c.time, c.signal) for c in found])


@pytest.mark.parametrize("seed", [41, 42])
def test_compiled_and_plain_agree(seed):
    bars = walk(seed, 6000, step=0.25)
    bars = replace(bars, taker_buy=0.5 * bars.volume)
    one, two = (signals_of(LOOSE._replace(stretch=10.0), Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])


def test_what_it_asks_can_be_said_of_every_filter(found):
    for c in found[:50]:
        words = {k.replace(".", "_"): v for k, v in c.features.items()} | dict(entry=c.signal.entry, stop=c.signal.stop, raw=c.signal.raw)
        words |= Continuation()._asdict()
        for name in Continuation.filters: assert Continuation.asks[name].format(**words)
        assert Continuation.idle.format(**words)
