"`perps-kit db`: the database's schema, copies and health."

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="The database: its schema, a copy, its rows as JSON lines, its health.")

Url = Annotated[
    str, typer.Option("--url", "-u", help="Address of the database; a path is a SQLite file.", envvar="PERPS_DATABASE", show_envvar=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DEFAULT = "sqlite:///var/perps.db"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    "Run to the end; a ConfigError is one sentence on standard error and exit code 2."
    from runners.errors import ConfigError

    try:
        return asyncio.run(work)
    except ConfigError as error:
        typer.echo(f"perps-kit: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def upgrade(url: Url = DEFAULT) -> None:
    "Make the database, or bring it to the newest schema."
    from runners.db.connect import open_database
    from runners.db.schema import HEAD

    async def work() -> str:
        database = await open_database(url)
        await database.close()
        return database.place

    typer.echo(f"{run(work())} is at schema {HEAD}")


@app.command()
def status(url: Url = DEFAULT, as_json: AsJson = False) -> None:
    "Schema, size and rows of every table."
    from runners.db.care import overview

    found = run(overview(url))
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(
        f"{found['place']}\nschema {found['schema']}, this version needs {found['needs']}"
        + (f", {found['bytes']:,} bytes" if found["bytes"] else "")
    )
    for name, rows in found["rows"].items():
        typer.echo(f"  {name:16} {rows:>12,}")


@app.command()
def backup(target: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")], url: Url = DEFAULT) -> None:
    "Copy a SQLite database while the service runs (PostgreSQL has pg_dump)."
    from runners.db.care import copy

    typer.echo(f"{target}: {run(copy(url, target)):,} bytes")


@app.command()
def export(
    target: Annotated[str, typer.Argument(help="File to write, or - for standard output.")] = "-",
    table: Annotated[list[str] | None, typer.Option("--table", "-t", help="Only this table (repeat for more).")] = None,
    url: Url = DEFAULT,
) -> None:
    'Every row as a JSON line: {"table": ..., "row": {...}}.'
    from runners.db.care import export_lines

    if target == "-":
        run(export_lines(url, sys.stdout, table))
        return
    path = Path(target)
    if path.exists():
        typer.echo(f"perps-kit: {path} exists: name a new file", err=True)
        raise typer.Exit(2)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as out:
            count = run(export_lines(url, out, table))
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    typer.echo(f"{path}: {count:,} rows")


@app.command()
def check(url: Url = DEFAULT, as_json: AsJson = False) -> None:
    "Look for damage and for rows that contradict each other; exit code 1 when there are any."
    from runners.db.care import faults

    found = run(faults(url))
    typer.echo(json.dumps({"faults": found}) if as_json else "\n".join(found) or "no faults")
    if found:
        raise typer.Exit(1)
