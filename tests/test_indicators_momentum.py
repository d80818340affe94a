"ROC, MACD and Bollinger bands against TA-Lib, exact fractions and arithmetic by hand."
from fractions import Fraction
from math import isnan, nan, sqrt

import numpy as np
import pytest
import talib
from fixtures.candles import real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.unit import ParameterError, fold
from perps_kit.indicators.bollinger import Bollinger
from perps_kit.indicators.macd import MACD
from perps_kit.indicators.roc import ROC

SERIES = {"walk": lambda: walk(1), "coarse": lambda: walk(2, tick=0.5), "bitcoin": lambda: real("BTC", 30_000, 3000)}


@pytest.fixture(params=SERIES)
def close(request): return SERIES[request.param]().close


def run(unit, xs) -> np.ndarray:
    return np.array(fold(unit, xs.tolist() if isinstance(xs, np.ndarray) else xs)[1]).T


def agree(ours: np.ndarray, theirs: np.ndarray, relative: float, absolute: float = 0.0) -> None:
    assert (np.isnan(ours) == np.isnan(theirs)).all() and not np.isnan(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=relative, atol=absolute)


@pytest.mark.parametrize("n", [1, 10, 100])
def test_roc_agrees_with_talib(close, n):
    agree(run(ROC.of(n), close), talib.ROC(close, n), 1e-12, 1e-12)


def test_roc_is_percent_and_has_no_answer_against_nothing():
    assert run(ROC.of(2), [100.0, 105.0, 110.0, 84.0])[2:].tolist() == [10.0, -20.0]
    against_zero = run(ROC.of(1), [0.0, 5.0, 0.0, -1.0])
    assert isnan(against_zero[1]) and against_zero[2] == -100.0 and isnan(against_zero[3])
    assert set(run(ROC.of(3), [0.1] * 9)[3:]) == {0.0}


@pytest.mark.parametrize("fast, slow, signal", [(12, 26, 9), (5, 35, 5), (2, 3, 2), (12, 26, 1)])
def test_macd_agrees_with_talib(close, fast, slow, signal):
    ours, theirs = run(MACD.of(fast, slow, signal), close), np.array(talib.MACD(close, fast, slow, signal))
    agree(ours, theirs, 1e-12, 1e-12 * close.max())
    assert np.flatnonzero(~np.isnan(ours[0]))[0] == slow + signal - 2 == MACD.of(fast, slow, signal).warmup() - 1


def test_macd_begins_as_the_difference_of_two_means_that_end_together():
    x = walk(3, 40).close
    ours = run(MACD.of(signal=1), x)
    assert abs(ours[0, 25] - (x[14:26].mean() - x[:26].mean())) < 1e-12 * x[0] and abs(ours[2, 25]) < 1e-12


def test_macd_refuses_a_fast_average_that_is_not_the_faster():
    for fast, slow in ((26, 26), (30, 12)):
        with pytest.raises(ParameterError, match=f"MACD: fast = {fast} is not below slow = {slow}"): MACD.of(fast, slow)
    with pytest.raises(ParameterError, match="MACD: signal = 0 is outside"): MACD.of(signal=0)


@pytest.mark.parametrize("n, width", [(2, 2.0), (20, 2.0), (100, 2.5)])
def test_bands_agree_with_talib(close, n, width):
    ours = run(Bollinger.of(n, width), close)
    upper, mid, lower = talib.BBANDS(close, n, width, width)
    agree(ours[0], mid, 1e-9)
    agree(ours[1], upper, 1e-9)
    agree(ours[2], lower, 1e-9)


def exact(window: list[float]) -> tuple[float, float]:
    "Mean and population standard deviation, rounded once."
    values = list(map(Fraction, window))
    mean = sum(values) / len(values)
    return float(mean), sqrt(sum((v - mean) ** 2 for v in values) / len(values))


def test_bands_by_exact_fractions(close):
    x, n = close[:400].tolist(), 20
    ours = run(Bollinger.of(n), x)
    for i in range(n - 1, len(x)):
        mean, sd = exact(x[i - n + 1:i + 1])
        assert ours[0, i] == pytest.approx(mean, rel=1e-14)
        assert ours[1, i] - ours[2, i] == pytest.approx(4 * sd, rel=1e-9, abs=4e-16 * mean)
        assert ours[3, i] == pytest.approx(4 * sd / mean, rel=1e-9, abs=4e-16)
        if sd > 1e-9 * mean: assert ours[4, i] == pytest.approx((x[i] - mean + 2 * sd) / (4 * sd), rel=1e-6, abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 30), st.lists(st.one_of(st.floats(1e-3, 1e6), st.sampled_from([7.1, 7.1, 7.1, 1e12])), min_size=2, max_size=150))
def test_spread_is_that_of_the_window_whatever_has_passed_through_it(n, xs):
    unit = Bollinger.of(n)
    for i, x in enumerate(xs):
        unit, seen = unit.update(x)
        if i < n - 1: continue
        window = xs[i - n + 1:i + 1]
        mean, sd = exact(window)
        assert sqrt(unit.m2 / n) == pytest.approx(sd, rel=1e-9, abs=1e-14 * max(window))
        assert seen.mid == pytest.approx(mean, rel=1e-9)
        if len(set(window)) == 1: assert (seen.mid, seen.upper, seen.lower, seen.bandwidth, seen.percent_b) == (x, x, x, 0.0, 0.5)


def test_small_steps_at_a_great_price_are_not_lost():
    x = (100_000 + 0.1 * np.random.default_rng(5).integers(-1, 2, 3000)).tolist()
    ours = run(Bollinger.of(20), x)
    for i in range(1000, 3000, 7):
        _, sd = exact(x[i - 19:i + 1])
        assert ours[1, i] - ours[0, i] == pytest.approx(2 * sd, abs=4e-11)


def test_bands_of_negative_or_no_width_are_refused():
    for wrong in (-2.0, 0.0, nan):
        with pytest.raises(ParameterError, match=f"Bollinger: width = {wrong} is "): Bollinger.of(width=wrong)
    with pytest.raises(ParameterError, match="Bollinger: n = 1 is outside"): Bollinger.of(1)


def test_a_mean_of_zero_has_no_relative_width():
    seen = fold(Bollinger.of(2), [-1.0, 1.0])[1][-1]
    assert seen.mid == 0.0 and seen.upper == 2.0 and isnan(seen.bandwidth) and seen.percent_b == 0.75


def test_a_value_not_known_yet_is_passed_over():
    xs = [5.0, 7.0, 6.0, 9.0, 8.0, 8.5, 9.5]
    holed = [nan, *xs[:2], nan, *xs[2:5], nan, *xs[5:]]
    for make in (lambda: ROC.of(3), lambda: MACD.of(2, 3, 2), lambda: Bollinger.of(3)):
        without, other = np.array(fold(make(), xs)[1]), np.array(fold(make(), holed)[1])
        np.testing.assert_array_equal(without, other[~np.isnan(holed)])
        assert np.isnan(other[np.isnan(holed)]).all()
