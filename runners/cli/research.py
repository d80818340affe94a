"`perps-kit backtest`, `parity` and `units`: research from the command line."

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Data = Annotated[Path | None, typer.Option(
    "--data", "-d", help="Candles: a store, a folder of files, or a file; the sample data if not given.")]
Symbols = Annotated[list[str] | None, typer.Option(
    "--symbol", "-s", help="Like BTCUSDT; may be given several times; all that are there if not given.")]
Strategy = Annotated[str, typer.Option("--strategy", help="Name of a strategy; `perps-kit units` lists them.")]
Parameters = Annotated[list[str] | None, typer.Option(
    "--param", "-p", help="A parameter of the strategy as name=value; may be given several times.")]
Moment = Annotated[str | None, typer.Option(help="Like 2026-08-01 or 2026-08-01T12:00, UTC.")]


def named(incomplete: str) -> list[str]:
    "Names of units and strategies, for the shell's completion."
    from perps_kit.core.registry import entries

    return [e.name for e in entries() if e.name.startswith(incomplete)]


def units(
    name: Annotated[str | None, typer.Argument(help="One of them: its parameters, inputs and outputs.", autocompletion=named)] = None,
    as_json: Json = False,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as indicator or strategy.")] = None,
) -> None:
    "List every registered unit and strategy, or tell all about one."
    from runners.listing import described, listed

    if name is not None:
        from runners.listing_tables import unit

        facts = described(name)
        if as_json:
            typer.echo(json.dumps(facts))
        else:
            terminal().print(unit(facts))
        return
    rows = listed(kind)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from runners.listing_tables import units as table

    console = terminal()
    console.print(table(rows, console.width))


def terminal() -> Any:
    "Where tables are printed: as wide as the terminal, or wide enough for every line where there is none."
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=180)


def chosen(strategy: str, parameters: list[str] | None) -> Any:
    "The strategy with its parameters; one sentence where one is wrong."
    from perps_kit.core.registry import strategy as registered
    from runners.errors import ConfigError

    given: dict[str, float] = {}
    for text in parameters or ():
        name, _, value = text.partition("=")
        try:
            given[name] = float(value)
        except ValueError:
            raise ConfigError(f"--param {text}: write name=value with a number, such as surge=1.5") from None
    try:
        return registered(strategy, **given)
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None


def candles(
    data: Path | None, symbols: list[str] | None, timeframe: str, start: str | None, end: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
    "Bars and funding by symbol, and ticks where they are known."
    from perps_kit.core.clock import parse_time
    from perps_kit.data.sample import sample_root
    from perps_kit.storage.candles import load_bars, load_funding
    from runners.errors import ConfigError
    from runners.venue.data import read_filters

    where = data or sample_root()
    try:
        low, high = (None if t is None else parse_time(t) for t in (start, end))
        bars = load_bars(where, symbols or [], timeframe, low, high)
        filters = read_filters((where if where.is_dir() else where.parent) / "symbols.json")
        return bars, load_funding(where, list(bars), low, high), {s: f.tick for s, f in filters.items()}
    except (ValueError, OSError) as wrong:
        raise ConfigError(str(wrong)) from None


def backtest(
    strategy: Strategy = "ema_scalper",
    data: Data = None,
    symbol: Symbols = None,
    param: Parameters = None,
    start: Moment = None,
    end: Moment = None,
    as_json: Json = False,
    trades: Annotated[bool, typer.Option(help="List every trade.")] = False,
    save: Annotated[Path | None, typer.Option("--save", help="Write an experiment file that reproduces this run.")] = None,
) -> None:
    "Backtest a strategy: costs, sample size, intervals, and both readings of ambiguous bars. The ledger of trials keeps it."
    from perps_kit.backtest.lanes import lanes
    from perps_kit.backtest.run import walk
    from perps_kit.core.clock import timeframe_of
    from perps_kit.trackers.plan import TARGET_FIRST, Rules
    from runners import listing
    from runners.cli.experiments import judged, one_sentence, saved

    it = chosen(strategy, param)
    bars, funding, ticks = candles(data, symbol, timeframe_of(it.minutes), start, end)
    found = lanes(it, bars, funding, over=tracked(not as_json))
    low, high = (walk(found, rules=rules, ticks=ticks) for rules in (Rules(), Rules(policy=TARGET_FIRST)))
    with one_sentence():
        report = judged(listing.report(low, high, it), low, {strategy: it}, bars, funding, ticks)
        if save: saved(save, low, data, {strategy: it}, bars, funding, ticks)
    if as_json:
        typer.echo(json.dumps(report | dict(trades=listing.trade_rows(low)), allow_nan=False))
        return
    console = terminal()
    for part in listing.tables(report, listing.trade_rows(low) if trades else None):
        console.print(part, "")


def tracked(shown: bool) -> Any:
    "Goes through symbols behind a progress bar on standard error."
    from rich.console import Console
    from rich.progress import track

    return lambda symbols: track(symbols, "signals", console=Console(stderr=True), transient=True, disable=not shown or len(symbols) < 2)


def parity(
    data: Data = None,
    symbol: Symbols = None,
    strategy: Annotated[list[str] | None, typer.Option(
        "--strategy", help="Name of a strategy; may be given several times; all that quarter hours can feed if not given.")] = None,
    param: Annotated[list[str] | None, typer.Option(
        "--param", "-p", help="A parameter as name=value, where one strategy is given; several times.")] = None,
    start: Moment = None,
    end: Moment = None,
    as_json: Json = False,
    mode: Annotated[str, typer.Option(
        help="live: orders at the replay venue as well; paper: a paper account, its equity at every close.")] = "live",
    memory: Annotated[str, typer.Option(help="Strategies that the adaptive memory binds: usual, all or off.")] = "usual",
    account: Annotated[list[str] | None, typer.Option(
        help="A term of the account as name=value, such as drawdown=0.9; may be given several times.")] = None,
) -> None:
    "Run notebook's backtest and whole service over the same candles, all strategies together, and compare everything, bit for bit."
    from runners import parity as check
    from runners.errors import ConfigError

    if param and len(strategy or ()) != 1:
        raise ConfigError("--param goes with one --strategy")
    names = strategy or together()
    found = check.run({name: chosen(name, param) for name in names}, data, symbol, start, end, mode, as_json, memory, terms_of(account))
    typer.echo(json.dumps(found.facts()) if as_json else found.text())
    raise typer.Exit(0 if found.equal else 1)


def terms_of(wished: list[str] | None) -> dict[str, str]:
    "Terms of an account by name, as they were written."
    from runners.errors import ConfigError

    pairs = [text.partition("=") for text in wished or ()]
    for name, sign, _ in pairs:
        if not sign: raise ConfigError(f"--account {name}: write name=value, such as drawdown=0.9")
    return {name: value for name, _, value in pairs}


def together() -> list[str]:
    "Every strategy that candles of quarter hours can feed, those included that are off by themselves."
    from perps_kit.core.registry import strategies

    return [name for name, cls in strategies().items() if cls.minutes % 15 == 0]
