"The site: every notebook has its place in it, and in a browser it draws, finds and asks the network for nothing."

import functools
import http.server
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest

from perps_kit.core.registry import units

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    "docs/build.py, writing to a folder of the test."
    folder = tmp_path_factory.mktemp("docs")
    os.environ["PERPS_DOCS_BUILT"] = str(folder)
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs/build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del os.environ["PERPS_DOCS_BUILT"]


@pytest.fixture(scope="module")
def laid_out(build):
    build.lay_out(build.notebooks())
    return build.SOURCE


def entries(page: Path) -> list[str]:
    "What the toctrees of a page name."
    return [
        line
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S)
        for line in block.splitlines()
        if line and line[0] != ":"
    ]


def test_the_toctrees_name_every_notebook_once(build, laid_out):
    front = entries(laid_out / "index.md")
    named = ["/nbs/index.ipynb"] * ("Start here <nbs/index>" in front)
    for room in front:
        if room.startswith("rooms/"):
            named += entries(laid_out / f"{room}.md")
    assert sorted(named) == sorted(f"/nbs/{path.relative_to(build.NBS)}" for path in build.notebooks())


def test_every_room_is_described(build):
    rooms = {path.relative_to(build.NBS).parts[0] for path in build.notebooks() if path.parent != build.NBS}
    assert rooms <= set(json.loads((ROOT / "docs/rooms.json").read_text()))


def test_every_notebook_says_what_it_is(build):
    for path in build.notebooks():
        notebook = nbformat.read(path, 4)
        heading, line = build.title_of(notebook, path)
        assert heading != path.stem and line, f"{path.name}: begin with `# Title` and `> what it is`"


def test_every_module_has_an_api_page(build, laid_out):
    exported = {module for path in build.notebooks() if (module := build.module_of(nbformat.read(path, 4)))}
    assert {path.stem for path in (laid_out / "api").glob("perps_kit.*.md")} == exported == set(entries(laid_out / "api/index.md"))


def test_a_page_has_no_directives_and_marks_what_is_exported(build, tmp_path):
    code = nbformat.v4.new_code_cell("#| export\nx = 1")
    hidden, setting = nbformat.v4.new_code_cell("#| hide\nimport secrets"), nbformat.v4.new_code_cell("#| default_exp core.x")
    load = nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output("display_data", {build.LOAD: "", "application/javascript": "8 MB"})]
    )
    path = build.NBS / "00_core/99_x.ipynb"
    page = build.page(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# X\n\n> x"), setting, hidden, code, load]), path)
    assert [cell.source for cell in page.cells][2:] == ["x = 1", "1"] and "../../api/perps_kit.core.x.md" in page.cells[1].source
    assert page.cells[2].metadata.tags == ["exported"] and not page.cells[3].outputs


def test_links_between_notebooks_lead_somewhere(build):
    for path in build.notebooks():
        for cell in nbformat.read(path, 4).cells:
            for link in re.findall(r"\]\(([^)#\s]+\.ipynb)", cell.source) if cell.cell_type == "markdown" else []:
                assert (path.parent / link).is_file(), f"{path.relative_to(ROOT)}: {link}"


def test_a_failing_notebook_stops_the_build(build, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1))
    assert build.execute(build.notebooks()[:1]) is False


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "A small site with plots, formulas and code, served on loopback."
    built = tmp_path_factory.mktemp("site")
    only = [str(ROOT / "nbs" / name) for name in ("20_indicators/11_ema.ipynb", "20_indicators/30_atr.ipynb", "00_core/04_unit.ipynb")]
    command = [sys.executable, str(ROOT / "docs/build.py"), "--only", *only]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PERPS_DOCS_BUILT": str(built)})
    assert done.returncode == 0, done.stdout + done.stderr
    handler = functools.partial(Quiet, directory=str(built / "html"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield built / "html", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def browser():
    "A page of a headless browser, with what went wrong on it."
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is a development tool")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not here: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page, wrong = chromium.new_page(), []
        page.on(
            "request", lambda r: wrong.append(r.url) if not r.url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")) else None
        )
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        yield page, wrong
        chromium.close()


@pytest.mark.slow
def test_the_site_names_no_other_host(site):
    html, _ = site
    for path in html.rglob("*.html"):
        found = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//[^"]+"', path.read_text())
        assert not found, f"{path.name}: {found}"
    assert (html / "_static/bokeh.min.js").is_file()
    assert max(path.stat().st_size for path in html.rglob("*.html")) < 1_000_000


@pytest.mark.slow
def test_in_a_browser_plots_live_and_search_finds(site, browser):
    _, address = site
    page, wrong = browser
    page.goto(f"{address}/nbs/20_indicators/11_ema.html", wait_until="networkidle")
    page.wait_for_function("window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle", timeout=15_000)
    page.wait_for_function("document.querySelector('.bk-Figure') !== null", timeout=15_000)
    page.goto(f"{address}/search.html?q=EMA", wait_until="networkidle")
    page.wait_for_selector("#search-results li a", timeout=15_000)
    assert "nbs/20_indicators/11_ema.html" in page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href).join()")
    for name in ("index.html", "rooms/20_indicators.html", "api/perps_kit.indicators.ema.html"):
        page.goto(f"{address}/{name}", wait_until="networkidle")
    assert wrong == []


@pytest.mark.slow
def test_a_job_page_draws_without_a_network(browser, tmp_path):
    from runners.jobs.catalog import find
    from runners.jobs.launch import launch

    source = """
from bokeh.io import output_notebook, show
from bokeh.plotting import figure
output_notebook(hide_banner=True)
p = figure(height=100)
p.line([1, 2], [3, 4])
show(p)"""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source)], metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    nbformat.write(notebook, tmp_path / "plot.ipynb")
    result = launch(find(str(tmp_path / "plot.ipynb")), [], tmp_path / "out")
    page, wrong = browser
    page.goto(f"file://{result['page']}")
    page.wait_for_function("window.Bokeh && Bokeh.documents.length === 1", timeout=15_000)
    page.wait_for_selector(".bk-Figure", state="attached", timeout=15_000)
    assert wrong == []


def test_the_index_of_indicators_names_every_page_and_unit_with_a_thumbnail_each():
    index = (ROOT / "nbs/20_indicators/index.ipynb").read_text()
    pages = {path.name for path in (ROOT / "nbs/20_indicators").glob("[0-9]*.ipynb")}
    assert not {page for page in pages if f"]({page})" not in index}
    assert not {e.cls.__name__ for e in units() if e.kind == "indicator" and not re.search(rf"`{e.cls.__name__}[`.]", index)}
    rows = [line for line in index.splitlines() if "](thumbnails/" in line]
    assert len(rows) == len(pages) - 1          # how often they happen is no unit
    assert all((ROOT / "nbs/20_indicators" / name).exists() for name in re.findall(r"\((thumbnails/[a-z_]+\.svg)\)", index))
