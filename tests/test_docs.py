"The site: every notebook has its place in it, and in a browser it draws, finds and asks the network for nothing."

import http.client
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest

from perps_kit.core.registry import units

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = Path("/usr/bin/chromium")
PAGES = ROOT / "docs/pages"


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
    build.lay_out(there := build.notebooks())
    monkey = pytest.MonkeyPatch()
    monkey.setattr(build, "notebooks", lambda only=None: there)  # whoever writes notebooks meanwhile does not disturb
    yield build.SOURCE
    monkey.undo()


def entries(page: Path) -> list[str]:
    "What the toctrees of a page name."
    return [
        line
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S)
        for line in block.splitlines()
        if line and line[0] != ":"
    ]


def test_the_toctrees_name_every_notebook_once(build, laid_out):
    rooms = entries(laid_out / "notebooks.md")
    named = [f"{name}.ipynb" for name in rooms if name.startswith("/nbs/")]
    for room in rooms:
        if room.startswith("/rooms/"):
            named += entries(laid_out / f"{room[1:]}.md")
    assert sorted(named) == sorted(f"/nbs/{path.relative_to(build.NBS)}" for path in build.notebooks())


def test_the_toctrees_name_every_written_page_once(build, laid_out):
    named = []
    for page in laid_out.rglob("*.md"):
        for entry in entries(page):
            place = re.sub(r".*<(.+)>", r"\1", entry)
            named.append(place[1:] if place[0] == "/" else (page.parent / place).relative_to(laid_out).as_posix())
    written = {path.relative_to(PAGES).with_suffix("").as_posix() for path in PAGES.rglob("*.md")} | {"reference/units"}
    written |= {name.removesuffix(".md") for name in build.reference.PAGES}
    assert {name: named.count(name) for name in written if name != "index"} == dict.fromkeys(written - {"index"}, 1)


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


def said() -> list[tuple[str, list[str], bool]]:
    "Every command in the written pages, and whether it is to be typed as it stands: a line of its own, or a mention."
    found = []
    for path in sorted(PAGES.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        typed = re.findall(r"^ {4}(?:\S+=\S+ )*perps-kit (.*)$", text, re.M) + re.findall(r"/perps-kit (jobs run \w+)", text)
        mentioned = re.findall(r"`(?:\S+=\S+ )?perps-kit ([^`]+)`", text)
        found += [(path.name, shlex.split(line, comments=True), True) for line in typed]
        found += [(path.name, shlex.split(line, comments=True), False) for line in mentioned]
    return found


@pytest.fixture(scope="module")
def commands(build):
    return dict(build.reference.commands())


def test_every_command_in_the_prose_exists_with_its_options_and_arguments(commands):
    assert len(said()) > 80
    for page, words, typed in said():
        name, rest = f"perps-kit {words[0]}", words[1:]
        if name not in commands and rest:
            name, rest = f"{name} {rest[0]}", rest[1:]
        assert name in commands, f"{page}: {' '.join(words)}"
        known = {option: p for p in commands[name].params for option in (*p.opts, *p.secondary_opts)}
        free, k = 0, 0
        while k < len(rest):
            if rest[k].startswith("-") and not re.fullmatch(r"-[\d.]+", rest[k]):
                assert rest[k] in known, f"{page}: {name} has no {rest[k]}"
                k += 0 if known[rest[k]].is_flag else 1
            else:
                free += 1
            k += 1
        taken = [p for p in commands[name].params if p.param_type_name == "argument"]
        assert free <= len(taken) or any(p.nargs == -1 for p in taken), f"{page}: {name} {' '.join(rest)}"
        if typed:
            assert all(set(p.opts) & set(rest) for p in commands[name].params if p.required and p.param_type_name == "option"), (
                f"{page}: {name} {rest}"
            )
            assert free >= sum(p.required for p in taken), f"{page}: {name} {rest}"


def test_every_help_of_a_command_in_the_prose_prints(commands):
    from typer.testing import CliRunner

    from runners.cli import app

    names = {
        next(name for name in (f"perps-kit {' '.join(words[:2])}", f"perps-kit {words[0]}") if name in commands) for _, words, _ in said()
    }
    assert len(names) > 25
    for name in sorted(names):
        done = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"COLUMNS": "200"})
        assert done.exit_code == 0 and "Usage:" in done.output, name


