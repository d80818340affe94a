"""One strategy from candles to figures, and a thousand parameter sets, beside a hand-written loop and the programs that others use.

The rules are those of benchmarks/cross.py for all. A peer runs in an environment of its own (benchmarks/peers) and its trades are
compared with ours; one that cannot be installed or run is listed as not measured, with the reason.
"""
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.candles import candles
from benchmarks.cross import COLUMNS, Cross, by_hand, tuned
from benchmarks.measure import ROOT, Line, at_least, at_most, cpu_seconds
from benchmarks.peers.make import PEERS, NotMade, made
from perps_kit.backtest.bridge import COMMON
from perps_kit.backtest.sweep import ROW, swept, traded
from perps_kit.core.bar import Bars
from perps_kit.core.signal import STANDARD
from perps_kit.trackers.plan import Rules

GRID = tuple(product(range(5, 30), range(30, 70)))
BARS = dict(vectorbt=(100_000, 1_000_000), backtesting=(100_000,), nautilus_trader=(20_000,), freqtrade=(20_000,))
CLOSE = dict(vectorbt=1e-9, backtesting=1e-9, nautilus_trader=1e-4, freqtrade=1e-6)    # relative: prices that count as the same
AIMS = dict(vectorbt=8, backtesting=500, nautilus_trader=3000, freqtrade=3000)
LONGEST = 900       # seconds for one run of a peer


def count_of(n: int) -> str: return f"{n:,} bars"


def ours(bars: Bars) -> Any:
    "From candles to figures, and R by day."
    return swept(Cross, [{}], bars, COMMON, compiled=True, daily=True)


