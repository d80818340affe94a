"A strategy that is warm after a few bars, for contracts that need many origins."
from math import nan
from typing import Any, NamedTuple

from perps_kit.core.features import Feature, htf, on
from perps_kit.core.signal import Signal, no_signal
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.lag import Lag


class Quick(NamedTuple):
    "Long on a rise above a short average, unless the hour falls; short mirrored."
    least: float = 0.0          # of the range, to speak at all

    minutes, modes, filters, parts, spacing = 15, ("RISE", "FALL"), ("hour",), tuple, {0: 3, 1: 5}

    def features(self) -> dict[str, Feature]:
        return dict(average=on(EMA.of(3), "close"), before=on(Lag.of(1), "average"), atr=on(ATR.of(3)), hour=htf(60, Lag.of(1), "close"))

    def decide(self, now: Any, was: Any) -> Signal:
        side = 1 if now.average > now.before else -1
        held = 0 if side * (now.bar.close - now.hour) >= 0.0 else 1
        if now.atr <= self.least: return no_signal(())
        return Signal(side, 0 if side > 0 else 1, now.bar.close, now.bar.close - side * now.atr, 0, nan, nan, nan, now.atr, 5.0, held, ())

    def leave(self, now: Any, was: Any) -> int:
        return 1 if now.average < was.average else -1