def test_every_target_variable_and_file_in_the_prose_is_there(build, root):
    from runners.settings import Settings

    made = {"reference/units.md", *build.reference.PAGES}
    targets = set(re.findall(r"^(\w+):.*## ", (root / "Makefile").read_text(), re.M))
    for path in PAGES.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^ {4})make (\w+)", text, re.M)) <= targets, path.name
        for name in set(re.findall(r"PERPS_[A-Z_]*[A-Z]", text)) - {"PERPS_LEDGER", "PERPS_CACHE"}:
            model = Settings
            for part in name.removeprefix("PERPS_").lower().split("__"):
                assert part in model.model_fields, f"{path.name}: {name}"
                model = model.model_fields[part].annotation
        for link in re.findall(r"\]\(/(nbs/[^)#]+)", text):
            assert (root / link).is_file(), f"{path.name}: {link}"
        for link in re.findall(r"\]\((?!https?:|/|#)([^)#]+)", text):
            place = (path.parent / link).resolve().relative_to(PAGES).as_posix()
            assert (PAGES / place).is_file() or place in made, f"{path.name}: {link}"


def test_settings_shown_in_the_prose_are_accepted(tmp_path):
    from runners.settings import load

    shown = [(path, block) for path in PAGES.rglob("*.md") for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.S)]
    assert len(shown) > 4
    for _, block in shown:
        if "scrape_configs" in block:
            continue
        file = tmp_path / "settings.yaml"
        file.write_text(block)
        load(file, {"PERPS_LIVE__CONFIRMED": "true"})


def test_the_reference_names_every_command_setting_route_and_unit(build, commands):
    from perps_kit.core.registry import entries as registered
    from runners.settings import Settings

    reference = build.reference
    cli, http, settings, listed = reference.cli(), reference.http(), reference.settings(), reference.units(set())
    assert not [name for name in commands if f"\n## {name}\n" not in cli]
    assert not [
        option for one in commands.values() for p in one.params for option in p.opts if option.startswith("--") and f"`{option}`" not in cli
    ]
    rows = list(reference.fields(Settings))
    assert len(rows) > 70 and not [row["key"] for row in rows if f"`{row['key']}`" not in settings and "." in row["key"]]
    assert not [row["key"] for row in rows if not (row["words"] or row["doc"])], "say what it is: a comment behind the field"
    assert {"GET /signals", "GET /decisions/{id}", "GET /readyz"} <= set(re.findall(r"^## (.+)$", http, re.M))
    assert not [e.name for e in registered() if f"`{e.name}`" not in listed]


def test_the_examples_of_the_settings_reference_are_accepted_and_change_nothing(build, tmp_path):
    from runners.settings import Settings, load

    blocks = re.findall(r"```yaml\n(.*?)```", build.reference.settings(), re.S)
    assert len(blocks) > 6
    for block in blocks[1:]:
        (tmp_path / "one.yaml").write_text(block)
        assert load(tmp_path / "one.yaml", {}) == Settings(), block


def test_the_picture_of_the_layers_is_the_contracts(build, root):
    import tomllib

    drawn = build.layers.svg()
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert drawn.count("<rect") == len(re.findall(r'class="name"', drawn))
    packages = {path.name for path in (root / "perps_kit").iterdir() if path.is_dir() and any(path.glob("*.py")) and path.name[0] != "_"}
    assert packages == set(re.findall(r'class="name">(\w+)<', drawn)) - {"runners"}
    order, edges, most = build.layers.stack()
    heights = {name: float(re.search(rf'y="([\d.]+)"[^>]*class="name">{name}<', drawn)[1]) for name in order}
    assert sorted(order, key=heights.get) == order == [layer.strip("()") for layer in listed[0]["layers"]]
    assert most == "engine" and set(edges) == {"storage", "exchange", "sources", "telegram", "api"}


