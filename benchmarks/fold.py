"The EMA scalper over years: compiled units against a hand-written loop, plain Python, and backtesting.py."
import os
import sys

import numpy as np

from benchmarks import peer
from benchmarks.candles import candles
from benchmarks.loop import SIGNAL, scalper
from benchmarks.measure import Line, at_least, at_most, child_cpu, cpu_seconds
from perps_kit.backtest.run import backtest
from perps_kit.core.bar import Bars
from perps_kit.core.columns import Columns, Signals, leaves_of, signals_of
from perps_kit.strategies.ema_scalper import EmaScalper

PEER_BARS = 100_000


def units(bars: Bars) -> tuple[Signals, np.ndarray]:
    "Signals and closing decisions by the strategy's own units, from nothing."
    columns = Columns(bars, compiled=True)
    return signals_of(EmaScalper(), columns), leaves_of(EmaScalper(), columns)


def by_hand(bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    "The same by the loop."
    out, leaves = np.empty((len(bars) // 8 + 1, len(SIGNAL))), np.zeros(len(bars), np.int8)
    found = scalper(bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume, out, leaves)
    return out[:found], leaves


def check_same(bars: Bars) -> int:
    "Both give the same signals; how many."
    (ours, leaves), (theirs, exits) = units(bars), by_hand(bars)
    mine = ours.table[:, [ours.names.index(name) for name in SIGNAL]]
    if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=1e-9) or not (leaves == exits).all():
        raise AssertionError(f"the loop and the units differ: {len(mine)} signals against {len(theirs)}")
    return len(mine)


def against_the_loop(n: int) -> list[Line]:
    bars, source = candles(n)
    count = check_same(bars)
    spent = cpu_seconds(dict(units=lambda: units(bars), loop=lambda: by_hand(bars)), times=7 if n <= 100_000 else 3)
    name = f"{n // 1000},000 bars" if n < 1_000_000 else "1,000,000 bars"
    return [Line(f"fold of {name}", spent["units"] / n * 1e9, "ns a bar", note=f"{source}; {count} signals"),
            Line(f"hand-written loop, {name}", spent["loop"] / n * 1e9, "ns a bar", note="the same signals and exits, checked"),
            at_most(f"fold over loop, {name}", spent["units"] / spent["loop"], "times", 5)]


def against_peers() -> list[Line]:
    bars, _ = candles(PEER_BARS)
    ours = units(bars)[0].index.tolist()
    zones = Columns(bars).of(EmaScalper(), "zones")
    ready = np.stack([zones.resistance, zones.support])
    for given in (ready, None):
        if peer.run(bars[:20_000], None if given is None else given[:, :20_000]) != [i for i in ours if i < 20_000 - 1]:
            raise AssertionError("backtesting.py signals other bars")
    mine = cpu_seconds(dict(fold=lambda: units(bars), backtest=lambda: backtest(EmaScalper(), bars, compiled=True)))
    theirs = cpu_seconds(dict(whole=lambda: peer.run(bars), ready=lambda: peer.run(bars, ready)), times=1, warm=0)
    plain = cpu_seconds(dict(plain=lambda: signals_of(EmaScalper(), Columns(bars[:10_000], compiled=False))), times=1, warm=0)["plain"]
    per_bar = 1e6 / len(bars)
    return [Line("backtest: fold, gates, ladders, costs", mine["backtest"] * per_bar * 1e3, "ns a bar"),
            Line("backtesting.py, zones in Python", theirs["whole"] * per_bar, "us a bar", note="one target, no partial exits"),
            Line("backtesting.py, zones handed over", theirs["ready"] * per_bar, "us a bar", note="our compiled zones as a ready column"),
            at_least("backtesting.py over fold", theirs["whole"] / mine["fold"], "times", 300),
            Line("backtesting.py over backtest", theirs["whole"] / mine["backtest"], "times"),
            Line("the same with zones handed over", theirs["ready"] / mine["fold"], "times"),
            Line("the same loops in plain Python", plain / 10_000 * 1e6, "us a bar")]


def first_use() -> list[Line]:
    "What a new process pays for the compiled loops: found in the cache, after they were compiled once."
    script = "from benchmarks.candles import candles; from benchmarks.fold import units; units(candles(1000)[0])"
    environ = os.environ | {"PYTHONPATH": os.getcwd()}
    child_cpu([sys.executable, "-c", script], environ)
    spent, _ = child_cpu([sys.executable, "-c", script], environ)
    return [Line("new process to its first columns", spent, "s CPU", note="loops from the cache, imports included")]


def lines() -> list[Line]: return [*against_the_loop(100_000), *against_the_loop(1_000_000), *against_peers(), *first_use()]
