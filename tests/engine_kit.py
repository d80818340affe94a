"Notebooks run by both papermill engines, for tests: what the cells are, and what a run left behind."

import io
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
INTERRUPT = "import os, signal, time\nprint('before'); os.kill(os.getpid(), signal.SIGINT)\n"

# name: the cells that show it. All of them run in one notebook, as a kernel costs seconds; the last one fails on purpose.
# Those under a name that begins with `!` raise and are tagged so, which lets the notebook go on. `~`: a kernel keeps the order within
# stdout and within stderr, not between them, shows other lines around these errors, and calls the interrupt of an await CancelledError.
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
    "input is refused": [
        "try: input('?')\nexcept Exception as e: print(type(e).__name__)",
        "import getpass\ntry: getpass.getpass()\nexcept Exception as e: print(type(e).__name__)",
    ],
    "~streams, mixed": [
        "for i in range(3): print(i); print(-i, file=sys.stderr)",
        "print('no end', end=''); print('err', end='', file=sys.stderr)",
    ],
    "many lines": ["for i in range(500): print(i)"],
    "carriage return": ["print('half\\rwhole')"],
    "thread": ["import threading\nt = threading.Thread(target=lambda: print('from a thread')); t.start(); t.join()"],
    "warning": ["import warnings\nwarnings.warn('mind')"],
    "logging": ["import logging\nlogging.getLogger('x').warning('careful')"],
    "a stream's nature": ["sys.stdout.isatty(), sys.stdout.encoding.lower(), sys.stdout.writable()"],
    "latex and math": [
        "from IPython.display import Latex, Math, SVG\ndisplay(Latex(r'$x^2$'), Math('y'))",
        "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')",
    ],
    "png": [f"import base64\nfrom IPython.display import Image\nImage(base64.b64decode('{PIXEL}'))"],
    "object with png": [
        f"class Pic:\n    def _repr_png_(self): return base64.b64decode('{PIXEL}')\n    def __repr__(self): return 'pic'\nPic()"
    ],
    "metadata of a display": ["display({'text/plain': 'x'}, metadata={'text/plain': {'k': 1}}, raw=True)"],
    "one display id twice": ["display('old', display_id='two')", "display('new', display_id='two')"],
    "update of nothing": ["from IPython.display import update_display\nupdate_display('x', display_id='none')"],
    "clear output, waiting for nothing": ["print('stays'); clear_output(wait=True)"],
    "clear output, then a display": ["display('gone'); clear_output(wait=True); display('kept')"],
    "background task": ["task = asyncio.get_running_loop().create_task(asyncio.sleep(0.01, 'done'))", "await task"],
    "%%time": ["%%time\nprint('timed')", "%time 1 + 1"],
    "capture of a display": ["%%capture held\ndisplay('captured'); print('text')", "held.show()"],
    "%%bash": ["%%bash\necho from bash"],
    "shell failure": ["!exit 3", "_exit_code"],
    "%%writefile and %run": ["%%writefile {folder}/part.py\nprint('part')", "%run {folder}/part.py"],
    "a question mark": ["?len"],
    "!an error in a library": ["json_text = '{'\nimport json; json.loads(json_text)"],
    "!~one error from another": ["try: 1 / 0\nexcept ZeroDivisionError as e: raise ValueError('worse') from e"],
    "!a syntax error": ["x = ("],
    "!an unknown name": ["print(nothing_of_that_name)"],
    "!an unknown magic": ["%no_such_magic"],
    "!~an object that cannot be shown": ["class Bad:\n    def __repr__(self): raise ValueError('no form')\nBad()"],
    "!an exit": ["sys.exit(3)"],
    "!an error after an await": ["await asyncio.sleep(0); raise KeyError('late')"],
    "!an interrupt": [INTERRUPT + "time.sleep(20); print('never')", "print('goes on')"],
    "!~an interrupt of an await": [INTERRUPT + "await asyncio.sleep(20); print('never')"],
    "widgets": [
        "import ipywidgets as w\nslider = w.IntSlider(3, description='n'); box = w.HBox([slider, w.Label('x')]); box",
        "slider.value = 7; slider.value",
        "display(slider)",
        f"w.Image(value=base64.b64decode('{PIXEL}'))",
    ],
    "widget that takes up outputs": [
        "out = w.Output(); display(out)",
        "with out:\n    print('into'); print('the widget'); display('shown')\nprint('into the cell')",
    ],
    "widget that takes up an error": ["bad = w.Output()\nwith bad: raise ValueError('inside')\nprint('went on')"],
    "widget cleared": ["wiped = w.Output()\nwith wiped: print('gone')\nwiped.clear_output()\nwith wiped: print('kept')"],
    "interact": ["w.interact(lambda n: print('n is', n), n=(0, 9));"],
    "bokeh": [
        "from bokeh.io import output_notebook, show\nfrom bokeh.plotting import figure\noutput_notebook(hide_banner=True)",
        "p = figure(height=100); p.line([1, 2], [3, 4]); show(p)",
    ],
    "error": ["def broken():\n    print('so far'); raise ValueError('bad bar')\nbroken()"],
    "pending": ["print('never')"],
}


