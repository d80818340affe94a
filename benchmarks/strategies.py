"All strategies of quarter hours together: compiled over 100,000 bars, shared and unshared; stepped in plain Python, one symbol and 500."
from time import process_time

import numpy as np
import pandas as pd
import talib

from benchmarks.candles import candles
from benchmarks.measure import Line, at_most, cpu_seconds
from perps_kit.core.bar import Bars
from perps_kit.core.columns import Columns, leaves_of, signals_of
from perps_kit.core.features import plan_of
from perps_kit.core.registry import strategies
from perps_kit.core.stream import Stream
from perps_kit.core.unit import make
from perps_kit.scoring.context import KEPT, context_features

BARS, SYMBOLS, WARM = 100_000, 500, 4_200


def together() -> dict:
    return {name: make(cls) for name, cls in strategies().items() if cls.minutes % 15 == 0}


def folded(bars: Bars, shared: bool) -> int:
    "Signals of all of them, from nothing; how many."
    columns, found = Columns(bars, compiled=True), 0
    for it in together().values():
        own = columns if shared else Columns(bars, compiled=True)
        found += len(signals_of(it, own))
        leaves_of(it, own)
    return found


def one_cross(bars: Bars) -> int:
    "One EMA cross on a DataFrame with TA-Lib, the way freqtrade's documentation writes a strategy: signals only, no exits, no filters."
    frame = pd.DataFrame(dict(close=bars.close, volume=bars.volume))
    frame["fast"], frame["slow"] = talib.EMA(frame.close.to_numpy(), 9), talib.EMA(frame.close.to_numpy(), 21)
    up = (frame.fast > frame.slow) & (frame.fast.shift(1) <= frame.slow.shift(1)) & (frame.volume > 0)
    frame.loc[up, "enter_long"] = 1
    return int(up.sum())


def batch() -> list[Line]:
    bars, source = candles(BARS)
    count = folded(bars, True)
    spent = cpu_seconds(dict(shared=lambda: folded(bars, True), apart=lambda: folded(bars, False), cross=lambda: one_cross(bars)), times=3)
    n, per = len(together()), BARS
    return [Line(f"{n} strategies, compiled", per / spent["shared"] / 1e3, "thousand bars a second",
                 note=f"{source}; {count} clean signals"),
            Line("the same", spent["shared"] / per * 1e9, "ns a bar"),
            Line("each with columns of its own over all with shared ones", spent["apart"] / spent["shared"], "times"),
            Line("one EMA cross on a DataFrame (TA-Lib)", spent["cross"] / per * 1e9, "ns a bar",
                 note="as freqtrade's documentation writes it"),
            Line("all strategies over that one cross", spent["shared"] / spent["cross"], "times")]


def warmed(bars: Bars) -> Stream:
    stream = Stream(together(), "BTCUSDT", 15, context_features(15), KEPT)
    for bar in bars: stream.accept(bar)
    return stream


def stepped() -> list[Line]:
    bars, _ = candles(WARM + 2_000)
    stream, spent = warmed(bars[:WARM]), []
    for bar in bars[WARM:]:
        began = process_time()
        stream.accept(bar)
        spent.append(process_time() - began)
    asked = sum(len(c) for c in stream.plan.columns.values())
    return [Line("all strategies and the gates' features, one symbol, plain Python", float(np.mean(spent)) * 1e6, "us a bar",
                 note=f"{asked} features wished for, {len(stream.plan.nodes)} units stepped"),
            Line("the slowest hundredth of bars", float(np.quantile(spent, 0.99)) * 1e6, "us")]


def burst() -> list[Line]:
    "One boundary of four hours, at which every timeframe closes, for 500 symbols."
    bars, _ = candles(WARM + 200)
    last = next(i for i in range(WARM, len(bars)) if int(bars.close_time[i]) % 14_400_000 == 0)
    state = warmed(bars[:last])
    saved, streams = state.save(), []
    for _ in range(SYMBOLS):
        one = Stream(together(), "BTCUSDT", 15, context_features(15), KEPT)
        one.load(saved)
        streams.append(one)
    bar, began = bars[last], process_time()
    for one in streams: one.accept(bar)
    spent = process_time() - began
    return [at_most(f"{SYMBOLS} symbols at one boundary, plain Python", spent, "s CPU", 1.0, note="every timeframe closes at it")]


def lines() -> list[Line]:
    assert plan_of(together(), 15)
    return [*batch(), *stepped(), *burst()]
