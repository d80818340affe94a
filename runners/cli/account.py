"`perps-kit account`: what an account is worth, what halted it, and the hand that lets it go on."

import json
from typing import Annotated, Any

import typer

from runners.cli.db import DEFAULT, AsJson, Url, run

app = typer.Typer(no_args_is_help=True, help="Accounts of a service: list, halt, resume, tell of money that came or went.")
Name = Annotated[str, typer.Argument(help="Name of the account in the settings.")]


@app.command("list")
def listed(url: Url = DEFAULT, as_json: AsJson = False) -> None:
    "Every account: equity, today's change, drawdown, whether it is halted."
    rows = run(accounts(url))
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        state = "halted" if row["halted"] else "trading"
        typer.echo(f"{row['name']:12} {row['mode']:6} {state:8} equity {row['equity']:12,.2f}  today {row['today']:+7.2%}  "
                   f"below its peak {row['drawdown']:6.2%}")
    if not rows:
        typer.echo("there is no account in this database yet")


@app.command()
def halt(name: Name, url: Url = DEFAULT) -> None:
    "No entries from the next close on; what is open is followed to its end."
    run(switched(url, name, halted=True))
    typer.echo(f"{name} enters nothing from the next close on, until: perps-kit account resume {name}")


@app.command()
def resume(name: Name, url: Url = DEFAULT) -> None:
    "Let a halted account go on from the next close; drawdowns count from its equity then."
    run(switched(url, name, halted=False))
    typer.echo(f"{name} goes on from the next close")


@app.command(context_settings=dict(ignore_unknown_options=True))
def moved(
    name: Name,
    amount: Annotated[float, typer.Argument(help="Quote currency that came in or, negative, went out.")],
    url: Url = DEFAULT,
) -> None:
    "Tell of a deposit or a withdrawal, so that it counts neither as gain nor as loss."
    run(switched(url, name, moved=amount))
    typer.echo(f"{name}: {amount:+,.2f} counts from the next close on")


async def accounts(address: str) -> list[dict[str, Any]]:
    "The accounts of a database with what their rules know."
    from sqlalchemy import select

    from perps_kit.risk.account import Account, account_of
    from perps_kit.storage.models import Account as Row
    from perps_kit.storage.models import MemoryState
    from runners.db.connect import open_database
    from runners.errors import ConfigError

    db = await open_database(address, create=False, upgrade=False)
    try:
        async with db.read() as session:
            found = []
            for row in await session.scalars(select(Row).order_by(Row.id)):
                kept = await session.get(MemoryState, f"account|{row.name}")
                try: a = account_of(kept.state) if kept else Account.of(row.start_balance)
                except ValueError as wrong: raise ConfigError(f"account {row.name!r}: {wrong}") from None
                today = a.equity / a.day_open - 1 if a.day_open > 0 else 0.0
                found.append(dict(name=row.name, mode=row.mode, equity=a.equity, balance=a.balance, peak=a.peak, today=today,
                                  drawdown=a.drawdown, halted=a.halted))
            return found
    finally:
        await db.close()


async def switched(address: str, name: str, halted: bool | None = None, moved: float = 0.0) -> None:
    "Leave a word for the service, which heeds it at its next close."
    import time as wall
    from math import isfinite

    from sqlalchemy import select

    from perps_kit.storage.keep import put
    from perps_kit.storage.models import Account, MemoryState
    from runners.db.connect import open_database
    from runners.errors import ConfigError

    if not isfinite(moved): raise ConfigError(f"{moved} is no amount of money")
    db = await open_database(address, create=False, upgrade=False)
    try:
        async with db.write() as session:
            names = list(await session.scalars(select(Account.name)))
            if name not in names:
                raise ConfigError(f"there is no account {name!r} in this database: it has {', '.join(names) or 'none'}")
            waiting = await session.get(MemoryState, f"switch|{name}", with_for_update=True)
            before: dict[str, Any] = waiting.state if waiting else dict(halted=None, moved=0.0)
            state = dict(halted=before["halted"] if halted is None else halted, moved=before["moved"] + moved)
            await put(session, MemoryState, [dict(name=f"switch|{name}", state=state, updated_at=wall.time_ns() // 1_000_000)])
    finally:
        await db.close()
