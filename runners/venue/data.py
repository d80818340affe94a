"What the venue replays, read from candle files or a candle store."
import json
from collections.abc import Iterable
from pathlib import Path

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import DAY, timeframe_of
from perps_kit.exchange.filters import Filters
from runners.errors import ConfigError


def read_filters(path: str | Path) -> dict[str, Filters]:
    "Trading rules by symbol from a symbols.json; none where the file is not there."
    path = Path(path)
    if not path.is_file(): return {}
    try: rows = json.loads(path.read_text(encoding="utf-8"))["symbols"]
    except (ValueError, KeyError, TypeError):
        told = "it should hold an object with a list named symbols, as sample_data/symbols.json"
        raise ConfigError(f"{path}: not a file of trading rules; {told}") from None
    return {row["symbol"]: Filters(row["symbol"], row["tick"], row["step"], row["min_qty"],
                                   min_notional=row["min_notional"]) for row in rows}


def read_market(data: Iterable[str], symbols: Iterable[str], minutes: int, start: int | None, end: int | None, fine: bool = False,
                history: int | None = None) -> dict:
    "Keyword arguments of Venue: bars, filters, funding, fine. `history`: days kept before `start`, all by default."
    from perps_kit.storage.candles import load_bars, load_funding
    paths, names = [Path(p) for p in data], list(symbols)
    for path in paths:
        if not path.exists(): raise ConfigError(f"--data {path}: no such file or folder")
    where = paths[0] if len(paths) == 1 else paths
    low = None if start is None or history is None else start - history * DAY
    bars = load_bars(where, names, timeframe_of(minutes), low, end)
    return {"bars": bars, "funding": load_funding(where, list(bars), low, end),
            "filters": read_filters(paths[0] / "symbols.json" if paths[0].is_dir() else paths[0].parent / "symbols.json"),
            "fine": _fine(where, list(bars), start, end) if fine and minutes > 1 else {}}


def _fine(where: Path | list[Path], symbols: list[str], start: int | None, end: int | None) -> dict[str, Bars]:
    from perps_kit.storage.candles import load_bars
    found = {}
    for symbol in symbols:
        try: found |= load_bars(where, [symbol], "1m", start, end)
        except DataError: continue      # finer candles are a help where there are any
    return found
