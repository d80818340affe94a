"`perps-kit jobs`: notebooks that run to an end, such as the daily report, by hand or by the clock."

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Run notebooks as jobs (reports, scans, re-fits) within limits, by hand or by the clock.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Name = Annotated[str, typer.Argument(help="A job's name (`perps-kit jobs ls`), or the path of a notebook.", show_default=False)]


@app.command()
def ls(as_json: Json = False) -> None:
    "List the jobs that come with perps_kit."
    from runners.jobs.catalog import find, names

    jobs = [find(name) for name in names()]
    if as_json:
        typer.echo(json.dumps([{"name": job.name, "title": job.title, "summary": job.summary} for job in jobs]))
        return
    for job in jobs:
        typer.echo(f"{job.name:<20} {job.summary or job.title}")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    "Show what a job does and which parameters it takes."
    from runners.jobs.catalog import find

    job = find(name)
    if as_json:
        typer.echo(
            json.dumps({"name": job.name, "title": job.title, "summary": job.summary, "parameters": [p._asdict() for p in job.parameters]})
        )
        return
    typer.echo(f"{job.title}: {job.summary}" if job.summary else job.title)
    for p in job.parameters:
        typer.echo(f"  -p {p.name + '=' + p.kind.upper():<22} {p.help} (default: {p.default!r})")


@app.command()
def run(
    name: Name,
    parameters: Annotated[
        list[str], typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Set a parameter of the notebook; repeat for more.")
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="Folder for the notebook, the page and the result.", show_default="var/jobs/NAME/TIME")
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Wall-clock limit; the job and what it started are killed at it.")
    ] = 300.0,
    memory: Annotated[int | None, typer.Option(metavar="MB", help="Limit of the memory of each of its processes.")] = None,
    as_json: Json = False,
) -> None:
    "Run a job in a process of its own; exit code 1 where it failed or met its limit, 2 where it was told nonsense."
    from runners.jobs.catalog import find
    from runners.jobs.launch import launch

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = launch(find(name), parameters, out, timeout, memory)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        tell(result)
    raise typer.Exit({"done": 0, "refused": 2}.get(result["status"], 1))


def tell(result: dict[str, Any]) -> None:
    "The result for a person: what was recorded, where the files are, what went wrong."
    error = result["error"]
    for name, value in result["values"].items():
        typer.echo(f"{name:<20} {value:.6g}" if isinstance(value, float) else f"{name:<20} {value}")
    for name in ("page", "notebook"):
        if result[name]:
            typer.echo(f"{name:<20} {result[name]}")
    if result["status"] == "refused":
        typer.echo(f"perps-kit: {error['message']}", err=True)
    elif error:
        where = f" in cell {error['cell']}" if error["cell"] else ""
        what = error["message"] if result["status"] != "failed" else f"{error['kind']}: {error['message'] or 'no message'}"
        typer.echo(f"perps-kit: {result['job']} {result['status']}{where}: {what.splitlines()[0]}", err=True)
    else:
        typer.echo(f"{result['job']} done in {result['seconds']:.1f} s")


# --- the schedule


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
