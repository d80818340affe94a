"What is promised about environments, metadata and imports."
import ast
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import perps_kit

ROOT = Path(__file__).resolve().parent.parent
CORE_TO_ENGINE = ("core", "data", "indicators", "strategies", "scoring", "risk", "trackers", "engine")
FILES = [path for room in CORE_TO_ENGINE for path in sorted((ROOT / "perps_kit" / room).glob("*.py"))]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]


def pins(name: str) -> dict[str, set[str]]:
    "Package -> versions in a lock file: one, or one for each range of Pythons."
    found: dict[str, set[str]] = {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for package, pinned in re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.M): found.setdefault(package, set()).add(pinned)
    return found


def declared(key: str) -> set[str]:
    "The packages that settings.ini asks for."
    text = (ROOT / "settings.ini").read_text()
    block = re.search(rf"^{key} =\n((?:    .*\n)+)", text, re.M)
    assert block, f"settings.ini has no {key}"
    return {re.split(r"[\[<>=~!;]", line.strip())[0].lower().replace("_", "-") for line in block[1].splitlines()}


@pytest.mark.parametrize("package", ["jupyterlab", "notebook", "ipykernel", "numba", "llvmlite", "pandas", "scipy", "backtesting"])
def test_the_runners_environment_is_light(package):
    assert package not in pins("runner")


@pytest.mark.parametrize(("lock", "keys"), [
    ("runner", ["requirements"]), ("dev", ["requirements", "research_requirements", "postgres_requirements", "dev_requirements"])])
def test_a_lock_file_holds_all_that_settings_ask_for(lock, keys):
    missing = set().union(*map(declared, keys)) - pins(lock).keys()
    assert not missing, f"requirements/{lock}.txt lacks {missing}: run make lock"


def test_environments_agree_on_what_they_share():
    runner, dev = pins("runner"), pins("dev")
    assert {name: versions for name, versions in runner.items() if not versions <= dev.get(name, set())} == {}
    assert pins("uv") == {"uv": dev["uv"]}


def test_telethon_is_pinned_exactly():
    assert re.search(r"^ +telethon==[\d.]+$", (ROOT / "settings.ini").read_text(), re.M)


def test_the_version_stands_once():
    assert perps_kit.__version__ == version("perps_kit")
    assert f"version = {perps_kit.__version__}\n" in (ROOT / "settings.ini").read_text()
    assert "[project]" not in (ROOT / "pyproject.toml").read_text()


def imported(path: Path) -> set[tuple[str, bool]]:
    "(top-level package, at import time) for each absolute import."
    tree = ast.parse(path.read_text())
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
              or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))]
    late = {id(inner) for block in blocks for inner in ast.walk(block)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): found |= {(alias.name.split(".")[0], id(node) not in late) for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level: found.add(((node.module or "").split(".")[0], id(node) not in late))
    return found


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_core_to_engine_import_only_numpy_and_the_standard_library(path):
    foreign = {name for name, at_once in imported(path) if at_once} - sys.stdlib_module_names - {"numpy", "perps_kit"}
    assert not foreign


def test_core_to_engine_load_nothing_heavy():
    "In a fresh process: what the service loads to step units must not bring a compiler, tables or a network client."
    code = f"import importlib, json, sys\nfor name in {MODULES!r}: importlib.import_module(name)\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert result.returncode == 0, result.stderr
    heavy = {"numba", "llvmlite", "pandas", "scipy", "pyarrow", "sqlalchemy", "ccxt", "aiohttp", "telethon", "fastapi", "pydantic", "bokeh",
             "asyncio", "IPython"}
    assert not heavy & set(json.loads(result.stdout))


def tracked() -> list[Path]:
    answer = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT)
    if answer.returncode: pytest.skip("not a git checkout")
    return [ROOT / name for name in answer.stdout.split("\0") if name]


def test_no_file_of_the_repository_names_a_place_on_this_machine():
    here = [str(ROOT).encode() + b"/", str(Path.home()).encode() + b"/"]
    named = [path.relative_to(ROOT) for path in tracked() if path.is_file() and any(place in path.read_bytes() for place in here)]
    assert not named


def test_make_alone_lists_every_target():
    listed = subprocess.run(["make", "--no-print-directory"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for target in ("demo", "test", "lab", "docs", "bench", "lock", "export", "notebooks", "clean"):
        assert re.search(rf"^  make {target} +\S", listed, re.M)


def bootstrap(*names: str, python: str = sys.executable, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, 'tools')\n{before}\nimport bootstrap; bootstrap.main({list(names)!r})"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_an_old_python_is_refused_in_one_sentence():
    answer = bootstrap("runner", before="sys.version_info = (3, 9, 1)")
    assert answer.returncode == 1
    assert answer.stderr == "bootstrap: Python 3.11 or newer is needed and this is 3.9.1; name a newer one: make PYTHON=python3.12 ...\n"


def test_a_python_without_venv_is_told_what_to_install():
    answer = bootstrap("runner", before="sys.modules['ensurepip'] = None")
    assert answer.returncode == 1
    assert "install python3-venv" in answer.stderr


def test_an_unknown_environment_is_refused():
    answer = bootstrap("production")
    assert answer.returncode == 1
    assert "runner, dev or uv" in answer.stderr
