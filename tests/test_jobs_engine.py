"The in-process engine beside papermill's kernel engine: one table of behaviours, the same notebooks."

import json
import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError

from tests.engine_kit import BEHAVIOURS, INTERRUPT, Run, notebook

WIDGETS = "application/vnd.jupyter.widget-state+json"

pytestmark = pytest.mark.timeout(400)      # a kernel that hangs is given up and started anew


def run(engine: str | None, folder, sources: dict[str, list[str]], **options):
    made = Run(engine, folder, sources, **options)
    return made.book, made.failure


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    pytest.importorskip("ipykernel", reason="the kernel to compare with is a research tool")
    pytest.importorskip("ipywidgets", reason="widgets are a research tool")
    return tuple(Kept(ran(tmp_path_factory.mktemp("engines"), engine)) for engine in ("inprocess", "kernel"))


def ran(folder: Path, engine: str, tries: int = 3) -> Path:
    "Where the table's run lies. A kernel now and then never answers a cell with an Output widget: it is asked again, our engine is not."
    command = [sys.executable, "-m", "tests.engine_kit", str(folder), engine]
    root = Path(__file__).parent.parent
    try:
        done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        if engine != "kernel" or tries == 1:
            raise
        shutil.rmtree(folder / engine)
        return ran(folder, engine, tries - 1)
    assert done.returncode == 0 and "Exception ignored" not in done.stderr, done.stderr[-3000:]
    return folder / engine


class Kept:
    "What a run in another process left behind."

    failure: object
    told: dict[int, str]

    def __init__(self, folder):
        self.book = nbformat.read(folder / "out.ipynb", 4)
        self.__dict__.update(pickle.loads((folder / "run.pickle").read_bytes()))


def unlike(text: str) -> str:
    "Text without what differs from run to run: addresses, ids, times taken, files of cells, folders, colours of a traceback."
    text = re.sub(r"IPY_MODEL_[0-9a-f]{32}", "MODEL", re.sub(r"0x[0-9a-f]+", "0x", text))
    text = re.sub(r"p\d{4,}|[0-9a-f]{8}-[0-9a-f-]{27}|\w*ce[0-9a-f]{30}\w*|[0-9a-f]{32}", "ID", text)
    text = re.sub(r"(Compiler|Parser) *: [^\n\\]*(\n|\\n)", "", text)  # told where they took long
    text = re.sub(r"(CPU times|Wall time)(: [^\n\\]*)", r"\1: TIME", text)
    text = re.sub(r"/\S*/ipykernel_\d+/\d+\.py|<ipython-input-[^>]*>", "CELL", text)
    text = re.sub(r"\((CELL|\d+\.py), line", "(CELL, line", text)
    return re.sub(r"/\S*/(inprocess|kernel)(?=/|\b)", "FOLDER", text)


def plain(output: dict) -> dict:
    "An output without what differs from run to run."
    kept = json.loads(unlike(json.dumps(output, sort_keys=True, ensure_ascii=False)))
    if kept["output_type"] == "error":
        kept["traceback"] = [re.sub(r"\\?\x1b\[[0-9;]*m", "", line) for line in kept["traceback"]]
    return kept


def roughly(found: list[dict]) -> list[dict]:
    "The text of each stream, and of errors the last line."
    text = {name: "".join(o["text"] for o in found if o.get("name") == name) for name in ("stdout", "stderr")}
    last = [o["traceback"][-1].replace("CancelledError", "KeyboardInterrupt") for o in found if o["output_type"] == "error"]
    return [*({"text": line} for line in text.values()), *({"error": line} for line in last)]


def outputs(book, name: str) -> list[tuple]:
    found: list[tuple] = []
    for cell in (cell for cell in book.cells if cell.metadata.get("shows") == name):
        merged: list[dict] = []
        for output in map(plain, cell.outputs):
            if merged and output["output_type"] == "stream" == merged[-1]["output_type"] and output["name"] == merged[-1]["name"]:
                merged[-1]["text"] += output["text"]
            else:
                merged.append(output)
        if "~" in name:
            merged = roughly(merged)
        found.append((cell.execution_count, cell.metadata.papermill.status, cell.metadata.papermill.exception, merged))
    return found


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_cell_puts_out_what_it_does_with_a_kernel(name, both):
    here, kernel = both
    assert outputs(here.book, name) == outputs(kernel.book, name)


