"What the guides claim: cheats are caught and honest columns are not, links and commands exist, and nothing is exported."
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.candles import walk

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted((ROOT / "nbs" / "90_guides").glob("*.ipynb"))
FIRST = ("20_ten_minutes", "25_reading_a_backtest", "30_look_ahead", "35_timeframes", "40_order_book")
DRAWS = re.compile(r"\bshow\(|\bcase\.(good|bad|refused)\(")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")

over_guides = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)


def cells(guide: Path) -> list[dict]: return json.loads(guide.read_text(encoding="utf-8"))["cells"]


def prose(guide: Path) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(guide) if cell["cell_type"] == "markdown")


def code(guide: Path) -> dict[str, str]:
    return {cell["id"]: "".join(cell["source"]) for cell in cells(guide) if cell["cell_type"] == "code"}


def test_the_guides_are_there(): assert set(FIRST) <= {guide.stem for guide in GUIDES}


@over_guides
def test_a_link_leads_to_a_page_that_is_there(guide):
    for link in LINK.findall(prose(guide)):
        if "://" not in link: assert (guide.parent / link).is_file(), f"{guide.stem} links to {link}"


@over_guides
def test_a_guide_exports_nothing(guide):
    for name, text in code(guide).items(): assert not re.search(r"^#\|\s*(export|default_exp|exporti|exports)", text, re.M), name


@pytest.mark.parametrize("name", FIRST)
def test_a_guide_begins_with_its_promise_holds_itself_to_it_and_leads_on(name):
    guide = ROOT / "nbs" / "90_guides" / f"{name}.ipynb"
    title, line, *_ = [x for x in prose(guide).splitlines() if x]
    assert title.startswith("# ") and line.startswith("> ")
    assert "At the end you will know" in prose(guide) and "**Try it yourself:**" in prose(guide) and "## Where next" in prose(guide)
    assert sum("assert " in text for text in code(guide).values()) >= 4
    assert sum(bool(DRAWS.search(text)) for text in code(guide).values()) >= 3


@over_guides
def test_a_command_in_the_prose_is_one_of_the_kit(guide):
    from typer.main import get_command

    from runners.cli import app
    known = get_command(app).commands                                               # type: ignore[attr-defined]
    for name, rest in re.findall(r"perps-kit ([a-z][a-z-]*)([^`\n#]*)", prose(guide)):
        assert name in known, f"{guide.stem} names perps-kit {name}"
        options = {option for p in known[name].params for option in (*p.opts, *p.secondary_opts)}
        if not hasattr(known[name], "commands"): assert {x for x in rest.split() if x.startswith("-")} <= options, f"perps-kit {name}{rest}"


LOUD = re.compile(r"^output_notebook.*|^from bokeh.io import.*|^show\(.*|^for cheat, honest in pairs.*(\n    .*)*|^print\(.*", re.M)
NEEDED = ("ahead-imports", "ahead-known", "ahead-cheats", "ahead-honest", "ahead-contract")


@pytest.fixture(scope="module")
def page() -> dict:
    "The page on look-ahead with its columns and its contract; what it draws and prints is left out."
    made: dict = dict(show=lambda *_: None)
    for name, text in code(ROOT / "nbs" / "90_guides" / "30_look_ahead.ipynb").items():
        if name in NEEDED: exec(LOUD.sub("", text), made)
    return made


@pytest.fixture(scope="module")
def bars(): return walk(7, 4000)


def test_every_cheat_of_the_page_is_caught_on_candles_that_it_never_saw_and_no_honest_column_is(page, bars):
    assert len(page["pairs"]) == 5
    for cheat, honest in page["pairs"].items():
        assert page["caught"](cheat, bars, range(331, 3900, 307)), cheat.__name__
        assert page["caught"](honest, bars, range(331, 3900, 307)) == "", honest.__name__


PEEKS = ("filled backwards", "scaled by all", "ranked among all", "smoothed both ways", "detrended", "five bars ahead")


