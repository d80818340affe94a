"Pump scanner by hand: the rolling candle, burst, filters and score at their edges, dumps as mirrors, made-up bursts (quant_spec C18)."
from functools import cache
from math import inf, isnan, nan

import numpy as np
import pytest
from fixtures.candles import candle
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.signal import SCALP, failed_filters
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, dumps, loads, make, same_bits
from perps_kit.indicators.bollinger import Bands
from perps_kit.indicators.donchian import Channel
from perps_kit.indicators.rolling_bar import RollingBar, RollingView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.pump_scanner import NO_BURST, PumpScanner, PumpScore, bought, near_end

Row = row_type(tuple(PumpScanner().features()))
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)
PUMP, DUMP = 0, 1


# --- the rolling candle ---

def fed(steps, n=5, unit=None):
    "What the unit says over bars of (high, low, close, volume, taker volume)."
    unit, told = unit or RollingBar.of(n), []
    for i, (high, low, close, volume, taker) in enumerate(steps):
        unit, seen = unit.update(candle(i, close, high, low, close, volume)._replace(taker_buy=float(taker)))
        told.append(seen)
    return unit, told


def some(count, seed=3):
    rng = np.random.default_rng(seed)
    close = 100.0 + np.cumsum(rng.normal(0.0, 1.0, count))
    volume = rng.integers(1, 50, count).astype(float)
    return list(zip((close + rng.random(count)).tolist(), (close - rng.random(count)).tolist(), close.tolist(), volume.tolist(),
                    (0.25 * volume).tolist(), strict=True))


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_it_joins_the_last_bars_and_compares_with_the_close_before_them(n):
    steps = some(40)
    for i, seen in enumerate(fed(steps, n)[1]):
        if i < n:
            assert all(isnan(v) for v in seen), "silent until there are n and one before them"
            continue
        last = steps[i - n + 1:i + 1]
        assert (seen.high, seen.low) == (max(s[0] for s in last), min(s[1] for s in last))
        assert seen.volume == sum(s[3] for s in last) and seen.taker_share == pytest.approx(0.25)
        assert seen.change == pytest.approx(100.0 * (steps[i][2] / steps[i - n][2] - 1.0), abs=1e-9)


def test_nothing_traded_has_no_share():
    seen = fed([(1.0, 1.0, 1.0, 0.0, 0.0)] * 6)[1][-1]
    assert isnan(seen.taker_share) and seen.volume == 0.0 and seen.change == 0.0


def test_an_unknown_share_lasts_as_long_as_its_bar_is_in_the_window():
    steps = some(20)
    steps[8] = (*steps[8][:4], nan)
    assert [isnan(x.taker_share) for x in fed(steps)[1][5:]] == [8 <= i <= 12 for i in range(5, 20)]
    assert not any(isnan(x.change) for x in fed(steps)[1][5:])


def test_the_window_survives_saving_at_any_bar():
    steps = some(16)
    whole = fed(steps)[1]
    for k in range(len(steps)): assert same_bits(fed(steps[k:], unit=loads(RollingBar.of(5), dumps(fed(steps[:k])[0])))[1], whole[k:])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, 1001])
def test_senseless_windows_are_refused(wrong):
    with pytest.raises(ParameterError): RollingBar.of(wrong)


# --- the burst ---

def row(close=102.5, change=2.75, high=103.0, low=100.0, volume=800.0, share=0.7, spread=1.0, usual=100.0, upper=102.0, lower=90.0, day=5.0,
        atr=0.5, zones=FREE, peak=0.0, trough=0.0) -> Row:
    "A burst of 5.5 deviations on eight times the usual volume; half of the spread of the bands is two deviations."
    bar = Bar(0, 60_000, 102.0, max(102.0, close), min(102.0, close), close, 9.0)
    return Row(bar, 0.1, Bands(0.0, spread, -spread, nan, 0.5), usual, RollingView(high, low, volume, share, change),
               Channel(upper, lower, upper, lower), day, atr, 1.0, NO_SWING, zones, max(change, peak), min(change, trough))


def decide(strategy=None, **now):
    r = row(**now)
    return (strategy or PumpScanner()).decide(r, r)


