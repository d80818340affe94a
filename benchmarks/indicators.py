"""Indicators over years of candles against TA-Lib and smartmoneyconcepts, one step in plain Python against talipp, memory, compilation.

Peers do the same work where that is possible: TA-Lib and talipp give the same numbers (checked here), smartmoneyconcepts finds the same
gaps, and swings, breaks, blocks and pools after rules of its own, some of which look ahead.
"""
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ["SMC_CREDIT"] = "0"          # no advertisement among the results
import talib
import talipp.indicators as peers
from smartmoneyconcepts.smc import smc
from talipp.ohlcv import OHLCV

from benchmarks.candles import candles
from benchmarks.measure import ROOT, Line, at_least, at_most, child_cpu, cpu_seconds
from benchmarks.peer import frame_of
from perps_kit.core.bar import Bars
from perps_kit.core.columns import Columns
from perps_kit.core.compiled import fold_loop, fused_loop
from perps_kit.core.features import Feature, on, plan_of, prefixed
from perps_kit.core.registry import units, wiring
from perps_kit.core.signal import Signal, no_signal
from perps_kit.core.stream import Stream, fresh
from perps_kit.core.unit import output_fields
from perps_kit.data.look import Wish, look
from perps_kit.indicators.adx import ADX
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.bollinger import Bollinger
from perps_kit.indicators.donchian import Donchian
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.fair_value_gap import FairValueGap
from perps_kit.indicators.macd import MACD
from perps_kit.indicators.order_block import OrderBlock
from perps_kit.indicators.roc import ROC
from perps_kit.indicators.rsi import RSI
from perps_kit.indicators.sma import SMA
from perps_kit.indicators.structure import Structure
from perps_kit.indicators.sweep import Sweep
from perps_kit.indicators.swings import Swings

FIVE: dict[str, Feature] = dict(EMA=on(EMA.of(20), "close"), RSI=on(RSI.of(14), "close"), ATR=on(ATR.of(14)), ADX=on(ADX.of(14)),
                                Bollinger=on(Bollinger.of(20), "close"))


def folded(feature: Feature, bars: Bars) -> Callable[[], np.ndarray]:
    "The compiled fold of one unit over columns that are ready, as TA-Lib's functions get theirs."
    columns = [bars.open_time, bars.close_time, *bars.columns()[1:]]
    run, fields = fold_loop(feature.unit, feature.inputs, True), output_fields(type(feature.unit))

    def work() -> np.ndarray:
        out = np.empty((len(fields), len(bars)))
        run(fresh(feature.unit), *columns, out)
        return out
    return work


def fused(features: dict[str, Feature], bars: Bars) -> Callable[[], np.ndarray]:
    "The same units side by side in one loop."
    columns, nodes = [bars.open_time, bars.close_time, *bars.columns()[1:]], plan_of({"it": Wish(features)}, bars.minutes).nodes
    run, rows = fused_loop(nodes, True), sum(len(output_fields(type(node.unit))) for node in nodes)

    def work() -> np.ndarray:
        out = np.empty((rows, len(bars)))
        run(tuple(fresh(node.unit) for node in nodes), *columns, out)
        return out
    return work


def talib_calls(bars: Bars) -> dict[str, Callable[[], Any]]:
    h, l, c = bars.high, bars.low, bars.close
    return dict(EMA=lambda: [talib.EMA(c, 20)], RSI=lambda: [talib.RSI(c, 14)], ATR=lambda: [talib.ATR(h, l, c, 14)],
                ADX=lambda: [talib.ADX(h, l, c, 14), talib.PLUS_DI(h, l, c, 14), talib.MINUS_DI(h, l, c, 14)],
                Bollinger=lambda: talib.BBANDS(c, 20, 2.0, 2.0))


