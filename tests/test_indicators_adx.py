"ADX and its arms against TA-Lib, a second writing from the definition, and arithmetic by hand."
from fractions import Fraction
from math import isnan, nan

import numpy as np
import pytest
import talib
from fixtures.candles import candle, real, walk

from perps_kit.core.unit import ParameterError, fold
from perps_kit.indicators.adx import ADX

SERIES = {"walk": lambda: walk(1), "coarse": lambda: walk(2, tick=0.5), "bitcoin": lambda: real("BTC", 30_000, 3000),
          "cheap": lambda: shrunk(1e-7)}


def shrunk(by: float):
    "A walk at the prices of a coin of many zeros, exactly scaled as venues quote it."
    bars = walk(3)
    prices = (np.round(x * by, 10) for x in (bars.open, bars.high, bars.low, bars.close))
    return type(bars).from_columns("CHEAP", 15, bars.open_time, *prices, bars.volume)


@pytest.fixture(params=SERIES)
def bars(request): return SERIES[request.param]()


def run(n: int, bars) -> np.ndarray: return np.array(fold(ADX.of(n), bars)[1]).T


def theirs(n: int, bars) -> np.ndarray:
    h, l, c = bars.high, bars.low, bars.close
    return np.array([talib.ADX(h, l, c, n), talib.PLUS_DI(h, l, c, n), talib.MINUS_DI(h, l, c, n)])


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert (np.isnan(ours) == np.isnan(theirs)).all() and not np.isnan(ours).all(1).any()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [2, 5, 14, 50])
def test_index_and_arms_agree_with_talib(bars, n):
    agree(run(n, bars), theirs(n, bars))


def test_they_agree_through_stretches_where_nothing_moves():
    bars = list(walk(4, 900))
    still = bars[299].close
    flat = [candle(i, still, still, still, still, 0.0) if 300 <= i < 500 or i < 40 else bar for i, bar in enumerate(bars)]
    columns = [np.array([getattr(b, f) for b in flat]) for f in ("high", "low", "close")]
    ours = np.array(fold(ADX.of(14), flat)[1]).T
    agree(ours, np.array([talib.ADX(*columns, 14), talib.PLUS_DI(*columns, 14), talib.MINUS_DI(*columns, 14)]))
    assert set(ours[1, 14:40]) == {0.0} and ours[0, 27:40].tolist() == [0.0] * 13


def by_definition(bars, n: int) -> list[tuple[float, float, float]]:
    "The spec's sentences, in exact fractions of the movements."
    out, s, dx, adx, seen = [(nan, nan, nan)], [Fraction(0)] * 3, Fraction(0), Fraction(0), []
    for k in range(1, len(bars)):
        now, was = bars[k], bars[k - 1]
        up, dn = now.high - was.high, was.low - now.low
        reach = max(now.high - now.low, abs(now.high - was.close), abs(now.low - was.close))
        moves = [Fraction(x) for x in (up if up > dn and up > 0 else 0, dn if dn > up and dn > 0 else 0, reach)]
        s = [a + x if k < n else a - a / n + x for a, x in zip(s, moves, strict=True)]
        if k < n:
            out.append((nan, nan, nan))
            continue
        plus, minus = 100 * s[0] / s[2], 100 * s[1] / s[2]
        if plus + minus: dx = 100 * abs(plus - minus) / (plus + minus)
        seen.append(dx)
        adx = sum(seen) / n if len(seen) <= n else (adx * (n - 1) + dx) / n
        out.append((float(adx) if len(seen) >= n else nan, float(plus), float(minus)))
    return out


@pytest.mark.parametrize("tick", [0.01, 2.0])
def test_index_and_arms_by_their_definition(tick):
    bars = list(walk(5, 70, tick=tick))
    np.testing.assert_allclose(run(7, bars).T, by_definition(bars, 7), rtol=1e-12)


def test_a_tie_of_ground_taken_counts_for_nobody_and_keeps_the_last_dx():
    wide = [candle(i, 50, 60 + i, 40 - i, 50) for i in range(10)]
    assert fold(ADX.of(3), wide)[1][-1] == (0.0, 0.0, 0.0)
    up = [candle(i, 50 + i, 51 + i, 50 + i, 51 + i) for i in range(10)]
    outs = fold(ADX.of(3), up)[1]
    assert outs[-1].adx == 100.0 and outs[-1].minus == 0.0
    still = fold(ADX.of(3), up + [candle(10 + i, 60, 60, 60, 60) for i in range(2000)])[1]
    assert still[-1] == (pytest.approx(100.0), 0.0, 0.0) and all(0 <= x <= 100.0000001 for view in still[5:] for x in view)


@pytest.mark.parametrize("n", [2, 14, 30])
def test_the_arms_are_known_with_bar_n_and_the_index_n_minus_one_bars_later(n):
    out = run(n, walk(6, 100))
    assert np.flatnonzero(~np.isnan(out[1]))[0] == n == ADX.of(n).warmup() - 1 and np.flatnonzero(~np.isnan(out[0]))[0] == 2 * n - 1


def test_after_settling_little_is_left_of_the_start():
    bars, n = walk(7, 3000), 14
    whole, settle = run(n, bars)[0], ADX.of(n).settle()
    left = [abs(run(n, bars[s:s + settle])[0, -1] - whole[s + settle - 1]) for s in range(200, 2800, 100)]
    early = [abs(run(n, bars[s:s + 28])[0, -1] - whole[s + 27]) for s in range(200, 2800, 100)]
    assert np.mean(left) < 0.05 * np.mean(early)


def test_a_length_that_makes_no_sense_is_refused():
    for wrong in (1, 0, -3, 2.5, 501):
        with pytest.raises(ParameterError, match=rf"ADX: n = {wrong} is "): ADX.of(wrong)
    assert isnan(ADX.of(2).update(candle(0, 1, 1, 1, 1))[1].plus)