def peeks(name, bars):
    "More ways to read what was not there yet."
    y, n = bars.close, len(bars)
    if name == "filled backwards":
        known = np.where(np.arange(n) % 40 == 39, y, np.nan)
        ends = np.minimum(np.arange(n) // 40 * 40 + 39, n - 1)
        return np.nan_to_num(known[ends])
    if name == "scaled by all": return (y - y.min()) / (y.max() - y.min())
    if name == "ranked among all": return np.argsort(np.argsort(y)).astype(float)
    if name == "smoothed both ways":
        forth = np.array([0.0])
        for x in y: forth = np.append(forth, 0.9 * forth[-1] + 0.1 * x)
        back = [0.0]
        for x in forth[:0:-1]: back.append(0.9 * back[-1] + 0.1 * x)
        return np.array(back[:0:-1])
    if name == "detrended": return y - np.polyval(np.polyfit(np.arange(n) / n, y, 1), np.arange(n) / n)
    if name == "five bars ahead": return np.append(y[5:], np.full(min(5, n), y[-1]))[:n]
    raise ValueError(name)


@pytest.mark.parametrize("name", PEEKS)
def test_other_peeks_are_caught_as_well(page, bars, name):
    assert page["caught"](lambda b: peeks(name, b), bars[:1500], range(97, 1500, 311))


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_the_first_bar_that_gives_way_tells_how_far_a_column_saw(page, bars, ahead):
    def column(b): return np.append(b.close[ahead:], np.zeros(ahead))
    said = re.fullmatch(r"future cut off from bar (\d+) on: bar (\d+) said .*", page["caught"](column, bars, (400, 900)))
    assert said and int(said[1]) - int(said[2]) == ahead


def test_a_column_that_reads_the_past_alone_is_left_alone(page, bars):
    def column(b): return np.cumsum(b.close) / np.arange(1, len(b) + 1)
    assert page["caught"](column, bars, (1, 2, 700, 3999)) == ""


REACHING = '''"Units that reach out of themselves."
import time
from pathlib import Path
from typing import NamedTuple

from perps_kit.core.bar import Bar

STORE: dict[int, float] = {}


class AsksAStore(NamedTuple):
    "The last close that a store has."
    weight: float = 1.0

    def warmup(self) -> int: return 1

    def update(self, bar: Bar) -> "tuple[AsksAStore, float]":
        STORE[bar.open_time] = bar.close
        return self, self.weight * STORE.get(bar.close_time, bar.close)


class AsksAClock(NamedTuple):
    "The close, by the clock on the wall."
    weight: float = 1.0

    def warmup(self) -> int: return 1

    def update(self, bar: Bar) -> "tuple[AsksAClock, float]": return self, self.weight * bar.close + 0.0 * time.time()


class AsksAFile(NamedTuple):
    "The close, if a file is there."
    weight: float = 1.0

    def warmup(self) -> int: return 1

    def update(self, bar: Bar) -> "tuple[AsksAFile, float]": return self, self.weight * bar.close + float(Path("tomorrow.txt").exists())


class AsksNobody(NamedTuple):
    "The close."
    weight: float = 1.0

    def warmup(self) -> int: return 1

    def update(self, bar: Bar) -> "tuple[AsksNobody, float]": return self, self.weight * bar.close
'''


def test_the_contracts_refuse_units_that_ask_a_store_a_clock_or_a_file(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "reaching.py").write_text(REACHING)
    meta = tmp_path / "reaching-0.1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: reaching\nVersion: 0.1\n")
    (meta / "entry_points.txt").write_text("[perps_kit.units]\nreaching = reaching\n")
    command = [sys.executable, "-m", "pytest", "tests/contracts/test_contract_units.py", "-q", "-rA", "-p", "no:cacheprovider", "--tb=no",
               "-k", "asks and sample and (past or fold)"]
    place = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ran = subprocess.run(command, cwd=ROOT, env=place, capture_output=True, text=True)
    ends = {name: set(re.findall(rf"^(PASSED|FAILED) .*\[{name}-sample\]", ran.stdout, re.M)) for name in (
        "asks_a_store", "asks_a_clock", "asks_a_file", "asks_nobody")}
    assert ends.pop("asks_nobody") == {"PASSED"}, ran.stdout[-2000:]
    assert set(map(frozenset, ends.values())) == {frozenset({"FAILED"})}, ends
