"Candlestick patterns (R63) against TA-Lib where it has the same rule, and by hand at every limit."
from fractions import Fraction
from math import isnan, nan

import numpy as np
import pytest
import talib
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.features import on
from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.patterns import Patterns, PatternsView

SERIES = dict(walk=lambda: walk(1, 8000), coarse=lambda: walk(2, 8000, tick=0.5), ties=lambda: walk(3, 8000, tick=0.5, step=0.5),
              sample=lambda: sample_bars("ETHUSDT")[:8000], bitcoin=lambda: real("BTC", 0, 20_000),
              solana=lambda: real("SOL", 40_000, 20_000))


def seen_in(bars, **choices) -> PatternsView:
    "Columns of all patterns."
    return look(bars, atr=on(ATR.of(14)), patterns=on(Patterns.of(**choices), "bar", "atr")).patterns


def of(*rows, atr=1.0, **choices) -> list[PatternsView]:
    "Rows of the unit over candles given as (open, high, low, close)."
    return fold(Patterns.of(**choices), [(candle(i, *row), atr) for i, row in enumerate(rows)])[1]


def last(*rows, **choices) -> PatternsView: return of(*rows, **choices)[-1]


@pytest.fixture(params=SERIES, scope="module")
def bars(request): return SERIES[request.param]()


def test_engulfing_is_talibs_where_the_bar_before_has_a_body(bars):
    ours, theirs = seen_in(bars).engulfing, talib.CDLENGULFING(bars.open, bars.high, bars.low, bars.close)
    body = np.r_[False, bars.close[:-1] != bars.open[:-1]]
    body[:2] = False                                        # TA-Lib is silent in the first two bars
    np.testing.assert_array_equal(ours[body], np.sign(theirs[body]))
    assert {80, 100} <= set(np.abs(theirs[body]).tolist()) and (ours == 1).any() and (ours == -1).any()
    assert not ours[1:][~body[1:]][1:].any(), "a bar without a body is never engulfed"


@pytest.mark.parametrize("penetration", [0.0, 0.3, 0.7])
def test_stars_are_talibs_on_every_bar(bars, penetration):
    ours, given_ = seen_in(bars, penetration=penetration).star, (bars.open, bars.high, bars.low, bars.close)
    theirs = talib.CDLMORNINGSTAR(*given_, penetration=penetration) + talib.CDLEVENINGSTAR(*given_, penetration=penetration)
    np.testing.assert_array_equal(ours[12:], theirs[12:] / 100)
    assert np.isnan(ours[:12]).all() and (theirs[12:] == 100).any() and (theirs[12:] == -100).any()


def slowly(bars, atr) -> list[PatternsView]:
    "Every row in exact arithmetic on the decimals that the prices are, by the words of the specification."
    out, whole = [], [[Fraction(f"{x:.6f}") for x in (b.open, b.high, b.low, b.close)] for b in bars]
    for i, (o, h, low, c) in enumerate(whole):
        rng, body, upper, lower, up = h - low, abs(c - o), h - max(o, c), min(o, c) - low, 1 if c > o else -1
        pin = 1 if lower >= 2 * body and 10 * lower >= 6 * rng and 10 * upper <= 2 * rng else 0
        if not pin and upper >= 2 * body and 10 * upper >= 6 * rng and 10 * lower <= 2 * rng: pin = -1
        row = [pin, nan, nan, int(10 * body <= rng), up * int(10 * body >= 9 * rng) if body else 0, nan]
        if i:
            po, ph, plow, pc = whole[i - 1]
            covers = min(o, c) <= min(po, pc) and max(o, c) >= max(po, pc) and body > abs(pc - po)
            row[1] = up * int(covers and (c - o) * (pc - po) < 0)
            row[2] = int(h <= ph and low >= plow)
            if not isnan(atr[i]):
                bottom, top = (abs(x - y) <= Fraction(0.05 * atr[i]) and atr[i] > 0 for x, y in ((low, plow), (h, ph)))
                row[5] = int(bottom) - int(top)
        if rng == 0: row = [x if isnan(x) else 0 for x in row]
        out.append([float(x) for x in row])
    return out