def dump(strategy=None, **now):
    return decide(strategy, **dict(close=100.5, change=-2.75, share=0.3, upper=110.0, lower=101.0, day=-5.0) | now)


def why(signal) -> list[str]: return failed_filters(PumpScanner(), signal)


def test_a_burst_in_the_open():
    s = decide()
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, PUMP, 102.5, 101.5, SCALP, 0.5, 0)
    assert s.parts == pytest.approx(PumpScore(burst=17.5, volume=15.0, takers=7.5, interest=0.0, free=10.0)) and s.raw == 50.0
    assert isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "the preset's targets"


def test_a_dump_in_the_open():
    s = dump()
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.failed, s.raw) == (-1, DUMP, 100.5, 101.5, SCALP, 0, 50.0)


@pytest.mark.parametrize("change, spread, side", [
    (2.0, 1.0, 1), (1.99, 1.0, 0), (-2.0, 1.0, -1), (-1.99, 1.0, 0), (0.0, 0.0, 0),
    (2.25, 1.5, 1), (2.24, 1.5, 0), (-2.25, 1.5, -1), (-2.24, 1.5, 0), (2.0, 0.0, 1), (nan, 1.0, 0)])
def test_a_burst_is_two_percent_and_three_deviations(change, spread, side): assert decide(change=change, spread=spread).side == side


@pytest.mark.parametrize("now", [
    dict(usual=0.0), dict(usual=nan), dict(change=0.5), dict(high=nan, low=nan, volume=nan, share=nan, change=nan)])
def test_nothing_without_a_burst_or_a_usual_volume(now): assert same_bits(decide(**now), NO_BURST)


@pytest.mark.parametrize("now, stop", [
    (dict(), 101.5), (dict(atr=1.0), 101.5), (dict(atr=1.5), 101.0), (dict(close=101.0), 100.5), (dict(close=101.5), 101.0),
    (dict(high=103.5, low=98.5), 101.0)])
def test_the_stop_is_the_middle_of_the_burst_but_a_range_away(now, stop): assert decide(**now).stop == stop


def test_no_risk_is_no_signal(): assert same_bits(decide(atr=0.0, close=101.5), NO_BURST)


# --- filters ---

TEN = dict(high=110.0, low=100.0, upper=100.0)     # a range of ten, so that its shares are exact
SQUARE = dict(close=100.0, high=100.25, low=99.0, upper=99.5)


@pytest.mark.parametrize("changes, failed", [
    (dict(volume=400.0), []), (dict(volume=399.9), ["volume"]), (dict(volume=0.0), ["volume"]),
    (dict(share=0.6), []), (dict(share=0.599), ["takers"]), (dict(share=nan), ["takers"]),
    (dict(TEN, close=107.0), []), (dict(TEN, close=106.99), ["close"]), (dict(TEN, close=110.0), []),
    (dict(upper=102.49), []), (dict(upper=102.5), ["channel"]), (dict(upper=103.0), ["channel"]),
    (dict(change=8.0), []), (dict(change=8.01), ["late"]), (dict(day=15.0), []), (dict(day=15.01), ["late"]), (dict(day=-40.0), []),
    (dict(SQUARE, atr=0.1), []), (dict(SQUARE, atr=0.099), ["volatility"]),
    (dict(SQUARE, atr=10.0), []), (dict(SQUARE, atr=10.01), ["volatility", "stop_width"])])
def test_every_filter_of_a_pump_at_its_edge(changes, failed): assert why(decide(PumpScanner(least=0.0), **changes)) == failed


@pytest.mark.parametrize("changes, failed", [
    (dict(volume=400.0), []), (dict(volume=399.9), ["volume"]),
    (dict(share=0.4), []), (dict(share=0.401), ["takers"]), (dict(share=nan), ["takers"]),
    (dict(high=110.0, lower=110.0, close=103.0), []), (dict(high=110.0, lower=110.0, close=103.01), ["close"]),
    (dict(lower=100.51), []), (dict(lower=100.5), ["channel"]),
    (dict(change=-8.0), []), (dict(change=-8.01), ["late"]), (dict(day=-15.0), []), (dict(day=-15.01), ["late"]), (dict(day=40.0), [])])
