"""Executes, cleans and checks the notebooks, without Jupyter and without a kernel.

    tools/notebooks.py run [NOTEBOOK...]            execute in place; small text outputs stay, plots and widgets go
    tools/notebooks.py run --to DIR [NOTEBOOK...]   execute, and write copies with all outputs to DIR, for the site
    tools/notebooks.py test [NOTEBOOK...]           execute, write nothing
    tools/notebooks.py clean [NOTEBOOK...]          strip what does not belong into git, without executing
    tools/notebooks.py check [NOTEBOOK...]          say what `clean` would change

Notebooks run two at a time, each in a process of its own with its folder as the working directory, as in JupyterLab. A cell that
starts with `#| eval: false` is not run. The exit code is 1 when a cell fails or outlasts its time.
"""
import argparse
import json
import multiprocessing
import os
import re
import sys
import time
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("IPYTHONDIR", str(ROOT / ".cache" / "ipython"))
os.environ.setdefault("JUPYTER_CONFIG_DIR", str(ROOT / ".cache" / "jupyter" / "config"))
os.environ.setdefault("JUPYTER_DATA_DIR", str(ROOT / ".cache" / "jupyter" / "data"))
os.environ.setdefault("PERPS_LEDGER", "off")    # a lesson's trials count for nobody; pages that show the ledger name a file of their own

Path(os.environ["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)

import nbformat  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LARGEST = 6000          # characters of an output that git keeps
CELL_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
NO_EVAL = re.compile(r"^#\|\s*eval:\s*false", re.M)


def found(names: list[str]) -> list[Path]:
    "The named notebooks and those below named folders; by default all of nbs/."
    paths: list[Path] = []
    for name in names or ["nbs"]:
        path = Path(name) if names else ROOT / name
        if not path.exists(): sys.exit(f"notebooks: {name} does not exist; name a notebook or a folder of notebooks")
        paths += sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
    return [path.resolve() for path in paths if ".ipynb_checkpoints" not in path.parts]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def belongs(output: NotebookNode) -> bool:
    "Whether an output is worth keeping in git: small text that is the same on the next run and on another machine."
    if output.output_type == "error" or output.get("name") == "stderr": return False
    data = output.get("data", {})
    if any(kind.startswith(("application/", "image/")) for kind in data): return False
    html = str(data.get("text/html", ""))
    if "data-root-id" in html or "bokeh" in html[:4000].lower(): return False     # a plot's place, named anew on every run
    text = json.dumps(output)
    return len(text) <= LARGEST and not re.search(r" at 0x[0-9a-f]{6,}", text) and str(ROOT) not in text


def clean(nb: NotebookNode) -> NotebookNode:
    "The notebook as git keeps it: no counts, no plots, no widgets, no metadata of an editor."
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    nb.nbformat, nb.nbformat_minor = 4, 5
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {})
        if cell.cell_type != "code":
            cell.pop("attachments", None)
            continue
        cell.execution_count = None
        cell.outputs = [output for output in cell.outputs if belongs(output)]
        for output in cell.outputs:
            if "metadata" in output: output.metadata = NotebookNode()
            if output.output_type == "execute_result": output.execution_count = None
    return nb


def text_of(nb: NotebookNode) -> str:
    return nbformat.writes(nb).rstrip("\n") + "\n"


def complaints(path: Path) -> list[str]:
    "What is wrong with a notebook as it stands in git."
    text = path.read_text(encoding="utf-8")
    where, out, seen = short(path), [], set()
    try:
        cells = json.loads(text)["cells"]
    except (ValueError, KeyError, TypeError):
        return [f"{where}: not a notebook"]
    for number, cell in enumerate(cells):
        name = cell.get("id")
        at = f"{where}, cell {name or number}"
        if not name: out.append(f"{at}: has no id; give it a short fixed one")
        elif not CELL_ID.fullmatch(name): out.append(f"{at}: the id should be small letters, digits and dashes")
        elif name in seen: out.append(f"{at}: the id stands twice")
        seen.add(name)
        if cell["cell_type"] != "code": continue
        if cell.get("execution_count") is not None: out.append(f"{at}: keeps an execution count; run `make export`")
        for output in map(nbformat.from_dict, cell["outputs"]):
            if not belongs(output): out.append(f"{at}: keeps a plot, a widget, an error, an address or a large output; run `make export`")
    if out: return out
    try:
        nb = nbformat.reads(text, as_version=4)     # only now: it would give new ids to cells without one
        nbformat.validate(nb)
    except (ValueError, nbformat.ValidationError) as error:
        return [f"{where}: not a valid notebook: {str(error).splitlines()[0]}"]
    return [] if text_of(clean(nb)) == text else [f"{where}: is not written line by line, as Jupyter would; run `make export`"]


def execute(path: Path, target: Path | None, cell_timeout: int) -> int:
    "Run the cells in order; write the notebook to `target` when all have passed. The number of cells run."
    from execnb.shell import CaptureShell
    nb = nbformat.read(path, as_version=4)
    os.chdir(path.parent)
    shell = CaptureShell(path=path.parent, mpl_format=None, timeout=cell_timeout)
    count = 0
    for cell in nb.cells:
        if cell.cell_type != "code": continue
        cell.outputs, cell.execution_count = [], None
        if NO_EVAL.search(cell.source): continue
        began = time.perf_counter()
        cell.outputs = [nbformat.from_dict(output) for output in shell.run(cell.source, grace=0.2)]
        count += 1
        if shell.exc is not None: raise CellFailed(report(cell, shell.exc, time.perf_counter() - began))
    if target == path: clean(nb)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text_of(nb), encoding="utf-8")
    return count