def test_the_table_ran_to_its_end(both):
    for one in both:
        ran = [
            cell.metadata.shows
            for cell in one.book.cells
            if cell.metadata.get("papermill", {}).get("status") != "pending" and "shows" in cell.metadata
        ]
        assert set(ran) == set(BEHAVIOURS) - {"pending"}


def test_the_same_failure_is_reported(both):
    here, kernel = both
    assert here.failure == kernel.failure and here.failure[:2] == ("ValueError", "bad bar")


def test_the_notebook_keeps_times_and_language(both):
    here, kernel = both
    assert here.book.metadata.papermill.exception is True and here.book.metadata.papermill.duration > 0
    assert here.book.metadata.papermill.keys() == kernel.book.metadata.papermill.keys()
    assert {k: v for k, v in here.book.metadata.language_info.items()} == {k: v for k, v in kernel.book.metadata.language_info.items()}
    for ours, theirs in zip(here.book.cells, kernel.book.cells, strict=True):
        facts, others = ours.metadata.get("papermill"), theirs.metadata.get("papermill")
        if facts is None or others is None:
            assert facts is others and "papermill-error-cell-tag" in ours.metadata.tags
            continue
        assert {k: type(v) for k, v in facts.items()} == {k: type(v) for k, v in others.items()} and facts.status == others.status
        if facts.duration is not None:
            took = datetime.fromisoformat(facts.end_time) - datetime.fromisoformat(facts.start_time)
            assert facts.duration == took.total_seconds() >= 0


def test_the_same_is_told_beside_the_notebook(both):
    here, kernel = both
    assert unlike(here.stdout) == unlike(kernel.stdout) and unlike(here.stderr) == unlike(kernel.stderr)
    ours, theirs = (sorted(re.sub(r"\s", "", unlike(text)) for text in one.told[logging.WARNING].splitlines()) for one in both)
    assert ours == theirs
    cells = [re.findall(r"(?:Executing|Ending) Cell \d+", one.told[logging.INFO]) for one in both]
    assert cells[0] == cells[1] and len(cells[0]) > 100
    for text in ("499", "from a thread", "<IPython.core.display.Latex object>"):
        assert all(text in one.told[logging.INFO] for one in both)


