"""JupyterLab as `make lab` starts it, in a real browser, offline: every guide runs from top to bottom and draws its plots; in every panel a
click and the arrow keys come back to Python, and its answer is on the screen."""
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab_kit import CHROMIUM, MARKS, OFFLINE, Desk, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

playwright = pytest.importorskip("playwright.sync_api", reason="the notebook's tests need the package playwright")
pytestmark = MARKS
STRATEGY = "nbs/30_strategies/01_ema_scalper.ipynb"
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = [STRATEGY, "nbs/index.ipynb", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("nbs/90_guides/[0-9]*.ipynb")))]


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(root, tmp_path_factory.mktemp("lab")) as address: yield address


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", OFFLINE])
        yield browser
        browser.close()


@pytest.fixture
def desk(lab: str, browser: "Browser", root: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    "The notebook that the test names, open; clean when it is closed."
    path = request.param
    # The printed address leads to the strategy by itself.
    desk = Desk(browser, root, lab if path == STRATEGY else lab.replace(STRATEGY, path) + "&reset", Path(path).stem)
    if "/75_research/" in path: desk.page.set_viewport_size({"width": 1500, "height": 1400})
    yield desk
    desk.close()


@pytest.mark.parametrize("desk", NOTEBOOKS, indirect=True)
def test_a_notebook_runs_and_draws_offline(desk: Desk):
    desk.run_all()
    desk.see_plots()


def room(*names: str): return pytest.mark.parametrize("desk", [f"nbs/75_research/{name}.ipynb" for name in names], indirect=True)


@room("42_workbench")
def test_a_slider_moves_the_trades(desk: Desk):
    desk.run_all()
    panel = desk.panel("workbench-open-example", "perps-workbench")
    before, figures = panel.locator(".perps-status").inner_text(), panel.locator(".perps-figures").first.inner_text()
    panel.locator(".perps-slider-surge .noUi-handle").first.focus()
    for _ in range(4): desk.page.keyboard.press("ArrowRight")
    desk.changes(".perps-workbench .perps-status", before)
    told = "document.querySelector('.perps-workbench .perps-status').innerText"
    desk.page.wait_for_function(f"() => /settled #/.test({told})", timeout=60_000)
    assert panel.locator(".perps-figures").first.inner_text() != figures
    desk.picture("slid")


@room("44_heat_map")
def test_a_cell_of_the_heat_map_opens_its_trades(desk: Desk):
    desk.run_all()
    panel = desk.panel("heatmap-open-example", "perps-heatmap")
    before = panel.locator(".perps-figures").first.inner_text()
    desk.click(panel.locator(".perps-heat .bk-Canvas").first, 0.75, 0.25)
    desk.changes(".perps-heatmap .perps-figures", before)
    assert "settled #" in panel.locator(".perps-status").first.inner_text() and panel.locator(".perps-trades tr").count() > 1
    desk.picture("clicked")


@room("46_explorer")
def test_a_tap_on_a_candle_and_the_keys_choose_it(desk: Desk):
    desk.run_all()
    page, panel = desk.page, desk.panel("explorer-panel-see", "perps-explorer")
    date = panel.locator("input[type=text]").first
    assert "is not a time" in panel.locator(".perps-status").inner_text()       # what the notebook's last cell wrote
    desk.click(panel.locator(".bk-Canvas").first, 0.4, 0.5)
    panel.locator(".perps-said").wait_for(timeout=30_000)
    tapped = date.input_value()
    assert re.fullmatch(r"2026-\d\d-\d\d \d\d:\d\d", tapped) and panel.locator(".perps-row tbody tr").count() > 5
    desk.picture("tapped")
    panel.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    desk.changes(".perps-explorer input[type=text]", tapped)
    assert (int(date.input_value()[-2:]) - int(tapped[-2:])) % 60 == 15
    panel.get_by_role("button", name="◀ signal").focus()
    page.keyboard.press("Enter")
    panel.locator(".perps-gates tbody tr").nth(5).wait_for(timeout=30_000)


@room("47_risk_calculator")
def test_leverage_is_a_matter_of_arrow_keys(desk: Desk):
    desk.run_all()
    page, panel = desk.page, desk.panel("riskcalc-panel-see", "perps-risk")
    before = panel.locator(".perps-ladder").inner_text()
    assert panel.locator(".widget-readout").first.inner_text() == "20" and "liquidation" in before
    panel.locator(".noUi-handle").first.focus()
    for _ in range(3): page.keyboard.press("ArrowLeft")
    desk.changes(".perps-ladder", before)
    page.wait_for_function("() => document.querySelector('.perps-risk .widget-readout').innerText == '17'", timeout=30_000)
    entry, stop = (panel.locator("input[type=number]").nth(k) for k in (0, 1))
    stop.fill(f"{0.93 * float(entry.input_value()):.1f}")
    stop.press("Enter")
    panel.locator(".perps-wrong").wait_for(timeout=30_000)
    assert "refused by liquidation" in panel.locator(".perps-status").inner_text()
    desk.picture("refused")


@room("48_monitor", "49_data_browser")
def test_a_panel_of_services_and_stores_opens(desk: Desk):
    desk.run_all()
    assert desk.page.evaluate("() => document.querySelectorAll('.perps-panel').length") > 0
