"Liquidity sweep, break and retest, pullback and pump scanner: each rule's edge, each filter alone, each part of the score, both sides."

from math import inf, nan
from types import SimpleNamespace as Row

import numpy as np
import pytest

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.registry import strategies
from perps_kit.core.signal import SCALP, STANDARD, failed_filters
from perps_kit.core.unit import make
from perps_kit.data.sample import sample_bars
from perps_kit.strategies.break_retest import BreakAndRetest, retested
from perps_kit.strategies.liquidity_sweep import LiquiditySweep, sweep_score, swept
from perps_kit.strategies.pullback import Pullback, lines_of, ordered
from perps_kit.strategies.pump_scanner import PumpScanner, burst

MIDDLE = 100.0


def flip(side, x): return x if side > 0 else 2 * MIDDLE - x


def candle(side, o, h, low, c, volume=100.0):
    a, b = (h, low) if side > 0 else (low, h)
    return Bar(0, 900_000, flip(side, o), flip(side, a), flip(side, b), flip(side, c), volume)


def zones(side, opposing=inf, behind=-inf, far=-inf):
    "A zone ahead and one behind, for a long; mirrored for a short."
    if side > 0:
        return Row(resistance=opposing, resistance_far=inf, resistance_strength=50.0, support=behind, support_far=far,
                   support_strength=50.0)
    return Row(resistance=flip(-1, behind), resistance_far=flip(-1, far), resistance_strength=50.0, support=flip(-1, opposing),
               support_far=-inf,
               support_strength=50.0)


def trends(side, hour, four):
    return dict(hour=Row(dir=side * hour, average=flip(side, 95.0)), four_hours=Row(dir=side * four, average=flip(side, 94.0)))


# Liquidity sweep


def sweeping(side=1, bar=(100.0, 100.6, 99.0, 100.4), vr=2.0, hour=1.0, four=1.0, opposing=inf, goal=103.0, members=3.0, kind=2.0,
             turn=inf, delta=5.0,
             atr=1.0):
    above, below = (goal, -inf) if side > 0 else (inf, flip(-1, goal))
    event = Row(event=float(side), level=flip(side, 99.3), members=members, kind=kind, above=above, below=below)
    now = Row(bar=candle(side, *bar), sweep=event, volume=vr, zones=zones(side, opposing), atr=atr, cvd=Row(delta=side * delta),
              structure=Row(choch_up_ago=turn if side > 0 else inf, choch_down_ago=turn if side < 0 else inf), **trends(side, hour, four))
    return now, Row(bar=candle(side, *bar), sweep=Row(event=0.0, level=inf))


@pytest.mark.parametrize("side", [1, -1])
def test_a_sweep_becomes_a_signal_with_its_stop_beyond_the_wick(side):
    s = LiquiditySweep().decide(*sweeping(side))
    assert (s.side, s.failed, s.preset) == (side, 0, STANDARD) and s.stop == pytest.approx(flip(side, 98.9))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("name", "no", "yes"), [
    ("wick", dict(bar=(99.79, 100.6, 99.0, 100.4)), dict(bar=(99.8, 100.6, 99.0, 100.4))),
    ("volume", dict(vr=1.19), dict(vr=1.2)), ("alignment", dict(hour=0.0, four=-1.0), dict(hour=1.0, four=-1.0)),
    ("zone", dict(opposing=100.89), dict(opposing=100.91)), ("target", dict(goal=102.6), dict(goal=102.7)),
    ("volatility", dict(atr=0.09), dict(atr=0.11))])
def test_each_filter_of_the_sweep_stands_alone(side, name, no, yes):
    it = LiquiditySweep(least=0.0)
    assert failed_filters(it, it.decide(*sweeping(side, **no))) == [name] and it.decide(*sweeping(side, **yes)).failed == 0


@pytest.mark.parametrize(("given", "part", "points"), [
    (dict(members=2.0), "pool", 0.0), (dict(members=3.0), "pool", 1.25), (dict(members=4.0), "pool", 2.5), (dict(members=1.0, kind=3.0),
        "pool", 2.5),
    (dict(turn=3.0), "turn", 1.5), (dict(turn=4.0), "turn", 0.0), (dict(delta=-1.0), "delta", 0.0), (dict(delta=nan), "delta", 0.0),
    (dict(vr=1.2), "volume", 0.0), (dict(vr=2.5), "volume", 1.5), (dict(hour=-1.0), "trend", 0.0), (dict(hour=0.0), "trend", 0.75)])