def test_every_filter_of_a_dump_at_its_edge(changes, failed): assert why(dump(PumpScanner(least=0.0), **changes)) == failed


def test_a_range_without_height_has_no_end():
    assert isnan(near_end(1, row(high=102.5, low=102.5))) and "close" in why(decide(high=102.5, low=102.5))


def test_the_share_of_a_dump_is_that_of_the_sellers(): assert bought(1, row(share=0.25)) == 0.25 and bought(-1, row(share=0.25)) == 0.75


@pytest.mark.parametrize("most, failed", [(0.1, []), (0.0999, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 100, stop 90: exactly one part in ten."
    s = decide(PumpScanner(max_stop=most), close=100.0, high=100.0, low=80.0, upper=99.0)
    assert (s.entry, s.stop) == (100.0, 90.0) and why(s) == failed


@pytest.mark.parametrize("change, raw, failed", [(2.75, 50.0, []), (2.747, 50.0, []), (2.742, 49.9, ["score"])])
def test_the_score_is_compared_after_rounding(change, raw, failed):
    "Seven points to a deviation of half a percent: 2.747 gives 49.958, 2.742 gives 49.888."
    s = decide(change=change)
    assert s.raw == raw and why(s) == failed


def test_where_all_fail_all_are_named():
    now = dict(volume=1.0, share=0.1, close=101.0, high=140.0, low=100.0, day=20.0, atr=11.0, zones=FREE._replace(resistance=101.5))
    assert why(decide(PumpScanner(max_stop=0.001), **now)) == list(PumpScanner.filters)


# --- the score ---

@pytest.mark.parametrize("part, changes, points", [
    ("burst", dict(change=2.0, spread=4.0 / 3.0), 0.0), ("burst", dict(change=4.0), 35.0), ("burst", dict(change=7.0), 35.0),
    ("burst", dict(spread=0.0), 0.0),
    ("volume", dict(volume=400.0), 0.0), ("volume", dict(volume=1200.0), 30.0), ("volume", dict(volume=9000.0), 30.0),
    ("volume", dict(volume=100.0), 0.0),
    ("takers", dict(share=0.6), 0.0), ("takers", dict(share=0.8), 15.0), ("takers", dict(share=1.0), 15.0),
    ("takers", dict(share=0.2), 0.0),
    ("takers", dict(share=nan), 0.0), ("interest", dict(), 0.0),
    ("free", dict(zones=FREE._replace(resistance=103.5)), 0.0), ("free", dict(zones=FREE._replace(resistance=103.51)), 10.0),
    ("free", dict(zones=FREE._replace(resistance=102.0)), 0.0), ("free", dict(zones=FREE._replace(support=102.4)), 10.0)])
def test_points_of_each_part(part, changes, points): assert getattr(decide(**changes).parts, part) == pytest.approx(points, abs=1e-9)


def test_ninety_points_are_the_most_without_open_interest():
    assert decide(change=8.0, volume=5000.0, share=1.0).raw == 90.0


# --- mirrors ---

def mirrored(r, level=100.0):
    "The row of prices reflected at a level, takers turned, volumes kept."
    m, z, f, c = lambda x: 2 * level - x, r.five_zones, r.five, r.channel
    b = r.bar._replace(open=m(r.bar.open), high=m(r.bar.low), low=m(r.bar.high), close=m(r.bar.close))
    return r._replace(bar=b, five=RollingView(m(f.low), m(f.high), f.volume, 1.0 - f.taker_share, -f.change),
                      channel=Channel(m(c.lower), m(c.upper), m(c.low),
                                      m(c.high)), day_change=-r.day_change, peak=-r.trough, trough=-r.peak,
                      five_zones=ZoneView(m(z.support), m(z.support_far), z.support_strength, m(z.resistance), m(z.resistance_far),
                                          z.resistance_strength))


@st.composite
def rows(draw):
    "Rows of numbers on a grid that floats hold exactly."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    low, close, high = sorted(grid(96, 106) for _ in range(3))
    lower, upper = sorted(grid(96, 106) for _ in range(2))
    zones = ZoneView(draw(st.sampled_from([inf, close + 1.0])), inf, 50.0, draw(st.sampled_from([-inf, close - 1.0])), -inf, 50.0)
    return row(close, grid(-10, 10), high, low, grid(0, 1600), grid(0, 1), grid(0, 2), grid(0, 200), upper, lower, grid(-20, 20),
               grid(0, 3), zones)


@settings(max_examples=500, deadline=None)
@given(rows())
def test_dumps_are_mirrored_pumps(now):
    strategy = PumpScanner(max_stop=0.5)
    long, short = strategy.decide(now, now), strategy.decide(mirrored(now), mirrored(now))
    assert short.side == -long.side
    if long.side:
        assert same_bits((short.failed, short.raw, short.parts), (long.failed, long.raw, long.parts))
        assert {short.mode, long.mode} == {PUMP, DUMP} and long.mode == (PUMP if long.side > 0 else DUMP)
        assert short.entry - 100.0 == 100.0 - long.entry and short.stop - 100.0 == 100.0 - long.stop
        assert long.side * (long.entry - long.stop) > 0.0 and 0.0 <= sum(long.parts) <= 100.0


@pytest.mark.parametrize("wrong, hint", [
    (dict(surg=4.0), "did you mean 'surge'"), (dict(takers=1.5), "outside"), (dict(deviations=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(PumpScanner, **wrong)


# --- whole series ---

@cache
def made(offset=0, step=0.005, minutes=6, again=0, seed=5) -> tuple[Bars, int]:
    """Four calm days of minutes with a burst in them, and the index of its first minute, which opens `offset` minutes into five.

    `again`: a second burst so many minutes after the first.
    """
    n, rng = 4 * 1440, np.random.default_rng(seed)
    close, volume, takers = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.0004, n))), rng.lognormal(3.0, 0.3, n), np.full(n, 0.5)
    first = n - 200 + offset
    for begin in (first, first + again) if again else (first,):
        close[begin:] *= np.exp(np.minimum(np.arange(n - begin) + 1, minutes) * step)
        volume[begin:begin + minutes] *= 10.0
        takers[begin:begin + minutes] = 0.75 if step > 0.0 else 0.25
    open_ = np.r_[close[0], close[:-1]]
    return Bars.from_columns("MADEUSDT", 1, 60_000 * np.arange(n), open_, np.maximum(open_, close) * 1.0002,
                             np.minimum(open_, close) * 0.9998, close, volume, taker_buy=takers * volume), first


@cache
def heard(offset=0, step=0.005, minutes=6, again=0, seed=5):
    "Minutes since the burst began, and candidates, refused ones too."
    bars, first = made(offset, step, minutes, again, seed)
    stream, told = Stream({"pump_scanner": PumpScanner()}, "TEST", 1), []
    for i, b in enumerate(bars): told += [(i - first, c) for s in stream.accept(b) for c in s.candidates]
    return told


@pytest.mark.parametrize("offset", range(5))
@pytest.mark.parametrize("step, side", [(0.005, 1), (-0.005, -1)])
def test_a_made_up_burst_is_joined_once_wherever_it_falls_in_the_five_minutes(offset, step, side):
    told = heard(offset, step)
    clean = [(k, c) for k, c in told if not c.signal.failed]
    assert len(clean) == 1 and clean[0][0] in (3, 4, 5) and clean[0][1].signal.side == side
    assert all(c.signal.side == side for _, c in told)


def test_a_calm_market_says_nothing(): assert all(k >= 0 for k, _ in heard())


@pytest.mark.parametrize("again, minutes", [
    (30, [4]), (59, [4]), (60, [4, 65]), (61, [4, 65])])
def test_an_hour_of_silence_follows_a_signal(again, minutes):
    "Sixty bars later is still within the hour, sixty-one is not."
    assert [k for k, c in heard(0, 0.005, 6, again) if not c.signal.failed] == minutes


def test_signals_of_a_series_keep_the_rules():
    bars, first = made()
    told = [(k + first, c) for k, c in heard() if not c.signal.failed]
    for i, c in told:
        five, before, s = slice(i - 4, i + 1), slice(i - 60, i), c.signal
        high, low, volume = bars.high[five].max(), bars.low[five].min(), bars.volume[five].sum()
        assert bars.close[i] / bars.close[i - 5] >= 1.02 and bars.close[i] / bars.close[i - 5] <= 1.08
        assert bars.taker_buy[five].sum() >= 0.6 * volume and bars.close[i] >= low + 0.7 * (high - low)
        assert bars.close[i] > bars.high[before].max() and bars.close[i] / bars.close[i - 1440] <= 1.15
        assert s.entry == bars.close[i] and s.stop <= 0.5 * (high + low) + 1e-9


@pytest.mark.parametrize("offset", range(5))
def test_windows_are_an_hour_a_day_and_a_day_of_fives(offset):
    "Told from the candles; whether the five that has just closed is among its day is another question (below)."
    bars, first = made(offset, seed=8)
    k, c = heard(offset, seed=8)[0]
    i, f = first + k, c.features
    assert f["channel.upper"] == bars.high[i - 60:i].max() and f["channel.lower"] == bars.low[i - 60:i].min()
    assert f["day_change"] == pytest.approx(100.0 * (bars.close[i] / bars.close[i - 1440] - 1.0))
    volumes, closed = bars.volume.reshape(-1, 5).sum(axis=1), (i + 1) // 5
    assert any(f["usual"] == pytest.approx(np.median(volumes[end - 288:end]), rel=1e-12) for end in (closed, closed - 1))


@pytest.mark.parametrize("step", [0.005, -0.005])
def test_compiled_and_plain_agree(step):
    bars, _ = made(1, step)
    one, two = (signals_of(PumpScanner(least=0.0), Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])


# --- where the module and what was asked for part ways ---

def test_a_burst_that_was_late_is_not_joined_later():
    n, rng = 4 * 1440, np.random.default_rng(5)
    change, volume, share = rng.normal(0.0, 0.0004, n), rng.lognormal(3.0, 0.3, n), np.full(n, 0.5)
    run = slice(n - 200, n - 190)
    change[run], volume[run], share[run] = [0.055, 0.03] + [0.004] * 8, 10.0 * volume[run], 0.75
    close = 100.0 * np.exp(np.cumsum(change))
    open_ = np.r_[close[0], close[:-1]]
    bars = Bars.from_columns("LATEUSDT", 1, 60_000 * np.arange(n), open_, np.maximum(open_, close) * 1.0002,
                             np.minimum(open_, close) * 0.9998, close, volume, taker_buy=share * volume)
    stream, told = Stream({"pump_scanner": PumpScanner()}, "TEST", 1), []
    for b in bars: told += [c.signal for s in stream.accept(b) for c in s.candidates]
    late = next(i for i, s in enumerate(told) if "late" in why(s))
    assert all(s.failed for s in told[late:])


def fives(values, joined):
    "Closed five-minute bars of a column of minutes."
    return joined(values.reshape(-1, 5), axis=1)


def at_the_edge():
    "A burst whose fifth minute closes a five-minute bar, its features, and the number of that bar."
    bars, first = made(seed=8)                              # here the volume that leaves the window is a small one
    k, c = next((k, c) for k, c in heard(seed=8) if k == 4)
    assert (first + k + 1) % 5 == 0
    return bars, c.features, (first + k) // 5


@pytest.mark.xfail(strict=True, reason="quant_spec C18: median of the PREVIOUS 288; where a five closes, its own volume is among them")
def test_the_usual_volume_is_that_of_the_bars_before():
    bars, f, own = at_the_edge()
    assert f["usual"] == pytest.approx(np.median(fives(bars.volume, np.sum)[own - 288:own]), rel=1e-12)


@pytest.mark.xfail(strict=True, reason="quant_spec 0.6: deviations of values before t; where a five closes, the burst is among them")
def test_the_deviation_is_that_of_the_bars_before():
    bars, f, own = at_the_edge()
    close = bars.close[4::5]
    changes = 100.0 * (close[1:] / close[:-1] - 1.0)        # number i is the change of bar i + 1
    assert 0.25 * (f["changes.upper"] - f["changes.lower"]) == pytest.approx(changes[own - 1 - 288:own - 1].std(), rel=1e-9)
