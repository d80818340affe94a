"A papermill engine without a kernel: cells run in an IPython shell inside this process, which needs neither ipykernel nor pandas."

import asyncio
import getpass
import io
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from execnb.shell import CaptureShell
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from nbclient.exceptions import CellTimeoutError
from papermill.engines import Engine
from papermill.log import logger

from runners.jobs.record import FOLDER
from runners.jobs.tape import Tape, node
from runners.jobs.widgets import comms

LANGUAGE = {
    "name": "python",
    "version": sys.version.split()[0],
    "mimetype": "text/x-python",
    "file_extension": ".py",
    "pygments_lexer": "ipython3",
    "nbconvert_exporter": "python",
    "codemirror_mode": {"name": "ipython", "version": 3},
}


def refuse(*_: Any, **__: Any) -> Any:
    "In the place of what would ask a person."
    raise StdinNotImplementedError("a notebook that runs as a job has nobody to ask")


class CellTimeout(BaseException):
    "Raised inside a cell at its limit; no `except Exception` of the cell's own stops it."


class Stream(io.TextIOBase):
    "stdout or stderr of a cell."

    encoding = "utf-8"

    def __init__(self, name: str, tape: Tape) -> None:
        self.name, self.tape = name, tape

    def write(self, text: str) -> int:
        if text:
            self.tape.write(self.name, text)
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


class OneFolder(ProfileDir):
    "An IPython profile without the folders and files that no job asks for."

    def _mkdir(self, path: str, mode: int | None = None) -> bool:
        return False


class Shell(CaptureShell):
    """execnb's shell, keeping the order of streams and displays as a kernel does.

    On the main thread, cells run there, so that signals reach them; elsewhere, or inside of a running event loop, on a thread of their own.
    """

    displayhook_class = Hook
    showtraceback = InteractiveShell.showtraceback  # execnb keeps these two quiet; what they tell goes onto the tape
    showsyntaxerror = InteractiveShell.showsyntaxerror

    def __init__(self) -> None:
        self.tape = Tape()
        super().__init__(mpl_format=None)
        self.set_hook("show_in_pager", lambda *_, **__: None)  # help is for a person at a screen
        self.here = threading.current_thread() is threading.main_thread() and not loop_runs()
        if self.here:
            super().close()

    def init_profile_dir(self, profile_dir: Any) -> None:
        self.profile_dir = profile_dir or OneFolder(location=self.ipython_dir)

    def init_display_pub(self) -> None:
        self.display_pub = Publisher(parent=self, shell=self)

    @contextmanager
    def _captured(self, *_: Any, **__: Any) -> Iterator[Any]:
        out, err, secret = sys.stdout, sys.stderr, getpass.getpass
        sys.stdout, sys.stderr, getpass.getpass = Stream("stdout", self.tape), Stream("stderr", self.tape), refuse
        try:
            with super()._captured(stdout=False, stderr=False, display=False) as silent:
                yield silent
        finally:
            sys.stdout, sys.stderr, getpass.getpass = out, err, secret

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.tape.add(node(output_type="error", ename=str(etype.__name__), evalue=str(evalue), traceback=list(stb)))

    def get_parent(self) -> dict[str, Any]:
        "What an Output widget asks for: the message that the running cell answers."
        return {"header": {"msg_id": f"cell-{self.tape.count}"}}

    def record(self, source: str, limit: float | None = None) -> BaseException | None:
        "Run one cell onto the tape; what it failed with. After `limit` seconds it is interrupted by CellTimeout."
        work = self._run_async(source, store_history=True)
        if not self.here:
            try:
                return asyncio.run_coroutine_threadsafe(work, self.loop).result(limit).exception
            except TimeoutError:
                return CellTimeout(f"after {limit:g} seconds; it is still running on its thread")
        task = self.loop.create_task(work)
        with alarm(limit):
            try:
                return self.loop.run_until_complete(task).exception
            except (KeyboardInterrupt, CellTimeout) as stop:  # while it awaited something
                stopped = stop
        task.cancel()
        with suppress(asyncio.CancelledError):
            self.loop.run_until_complete(task)
        return stopped


def loop_runs() -> bool:
    "Whether this thread is inside an event loop."
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def alarm(limit: float | None) -> Iterator[None]:
    "Raise CellTimeout on the main thread after `limit` seconds, again every second while the cell resists; None or below 0: never."
    if limit is None or limit < 0:
        yield
        return

    def ring(*_: Any) -> None:
        raise CellTimeout(f"after {limit:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(limit, 1e-3), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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


@contextmanager
def folder_of(output: str | Path | None) -> Iterator[None]:
    "Tell the notebook where its files go: beside itself."
    before = os.environ.get(FOLDER)
    if output:
        os.environ[FOLDER] = str(Path(output).resolve().parent)
    try:
        yield
    finally:
        os.environ.pop(FOLDER, None)
        if before is not None:
            os.environ[FOLDER] = before


def teller(log: bool, out: Any, err: Any) -> Callable[[Any], None]:
    "What becomes of an output beside the notebook, as papermill's own engine does it: log lines, and files for the streams."

    def tell(output: Any) -> None:
        kind, text = output.output_type, output.get("text", "")
        file, level = (out, logger.info) if output.get("name") == "stdout" else (err, logger.warning)
        if kind == "stream" and log:
            level(text)
        if kind == "stream" and file:
            file.write(text)
            file.flush()
        if kind in ("display_data", "execute_result") and log and "text/plain" in output.data:
            logger.info(output.data["text/plain"])

    return tell


@contextmanager
def unsaved(nb_man: Any) -> Iterator[None]:
    "Write down nothing for a moment: the next cell's start does, or the notebook's end."
    nb_man.save = lambda **_: None
    try:
        yield
    finally:
        del nb_man.save


class InProcessEngine(Engine):
    """Registered with papermill as `inprocess`. It stops at the first failing cell; the cells after it stay pending.

    A cell past `execution_timeout` seconds is interrupted as by CTRL-C; code that cannot be interrupted ends with its process only.
    """

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, log_output=False, execution_timeout: Any = None, stdout_file=None, stderr_file=None, **_: Any
    ) -> None:
        nb_man.nb.metadata["language_info"] = LANGUAGE
        with folder_of(nb_man.output_path), shell() as python, comms(python.tape) as widgets:
            python.tape.save, python.tape.tell = nb_man.autosave_cell, teller(log_output, stdout_file, stderr_file)
            for index, cell in enumerate(nb_man.nb.cells):
                if cell.cell_type != "code" or not cell.source.strip():
                    with unsaved(nb_man):
                        nb_man.cell_start(cell, index)
                        nb_man.cell_complete(cell, index)
                    continue
                cell.execution_count = python.execution_count
                nb_man.cell_start(cell, index)
                cell.outputs = python.tape.start(cell.execution_count)
                failure = python.record(cell.source, execution_timeout)
                python.tape.end()
                late = isinstance(failure, CellTimeout)
                stops = late or (failure is not None and "raises-exception" not in cell.metadata.get("tags", []))
                if stops:
                    nb_man.cell_exception(cell, index)
                with unsaved(nb_man):
                    nb_man.cell_complete(cell, index)
                if late:
                    raise CellTimeoutError.error_from_timeout_and_cell("Cell execution timed out", execution_timeout, cell)
                if stops:
                    break
            if state := widgets():
                nb_man.nb.metadata.widgets = state
