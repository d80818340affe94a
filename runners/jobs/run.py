"The inside of a job's process, started by `launch`: run the notebook, export its page, write the result."

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from runners.errors import ConfigError
from runners.jobs.page import export
from runners.jobs.record import recorded

AFTERLIFE = 10.0  # seconds past the limit after which an orphan ends itself


def write_result(path: Path, result: dict[str, Any]) -> None:
    "Write the result file whole or not at all."
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def plain(path: str) -> str:
    "A path that papermill, which formats paths with the parameters, takes as it stands."
    return path.replace("{", "{{").replace("}", "}}")


@contextmanager
def within(memory: int | None) -> Iterator[None]:
    "Refuse this process, and each that it starts meanwhile, more than so many MB of memory of its own."
    if memory is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = memory << 20 if hard == resource.RLIM_INFINITY else min(memory << 20, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))  # what was computed gets its page


def tied(lifeline: int) -> None:
    "End this process and all that it started as soon as the one that launched it is gone: the pipe between them then closes."

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(0, signal.SIGKILL)

    os.set_inheritable(lifeline, False)
    threading.Thread(target=watch, daemon=True, name="lifeline").start()


def run(order: dict[str, Any]) -> dict[str, Any]:
    "Run one notebook as ordered; the result tells how it went."
    notebook, began = Path(order["notebook"]), time.monotonic()
    error, memory = None, order["memory"]
    try:
        with within(memory):
            papermill.execute_notebook(
                plain(order["source"]),
                plain(order["notebook"]),
                order["parameters"],
                engine_name="inprocess",
                progress_bar=False,
                autosave_cell_every=2,
            )
    except PapermillExecutionError as failure:
        error = {"cell": failure.exec_count, "kind": failure.ename, "message": failure.evalue.strip()}
    except MemoryError as failure:
        error = {"cell": None, "kind": "MemoryError", "message": str(failure)}
    status = "done" if error is None else "refused" if error["kind"] == ConfigError.__name__ else "failed"
    if error and memory and error["kind"].endswith("MemoryError"):
        status, error["message"] = "memory", f"needed more than its limit of {memory} MB. {error['message']}".strip()
    page = export(notebook, Path(order["page"]))
    return {
        "status": status,
        "seconds": round(time.monotonic() - began, 3),
        "notebook": str(notebook),
        "page": str(page),
        "values": recorded(nbformat.read(notebook, 4)),
        "error": error,
    }


def main() -> int:
    "Read the order and carry it out."
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tied(order["lifeline"])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    faulthandler.dump_traceback_later(order["timeout"] + AFTERLIFE, exit=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    result = run(order)
    write_result(Path(order["result"]), result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
