"The direction of a higher timeframe against pandas and TA-Lib, and what it says when."
from math import isnan, nan
from typing import NamedTuple

import numpy as np
import pytest
import talib
from fixtures.candles import real, walk

from perps_kit.core.features import htf
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.indicators.trend import Trend, alignment, beyond


def test_direction_agrees_with_talib():
    for close in (walk(1, 1500, step=0.2).close, walk(2, 1500).close, real("BTC", 0, 4000).close):
        out = fold(Trend.of(), close.tolist())[1]
        slow, fast = talib.EMA(close, 200), talib.EMA(close, 50)
        slope = fast - np.r_[[nan] * 5, fast[:-5]]
        expected = np.where((close > slow) & (slope > 0), 1.0, np.where((close < slow) & (slope < 0), -1.0, 0.0))
        assert all(isnan(x.dir) and isnan(x.average) for x in out[:249])
        sure = abs(slope[249:]) > 1e-9
        np.testing.assert_array_equal(np.array([x.dir for x in out[249:]])[sure], expected[249:][sure])
        np.testing.assert_allclose([x.average for x in out[249:]], slow[249:], rtol=1e-12)
        assert set(expected[249:]) == {1.0, 0.0, -1.0}


def test_flat_prices_point_nowhere():
    out = fold(Trend.of(), [5.0] * 300)[1]
    assert {x.dir for x in out[249:]} == {0.0} and out[-1].average == 5.0


def test_warm_up_covers_both_averages():
    assert Trend.of().warmup() == 250 and Trend.of().settle() == 800
    assert Trend.of(slow=20, fast=60, slope=10, minimum=2).warmup() == 70
    with pytest.raises(ParameterError): Trend.of(slow=1)


@pytest.mark.parametrize("side, hour, four, expected", [
    (1, 1, 1, 1), (1, 1, 0, 0.5), (1, 1, -1, 0), (-1, -1, -1, 1), (-1, 1, 0, -0.5), (-1, 1, 1, -1)])
def test_alignment(side, hour, four, expected):
    assert alignment(side, float(hour), float(four)) == expected and isnan(alignment(side, nan, float(four)))


@pytest.mark.parametrize("side, close, expected", [
    (1, 102.01, True), (1, 102.0, False), (1, 101.0, False), (1, 100.0, False), (1, 99.0, False),
    (-1, 99.99, True), (-1, 100.0, False), (-1, 101.0, False), (-1, 102.0, False), (-1, 103.0, False)])
def test_strict_mode_wants_the_close_beyond_both_averages(side, close, expected):
    assert beyond(side, close, 100.0, 102.0) is expected is beyond(side, close, 102.0, 100.0)
    assert not beyond(side, close, nan, 102.0) and not beyond(side, close, 100.0, nan)


class Watcher(NamedTuple):
    "Asks for the 1H direction and never decides anything."
    def features(self): return dict(hour=htf(60, Trend.of(slow=8, fast=4, slope=2, minimum=10), "close"))


def test_between_two_closes_of_the_hour_nothing_changes():
    bars = walk(3, 400)
    stream, hourly = Stream({"watcher": Watcher()}, "WALK", 15), bars.close[3::4].tolist()
    expected = fold(Trend.of(slow=8, fast=4, slope=2, minimum=10), hourly)[1]
    for i, bar in enumerate(bars):
        stream.values = stream._advance(stream._closed(bar))
        known = (i + 1) // 4
        assert same_bits(stream.values[0], expected[known - 1]) if known else isnan(stream.values[0].dir)


def test_stopping_anywhere_and_going_on_changes_nothing():
    x = walk(4, 300).close.tolist()
    whole = fold(Trend.of(), x)[1]
    for cut in (0, 51, 249, 250, 280):
        half, _ = fold(Trend.of(), x[:cut])
        assert same_bits(fold(loads(Trend.of(), dumps(half)), x[cut:])[1], whole[cut:])
