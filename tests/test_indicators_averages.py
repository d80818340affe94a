"SMA, EMA, RMA, RSI, ATR, volume ratio and lag against TA-Lib, pandas and arithmetic by hand."
from fractions import Fraction
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
import talib
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.indicators.atr import ATR, atr_percent
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.lag import Lag
from perps_kit.indicators.rma import RMA
from perps_kit.indicators.rsi import RSI
from perps_kit.indicators.sma import SMA
from perps_kit.indicators.volume_ratio import VolumeRatio

SERIES = {"walk": lambda: walk(1), "coarse": lambda: walk(2, tick=0.5), "bitcoin": lambda: real("BTC", 30_000, 3000)}


@pytest.fixture(params=SERIES)
def bars(request):
    return SERIES[request.param]()


def run(unit, xs) -> np.ndarray: return np.array(fold(unit, xs.tolist() if isinstance(xs, np.ndarray) else xs)[1])


def agree(ours: np.ndarray, theirs: np.ndarray, relative: float) -> None:
    assert (np.isnan(ours) == np.isnan(theirs)).all(), "the first value stands at another bar"
    known = ~np.isnan(ours)
    assert known.any()
    np.testing.assert_allclose(ours[known], theirs[known], rtol=relative, atol=0)


@pytest.mark.parametrize("n", [2, 9, 20, 200])
def test_averages_agree_with_talib(bars, n):
    agree(run(SMA.of(n), bars.close), talib.SMA(bars.close, n), 1e-13)
    agree(run(EMA.of(n), bars.close), talib.EMA(bars.close, n), 1e-13)


@pytest.mark.parametrize("n", [2, 14, 50])
def test_wilder_indicators_agree_with_talib(bars, n):
    agree(run(ATR.of(n), bars), talib.ATR(bars.high, bars.low, bars.close, n), 1e-12)
    ours, theirs = run(RSI.of(n), bars.close), talib.RSI(bars.close, n)
    moved = np.isnan(theirs) | (theirs != 0)                   # where nothing moved TA-Lib says 0 and we say 50
    np.testing.assert_allclose(ours[moved], theirs[moved], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 14])
def test_wilder_average_by_its_definition(bars, n):
    x = bars.close.tolist()
    expected, r = [nan] * (n - 1), Fraction(0)
    for i in range(n - 1, 60):
        r = sum(map(Fraction, x[:n])) / n if i == n - 1 else (r * (n - 1) + Fraction(x[i])) / n
        expected.append(float(r))
    agree(run(RMA.of(n), bars.close[:60]), np.array(expected), 1e-14)


def test_ema_meets_pandas_once_the_seed_has_faded():
    close = walk(3, 400).close
    difference = abs(run(EMA.of(9), close) - pd.Series(close).ewm(span=9, adjust=False).mean().to_numpy())
    assert difference[8] > 1e-4 and difference[150] < 1e-10 and np.nanmax(difference[150:]) < 1e-10


def test_volume_ratio_agrees_with_pandas(bars):
    volume = pd.Series(bars.volume)
    agree(run(VolumeRatio.of(20), bars), (volume / volume.shift(1).rolling(20).mean()).to_numpy(), 1e-9)


def test_volume_ratio_of_silence_is_unknown_not_huge():
    volumes = [0.1, 1e9 / 3, 0.7, 2e12 / 7] * 10 + [0.0] * 20 + [5.0, 5.0]
    ratios = run(VolumeRatio.of(20), [candle(i, 1, 1, 1, 1, v) for i, v in enumerate(volumes)])
    assert isnan(ratios[60]) and ratios[61] == 20.0 and not isnan(ratios[59])


def test_rsi_at_its_ends():
    up, down, flat = (run(RSI.of(14), 100 + step * np.arange(40.0)) for step in (1, -1, 0))
    assert set(up[14:]) == {100.0} and set(down[14:]) == {0.0} and set(flat[14:]) == {50.0}
    assert np.isnan(up[:14]).all()


def test_true_range_counts_the_gap():
    bars = [*(candle(i, 100, 101, 99, 100) for i in range(4)), candle(4, 107, 108, 106, 107), candle(5, 90, 91, 89, 90)]
    assert run(ATR.of(3), bars)[3:].tolist() == [2.0, (2 * 2 + 8) / 3, ((2 * 2 + 8) / 3 * 2 + 18) / 3]
    assert run(ATR.of(2), [candle(i, 5, 5, 5, 5) for i in range(6)])[2:].tolist() == [0.0] * 4
    assert atr_percent(2.0, 400.0) == 0.5 and isnan(atr_percent(2.0, 0.0))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 7.25])), min_size=1, max_size=200))
def test_moving_sum_is_the_sum_of_the_window(n, xs):
    ours = run(SMA.of(n), xs)
    for i in range(n - 1, len(xs)):
        exact = float(sum(map(Fraction, xs[i - n + 1:i + 1])) / n)
        assert abs(ours[i] - exact) <= 1e-9
        if len(set(xs[i - n + 1:i + 1])) == 1: assert ours[i] == xs[i]


def test_moving_sum_does_not_drift():
    rng = np.random.default_rng(4)
    x = rng.lognormal(0, 8, 60_000)
    unit, _ = fold(SMA.of(20), x.tolist())
    tail = np.full(19, 0.125).tolist()
    unit, ys = fold(unit, tail)
    assert abs(ys[-1] - (x[-1] + 19 * 0.125) / 20) <= 1e-9 * x[-1] + 1e-9 * x[-40:].max()


def test_a_value_not_known_yet_is_passed_over():
    for make in (SMA.of, EMA.of, RMA.of, RSI.of):
        with_holes = run(make(3), [nan, nan, 1.0, 2.0, nan, 3.0, 5.0, 4.0])
        without = run(make(3), [1.0, 2.0, 3.0, 5.0, 4.0])
        np.testing.assert_array_equal(with_holes[[2, 3, 5, 6, 7]], without)
        assert np.isnan(with_holes[[0, 1, 4]]).all()


def test_lag_is_the_value_n_bars_ago():
    x = walk(5).close
    for n in (1, 3, 40): np.testing.assert_array_equal(run(Lag.of(n), x), pd.Series(x).shift(n).to_numpy())
    np.testing.assert_array_equal(run(Lag.of(2), [1.0, nan, 3.0, 4.0, 5.0]), [nan, nan, 1.0, nan, 3.0])


@pytest.mark.parametrize("unit", [SMA.of(20), EMA.of(9), RMA.of(14), RSI.of(14), Lag.of(3)], ids=lambda u: type(u).__name__)
def test_stopping_anywhere_and_going_on_changes_nothing(unit):
    fresh, x = loads(unit, dumps(unit)), walk(6, 90).close.tolist()
    whole = fold(loads(unit, dumps(unit)), x)[1]
    for cut in (0, 1, 13, 14, 21, 60):
        half, _ = fold(loads(fresh, dumps(fresh)), x[:cut])
        assert same_bits(fold(loads(fresh, dumps(half)), x[cut:])[1], whole[cut:])


@pytest.mark.parametrize("make", [SMA.of, EMA.of, RMA.of, RSI.of, ATR.of, VolumeRatio.of, Lag.of])
def test_a_length_of_nothing_is_refused(make):
    for wrong in (0, -3, 2.5, 10**6):
        with pytest.raises(ParameterError): make(wrong)