def by_loop(bars: Bars, loop: Any = by_hand) -> np.ndarray:
    "Trades by the loop, rows of COLUMNS."
    it, out = Cross(), np.empty((len(bars) // 20 + 10, len(COLUMNS)))
    found, _ = loop(bars.open, bars.high, bars.low, bars.close, bars.volume, it.fast, it.slow, it.surge, it.rsi_low, it.rsi_high,
                    it.stop_atr, it.multiple, COMMON.fee, out)
    return out[:found]


class Trade(NamedTuple):
    "What everybody can tell of a trade."
    side: int
    entry_bar: int
    exit_bar: int
    entry: float
    exit: float


def trades_of(bars: Bars) -> list[Trade]:
    "Ours that ended with the data left out: who marks them how is a matter of taste."
    rows = traded(Cross(), bars, COMMON)
    at = {name: k for k, name in enumerate(ROW)}
    return [Trade(int(r[at["side"]]), int(r[at["signal"]]) + 1, int(r[at["last"]]), r[at["entry"]], r[at["exit"]])
            for r in rows if not r[at["marked"]]]


def check_hand(bars: Bars, loop: Any) -> int:
    "The loop and the ladder make the same trades; how many."
    mine, hand = trades_of(bars), [Trade(int(r[1]), int(r[2]), int(r[3]), r[4], r[5]) for r in by_loop(bars, loop)]
    if [t[:3] for t in mine] != [t[:3] for t in hand] or not np.allclose([t[3:] for t in mine], [t[3:] for t in hand], rtol=1e-9, atol=0):
        raise AssertionError(f"the loop and the sweep differ: {len(hand)} trades against {len(mine)}")
    return len(mine)


def against_the_loop(n: int) -> list[Line]:
    bars, source = candles(n)
    count = [check_hand(bars, loop) for loop in (by_hand, tuned)][0]
    spent = cpu_seconds(dict(ours=lambda: ours(bars), hand=lambda: by_loop(bars), tuned=lambda: by_loop(bars, tuned)),
                        times=25 if n <= 100_000 else 11)
    name, note = count_of(n), f"the same {count} trades, to 1e-9; no figures"
    return [Line(f"backtest of {name}", spent["ours"] / n * 1e9, "ns a bar", note=f"features, decisions, exits, figures; {source}"),
            Line(f"hand-written loop, {name}", spent["hand"] / n * 1e9, "ns a bar", note=note),
            at_most(f"backtest over loop, {name}", spent["ours"] / spent["hand"], "times", 2.4, "aim: 2"),
            Line(f"the loop with reciprocals, {name}", spent["tuned"] / n * 1e9, "ns a bar", note="no division left in its averages"),
            Line(f"backtest over that, {name}", spent["ours"] / spent["tuned"], "times")]


# the others

class Answer(NamedTuple):
    "What a peer said."
    seconds: float              # CPU, warm
    trades: list[Trade]
    count: int
    memory: float               # most that it held, MB


def told(bars: Bars, sets: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    it = Cross()
    columns = {name: getattr(bars, name) for name in ("open_time", "open", "high", "low", "close", "volume")}
    return columns | it._asdict() | dict(fee=COMMON.fee, sets=sets)


def ask(peer: str, bars: Bars, sets: tuple[tuple[int, int], ...] = ()) -> Answer:
    "Have a peer trade the candles; NotMade says why it did not."
    python = made(peer)
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "told.npz", ROOT / "benchmarks" / "peers" / f"run_{peer}.py"
        np.savez(path, **told(bars, sets))
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PERPS"))}
        try: done = subprocess.run([python, script, path], capture_output=True, text=True, timeout=LONGEST, cwd=folder, env=environ)
        except subprocess.TimeoutExpired: raise NotMade(f"it took longer than {LONGEST} s") from None
    if done.returncode: raise NotMade(" ".join(done.stderr.split())[-200:])
    said = json.loads(done.stdout.splitlines()[-1])
    trades = [Trade(*row) for row in said["trades"]]
    return Answer(said["seconds"], trades, said.get("count", len(trades)), said.get("memory", nan))


def compared(mine: list[Trade], theirs: list[Trade], close: float) -> str:
    "In words, how many of ours they made as well, bar by bar and at prices that differ by the part `close` at most."
    others = {t[:2]: t for t in theirs}
    met = [(t, others[t[:2]]) for t in mine if t[:2] in others]
    same = [a.exit_bar == b.exit_bar and np.allclose(a[3:], b[3:], rtol=close, atol=0) for a, b in met]
    early = [s for (a, _), s in zip(met, same, strict=True) if a.exit_bar == a.entry_bar]
    text = f"{sum(same)} of {len(mine)} trades alike to {close:g}"
    if all(early): return text
    return f"{text}; of {sum(t.exit_bar == t.entry_bar for t in mine)} exits on the entry's bar {len(early) - sum(early)} came otherwise"


def against(peer: str) -> list[Line]:
    found, aim = [], AIMS[peer]
    for n in BARS[peer]:
        bars, _ = candles(n)
        name = f"{peer}, {count_of(n)}"
        try: said = ask(peer, bars)
        except NotMade as problem:
            found.append(Line(name, nan, "", note=f"not measured: {problem}"))
            continue
        whole, _ = candles(max(n, 100_000))     # where a peer is slow, we are measured on more, and both by the bar
        spent = cpu_seconds(dict(ours=lambda whole=whole: ours(whole)), times=9)["ours"] / len(whole)
        note = compared(trades_of(bars), said.trades, CLOSE[peer])
        if len(whole) > n: note += f"; by the bar, ours on {count_of(len(whole))}"
        found += [Line(name, said.seconds / n * 1e9, "ns a bar", note=note),
                  at_least(f"{name}, over ours", said.seconds / n / spent, "times", aim)]
    return found


# a thousand sets

CHILD = """
import json, os, time
from benchmarks import backtest
from benchmarks.measure import peak_memory
bars, _ = backtest.candles(100_000)
print(json.dumps(backtest.thousand(bars, {standard}) | dict(memory=peak_memory(os.getpid()))))
"""


def thousand(bars: Bars, standard: bool) -> dict[str, Any]:
    "The grid, lived once to warm up on a few sets and then in earnest."
    from time import process_time
    rules, extra = (Rules(), dict(preset=STANDARD)) if standard else (COMMON, {})
    sets = [dict(fast=fast, slow=slow, **extra) for fast, slow in GRID]
    swept(Cross, sets[:3], bars[:3000], rules, compiled=True)
    begun = process_time()
    found = swept(Cross, sets, bars, rules, compiled=True)
    return dict(seconds=process_time() - begun, count=int(found.trades.sum()))


def in_child(standard: bool) -> dict[str, Any]:
    "The middle of three processes: seconds, trades, most memory."
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    said = [json.loads(subprocess.run([sys.executable, "-c", CHILD.format(standard=standard)], capture_output=True, text=True, check=True,
                                      cwd=ROOT, env=environ).stdout) for _ in range(3)]
    return sorted(said, key=lambda x: x["seconds"])[1] | dict(memory=max(x["memory"] for x in said))


def sweeps() -> list[Line]:
    bars, _ = candles(100_000)
    found, single = [], in_child(False)
    try: theirs = ask("vectorbt", bars, GRID)
    except NotMade as problem: theirs, found = None, [Line("1,000 sets, vectorbt", nan, "", note=f"not measured: {problem}")]
    if theirs:
        note = f"{theirs.count:,} trades, 100 sets at a time, {theirs.memory:,.0f} MB"
        found.append(Line("1,000 sets of 100,000 bars, vectorbt", theirs.seconds, "s CPU", note=note))
    for name, said in (("one target", single), ("full STANDARD ladder", in_child(True))):
        label = f"1,000 sets of 100,000 bars, {name}"
        found += [Line(label, said["seconds"], "s CPU", note=f"{said['count']:,} trades; candles, numba and all loaded before"),
                  at_most(f"{label}: peak memory", said["memory"], "MB", 400)]
        ratio = theirs.seconds / said["seconds"] if theirs else nan
        if theirs: found.append(at_least(f"{label}: vectorbt over ours", ratio, "times", 50, "vectorbt: one target"))
    return found


def lines() -> list[Line]:
    found = [*against_the_loop(100_000), *against_the_loop(1_000_000)]
    for peer in PEERS: found += against(peer)
    return found + sweeps()
