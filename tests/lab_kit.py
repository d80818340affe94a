"JupyterLab as `make lab` starts it and a browser without a network: what the tests of notebooks share."
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MARKS = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(CHROMIUM is None, reason="JupyterLab's tests need chromium (apt-get install chromium)"),
    pytest.mark.skipif(shutil.which("make") is None, reason="JupyterLab's tests start it by make"),
]
LOOPS = os.environ.get("PERPS_CACHE") or str(Path.home() / ".cache" / "perps_kit")     # that other tests have compiled
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
# The notebook's model knows every cell; its page holds only those near the screen.
STATE = """() => {
    const panel = window.jupyterapp.shell.currentWidget, kernel = panel.sessionContext.session?.kernel;
    const cells = Array.from(panel.content.model.cells).filter(cell => cell.type == 'code').map(cell => cell.toJSON());
    const outputs = cells.flatMap(cell => cell.outputs);
    return {
        kernel: kernel?.status, cells: cells.filter(cell => cell.source.trim?.() !== '').length,
        run: cells.filter(cell => cell.execution_count !== null).length,
        errors: outputs.filter(o => o.output_type == 'error').map(o => `${o.ename}: ${o.evalue}`),
        complaints: outputs.filter(o => o.name == 'stderr').map(o => String(o.text)),
    };
}"""
FIND = "id => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells).findIndex(cell => cell.id == id)"
CHANGED = "([where, before]) => { const it = document.querySelector(where); return it && (it.value ?? it.innerText) != before; }"
PLOTS = """() => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells).map(cell => cell.toJSON().outputs ?? [])
    .flatMap((outputs, i) => outputs.some(o => o.data && 'application/vnd.bokehjs_exec.v0+json' in o.data) ? [i] : [])"""
COLOURS = """canvas => new Set(new Uint32Array(
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
FINISHED = f"() => {{ const s = ({STATE})(); return s.errors.length > 0 || s.run == s.cells && s.kernel == 'idle'; }}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(root: Path, home: Path) -> Iterator[str]:
    "The address that `make lab` prints, token included, over a copy of the notebooks in `home`: running one writes to it."
    shutil.copytree(root / "nbs", home / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    arguments = (f"--no-browser --ServerApp.root_dir={home} --port={free_port()} --LabApp.expose_app_in_browser=True "
                 f"--LabApp.workspaces_dir={home / 'workspaces'} --LabApp.user_settings_dir={home / 'settings'}")
    log = home / "lab.log"
    with log.open("wb") as out:
        server = subprocess.Popen(["make", "--no-print-directory", "lab", f"ARGS={arguments}"], cwd=root, stdout=out, stderr=out,
                                  env=os.environ | dict(HOME=str(home), PERPS_CACHE=LOOPS, PERPS_LEDGER="off"), start_new_session=True)
    try:
        yield address(server, log)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(5)


def address(server: subprocess.Popen[bytes], log: Path, within: float = 90.0) -> str:
    "What a newcomer copies from the terminal."
    until = time.monotonic() + within
    while time.monotonic() < until and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S+token=\w+", log.read_text()): return found[0]
        time.sleep(0.2)
    raise AssertionError(f"make lab printed no address:\n{log.read_text()[-2000:]}")


class Desk:
    "One notebook open in the browser, all that it asked of a network and all that the page complained of."

    def __init__(self, browser: "Browser", root: Path, address: str, name: str):
        self.page: Page = browser.new_page(viewport={"width": 1500, "height": 1000})
        self.root, self.address, self.name = root, address, name
        self.asked, self.said = list[str](), list[str]()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda opened: self.asked.append(opened.url))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)

    def run_all(self) -> dict[str, Any]:
        "Open the notebook, run every cell, keep a picture; what the notebook holds then."
        page = self.page
        page.goto(self.address)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_function(f"() => ({STATE})().kernel == 'idle'", timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            page.wait_for_function(FINISHED, timeout=240_000, polling=250)
        finally:
            self.picture()
        state = page.evaluate(STATE)
        assert state["errors"] == [] and state["run"] == state["cells"] > 2
        assert state["complaints"] == []
        return state

    def picture(self, part: str = "") -> None:
        "A picture of the screen for whoever looks at the artefacts."
        folder = self.root / ".cache" / "artefacts"
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"lab-{self.name}{part and '-' + part}.png")

    def panel(self, cell: str, name: str) -> "Locator":
        "The panel that a cell, known by its id, shows, with its chart on the screen."
        it = self.bring(self.page.evaluate(FIND, cell)).locator(f".{name}")
        it.locator(".bk-Canvas canvas").first.wait_for(state="visible", timeout=60_000)
        return it

    def click(self, it: "Locator", right: float, down: float) -> None:
        "Click into an element, so far from its upper left corner."
        box = it.bounding_box()
        assert box
        self.page.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"])

    def changes(self, where: str, before: str) -> None:
        "Wait until the value or text of an element is another one."
        self.page.wait_for_function(CHANGED, arg=[where, before], timeout=60_000)

    def bring(self, cell: int) -> "Locator":
        "A cell, scrolled onto the screen: the page holds only those near it."
        self.page.evaluate("i => window.jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')", cell)
        return self.page.locator(f".jp-Cell[data-windowed-list-index='{cell}']")

    def see_plots(self) -> None:
        "Each plot, brought onto the screen, has a canvas with something on it."
        cells = self.page.evaluate(PLOTS)
        assert cells, "the notebook draws nothing"
        for k, cell in enumerate(cells):
            canvas = self.bring(cell).locator(".bk-Canvas canvas").first
            canvas.wait_for(state="visible", timeout=30_000)
            canvas.scroll_into_view_if_needed()
            self.page.wait_for_timeout(200)
            self.picture(f"plot-{k + 1}")
            box = canvas.bounding_box()
            assert box and box["width"] > 300 and box["height"] > 60 and 0 < box["y"] + box["height"] / 2 < 1000
            assert canvas.evaluate(COLOURS) > 3

    def close(self) -> None:
        "The page goes; it asked nobody but its server, and complained of nothing."
        mine = self.address.split("/lab")[0]
        assert [url for url in self.asked if not url.replace("ws://", "http://").startswith((mine, "data:", "blob:"))] == []
        assert self.said == []
        self.page.close()