def against_talib(n: int) -> list[Line]:
    bars, source = candles(n)
    theirs, ours = talib_calls(bars), {name: folded(feature, bars) for name, feature in FIVE.items()}
    for name in FIVE:
        mine, known = ours[name](), talib_calls(bars)[name]()
        for column in known:
            if not any(np.allclose(row[200:], column[200:], rtol=1e-9) for row in mine): raise AssertionError(f"{name} differs")
    works = {f"our {name}": work for name, work in ours.items()} | {f"their {name}": work for name, work in theirs.items()}
    works["fused"], works["all of theirs"] = fused(FIVE, bars), lambda: [work() for work in theirs.values()]
    works["their ADX alone"] = lambda: talib.ADX(bars.high, bars.low, bars.close, 14)
    works["look"] = lambda: look(bars, fused=True, **FIVE)
    spent, found = cpu_seconds(works, times=15, warm=2), []
    for name in FIVE:
        mine, other = spent[f"our {name}"] / n * 1e9, spent[f"their {name}"] / n * 1e9
        note = f"{mine:.2f} against {other:.2f} ns a bar" + ("; TA-Lib in three calls" if name == "ADX" else "")
        found.append(at_most(f"{name} over TA-Lib, {n:,} bars", mine / other, "times", 3, note))
    mine, other = spent["fused"] / n * 1e9, spent["all of theirs"] / n * 1e9
    note = f"{mine:.1f} against {other:.1f} ns a bar, {source}"
    bare = other - (spent["their ADX"] - spent["their ADX alone"]) / n * 1e9
    return [*found, at_most(f"all five fused over TA-Lib, {n:,} bars", mine / other, "times", 1, note),
            Line(f"the same, theirs without the arms of ADX, {n:,} bars", mine / bare, "times", note=f"against {bare:.1f} ns a bar"),
            Line(f"the same through look, {n:,} bars", spent["look"] / n * 1e9, "ns a bar", note="candles checked, columns named")]


def structure_calls(bars: Bars) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    "(ours, theirs) by name; ours from candles alone, with all that feeds a unit."
    frame = frame_of(bars)
    frame.columns = [c.lower() for c in frame.columns]
    swings = smc.swing_highs_lows(frame, 5)

    def ours(**features: Feature) -> Callable[[], Any]:
        wish = Wish(features)

        def work() -> Any:
            columns = Columns(bars, True)
            columns.fuse(wish)
            return columns.of(wish, list(features)[-1])
        return work
    return {"swings": (ours(swings=on(Swings.of(5))), lambda: smc.swing_highs_lows(frame, 5)),
            "fair value gaps": (ours(**FairValueGap.wired()), lambda: smc.fvg(frame)),
            "breaks of structure": (ours(**Structure.wired()), lambda: smc.bos_choch(frame, swings)),
            "order blocks": (ours(**OrderBlock.wired()), lambda: smc.ob(frame, swings)),
            "liquidity": (ours(**Sweep.wired()), lambda: smc.liquidity(frame, swings))}


def against_smc(n: int) -> list[Line]:
    warnings.filterwarnings("ignore", module="smartmoneyconcepts")
    calls = structure_calls(candles(n)[0])
    mine = cpu_seconds({name: ours for name, (ours, _) in calls.items()}, times=5)
    theirs = cpu_seconds({name: other for name, (_, other) in calls.items()}, times=1, warm=0 if n > 10_000 else 1)
    notes = {"swings": "theirs looks ahead and takes swings back", "liquidity": "ours has day and week levels, too"}
    return [at_least(f"smartmoneyconcepts over ours: {name}, {n:,} bars", theirs[name] / mine[name], "times", 100,
                     f"{theirs[name] / n * 1e9:,.0f} against {mine[name] / n * 1e9:,.0f} ns a bar; {notes.get(name, '')}".rstrip("; "))
            for name in calls]


