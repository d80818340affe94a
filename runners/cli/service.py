"`perps-kit demo`, `run` and `doctor`: the service and whether it could start."

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in YAML; the environment (PERPS_...) goes over it.")]
Port = Annotated[int | None, typer.Option("--port", "-p", help="Port of the page on 127.0.0.1; 0 takes any free one.")]


def demo(
    exit_at_end: Annotated[bool, typer.Option("--exit", help="End with the replay, instead of serving the page until Ctrl-C.")] = False,
    days: Annotated[int, typer.Option(help="Days of sample data to replay.", min=1, max=60)] = 30,
    speed: Annotated[float, typer.Option(help="Bars of 15 minutes a second, for each symbol.", min=0.1, max=200)] = 40.0,
    port: Port = None,
) -> None:
    "Replay the sample data through the whole service: no keys, no set-up, nothing kept."
    import tempfile

    from perps_kit.core.clock import DAY
    from perps_kit.data.sample import sample_bars, sample_symbols

    end = int(sample_bars().close_time[-1])
    with tempfile.TemporaryDirectory(prefix="perps-demo-", ignore_cleanup_errors=True) as folder:
        replay = dict(start=str(end - days * DAY), pace=speed * 900)
        start(None, view=True, stay=not exit_at_end, mode="paper", database=f"sqlite:///{folder}/demo.db", symbols=sample_symbols(),
              venue=dict(replay=replay), http=dict(port=port), log_level="warning")


def run(
    config: Config = None,
    mode: Annotated[str | None, typer.Option(
        help="research, replay, signals, paper or live; live also needs PERPS_LIVE__CONFIRMED=true.")] = None,
    port: Port = None,
) -> None:
    "Run the service with the given settings until it is stopped."
    start(config, view=False, stay=False, mode=mode, http=dict(port=port))


def start(config: Path | None, view: bool, stay: bool, **given: Any) -> None:
    "Load settings, run, and print what a replay brought."
    import asyncio

    from rich.console import Console

    from runners import logs, terminal
    from runners.run import run as run_service
    from runners.settings import load

    settings = load(config, **given)
    console = Console()
    logs.set_up(settings.log_level)
    ended = asyncio.run(run_service(settings, console, show(console, stay) if view else None, keep_serving=stay))
    if not view and ended.state.summary:
        console.print(terminal.summary_table(ended.state.summary))


def show(console: Any, stay: bool) -> Any:
    "The terminal view, and the summary as soon as the replay has ended, though the page is still served."
    import asyncio
    from contextlib import asynccontextmanager, suppress

    from runners import terminal

    async def around(running: Any) -> Any:
        async def ending() -> None:
            while not running.state.done:
                await asyncio.sleep(0.1)
            console.print(terminal.summary_table(running.state.summary))
            if stay:
                console.print(f"\nThe page stays at {running.page} until Ctrl-C.")

        task = asyncio.create_task(ending(), name="summary")
        async with asynccontextmanager(terminal.view(console))(running):
            yield
        if running.state.done:
            await task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return around


def doctor(config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    "Check what the service needs: Python, packages, settings, database, sample data, disk, port."
    from runners.doctor import examine

    found = examine(config)
    if as_json:
        typer.echo(json.dumps([line._asdict() for line in found]))
    else:
        for line in found:
            typer.echo(f"{'ok  ' if line.ok else 'FAIL'}  {line.what}: {line.detail}")
    raise typer.Exit(0 if all(line.ok for line in found) else 2)