def notebook(sources: dict[str, list[str]], folder: object = "."):
    first = new_code_cell("window = 1\nlabel = ''")
    first.metadata.tags = ["parameters"]
    cells = [new_markdown_cell("# Behaviours"), first, new_code_cell("  ")]
    for name, lines in sources.items():
        for source in lines:
            cell = new_code_cell(source.replace("{folder}", str(folder)))
            cell.metadata.shows = name
            if name.startswith("!"):
                cell.metadata.tags = ["raises-exception"]
            cells.append(cell)
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


class Run:
    "One run: the notebook as it was kept, the failure, and what was told beside the notebook."

    failure: Any = None

    def __init__(self, engine: str | None, folder, sources=BEHAVIOURS, **options):
        source, target = folder / "in.ipynb", folder / "out.ipynb"
        nbformat.write(notebook(sources, folder), source)
        self.stdout, self.stderr, self.bar = io.StringIO(), io.StringIO(), io.StringIO()
        self.told = Told()
        logging.getLogger("papermill").addHandler(self.told)
        usual = dict(progress_bar=dict(file=self.bar, mininterval=0), log_output=True, stdout_file=self.stdout, stderr_file=self.stderr)
        level = logging.getLogger("papermill").level
        logging.getLogger("papermill").setLevel(logging.INFO)
        try:
            parameters = dict(window=5, label='it\'s "so"')
            papermill.execute_notebook(source, target, parameters, engine_name=engine, **{**usual, **options})
        except papermill.PapermillExecutionError as error:
            self.failure = (error.ename, error.evalue, error.cell_index, error.exec_count)
        except CellTimeoutError as error:
            self.failure = error
        finally:
            logging.getLogger("papermill").removeHandler(self.told)
            logging.getLogger("papermill").setLevel(level)
        self.book = nbformat.read(target, 4)


class Told(logging.Handler):
    "What papermill's logger was told, by level."

    def __init__(self):
        super().__init__()
        self.said = {logging.INFO: "", logging.WARNING: ""}

    def emit(self, record):
        self.said[record.levelno] = self.said.get(record.levelno, "") + record.getMessage()


def main(folder: Path, *engines: str) -> None:
    "Run the table with each engine in this process, which no test has touched, and keep what came of it."
    for engine in engines:
        (folder / engine).mkdir()
        made = Run(None if engine == "kernel" else engine, folder / engine)
        kept = dict(
            failure=made.failure, stdout=made.stdout.getvalue(), stderr=made.stderr.getvalue(), bar=made.bar.getvalue(), told=made.told.said
        )
        (folder / engine / "run.pickle").write_bytes(pickle.dumps(kept))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