def test_a_changed_contract_changes_the_picture(build, monkeypatch):
    changed = [
        dict(type="layers", containers=["perps_kit"], layers=["(b)", "(a)"]),
        dict(type="layers", containers=["perps_kit"], layers=["(x) | (y) | (b)", "(a)"]),
        dict(type="layers", layers=["shell", "perps_kit"]),
        dict(type="forbidden", source_modules=["p.a.**"], forbidden_modules=["numba"]),
    ]
    monkeypatch.setattr(build.layers, "contracts", lambda: changed)
    assert build.layers.stack() == (["b", "a"], ["x", "y"], "a") and ">shell<" in build.layers.svg()


def test_the_glossary_is_large_and_each_term_leads_to_its_page():
    text = (PAGES / "glossary.md").read_text()
    terms = re.findall(r"^(\S.*)\n((?:  .+\n?)+)", re.search(r"```\{glossary\}\n(.*?)```", text, re.S)[1], re.M)
    names = [name for name, _ in terms]
    assert len(names) >= 60 and names == sorted(names, key=str.lower) and not [name for name, words in terms if "](" not in words]
    assert {"Funding", "Mark price", "Purging", "Liquidation price", "Maintenance margin", "Open interest", "Basis"} <= set(names)


@pytest.fixture
def crooked(tmp_path):
    "A small site with every kind of fault, and some that are none."
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1><a name=old></a>')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/index.html").write_text('<a href="../b.html#there">fine</a>')
    (tmp_path / "style.css").write_text("@import url(https://fonts.example/x.css); a { background: url(data:image/png;base64,x) }")
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#old">2</a><a href="folder/">3</a><a href="#me" id="me">4</a><a href="https://example.org/x">5</a>'
        '<link rel="canonical" href="https://example.org/"><script>var x = "<a href=\\"no.html\\">"</script><!-- <a href="gone.html"> -->'
        '<a href="c.html">x</a><a href="b.html#gone">x</a><a href="#nowhere">x</a><img src="https://pictures.example/x.png">'
        '<script src="//cdn.example/x.js"></script><link rel="stylesheet" href="https://cdn.example/x.css">'
    )
    return tmp_path


def test_the_checker_of_links_finds_each_fault_and_no_other(build, crooked):
    found = build.links.check(crooked)
    told = [
        "a.html: c.html ",
        "a.html: b.html#gone ",
        "a.html: #nowhere ",
        "https://pictures.example/x.png",
        "//cdn.example/x.js",
        "https://cdn.example/x.css",
        "style.css: the style loads https://fonts.example/x.css",
    ]
    assert len(found.wrong) == len(told) and all(any(part in wrong for wrong in found.wrong) for part in told), found.wrong
    assert set(found.elsewhere) == {"https://example.org/x", "https://example.org/"}


def test_broken_links_fail_the_build_with_a_list(build, crooked, capsys):
    assert build.links.report(crooked, crooked / "elsewhere.txt") == 7
    assert (
        "docs: a.html: c.html leads to no file" in capsys.readouterr().err
        and "https://example.org/x\ta.html" in (crooked / "elsewhere.txt").read_text()
    )