def test_every_row_is_as_specified(bars):
    part = bars[:2500]
    seen, atr = seen_in(part), look(part, atr=on(ATR.of(14))).atr
    np.testing.assert_array_equal(np.array(seen)[:6].T, slowly(part, atr.tolist()))
    for name in ("pin", "marubozu", "tweezer"): assert {1.0, -1.0} <= set(getattr(seen, name).tolist()), name
    for name in ("inside", "doji"): assert set(getattr(seen, name)[1:].tolist()) == {0.0, 1.0}, name


cells = st.tuples(*[st.integers(0, 6)] * 4)


@settings(max_examples=100, deadline=None)
@given(st.lists(cells, min_size=1, max_size=25))
def test_every_row_is_as_specified_on_a_coarse_grid(cells):
    rows = [(o / 4 + 1, max(o, h, low, c) / 4 + 1, min(o, h, low, c) / 4 + 1, c / 4 + 1) for o, h, low, c in cells]
    seen = of(*rows, atr=5.0)
    assert same_bits([list(row[:6]) for row in seen], slowly([candle(i, *row) for i, row in enumerate(rows)], [5.0] * len(rows)))


# In a range of 16, the lower wick must be at least 9.6 and the upper at most 3.2.
@pytest.mark.parametrize("row, pin", [
    ((112, 116, 100, 116), 1), ((116, 116, 100, 112), 1),                       # lower wick 12, body 4, no upper
    ((109.625, 112.75, 100, 112.75), 1), ((110, 116, 100, 112.75), 0),          # upper wick 0; 3.25 is too much
    ((110, 116, 100, 112.875), 1),                                              # upper wick 3.125
    ((109.75, 112, 100, 109.75), 1), ((106, 110, 100, 106), 0),                 # upper 2.25 of 12; 4 of 10 is too much
    ((100.6, 101, 100, 100.8), 1), ((8191.9, 8192.3, 8191.3, 8192.1), 1),                   # 0.6 and 0.2 of 1.0
    ((8191.8, 8192.3, 8191.3, 8192.1), 0),
    ((108.25, 116, 100, 112.625), 0),                                           # lower 8.25 is not 9.6
    ((110, 116, 100, 115.125), 0), ((110, 115, 100, 115), 1),                   # body 5.125 is more than half of 10; body 5 is half
    ((104, 116, 100, 100), -1), ((100, 116, 100, 104), -1), ((108, 108, 108, 108), 0),
])
def test_pin_bar(row, pin):
    assert last(row).pin == pin
    o, h, low, c = (216 - x for x in row)
    assert last((o, low, h, c)).pin == -pin, "its mirror image"


@pytest.mark.parametrize("before, row, value", [
    ((102, 103, 99, 100), (100, 103, 99, 102.5), 1), ((102, 103, 99, 100), (99.5, 103, 99, 102), 1),
    ((102, 103, 99, 100), (100, 103, 99, 102), 0),                              # the same body: nothing more on either end
    ((102, 103, 99, 100), (100.1, 105, 99, 104), 0), ((102, 103, 99, 100), (99, 103, 99, 101.9), 0),
    ((100, 103, 99, 100), (99, 103, 99, 102), 0), ((100, 103, 99, 102), (99, 104, 99, 103), 0),
    ((100, 103, 99, 102), (102, 103, 99, 99.5), -1), ((100, 103, 99, 102), (102, 103, 99, 100), 0),
])
def test_engulfing(before, row, value): assert last(before, row).engulfing == value


@pytest.mark.parametrize("high, low, value", [(104, 98, 1), (103, 99, 1), (104.01, 98, 0), (103, 97.99, 0)])
def test_inside(high, low, value): assert last((100, 104, 98, 102), (100, high, low, 101)).inside == value


