"The figures and files that a job hands on: a notebook records them, the run's result file lists them."

import os
from pathlib import Path
from typing import Any

from perps_kit.storage.models import json_safe

MIME = "application/vnd.perps-kit.record+json"
FOLDER = "JOB_FOLDER"  # environment variable: where the running notebook goes; the engine sets it


def record(**values: Any) -> None:
    "Put named values into the job's result, such as `record(signals=12, win_rate=0.5)`; nan and inf become text."
    from IPython.display import display

    plain = json_safe(values)
    display({MIME: plain, "text/plain": ", ".join(f"{name} = {value}" for name, value in plain.items())}, raw=True)


def recorded(notebook: Any) -> dict[str, Any]:
    "All values recorded in an executed notebook; of two under one name, the later."
    found: dict[str, Any] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found.update(output.get("data", {}).get(MIME, {}))
    return found


def keep(name: str, text: str) -> Path:
    "Write a file beside the result, whole or not at all; in a notebook that no job runs, into the current folder."
    path = Path(os.environ.get(FOLDER, ".")) / name
    partial = path.with_name(f".{name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)
