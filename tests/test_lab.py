"JupyterLab as `make lab` starts it, in a real browser: the strategy's notebook runs from top to bottom and draws its plots, offline."
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="the notebook's tests need the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(CHROMIUM is None, reason="JupyterLab's tests need chromium (apt-get install chromium)"),
    pytest.mark.skipif(shutil.which("make") is None, reason="JupyterLab's tests start it by make"),
]
NOTEBOOKS = ["nbs/30_strategies/01_ema_scalper.ipynb", "nbs/index.ipynb"]
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
PLOTS = """() => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells).map(cell => cell.toJSON().outputs ?? [])
    .flatMap((outputs, i) => outputs.some(o => o.data && 'application/vnd.bokehjs_exec.v0+json' in o.data) ? [i] : [])"""
COLOURS = """canvas => new Set(new Uint32Array(
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
FINISHED = f"() => {{ const s = ({STATE})(); return s.errors.length > 0 || s.run == s.cells && s.kernel == 'idle'; }}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    "The address that `make lab` prints, token included, over a copy of the notebooks: running one writes to it."
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(root / "nbs", home / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    arguments = (f"--no-browser --ServerApp.root_dir={home} --port={free_port()} --LabApp.expose_app_in_browser=True "
                 f"--LabApp.workspaces_dir={home / 'workspaces'} --LabApp.user_settings_dir={home / 'settings'}")
    log = home / "lab.log"
    with log.open("wb") as out:
        server = subprocess.Popen(["make", "--no-print-directory", "lab", f"ARGS={arguments}"], cwd=root, stdout=out, stderr=out,
                                  env=os.environ | dict(HOME=str(home)), start_new_session=True)
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


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", OFFLINE])
        yield browser
        browser.close()


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs_and_draws_offline(lab: str, browser: "Browser", root: Path, notebook: str):
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda opened: asked.append(opened.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)

    strategy = notebook == NOTEBOOKS[0]
    page.goto(lab if strategy else lab.replace(NOTEBOOKS[0], notebook) + "&reset")     # the printed address leads to the strategy by itself
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_function(f"() => ({STATE})().kernel == 'idle'", timeout=60_000)
    assert page.locator(".jp-Notebook h1").first.inner_text().startswith("EMA-crossover scalper" if strategy else "perps_kit")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    try:
        page.wait_for_function(FINISHED, timeout=240_000, polling=500)
    finally:
        picture(page, root, f"lab-{Path(notebook).stem}")
    state = page.evaluate(STATE)
    assert state["errors"] == [] and state["run"] == state["cells"] > 5
    assert state["complaints"] == []
    see_plots(page, root, Path(notebook).stem)

    mine = lab.split("/lab")[0]
    assert [url for url in asked if not url.replace("ws://", "http://").startswith((mine, "data:", "blob:"))] == []
    assert said == []
    page.close()


def picture(page: "Page", root: Path, name: str) -> None:
    folder = root / ".cache" / "artefacts"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def see_plots(page: "Page", root: Path, name: str) -> None:
    "Each plot of the notebook, brought onto the screen, has a canvas with something on it."
    cells = page.evaluate(PLOTS)
    assert cells, "the notebook draws nothing"
    for k, i in enumerate(cells):
        page.evaluate("i => window.jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')", i)
        canvas = page.locator(f".jp-Cell[data-windowed-list-index='{i}'] .bk-Canvas canvas").first
        canvas.wait_for(state="visible", timeout=30_000)
        canvas.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        picture(page, root, f"lab-{name}-plot-{k + 1}")
        box = canvas.bounding_box()
        assert box and box["width"] > 300 and box["height"] > 100 and 0 < box["y"] + box["height"] / 2 < 1000
        assert canvas.evaluate(COLOURS) > 3
