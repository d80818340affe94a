"A job's notebook: what an engine costs beyond the interpreter and its imports, which are paid before the clock starts."
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.measure import Line, at_least

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TIMES = 5


def notebook(path: Path) -> Path:
    "A trivial notebook: a parameter, a value, a print."
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook
    first = new_code_cell("n = 1")
    first.metadata.tags = ["parameters"]
    nbformat.write(new_notebook(cells=[first, new_code_cell("print(n)"), new_code_cell("n + 1")], metadata={"kernelspec": KERNEL}), path)
    return path


def run(source: Path, target: Path, engine: str | None) -> float:
    "Seconds on the clock of one run; a kernel is a process of its own, whose time counts."
    import papermill
    begun = time.perf_counter()
    made: Any = papermill.execute_notebook(source, target, dict(n=3), engine_name=engine, progress_bar=False)
    took = time.perf_counter() - begun
    if made.cells[-1].outputs[0].data["text/plain"] != "4": raise RuntimeError(f"the engine {engine or 'kernel'} did not run the notebook")
    return took


def lines() -> list[Line]:
    engines: dict[str, str | None] = {"in process": "inprocess", "kernel": None}
    if find_spec("ipykernel") is None: del engines["kernel"]
    spent: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        source = notebook(Path(folder) / "in.ipynb")
        for turn in range(TIMES + 1):                       # in turns, the first of which warms up
            for name, engine in engines.items():
                took = run(source, Path(folder) / f"{name}.ipynb", engine)
                if turn: spent[name].append(took)
    medians = {name: statistics.median(found) for name, found in spent.items()}
    found = [Line(f"a trivial notebook, {name}", took, "s", note=f"median of {TIMES} runs") for name, took in medians.items()]
    if "kernel" in medians: found.append(at_least("the kernel's time over ours", medians["kernel"] / medians["in process"], "times", 20))
    return found
