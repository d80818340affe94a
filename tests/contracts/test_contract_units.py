"What every registered unit promises, held against all of them."
import re
import sys
from inspect import Parameter as Argument
from typing import NamedTuple

import cases
import numpy as np
import pytest
from cases import SERIES, Case, case, case_names, uncovered

from perps_kit.core.bar import Bar
from perps_kit.core.compiled import fold_loop, have_numba
from perps_kit.core.registry import Entry, units
from perps_kit.core.stream import fresh
from perps_kit.core.unit import ParameterError, dumps, fold, loads, output_fields, output_of, parameters, same_bits

over_cases = pytest.mark.parametrize("name", case_names())
over_series = pytest.mark.parametrize("series", SERIES)


def table(unit, outputs: list) -> np.ndarray:
    "Outputs as a column, (fields, n)."
    rows = np.array([tuple(y) if isinstance(y, tuple) else (y,) for y in outputs], float).reshape(len(outputs), -1)
    return np.ascontiguousarray(rows.T) if len(outputs) else np.empty((len(output_fields(type(unit))), 0))


def batch(one: Case, inputs: list[tuple], compiled: bool):
    "The unit at the end and its column, by the loop that research uses."
    names = tuple("bar" if isinstance(x, Bar) else f"x{k}" for k, x in enumerate(one.inputs[0]))
    clock = Bar(0, 900_000, 1.0, 1.0, 1.0, 1.0, 1.0)
    bars = [next((x for x in row if isinstance(x, Bar)), clock) for row in inputs]
    columns = [np.array([getattr(bar, f) for bar in bars], {"open_time": np.int64, "close_time": np.int64, "synthetic": bool}.get(f, float))
               for f in Bar._fields]
    columns += [np.array([row[k] for row in inputs], float) for k, x in enumerate(one.inputs[0]) if not isinstance(x, Bar)]
    out = np.full((len(output_fields(type(one.unit))), len(inputs)), np.nan)
    end = fold_loop(one.unit, names, compiled)(fresh(one.unit), *(columns if compiled else [c.tolist() for c in columns]), out)
    return end, out


def test_every_registered_unit_is_covered():
    for e in uncovered():
        pytest.fail(f"{e.module}.{e.cls.__name__} is registered, but no contract covers it: use it among the features() of a strategy, "
                    f"or say in MAKERS of tests/contracts/cases.py how to make one and what to feed it with")
    assert len(units()) >= 12


class Lost(NamedTuple):
    "A unit of two numbers that nobody uses."
    y: float = 0.0

    def update(self, a: float, b: float) -> "tuple[Lost, float]": return Lost(a + b), a + b


def test_a_unit_that_nobody_can_feed_would_be_noticed(monkeypatch):
    lost = Entry("indicator", "lost", Lost, __name__, "", "")
    monkeypatch.setattr(cases, "units", lambda: (*units(), lost))
    assert uncovered() == [lost] and "lost" not in case_names()


@over_series
@over_cases
def test_batch_is_the_fold_of_update_compiled_and_plain(name, series):
    one = case(name, series)
    end, outputs = fold(fresh(one.unit), one.inputs)
    column = table(one.unit, outputs)
    for compiled in (False, True) if have_numba() else (False,):
        other, found = batch(one, one.inputs, compiled)
        assert same_bits(found, column), f"column, {compiled=}"
        assert same_bits(other, end), f"the unit itself, {compiled=}: {other} is not {end}"
    assert np.isfinite(column).any()


def arrays_of(x) -> list[np.ndarray]:
    "All arrays in a unit, in order."
    return [x] if isinstance(x, np.ndarray) else [a for part in x for a in arrays_of(part)] if isinstance(x, tuple) else []


@over_cases
def test_compiled_loops_work_in_the_arrays_they_were_given_and_keep_none(name):
    "Compiled units do not count references: whoever passes a unit keeps it alive, and gets the same arrays back."
    one = case(name, "sample")
    if not have_numba() or not arrays_of(one.unit): pytest.skip("this unit holds no array")
    names = tuple("bar" if isinstance(x, Bar) else f"x{k}" for k, x in enumerate(one.inputs[0]))
    columns = [np.array([1.0] * 50) for _ in Bar._fields[2:10]]
    arguments = [np.arange(50), np.arange(50) + 1, *columns, np.zeros(50, bool), *(np.ones(50) for x in names if x != "bar")]
    unit, run = fresh(one.unit), fold_loop(one.unit, names, True)
    before = [sys.getrefcount(a) for a in arrays_of(unit)]
    for _ in range(200): end = run(unit, *arguments, np.empty((len(output_fields(type(unit))), 50)))
    assert all(a is b for a, b in zip(arrays_of(unit), arrays_of(end), strict=True))
    del end
    assert [sys.getrefcount(a) for a in arrays_of(unit)] == before


