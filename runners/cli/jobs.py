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