def told_by(*words: str) -> str:
    "What `perps-kit docs` says where it cannot go on."
    done = subprocess.run(
        [sys.executable, "-m", "runners", "docs", "--no-browser", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_docs_says_what_to_do_where_there_is_no_site(tmp_path, monkeypatch):
    from runners.cli import docs
    from runners.errors import ConfigError

    assert "there is no site" in told_by("--dir", str(tmp_path)) and "--dir" in told_by("--dir", str(tmp_path), "--build")
    monkeypatch.setattr(docs, "SITE", tmp_path / "html")
    with pytest.raises(ConfigError, match="run `make docs`"):
        docs.serve(tmp_path / "html", 0, False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed here: run `make docs`"):
        docs.built()


def test_docs_serves_this_machine_with_the_right_types_and_nothing_above_the_site(tmp_path):
    from runners.cli.docs import server_of
    from runners.errors import ConfigError

    (tmp_path / "secret.txt").write_text("no")
    site = tmp_path / "html"
    site.mkdir()
    types = {
        "index.html": "text/html",
        "x.js": "text/javascript",
        "x.css": "text/css",
        "x.svg": "image/svg+xml",
        "x.json": "application/json",
        "x.woff2": "font/woff2",
    }
    for name in types:
        (site / name).write_text("x")
    server = server_of(site, 0)
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConfigError, match="take another with --port"):
        server_of(site, server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        for name, kind in types.items():
            ask.request("GET", f"/{name}")
            answer = ask.getresponse()
            assert answer.status == 200 and answer.getheader("content-type").startswith(kind) and answer.read() == b"x"
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/none.html"):
            ask.request("GET", path)
            answer = ask.getresponse()
            answer.read()
            assert answer.status == 404, path
    finally:
        ask.close()
        server.shutdown()
        server.server_close()


def test_docs_serves_from_the_command_line_until_it_is_interrupted(tmp_path):
    (tmp_path / "index.html").write_text("here")
    command = [sys.executable, "-m", "runners", "docs", "--no-browser", "--port", "0", "--dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as served:
        assert served.stdout and served.stderr
        address = re.match(r"http://127\.0\.0\.1:(\d+)/", served.stdout.readline())
        assert address
        ask = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=10)
        ask.request("GET", "/")
        assert ask.getresponse().read() == b"here"
        ask.close()
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0 and served.stderr.read() == ""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "A small site of all prose and a few notebooks with plots, formulas and code, served as `perps-kit docs` does."
    from runners.cli.docs import server_of

    built = tmp_path_factory.mktemp("site")
    only = [str(ROOT / "nbs" / name) for name in ("20_indicators/11_ema.ipynb", "20_indicators/30_atr.ipynb", "00_core/04_unit.ipynb")]
    command = [sys.executable, str(ROOT / "docs/build.py"), "--only", *only]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PERPS_DOCS_BUILT": str(built)})
    assert done.returncode == 0, done.stdout + done.stderr
    server = server_of(built / "html", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield built / "html", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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


def kept(page, name: str) -> None:
    "A picture for those who look, where ARTEFACTS names a folder (conftest takes PERPS_ variables away)."
    if folder := os.environ.get("ARTEFACTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"docs_{name}.png"))


def drawn(page) -> None:
    "Wait until the page's plots are there."
    page.wait_for_function("window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents.every(d => d.is_idle)", timeout=20_000)
    page.wait_for_function("document.querySelector('.bk-Figure, .bk-Column') !== null", timeout=15_000)


COLORS = """() => [...Bokeh.documents].flatMap(d => [...d.all_models]).filter(m => m.type === "Figure" || m.type === "Plot")
    .map(m => { const c = WHICH; return c && c.value !== undefined ? c.value : c })"""
BACKGROUNDS, LABELS = COLORS.replace("WHICH", "m.background_fill_color"), COLORS.replace("WHICH", "m.below[0].major_label_text_color")
BODY = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.slow
def test_the_site_names_no_other_host_and_every_link_leads_somewhere(build, site):
    html, _ = site
    found = build.links.check(html, partial=True)
    assert found.wrong == [] and "https://t.me/BotFather" in found.elsewhere
    assert (html / "_static/bokeh.min.js").is_file() and (html / "_static/front_chart.js").stat().st_size < 2_000_000
    assert max(path.stat().st_size for path in html.rglob("*.html")) < 1_000_000
    assert "bokeh.min.js" not in (html / "faq.html").read_text()


@pytest.mark.slow
def test_in_a_browser_plots_live_and_search_finds(site, browser):
    _, address = site
    page, wrong = browser
    page.goto(f"{address}/nbs/20_indicators/11_ema.html", wait_until="networkidle")
    drawn(page)
    page.goto(f"{address}/search.html?q=EMA", wait_until="networkidle")
    page.wait_for_selector("#search-results li a", timeout=15_000)
    assert "nbs/20_indicators/11_ema.html" in page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href).join()")
    kept(page, "search")
    page.goto(f"{address}/search.html?q=maintenance+margin", wait_until="networkidle")
    page.wait_for_selector("#search-results li a", timeout=15_000)
    assert "glossary.html" in page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href).join()")
    for name in ("quick_start", "rooms/20_indicators", "api/perps_kit.indicators.ema", "reference/units", "architecture", "faq"):
        page.goto(f"{address}/{name}.html", wait_until="networkidle")
    assert wrong == []


@pytest.mark.slow
def test_the_front_page_draws_and_a_drag_pans_it(site, browser):
    _, address = site
    page, wrong = browser
    page.set_viewport_size(dict(width=1300, height=1100))
    page.goto(f"{address}/index.html", wait_until="networkidle")
    drawn(page)
    x_range = "() => { const r = Bokeh.documents[0].get_model_by_name('prices').x_range; return [r.start, r.end] }"
    before = page.evaluate(x_range)
    where = page.locator(".bk-Figure").first.bounding_box()
    middle = where["x"] + where["width"] / 2, where["y"] + where["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 200, middle[1], steps=8)
    page.mouse.up()
    after = page.evaluate(x_range)
    assert after[0] < before[0] and after[1] - after[0] == pytest.approx(before[1] - before[0], rel=0.01)
    kept(page, "front")
    assert wrong == []


@pytest.mark.slow
def test_dark_mode_turns_page_and_plots_and_back(site, browser):
    _, address = site
    page, wrong = browser
    page.goto(f"{address}/nbs/20_indicators/11_ema.html", wait_until="networkidle")
    page.evaluate("localStorage.setItem('mode', 'light'), localStorage.setItem('theme', 'light')")
    page.reload(wait_until="networkidle")
    drawn(page)
    light = page.evaluate(BODY), page.evaluate(BACKGROUNDS)
    assert light[1] and all(color == "#ffffff" for color in light[1])
    page.locator(".theme-switch-button").first.click()
    page.locator("[data-mode=dark], [data-bs-theme-value=dark]").locator("visible=true").first.click() if page.evaluate(
        "document.documentElement.dataset.theme"
    ) != "dark" else None
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=10_000)
    page.wait_for_function(f"({BACKGROUNDS})().every(color => color !== '#ffffff')", timeout=10_000)
    dark = page.evaluate(BODY), page.evaluate(BACKGROUNDS)
    page.locator(".bk-Figure").first.scroll_into_view_if_needed()
    kept(page, "dark")
    assert dark[0] != light[0]
    frame = page.evaluate("getComputedStyle(document.querySelector('.text_html:has([data-root-id])')).backgroundColor")
    assert frame in ("rgba(0, 0, 0, 0)", dark[0])       # no light frame around a dark plot
    assert contrast(dark[1][0], page.evaluate(LABELS)[0]) > 4.5
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.wait_for_function(f"({BACKGROUNDS})().every(color => color === '#ffffff')", timeout=10_000)
    assert wrong == []


def contrast(a: str, b: str) -> float:
    "How well two colours are told apart (WCAG)."

    def light(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * blue

    low, high = sorted((light(a), light(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.slow
def test_on_a_phone_no_page_scrolls_sideways(site, browser):
    _, address = site
    page, wrong = browser
    page.set_viewport_size(dict(width=390, height=800))
    names = [
        "index",
        "quick_start",
        "tutorials/honest_evaluation",
        "how_to/monitor",
        "reference/units",
        "reference/settings",
        "reference/cli",
        "reference/http",
        "glossary",
        "faq",
        "architecture",
        "nbs/20_indicators/11_ema",
        "api/perps_kit.indicators.ema",
    ]
    for name in names:
        page.goto(f"{address}/{name}.html", wait_until="load")
        page.wait_for_timeout(300)
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{name}: {wide}"
        if name in ("index", "reference/settings"):
            kept(page, "phone_" + name.replace("/", "_"))
    assert wrong == []


@pytest.mark.slow
def test_the_site_works_from_the_disk(site, browser):
    html, _ = site
    page, wrong = browser
    page.goto(f"file://{html}/index.html")
    drawn(page)
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
    assert len(rows) == len(pages) - 1  # how often they happen is no unit
    assert all((ROOT / "nbs/20_indicators" / name).exists() for name in re.findall(r"\((thumbnails/[a-z_]+\.svg)\)", index))