@over_series
@over_cases
def test_every_output_has_the_type_that_is_declared(name, series):
    one = case(name, series)
    kind = output_of(type(one.unit))
    for y in fold(fresh(one.unit), one.inputs)[1]:
        assert type(y) is kind
        for field, x in zip(getattr(kind, "_fields", ()), y if isinstance(y, tuple) else (), strict=True):
            assert type(x) is kind.__annotations__[field], f"{field} = {x!r}"


@over_series
@over_cases
def test_the_past_does_not_change_when_the_future_arrives(name, series):
    one = case(name, series)
    rng, n, compiled = np.random.default_rng(len(name)), len(one.inputs), have_numba()
    _, whole = batch(one, one.inputs, compiled)
    for k in (0, 1, *rng.integers(2, n, 4).tolist()):
        before = whole[:, :k].copy()
        assert same_bits(batch(one, one.inputs[:k], compiled)[1], before), f"cut at {k}"
        other = one.inputs[:k] + one.inputs[k:][::-1]
        assert same_bits(batch(one, other, compiled)[1][:, :k].copy(), before), f"changed from {k} on"


@over_series
@over_cases
def test_saving_and_loading_at_any_bar_changes_nothing(name, series):
    one = case(name, series)
    plain, saved = fresh(one.unit), fresh(one.unit)
    for k, x in enumerate(one.inputs):
        text = dumps(saved)
        saved = loads(one.unit, text)
        loads(one.unit, text).update(*x)        # a peek, on a copy
        assert same_bits(saved, plain) and dumps(saved) == text, f"bar {k}"
        (plain, y), (saved, z) = plain.update(*x), saved.update(*x)
        assert same_bits(y, z), f"bar {k}"


@over_series
@over_cases
def test_warm_up_is_declared_and_true(name, series):
    one = case(name, series)
    if not hasattr(one.unit, "warmup"):
        assert next(e for e in units() if e.cls is type(one.unit)).kind != "indicator", f"{type(one.unit).__name__} must declare warmup()"
        return
    known = [all(x == x for x in row if isinstance(x, float)) for row in one.inputs]
    inputs = one.inputs[known.index(True):]
    outputs = fold(fresh(one.unit), inputs)[1]
    first = next((k for k, y in enumerate(outputs, 1) if any(x == x for x in (y if isinstance(y, tuple) else (y,)))), None)
    assert first == one.unit.warmup(), f"it speaks first with input {first}, and declares {one.unit.warmup()}"
    assert not hasattr(one.unit, "settle") or one.unit.settle() >= one.unit.warmup()
    if hasattr(one.unit, "complete"):
        all_of_it = next(k for k, y in enumerate(outputs, 1) if all(x == x for x in y))
        assert all_of_it == one.unit.complete(), f"all of it is known first with input {all_of_it}, and it declares {one.unit.complete()}"


numbers = [(e, p) for e in units() if e.kind == "indicator" for p in parameters(e.cls).values() if p.type in (int, float)]


@pytest.mark.parametrize("entry, parameter", numbers, ids=lambda x: x.name)
def test_a_parameter_out_of_range_or_of_another_kind_is_refused_by_name_and_value(entry, parameter):
    assert parameter.span, f"{entry.cls.__name__}.of: give {parameter.name} a Span, so that nonsense is refused"
    wrong = [parameter.span.low - 1, parameter.span.high + 1, float("nan"), float("inf"), "9", True, None]
    for value in wrong + ([parameter.span.low + 0.5] if parameter.type is int else []):
        given = {p.name: p.span.low if p.default is Argument.empty else p.default for p in parameters(entry.cls).values() if p.span}
        with pytest.raises(ParameterError, match=f"{entry.cls.__name__}: {parameter.name} = {re.escape(repr(value))} is "):
            entry.cls.of(**given | {parameter.name: value})
