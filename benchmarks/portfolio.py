"The whole pipeline over one account: how time and memory grow with symbols, bars and strategies; each run in a process of its own."
import json
import os
import subprocess
import sys
from dataclasses import replace
from time import process_time

import numpy as np

from benchmarks.candles import candles
from benchmarks.measure import ROOT, Line, peak_memory
from perps_kit.core.bar import Bars

YEARS = 70_080      # bars of 15 minutes in two years
SYMBOLS = [f"{coin}USDT" for coin in "BTC ETH SOL BNB XRP DOGE LINK UNI ADA AVAX DOT ATOM NEAR APT SUI ARB OP AAVE LDO FET".split()]
CHILD = "import sys; from benchmarks.portfolio import child; child(*map(int, sys.argv[1:]))"


def crowd(count: int, bars: int) -> dict[str, Bars]:
    "So many symbols: recorded candles, each from another place of the record, prices going on where it wraps around."
    base, _ = candles(YEARS)
    found = {}
    for k, name in enumerate(SYMBOLS[:count]):
        shift = k * 3_331 % len(base)
        scale = np.where(np.arange(len(base)) < len(base) - shift, 1.0, float(base.close[-1] / base.open[0]))
        columns = {c: np.roll(getattr(base, c), -shift) for c in ("volume", "taker_buy", "quote_volume", "trades")}
        prices = {c: np.roll(getattr(base, c), -shift) * scale for c in ("open", "high", "low", "close")}
        found[name] = replace(base, symbol=name, **columns, **prices)[:bars]
    return found


def child(symbols: int, bars: int, count: int) -> None:
    "One run: CPU seconds of columns and signals, of the account, trades, peak memory."
    from perps_kit.backtest.lanes import lanes
    from perps_kit.backtest.portfolio import invested
    from perps_kit.core.registry import strategies
    from perps_kit.core.unit import make
    from perps_kit.risk.account import Terms
    from perps_kit.scoring.book import Pipeline

    named = {name: make(cls) for name, cls in list(strategies().items()) if cls.minutes % 15 == 0}
    named = dict(list(named.items())[:count] if count else named.items())
    market = crowd(symbols, bars)
    lanes(named, {"BTCUSDT": market["BTCUSDT"][:4_000]})    # machine code from the cache
    began = process_time()
    found = lanes(named, market)
    folded = process_time()
    run = invested(found, Terms(drawdown=1.0), Pipeline(enabled=frozenset(named)))
    done = process_time()
    counts = dict(signals=len(run.reference.trades), decisions=len(run.reference.decisions), trades=len(run.trades))
    print(json.dumps(counts | dict(fold=folded - began, account=done - folded, memory=peak_memory(os.getpid()))))


def measured(symbols: int, bars: int, strategies: int) -> dict:
    said = subprocess.run([sys.executable, "-c", CHILD, str(symbols), str(bars), str(strategies)], cwd=ROOT, capture_output=True, text=True)
    if said.returncode: raise RuntimeError(said.stderr[-2000:])
    return json.loads(said.stdout.splitlines()[-1])


def lines() -> list[Line]:
    measured(1, 8_000, 0)       # whatever is not compiled yet
    whole = measured(20, YEARS, 0)
    total = (lambda run: run["fold"] + run["account"])
    told = f"{whole['decisions']:,} decisions, {whole['signals']:,} signals, {whole['trades']:,} trades"
    found = [Line("20 symbols, all strategies of quarter hours, two years", total(whole), "s CPU", note=told),
             Line("of that columns and signals", whole["fold"], "s CPU"),
             Line("of that gates, memory, rules and positions", whole["account"], "s CPU"),
             Line("peak memory", whole["memory"], "MB")]
    for what, smaller, factor in (("half the symbols", (10, YEARS, 0), 2), ("a quarter of the symbols", (5, YEARS, 0), 4),
                                  ("half the bars", (20, YEARS // 2, 0), 2), ("five of the strategies", (20, YEARS, 5), 2)):
        part = measured(*smaller)
        note = f"{factor} is linear; {part['memory']:.0f} MB"
        found.append(Line(f"{what}: the whole costs", total(whole) / total(part), "times as much", note=note))
    return found
