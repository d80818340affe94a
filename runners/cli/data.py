"`perps-kit data`: look at candle files, mend them, bring them into the store, download more."
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from perps_kit.core.bar import Bars
    from perps_kit.data.series import Report
    from runners.download import Downloaded

app = typer.Typer(no_args_is_help=True, help="Candles and what goes with them: check, mend, import, download and list.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Store = Annotated[Path, typer.Option("--store", help="Root folder of the candle store.")]
Venue = Annotated[str, typer.Option("--venue", help="Exchange, by ccxt's name.")]
SymbolHint = Annotated[str, typer.Option("--symbol", help="Symbol, where the file does not tell it.")]
FrameHint = Annotated[str, typer.Option("--timeframe", help="Timeframe, where the file does not tell it.")]
Source = Annotated[Path, typer.Argument(help="A candle file, a folder of them, or a store.")]
File = Annotated[Path, typer.Argument(help="A candle file.")]
Files = Annotated[list[Path], typer.Argument(help="Candle files or folders (freqtrade's funding and mark files are joined).")]
Out = Annotated[Path, typer.Option("--out", help="Where the mended file goes: .parquet, .feather or .csv.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Symbols = Annotated[list[str], typer.Option("--symbol", help="Symbol such as BTCUSDT; repeat for more.")]
Start = Annotated[str, typer.Option(help="First open time, such as 2026-01-01 (UTC).")]
End = Annotated[str, typer.Option(help="Up to here, not included; now where not given.")]
Frame = Annotated[str, typer.Option(help="1m, 5m, 15m, 1h, 4h, 1d ...")]
Rates = Annotated[bool, typer.Option(help="Also settled funding rates, where --what does not say.")]
What = Annotated[str, typer.Option("--what", help="candles, funding, oi (open interest), lsr (long/short ratio): some, with commas.")]
Period = Annotated[str, typer.Option("--period", help="Of open interest and ratios: 5m, 1h, 1d ...")]
Only = Annotated[str, typer.Option("--venue", help="One exchange only.")]
Verify = Annotated[bool, typer.Option("--verify", help="Recompute the hash of every part.")]
STORE = Path("var/candles")


@contextmanager
def one_sentence() -> Iterator[None]:
    "Unusable input becomes one sentence on stderr and exit code 2."
    try: yield
    except (ConfigError, ValueError, OSError) as error:
        typer.echo(f"perps-kit data: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def check(path: Source, symbol: SymbolHint = "", timeframe: FrameHint = "", venue: Only = "", as_json: Json = False) -> None:
    "Look for gaps, duplicates, disorder, bad numbers and impossible prices; exit code 1 where there are any, 2 where nothing can be read."
    with one_sentence():
        from perps_kit.data.series import check as examine
        from perps_kit.storage.candles import raw_series
        reports = [(name, examine(bars)) for name, bars in raw_series(path, [symbol] if symbol else [], timeframe, venue)]
    if as_json: typer.echo(json.dumps([{"source": name, **report.facts()} for name, report in reports]))
    else: _show(reports)
    raise typer.Exit(0 if all(report.ok for _, report in reports) else 1)


def _show(reports: "list[tuple[str, Report]]") -> None:
    from perps_kit.core.clock import iso
    for name, r in reports:
        found = ", ".join(f"{f.count} {f.kind.replace('_', ' ')}" + (f" ({r.missing} bars)" if f.kind == "gap" else "") for f in r.findings)
        mark = typer.style("sound ", fg="green") if r.ok else typer.style("faulty", fg="red")
        typer.echo(f"{mark}  {r.symbol:<12} {r.timeframe:<4} {r.rows:>9,} rows  {iso(r.start)} to {iso(r.end)}  {found}".rstrip())
        for f in r.findings:
            for example in f.examples: typer.echo(f"        {name}: {f.kind.replace('_', ' ')} at {example}")


@app.command()
def repair(path: File, out: Out, symbol: SymbolHint = "", timeframe: FrameHint = "", force: Force = False) -> None:
    "Sort, drop duplicates and rows without usable prices, fill holes of up to three bars; says what it did."
    with one_sentence():
        from perps_kit.data.files import write_bars
        from perps_kit.data.series import repair as mend
        from perps_kit.storage.candles import raw_series
        if out.exists() and not force: raise ConfigError(f"{out} exists; choose another name, or add --force")
        if path.is_dir(): raise ConfigError(f"{path} is a folder; repair takes one file at a time")
        bars, done = mend(raw_series(path, [symbol] if symbol else [], timeframe)[0][1])
        if not len(bars): raise ConfigError(f"{path}: no row is usable, nothing was written")
        write_bars(bars, out)
    for line in done or ["nothing to mend"]: typer.echo(line)
    typer.echo(f"{len(bars):,} bars of {bars.symbol} written to {out}")


@app.command("import")
def import_(files: Files, store: Store = STORE, venue: Venue = "binanceusdm", symbol: SymbolHint = "", timeframe: FrameHint = "") -> None:
    "Bring files into the store; all are read and checked before the first is written."
    with one_sentence():
        from perps_kit.core.clock import timeframe_of
        from perps_kit.data.series import sound
        from perps_kit.storage.candles import CandleStore, load_funding, raw_series
        series: list[tuple[str, Bars]] = []
        for path in files:
            if path.is_dir() or not _settlements(path): series += raw_series(path, [symbol] if symbol else [], timeframe)
        for name, bars in series:
            try: sound(bars)
            except ValueError as error: raise ConfigError(f"{name}: {error}") from None
        funding = load_funding(files, [symbol] if symbol else [])
        if not series and not funding: raise ConfigError("these files hold neither candles nor funding rates")
        target, made = CandleStore(store, venue), {"label": "imported"}
        for _, bars in series:
            typer.echo(f"{bars.symbol}: {len(bars):,} bars of {timeframe_of(bars.minutes)}, {target.append(bars, **made):,} new or changed")
        for rates in funding.values():
            typer.echo(f"{rates.symbol}: {len(rates):,} settlements, {target.append_funding(rates, **made):,} new or changed")


def _settlements(path: Path) -> bool: return any(word in path.name for word in ("funding_rate", "-mark"))


@app.command()
def download(symbols: Symbols, start: Start, end: End = "", timeframe: Frame = "15m", store: Store = STORE, venue: Venue = "binanceusdm",
             what: What = "", period: Period = "1h", funding: Rates = True, as_json: Json = False) -> None:
    "Download what the store lacks from any of ccxt's perpetual venues; a broken download resumes where it stopped."
    with one_sentence():
        from perps_kit.core.clock import minutes_of, parse_time
        from perps_kit.data.files import symbol_of
        from perps_kit.exchange.filters import pair
        for frame in (timeframe, period): minutes_of(frame)
        wanted = kinds_of(what or ("candles,funding" if funding else "candles"))
        if venue == "binanceusdm":
            for symbol in symbols: pair(symbol_of(symbol))
        since, until = parse_time(start), parse_time(end) if end else 1 << 52
        if since >= until: raise ConfigError(f"--start {start} is not before --end {end}")
        import asyncio
        got = asyncio.run(_download(venue, store, symbols, wanted, bool(what), timeframe, period, since, until, quiet=as_json))
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in got]))
        return
    for one in got:
        typer.echo(f"{one.symbol} {one.what}: {one.received:,} received, {one.stored:,} new or changed"
                   + (f", {one.missing} holes that the exchange has nothing for" if one.missing else ""))
        for remark in one.remarks: typer.echo(f"        {remark}")


def kinds_of(words: str) -> list[str]:
    "What is asked for, by the port's names; short ones are understood."
    from perps_kit.sources.port import WHAT
    known = {**dict(oi="open_interest", lsr="long_short_ratio"), **{w: w for w in WHAT}}
    asked = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [word for word in asked if word not in known]
    if unknown or not asked: raise ConfigError(f"--what {words!r}: give some of candles, funding, oi, lsr, separated by commas")
    return list(dict.fromkeys(known[word] for word in asked))


def _advance(bar: "Progress", task: "TaskID", done: int, total: int) -> None: bar.update(task, completed=done, total=total)


async def _download(venue: str, root: Path, symbols: list[str], wanted: list[str], named: bool, timeframe: str, period: str,
                    start: int, end: int, quiet: bool) -> "list[Downloaded]":
    from rich.console import Console
    from rich.progress import Progress

    from perps_kit.storage.candles import CandleStore
    from runners.download import download_bars, download_funding, download_readings
    from runners.sources import Caller, VenueSource
    exchange = open_venue(venue)
    store, got, source = CandleStore(root, venue), [], VenueSource(Caller(exchange))
    try:
        for what in wanted:         # all refusals before the first question
            if named or what == "candles": source.need(what)
        with Progress(console=Console(stderr=True), disable=quiet) as bar:
            for symbol in symbols:
                for what in [w for w in wanted if w in source.has]:
                    tail = timeframe if what == "candles" else "funding" if what == "funding" else f"{what} {period}"
                    task = bar.add_task(f"{symbol} {tail}", total=1)
                    show, caller = partial(_advance, bar, task), Caller(exchange)
                    if what == "candles": got.append(await download_bars(caller, store, symbol, timeframe, start, end, show))
                    elif what == "funding": got.append(await download_funding(caller, store, symbol, start, end))
                    else: got.append(await download_readings(caller, store, what, symbol, period, start, end, show))
                    bar.update(task, total=1, completed=1)
    finally: await exchange.close()
    return got


def open_venue(venue: str) -> Any:
    "ccxt's client of a venue, which paces its own requests; ConfigError for a name that it does not know."
    import ccxt.async_support
    if venue not in ccxt.async_support.exchanges: raise ConfigError(f"ccxt knows no exchange {venue!r}, Binance USDT-M is binanceusdm")
    client = getattr(ccxt.async_support, venue)({"timeout": 15_000, "options": {"fetchCurrencies": False, "defaultType": "swap"}})
    client.has["fetchCurrencies"] = False       # of the spot wallet: nothing here needs it
    return client


@app.command()
def ls(store: Store = STORE, venue: Only = "", verify: Verify = False, as_json: Json = False) -> None:
    "List what a store holds: spans, holes, sources, hashes. --verify reads every row again; exit code 1 where one has changed."
    with one_sentence():
        from perps_kit.core.clock import iso
        from perps_kit.storage.candles import CandleStore
        venues = [venue] if venue else sorted(p.name.removeprefix("venue=") for p in store.glob("venue=*"))
        doubts = [doubt for one in venues for doubt in CandleStore(store, one).verify()] if verify else []
        broken = any(doubt.changed for doubt in doubts)
        unreadable = any("not a readable" in doubt.problem for doubt in doubts)
        entries = [] if unreadable else [entry for one in venues for entry in CandleStore(store, one).catalogue()]
        if not entries and not doubts:
            raise ConfigError(f"{store} holds no candles; fill it by `perps-kit data download` or `perps-kit data import`, or give --store")
    if as_json:
        listed = [e._asdict() | {"start": iso(e.start), "end": iso(e.end)} for e in entries]
        told = [dict(path=str(d.path.relative_to(store)), problem=d.problem, changed=d.changed) for d in doubts]
        typer.echo(json.dumps(dict(series=listed, doubts=told) if verify else listed))
    else:
        for e in entries:
            holes = f"{e.gaps} gaps ({e.missing:,} rows)" if e.gaps else "no gaps"
            typer.echo(f"{e.venue}  {e.symbol:<12} {e.timeframe:<19} {e.rows:>10,} rows  {iso(e.start)} to {iso(e.end)}  {holes:<22} "
                       f"{e.bytes / 1e6:>7.2f} MB  {e.sha256[:12] or '-':<12}  {e.source or '-'}")
        for doubt in doubts:
            typer.echo(f"{'CHANGED' if doubt.changed else 'unknown'}  {doubt.path.relative_to(store)}: {doubt.problem}", err=True)
        if verify and not doubts: typer.echo("every part holds the rows that were written")
    raise typer.Exit(1 if broken else 0)
