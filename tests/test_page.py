"The page in a real browser: drawn, live, explained on a click, and silent towards the rest of the world."

import shutil
import time
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from filled import NAMES, filled
from pydantic import SecretStr

from runners.db.connect import open_database
from runners.http.app import make_app
from runners.http.server import serving
from runners.http.settings import HttpSettings
from runners.state import ServiceState

playwright = pytest.importorskip("playwright.async_api", reason="the page's tests need the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="the page's tests need chromium (apt-get install chromium)"),
]
KEY = "correct horse battery"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with playwright.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory):
    "A served database: its market, the service's state and the address."
    db, state = await open_database(str(tmp_path_factory.mktemp("page") / "perps.db")), ServiceState()
    market = await filled(db, 220)
    async with serving(make_app(db, state, HttpSettings(port=0)), HttpSettings(port=0)) as address:
        yield market, state, address
    await db.close()


@pytest.fixture
def site(served):
    "The same, the service in the middle of a replay."
    state = served[1]
    state.mode, state.venue, state.progress = "replay", "binanceusdm", 0.25
    state.wait_for()
    return served


@asynccontextmanager
async def opened(browser, address: str, **context):
    "The page, opened and filled; at the end it must have asked nobody else and complained of nothing."
    page = await browser.new_page(**context)
    asked, said = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("console", lambda m: said.append(m.text) if m.type in ("warning", "error") else None)
    page.on("requestfailed", lambda r: said.append(f"failed: {r.url}"))
    await page.goto(address)
    await page.wait_for_selector("#decisions tr:not(.empty)")
    yield page
    await page.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert [text for text in said if "ERR_ABORTED" not in text and "page/feed" not in text] == []


SIZES = """names => Object.fromEntries(names.map(name => {
    const source = Bokeh.documents.map(d => d.get_model_by_name(name)).find(Boolean);
    return [name, Object.values(source.data)[0].length];
}))"""
LAST = "() => Bokeh.documents[0].get_model_by_name('candles').data.open_time.at(-1)"
LATER = f"last => document.querySelector('#progress').hidden && last < ({LAST})()"


async def drawn(page) -> None:
    "Wait until the chart has its candles."
    await page.wait_for_function(f"() => Bokeh.documents.length == 2 && ({LAST})() > 0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_reader_sees_candles_signals_equity_and_decisions(browser, site, scheme):
    *_, address = site
    async with opened(browser, address, color_scheme=scheme, viewport=dict(width=1400, height=900)) as page:
        await drawn(page)
        counts = await page.evaluate(SIZES, ["candles", "entries", "stops", "targets", "equity"])
        assert (
            counts["candles"] > 90
            and counts["entries"] > 0
            and counts["stops"] >= counts["entries"]
            and counts["targets"] == 3 * counts["entries"]
            and counts["equity"] == 1
        )
        assert await page.locator("#symbols .chip").count() == len(NAMES)
        assert await page.inner_text("#mode") == "replay · binanceusdm" and await page.inner_text("#status") == "running"
        width = await page.evaluate("document.querySelector('#progress span').style.width")
        assert width == "25%" and await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_new_bar_arrives_by_itself(browser, site):
    market, state, address = site
    async with opened(browser, address) as page:
        await drawn(page)
        last = await page.evaluate(LAST)
        state.time = await market.bar()
        state.progress = None
        await page.wait_for_function(LATER, arg=last)
        assert await page.evaluate(LAST) == last + 900_000
        state.clock = int((time.time() - 3600) * 1000)
        await page.wait_for_function("() => document.querySelector('#status').innerText == 'no new bar for 60 minutes'")
        state.clock = 0
        state.wait_for("candles of BTCUSDT")
        await page.wait_for_function("() => document.querySelector('#status').innerText == 'waiting for candles of BTCUSDT'")


async def test_a_click_on_a_decision_says_why(browser, site):
    _, _, address = site
    async with opened(browser, address) as page:
        await page.locator("#decisions tr", has_text="rejected").first.click()
        await page.wait_for_selector("#detail[open]")
        assert await page.locator("#detail td.down").count() == 1 and "below the minimum" in await page.inner_text("#detail")
        await page.keyboard.press("Escape")
        await page.locator("#news li:not(.day)", has_text="score").first.click()
        await page.wait_for_selector("#detail[open]")
        assert "target 3" in await page.inner_text("#detail") and "By the candles" in await page.inner_text("#detail")
        await page.get_by_role("button", name="why?").click()
        await page.wait_for_function("() => document.querySelector('#detail').innerText.includes('Gates, in order')")


async def test_another_symbol_and_a_look_back(browser, site):
    _, _, address = site
    async with opened(browser, address, viewport=dict(width=1400, height=900)) as page:
        await drawn(page)
        await page.get_by_role("button", name="XRP").click()
        await page.wait_for_function("() => document.querySelector('#title').innerText == 'XRPUSDT · 15m'")
        assert page.url.endswith("#XRPUSDT")
        await drawn(page)
        box = await page.locator("#candles").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await page.mouse.move(x, y)
        await page.mouse.down()
        await page.mouse.move(x + 300, y, steps=5)
        await page.mouse.up()
        await page.wait_for_selector("#follow:not([hidden])")
        back = await page.evaluate(LAST)
        await page.click("#follow")
        await page.wait_for_selector("#follow", state="hidden")
        assert await page.evaluate(LAST) > back


async def test_the_page_fits_a_telephone(browser, site):
    _, _, address = site
    async with opened(browser, address, viewport=dict(width=390, height=800)) as page:
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_with_a_key_the_page_asks_for_it(browser, tmp_path):
    db = await open_database(str(tmp_path / "perps.db"))
    await filled(db, 60)
    settings = HttpSettings(port=0, api_key=SecretStr(KEY))
    async with serving(make_app(db, ServiceState(), settings), settings) as address:
        page = await browser.new_page()
        await page.goto(address)
        await page.wait_for_selector("#door:not([hidden])")
        assert await page.locator("#decisions tr").count() == 0
        await page.fill("#key", KEY)
        await page.click("#door button")
        await page.wait_for_selector("#decisions tr:not(.empty)")
        assert await page.locator("#door").is_hidden()
        await page.close()
    await db.close()


async def test_names_from_outside_stay_text(browser, tmp_path):
    from perps_kit.storage.models import DecisionRow

    db = await open_database(str(tmp_path / "perps.db"))
    evil = "<img src=x onerror=alert(1)>"
    async with db.write() as session:
        session.add(
            DecisionRow(
                venue=evil,
                time=1,
                strategy=evil,
                symbol=evil,
                minutes=15,
                side=1,
                mode=evil,
                outcome="rejected",
                reason=evil,
                verdicts=[dict(gate=evil, passed=False, value=evil, reason=evil)],
                features={evil: evil},
            )
        )
    async with (
        serving(make_app(db, ServiceState(), HttpSettings(port=0)), HttpSettings(port=0)) as address,
        opened(browser, address) as page,
    ):
        await page.locator("#decisions tr").first.click()
        await page.wait_for_selector("#detail[open]")
        assert await page.locator("main img, dialog img").count() == 0 and evil in await page.inner_text("#detail")
    await db.close()


async def test_the_description_of_the_api_shows_its_routes(browser, site):
    _, _, address = site
    page = await browser.new_page()
    await page.goto(address + "docs")
    await page.locator("summary", has_text="/signals/{id}").click()
    await page.locator("summary", has_text="/positions").click()
    await page.locator("details[open] button").first.click()
    await page.wait_for_selector("pre:not([hidden])")
    await page.close()
