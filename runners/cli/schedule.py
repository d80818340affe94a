"`perps-kit jobs`: the schedule of the settings, run by the clock, shown, checked, and as systemd units."

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from runners.cli.jobs import Json, app

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in YAML; the environment (PERPS_...) goes over it.")]
Names = Annotated[list[str] | None, typer.Argument(help="Only these jobs of the schedule.", show_default=False)]


def scheduled(config: Path | None, names: list[str] | None = None) -> Any:
    "The settings and the schedule that they hold, checked; of it those that are named."
    from runners.errors import ConfigError
    from runners.jobs.schedule import plan
    from runners.settings import load

    settings = load(config)
    planned = plan(settings.jobs)
    known = [p.name for p in planned]
    if unknown := [name for name in names or () if name not in known]:
        raise ConfigError(f"the schedule has no job {unknown[0]!r}: it has {', '.join(known) or 'none'}")
    if not planned:
        raise ConfigError("there is no schedule: name jobs under jobs.schedule in the settings, as docs/examples/jobs.yaml does")
    return settings, [p for p in planned if not names or p.name in names]


@app.command()
def start(config: Config = None) -> None:
    "Run the schedule until told to stop; the service does the same by itself where its settings hold one."
    ended = run_schedule(config, None, once=False)
    typer.echo(f"stopped after {many(len(ended), 'run')}")


@app.command()
def once(names: Names = None, config: Config = None) -> None:
    "Run what is due now, with its further attempts, then end: for systemd timers and cron; exit code 1 where a job failed."
    ended = run_schedule(config, names, once=True)
    for name, status in ended:
        typer.echo(f"{name} {status}")
    if not ended:
        typer.echo("nothing is due")
    raise typer.Exit(0 if all(status == "done" for _, status in ended) else 1)


def many(count: int, what: str) -> str:
    "So many of something."
    return f"{count} {what}" + "s" * (count != 1)


def run_schedule(config: Path | None, names: list[str] | None, once: bool) -> list[tuple[str, str]]:
    "Run a scheduler in this process; the runs that are over."
    import asyncio

    from runners import logs

    settings, planned = scheduled(config, names)
    logs.set_up(settings.log_level)
    return asyncio.run(scheduling(settings, planned, once))


async def scheduling(settings: Any, planned: list[Any], once: bool) -> list[tuple[str, str]]:
    "A scheduler with its database, until SIGTERM or Ctrl-C."
    import asyncio

    from runners.db.connect import open_database
    from runners.jobs.scheduler import scheduler_of

    db = await open_database(settings.database)
    try:
        scheduler = scheduler_of(settings, db, planned)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, scheduler.stop.set)
        await scheduler.run(once)
        return scheduler.ended
    finally:
        await db.close()


@app.command()
def due(config: Config = None, as_json: Json = False) -> None:
    "Show what would run next, and when."
    import time
    from datetime import datetime

    settings, planned = scheduled(config)
    now = time.time_ns() // 1_000_000
    rows = sorted((p.next(now), p) for p in planned)
    if as_json:
        zone = settings.jobs.timezone
        found = [{"job": p.name, "notebook": p.job.name, "next": at, "local": local(at, p.zone), "timezone": zone, "cron": p.settings.cron}
                 for at, p in rows]
        typer.echo(json.dumps(found))
        return
    for at, p in rows:
        moment = datetime.fromtimestamp(at / 1000, p.zone)
        typer.echo(f"{p.name:<20} {moment:%a %Y-%m-%d %H:%M %Z}   in {span(at - now):<8} {p.settings.cron}")


def local(time: int, zone: Any) -> str:
    "A time in a zone, as ISO with its offset."
    from datetime import datetime

    return datetime.fromtimestamp(time / 1000, zone).isoformat()


def span(milliseconds: int) -> str:
    "A length of time in its two largest units."
    minutes = round(milliseconds / 60_000)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min"


@app.command()
def history(
    config: Config = None,
    job: Annotated[str | None, typer.Option(help="Only this job of the schedule.")] = None,
    status: Annotated[str | None, typer.Option(help="Only runs that came out so: done, failed, stopped, memory, lost, ...")] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    "Show what became of past runs, from the database of the settings."
    import asyncio

    from perps_kit.core.clock import iso
    from perps_kit.storage.jobs import latest_runs
    from runners.db.connect import open_database
    from runners.settings import load

    async def read() -> list[dict[str, Any]]:
        db = await open_database(load(config).database, create=False, upgrade=False)
        try:
            async with db.read() as session:
                return await latest_runs(session, limit, job, status)
        finally:
            await db.close()

    rows = asyncio.run(read())
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        typer.echo("no runs")
    for row in rows:
        seconds = f"{(row['finished_at'] - row['started_at']) / 1000:.1f} s" if row["finished_at"] else ""
        more = [f"attempt {row['attempt']}"] * (row["attempt"] > 1) + ["caught up"] * row["caught_up"]
        more += [f"{row['missed']} missed before it"] * (row["missed"] > 0) + [row["error"]] * bool(row["error"])
        typer.echo(f"{iso(row['scheduled_at']):<17} {row['job']:<20} {row['status']:<12}{seconds:>9}  {'; '.join(more)}".rstrip())


@app.command()
def check(config: Config = None) -> None:
    "Check the schedule: cron expressions, time zone, notebooks, names and types of parameters; exit code 2 and one sentence if wrong."
    settings, planned = scheduled(config)
    typer.echo(f"{many(len(planned), 'job')}, times in {settings.jobs.timezone}: {', '.join(p.name for p in planned)}")


@app.command()
def units(
    folder: Annotated[Path, typer.Argument(help="Folder for the unit files, such as /etc/systemd/system.", show_default=False)],
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings in YAML that hold the schedule.", show_default=False)],
    user: Annotated[str, typer.Option(help="User that the jobs run as.")] = "perps",
    home: Annotated[Path | None, typer.Option(help="Folder in which they run.", show_default="this one")] = None,
) -> None:
    "Write systemd units: a timer and a service for each job, and a service that runs the whole schedule instead."
    from runners.jobs.launch import make_folder
    from runners.jobs.units import texts

    settings, planned = scheduled(config)
    found = texts(settings.jobs, planned, config.resolve(), (home or Path.cwd()).resolve(), user)
    where = make_folder(folder, "FOLDER")
    for name, text in found.items():
        (where / name).write_text(text, encoding="utf-8")
        typer.echo(where / name)
