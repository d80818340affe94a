"The inside of a job's process, started by `launch`: run the notebook, export its page, write the result."

import faulthandler
import json
import logging
import signal
import sys
import time
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


def run(order: dict[str, Any]) -> dict[str, Any]:
    "Run one notebook as ordered; the result tells how it went."
    notebook, began = Path(order["notebook"]), time.monotonic()
    error = None
    try:
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
    page = export(notebook, Path(order["page"]))
    return {
        "status": "done" if error is None else "refused" if error["kind"] == ConfigError.__name__ else "failed",
        "seconds": round(time.monotonic() - began, 3),
        "notebook": str(notebook),
        "page": str(page),
        "values": recorded(nbformat.read(notebook, 4)),
        "error": error,
    }


def main() -> int:
    "Read the order and carry it out."
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    faulthandler.dump_traceback_later(order["timeout"] + AFTERLIFE, exit=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    result = run(order)
    write_result(Path(order["result"]), result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
