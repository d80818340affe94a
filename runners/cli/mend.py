"`perps-kit data mend`: holes and bad bars of a stored series, filled from another source."
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.cli.archive import ZIPS, Base, Zips
from runners.cli.data import STORE, Frame, Json, Store, Venue, one_sentence, open_venue
from runners.errors import ConfigError

if TYPE_CHECKING:
    from perps_kit.sources.port import Source
    from runners.mend import Mended

Symbol = Annotated[str, typer.Option("--symbol", help="Symbol such as BTCUSDT.")]
Other = Annotated[str, typer.Option("--from", help="archive (Binance Vision), a venue by ccxt's name, a file, a folder, or STORE:VENUE.")]
From = Annotated[str, typer.Option("--start", help="First open time, such as 2026-01-01 (UTC); else where the series begins.")]
To = Annotated[str, typer.Option("--end", help="Up to here, not included; else where the series ends.")]
Tolerance = Annotated[float, typer.Option("--tolerance", min=0.0, help="Largest relative difference of a price where both have bars.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Compare and tell, write nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Borrow bars although the sources differ.")]


def mend(symbol: Symbol, source: Other, timeframe: Frame = "15m", store: Store = STORE, venue: Venue = "binanceusdm", start: From = "",
         end: To = "", tolerance: Tolerance = 0.001, dry_run: Dry = False, force: Force = False, zips: Zips = ZIPS, base: Base = "",
         as_json: Json = False) -> None:
    "Fill holes, stand-ins and bad bars of a stored series from another source, once the two agree; exit code 1 where some stay missing."
    with one_sentence():
        import asyncio
        import time

        from perps_kit.core.clock import parse_time
        from perps_kit.data.files import symbol_of
        from perps_kit.storage.candles import CandleStore
        from runners.mend import Terms, told
        low, high = (parse_time(text) if text else None for text in (start, end))
        if low is not None and high is not None and low >= high: raise ConfigError(f"--start {start} is not before --end {end}")
        now, terms = int(time.time() * 1000), Terms(tolerance, force=force, write=not dry_run)
        got = asyncio.run(_mend(CandleStore(store, venue), source, symbol_of(symbol), timeframe, low, high, terms, now, zips, base))
    if as_json: typer.echo(json.dumps(facts(got)))
    else:
        for line in told(got): typer.echo(line)
    raise typer.Exit(1 if got.mend.left else 0)


def facts(m: "Mended") -> dict[str, Any]:
    "The same for machines."
    from math import isfinite

    from perps_kit.core.clock import iso
    agreed = {key: x if not isinstance(x, float) or isfinite(x) else None for key, x in m.agreement._asdict().items()}
    return dict(symbol=m.symbol, timeframe=m.timeframe, source=m.source, agreement=agreed | {"worst_at": iso(m.agreement.worst_at)},
                borrowed=len(m.mend.borrowed), patches=[p._asdict() | {"start": iso(p.start), "end": iso(p.end)} for p in m.mend.patches],
                dropped=m.mend.dropped, left=m.mend.left, doubt=m.doubt, files=m.files)


async def _mend(store: Any, name: str, symbol: str, timeframe: str, start: int | None, end: int | None, terms: Any, now: int, zips: Path,
                base: str) -> "Mended":
    from runners.mend import mend_series
    source, close = source_of(name, zips, base, store.venue, now)
    try: return await mend_series(store, source, symbol, timeframe, start, end, terms, now)
    finally:
        if close is not None: await close.close()


def source_of(name: str, zips: Path, base: str, venue: str, now: int) -> "tuple[Source, Any]":
    "A source by its name, and what is to be closed after it."
    from runners.archive import VISION, Archive
    from runners.archive_source import ArchiveSource
    from runners.sources import Caller, FileSource, VenueSource
    if name == "archive": return ArchiveSource(Archive(zips, base or VISION), now, venue), None
    if Path(name).exists(): return FileSource(Path(name)), None
    root, _, held = name.rpartition(":")
    if root and Path(root).is_dir(): return FileSource(Path(root), held), None
    if "/" in name or "." in name: raise ConfigError(f"{name}: no such file or folder")
    exchange = open_venue(name)
    return VenueSource(Caller(exchange)), exchange
