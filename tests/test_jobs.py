"Jobs as a user meets them: parameters, limits, what is kept, and one sentence for every mistake."

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from runners.errors import ConfigError
from runners.jobs.catalog import find, names
from runners.jobs.launch import launch
from runners.jobs.parameters import check, declared

PERPS_KIT = [sys.executable, "-c", "from runners.cli import main; main()", "jobs"]
PLOT = """
from bokeh.io import output_notebook, show
from bokeh.plotting import figure
from runners.jobs.record import record
output_notebook(hide_banner=True)
p = figure(height=120); p.line([1, 2, 3], [days, 3, 2]); show(p)
record(days=days, none=float('nan'))
"""


def make(
    folder: Path, *cells: str, parameters: str = "days: int = 1       # how many\nlabel = 'x'\nshare = 0.5\nfull = False", name: str = "toy"
) -> Path:
    tagged = new_code_cell(parameters)
    tagged.metadata.tags = ["parameters"]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nb = new_notebook(
        cells=[new_markdown_cell("# Toy\n\n> A small job."), tagged, *map(new_code_cell, cells)], metadata={"kernelspec": kernel}
    )
    path = folder / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path


def perps_kit(*args: object, cwd: Path | None = None, **options) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PERPS_KIT, *map(str, args)], capture_output=True, text=True, timeout=60, cwd=cwd, **options)


