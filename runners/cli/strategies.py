"`perps-kit strategies` and `perps-kit explain`: what there is, and why something was said or not."

import json
from typing import Annotated, Any

import typer

from runners.cli.research import Data, Json, Moment, candles, terminal

Symbol = Annotated[str, typer.Option("--symbol", "-s", help="Like BTCUSDT.")]
At = Annotated[str, typer.Option("--at", help="A time, UTC, such as 2026-08-01T12:00; the last close up to it is explained.")]
Names = Annotated[list[str] | None, typer.Option("--strategy", help="Only this strategy; may be given several times.")]


def strategies(as_json: Json = False) -> None:
    "List every strategy: what it is, its timeframe, its exits, when it first speaks."
    from runners.listing import strategy_rows

    rows = strategy_rows()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from runners.listing_tables import strategies as table

    console = terminal()
    console.print(table(rows, console.width))


def explain(
    symbol: Symbol,
    at: At,
    strategy: Names = None,
    data: Data = None,
    timeframe: Annotated[str, typer.Option(help="Of the candles that are read.")] = "15m",
    start: Moment = None,
    database: Annotated[str | None, typer.Option(help="Tell what a service decided instead: the address of its database.")] = None,
    as_json: Json = False,
) -> None:
    "Tell what every strategy saw at a close, what each gate said of it, and what a person would say."
    answers = decided(database, symbol, at, strategy) if database else walked(symbol, at, strategy, data, timeframe, start)
    if as_json:
        typer.echo(json.dumps(answers, allow_nan=False))
        return
    from runners.listing_tables import answer

    if not answers:
        typer.echo("no strategy came near a signal there" if database else "there is no strategy that these candles can feed")
    console = terminal()
    for one in answers:
        console.print(answer(one))


def walked(symbol: str, at: str, names: list[str] | None, data: Any, timeframe: str, start: str | None) -> list[dict[str, Any]]:
    "The answers from stored candles; those of the leading market are read as well, if they are there."
    from perps_kit.backtest.explain import explain as ask
    from perps_kit.backtest.explain import usual
    from perps_kit.core.clock import minutes_of, parse_time
    from perps_kit.scoring.book import Pipeline
    from perps_kit.storage.models import json_safe
    from runners.cli.research import chosen
    from runners.errors import ConfigError

    leader = Pipeline().leader
    try:
        end = parse_time(at)
        wished = {name: chosen(name, None) for name in names} if names else usual(minutes_of(timeframe))
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    try:
        bars, funding, ticks = candles(data, sorted({symbol, leader} - {""}), timeframe, start, None)
    except ConfigError:
        bars, funding, ticks = candles(data, [symbol], timeframe, start, None)
    try:
        found = ask(symbol, end, bars, wished, Pipeline(enabled=frozenset(wished)), funding=funding, ticks=ticks)
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    return [json_safe(dict(strategy=a.strategy, symbol=a.symbol, time=a.time, outcome=a.outcome, said=a.said, features=a.features,
                           verdicts=[v._asdict() for v in a.verdicts])) for a in found]


def decided(address: str, symbol: str, at: str, names: list[str] | None) -> list[dict[str, Any]]:
    "What a service wrote down at a close: its decision rows, in the same words."
    import asyncio

    from perps_kit.core.clock import parse_time
    from runners.errors import ConfigError

    try:
        time = parse_time(at)
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    return asyncio.run(rows_of(address, symbol, time, names))


async def rows_of(address: str, symbol: str, time: int, names: list[str] | None) -> list[dict[str, Any]]:
    "The decision rows of a close as answers."
    from sqlalchemy import select

    from perps_kit.backtest.explain import told_of
    from perps_kit.storage.models import DecisionRow
    from runners.db.connect import open_database

    db = await open_database(address, create=False, upgrade=False)
    try:
        async with db.read() as session:
            wish = select(DecisionRow).where(DecisionRow.symbol == symbol, DecisionRow.time == time).order_by(DecisionRow.id)
            rows = [row for row in await session.scalars(wish) if not names or row.strategy in names]
    finally:
        await db.close()
    return [dict(strategy=r.strategy, symbol=r.symbol, time=r.time, outcome=r.outcome, verdicts=r.verdicts, features=r.features,
                 said=told_of(r.strategy, r.symbol, r.side, r.mode, r.verdicts)) for r in rows]
