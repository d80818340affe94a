"The in-process engine beside papermill's kernel engine: one table of behaviours, the same outputs."

import json
import re
import subprocess
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

# name: the cells that show it. All of them run in one notebook, as a kernel costs seconds; the last one fails on purpose.
BEHAVIOURS = {
    "value of the last line": ["6 * 7"],
    "semicolon keeps quiet": ["6 * 7;"],
    "nothing": ["x = 1"],
    "injected parameter": ["(window, label)"],
    "stdout": ["print('a'); print('b', end='')"],
    "stderr": ["import sys; print('careful', file=sys.stderr)"],
    "order of streams and displays": [
        "from IPython.display import display, HTML\nprint('before'); display(HTML('<b>bold</b>')); print('after'); 'last'"
    ],
    "markdown and json": ["from IPython.display import JSON, Markdown\ndisplay(Markdown('*x*'), JSON({'a': 1}))"],
    "own mime type": ["display({'application/x-perps+json': {'n': 1}}, raw=True)"],
    "object that draws itself": ["class Drawn:\n    def _ipython_display_(self): print('drawn')\nDrawn()"],
    "object with html": ["class Rich:\n    def _repr_html_(self): return '<i>rich</i>'\n    def __repr__(self): return 'rich'\nRich()"],
    "update of an earlier display": ["shown = display('first', display_id='one')", "shown.update('second')"],
    "clear output": ["from IPython.display import clear_output\nprint('gone'); clear_output(); print('kept')"],
    "clear output, waiting": ["print('gone'); clear_output(wait=True); print('kept')"],
    "top-level await": ["import asyncio\nawait asyncio.sleep(0, 'slept')"],
    "async for at top level": ["async def three():\n    for i in range(3): yield i\n[i async for i in three()]"],
    "line magic": ["%who_ls int"],
    "cell magic": ["%%capture kept\nprint('captured')", "kept.stdout"],
    "shell command": ["!echo from the shell", "lines = !echo listed\nlist(lines)"],
    "earlier outputs": ["1 + 1", "_ + 1"],
    "get_ipython": ["get_ipython() is not None"],
    "main module": ["__name__, type(Rich()).__module__"],
    "input is refused": ["try: input('?')\nexcept Exception as e: print(type(e).__name__)"],
    "bokeh": [
        "from bokeh.io import output_notebook, show\nfrom bokeh.plotting import figure\noutput_notebook(hide_banner=True)",
        "p = figure(height=100); p.line([1, 2], [3, 4]); show(p)",
    ],
    "error": ["def broken():\n    print('so far'); raise ValueError('bad bar')\nbroken()"],
    "pending": ["print('never')"],
}


def notebook(sources: dict[str, list[str]]):
    first = new_code_cell("window = 1\nlabel = ''")
    first.metadata.tags = ["parameters"]
    cells = [new_markdown_cell("# Behaviours"), first]
    for name, lines in sources.items():
        for source in lines:
            cell = new_code_cell(source)
            cell.metadata.shows = name
            cells.append(cell)
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def run(engine: str | None, folder, sources=BEHAVIOURS):
    source, target = folder / "in.ipynb", folder / "out.ipynb"
    nbformat.write(notebook(sources), source)
    failure = None
    try:
        papermill.execute_notebook(source, target, dict(window=5, label='it\'s "so"'), engine_name=engine, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        failure = (error.ename, error.evalue, error.cell_index, error.exec_count)
    return nbformat.read(target, 4), failure


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    pytest.importorskip("ipykernel", reason="the kernel to compare with is a research tool")
    return run("inprocess", tmp_path_factory.mktemp("inprocess")), run(None, tmp_path_factory.mktemp("kernel"))


def plain(output: dict) -> dict:
    "An output without what differs from run to run: addresses, bokeh ids, colours of a traceback."
    text = json.dumps(output, sort_keys=True)
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"p\d{4,}|[0-9a-f]{8}-[0-9a-f-]{27}|\w*ce[0-9a-f]{30}\w*|[0-9a-f]{32}", "ID", text)
    kept = json.loads(text)
    if kept["output_type"] == "error":
        kept["traceback"] = [re.sub(r"\\?\x1b\[[0-9;]*m", "", line) for line in kept["traceback"]]
    return kept


def outputs(book, name: str) -> list[tuple]:
    found: list[tuple] = []
    for cell in (cell for cell in book.cells if cell.metadata.get("shows") == name):
        merged: list[dict] = []
        for output in map(plain, cell.outputs):
            if merged and output["output_type"] == "stream" == merged[-1]["output_type"] and output["name"] == merged[-1]["name"]:
                merged[-1]["text"] += output["text"]
            else:
                merged.append(output)
        found.append((cell.execution_count, cell.metadata.papermill.status, cell.metadata.papermill.exception, merged))
    return found


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_cell_puts_out_what_it_does_with_a_kernel(name, both):
    (here, _), (kernel, _) = both
    assert outputs(here, name) == outputs(kernel, name)


def test_the_same_failure_is_reported(both):
    (_, here), (_, kernel) = both
    assert here == kernel and here[:2] == ("ValueError", "bad bar")


def test_the_notebook_keeps_times_and_language(both):
    (here, _), (kernel, _) = both
    assert here.metadata.papermill.exception is True and here.metadata.papermill.duration > 0
    assert here.metadata.language_info.name == kernel.metadata.language_info.name
    for cell in here.cells:
        if cell.metadata.get("papermill", {}).get("status") == "completed":
            assert cell.metadata.papermill.duration >= 0


def test_cells_after_a_failure_stay_pending(both):
    (here, _), _ = both
    assert [status for _, status, _, _ in outputs(here, "pending")] == ["pending"]


def test_the_process_is_as_before(tmp_path):
    from IPython.core.interactiveshell import InteractiveShell

    before = sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.modules["__main__"], InteractiveShell._instance
    run("inprocess", tmp_path, {"one": ["1"]})
    assert before == (sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.modules["__main__"], InteractiveShell._instance)


def test_two_runs_share_no_names(tmp_path):
    run("inprocess", tmp_path, {"first": ["kept = 1"]})
    book, _ = run("inprocess", tmp_path, {"second": ["'kept' in globals()"]})
    assert book.cells[-1].outputs[0].data["text/plain"] == "False"


def test_a_cell_may_raise_when_it_says_so(tmp_path):
    nb = notebook({"raises": ["1/0"], "goes on": ["print('still here')"]})
    nb.cells[-2].metadata.tags = ["raises-exception"]
    nbformat.write(nb, tmp_path / "in.ipynb")
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", engine_name="inprocess", progress_bar=False)
    assert nbformat.read(tmp_path / "out.ipynb", 4).cells[-1].outputs[0].text == "still here\n"


def test_neither_kernel_nor_pandas_is_imported(tmp_path):
    nbformat.write(notebook({"one": ["1"]}), tmp_path / "in.ipynb")
    code = (
        "import papermill, sys; papermill.execute_notebook('in.ipynb', 'out.ipynb', engine_name='inprocess', progress_bar=False);"
        "print(sorted({'ipykernel', 'pandas', 'matplotlib', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
