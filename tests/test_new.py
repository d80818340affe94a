"`perps-kit new`: what it writes runs as it stands, keeps every contract, and a wrong name is one sentence."

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import arithmetic_lint
import nbformat
import notebooks
import pytest
import typer
from typer.testing import CliRunner

from runners.cli import new
from runners.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
UNITS = {"strategy": "toy_fade", "indicator": "toy_gap", "tracker": "toy_trail"}
PAGES = UNITS | {"risk-rule": "toy_wide"}
app = typer.Typer()
app.command()(new.new)


def run(*command: str | Path, cwd: Path, path: Path) -> str:
    "The output of a command that sees `path` first."
    environment = os.environ | dict(PYTHONPATH=str(path), PERPS_CACHE=str(ROOT / ".cache" / "loops"), PERPS_LEDGER="off", COLUMNS="200")
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rooms(where: Path) -> Path:
    "An empty folder of notebooks."
    for kind in new.KINDS.values(): (where / "nbs" / kind.room).mkdir(parents=True)
    return where / "nbs"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A copy of the checkout without pages, in which one page of each kind was begun, exported and run."
    there = tmp_path_factory.mktemp("walk") / "checkout"
    for name in ("perps_kit", "tests/contracts", "tests/fixtures", "tools"):
        shutil.copytree(ROOT / name, there / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "settings.ini", "tests/conftest.py"): shutil.copy(ROOT / name, there / name)
    (there / "sample_data").symlink_to(ROOT / "sample_data")
    if (ROOT.parent / "shared").exists(): (there.parent / "shared").symlink_to(ROOT.parent / "shared")
    folder = rooms(there)
    for kind, name in PAGES.items():
        path = new.write(new.page(kind, name, folder=folder))
        run(BIN / "nbdev-export", "--path", path, cwd=there, path=there)
    run(sys.executable, "tools/notebooks.py", "run", "nbs", cwd=there, path=there)
    return there


def module(workshop: Path, kind: str) -> Path: return workshop / "perps_kit" / new.KINDS[kind].layer / f"{PAGES[kind]}.py"


@pytest.mark.parametrize("kind", PAGES)
def test_a_new_page_runs_as_it_stands_and_is_what_git_keeps(workshop, kind):
    path = next(workshop.glob(f"nbs/*/01_{PAGES[kind]}.ipynb"))
    assert notebooks.complaints(path) == []
    nb = nbformat.read(path, 4)
    assert all(cell.id.startswith(PAGES[kind].replace("_", "-") + "-") for cell in nb.cells)
    text = "\n".join(cell.source for cell in nb.cells)
    assert "**Fill in:**" in text and ("show(" in text or "study(" in text)
    assert any(cell.get("outputs") for cell in nb.cells)


def test_what_it_exports_is_tidy_and_compiles_to_the_same_bits(workshop):
    files = [module(workshop, kind) for kind in PAGES]
    run(BIN / "ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml", *files, cwd=workshop, path=workshop)
    paths = {".".join(f.relative_to(workshop).with_suffix("").parts): f for f in (workshop / "perps_kit").rglob("*.py")}
    assert not [str(f) for f in arithmetic_lint.lint(paths) if Path(f.path).stem in PAGES.values()]


def test_what_it_exports_has_types_that_agree(workshop):
    run(BIN / "pyright", "--pythonpath", sys.executable, *(module(workshop, kind) for kind in PAGES), cwd=workshop, path=workshop)


def test_new_units_keep_the_contracts_of_all_units(workshop):
    said = run(BIN / "pytest", "-q", "-p", "no:cacheprovider", "tests/contracts", "-k", " or ".join([*UNITS.values(), "every_registered"]),
               cwd=workshop, path=workshop)
    listed = run(BIN / "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests/contracts", "-k", " or ".join(UNITS.values()),
                 cwd=workshop, path=workshop)
    for name in UNITS.values(): assert f"test_the_past_does_not_change_when_the_future_arrives[{name}-sample]" in listed
    assert " passed" in said


def test_the_new_rule_is_asked_like_any_other(workshop):
    code = """if True:
        from math import nan
        from perps_kit.risk.account import Account, Terms
        from perps_kit.risk.order import Order, Scene, settle
        from perps_kit.risk.pace import pace_rule
        from perps_kit.risk.toy_wide import toy_wide_rule
        wish = Order("0" * 32, "ema_scalper", "SOLUSDT", 1, 0, 100.0, 90.0, 72.0, (1.0, 2.0, nan))
        done = settle(wish, Scene(Account.of(1e4), Terms()), [toy_wide_rule, pace_rule])
        print(done.refused, len(done.verdicts), done.verdicts[0].value)"""
    assert run(sys.executable, "-c", code, cwd=workshop, path=workshop).split("\n")[0] == "toy_wide 1 10.00 %"


def test_numbers_are_the_next_free_ones_of_the_real_rooms():
    for kind, name in PAGES.items():
        page = new.page(kind, name, folder=ROOT / "nbs")
        number = int(page.path.name[:2])
        taken = [int(path.name[:2]) for path in page.path.parent.glob("[0-9][0-9]_*")]
        assert number not in taken and number < new.KINDS[kind].below and max(n for n in taken if n < new.KINDS[kind].below) == number - 1
        assert not page.path.exists()


@pytest.mark.parametrize("name", ["Fade", "fast-fade", "9fade", "_fade", "fade_", "fast__fade", "", "a b", "../fade", "fáde", "class",
                                  "match", "print", "x" * 31, "a_b", "fade_2", "ema", "rsi", "ema_scalper", "ladder"])
