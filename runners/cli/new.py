"`perps-kit new`: the page of a unit to fill, or a package of one's own, from templates that already run."

import builtins
import json
import keyword
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from runners.errors import ConfigError

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
CELL = re.compile(r"^# %% ?(\[markdown\] )?([a-z0-9][a-z0-9-]*) *$\n?", re.M)
LONGEST = 30        # characters of a name: it stands several times in a line of code


class Kind(NamedTuple):
    "What can be begun, and where it belongs."
    template: str
    room: str                   # of the notebooks
    layer: str                  # of perps_kit
    below: int                  # a new page stands before this number
    test: str                   # the body of a private package's test; "": the registry would not find it there
    fed: str = ""               # what its update takes


KINDS = {
    "strategy": Kind("strategy", "30_strategies", "strategies", 90, "strategy"),
    "indicator": Kind("indicator", "20_indicators", "indicators", 90, "unit", "close"),
    "risk-rule": Kind("rule", "50_risk", "risk", 60, ""),
    "tracker": Kind("tracker", "60_trackers", "trackers", 90, "unit", "bar"),
}


class Cell(NamedTuple):
    "A cell of a page."
    id: str
    text: str
    prose: bool


class Page(NamedTuple):
    "A page that does not exist yet."
    kind: str
    name: str
    path: Path
    cells: list[Cell]


def kind_of(word: str) -> str:
    "The kind that somebody means."
    said = re.sub(r"[ _]+", "-", word.strip().lower())
    said = "risk-rule" if said in ("risk", "rule") else said
    if said not in KINDS: raise ConfigError(f"there is no kind {word!r}: take one of {', '.join(KINDS)}")
    return said


def class_name(name: str) -> str: return "".join(part.capitalize() for part in name.split("_"))


def checked(name: str, what: str = "name") -> str:
    "A name that can become a module, a class and a word in settings; ConfigError otherwise."
    from perps_kit.core.signal import name_of

    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ConfigError(f"{what} {name!r}: take small letters, digits and single underscores, beginning with a letter, such as fast_fade")
    if len(name) > LONGEST: raise ConfigError(f"{what} {name!r} has {len(name)} characters: take at most {LONGEST}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        raise ConfigError(f"{what} {name!r} means something in Python: take another one")
    again = name_of(type(class_name(name), (), {}))
    if again != name: raise ConfigError(f"{what} {name!r}: its class would be called {again!r} in settings; take that as its name")
    return name


def registered(name: str) -> None:
    "ConfigError where a unit or strategy of that name is known already."
    from perps_kit.core.registry import entries

    taken = next((e for e in entries() if e.name == name), None)
    if taken: raise ConfigError(f"there is a {taken.kind} {name!r} already, in {taken.module}: take another name")


def filled(template: str, name: str, **more: str) -> str:
    "A template with its places filled; ValueError where one is left."
    words = {"name": name, "Class": class_name(name), "CONSTANT": name.upper(), "id": name.replace("_", "-"),
             "Title": name.replace("_", " ").capitalize()} | more
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    for place, word in words.items(): text = text.replace(f"@{place}@", word)
    left = re.search(r"@[A-Za-z]+@", text)
    if left: raise ValueError(f"template {template} has a place {left[0]} that nobody fills")
    return text


def cells_of(text: str) -> list[Cell]:
    "The cells of a page in percent text."
    parts = CELL.split(text)
    return [Cell(name, body.strip("\n"), bool(prose)) for prose, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)]


def exported(cells: list[Cell]) -> str:
    "The module that a page exports, as plain text; imports stay absolute."
    code = [c.text.removeprefix("#| export\n") for c in cells if not c.prose and c.text.startswith("#| export\n")]
    return "\n\n\n".join(code) + "\n"


def notebooks_of(folder: Path | None) -> Path:
    "The folder of notebooks: the given one, or that of the checkout around the working directory."
    if folder:
        if not folder.is_dir(): raise ConfigError(f"{folder} is no folder: name one that holds the rooms of notebooks, such as nbs")
        return folder
    here = Path.cwd()
    for place in (here, *here.parents):
        if (place / "nbs" / "30_strategies").is_dir(): return place / "nbs"
    raise ConfigError("there is no folder nbs here: start in a checkout, name one with --folder, or begin a package with --package DIR")


def numbered(room: Path, below: int, number: int | None) -> int:
    "The number of a page: the wished one, or the first one behind the room's ordinary pages."
    taken = {int(path.name[:2]) for path in room.glob("[0-9][0-9]_*.ipynb")}
    if number is None:
        behind = max((n for n in taken if n < below), default=0) + 1
        number = behind if behind < below else next((n for n in range(1, 100) if n not in taken), None)
        if number is None: raise ConfigError(f"every number from 1 to 99 is taken in {room}")
    if not 0 <= number <= 99: raise ConfigError(f"number {number}: take one from 0 to 99")
    if number in taken: raise ConfigError(f"number {number} is taken in {room}: leave it out for the next free one")
    return number


def page(kind: str, name: str, number: int | None = None, folder: Path | None = None) -> Page:
    "The page of a new unit, filled from its template; nothing is written."
    kind, name = kind_of(kind), checked(name)
    it, root = KINDS[kind], notebooks_of(folder)
    room = root / it.room
    twin = next(iter(sorted(room.glob(f"[0-9][0-9]_{name}.ipynb"))), None)
    if twin: raise ConfigError(f"{twin} is there already: nothing is overwritten, take another name")
    module = root.parent / "perps_kit" / it.layer / f"{name}.py"
    if module.exists(): raise ConfigError(f"{module} is there already: nothing is overwritten, take another name")
    registered(name)
    return Page(kind, name, room / f"{numbered(room, it.below, number):02d}_{name}.ipynb", cells_of(filled(it.template, name)))


