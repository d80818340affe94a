"A papermill engine without a kernel: cells run in an IPython shell inside this process, which needs neither ipykernel nor pandas."

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nbformat
from execnb.shell import CaptureShell
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from papermill.engines import Engine

LANGUAGE = {
    "name": "python",
    "version": sys.version.split()[0],
    "mimetype": "text/x-python",
    "file_extension": ".py",
    "pygments_lexer": "ipython3",
    "nbconvert_exporter": "python",
    "codemirror_mode": {"name": "ipython", "version": 3},
}


def node(**fields: Any) -> Any:
    "A notebook's node, which is what papermill writes."
    return nbformat.from_dict(fields)


class Tape:
    "What one cell puts out, as notebook outputs in the order in which they came."

    count = 0  # the running cell's execution count

    def __init__(self) -> None:
        self.outputs: list[dict] = []
        self.named: list[tuple[str, dict]] = []  # display_id and the output shown under it, over all cells so far
        self.clear_next = False
        self.save: Callable[[], None] = lambda: None

    def start(self, count: int) -> list[dict]:
        self.outputs, self.clear_next, self.count = [], False, count
        return self.outputs

    def add(self, output: dict) -> None:
        if self.clear_next:
            self.clear()
        last = self.outputs[-1] if self.outputs else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            self.outputs.append(output)
        self.save()

    def clear(self, wait: bool = False) -> None:
        self.clear_next = wait
        if not wait:
            self.outputs.clear()

    def show(self, kind: str, data: dict, metadata: dict | None, transient: dict | None = None, update: bool = False, **more: Any) -> None:
        shown = node(data=data, metadata=metadata or {})
        name = (transient or {}).get("display_id")
        if update:
            for output in (output for known, output in self.named if known == name):
                output.update(shown)
            return
        shown.update(output_type=kind, **more)
        if name:
            self.named.append((name, shown))
        self.add(shown)


class Stream(io.TextIOBase):
    "stdout or stderr of a cell."

    encoding = "utf-8"

    def __init__(self, name: str, tape: Tape) -> None:
        self.name, self.tape = name, tape

    def write(self, text: str) -> int:
        if text:
            self.tape.add(node(output_type="stream", name=self.name, text=text))
        return len(text)

    def writable(self) -> bool:
        return True


class Publisher(DisplayPublisher):
    "`display(...)` inside a cell."

    shell: Any

    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **_) -> None:
        self.shell.tape.show("display_data", data, metadata, transient, update)

    def clear_output(self, wait: bool = False) -> None:
        self.shell.tape.clear(wait)


class Hook(DisplayHook):
    "The value of a cell's last line."

    shell: Any

    def write_output_prompt(self) -> None: ...

    def log_output(self, format_dict) -> None: ...

    def write_format_data(self, format_dict, md_dict=None) -> None:
        self.shell.tape.show("execute_result", format_dict, md_dict, execution_count=self.shell.tape.count)


class Shell(CaptureShell):
    "execnb's shell, keeping the order of streams and displays as a kernel does."

    displayhook_class = Hook

    def __init__(self) -> None:
        self.tape = Tape()
        super().__init__(mpl_format=None)

    def init_display_pub(self) -> None:
        self.display_pub = Publisher(parent=self, shell=self)

    @contextmanager
    def _captured(self, *_: Any, **__: Any) -> Iterator[Any]:
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = Stream("stdout", self.tape), Stream("stderr", self.tape)
        try:
            with super()._captured(stdout=False, stderr=False, display=False) as silent:
                yield silent
        finally:
            sys.stdout, sys.stderr = out, err

    def record(self, source: str) -> bool:
        "Run one cell onto the tape; whether it failed."
        failure = asyncio.run_coroutine_threadsafe(self._run_async(source, store_history=True), self.loop).result().exception
        if failure is not None:
            lines = self.InteractiveTB.structured_traceback(type(failure), failure, failure.__traceback__)
            self.tape.add(node(output_type="error", ename=type(failure).__name__, evalue=str(failure), traceback=list(lines)))
        return failure is not None


@contextmanager
def home() -> Iterator[None]:
    "IPYTHONDIR for a while: the one that is set, or a folder that goes away."
    if "IPYTHONDIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ipython-") as folder:
        os.environ["IPYTHONDIR"] = folder
        try:
            yield
        finally:
            del os.environ["IPYTHONDIR"]


@contextmanager
def shell() -> Iterator[Shell]:
    "A shell with no profile or history; the process is afterwards as it was before."
    before, main, hook = InteractiveShell._instance, sys.modules["__main__"], sys.displayhook
    with home():
        made = Shell()
        try:
            yield made
        finally:
            made.restore_sys_module_state()
            made.close()
            InteractiveShell._instance, sys.modules["__main__"], sys.displayhook = before, main, hook


class InProcessEngine(Engine):
    "Registered with papermill as `inprocess`. It stops at the first failing cell; the cells after it stay pending."

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **_: Any) -> None:
        nb_man.nb.metadata["language_info"] = LANGUAGE
        with shell() as python:
            python.tape.save = nb_man.autosave_cell
            for index, cell in enumerate(nb_man.nb.cells):
                runs, failed = cell.cell_type == "code" and bool(cell.source.strip()), False
                if runs:
                    cell.execution_count = python.execution_count
                nb_man.cell_start(cell, index)
                if runs:
                    cell.outputs = python.tape.start(cell.execution_count)
                    failed = python.record(cell.source) and "raises-exception" not in cell.metadata.get("tags", [])
                if failed:
                    nb_man.cell_exception(cell, index)
                nb_man.cell_complete(cell, index)
                if failed:
                    break
