"The repository's own tools: notebooks are executed, cleaned and judged, and checks report what is red."
import json
import subprocess
import sys
from pathlib import Path

import check
import nbformat
import notebooks
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent


def notebook(path: Path, **cells: str) -> Path:
    "A notebook of the given cells, by their ids."
    code = [new_code_cell(source, id=name) for name, source in cells.items()]
    nb = new_notebook(cells=[new_markdown_cell("# Page", id="title"), *code])
    path.write_text(notebooks.text_of(notebooks.clean(nb)))
    return path


def tool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "tools" / "notebooks.py", *arguments], capture_output=True, text=True, timeout=60)


def test_running_in_place_keeps_the_small_outputs(tmp_path):
    page = notebook(tmp_path / "page.ipynb", sum="1 + 1", text="print('hello')", off="#| eval: false\n1 / 0", here="import os; os.getcwd()")
    answer = tool("run", page)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    outputs = {cell.id: cell.outputs for cell in nbformat.read(page, 4).cells if cell.cell_type == "code"}
    assert outputs["sum"][0].data["text/plain"] == "2"
    assert outputs["text"][0].text == "hello\n"
    assert outputs["off"] == []
    assert Path(outputs["here"][0].data["text/plain"].strip("'")) == tmp_path
    assert notebooks.complaints(page) == []


def test_plots_go_in_place_and_stay_in_a_copy(tmp_path):
    plot = "from IPython.display import HTML\nHTML('<div class=\"bokeh\"></div>')"
    page = notebook(tmp_path / "page.ipynb", plot=plot)
    assert tool("run", "--to", tmp_path / "site", page).returncode == 0
    assert nbformat.read(tmp_path / "site" / "page.ipynb", 4).cells[1].outputs
    assert tool("run", page).returncode == 0
    assert nbformat.read(page, 4).cells[1].outputs == []


def test_a_failing_cell_is_named_and_nothing_is_written(tmp_path):
    page = notebook(tmp_path / "page.ipynb", good="x = 1", broken="x / 0", after="x")
    before = page.read_text()
    answer = tool("run", page)
    assert answer.returncode == 1
    assert "cell broken" in answer.stdout
    assert "ZeroDivisionError: division by zero" in answer.stdout
    assert page.read_text() == before


@pytest.mark.parametrize("source", ["import time; time.sleep(30)", "await __import__('asyncio').sleep(30)", "while True: pass"])
def test_a_cell_that_hangs_is_ended(tmp_path, source):
    answer = tool("test", "--cell-timeout", "1", notebook(tmp_path / "page.ipynb", slow=source))
    assert answer.returncode == 1
    assert "cell slow" in answer.stdout
    assert "Timed out after 1s" in answer.stdout


def test_a_notebook_that_kills_its_process_is_reported(tmp_path):
    answer = tool("test", notebook(tmp_path / "page.ipynb", exit="import os; os._exit(7)"))
    assert answer.returncode == 1
    assert "exit code 7" in answer.stdout


def test_a_missing_notebook_is_one_sentence(tmp_path):
    answer = tool("run", tmp_path / "none.ipynb")
    assert answer.returncode == 1
    assert answer.stderr.startswith("notebooks: ") and "does not exist" in answer.stderr


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda nb: nb["cells"][1].update(execution_count=3), "execution count"),
    (lambda nb: nb["cells"][1].update(id="title"), "twice"),
    (lambda nb: nb["cells"][1].update(id="Sum_Of"), "small letters"),
    (lambda nb: nb["cells"][1].update(outputs=[new_output("display_data", {"image/png": "AAAA"})]), "plot"),
    (lambda nb: nb["cells"][1].update(outputs=[new_output("stream", text=f"in {ROOT}")]), "address"),
    (lambda nb: nb["metadata"].update(editor="mine"), "is not written line by line"),
])
def test_what_does_not_belong_into_git_is_named(tmp_path, spoil, words):
    page = notebook(tmp_path / "page.ipynb", sum="1 + 1")
    raw = json.loads(page.read_text())
    assert notebooks.complaints(page) == []
    spoil(raw)
    page.write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n")
    assert words in "\n".join(notebooks.complaints(page))


def test_cleaning_keeps_the_tag_that_papermill_reads(tmp_path):
    nb = new_notebook(cells=[new_code_cell("n = 1", id="parameters", metadata={"tags": ["parameters"], "collapsed": True})])
    assert notebooks.clean(nb).cells[0].metadata == {"tags": ["parameters"]}


def test_pytests_closing_line_is_found():
    output = "...\n1 passed is no summary of its own\n========= 12 passed, 1 skipped in 3.40s =========\n"
    assert check.closing_line(output) == "========= 12 passed, 1 skipped in 3.40s ========="
    assert check.closing_line("crashed") == ""


def test_what_was_skipped_says_why():
    some = "SKIPPED [2] tests/test_lab.py:30: JupyterLab's tests need chromium (apt-get install chromium)\n1 passed, 2 skipped in 1s"
    assert check.skipped([some, some, "3 passed"]) == {"JupyterLab's tests need chromium (apt-get install chromium)": 4}


def test_an_unknown_check_is_refused():
    with pytest.raises(SystemExit, match="no check called speed"): check.chosen(["speed"])


def test_a_red_check_shows_its_output_and_a_green_one_none(monkeypatch, capsys):
    red = check.Check("red", "fails", (sys.executable, "-c", "print('the reason'); raise SystemExit(3)"))
    green = check.Check("green", "passes", (sys.executable, "-c", "print('chatter')"))
    monkeypatch.setattr(check, "CHECKS", (red, green))
    assert check.main([]) == 1
    shown = capsys.readouterr().out
    assert "the reason" in shown and "red: red" in shown and "chatter" not in shown
    assert check.main(["green"]) == 0
    assert "all green" in capsys.readouterr().out


def test_thumbnails_are_what_the_units_draw_now():
    done = subprocess.run([sys.executable, ROOT / "tools" / "thumbnails.py", "check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
