"Every indicator through numba and in plain Python: the same bits, on walks with ties and on recorded candles."
from typing import NamedTuple

import numpy as np
import pytest
from fixtures.candles import real, walk

from perps_kit.core.columns import Columns
from perps_kit.core.features import htf, on
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.lag import Lag
from perps_kit.indicators.rma import RMA
from perps_kit.indicators.rsi import RSI
from perps_kit.indicators.sma import SMA
from perps_kit.indicators.swings import Swings
from perps_kit.indicators.trend import Trend
from perps_kit.indicators.volume_ratio import VolumeRatio
from perps_kit.indicators.zones import Zones


class Everything(NamedTuple):
    "All indicators of this room, wired as a strategy wires them."
    def features(self):
        return dict(sma=on(SMA.of(20), "close"), ema=on(EMA.of(21), "close"), rma=on(RMA.of(14), "close"), rsi=on(RSI.of(14), "close"),
                    atr=on(ATR.of(14)), volume=on(VolumeRatio.of(20)), before=on(Lag.of(3), "ema"), smooth=on(EMA.of(5), "rsi"),
                    swings=on(Swings.of(5), optional=True),
                    zones=on(Zones.of(), "bar", "atr", "volume", "swings.kind", "swings.high", "swings.low"),
                    hour=htf(60, Trend.of(slow=40, fast=10, minimum=50), "close"), hour_swings=htf(60, Swings.of(3), optional=True))


SERIES = {"fine": lambda: walk(1, 1500), "ties": lambda: walk(2, 1500, tick=0.5), "solana": lambda: real("SOL", 20_000, 2500)}


@pytest.mark.parametrize("series", SERIES)
def test_compiled_and_plain_agree_to_the_bit(series):
    pytest.importorskip("numba")
    bars = SERIES[series]()
    plain, compiled = Columns(bars, compiled=False), Columns(bars, compiled=True)
    for name in Everything().features():
        a, b = (np.atleast_2d(columns.of(Everything(), name)) for columns in (plain, compiled))
        assert (np.isnan(a) == np.isnan(b)).all() and np.nan_to_num(a, nan=0.5).tobytes() == np.nan_to_num(b, nan=0.5).tobytes(), name
        assert np.isfinite(a).any(), name