def test_a_bad_or_taken_name_is_one_sentence(tmp_path, name):
    with pytest.raises(ConfigError) as said: new.page("strategy", name, folder=rooms(tmp_path))
    assert "\n" not in str(said.value) and ("take" in str(said.value)) and repr(name) in str(said.value)
    assert not list(tmp_path.rglob("*.ipynb"))


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(tmp_path):
    with pytest.raises(ConfigError, match="take that as its name") as said: new.page("indicator", "fade_2", folder=rooms(tmp_path))
    assert "'fade2'" in str(said.value)


def test_nothing_is_overwritten(tmp_path):
    folder = rooms(tmp_path)
    path = new.write(new.page("tracker", "toy", folder=folder))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is there already"): new.page("tracker", "toy", folder=folder)
    with pytest.raises(ConfigError, match="number 1 is taken"): new.page("tracker", "other", number=1, folder=folder)
    with pytest.raises(ConfigError, match="nothing is overwritten"): new.write(new.Page("tracker", "toy", path, []))
    assert path.read_bytes() == before and len(list(folder.rglob("*.ipynb"))) == 1
    (tmp_path / "perps_kit" / "risk").mkdir(parents=True)
    (tmp_path / "perps_kit" / "risk" / "wide.py").touch()
    with pytest.raises(ConfigError, match="is there already"): new.page("risk", "wide", folder=folder)


def test_kinds_are_known_by_the_words_that_people_use():
    assert [new.kind_of(word) for word in ("strategy", "Risk rule", "risk_rule", "rule", "risk", " tracker ")] == [
        "strategy", "risk-rule", "risk-rule", "risk-rule", "risk-rule", "tracker"]
    with pytest.raises(ConfigError, match="take one of strategy, indicator, risk-rule, tracker"): new.kind_of("gate")


def test_without_a_checkout_it_says_where_to_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no folder nbs here"): new.page("strategy", "toy")
    with pytest.raises(ConfigError, match="is no folder"): new.page("strategy", "toy", folder=tmp_path / "nowhere")


def test_without_the_development_tools_it_is_one_sentence(tmp_path, monkeypatch):
    it = new.page("strategy", "toy", folder=rooms(tmp_path))
    monkeypatch.setattr(new, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="make dev"): new.write(it)
    assert not it.path.exists()


def test_the_command_says_what_to_do_next(tmp_path):
    folder = rooms(tmp_path)
    told = CliRunner().invoke(app, ["strategy", "toy", "--number", "7", "--folder", str(folder)])
    assert told.exit_code == 0 and "07_toy.ipynb" in told.stdout
    for word in ("Fill in:", "nbdev-export", "tests/contracts", "perps-kit evaluate --strategy toy"): assert word in told.stdout
    facts = json.loads(CliRunner().invoke(app, ["risk rule", "wide", "--folder", str(folder), "--json"]).stdout)
    assert facts["kind"] == "risk-rule" and [Path(f).name for f in facts["files"]] == ["01_wide.ipynb"] and len(facts["next"]) == 5
    wrong = CliRunner().invoke(app, ["strategy", "toy", "--package", str(tmp_path / "mine"), "--number", "3"])
    assert isinstance(wrong.exception, ConfigError)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    "Three private packages installed beside perps_kit: the folder of their sources, and where they were installed."
    place = tmp_path_factory.mktemp("private")
    if not (BIN / "uv").exists(): pytest.skip("uv is not here: `make dev` installs it")
    for kind, name in UNITS.items(): new.package(kind, name, place / f"my-{kind}")
    run(BIN / "uv", "pip", "install", "-q", "--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable,
        "--target", place / "site", *(place / f"my-{kind}" for kind in UNITS), cwd=place, path=place)
    return place, place / "site"


def test_an_installed_private_package_is_listed_and_studied_like_our_own(installed):
    _, site = installed
    rows = json.loads(run(sys.executable, "-m", "runners", "units", "--json", cwd=ROOT, path=site))
    mine = {row["name"]: row for row in rows if row["name"] in UNITS.values()}
    assert set(mine) == set(UNITS.values()) and mine["toy_fade"]["kind"] == "strategy"
    assert mine["toy_gap"]["module"] == "my_indicator.toy_gap"
    listed = run(sys.executable, "-m", "runners", "backtest", "--strategy", "toy_fade", "-s", "SOLUSDT", "--json", cwd=ROOT, path=site)
    assert json.loads(listed)["stats"]["n"] > 10


@pytest.mark.parametrize("kind", UNITS)
def test_a_private_package_passes_its_own_tests_and_is_tidy(installed, kind):
    place, site = installed
    home = place / f"my-{kind}"
    assert "failed" not in run(BIN / "pytest", "-q", "-p", "no:cacheprovider", home, cwd=home, path=site)
    run(BIN / "ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml", home / f"my_{kind}", cwd=ROOT, path=site)


def test_a_private_package_is_begun_once_and_hides_nothing(tmp_path):
    new.package("indicator", "toy", tmp_path / "mine")
    with pytest.raises(ConfigError, match="is there already"): new.package("indicator", "other", tmp_path / "mine")
    assert not (tmp_path / "mine" / "mine" / "other.py").exists()
    for called in ("numpy", "perps_kit", "json"):
        with pytest.raises(ConfigError, match="would hide another"): new.package("indicator", "toy", tmp_path / called)
    with pytest.raises(ConfigError, match="package '9lives'"): new.package("indicator", "toy", tmp_path / "9lives")
    with pytest.raises(ConfigError, match="no unit that the registry finds"): new.package("risk", "toy", tmp_path / "rules")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
