"Extremes, Donchian, counts, ranks, z-score, ATR ratio and volume spike against pandas, numpy and a look through the whole window."
from fractions import Fraction
from math import isnan, isqrt, nan

import numpy as np
import pandas as pd
import pytest
import talib
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.unit import fold, same_bits
from perps_kit.indicators.atr_ratio import ATRRatio
from perps_kit.indicators.counts import Count, Since
from perps_kit.indicators.donchian import Donchian
from perps_kit.indicators.extremes import Highest, Lowest
from perps_kit.indicators.ranks import Median, Rank
from perps_kit.indicators.volume_spike import VolumeSpike
from perps_kit.indicators.zscore import ZScore

SERIES = {"walk": lambda: walk(1), "coarse": lambda: walk(2, tick=0.5), "bitcoin": lambda: real("BTC", 30_000, 3000)}
few = st.lists(st.sampled_from([-2.0, 0.0, 1.0, 1.5, 3.0]), min_size=1, max_size=60)
many = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=60)


@pytest.fixture(params=SERIES)
def bars(request):
    return SERIES[request.param]()


def run(unit, xs) -> np.ndarray: return np.array(fold(unit, xs.tolist() if isinstance(xs, np.ndarray) else xs)[1], float)


def windows(xs, n, least):
    "Each value with the window of the n values up to it, where there are `least`."
    return [(x, xs[max(0, i + 1 - n):i + 1]) if i + 1 >= least else (x, None) for i, x in enumerate(xs)]


@settings(max_examples=150, deadline=None)
@given(st.one_of(few, many), st.integers(1, 12))
def test_extremes_and_medians_are_those_of_the_whole_window(xs, n):
    for unit, by in ((Highest.of(n), max), (Lowest.of(n), min), (Median.of(n), lambda w: float(np.median(w)))):
        expected = [nan if w is None else by(w) for _, w in windows(xs, n, n)]
        np.testing.assert_allclose(run(unit, xs), expected, rtol=1e-15, atol=0)


@settings(max_examples=150, deadline=None)
@given(st.one_of(few, many), st.integers(1, 12))
def test_the_rank_counts_those_before_and_half_of_the_equal_ones(xs, n):
    for i, y in enumerate(fold(Rank.of(n), xs)[1]):
        before = xs[i - n:i] if i >= n else None
        if before is None: assert isnan(y)
        else: assert y == 100.0 * (sum(b < xs[i] for b in before) + 0.5 * sum(b == xs[i] for b in before)) / n


@settings(max_examples=100, deadline=None)
@given(few, st.integers(1, 12))
def test_counts_are_those_of_the_whole_window(xs, n):
    assert same_bits(fold(Count.of(n), xs)[1], [nan if w is None else float(sum(x != 0 for x in w)) for _, w in windows(xs, n, n)])
    ago = [next((float(k) for k, x in enumerate(reversed(xs[:i + 1])) if x != 0), nan) for i in range(len(xs))]
    assert same_bits(fold(Since.of(), xs)[1], ago)


@pytest.mark.parametrize("n", [1, 5, 20, 200])
def test_donchian_agrees_with_pandas_before_the_bar_and_with_it(bars, n):
    seen, high, low = fold(Donchian.of(n), bars)[1], pd.Series(bars.high).rolling(n), pd.Series(bars.low).rolling(n)
    for field, expected in dict(high=high.max(), low=low.min(), upper=high.max().shift(1), lower=low.min().shift(1)).items():
        np.testing.assert_array_equal([getattr(y, field) for y in seen], expected)


def test_no_close_leaves_the_channel_that_includes_it(bars):
    assert all(y.low <= bar.close <= y.high for bar, y in zip(bars, fold(Donchian.of(5), bars)[1], strict=True) if not isnan(y.high))


@pytest.mark.parametrize("n", [2, 20, 90])
def test_z_scores_agree_with_numpy(bars, n):
    for x in (bars.volume, bars.close, np.diff(bars.close)):
        before, y = pd.Series(x).shift(1).rolling(n), run(ZScore.of(n), x)
        mean, spread = (np.array([of(x[i - n:i]) if i >= n else nan for i in range(len(x))]) for of in (np.mean, np.std))
        with np.errstate(invalid="ignore", divide="ignore"): expected = (x - mean) / spread
        moved = spread > 1e-9
        np.testing.assert_allclose(y[moved], expected[moved], rtol=1e-9, atol=1e-9)
        assert (y[(np.array(before.max()) == np.array(before.min()))] == 0.0).all() and np.isnan(y[:n]).all()


