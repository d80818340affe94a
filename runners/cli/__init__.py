"""`perps-kit`: everything from the command line. Imports come late, so that asking for help costs nothing.

Exit codes: 0 done; 1 the answer is no (data with faults, parity broken); 2 something to mend, said in one sentence.
"""

import sys
from typing import Annotated

import typer

from runners.cli import (
    account,
    archive,
    data,
    db,
    docs,
    experiments,
    mend,
    new,
    performance,
    portfolio,
    record,
    research,
    schedule,
    service,
    strategies,
)

app = typer.Typer(name="perps-kit", no_args_is_help=True, pretty_exceptions_enable=False,
                  context_settings=dict(help_option_names=["-h", "--help"]),
                  help="From the notebook to the live signal: research, replay and run strategies for crypto perpetual futures.")
app.command()(service.demo)
app.command()(service.run)
app.command()(research.backtest)
app.command()(experiments.evaluate)
app.command()(experiments.sweep)
app.command()(experiments.walkforward)
app.command()(experiments.compare)
app.command()(experiments.ledger)
app.command()(experiments.experiment)
app.command()(portfolio.portfolio)
app.command()(research.parity)
app.command()(research.units)
app.command()(strategies.strategies)
app.command()(strategies.explain)
app.command()(performance.performance)
app.command()(service.doctor)
app.command()(new.new)
app.command()(docs.docs)
for command in (archive.archive, mend.mend, record.record): data.app.command()(command)
app.add_typer(account.app, name="account")
app.add_typer(data.app, name="data")
app.add_typer(schedule.app, name="jobs")
app.add_typer(db.app, name="db")


def version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"perps_kit {version('perps_kit')}")
        raise typer.Exit


@app.callback()
def common(
    show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None: ...


def main() -> None:
    "The entry point: what a person can mend is one sentence on standard error."
    from runners.errors import ConfigError

    try:
        app()
    except ConfigError as error:
        print(f"perps-kit: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
