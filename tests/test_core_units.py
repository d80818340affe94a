"Units as values: saved, loaded, compared, their parameters; bars at the boundary; what is registered."
import json
from math import inf, nan
from typing import Annotated, NamedTuple

import numpy as np
import pytest
from fixtures.candles import candle, walk
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import Bars, DataError, check_bar
from perps_kit.core.registry import entries, strategies, strategy, units
from perps_kit.core.signal import failed_filters, name_of, no_signal, signal_id
from perps_kit.core.unit import (
    ParameterError,
    Span,
    check_parameters,
    checked,
    dumps,
    fold,
    loads,
    make,
    missing,
    output_fields,
    parameters,
    same_bits,
)

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


class Inner(NamedTuple):
    "A part."
    count: int
    level: float


class Thing(NamedTuple):
    "All that a field may be."
    n: int
    x: float
    on: bool
    word: str
    inner: Inner
    ring: np.ndarray
    marks: np.ndarray


@st.composite
def things(draw):
    shape = draw(st.sampled_from([(3,), (2, 4)]))
    cells = draw(st.lists(FLOATS, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    marks = np.array(draw(st.lists(st.integers(-2**62, 2**62), min_size=2, max_size=2)), np.int64)
    inner = Inner(draw(st.integers(-2**62, 2**62)), draw(FLOATS))
    return Thing(draw(st.integers(-2**70, 2**70)), draw(FLOATS), draw(st.booleans()), draw(st.text()), inner,
        np.array(cells).reshape(shape), marks)


@given(things())
def test_saving_keeps_every_bit(thing):
    text = dumps(thing)
    assert same_bits(loads(thing, text), thing) and dumps(loads(thing, text)) == text
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


@given(things(), things())
def test_same_bits_is_what_json_says(a, b): assert same_bits(a, b) == (dumps(a) == dumps(b) and a.ring.shape == b.ring.shape)


def test_same_bits_is_strict():
    assert same_bits(nan, nan) and not same_bits(0.0, -0.0) and not same_bits(1, 1.0) and not same_bits(True, 1)
    assert not same_bits(Inner(1, 2.0), (1, 2.0)) and not same_bits([1.0], (1.0,)) and not same_bits((1.0,), (1.0, 2.0))
    assert not same_bits(np.zeros(2), np.zeros((2, 1))) and not same_bits(np.zeros(2), -np.zeros(2)) and not same_bits(np.zeros(1),
        np.zeros(1, int))
    assert same_bits(np.array([nan, 1.0]), np.array([-nan, 1.0])) and not same_bits(np.array([nan]), np.array([1.0]))


def test_a_saved_unit_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="expected 2"): loads(Inner(0, 0.0), "[1]")
    with pytest.raises(ValueError, match="expected 3"): loads(np.zeros(3), "[1,2]")


class Made(NamedTuple):
    n: int
    rate: float = 0.0

    @classmethod
    @checked
    def of(cls, length: Annotated[int, Span(1, 50)] = 5, rate: Annotated[float, Span(0.0, 1.0)] = 0.5) -> "Made":
        return cls(length, float(rate))

    def update(self, x: float) -> "tuple[Made, float]": return self, self.rate * x


class Pair(NamedTuple):
    low: float
    high: float


class Both(NamedTuple):
    def update(self, x: float) -> "tuple[Both, Pair]": return self, Pair(x, x)


def test_parameters_come_from_of():
    known = parameters(Made)
    assert list(known) == ["length", "rate"] and known["length"].default == 5 and known["length"].span == Span(1,
        50) and known["rate"].type is float
    assert make(Made, length=7.0) == Made(7, 0.5) and type(make(Made, length=7.0).n) is int and type(make(Made, rate=1).rate) is float
    assert Made.of(3, rate=1) == Made(3, 1.0)


@pytest.mark.parametrize("given_, message", [(dict(lenght=3), "did you mean 'length'"), (dict(zzz=3), "it has length, rate"),
    (dict(length=0), "outside 1 to 50"),
                                             (dict(length=51), "outside"), (dict(length=2.5), "whole number"),
                                             (dict(length=True), "not a number"),
                                             (dict(rate="x"), "not a number"), (dict(rate=nan), "not a number")])
def test_wrong_parameters_are_named(given_, message):
    with pytest.raises(ParameterError, match=message): check_parameters(Made, given_)
    with pytest.raises((ParameterError, TypeError)): make(Made, **given_)


def test_outputs_have_names():
    assert output_fields(Made) == ("",) and output_fields(Both) == ("low", "high") and same_bits(missing(Both), Pair(nan, nan))
    assert fold(Made.of(), [1.0, 2.0])[1] == [0.5, 1.0] and fold(Both(), [(1.0,)])[1] == [Pair(1.0, 1.0)]


GOOD = candle(3, 100.0, 101.0, 99.0, 100.5)


@pytest.mark.parametrize("change", [dict(high=100.4), dict(low=100.1), dict(close=nan),
    dict(open=inf), dict(low=0.0), dict(low=-1.0), dict(volume=-1.0),
                                    dict(volume=nan), dict(taker_buy=101.0),
                                        dict(taker_buy=-1.0), dict(close_time=GOOD.open_time)], ids=str)
def test_bad_bars_are_refused(change):
    with pytest.raises(DataError, match="bar 1970"): check_bar(GOOD._replace(**change))


def test_order_is_checked_and_good_bars_pass():
    assert check_bar(GOOD, GOOD.open_time) is GOOD and check_bar(GOOD._replace(taker_buy=100.0)) and check_bar(GOOD._replace(volume=0.0))
    with pytest.raises(DataError, match="repeated or out of order"): check_bar(GOOD, GOOD.open_time + 1)


def test_bars_are_columns_and_rows():
    bars = walk(1, 50)
    again = Bars.of("WALK", 15, list(bars))
    assert all(same_bits(x, y) for x, y in zip(again.columns(), bars.columns(), strict=True))
    assert len(bars[10:20]) == 10 and len(bars[bars.close > 300]) < 50 and bars[-1].close == bars.close[-1]
    assert same_bits(bars[7], list(bars[5:9])[2]) and type(bars[0].open_time) is int and type(bars[0].synthetic) is bool


def test_everything_registered_has_a_name_a_page_and_a_word_about_it():
    assert {"ema", "rsi", "atr", "zones"} <= {e.name for e in units()} and "ema_scalper" in strategies()
    assert len({(e.kind, e.name) for e in entries()}) == len(entries())
    for e in entries(): assert e.summary.endswith(".") and e.notebook.startswith("nbs/") and e.name == name_of(e.cls), e


def test_a_strategy_by_name():
    assert strategy("ema_scalper", surge=2).surge == 2.0
    with pytest.raises(ValueError, match="did you mean 'ema_scalper'"): strategy("ema_scalpr")
    with pytest.raises(ValueError, match="there are .*ema_scalper"): strategy("zzz")
    with pytest.raises(ParameterError, match="did you mean 'surge'"): strategy("ema_scalper", suge=2)


@pytest.mark.parametrize("name, word", [("EMA", "ema"), ("EmaScalper", "ema_scalper"), ("VolumeRatio", "volume_ratio"),
    ("RSIBand", "rsi_band")])
def test_names_in_settings(name, word): assert name_of(type(name, (), {})) == word


def test_a_signal_has_one_name_for_ever():
    assert signal_id("ema_scalper", "BTCUSDT", 1, 15, 1_790_000_100_000) == signal_id("ema_scalper", "BTCUSDT", 1, 15, 1_790_000_100_000)
    others = {signal_id(*x) for x in (("a", "B", 1, 15, 1), ("a", "B", -1, 15, 1), ("a", "B", 1, 30, 1), ("a", "C", 1, 15, 1),
        ("b", "B", 1, 15, 1), ("a", "B", 1, 15, 2))}
    assert len(others) == 6 and all(len(x) == 32 for x in others)


def test_failed_filters_have_names():
    cls = strategies()["ema_scalper"]
    found = failed_filters(cls(), no_signal(())._replace(failed=0b100000101))
    assert found == ["volume", "session", "spacing"] and failed_filters(cls(), no_signal(())) == []