def write(page: Page) -> Path:
    "Write a page as a notebook; a file that is there already is left alone."
    if find_spec("nbdev") is None or find_spec("nbformat") is None:
        raise ConfigError("pages are written with the development tools: `make dev`, or install perps_kit[dev]; --package DIR needs none")
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    cells = [(new_markdown_cell if c.prose else new_code_cell)(c.text, id=c.id) for c in page.cells]
    nb = new_notebook(cells=cells, metadata=dict(kernelspec=dict(display_name="Python 3 (ipykernel)", language="python", name="python3")))
    nb.nbformat, nb.nbformat_minor = 4, 5
    nbformat.validate(nb)
    page.path.parent.mkdir(parents=True, exist_ok=True)
    put({page.path: nbformat.writes(nb).rstrip("\n") + "\n"})
    return page.path


def put(files: dict[Path, str]) -> None:
    "Write new files: all of them, or none where one is there already."
    for path in files:
        if path.exists(): raise ConfigError(f"{path} is there already: nothing is overwritten")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file: file.write(text)


def package_name(folder: Path) -> str: return folder.resolve().name.lower().replace("-", "_")


def package(kind: str, name: str, folder: Path) -> list[Path]:
    "Write a private package with one unit, its entry point and its test."
    kind, name = kind_of(kind), checked(name)
    it, called = KINDS[kind], checked(package_name(folder), "package")
    if not it.test:
        raise ConfigError("a risk rule is no unit that the registry finds: begin its page in a checkout, without --package")
    known = find_spec(called)
    if known and (folder / called).resolve() not in map(Path, map(str, known.submodule_search_locations or ())):
        raise ConfigError(f"package {called!r} would hide another one of that name: call the folder otherwise")
    registered(name)
    inputs = "[(bar,) for bar in BARS]" if it.fed == "bar" else "BARS.close.tolist()"
    test = filled(f"package_test_{it.test}", name, package=called, inputs=inputs, fed=it.fed)
    lesson = "Units of one's own for perps_kit, found through the entry point group perps_kit.units."
    cells = cells_of(filled(it.template, name))
    summary = f'"{class_name(name)}: fill in what it is, in a line."\n\n'
    files = {
        folder / "pyproject.toml": filled("package_pyproject", name, package=called),
        folder / called / "__init__.py": f'"{lesson}"\n',
        folder / called / f"{name}.py": summary + exported(cells),
        folder / "tests" / f"test_{name}.py": test,
    }
    put(files)
    return list(files)


def nearby(path: Path) -> Path: return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def page_steps(it: Page) -> list[str]:
    "What to do with a page, in order."
    path, called = nearby(it.path), class_name(it.name)
    steps = [f"open it: make lab NOTEBOOK={path}", 'fill it: every "Fill in:", the unit, its pictures and its checks',
             f"export and run it: .envs/dev/bin/nbdev-export --path {path} && .envs/dev/bin/python tools/notebooks.py run {path}"]
    if it.kind == "risk-rule":
        return [*steps, "list it: add it to RULES in nbs/50_risk/60_rules.ipynb, and export that page", "test it: make test"]
    steps.append(f"test it: .envs/dev/bin/pytest tests/contracts -k {it.name}, then make test")
    if it.kind == "strategy":
        steps.append(f"try it: perps-kit evaluate --strategy {it.name}")
        steps.append(f"run it: settings of strategies: {{{it.name}: {{}}}} and mode: paper, then perps-kit run")
    if it.kind == "indicator":
        steps.append(f"show it: a line with `{called}` in nbs/20_indicators/index.ipynb, and tools/thumbnails.py for its picture")
    return steps


def package_steps(kind: str, name: str, folder: Path) -> list[str]:
    "What to do with a package, in order."
    tried, used = f"try it: perps-kit evaluate --strategy {name}", f"use it: on({class_name(name)}.of(), ...) among a strategy's features"
    return [f"fill it: {folder / package_name(folder) / name}.py", f"install it: pip install --no-deps -e {folder}",
            f"find it: perps-kit units {name}", f"test it: pytest {folder}", tried if kind == "strategy" else used]


def new(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(help="Like fast_fade: of the module, of the unit in settings, and FastFade of the class.")],
    number: Annotated[int | None, typer.Option(help="Of the page within its room; left out: the next free one.")] = None,
    folder: Annotated[Path | None, typer.Option(help="The folder of notebooks; left out: nbs of this checkout.")] = None,
    package_dir: Annotated[Path | None, typer.Option("--package", metavar="DIR", help="Begin a package of your own there instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    "Begin a unit: a page with its lesson, unit, pictures and checks to fill, or a package of your own."
    if package_dir and (folder or number is not None): raise ConfigError("--package has no page: leave out --number and --folder")
    if package_dir:
        files = package(kind, name, package_dir)
        steps = package_steps(kind_of(kind), name, package_dir)
    else:
        it = page(kind, name, number, folder)
        files, steps = [write(it)], page_steps(it)
    if as_json:
        typer.echo(json.dumps(dict(kind=kind_of(kind), name=name, files=[str(path) for path in files], next=steps)))
        return
    for path in files: typer.echo(f"wrote {nearby(path)}")
    typer.echo("\n".join(["", "Next:", *(f"  {k}. {step}" for k, step in enumerate(steps, 1))]))
