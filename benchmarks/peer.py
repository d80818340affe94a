"""The EMA scalper as a strategy of backtesting.py, written as its users write one: TA-Lib and pandas in `init`, the rules in `next`.

Zones have no vectorised form. They are folded in plain Python in `init`, as a user without a compiler would; or handed over ready-made,
so that the table shows both.
"""
import os

import numpy as np
import pandas as pd
import talib

os.environ["TQDM_DISABLE"] = "1"        # its progress bar is not part of the comparison
from backtesting import Backtest, Strategy

from perps_kit.core.bar import Bars
from perps_kit.core.columns import Columns
from perps_kit.strategies.ema_scalper import EmaScalper


def frame_of(bars: Bars) -> pd.DataFrame:
    "Candles as backtesting.py takes them."
    columns = dict(Open=bars.open, High=bars.high, Low=bars.low, Close=bars.close, Volume=bars.volume)
    return pd.DataFrame(columns, index=pd.to_datetime(bars.open_time, unit="ms"))


def direction(frame: pd.DataFrame, hours: int) -> np.ndarray:
    "1, -1 or 0 of a higher timeframe, at each close of a 15m bar."
    bars = frame["Close"].resample(f"{hours}h").agg(["last", "count"])
    close = bars["last"][bars["count"] == 4 * hours]
    slow, fast = talib.EMA(close, 200), talib.EMA(close, 50)
    way = ((close > slow) & (fast > fast.shift(5))).astype(float) - ((close < slow) & (fast < fast.shift(5))).astype(float)
    way[:249] = np.nan
    way.index += pd.Timedelta(hours=hours)
    return way.reindex(frame.index + pd.Timedelta(minutes=15), method="ffill").to_numpy()


def zones_in_python(bars: Bars) -> np.ndarray:
    "Near edges of the next resistance and support, (2, n)."
    zones = Columns(bars, compiled=False).of(EmaScalper(), "zones")
    return np.stack([zones.resistance, zones.support])


def ramp(x: float, a: float, b: float) -> float: return min(max((x - a) / (b - a), 0.0), 1.0)


class Scalper(Strategy):
    "quant_spec C1 with one target, for this library cannot sell in parts at several prices from one order."
    zones = None                # (2, n)
    said: list = []             # indices of all signals, for comparison

    def init(self):
        close, volume, frame = self.data.Close.s, self.data.Volume.s, self.data.df
        self.fast, self.slow = self.I(talib.EMA, close, 9), self.I(talib.EMA, close, 21)
        self.rsi, self.atr = self.I(talib.RSI, close, 14), self.I(talib.ATR, self.data.High.s, self.data.Low.s, close, 14)
        self.vr = self.I(lambda: volume / volume.shift(1).rolling(20).mean())
        self.h1, self.h4 = self.I(direction, frame, 1), self.I(direction, frame, 4)
        self.roof, self.floor = self.I(lambda: self.zones[0]), self.I(lambda: self.zones[1])
        self.last = {1: -99, -1: -99}

    def next(self):
        fast, slow, was_fast, was_slow = self.fast[-1], self.slow[-1], self.fast[-2], self.slow[-2]
        crossed = 1 if was_fast <= was_slow and fast > slow else -1 if was_fast >= was_slow and fast < slow else 0
        if self.position and crossed == -(1 if self.position.is_long else -1): self.position.close()
        close, side, mode = self.data.Close[-1], crossed, 0
        if side * (close - slow) <= 0:
            side, mode, apart = 0, 1, (fast - slow) / slow
            if abs(apart) < 0.008: return
            way = 1 if apart > 0 else -1
            dip = self.data.Low[-1] <= fast if way > 0 else self.data.High[-1] >= fast
            if dip and way * (slow - self.slow[-4]) > 0 and way * (close - fast) > 0 and way * (close - self.data.Open[-1]) > 0: side = way
        if side: self.judge(side, mode, close, fast, slow)

    def judge(self, side: int, mode: int, close: float, fast: float, slow: float):
        time = self.data.index[-1] + pd.Timedelta(minutes=15)
        minute, vr, rsi, atr = time.hour * 60 + time.minute, self.vr[-1], self.rsi[-1], self.atr[-1]
        risk, align = 1.5 * atr, 0.5 * side * (self.h1[-1] + self.h4[-1])
        room = max(0.0, self.roof[-1] - close if side > 0 else close - self.floor[-1]) / risk
        if not (vr >= 1.2 and 30 <= rsi <= 70 and 480 <= minute < 1260 and room >= 0.8 and align >= 0): return
        if not (0.1 <= 100 * atr / close <= 10 and risk / close <= 0.1): return
        apart, slope = side * (fast - slow) / slow, abs(slow - self.slow[-4])
        score = 2.5 * ramp(vr, 1.2, 2.5) + 2 * (ramp(apart, 0.008, 0.016) if mode else ramp(slope / atr, 0, 0.5)) + 2 * max(align, 0)
        score += 1.5 * ramp(70 - rsi if side > 0 else rsi - 30, 0, 20) + ramp(room, 0.8, 2) + (780 <= minute < 960)
        i = len(self.data) - 1
        if round(score, 1) < 5.0 or (mode and i - self.last[side] <= 8): return
        if mode: self.last[side] = i
        self.said.append(i)
        if not self.position:
            (self.buy if side > 0 else self.sell)(sl=close - side * risk, tp=close + side * 1.2 * risk)


def run(bars: Bars, zones: np.ndarray | None = None) -> list[int]:
    "Indices of the bars with a signal; zones are computed in Python if not given."
    Scalper.said = said = []
    Scalper.zones = zones_in_python(bars) if zones is None else zones
    Backtest(frame_of(bars), Scalper, cash=1e9, commission=0.0005).run()
    return said