def exact_z(x: float, before: list[float]) -> float:
    "The z-score in fractions, rounded once; the root of two hundred digits."
    window = [Fraction(b) for b in before]
    mean = sum(window) / len(window)
    square = (Fraction(x) - mean) ** 2 / (sum((b - mean) ** 2 for b in window) / len(window))
    return float(np.sign(Fraction(x) - mean)) * float(Fraction(isqrt(square.numerator * 10**400 // square.denominator), 10**200))


RNG = np.random.default_rng(4)
HARD = {
    "a ripple on a high level": 1e5 + 1e-3 * RNG.normal(size=250),
    "a ripple finer still": 1e5 + 1e-6 * RNG.normal(size=250),
    "a giant that leaves at once": np.r_[1e5 + 1e-3 * RNG.normal(size=90), 1e12, 1e5 + 1e-3 * RNG.normal(size=160)],
    "a giant that fades": np.r_[1 + 0.01 * RNG.normal(size=93), 1e12 * 5.0 ** -np.arange(19.0), 1 + 0.01 * RNG.normal(size=180)],
    "a change of level": np.r_[1 + 1e-3 * RNG.normal(size=125), 1e5 + 1e-3 * RNG.normal(size=125)],
    "all sizes": RNG.lognormal(0, 8, 250),
}


@pytest.mark.parametrize("n", [2, 20, 90])
@pytest.mark.parametrize("name", HARD)
def test_z_scores_keep_their_digits_where_sums_would_drown_them(name, n):
    x = HARD[name].tolist()
    y = fold(ZScore.of(n), x)[1]
    for i in range(n, len(x)): assert y[i] == pytest.approx(exact_z(x[i], x[i - n:i]), rel=1e-9, abs=1e-9), i


def test_equal_values_have_no_deviation_and_an_unknown_one_is_passed_over():
    assert run(ZScore.of(3), [0.1] * 10 + [0.3]).tolist()[3:] == [0.0] * 8
    assert run(ZScore.of(2), [1.0, nan, 3.0, 4.0])[3] == 2.0
    assert same_bits(fold(Median.of(2), [1.0, nan, 3.0])[1], [nan, nan, 2.0])


def test_the_atr_ratio_leaves_its_own_bar_out_of_the_median(bars):
    atr = pd.Series(talib.ATR(bars.high, bars.low, bars.close, 14))
    np.testing.assert_allclose(run(ATRRatio.of(), bars), atr / atr.shift(1).rolling(100).median(), rtol=1e-9)


@pytest.mark.parametrize(("last", "spike"), [(9.99, 0.0), (10.0, 1.0), (10.01, 1.0)])
def test_a_spike_is_twice_the_mean_inclusive(last, spike):
    volumes = [4.0, 6.0] * 10 + [last]                  # mean 5, deviation 1
    seen = fold(VolumeSpike.of(20), [candle(i, 1, 1, 1, 1, v) for i, v in enumerate(volumes)])[1][-1]
    assert seen.spike == spike and seen.z == pytest.approx(last - 5.0)


@pytest.mark.parametrize(("unusual", "spike"), [(4.99, 1.0), (5.0, 1.0), (5.01, 0.0)])
def test_a_spike_is_unusual_inclusive(unusual, spike):
    volumes = [4.0, 6.0] * 10 + [10.0]
    assert fold(VolumeSpike.of(20, 2.0, unusual), [candle(i, 1, 1, 1, 1, v) for i, v in enumerate(volumes)])[1][-1].spike == spike


def test_after_silence_nothing_is_a_spike():
    volumes = [0.0] * 20 + [7.0]
    seen = fold(VolumeSpike.of(20), [candle(i, 1, 1, 1, 1, v) for i, v in enumerate(volumes)])[1][-1]
    assert isnan(seen.ratio) and seen.z == 0.0 and seen.spike == 0.0
