"Compiled files and saved states are filed under the code: an edit is noticed, and without one a second process compiles nothing."
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perps_kit.core.compiled import have_numba
from perps_kit.core.registry import strategies, units
from perps_kit.core.stamp import stamp
from perps_kit.core.stream import Stream
from perps_kit.core.unit import make

UNIT = '''
"A unit for the test of stamps."
from typing import NamedTuple

SCALE = (2.0, 3.0)


def helper(x: float) -> float:
    "Twice."
    return SCALE[0] * x


class Edited(NamedTuple):
    "A running sum."
    y: float = 0.0

    def warmup(self) -> int: return 1

    def update(self, x: float) -> "tuple[Edited, float]":
        y = self.y + helper(x)          # a comment
        return Edited(y), y
'''


def stamped(folder: Path, text: str, name: str = "edited_unit") -> str:
    "The stamp of the unit as this text has it."
    (folder / f"{name}.py").write_text(text)
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try: return stamp(importlib.import_module(name).Edited())
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = before


@pytest.mark.parametrize("old, new", [
    ("self.y + helper(x)", "self.y - helper(x)"), ("SCALE[0] * x", "SCALE[1] * x"), ("(2.0, 3.0)", "(2.5, 3.0)"),
    ("(2.0, 3.0)", "(2, 3.0)"),
    ("y: float = 0.0", "y: float = 0.0\n    z: float = 0.0"), ("return SCALE[0] * x", "return abs(SCALE[0] * x)"),
    ("SCALE[0] * x", "(SCALE[0] + 0.0) * x")])
def test_an_edit_is_noticed(tmp_path, old, new):
    assert old in UNIT and stamped(tmp_path, UNIT) != stamped(tmp_path, UNIT.replace(old, new))


@pytest.mark.parametrize("old, new", [
    ("# a comment", "# another one"), ('"Twice."', '"Two times."'), ('"A running sum."', '"A sum."'), ("\nSCALE", "\n\n\nSCALE"),
    ("SCALE = (2.0, 3.0)", "SCALE = (2.0, 3.0)\nOTHER = 1.0")])
def test_words_do_not_count(tmp_path, old, new):
    assert old in UNIT and stamped(tmp_path, UNIT) == stamped(tmp_path, UNIT.replace(old, new))


def test_stamps_tell_all_registered_classes_apart():
    from cases import case_names, lived
    found = {type(one.unit): stamp(one.unit) for name in strategies() for one in lived(name, "ties").cases}
    found |= {type(make(cls)): stamp(make(cls)) for cls in strategies().values()}
    assert len(set(found.values())) == len(found) > 5 and len(units()) <= len(case_names())


@pytest.mark.parametrize("name", strategies())
def test_a_stream_is_stamped_with_its_parameters_too(name):
    cls = strategies()[name]
    field, default = next((f, v) for f, v in cls._field_defaults.items() if isinstance(v, (int, float)))
    a, b = make(cls), make(cls)._replace(**{field: default + 1})
    stamps = [Stream({name: s}, "TEST", min(15, cls.minutes)).stamp for s in (a, b, a)]
    assert stamps[0] == stamps[2] != stamps[1]


USE = '''
import numpy as np
from perps_kit.core.bar import Bars
from perps_kit.core.columns import Columns
from perps_kit.core.features import on
from perps_kit.core.compiled import loop, fold_loop
from edited_unit import Edited
x = np.arange(1.0, 6.0)
bars = Bars.from_columns("TEST", 15, 900_000 * np.arange(5), x, x, x, x, x)
It = type("It", (), dict(features=lambda self: dict(sum=on(Edited(), "close"))))
y = Columns(bars, True).of(It(), "sum")
run = fold_loop(Edited(), ("close",), True)
print(y[-1], sum(run.stats.cache_hits.values()), sum(run.stats.cache_misses.values()))
'''


def used(folder: Path, text: str) -> tuple[float, int, int]:
    "Last output, cache hits and misses of a process of its own."
    (folder / "edited_unit.py").write_text(text)
    environ = os.environ | {"PERPS_CACHE": str(folder / "cache"), "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", USE], env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    y, hits, misses = done.stdout.split()
    return float(y), int(hits), int(misses)


def test_a_second_process_finds_the_machine_code_and_an_edit_leads_to_another(tmp_path):
    if not have_numba(): pytest.skip("numba is not installed")
    assert used(tmp_path, UNIT) == (30.0, 0, 1)
    assert used(tmp_path, UNIT) == (30.0, 1, 0)
    assert used(tmp_path, UNIT.replace("SCALE[0] * x", "SCALE[1] * x")) == (45.0, 0, 1)
    assert used(tmp_path, UNIT) == (30.0, 1, 0)
