"""Every candle strategy over real candles, out of sample and after costs; writes nbs/30_strategies/results.json, which page 95 reads.

Usage: tools/real_results.py [FOLDER]      (default: ../shared/data, where it is)

Strategies run one by one through all gates with their default parameters; nobody chose those on these candles, so all of them count as out
of sample. One R is one per cent of the initial capital. The interval of the expectancy is a bootstrap's over days.
"""
import json
import sys
from pathlib import Path
from typing import Any

from rich.progress import track

from perps_kit.backtest.evidence import evidence
from perps_kit.backtest.lanes import ground, lane
from perps_kit.backtest.report import report
from perps_kit.backtest.run import walk
from perps_kit.core.clock import iso
from perps_kit.core.registry import strategies
from perps_kit.core.signal import trait
from perps_kit.core.unit import make
from perps_kit.research.paper import funnel_of
from perps_kit.scoring.book import Pipeline
from perps_kit.storage.candles import load_bars, load_funding
from perps_kit.storage.models import json_safe

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "nbs" / "30_strategies" / "results.json"
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
SETS = {15: ("binance_usdm_15m", "15m"), 30: ("binance_usdm_15m", "15m"), 1: ("binance_usdm_2025", "1m")}


def grounds(folder: Path, minutes: int) -> dict[str, Any]:
    "The recorded candles that a strategy of so many minutes runs on."
    where, timeframe = SETS[minutes]
    bars, funding = load_bars(folder / where, SYMBOLS, timeframe), load_funding(folder / where, SYMBOLS)
    return {s: ground(bars[s], funding.get(s)) for s in SYMBOLS}


def row(name: str, cls: Any, on: dict[str, Any]) -> dict[str, Any]:
    "One strategy's line of the table, with its funnel."
    found = [lane(name, make(cls), on[s]) for s in SYMBOLS]
    result = walk(found, Pipeline(enabled=frozenset({name})))
    page = report(result)
    case, t = evidence(result, page, passed=("out of sample",)), page.trades
    return dict(strategy=name, quarantined=trait(cls, "quarantined"), label=case.label, begin=iso(page.begin), end=iso(page.end), n=t.n,
                expectancy=t.expectancy, expectancy_interval=t.expectancy_interval, profit_factor=t.profit_factor,
                profit_factor_interval=t.profit_factor_interval, win_rate=t.win_rate, win_rate_interval=t.win_rate_interval,
                gross=t.expectancy + page.fees_r + page.slippage_r - page.funding_r, objections=case.objections,
                funnel=funnel_of(found, result.decisions))


def main(folder: Path) -> None:
    if not (folder / "binance_usdm_15m").is_dir():
        sys.exit(f"{folder} has no recorded candles: name the folder that holds binance_usdm_15m")
    held: dict[str, dict[str, Any]] = {}
    rows = []
    for name, cls in track(strategies().items(), "strategies"):
        where = SETS[cls.minutes][0]
        if where not in held: held[where] = grounds(folder, cls.minutes)
        rows.append(row(name, cls, held[where]))
    OUT.write_text(json.dumps(json_safe(dict(symbols=SYMBOLS, rows=rows)), indent=1) + "\n")
    for r in rows: print(f"{r['strategy']:18}{r['n']:6} trades  {r['expectancy'] or 0:+.3f} R  {r['label']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data")