def steps(n: int = 5000) -> list[Line]:
    "One update in plain Python, as the service makes it, against talipp's incremental indicators."
    bars = list(candles(n)[0])
    closes, candles_ = [bar.close for bar in bars], [OHLCV(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    pairs = {"SMA 20": (SMA.of(20), lambda: peers.SMA(20), closes), "EMA 20": (EMA.of(20), lambda: peers.EMA(20), closes),
             "RSI 14": (RSI.of(14), lambda: peers.RSI(14), closes), "ROC 10": (ROC.of(10), lambda: peers.ROC(10), closes),
             "MACD": (MACD.of(), lambda: peers.MACD(12, 26, 9), closes), "Bollinger": (Bollinger.of(20), lambda: peers.BB(20, 2.0), closes),
             "ATR 14": (ATR.of(14), lambda: peers.ATR(14), candles_), "ADX 14": (ADX.of(14), lambda: peers.ADX(14, 14), candles_),
             "Donchian 20": (Donchian.of(20), lambda: peers.DonchianChannels(20), candles_)}
    works: dict[str, Callable[[], Any]] = {}
    for name, (unit, peer, fed) in pairs.items():
        works[f"our {name}"] = lambda unit=unit, xs=closes if fed is closes else bars: stepped(fresh(unit), xs)
        works[f"their {name}"] = lambda peer=peer, xs=fed: added(peer(), xs)
    spent = cpu_seconds(works, times=5)
    return [at_least(f"talipp over ours, a step of {name}", spent[f"their {name}"] / spent[f"our {name}"], "times", 1,
                     f"{spent[f'their {name}'] / n * 1e6:.2f} against {spent[f'our {name}'] / n * 1e6:.2f} us") for name in pairs]


def stepped(unit: Any, xs: list) -> Any:
    for x in xs: unit, _ = unit.update(x)
    return unit


def added(peer: Any, xs: list) -> Any:
    for x in xs: peer.add(x)
    return peer


def everything() -> dict[str, Feature]:
    "Every indicator that candles feed, each with its own inputs; what several ask for is computed once."
    found: dict[str, Feature] = {}
    for entry in units():
        if entry.kind == "indicator": found |= prefixed(f"{entry.name}_", wiring(entry.cls) or {})
    return found


class Looker(Wish):
    "A stream of units without a decision."
    minutes, modes, filters, parts, spacing = 15, (), (), tuple, {}

    def decide(self, now: Any, was: Any) -> Signal: return no_signal(())


def memory_of(count: int) -> None:
    "Print what `count` warmed sets of all indicators take, in bytes; for a process of its own."
    bars, it = list(candles(1200)[0]), Looker(everything())
    first = Stream({"it": it}, "TEST", 15)
    for bar in bars: first.step(bar)
    state, held = first.save(), []

    def resident() -> int: return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    for _ in range(20): held.append(loaded(it, state))
    begun = resident()
    for _ in range(count): held.append(loaded(it, state))
    print(json.dumps(dict(taken=resident() - begun, nodes=len(first.units))))


def loaded(it: Looker, state: str) -> Stream:
    stream = Stream({"it": it}, "TEST", 15)
    stream.load(state)
    return stream


def memory(count: int = 1500) -> list[Line]:
    script = f"from benchmarks.indicators import memory_of; memory_of({count})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    what = f"{count:,} warmed sets of all {told['nodes']} units"
    return [Line(what, told["taken"] / 1e6, "MB", note="500 symbols on 3 timeframes"), Line("one set", told["taken"] / count / 1e3, "kB")]


def compilation() -> list[Line]:
    "CPU time of a process that folds every indicator once: with an empty cache, then with the one it filled."
    imports = "from benchmarks.indicators import Columns, Wish, candles, everything"
    script = f"{imports}\nit, columns = Wish(everything()), Columns(candles(2000)[0])\nfor name in it.features(): columns.of(it, name)"
    idle, _ = child_cpu([sys.executable, "-c", imports])
    with tempfile.TemporaryDirectory() as folder:
        environ = os.environ | {"PERPS_CACHE": folder}
        cold, warm = (child_cpu([sys.executable, "-c", script], environ)[0] - idle for _ in range(2))
    return [Line("compiling all of them, empty cache", cold, "s CPU", note=f"imports ({idle:.1f} s) taken off"),
            Line("from the cache", warm, "s CPU")]


def lines() -> list[Line]:
    sizes = (10_000, 100_000)
    against = [x for n in sizes for x in against_talib(n)] + [x for n in sizes for x in against_smc(n)]
    return [*against, *steps(), *memory(), *compilation()]