def ended(pid: int) -> bool:
    "Whether a process is gone, or a zombie that nobody has buried, within two seconds."
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_a_job_keeps_its_notebook_its_page_and_its_result(tmp_path):
    done = perps_kit("run", make(tmp_path, PLOT), "-p", "days=7", "--out", tmp_path / "out {x}", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "done" and result["error"] is None and result["values"] == {"days": 7, "none": "nan"}
    assert result["parameters"] == {"days": 7, "label": "x", "share": 0.5, "full": False}
    assert json.loads((tmp_path / "out {x}" / "result.json").read_text()) == result
    assert sorted(path.name for path in (tmp_path / "out {x}").iterdir()) == ["log.txt", "result.json", "toy.html", "toy.ipynb"]
    book = nbformat.read(result["notebook"], 4)
    assert [cell.source for cell in book.cells if "injected-parameters" in cell.metadata.get("tags", [])] == ["# Parameters\ndays = 7\n"]


def test_the_page_asks_nothing_of_the_network(tmp_path):
    result = launch(find(str(make(tmp_path, PLOT))), [], tmp_path / "out")
    html = Path(result["page"]).read_text()
    head, _, rest = html.rpartition("</head>")
    assert "default-src 'none'" in head and "Bokeh" in head
    for sign in ("src=", 'href="http', "@import", "url(http"):
        assert sign not in rest, sign
    assert '<link rel="stylesheet"' not in html and "<script src" not in html


def test_a_failing_job_says_which_cell_and_keeps_what_it_had(tmp_path):
    done = perps_kit(
        "run", make(tmp_path, "print('before')", "raise ValueError('bad <b>bar</b>\\nmore')", "print('never')"), "--out", tmp_path / "out"
    )
    assert done.returncode == 1
    assert done.stderr == "perps-kit: toy failed in cell 3: ValueError: bad <b>bar</b>\n"
    html = (tmp_path / "out/toy.html").read_text()
    assert "before" in html and "<b>bar</b>" not in html and "never" not in html.partition("output_error")[2].partition("</div>")[0]


def test_a_hanging_job_is_ended_with_all_that_it_started(tmp_path):
    hang = "import subprocess, time\nchild = subprocess.Popen(['sleep', '300'])\nopen('child', 'w').write(str(child.pid))\ntime.sleep(300)"
    began = time.monotonic()
    done = perps_kit("run", make(tmp_path, "print('so far')", hang), "--timeout", 10, "--out", tmp_path / "out", "--json", cwd=tmp_path)
    assert done.returncode == 1 and time.monotonic() - began < 50
    result = json.loads(done.stdout)
    assert result["status"] == "stopped" and result["error"]["cell"] == 3
    assert "so far" in Path(result["page"]).read_text()
    assert "line 4 in <module>" in Path(result["log"]).read_text()
    assert ended(int((tmp_path / "child").read_text()))


def test_an_interrupted_command_leaves_no_job_behind(tmp_path):
    path = make(tmp_path, "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(300)")
    process = subprocess.Popen(
        [*PERPS_KIT, "run", str(path), "--out", str(tmp_path / "out")], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    assert ended(int((tmp_path / "pid").read_text()))


def test_a_job_that_kills_its_process_is_reported(tmp_path):
    result = launch(find(str(make(tmp_path, "import os; os._exit(7)"))), [], tmp_path / "out")
    assert result["status"] == "died" and "code 7" in result["error"]["message"]


@pytest.mark.parametrize(
    "given, sentence",
    [
        ("dais=3", "toy has no parameter 'dais': did you mean days?"),
        ("zzz=3", "toy has no parameter 'zzz': it takes days, label, share, full"),
        ("days", "write a parameter as name=value, not 'days'"),
        ("days=3.5", "parameter days is an int, not '3.5': its default is 1"),
        ("share=much", "parameter share is a float, not 'much': its default is 0.5"),
        ("share=nan", "parameter share must be a finite number, not 'nan'"),
        ("full=maybe", "parameter full is a bool, not 'maybe': its default is False"),
        ("days=1;import os", "parameter days is an int"),
        ("x=1;open('pwned','w')#=2", "toy has no parameter 'x'"),
        (
            "api_key=abc",
            "'api_key' looks like a secret, and parameters are written into the output notebook: set it in the environment instead",
        ),
        ("TELEGRAM_TOKEN=abc", "looks like a secret"),
        ("db_password=abc", "looks like a secret"),
        ("label=postgresql://me:word@host/db", "holds a password"),
    ],
)
def test_a_wrong_parameter_is_one_sentence_and_writes_nothing(tmp_path, given, sentence):
    with pytest.raises(ConfigError) as refused:
        launch(find(str(make(tmp_path, "1"))), [given], tmp_path / "out")
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_command_line_exits_with_2_and_the_sentence(tmp_path):
    for args, sentence in [
        (("run", "dayly_report"), "did you mean daily_report?"),
        (("run", "x.ipynb"), "there is no notebook at x.ipynb"),
        (("run", make(tmp_path, "1"), "-p", "days=x"), "parameter days is an int"),
        (("show", "nothing_like_it"), "there is no job"),
        (("run", tmp_path / "toy.ipynb", "--timeout", "0"), "time limit"),
        (("run", tmp_path / "toy.ipynb", "--out", tmp_path), "choose another folder"),
    ]:
        done = perps_kit(*args, cwd=tmp_path)
        assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1 and not done.stdout, (args, done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.ipynb"]


def test_values_are_read_by_their_declared_type(tmp_path):
    job = find(str(make(tmp_path, "1")))
    assert check(["days=3", "share=2", "full=yes", "label=a=b 'c' \"d\"\\"], job.parameters, "toy") == {
        "days": 3,
        "share": 2.0,
        "full": True,
        "label": "a=b 'c' \"d\"\\",
    }
    assert [(p.name, p.kind, p.default, p.help) for p in job.parameters][0] == ("days", "int", 1, "how many")


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("x = compute()", "line 1 of its parameters cell"),
        ("x: list = []", "line 1"),
        ("x = [1]", "line 1"),
        ("import os", "line 1"),
        ("ok = 1\ntoken = ''", "declares token"),
        ("x: int", "line 1"),
    ],
)
def test_a_notebook_may_declare_only_plain_parameters(tmp_path, source, sentence):
    with pytest.raises(ConfigError, match=sentence):
        find(str(make(tmp_path, "1", parameters=source)))


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "bad.ipynb").write_text("<html>")
    with pytest.raises(ConfigError, match="cannot be read as a notebook"):
        find(str(tmp_path / "bad.ipynb"))


def test_jobs_are_listed_and_shown():
    assert "daily_report" in names()
    listed = json.loads(perps_kit("ls", "--json").stdout)
    assert [job["name"] for job in listed] == names()
    shown = json.loads(perps_kit("show", "daily_report", "--json").stdout)
    assert {p["name"] for p in shown["parameters"]} >= {"until", "days"}


@pytest.mark.parametrize("path", sorted((Path(__file__).parent.parent / "runners/jobs").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_job_declares_well_and_keeps_no_output(path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    assert declared(book) and find(path.stem).summary
    assert all(not cell.outputs for cell in book.cells if cell.cell_type == "code")
