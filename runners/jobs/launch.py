"A job from the outside: check what it is told, run it in a process group of its own, end it at its limit."

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from runners.errors import ConfigError
from runners.jobs.catalog import Job
from runners.jobs.parameters import check

LIMIT = 300.0  # seconds
LAST_WORDS = 0.3  # seconds for the tracebacks of a job that is about to be killed


def make_folder(path: Path) -> Path:
    "The folder for a run's files."
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {path}: {error.strerror}; choose another folder with --out") from None
    return path.resolve()


def stop(process: "subprocess.Popen[bytes]") -> None:
    "Ask a job where it stands, for its log, then end it with everything that it started."
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGUSR1)
        time.sleep(LAST_WORDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def unfinished(order: dict[str, Any], status: str, message: str, seconds: float) -> dict[str, Any]:
    "The result of a run whose process could not write one: what stands in the notebook so far is kept."
    from runners.jobs.page import export
    from runners.jobs.record import recorded

    path, cell, values, page = Path(order["notebook"]), None, {}, None
    with suppress(FileNotFoundError, nbformat.reader.NotJSONError):
        notebook = nbformat.read(path, 4)
        running = (c for c in notebook.cells if c.metadata.get("papermill", {}).get("status") == "running")
        cell, values = next((c.get("execution_count") for c in running), None), recorded(notebook)
        page = str(export(path, Path(order["page"])))
    return {
        "status": status,
        "seconds": round(seconds, 3),
        "notebook": str(path) if path.exists() else None,
        "page": page,
        "values": values,
        "error": {"cell": cell, "kind": status, "message": message},
    }


def launch(job: Job, given: list[str], out: Path | None = None, limit: float = LIMIT) -> dict[str, Any]:
    """Run `job` with parameters given as `name=value` texts; its result, which stands in `result.json` as well.

    status: done, failed (a cell raised), refused (a cell met a wrong setting or parameter), stopped (at its limit
    of `limit` seconds of wall-clock time) or died (its process ended by itself).
    """
    values = check(given, job.parameters, job.name)
    if not 0 < limit <= 86_400:
        raise ConfigError(f"the time limit must be between 0 and 86400 seconds, not {limit:g}")
    started = datetime.now(UTC)
    folder = make_folder(out or Path("var/jobs") / job.name / f"{started:%Y%m%dT%H%M%S.%f}"[:-3])
    files = {"notebook": f"{job.name}.ipynb", "page": f"{job.name}.html", "result": "result.json"}
    order: dict[str, Any] = {
        "source": str(job.path),
        "parameters": values,
        "timeout": limit,
        **{key: str(folder / name) for key, name in files.items()},
    }
    if Path(order["notebook"]) == job.path:
        raise ConfigError(f"--out {folder} holds the job's own notebook, which the run would overwrite: choose another folder")
    for key in files:
        Path(order[key]).unlink(missing_ok=True)
    log, began = folder / "log.txt", time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perps-job-") as scratch, log.open("wb") as output:
        order_file = Path(scratch, "order.json")
        order_file.write_text(json.dumps(order), encoding="utf-8")
        homes = {name: str(Path(scratch, name.lower())) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.jobs.run", str(order_file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **homes},
        )
        status = "finished"
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            status = "stopped"
        finally:
            if process.poll() is None:
                stop(process)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what the job started and left behind
    seconds = time.monotonic() - began
    result_file = Path(order["result"])
    if status == "stopped":
        result = unfinished(order, "stopped", f"stopped after its limit of {limit:g} seconds; where it hung stands in {log}", seconds)
    elif result_file.exists():
        result = json.loads(result_file.read_text(encoding="utf-8"))
    else:
        result = unfinished(order, "died", f"its process ended with code {process.returncode}; see {log}", seconds)
    told = {p.name: values.get(p.name, p.default) for p in job.parameters}
    result = {"job": job.name, "started": f"{started:%Y-%m-%dT%H:%M:%SZ}", "parameters": told, "log": str(log), **result}
    result_file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result
