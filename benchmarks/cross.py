"""The rules that other backtesters are told as well, as a strategy of this house and as one hand-written loop.

The 9-bar average crosses the 21-bar one, RSI is between 30 and 70, the volume at least 1.2 times the usual; stop 1.5 ATR away, one target
1.2 times as far, in at the next open, out at either, on the entry's own bar if need be; one position at a time, 0.05 % a side.
"""
from math import nan
from typing import Annotated, Any, NamedTuple

import numpy as np
from numba import njit

from perps_kit.core.features import Feature, on
from perps_kit.core.signal import SINGLE, Signal, no_signal
from perps_kit.core.unit import Span
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.rsi import RSI
from perps_kit.indicators.volume_ratio import VolumeRatio

NOTHING = no_signal(())
COLUMNS = ("signal", "side", "entry_bar", "exit_bar", "entry", "exit", "stop", "target", "net")     # of a trade by hand


class Cross(NamedTuple):
    "Both ways on a cross of two averages, with room left in RSI and more volume than usual."
    fast: Annotated[int, Span(2, 100)] = 9
    slow: Annotated[int, Span(3, 300)] = 21
    surge: Annotated[float, Span(0.0, 10.0)] = 1.2          # times the 20-bar mean volume
    rsi_low: Annotated[float, Span(0.0, 50.0)] = 30.0
    rsi_high: Annotated[float, Span(50.0, 100.0)] = 70.0
    stop_atr: Annotated[float, Span(0.2, 10.0)] = 1.5
    multiple: Annotated[float, Span(0.1, 10.0)] = 1.2       # of the risk: the target
    preset: Annotated[int, Span(0, 4)] = SINGLE

    minutes, modes, filters, spacing, parts = 15, ("CROSS",), (), {}, tuple

    def features(self) -> dict[str, Feature]:
        return dict(fast=on(EMA.of(self.fast), "close"), slow=on(EMA.of(self.slow), "close"), rsi=on(RSI.of(14), "close"),
                    atr=on(ATR.of(14)), volume=on(VolumeRatio.of(20)))

    def decide(self, now: Any, was: Any) -> Signal:
        up, was_up = now.fast > now.slow, was.fast > was.slow
        if up == was_up or now.rsi < self.rsi_low or now.rsi > self.rsi_high or now.volume < self.surge: return NOTHING
        side, close, risk = 1 if up else -1, now.bar.close, self.stop_atr * now.atr
        first = self.multiple if self.preset == SINGLE else nan
        return Signal(side, 0, close, close - side * risk, self.preset, first, nan, nan, now.atr, 10.0, 0, ())


@njit
def as_written(y: float, x: float) -> float: return (13.0 * y + x) / 14.0


@njit
def reciprocal(y: float, x: float) -> float: return y + (x - y) * (1.0 / 14.0)


def hand(wilder: Any) -> Any:
    "The loop; `wilder` steps a 14-bar average: as it is written in books, or without its division, as who counts nanoseconds writes it."
    @njit
    def by_hand(open, high, low, close, volume, fast_n, slow_n, surge, rsi_low, rsi_high, stop_atr, multiple, fee, out):
        "Fills `out` with rows of COLUMNS, one a trade; how many there are, and what they made. Nothing in it can be reused or stepped."
        n, found, total = len(close), 0, 0.0
        fast = slow = gain = loss = atr = volumes = 0.0
        a, b = 2.0 / (fast_n + 1), 2.0 / (slow_n + 1)
        side, entered, signal = 0, 0, 0
        entry = stop = target = risk = 0.0
        wish = 0
        for i in range(n):
            x, hi, lo, first = close[i], high[i], low[i], open[i]
            if wish != 0:
                side, entered, signal, entry, wish = wish, i, i - 1, first, 0
                if side * (entry - stop) <= 0.0: side = 0
            if side != 0:
                gone = np.nan
                if entered < i and side * (first - stop) <= 0.0: gone = first
                elif (side > 0 and lo <= stop) or (side < 0 and hi >= stop): gone = stop
                elif (side > 0 and hi >= target) or (side < 0 and lo <= target):
                    gone = first if side * (first - target) > 0.0 else target
                if gone == gone:
                    net = side * (gone - entry) - fee * (entry + gone)
                    total += net / abs(entry - stop)
                    out[found, 0], out[found, 1], out[found, 2], out[found, 3], out[found, 4] = signal, side, entered, i, entry
                    out[found, 5], out[found, 6], out[found, 7], out[found, 8] = gone, stop, target, net
                    found, side = found + 1, 0
            was_fast, was_slow = fast, slow
            k = i + 1
            fast += (a if k > fast_n else 1.0 / k) * (x - fast)
            slow += (b if k > slow_n else 1.0 / k) * (x - slow)
            if i > 0:
                last = close[i - 1]
                up, down = max(x - last, 0.0), max(last - x, 0.0)
                reach = max(hi, last) - min(lo, last)
                if i > 14: gain, loss, atr = wilder(gain, up), wilder(loss, down), wilder(atr, reach)
                else:
                    gain, loss, atr = gain + up, loss + down, atr + reach
                    if i == 14: gain, loss, atr = gain / 14.0, loss / 14.0, atr / 14.0
            usual = volumes / 20.0
            volumes += volume[i] - (volume[i - 20] if i >= 20 else 0.0)
            if i < max(21, slow_n) or side != 0: continue
            above = fast > slow
            if above == (was_fast > was_slow) or not volume[i] >= surge * usual: continue
            way = 1 if above else -1
            rsi = 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 50.0
            if rsi < rsi_low or rsi > rsi_high: continue
            risk = stop_atr * atr
            if i + 1 == n or not risk > 0.0: continue
            wish, stop, target = way, x - way * risk, x + way * multiple * risk
        return found, total
    return by_hand


by_hand, tuned = hand(as_written), hand(reciprocal)