def test_doji_and_marubozu_at_their_limits():
    assert [last((100, 108, 98, x)).doji for x in (101, 101.001, 99, 98.999, 100)] == [1, 0, 1, 0, 1]
    assert [last((99, 108, 98, x)).marubozu for x in (108, 107.999)] == [1, 0] and last((108, 108, 98, 99)).marubozu == -1
    assert last((99.3, 99.8, 98.8, 99.4)).doji == 1 and last((99.0, 100.0, 99.0, 99.9)).marubozu == 1, "on the price grid"
    assert last((100, 108, 98, 102), doji=0.2).doji == 1 and last((100, 108, 98, 106), marubozu=0.6).marubozu == 1


@pytest.mark.parametrize("low, high, value", [(99.5, 104, 1), (98.75, 104, 1), (99, 104, 1), (99.625, 104, 0), (98, 103.5, -1),
                                              (98, 102.5, -1), (98, 102.375, 0), (99, 103, 0), (98, 104, 0)])
def test_tweezer(low, high, value):
    assert last((101, 103, 99, 101), (101, high, low, 100), atr=10.0).tweezer == value


def test_flat_bars_show_nothing_and_unknown_is_not_none():
    rows = of(*[(100, 100, 100, 100)] * 14)
    assert rows[1][:6] == (0,) * 6 and isnan(rows[11].star) and rows[12] == PatternsView(*[0.0] * 7)
    first, second = of((100, 101, 99, 100.5), (100, 101, 99, 100.5), atr=nan)
    assert [isnan(x) for x in first] == [False, True, True, False, False, True, True]
    assert [isnan(x) for x in second] == [False, False, False, False, False, True, True]
    assert last((100, 101, 99, 100.5), (100, 102, 99, 100.5), atr=0.0).tweezer == 0, "without a range there is no measure"


ORDINARY = [(100, 101, 99, 100.5), (100.5, 101.5, 99.5, 100)] * 5
MORNING = [(104, 104.5, 99.5, 100), (99.4, 99.8, 98.2, 99), (99.6, 103.5, 99.2, 103)]


@pytest.mark.parametrize("at, row, star", [
    (0, MORNING[0], 1), (0, (100.4, 104.5, 99.5, 100), 0),
    (1, (100, 100, 98.2, 99), 0), (1, (99.99, 100, 98.2, 99.5), 1), (1, (99.9, 99.9, 98, 98.4), 0),
    (2, (99.6, 103.5, 99.2, 101.25), 1), (2, (99.6, 103.5, 99.2, 101.2), 0), (2, (102.75, 103.5, 99.2, 103), 0),
])
def test_a_morning_star_piece_by_piece(at, row, star):
    "The first body must be long, the second short and clear of it, the third not short, and it must close 1.2 into the first."
    rows = [row if k == at else other for k, other in enumerate(MORNING)]
    assert last(*ORDINARY, *rows).star == star
    mirror = [(200 - o, 200 - low, 200 - h, 200 - c) for o, h, low, c in [*ORDINARY, *rows]]
    assert last(*mirror).star == -star


def test_stopping_anywhere_and_going_on_changes_nothing():
    inputs = [(bar, 1.0) for bar in walk(5, 60)]
    whole = fold(Patterns.of(), inputs)[1]
    for cut in (0, 1, 2, 11, 13, 40):
        half, _ = fold(Patterns.of(), inputs[:cut])
        assert same_bits(fold(loads(Patterns.of(), dumps(half)), inputs[cut:])[1], whole[cut:])


@pytest.mark.parametrize("name", ["wick", "doji", "marubozu", "tweezer", "penetration"])
def test_nonsense_is_refused(name):
    with pytest.raises(ParameterError, match=f"Patterns: {name} = -0.1 is outside"): Patterns.of(**{name: -0.1})