def test_the_progress_bar_counts_every_cell(both):
    ends = [re.findall(r"(\d+)/(\d+) ", one.bar)[-1] for one in both]
    cells = [c for c in both[0].book.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    assert ends[0] == ends[1] == (str(len(cells) - 1), str(len(cells)))  # all but the pending one


def test_widgets_keep_their_states(both):
    ours, theirs = (one.book.metadata.widgets[WIDGETS] for one in both)
    assert (ours["version_major"], ours["version_minor"]) == (theirs["version_major"], theirs["version_minor"]) == (2, 0)
    models = [sorted(plain_model(model) for model in states["state"].values()) for states in (ours, theirs)]
    assert models[0] == models[1] and len(models[0]) > 20
    sliders = [
        m["state"]["value"] for m in ours["state"].values() if m["model_name"] == "IntSliderModel" and m["state"]["description"] == "n"
    ]
    assert 7 in sliders and any("buffers" in model for model in ours["state"].values())
    [kept] = [m["state"]["outputs"] for m in ours["state"].values() if "the widget" in json.dumps(m["state"].get("outputs", ""))]
    assert [o["output_type"] for o in kept] == ["stream", "display_data"]


def plain_model(model: dict) -> str:
    "A model's state as text, without ids and colours."
    return re.sub(r"\\u001b\[[0-9;]*m", "", unlike(json.dumps(model, sort_keys=True)))


def test_a_page_made_of_the_notebook_shows_the_widgets(both):
    from nbconvert.exporters import HTMLExporter

    html, _ = HTMLExporter().from_notebook_node(both[0].book)
    assert "application/vnd.jupyter.widget-view+json" in html and '"IntSliderModel"' in html


def test_a_cell_past_its_time_is_ended_as_by_the_kernel_engine(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "kernel").mkdir()
    slow = {
        "quick": ["print('quick')"],
        "slow": ["import time\nprint('began')\ntry: time.sleep(30)\nexcept Exception: print('swallowed')"],
        "next": ["1"],
    }
    runs = [Run(engine, tmp_path / name, slow, execution_timeout=1) for engine, name in (("inprocess", "here"), (None, "kernel"))]
    for one in runs:
        assert type(one.failure) is CellTimeoutError and "after 1 seconds" in str(one.failure) and "time.sleep(30)" in str(one.failure)
        assert outputs(one.book, "quick")[0][3] == [dict(name="stdout", output_type="stream", text="quick\n")]
        assert outputs(one.book, "slow")[0][3][0]["text"] == "began\n"
    here = runs[0].book
    assert here.metadata.papermill.exception is True
    assert [(c.metadata.papermill.status, c.get("execution_count")) for c in here.cells[-2:]] == [("failed", 4), ("pending", None)]
    assert here.cells[-2].outputs[-1].ename == "CellTimeout" and "line 3" in str(here.cells[-2].outputs[-1].traceback)


@pytest.mark.parametrize(
    "cell",
    [
        "import time\nwhile True: pass",
        "import asyncio\nawait asyncio.sleep(30)",
        "import time\nfor _ in range(2):\n    try: time.sleep(30)\n    except BaseException: pass",
    ],
)
def test_busy_waiting_and_stubborn_cells_are_ended(tmp_path, cell):
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]
    began = time.monotonic()
    made = Run("inprocess", tmp_path, {"slow": [cell]}, execution_timeout=0.5)
    stubborn = "BaseException" in cell
    assert time.monotonic() - began < 20 and (stubborn or type(made.failure) is CellTimeoutError)
    assert signal.getsignal(signal.SIGALRM) == before[0]


def test_an_interrupted_run_is_saved_with_what_follows_pending(tmp_path):
    made = Run("inprocess", tmp_path, {"first": ["print('first')"], "hit": [INTERRUPT + "time.sleep(30)"], "next": ["print('never')"]})
    assert made.failure[0] == "KeyboardInterrupt"
    assert [outputs(made.book, name)[0][1] for name in ("first", "hit", "next")] == ["completed", "failed", "pending"]
    assert outputs(made.book, "first")[0][3][0]["text"] == "first\n" and made.book.metadata.papermill.exception is True


async def test_a_notebook_runs_inside_of_an_event_loop_and_on_a_thread(tmp_path):
    sources = {"one": ["import asyncio\nprint(await asyncio.sleep(0, 'slept'))"]}
    (tmp_path / "thread").mkdir()
    book, failure = run("inprocess", tmp_path, sources)
    assert failure is None and book.cells[-1].outputs[0].text == "slept\n"
    found: list = []
    thread = threading.Thread(target=lambda: found.append(run("inprocess", tmp_path / "thread", sources)))
    thread.start()
    thread.join(30)
    assert found[0][1] is None and found[0][0].cells[-1].outputs[0].text == "slept\n"


def test_a_notebook_learns_where_its_files_go(tmp_path, monkeypatch):
    monkeypatch.delenv("JOB_FOLDER", raising=False)
    run("inprocess", tmp_path, {"keep": ["from runners.jobs.record import keep\nkeep('note.txt', 'kept')"]})
    assert (tmp_path / "note.txt").read_text() == "kept" and "JOB_FOLDER" not in os.environ
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ipynb", "note.txt", "out.ipynb"]


def test_cells_after_a_failure_stay_pending(both):
    assert [status for one in both for _, status, _, _ in outputs(one.book, "pending")] == ["pending"] * 2


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