def test_the_points_of_a_sweep(given, part, points):
    now, _ = sweeping(**given)
    assert getattr(sweep_score(1, now, now.sweep, 0.65), part) == pytest.approx(points)
    assert sweep_score(1, now, now.sweep, 0.5).wick == 0.0 and sweep_score(1, now, now.sweep, 0.8).wick == pytest.approx(2.0)


@pytest.mark.parametrize("side", [1, -1])
def test_the_next_bar_may_confirm_a_sweep_and_a_close_beyond_its_end_ends_it(side):
    (swept_now, _), quiet = sweeping(side), Row(event=0.0, level=inf)
    for close, found in ((100.41, side), (100.4, 0), (98.9, 0)):
        after = Row(bar=candle(side, 100.4, 101.0, min(close, 100.0), close), sweep=quiet)
        assert swept(after, swept_now) == found, close


# Break and retest


def retest(side=1, bar=(101.1, 101.9, 101.0, 101.8), last=(101.4, 101.5, 101.0, 101.1), strength=60.0, volume=200.0, surge=2.0, mean=75.0,
           extreme=101.0, bars=2.0, pin=0.0, engulfing=0.0, hour=1.0, four=1.0, average=95.0, atr=1.0, atr_ratio=1.0):
    mine = (flip(side, 101.0), flip(side, 100.0), strength, volume, surge, mean, flip(side, extreme), bars)
    none = (inf, inf, 0.0, 0.0, 0.0, 0.0, inf, 0.0)
    names = ("edge", "far", "strength", "volume", "surge", "mean", "extreme", "bars")
    sides = {"up": mine if side > 0 else none, "down": none if side > 0 else mine}
    view = Row(**{f"{way}_{n}": x for way, values in sides.items() for n, x in zip(names, values, strict=True)})
    now = Row(bar=candle(side, *bar), break_retest=view, patterns=Row(pin=side * pin, engulfing=side * engulfing), atr=atr,
              atr_ratio=atr_ratio,
              **trends(side, hour, four))
    now.hour.average = flip(side, average)
    return now, Row(bar=candle(side, *last))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("name", "no", "yes"), [
    ("turn", dict(last=(101.4, 101.8, 101.0, 101.1)), dict(last=(101.4, 101.8, 101.0, 101.1), pin=1.0)),
    ("quiet", dict(mean=200.0), dict(mean=199.0)), ("higher", dict(average=101.8), dict(average=101.79))])
def test_each_filter_of_the_retest_stands_alone(side, name, no, yes):
    it = BreakAndRetest(least=0.0)
    assert failed_filters(it, it.decide(*retest(side, **no))) == [name] and it.decide(*retest(side, **yes)).failed == 0


