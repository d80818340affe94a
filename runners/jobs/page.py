"An executed notebook as one HTML file that asks nothing of the network."

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat

from runners.jobs.record import MIME

LOAD = "application/vnd.bokehjs_load.v0+json"
DRAW = "application/vnd.bokehjs_exec.v0+json"


def bokeh_script() -> str:
    "BokehJS from the installed package, safe inside a script element."
    spec = find_spec("bokeh")
    folder = Path(next(iter(spec.submodule_search_locations or []))) if spec else Path()
    return (folder / "server/static/js/bokeh.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")


def trim(notebook: Any) -> bool:
    "Leave out what only a running Jupyter needs; whether the notebook draws with Bokeh."
    draws = False
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        draws = draws or any(DRAW in output.get("data", {}) for output in outputs)
        cell_outputs = [output for output in outputs if not {LOAD, MIME} & set(output.get("data", {}))]
        if cell.cell_type == "code":
            cell.outputs = cell_outputs
    return draws


def title(notebook: Any, default: str) -> str:
    "The first heading of a notebook."
    for cell in notebook.cells:
        found = re.search(r"^# (.+)$", cell.source, re.M) if cell.cell_type == "markdown" else None
        if found:
            return found[1].strip()
    return default


def export(source: Path, target: Path) -> Path:
    "Write the notebook at `source` as HTML: prose, tables and live plots; code is folded, and open where a cell failed."
    from nbconvert.exporters import HTMLExporter

    notebook = nbformat.read(source, 4)
    draws = trim(notebook)
    exporter = HTMLExporter(raw_template=(Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    resources = {"metadata": {"name": title(notebook, source.stem)}, "bokeh": bokeh_script() if draws else ""}
    html, _ = exporter.from_notebook_node(notebook, resources=resources)
    partial = target.with_suffix(".partial")
    partial.write_text(html, encoding="utf-8")
    return partial.replace(target)


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
