"JupyterLab as `make lab` starts it, in a real browser: every guide and panel runs from top to bottom and draws its plots, offline."
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
    yield desk
    desk.close()


@pytest.mark.parametrize("desk", NOTEBOOKS, indirect=True)
def test_a_notebook_runs_and_draws_offline(desk: Desk):
    desk.run_all()
    desk.see_plots()
