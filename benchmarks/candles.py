"As many candles as a benchmark asks for: recorded Bitcoin, else made-up, continued by itself at the price where it ended."
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from perps_kit.core.bar import Bars
from perps_kit.core.clock import MINUTE
from perps_kit.data.files import folder_of, read_bars, write_bars
from perps_kit.data.sample import VENUE, sample_bars, sample_root, sample_symbols

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "binance_usdm_15m" / "BTC_USDT_USDT-15m-futures.feather"


def candles(n: int) -> tuple[Bars, str]:
    "n candles of 15 minutes, and where they are from."
    base, source = (read_bars(REAL), "recorded BTC") if REAL.exists() else (sample_bars("BTCUSDT"), "made-up BTC")
    turns, growth = -(-n // len(base)), float(base.close[-1] / base.open[0])
    scale = np.repeat(growth ** np.arange(turns), len(base))[:n]
    columns = {name: np.tile(getattr(base, name), turns)[:n] for name in ("volume", "taker_buy", "quote_volume", "trades", "synthetic")}
    prices = {name: np.tile(getattr(base, name), turns)[:n] * scale for name in ("open", "high", "low", "close")}
    times = int(base.open_time[0]) + base.minutes * MINUTE * np.arange(n, dtype=np.int64)
    return replace(base, open_time=times, **columns, **prices), source if turns == 1 else f"{source}, {turns} times over"


def crowd(folder: Path, count: int, days: int) -> list[str]:
    "A candle store of `count` symbols: the sample's, and copies of them under made-up names; the last `days` of each."
    names, rules = [], {row["symbol"]: row for row in json.loads((sample_root() / "symbols.json").read_text())["symbols"]}
    known = sample_symbols()
    for k in range(count):
        like = known[k % len(known)]
        name = like if k < len(known) else f"{like.removesuffix('USDT')}{k // len(known)}USDT"
        bars = sample_bars(like)[-days * 96:]
        write_bars(replace(bars, symbol=name), folder_of(folder, VENUE, name, "15m") / "all.parquet", venue=VENUE)
        shutil.copytree(folder_of(sample_root(), VENUE, like, "funding"), folder_of(folder, VENUE, name, "funding"))
        names.append(name)
        rules[name] = rules[like] | dict(symbol=name)
    (folder / "symbols.json").write_text(json.dumps(dict(symbols=[rules[name] for name in names])))
    return names