class CellFailed(Exception):
    "A cell raised or outlasted its time; the text says which and why."


def report(cell: NotebookNode, error: BaseException, seconds: float) -> str:
    "The failing cell, its source and the part of the traceback that is not machinery."
    machinery = re.compile(r"/(IPython|execnb|fastcore)/|/concurrent/|/asyncio/")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not machinery.search(frame.filename)]
    source = "".join(f"    {line}\n" for line in cell.source.splitlines())
    last = str(error) if isinstance(error, TimeoutError) else "".join(traceback.format_exception_only(error))
    return f"cell {cell.id}, after {seconds:.1f} s\n{source}\n{''.join(traceback.format_list(frames))}{last}".rstrip()


def in_child(path: Path, target: Path | None, cell_timeout: int, pipe: Connection) -> None:
    began = time.perf_counter()
    try:
        pipe.send((execute(path, target, cell_timeout), "", time.perf_counter() - began))
    except CellFailed as failure:
        pipe.send((0, str(failure), time.perf_counter() - began))
    pipe.close()
    sys.stdout.flush()
    os._exit(0)  # a cell that hangs holds a thread that nothing else can end


def run_all(jobs: list[tuple[Path, Path | None]], workers: int, cell_timeout: int, verbose: bool) -> bool:
    "Run every job, `workers` at a time, each in a process forked from this one, which has the slow imports done."
    import execnb.shell  # noqa: F401
    if len(jobs) > 1:
        import bokeh.plotting  # noqa: F401
    context = multiprocessing.get_context("fork")
    waiting, running, good = list(reversed(jobs)), {}, True
    while waiting or running:
        while waiting and len(running) < workers:
            path, target = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=in_child, args=(path, target, cell_timeout, theirs))
            process.start()
            theirs.close()
            running[ours] = path, process
        for pipe in wait(list(running)):
            path, process = running.pop(pipe)  # type: ignore[index]
            try:
                count, failure, seconds = pipe.recv()  # type: ignore[union-attr]
            except EOFError:
                process.join()
                count, failure, seconds = 0, f"its process ended early, exit code {process.exitcode}", 0.0
            process.join()
            good = good and not failure
            if failure: print(f"FAILED {short(path)}: {failure}\n", flush=True)
            elif verbose: print(f"{short(path)}: {count} cells, {seconds:.1f} s", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "test", "clean", "check"])
    parser.add_argument("notebooks", nargs="*", help="notebooks or folders; default: all of nbs/")
    parser.add_argument("--to", type=Path, metavar="DIR", help="write executed copies with all outputs below DIR")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="notebooks run at a time (default: 2)")
    parser.add_argument("--cell-timeout", type=int, default=120, metavar="SECONDS", help="longest time for a cell (default: 120)")
    args = parser.parse_intermixed_args()
    paths = found(args.notebooks)
    if args.command == "check":
        wrong = [line for path in paths for line in complaints(path)]
        print("\n".join(wrong) if wrong else f"{len(paths)} notebooks are clean")
        return 1 if wrong else 0
    if args.command == "clean":
        for path in paths:
            before, after = path.read_text(encoding="utf-8"), text_of(clean(nbformat.read(path, as_version=4)))
            if after != before:
                path.write_text(after, encoding="utf-8")
                print(f"{short(path)}: cleaned")
        return 0

    def target_of(path: Path) -> Path | None:
        if args.command == "test": return None
        if args.to is None: return path
        return args.to.resolve() / (path.relative_to(ROOT / "nbs") if path.is_relative_to(ROOT / "nbs") else Path(path.name))

    good = run_all([(path, target_of(path)) for path in paths], args.workers, args.cell_timeout, verbose=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
