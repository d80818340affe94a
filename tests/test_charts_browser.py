"The market chart in a real browser: a saved page zooms by itself, asks nobody, and becomes an image."

import shutil
import struct

import numpy as np
import pytest

from perps_kit.core.bar import Bars
from perps_kit.core.features import on
from perps_kit.indicators.ema import EMA
from perps_kit.research.market_chart import market_chart
from perps_kit.research.saving import READY, save
from perps_kit.research.seen import Seen
from perps_kit.research.zoom import MOST, levels, profile, window

playwright = pytest.importorskip("playwright.sync_api", reason="the charts' tests need the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="the charts' tests need chromium (apt-get install chromium)")]
N = 100_000
SEEN = """() => {
  const prices = Bokeh.documents[0].get_model_by_name("prices"), {start, end} = prices.x_range
  const drawn = prices.renderers.find(r => r.name == "candles").data_source.data
  let seen = 0
  for (const known of drawn.known) if (known >= start && known <= end) seen++
  const rows = prices.renderers.find(r => r.name == "by price").data_source.data
  return {start, end, seen, drawn: drawn.known.length, title: prices.title.text, low: prices.y_range.start, high: prices.y_range.end,
          ema: [...drawn.ema], known: [...drawn.known], rows: [...rows.volume],
          sessions: Bokeh.documents[0].get_model_by_name("volume").renderers.find(r => r.name == "sessions").visible}
}"""


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(11)
    close = 50_000 * np.exp(np.cumsum(0.001 * rng.standard_normal(N)))
    open = np.r_[close[0], close[:-1]]
    reach = 1 + 0.0008 * rng.random(N)
    return Bars.from_columns("BTCUSDT", 1, 1_767_225_600_000 + 60_000 * np.arange(N), open, np.maximum(open, close) * reach,
        np.minimum(open, close) / reach,
                             close, rng.lognormal(2, 1, N))


@pytest.fixture(scope="module")
def chart(bars): return market_chart(bars, dict(ema=on(EMA.of(50), "close")), dict(rank=Seen(np.arange(N) % 100.0, unit="points")),
        visible=0)


@pytest.fixture(scope="module")
def page(chart, tmp_path_factory):
    path = save(chart, tmp_path_factory.mktemp("chart") / "chart.html", "A hundred thousand")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(width=1200, height=900))
        asked, said = [], []
        page.on("request", lambda r: asked.append(r.url))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.goto(path.as_uri())
        page.wait_for_function(READY)
        yield page
        browser.close()
        assert asked == [path.as_uri()] and not said, (asked, said)


def zoom(page, start: float, end: float) -> dict:
    page.evaluate("([a, b]) => Bokeh.documents[0].get_model_by_name('prices').x_range.setv({start: a, end: b})", [start, end])
    page.wait_for_function(READY)
    return page.evaluate(SEEN)


def test_a_saved_page_draws_the_level_that_fits(page, bars):
    "No Python is behind this page."
    t, columns = bars.close_time, dict(ema=np.zeros(N))
    whole = zoom(page, float(bars.open_time[0]), float(t[-1]))
    near = zoom(page, float(t[50_000]), float(t[50_300]))
    middle = zoom(page, float(t[40_000]), float(t[60_000]))
    assert whole["seen"] <= MOST and whole["drawn"] <= MOST and "1m" not in whole["title"]
    assert near["seen"] == 301 and near["drawn"] <= 3 * 302 and near["title"].endswith("1m candles")
    assert 300 < middle["seen"] <= MOST and middle["title"].endswith("15m candles")
    assert (whole["sessions"], near["sessions"]) == (False, True)
    for seen, a, b in ((near, 50_000, 50_300), (middle, 40_000, 60_000)):
        mine = window(levels(bars, columns), float(t[a]), float(t[b]))
        assert seen["known"] == mine.data["known"].tolist()
        inside = slice(mine.begin, mine.end)
        assert seen["low"] < mine.level.data["low"][inside].min() < mine.level.data["high"][inside].max() < seen["high"]


def test_the_browser_counts_volume_by_price_as_python_does(page, bars):
    t = bars.close_time
    seen = zoom(page, float(t[70_000]), float(t[73_000]))
    mine = window(levels(bars), float(t[70_000]), float(t[73_000]), 6000)
    part = [mine.level.data[name][mine.begin:mine.end] for name in ("low", "high", "volume")]
    np.testing.assert_allclose(seen["rows"], profile(*part)["volume"], rtol=1e-6, atol=1e-6 * part[2].sum())


def test_the_wheel_zooms_and_a_drag_moves(page):
    zoom(page, 1_767_225_600_000 + 60_000 * 20_000, 1_767_225_600_000 + 60_000 * 40_000)
    before = page.evaluate(SEEN)
    page.mouse.move(600, 250)
    page.mouse.wheel(0, -2000)
    page.wait_for_function("end => Bokeh.documents[0].get_model_by_name('prices').x_range.end < end", arg=before["end"])
    page.wait_for_function(READY)
    closer = page.evaluate(SEEN)
    assert closer["end"] - closer["start"] < before["end"] - before["start"] and 0 < closer["seen"] <= MOST
    page.mouse.move(600, 250)
    page.mouse.down()
    page.mouse.move(300, 250, steps=5)
    page.mouse.up()
    page.wait_for_function("start => Bokeh.documents[0].get_model_by_name('prices').x_range.start > start", arg=closer["start"])
    moved = page.evaluate(SEEN)
    assert 0 < moved["seen"] <= MOST and np.isclose(moved["end"] - moved["start"], closer["end"] - closer["start"], rtol=1e-6)


def test_images_have_the_size_and_the_theme(bars, tmp_path):
    small = market_chart(bars[:400], dict(ema=on(EMA.of(9), "close")))
    png = save(small, tmp_path / "x.png", theme="dark", width=700, scale=1).read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and width == 700 and 500 < height < 800
    svg = save(small, tmp_path / "x.svg", theme="dark", width=700).read_text()
    assert svg.startswith("<svg") and "#14181f" in svg and "BTCUSDT" in svg and 'href="http' not in svg
    assert small.children[0].background_fill_color == "#ffffff"


def test_a_tooltip_is_as_dark_as_its_chart(bars, page, tmp_path):
    path = save(market_chart(bars[:200], theme="dark"), tmp_path / "dark.html", theme="dark")
    dark = page.context.browser.new_page(viewport=dict(width=1000, height=700))
    dark.goto(path.as_uri())
    dark.wait_for_function(READY)
    dark.mouse.move(500, 250)
    tip = dark.locator(".bk-Tooltip").first
    tip.wait_for(state="visible", timeout=10_000)
    assert tip.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(20, 24, 31)"
    dark.close()
