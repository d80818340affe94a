"`perps-kit data archive`: years of market data from the public archive's zips."
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.cli.data import STORE, End, Frame, Json, Start, Store, Symbols, Venue, one_sentence
from runners.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from runners.archive import Archive
    from runners.archive_import import Archived

ZIPS = Path("var/archive")
Kinds = Annotated[list[str], typer.Option("--what", help="klines, fundingRate, metrics or aggTrades; repeat for more.")]
Zips = Annotated[Path, typer.Option("--zips", help="Where verified zips are kept, so that none is fetched twice.")]
Keep = Annotated[bool, typer.Option(help="Leave the zips there once their rows are stored.")]
Base = Annotated[str, typer.Option("--base", help="Address of a mirror with the same tree; else Binance Vision itself.")]
Wide = Annotated[int, typer.Option("--at-once", min=1, max=16, help="Zips on the wire at a time.")]


def archive(symbols: Symbols, start: Start, end: End = "", what: Kinds = ["klines", "fundingRate"], timeframe: Frame = "15m",  # noqa: B006
            store: Store = STORE, venue: Venue = "binanceusdm", zips: Zips = ZIPS, keep: Keep = True, base: Base = "", at_once: Wide = 4,
            as_json: Json = False) -> None:
    "Fetch what the store lacks from Binance Vision's zips, each verified; run again, it goes on. Exit code 1 where a zip was unusable."
    with one_sentence():
        import asyncio
        import time

        from perps_kit.core.clock import parse_time
        from perps_kit.data.files import symbol_of
        from perps_kit.sources.archive import covering
        from runners.archive import VISION, Archive
        since, now = parse_time(start), int(time.time() * 1000)
        until = min(parse_time(end), now) if end else now
        if since >= until: raise ConfigError(f"--start {start} is not before {'--end ' + end if end else 'now'}")
        jobs = [(symbol_of(symbol), kind) for symbol in dict.fromkeys(symbols) for kind in dict.fromkeys(what)]
        for symbol, kind in jobs: covering(symbol, kind, timeframe, since, until, now, venue)       # all refusals before the first question
        source = Archive(zips, base or VISION, at_once)
        got = asyncio.run(_archive(source, jobs, timeframe, since, until, now, store, venue, keep, quiet=as_json))
    if as_json: typer.echo(json.dumps([one._asdict() for one in got]))
    else:
        for one in got: _show(one)
    raise typer.Exit(1 if any(one.bad for one in got) else 0)


def _show(one: "Archived") -> None:
    zips = f"{one.fetched} fetched, {one.kept} kept from before" + (f", {one.held} not needed" if one.held else "")
    typer.echo(f"{one.symbol} {one.what}: {one.received:,} rows, {one.stored:,} new or changed; zips: {zips}")
    for problem in one.bad: typer.echo(f"        not used: {problem}", err=True)
    if one.absent: typer.echo(f"        not published: {_some(one.absent)}")
    what = "trade ids skipped" if one.what == "aggTrades" else "holes"
    if one.missing: typer.echo(f"        {one.missing} {what}" + (f": {_some(one.holes)}" if one.holes else ""))


def _some(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _advance(bar: "Progress", task: "TaskID", done: int, total: int) -> None: bar.update(task, completed=done, total=total)


async def _archive(source: "Archive", jobs: list[tuple[str, str]], timeframe: str, start: int, end: int, now: int, root: Path, venue: str,
                   keep: bool, quiet: bool) -> "list[Archived]":
    from rich.console import Console
    from rich.progress import Progress

    from perps_kit.storage.candles import CandleStore
    from runners.archive_import import archive_into
    store, got = CandleStore(root, venue), []
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        for symbol, kind in jobs:
            task = bar.add_task(f"{symbol} {timeframe if kind == 'klines' else kind}", total=1)
            show = partial(_advance, bar, task)
            got.append(await archive_into(source, store, symbol, kind, timeframe, start, end, now, show, keep))
            bar.update(task, total=1, completed=1)
    return got
