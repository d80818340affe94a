"The arithmetic lint finds what compiles to other bits, and leaves alone what does not."
from pathlib import Path
from textwrap import dedent, indent

import arithmetic_lint as lint
import pytest

UNIT = '''\
from math import exp, isnan, log, nan, sqrt
from typing import Annotated, NamedTuple
import math
import numpy as np

SIZE, NOTHING = 3, 0
UP, DOWN = range(2)

class Unit(NamedTuple):
    n: int
    wide: float
    ring: np.ndarray
    k: int = 0
    last: float = nan
    high: float = 0.0
    low: float = 0.0

    @classmethod
    def of(cls, n: Annotated[int, Span(1, 500)] = 14, wide: Annotated[float, Span(0.0, 9.0)] = 1.0) -> "Unit":
        return cls(n, wide, np.zeros(n))

    def update(self, x: float, y: float) -> "tuple[Unit, float]":
'''


def findings(tmp_path: Path, body: str) -> list[str]:
    path = tmp_path / "unit.py"
    path.write_text(UNIT + indent(dedent(body).strip("\n"), " " * 8) + "\n")
    return [finding.text for finding in lint.lint({"perps_kit.indicators.unit": path})]


BAD = {
    "power": ("return x ** 2", "`**`"),
    "power in place": ("x **= 2\nreturn x", "`**`"),
    "pow": ("return pow(x, 2)", "`pow`"),
    "math.pow": ("return math.pow(x, 2)", "`pow`"),
    "round to digits": ("return round(x, 1)", "round(x, n)"),
    "round to named digits": ("return round(x, ndigits=1)", "round(x, n)"),
    "sum": ("return sum([x, y])", "`sum`"),
    "fsum": ("return math.fsum([x, y])", "`fsum`"),
    "numpy mean": ("return np.mean(self.ring)", "`mean`"),
    "method": ("return self.ring.std()", "`.std()`"),
    "matmul": ("return self.ring @ self.ring", "`@`"),
    "f-string": ("raise ValueError(f'{x}')", "f-string"),
    "generator": ("return max(v for v in (x, y))", "generator"),
    "replace": ("return self._replace(k=1)", "`_replace`"),
    "inner function": ("def f(): return 1\nreturn x", "definition inside"),
    "division by input": ("return x / y", "division by `y`"),
    "division by state": ("return x / self.k", "division by `self.k`"),
    "division by a parameter that may be 0": ("return x / self.wide", "its Span begins at 0"),
    "division in place": ("x /= y\nreturn x", "division by `y`"),
    "whole division": ("return x // y", "division by `y`"),
    "remainder": ("return x % y", "division by `y`"),
    "a test for nan is no test for zero": ("if isnan(y): return nan\nreturn x / y", "division by `y`"),
    "a test of something else": ("if x > 0: return x / y\nreturn 0.0", "division by `y`"),
    "a test that came too late": ("z = x / y\nif y == 0: return nan\nreturn z", "division by `y`"),
    "a reason of another kind": ("return x / y  # within: surely", "division by `y`"),
    "a reason without words": ("return x / y  # nonzero:", "division by `y`"),
    "difference": ("return x / (self.high - self.low)", "division by `self.high - self.low`"),
    "division by a constant of zero": ("return x / NOTHING", "division by `NOTHING`"),
    "log": ("return log(x)", "log of `x`"),
    "numpy log": ("return np.log(x)", "log of `x`"),
    "sqrt": ("return sqrt(x)", "sqrt of `x`"),
    "exp": ("return exp(x)", "exp of `x`"),
    "index": ("return self.ring[self.k]", "index `self.k`"),
    "index stored": ("self.ring[self.k] = x\nreturn x", "index `self.k`"),
    "index counted by hand": ("i = 0\ni = i + 1\nreturn self.ring[i]", "index `i`"),
}

