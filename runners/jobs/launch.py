"A job from the outside: check what it is told, run it in a process group of its own, end it at its limit."

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from runners.errors import ConfigError
from runners.jobs.catalog import Job, missing
from runners.jobs.parameters import check

LIMIT = 300.0  # seconds
LEAST = 256  # MB
LAST_WORDS = 0.3  # seconds for the tracebacks of a job that is about to be killed
PAGE = 60.0  # seconds for a page
LOOK = 0.1  # seconds between two looks at whether a job is to be ended
NO_MEMORY = re.compile(rb"MemoryError|bad_alloc|[Cc]annot allocate memory|[Uu]nable to allocate|out of memory")


def make_folder(path: Path, option: str = "--out") -> Path:
    "The folder for a run's files."
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {path}: {error.strerror}; choose another folder with {option}") from None
    return path.resolve()


def stop(process: "subprocess.Popen[bytes]") -> None:
    "Ask a job where it stands, for its log, then end it with everything that it started."
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGUSR1)
        time.sleep(LAST_WORDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def page_of(notebook: Path, page: Path) -> str | None:
    "The page of what stands in a notebook, made in a process of its own: a service does not load what it takes."
    command = [sys.executable, "-m", "runners.jobs.page", str(notebook), str(page)]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PAGE)
    return str(page) if page.exists() else None


def short_of_memory(log: Path) -> bool:
    "Whether the last words of a job that died were that it could get no more memory."
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4_000))
        return bool(NO_MEMORY.search(file.read()))


def unfinished(order: dict[str, Any], status: str, message: str, seconds: float) -> dict[str, Any]:
    "The result of a run whose process could not write one: what stands in the notebook so far is kept."
    from runners.jobs.record import recorded

    path, cell, values, page = Path(order["notebook"]), None, {}, None
    with suppress(FileNotFoundError, nbformat.reader.NotJSONError):
        notebook = nbformat.read(path, 4)
        running = (c for c in notebook.cells if c.metadata.get("papermill", {}).get("status") == "running")
        cell, values = next((c.get("execution_count") for c in running), None), recorded(notebook)
        page = page_of(path, Path(order["page"])) if status != "interrupted" else None  # whoever stops does not wait for it
    return {
        "status": status,
        "seconds": round(seconds, 3),
        "notebook": str(path) if path.exists() else None,
        "page": page,
        "values": values,
        "error": {"cell": cell, "kind": status, "message": message},
    }


def wait(process: "subprocess.Popen[bytes]", limit: float, halt: threading.Event | None) -> str:
    "Wait for a job until its limit, or until it is to be ended; how that came out."
    until = time.monotonic() + limit
    while (left := until - time.monotonic()) > 0:
        if halt and halt.is_set():
            return "interrupted"
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(left, LOOK) if halt else left)
            return "finished"
    return "stopped"


def launch(
    job: Job,
    given: list[str],
    out: Path | None = None,
    limit: float = LIMIT,
    memory: int | None = None,
    halt: threading.Event | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run `job` with parameters given as `name=value` texts; its result, which stands in `result.json` as well.

    status: done, failed (a cell raised), refused (a cell met a wrong setting or parameter), stopped (at its limit
    of `limit` seconds of wall-clock time), memory (one of its processes needed more than `memory` MB), interrupted (`halt` was
    set) or died (its process ended by itself). A job ends with the process that launched it, however that ends.
    `environ` goes over the environment: unlike a parameter, it stands in no file.
    """
    values = check(given, job.parameters, job.name)
    if lacking := missing(job):
        raise ConfigError(lacking)
    if not 0 < limit <= 86_400:
        raise ConfigError(f"the time limit must be between 0 and 86400 seconds, not {limit:g}")
    if memory is not None and memory < LEAST:
        raise ConfigError(f"the memory limit must be at least {LEAST} MB, not {memory}: an empty notebook needs that much")
    started = datetime.now(UTC)
    folder = make_folder(out or Path("var/jobs") / job.name / f"{started:%Y%m%dT%H%M%S.%f}"[:-3])
    files = {"notebook": f"{job.name}.ipynb", "page": f"{job.name}.html", "result": "result.json"}
    order: dict[str, Any] = {
        "source": str(job.path),
        "parameters": values,
        "timeout": limit,
        "memory": memory,
        **{key: str(folder / name) for key, name in files.items()},
    }
    if Path(order["notebook"]) == job.path:
        raise ConfigError(f"--out {folder} holds the job's own notebook, which the run would overwrite: choose another folder")
    for key in files:
        Path(order[key]).unlink(missing_ok=True)
    log, began = folder / "log.txt", time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perps-job-") as scratch, log.open("wb") as output:
        order_file, (theirs, ours) = Path(scratch, "order.json"), os.pipe()
        order_file.write_text(json.dumps({**order, "lifeline": theirs}), encoding="utf-8")
        homes = {name: str(Path(scratch, name.lower())) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.jobs.run", str(order_file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[theirs],
            env={**os.environ, **(environ or {}), **homes},
        )
        os.close(theirs)
        try:
            status = wait(process, limit, halt)
        finally:
            if process.poll() is None:
                stop(process)
            os.close(ours)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what the job started and left behind
    seconds = time.monotonic() - began
    result_file = Path(order["result"])
    if status == "stopped":
        result = unfinished(order, status, f"stopped after its limit of {limit:g} seconds; where it hung stands in {log}", seconds)
    elif status == "interrupted":
        result = unfinished(order, status, "ended before its time, because what had started it was stopped", seconds)
    elif result_file.exists():
        result = json.loads(result_file.read_text(encoding="utf-8"))
    elif memory and short_of_memory(log):
        result = unfinished(order, "memory", f"needed more than its limit of {memory} MB; see {log}", seconds)
    else:
        result = unfinished(order, "died", f"its process ended with code {process.returncode}; see {log}", seconds)
    told = {p.name: values.get(p.name, p.default) for p in job.parameters}
    result = {"job": job.name, "started": f"{started:%Y-%m-%dT%H:%M:%SZ}", "parameters": told, "log": str(log), **result}
    result_file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result