def test_the_points_of_a_retest():
    it = BreakAndRetest(least=0.0)
    parts = it.decide(*retest(strength=80.0, surge=2.5, engulfing=1.0)).parts
    assert parts == pytest.approx((2.5, 2.0, 1.5, 2.0, 1.0, 1.0))
    low = it.decide(*retest(strength=40.0, surge=1.3, hour=-1.0, extreme=100.9, mean=140.0)).parts
    assert low == pytest.approx((0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(("ratio", "scale"), [(0.5, 0.8), (1.1, 1.1), (2.0, 1.3)])
def test_targets_breathe_with_the_market(ratio, scale):
    s = BreakAndRetest().decide(*retest(atr_ratio=ratio))
    assert (s.t1, s.t2) == pytest.approx((scale, 2 * scale))


def test_a_bar_that_closes_within_the_zone_or_against_its_body_is_no_trigger():
    assert retested(retest(bar=(101.1, 101.9, 100.5, 100.9))[0]).side == 0 and retested(retest(bar=(101.9, 101.95, 101.0,
        101.8))[0]).side == 0
    assert retested(retest(bars=0.0)[0]).side == 0


# Pullback


def pulled(side=1, close=101.5, high=101.4, adx=30.0, quiet=0.6, against=0.0, average_ago=1.0, day_ago=inf, day=nan, swing_ago=inf,
           swing=nan,
           worst=100.6, rsi=50.0, vr=1.5, pin=0.0, atr=1.0, ema21=101.0, zone=-inf, hour=1.0):
    touches = Row(average=average_ago, day=day_ago, swing_low=swing_ago, swing_high=swing_ago, low=worst, high=flip(-1, worst), quiet=quiet,
                  below=against if side > 0 else 5.0, above=against if side < 0 else 5.0)
    now = Row(bar=candle(side, 101.0, 101.8, 100.9, close), ema21=flip(side, ema21), ema50=flip(side, 100.0), ema200=flip(side, 97.0),
              touches=touches,
              day=Row(vwap=flip(side, day)), swing_low=Row(vwap=flip(side, swing)), swing_high=Row(vwap=flip(side,
                  swing)), adx=Row(adx=adx), rsi=rsi,
              volume=vr, patterns=Row(pin=side * pin, engulfing=0.0), atr=atr, zones=zones(side, behind=zone), **trends(side, hour, 1.0))
    return now, Row(bar=candle(side, 101.0, high, 100.9, 101.0))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("name", "no", "yes"), [
    ("strength", dict(adx=19.9), dict(adx=20.0)), ("quiet", dict(quiet=1.0), dict(quiet=0.99)), ("held", dict(against=1.0),
        dict(against=0.0)),
    ("stretch", dict(close=102.51, high=102.0), dict(close=102.49, high=102.0))])
def test_each_filter_of_the_pullback_stands_alone(side, name, no, yes):
    it = Pullback(least=0.0)
    assert failed_filters(it, it.decide(*pulled(side, **no))) == [name] and it.decide(*pulled(side, **yes)).failed == 0


@pytest.mark.parametrize("side", [1, -1])
def test_a_pullback_needs_a_touched_line_a_trend_and_a_turn(side):
    it = Pullback(least=0.0)
    assert it.decide(*pulled(side)).side == side and it.decide(*pulled(side, average_ago=inf)).side == 0
    assert it.decide(*pulled(side, close=101.4)).side == 0 and it.decide(*pulled(side, close=101.4, pin=1.0)).side == side
    assert it.decide(*pulled(side, average_ago=inf, day_ago=0.0, day=101.2)).side == side
    flat = pulled(side, ema21=99.9)[0]
    assert ordered(flat) == 0 and lines_of(side, pulled(side, average_ago=inf, day_ago=0.0, day=101.6)[0]) == (False, False, False)


def test_the_points_of_a_pullback_and_its_stop():
    it = Pullback(least=0.0)
    full = it.decide(*pulled(day_ago=0.0, day=101.0, swing_ago=2.0, swing=100.8, adx=40.0, quiet=0.0, vr=2.0))
    assert full.parts == pytest.approx((2.5, 2.0, 2.0, 1.5, 1.0, 1.0)) and full.stop == pytest.approx(100.5)
    none = it.decide(*pulled(adx=20.0, quiet=1.0, vr=1.0, rsi=60.1, hour=-1.0))
    assert none.parts == pytest.approx((0.0,) * 6) and it.decide(*pulled(worst=101.2)).stop == pytest.approx(101.5 - 0.8)
    assert it.decide(*pulled(zone=100.7)).parts.confluence == pytest.approx(1.25)


# Pump scanner


def bursting(side=1, change=3.0, sd=0.6, high=103.0, low=100.0, close=102.8, volume=500.0, usual=100.0, takers=0.75, channel=102.0,
             day=5.0, atr=0.5,
             opposing=inf):
    five = Row(high=flip(side, high) if side > 0 else flip(side, low), low=flip(side, low) if side > 0 else flip(side, high), volume=volume,
               taker_share=takers if side > 0 else 1 - takers, change=side * change)
    edges = Row(upper=flip(side, channel), lower=-inf) if side > 0 else Row(upper=inf, lower=flip(side, channel))
    now = Row(bar=candle(side, 102.0, high, 101.9, close), five=five, changes=Row(upper=2 * sd, lower=-2 * sd), usual=usual, channel=edges,
              day_change=side * day, five_atr=atr, five_zones=zones(side, opposing), peak=side * change, trough=side * change)
    return now, now


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("name", "no", "yes"), [
    ("volume", dict(volume=399.0), dict(volume=400.0)), ("takers", dict(takers=0.59), dict(takers=0.601)),
    ("close", dict(close=102.09), dict(close=102.11)), ("channel", dict(channel=102.8), dict(channel=102.79)),
    ("late", dict(change=8.01), dict(change=8.0)), ("late", dict(day=15.01), dict(day=15.0))])
