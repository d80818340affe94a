"Strategies that trade often, in all the ways that a sweep has to get right: spacing, own closes, a higher timeframe, chained features."
from math import nan
from typing import Annotated, Any, NamedTuple

from perps_kit.core.features import Feature, htf, on
from perps_kit.core.signal import SINGLE, Signal, no_signal
from perps_kit.core.unit import Span
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.lag import Lag
from perps_kit.indicators.macd import MACD

LATER, WITH = 0, 1


class Points(NamedTuple):
    "Score components."
    apart: float = 0.0


class Crossing(NamedTuple):
    "In on a cross of two averages, or again on a new push; out on the opposite cross."
    fast: Annotated[int, Span(2, 100)] = 4
    slow: Annotated[int, Span(3, 300)] = 9
    wide: Annotated[float, Span(-5.0, 5.0)] = 1.5       # times the ATR: how far the stop is; negative: on the wrong side
    preset: Annotated[int, Span(0, 4)] = SINGLE
    quick: bool = True                                  # whether the opposite cross closes a position

    minutes, modes, filters, spacing, parts = 15, ("LATER", "WITH"), ("flat",), {WITH: 6}, Points

    def features(self) -> dict[str, Feature]:
        return dict(fast=on(EMA.of(self.fast), "close"), slow=on(EMA.of(self.slow), "close"), before=on(Lag.of(2), "fast"),
                    atr=on(ATR.of(5)), hour=htf(60, EMA.of(3), "close"), far=on(MACD.of(), "close", optional=True))

    def decide(self, now: Any, was: Any) -> Signal:
        up, was_up, close = now.fast > now.slow, was.fast > was.slow, now.bar.close
        side, mode = 1 if up else -1, LATER
        if up == was_up:
            if side * (now.fast - now.before) <= 0.0 or side * (close - now.hour) <= 0.0: return NOTHING
            mode = WITH
        target = 0.7 if self.preset == SINGLE else nan
        return Signal(side, mode, close, close - side * self.wide * now.atr, self.preset, target, nan, nan, now.atr, 7.0,
                      1 if now.bar.high == now.bar.low else 0, Points(now.fast - now.slow))

    def leave(self, now: Any, was: Any) -> int:
        up, was_up = now.fast > now.slow, was.fast > was.slow
        if up == was_up or not self.quick: return 0
        return -1 if up else 1


class Halves(NamedTuple):
    "The same idea on half hours, made of quarter hours, without a close of its own."
    n: Annotated[int, Span(2, 100)] = 5

    minutes, modes, filters, spacing = 30, ("",), (), {}

    def features(self) -> dict[str, Feature]:
        return dict(mean=on(EMA.of(self.n), "close"), atr=on(ATR.of(5)), far=htf(240, EMA.of(2), "close", optional=True))

    def decide(self, now: Any, was: Any) -> Signal:
        up, was_up, close = now.bar.close > now.mean, was.bar.close > was.mean, now.bar.close
        if up == was_up: return NONE
        side = 1 if up else -1
        return Signal(side, 0, close, close - side * now.atr, 2, nan, nan, nan, now.atr, 7.0, 0, ())


NOTHING, NONE = no_signal(Points()), no_signal(())
