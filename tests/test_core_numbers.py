"Arithmetic, times, prices on the grid."
from datetime import UTC, datetime
from fractions import Fraction
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.arith import clip, ramp, ratio, rint, sign, tenth
from perps_kit.core.clock import DAY, HOUR, MINUTE, in_session, iso, minute_of_day, minutes_of, parse_time, timeframe_of
from perps_kit.core.money import ceil_to, fill, floor_to, level

PRICES = st.floats(1e-4, 1e6)
TICKS = st.sampled_from([0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0])
TIMES = st.integers(0, 4_102_444_800_000)


def exact(tick: float) -> Fraction: return Fraction(str(tick))


@given(st.floats(-1e9, 1e9))
def test_rounding_is_half_to_even(x):
    assert rint(x) == np.rint(x) and tenth(x) == np.rint(10.0 * x) / 10.0


@pytest.mark.parametrize("x, y", [(5.95, 6.0), (5.94, 5.9), (4.95, 5.0), (0.25, 0.2), (0.35, 0.4), (-0.25, -0.2), (0.0, 0.0)])
def test_a_score_to_one_decimal(x, y): assert tenth(x) == pytest.approx(y, abs=1e-12)


def test_missing_values_in_arithmetic():
    assert isnan(tenth(nan)) and isnan(ratio(1.0, 0.0)) and isnan(clip(nan, 0.0, 1.0)) and ratio(1.0, 2.0) == 0.5
    assert ramp(nan, 0.0, 1.0) == 0.0 and ramp(inf, 0.0, 1.0) == 1.0 and ramp(-inf, 0.0, 1.0) == 0.0
    assert ramp(inf, 1.0, 0.0) == 0.0 and ramp(-inf, 1.0, 0.0) == 1.0
    assert [sign(x) for x in (-2.0, 0.0, 3.0, nan)] == [-1, 0, 1, 0]


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.floats(0.01, 1e3))
def test_a_ramp_rises_from_0_to_1(x, a, width):
    y = ramp(x, a, a + width)
    assert 0.0 <= y <= 1.0 and ramp(x + 1.0, a, a + width) >= y and (x > a or y == 0.0) and (x < a + width or y == 1.0)


@given(PRICES, TICKS)
def test_floor_and_ceil_lie_on_the_grid_around_the_price(x, tick):
    low, high, step = floor_to(x, tick), ceil_to(x, tick), exact(tick)
    for y in (low, high): assert y == float(round(Fraction(y) / step) * step), "exactly the float of the decimal number"
    slack = 1.1e-6 * tick + 1e-15 * x
    assert low <= x + slack and high >= x - slack and high - low <= tick * (1 + 1e-6)
    assert x - low < tick * (1 + 1e-9) and high - x < tick * (1 + 1e-9)


@given(st.integers(0, 10**7), TICKS)
def test_a_price_on_the_grid_stays_there(k, tick):
    price = float(k * exact(tick))
    assert floor_to(price, tick) == ceil_to(price, tick) == price and floor_to(k * tick, tick) == price
    assert floor_to(floor_to(price + 0.4 * tick, tick), tick) == floor_to(price + 0.4 * tick, tick)


@given(PRICES)
def test_a_grid_of_zero_is_none(x): assert floor_to(x, 0.0) == ceil_to(x, 0.0) == level(x, 1, 0.0) == x


@given(PRICES, st.sampled_from([1, -1]), st.floats(0.0, 50.0), TICKS)
def test_a_fill_is_never_better_than_the_price(price, side, bp, tick):
    y = fill(price, side, bp, tick)
    assert side * (y - price * (1 + side * bp / 10_000)) >= -1.1e-6 * tick - 1e-12 * price
    assert side * (y - price) <= price * bp / 10_000 + tick * (1 + 1e-6)
    assert side * (fill(price, side, bp + 1.0, tick) - y) >= 0.0


@given(PRICES, TICKS)
def test_stops_and_targets_of_longs_are_floored_of_shorts_ceiled(x, tick):
    assert level(x, 1, tick) == floor_to(x, tick) and level(x, -1, tick) == ceil_to(x, tick)


@given(TIMES)
def test_a_time_is_written_and_read(t):
    assert parse_time(iso(t - t % 1000)) == t - t % 1000
    moment = datetime.fromtimestamp(t / 1000, UTC)
    assert minute_of_day(t) == moment.hour * 60 + moment.minute


@pytest.mark.parametrize("text, time", [("1970-01-02", DAY), ("1970-01-01T01:00", HOUR), ("1970-01-01 01:00:00Z", HOUR), ("60000", MINUTE),
                                        ("1970-01-01T02:00+01:00", HOUR), (42, 42), ("-5", -5)])
def test_times_are_read_in_many_forms(text, time): assert parse_time(text) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "10:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="is not a time"): parse_time(text)


def test_timeframes_have_names():
    for name in ("1m", "15m", "1h", "4h", "1d"): assert timeframe_of(minutes_of(name)) == name
    with pytest.raises(ValueError, match="one of 1m"): minutes_of("7m")
    with pytest.raises(ValueError, match="no timeframe has 7"): timeframe_of(7)


@pytest.mark.parametrize("minute, inside", [(479, False), (480, True), (1259, True), (1260, False)])
def test_a_session_includes_its_opening_and_not_its_close(minute, inside): assert in_session(DAY + minute * MINUTE, 480, 1260) is inside


@pytest.mark.parametrize("minute, inside", [(1379, False), (1380, True), (0, True), (119, True), (120, False)])
def test_a_session_may_pass_midnight(minute, inside): assert in_session(minute * MINUTE, 1380, 120) is inside