def test_each_filter_of_the_pump_stands_alone(side, name, no, yes):
    it = PumpScanner(least=0.0)
    assert failed_filters(it, it.decide(*bursting(side, **no))) == [name] and it.decide(*bursting(side, **yes)).failed == 0


@pytest.mark.parametrize(("change", "sd", "side"), [(2.0, 0.5, 1), (1.99, 0.5, 0), (3.0, 1.0, 1), (2.99, 1.0, 0), (-2.0, 0.5, -1)])
def test_a_burst_is_two_percent_and_three_deviations(change, sd, side):
    assert burst(bursting(change=change, sd=sd)[0], 2.0, 3.0) == side


def test_the_points_of_a_pump_its_stop_and_its_exits():
    it = PumpScanner(least=0.0)
    s = it.decide(*bursting(change=4.8, volume=1200.0, takers=0.8))
    assert s.parts == pytest.approx((35.0, 30.0, 15.0, 0.0, 10.0)) and s.preset == SCALP and s.stop == pytest.approx(101.5) and s.mode == 0
    low = it.decide(*bursting(change=2.0, sd=2.0 / 3.0, volume=400.0, takers=0.6, opposing=103.8))
    assert low.parts == pytest.approx((0.0,) * 5, abs=1e-9) and it.decide(*bursting(-1)).mode == 1
    assert it.decide(*bursting(usual=0.0)).side == 0 and it.decide(*bursting(atr=2.0)).stop == pytest.approx(100.8)


# All of them


def moved(bars: Bars, up: bool) -> Bars:
    "The coin's path, doubled, on a fine grid around 500, or its mirror image; volumes kept, takers exchanged."
    def f(x): return 500.0 + (1 if up else -1) * np.round((x - bars.close.mean()) * 128) / 64
    high, low = (f(bars.high), f(bars.low)) if up else (f(bars.low), f(bars.high))
    taken = bars.taker_buy if up else bars.volume - bars.taker_buy
    return Bars.from_columns(bars.symbol, bars.minutes, bars.open_time, f(bars.open), high, low, f(bars.close), bars.volume, taken)


# The rows of a profile lie on multiples of their width, and ties go down: its rules know up from down.
SYMMETRIC = [name for name, cls in strategies().items() if cls.minutes >= 15 and name != "profile_trade"]


@pytest.mark.parametrize("name", SYMMETRIC)
def test_on_mirrored_prices_longs_and_shorts_change_places(name):
    open_ = dict(action_price=dict(least=-9.0), reversal=dict(least=0.0, widest=101.0)).get(name,
        dict(least=0.0))  # a bandwidth is a percentage
    it, coin = make(strategies()[name], **open_), sample_bars("SOLUSDT")
    both = [Columns(moved(coin, up)) for up in (True, False)]
    one, two = (signals_of(it, columns) for columns in both)
    a, b = ({(i, s.side, s.mode) for i, s in ((int(x.index[k]), x[k]) for k in range(len(x)))} for x in (one, two))
    mirrored = {(i, -side, mode) for i, side, mode in b}
    least = np.minimum(*(100.0 * columns.of(it, "atr") / columns.own(it).close for columns in both))
    # the last digit of an RSI that stands still may differ, once
    apart = [x for x in a ^ mirrored if least[x[0]] >= 0.1]     # the veto of quiet markets is a percentage, and knows up from down
    assert len(a & mirrored) >= 5 and len(apart) <= 1 + 0.02 * len(a | mirrored), (len(a), len(b), sorted(apart)[:6])
