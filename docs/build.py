"""Builds the site into docs/_build/html: prose, executed notebooks, reference, search, live plots; nothing in it asks the network.

docs/build.py                  everything
docs/build.py --only DIR...    all prose, and some folders or notebooks of nbs/, for a quick look
docs/build.py --no-execute     the notebooks as they were executed last, or else as they stand
docs/build.py --serve          afterwards, serve it and open a browser: the same as `perps-kit docs`
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [path for path in (str(HERE), str(ROOT)) if path not in sys.path]

import front  # noqa: E402
import layers  # noqa: E402
import links  # noqa: E402
import reference  # noqa: E402

NBS = ROOT / "nbs"
BUILT = Path(os.environ.get("PERPS_DOCS_BUILT", HERE / "_build"))
DONE = BUILT / "nbs"  # executed notebooks
SOURCE = BUILT / "source"  # what Sphinx reads
STATIC = BUILT / "static"  # scripts taken from packages

MATHJAX = "mathjax@3.2.2"
MATHJAX_SHA256 = "a4354ff94fd868aea0cc6eaaa79a57fda0588646fc46ee3700a349ee0a11cbe6"
DRAW, LOAD = "application/vnd.bokehjs_exec.v0+json", "application/vnd.bokehjs_load.v0+json"
BOKEH_PARTS = {
    "bokeh-widgets": r'"name":"(Button|Slider|Select|Div|DateRangeSlider|CheckboxGroup|RadioButtonGroup|TextInput|Tabs)"',
    "bokeh-tables": r'"name":"DataTable"',
    "bokeh-gl": r'"output_backend":"webgl"',
    "bokeh-mathjax": r'"text":"[^"]*\$\$',
}
DIRECTIVE = re.compile(r"^\s*#\|\s*([\w-]+)\s*:?\s*(.*)$")


def notebooks(only: list[str] | None = None) -> list[Path]:
    "The notebooks of the site in reading order, all or those in the named places."
    found = [path for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    found.sort(key=lambda path: (path.parent, path.name != "index.ipynb", path.name))
    places = [Path(name).resolve() for name in only or [NBS]]
    return [path for path in found if any(path.is_relative_to(place) for place in places)]


def stamp(path: Path) -> str:
    "Changes when a notebook, or any code that it may use, does."
    digest = hashlib.sha256(path.read_bytes())
    for module in sorted([*(ROOT / "perps_kit").rglob("*.py"), *(ROOT / "runners").rglob("*.py")]):
        digest.update(module.read_bytes())
    return digest.hexdigest()


def execute(paths: list[Path]) -> bool:
    "Run the notebooks that changed since they were run last; whether all passed."
    stamps_file = BUILT / "stamps.json"
    stamps = json.loads(stamps_file.read_text()) if stamps_file.is_file() else {}
    names = {path: str(path.relative_to(NBS)) for path in paths}
    new = {path: stamp(path) for path in paths}
    stale = [path for path in paths if stamps.get(names[path]) != new[path] or not (DONE / names[path]).is_file()]
    good = True
    if stale:
        done = subprocess.run([sys.executable, str(ROOT / "tools/notebooks.py"), "run", "--to", str(DONE), *map(str, stale)], cwd=ROOT)
        good = done.returncode == 0
    if good:
        stamps.update({names[path]: new[path] for path in stale})
        stamps_file.parent.mkdir(parents=True, exist_ok=True)
        stamps_file.write_text(json.dumps(stamps))
    return good


def title_of(notebook: Any, path: Path) -> tuple[str, str]:
    "A notebook's heading and the line under it."
    text = notebook.cells[0].source if notebook.cells and notebook.cells[0].cell_type == "markdown" else ""
    heading = re.search(r"^# (.+)$", text, re.M)
    line = re.search(r"^> (.+(?:\n> .+)*)", text, re.M)
    return heading[1].strip() if heading else path.stem, line[1].replace("\n> ", " ").strip() if line else ""


def module_of(notebook: Any) -> str:
    "The module that a notebook exports, or an empty string."
    for cell in notebook.cells:
        found = re.search(r"^#\|\s*default_exp:?\s+(\S+)", cell.source, re.M) if cell.cell_type == "code" else None
        if found:
            return f"perps_kit.{found[1]}"
    return ""


def page(notebook: Any, path: Path) -> Any:
    "A notebook as the site shows it: no directives, exported cells marked, no scripts that the site has already."
    heading, _ = title_of(notebook, path)
    module = module_of(notebook)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            directives = {found[1]: found[2] for found in map(DIRECTIVE.match, lines) if found}
            cell.source = "\n".join(line for line in lines if not DIRECTIVE.match(line)).strip("\n")
            cell.outputs = [output for output in cell.outputs if LOAD not in output.get("data", {})]
            tags = ["remove-input"] if "echo" in directives and directives["echo"] == "false" else []
            if directives.keys() & {"export", "exporti", "exports"}:
                tags.append("exported")
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
            if "hide" in directives or not cell.source.strip() or "nbdev_export()" in cell.source:
                continue
        cells.append(cell)
    if not cells or not re.search(r"^# ", cells[0].source, re.M):
        cells.insert(0, nbformat.v4.new_markdown_cell(f"# {heading}"))
    if module:
        note = f"{{.exports}}\nExports [`{module}`]({'../' * len(path.relative_to(NBS.parent).parent.parts)}api/{module}.md)."
        cells.insert(1, nbformat.v4.new_markdown_cell(note))
    notebook.cells = cells
    return notebook


def drawn_with(notebook: Any) -> list[str]:
    "The BokehJS files that a notebook's plots need."
    texts = [
        "".join(output.data.get("application/javascript", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if DRAW in output.get("data", {})
    ]
    if not texts:
        return []
    return ["bokeh.min.js"] + [f"{part}.min.js" for part, sign in BOKEH_PARTS.items() if any(re.search(sign, text) for text in texts)]


def write(name: str, text: str) -> None:
    path = SOURCE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def toctree(entries: list[str], *options: str) -> str:
    return "\n".join(["```{toctree}", *options, "", *entries, "```", ""])


def lay_out(paths: list[Path]) -> None:
    "Write Sphinx's sources: the prose, the notebooks, a page for each room, the reference."
    shutil.rmtree(SOURCE, ignore_errors=True)
    rooms: dict[str, list[tuple[str, str, str]]] = {}
    draws, modules = {"index": ["bokeh.min.js", "front_chart.js"]}, {}
    for path in paths:
        name = path.relative_to(NBS)
        done = DONE / name
        notebook = nbformat.read(done if done.is_file() else path, 4)
        heading, line = title_of(notebook, path)
        if module := module_of(notebook):
            modules[module] = f"nbs/{name.with_suffix('')}"
        draws[f"nbs/{name.with_suffix('')}"] = drawn_with(notebook)
        target = SOURCE / "nbs" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page(notebook, path), target)
        if len(name.parts) > 1:
            rooms.setdefault(name.parts[0], []).append((f"/nbs/{name}", heading, line))
    for picture in NBS.rglob("*.svg"):
        place = SOURCE / "nbs" / picture.relative_to(NBS)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, place)
    (BUILT / "draws.json").write_text(json.dumps(draws))
    known, cards = json.loads((HERE / "rooms.json").read_text(encoding="utf-8")), []
    for room, pages in rooms.items():
        called, text = known.get(room, [room.partition("_")[2].title(), ""])
        listed = listing(pages)
        write(f"rooms/{room}.md", f"# {called}\n\n{text}\n\n{listed}\n{toctree([name for name, _, _ in pages], ':hidden:')}")
        cards.append(
            f'<a class="room" href="@up@rooms/{room}.html"><span class="count">{len(pages)}</span>'
            f'<span class="name">{escape(called)}</span><span class="text">{escape(text)}</span></a>'
        )
    lay_out_api(modules)
    lay_out_prose(rooms, f'<div class="rooms">{"".join(cards)}</div>', {f"nbs/{path.relative_to(NBS)}" for path in paths})


def listing(pages: list[tuple[str, str, str]]) -> str:
    "Pages with the line under each title."
    return "\n".join(f"[{heading}]({name})\n: {line or '&nbsp;'}\n" for name, heading, line in pages)


def lay_out_prose(rooms: dict[str, list[tuple[str, str, str]]], cards: str, there: set[str]) -> None:
    "The written pages, their places filled with what is made of code and notebooks."
    for name, made in reference.PAGES.items():
        write(name, made())
    write("reference/units.md", reference.units(there))
    doors = {name.partition("_")[2]: f"../rooms/{name}.html".removeprefix("../") for name in rooms}
    start = ["/nbs/index"] if (SOURCE / "nbs/index.ipynb").is_file() else []
    filled = {
        "@layers@": raw(layers.svg(doors)),
        "@guides@": listing(rooms.get("90_guides", [])),
        "@toctree@": toctree([*start, *(f"/rooms/{room}" for room in rooms)], ":hidden:", ":maxdepth: 1"),
    }
    for path in sorted((HERE / "pages").rglob("*.md")):
        name = path.relative_to(HERE / "pages")
        text = path.read_text(encoding="utf-8")
        for place, words in filled.items():
            text = text.replace(place, words)
        write(str(name), text.replace("@rooms@", raw(cards.replace("@up@", "../" * (len(name.parts) - 1)))))


def raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```"


def lay_out_api(modules: dict[str, str]) -> None:
    "A page for each module that a notebook exports."
    for module, name in modules.items():
        write(
            f"api/{module}.md",
            f"# {module}\n\n{{.exports}}\nExplained in [its notebook](/{name}.ipynb).\n\n"
            f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :undoc-members:\n```\n",
        )
    write(
        "api/index.md",
        "# API\n\nEvery public name, from the docstrings. The notebooks explain, these pages remind.\n\n"
        + toctree(sorted(modules), ":maxdepth: 1"),
    )


def take_scripts() -> None:
    "Copy BokehJS from its package, and MathJax from npm where that is to be had."
    STATIC.mkdir(parents=True, exist_ok=True)
    spec = find_spec("bokeh")
    scripts = Path((spec.submodule_search_locations or [""])[0]) / "server/static/js" if spec else Path()
    for name in ["bokeh", *BOKEH_PARTS]:
        shutil.copyfile(scripts / f"{name}.min.js", STATIC / f"{name}.min.js")
    front.scripts(STATIC)
    if script := mathjax(ROOT / ".cache" / MATHJAX.replace("@", "-")):
        shutil.copyfile(script, STATIC / "mathjax.js")
    else:
        (STATIC / "mathjax.js").unlink(missing_ok=True)
        print("docs: npm or its registry is not there, so formulas stay as TeX source", flush=True)


def mathjax(cache: Path) -> Path | None:
    "MathJax in one file, from npm the first time; None where there is no npm, no network, or not the file that was expected."
    script, npm = cache / "package/es5/tex-svg-full.js", shutil.which("npm")
    if not script.is_file() and npm:
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", "--fetch-retries=0", "--cache", str(cache / "npm"), MATHJAX]
        try:
            packed = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return None
        if packed.returncode == 0:
            shutil.unpack_archive(cache / packed.stdout.split()[-1], cache)
    good = script.is_file() and hashlib.sha256(script.read_bytes()).hexdigest() == MATHJAX_SHA256
    return script if good else None


def sphinx(strict: bool) -> int:
    "Start Sphinx; in the whole site a warning, such as a broken link, is a failure."
    shutil.rmtree(BUILT / "html", ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-c",
        str(HERE),
        "-d",
        str(BUILT / "doctrees"),
        "-q",
        *(["-W", "--keep-going"] if strict else []),
        "-j",
        "2",
        str(SOURCE),
        str(BUILT / "html"),
    ]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "PERPS_DOCS_BUILT": str(BUILT)}).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PATH", help="folders or notebooks of nbs/")
    parser.add_argument("--no-execute", action="store_true", help="use the outputs that are there")
    parser.add_argument("--serve", action="store_true", help="serve the site afterwards and open a browser")
    args = parser.parse_args()
    for name in args.only or ():
        if not notebooks([name]):
            print(f"docs: there is no notebook at {name}", file=sys.stderr)
            return 2
    paths = notebooks(args.only)
    if not args.no_execute and not execute(paths):
        print("docs: a notebook failed, so the site is not built", file=sys.stderr)
        return 1
    lay_out(paths)
    take_scripts()
    warned = sphinx(strict=not args.only)
    wrong = links.report(BUILT / "html", BUILT / "elsewhere.txt", bool(args.only))
    if warned or wrong:
        told = ["Sphinx warned"] * bool(warned) + [f"{wrong} links lead nowhere or to another host"] * bool(wrong)
        print(f"docs: {' and '.join(told)}, see above", file=sys.stderr)
        return 1
    print(f"docs: {len(paths)} notebooks and the pages around them, every link checked")
    command = Path(sys.executable).with_name("perps-kit")
    command = command.relative_to(ROOT) if command.is_relative_to(ROOT) else "perps-kit"
    print(f"look at it:  {command} docs\nor open:     {BUILT / 'html' / 'index.html'}")
    if args.serve:
        from runners.cli.docs import serve

        serve(BUILT / "html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
