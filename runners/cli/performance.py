"`perps-kit performance`: what a service's closed positions made, by strategy, symbol, regime, session, exit and time."

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from runners.cli.db import DEFAULT, AsJson, Url, run

By = Annotated[str, typer.Option(help="strategy, symbol, regime, session, exit or side.")]


def performance(
    by: By = "strategy",
    period: Annotated[str | None, typer.Option(help="today, week or month (UTC); everything if not given.")] = None,
    account: Annotated[str | None, typer.Option(help="Of an account's own positions; of the published signals if not given.")] = None,
    what_if: Annotated[bool, typer.Option("--what-if", help="What other targets would have made, by the recorded excursions.")] = False,
    url: Url = DEFAULT,
    as_json: AsJson = False,
) -> None:
    "Figures of the positions that a service has closed."
    from runners.errors import ConfigError

    found = run(closed(url, account))
    try:
        if period:
            import time as wall

            found = found.during(period, wall.time_ns() // 1_000_000)
        rows = {name: facts(f) for name, f in {**found.by(by), "all": found.figures()}.items()}
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    if as_json:
        from runners.listing import clean

        typer.echo(json.dumps(clean(dict(by=by, period=period, figures=rows)), allow_nan=False))
        return
    printed(rows, by, period)
    if what_if:
        from perps_kit.trackers.what_if import table
        from perps_kit.trackers.what_if import what_if as of

        typer.echo(f"\nwith one target for the whole position:\n{table(of(found.trades))}")


def facts(f: Any) -> dict[str, Any]:
    "A group's figures with the rates that they make."
    rates = ("win_rate", "net_win_rate", "mean_r", "mean_bars", "net", "profit_factor")
    return f._asdict() | {name: getattr(f, name) for name in rates}


async def closed(address: str, account: str | None) -> Any:
    "The closed positions of a database as a Performance."
    from perps_kit.storage.queries import closed_positions
    from perps_kit.trackers.performance import performance as of
    from runners.db.connect import open_database
    from runners.errors import ConfigError

    db = await open_database(address, create=False, upgrade=False)
    try:
        async with db.read() as session:
            rows = await closed_positions(session, account)
    except LookupError as wrong:
        raise ConfigError(str(wrong.args[0])) from None
    finally:
        await db.close()
    return of(finished_of(rows))


def finished_of(rows: Iterable[dict[str, Any]]) -> Iterable[Any]:
    "Rows of closed positions as the tracker of performance takes them."
    from perps_kit.core.unit import loads
    from perps_kit.indicators.regime import NAMES
    from perps_kit.trackers.outcome import result
    from perps_kit.trackers.performance import finished
    from perps_kit.trackers.plan import Rules
    from runners.live.accounts import pattern

    shape = pattern(Rules())
    for row in rows:
        said = next((v["value"].partition(":")[0] for v in row["verdicts"] or () if v["gate"] == "regime"), "")
        yield finished(result(loads(shape, row["ladder"])), row["strategy"], row["symbol"], said if said in NAMES else "")


def printed(rows: dict[str, dict[str, Any]], by: str, period: str | None) -> None:
    "A table, everything in the last line."
    from rich.table import Table

    from runners.cli.research import terminal

    columns = (by, "trades", "won", "lost", "even", "win rate", "mean R", "total R", "money", "factor", "best", "worst", "bars", "trailed")
    drawn = Table(*columns, title=f"closed positions, {period or 'all'}", title_justify="left")
    for name, f in rows.items():
        drawn.add_row(name, *(str(f[k]) for k in ("n", "wins", "losses", "breakevens")), f"{f['win_rate']:.0%}", f"{f['mean_r']:+.3f}",
                      f"{f['total_r']:+.2f}", f"{f['net']:+.2f}", f"{f['profit_factor']:.2f}", f"{f['best']:+.2f}", f"{f['worst']:+.2f}",
                      f"{f['mean_bars']:.0f}", str(f["trailing_stop_count"]), style="bold" if name == "all" else None)
    terminal().print(drawn)