GOOD = {
    "constant": "return x / 2",
    "parameter": "return x / self.n + y * 2 / (self.n + 1)",
    "parameter, renamed": "span = self.n + 1\nreturn x / span",
    "named constant": "return x / SIZE + self.ring[DOWN]",
    "max": "return x / max(y, 1e-9)",
    "inside if": "if y != 0.0: return x / y\nreturn nan",
    "inside if expression": "return x / y if y > 0.0 else nan",
    "after early return": "if y == 0.0: return nan\nreturn x / y",
    "after and": "return y > 0.0 and x / y > 2.0",
    "difference tested": "if self.high > self.low: return x / (self.high - self.low)\nreturn nan",
    "in a loop": "for i in range(3):\n    if y == 0.0: continue\n    x = x / y\nreturn x",
    "reason": "return x / y  # nonzero: y is a price",
    "reason on the last line": "return (x /\n        y)  # nonzero: y is a price",
    "rounded to a whole": "return round(x)",
    "abs": "return abs(x) / self.n",
    "sqrt of a square": "d = x - y\nreturn sqrt(d * d)",
    "sqrt held": "return sqrt(max(x, 0.0))",
    "sqrt reason": "return sqrt(x)  # nonnegative: a variance",
    "log tested": "return log(x) if x > 0 else nan",
    "log held": "return log(max(x, 1e-12))",
    "exp held": "return exp(min(x, 50.0)) + exp(-abs(x))",
    "counter": "t = 0.0\nfor i in range(self.n): t += self.ring[i]\nreturn t",
    "remainder": "self.ring[self.k % self.n] = x\nreturn x",
    "remainder, named": "i = self.k % self.n\nself.ring[i] = x\nreturn x",
    "constant index": "return self.ring[0] + self.ring[-1]",
    "slice": "return len(self.ring[1:])",
    "index tested": "return self.ring[self.k] if self.k < self.n else nan",
    "index reason": "return self.ring[self.k]  # within: k wraps at n",
    "a unit's own update": "mean, v = self.mean.update(x)\nreturn v",
    "largest": "return np.max(self.ring)",
}


@pytest.mark.parametrize(("body", "words"), BAD.values(), ids=BAD)
def test_bad_arithmetic_is_named(tmp_path, body, words):
    found = findings(tmp_path, body)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_good_arithmetic_is_left_alone(tmp_path, body):
    assert findings(tmp_path, body) == []


def test_methods_and_functions_that_a_unit_calls_are_followed(tmp_path):
    path = tmp_path / "unit.py"
    path.write_text(UNIT + """\
        return self.helper(x)

    def helper(self, x):
        return deeper(x)

def deeper(x):
    return x ** 2

def unused(x):
    return x ** 3
""")
    found = lint.lint({"unit": path})
    assert [path.read_text().splitlines()[f.line - 1].strip() for f in found] == ["return x ** 2"]


def test_functions_of_another_module_are_followed(tmp_path):
    unit, help_ = tmp_path / "unit.py", tmp_path / "help.py"
    unit.write_text("from ..core.help import square\n" + UNIT + "        return square(x)\n")
    help_.write_text("def square(x):\n    return x ** 2\n")
    found = lint.lint({"perps_kit.indicators.unit": unit, "perps_kit.core.help": help_})
    assert [(Path(f.path).name, f.line) for f in found] == [("help.py", 2)]


def test_a_helper_may_trust_the_rows_it_is_given(tmp_path):
    path = tmp_path / "unit.py"
    path.write_text(UNIT + "        return at(self.ring, self.n) + near(self.ring, x)\n\ndef at(ring, i: int):\n    return ring[i]\n\n"
                    "def near(ring, x: float):\n    return ring[int(x)]\n")
    assert [finding.text[:14] for finding in lint.lint({"unit": path})] == ["index `int(x)`"]


def test_only_units_are_held_to_it(tmp_path):
    path = tmp_path / "plain.py"
    path.write_text("class Page:\n    def update(self, x):\n        return f'{x ** 2}'\n")
    assert lint.lint({"plain": path}) == []


def test_a_strategys_fields_are_its_parameters(tmp_path):
    path = tmp_path / "strategy.py"
    head = "from typing import NamedTuple\nclass Cross(NamedTuple):\n    surge: float = 1.2\n"
    path.write_text(head + "    def decide(self, now, was):\n        return now.volume / self.surge\n")
    assert lint.lint({"strategy": path}) == []


def test_fastmath_is_refused_everywhere(tmp_path):
    path = tmp_path / "compiled.py"
    path.write_text("import numba\n\n@numba.njit(fastmath=True)\ndef f(x):\n    return x\n")
    assert [f.line for f in lint.lint({"compiled": path})] == [3]


def test_a_finding_names_its_place(tmp_path, capsys):
    path = tmp_path / "unit.py"
    path.write_text(UNIT + "        return x ** 2\n")
    assert lint.main([str(path)]) == 1
    assert capsys.readouterr().out.startswith(f"{path}:{len(UNIT.splitlines()) + 1}: `**` differs")
