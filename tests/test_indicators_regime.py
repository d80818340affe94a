"Regime: every rule and edge in a table, the rules against jumping, and a second writing over inputs of TA-Lib and pandas."
from itertools import takewhile
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
import talib
from fixtures.candles import real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bars
from perps_kit.core.resample import Resample
from perps_kit.core.unit import ParameterError, fold
from perps_kit.data.look import look
from perps_kit.indicators.regime import EXPANSION_DOWN, EXPANSION_UP, NAMES, RANGE, SQUEEZE, TREND_DOWN, TREND_UP, UNDEFINED, Regime

USUAL = dict(close=100.0, adx=22.0, plus=20.0, minus=15.0, average=99.0, rank=50.0, atr=1.0, atr_ratio=1.0, upper=102.0, lower=98.0)
FALLING = dict(plus=15.0, minus=20.0, average=101.0)


def row(**unusual) -> tuple[float, ...]: return tuple((USUAL | unusual).values())


def mirrored(**unusual) -> tuple[float, ...]:
    "The same market upside down: prices reflected about 100, the arms swapped."
    r = USUAL | unusual
    turned = dict(close=200 - r["close"], average=200 - r["average"], upper=200 - r["lower"], lower=200 - r["upper"])
    return tuple((r | turned | dict(plus=r["minus"], minus=r["plus"])).values())


def seen(rows) -> list[tuple[int, int, int]]:
    "State, age and raw of each row; a usual one goes before, so that there is a close to compare with."
    return [tuple(map(int, view)) for view in fold(Regime.of(), [row(), *rows])[1][1:]]


def stood(states) -> int:
    "How many of the last states are the same."
    return len(list(takewhile(lambda s: s == states[-1], reversed(states))))


TABLE = [
    (dict(), RANGE),
    # expansion: the ratio, and the channel or a leap; the direction is that of the close
    (dict(atr_ratio=1.4, close=102.01), EXPANSION_UP), (dict(atr_ratio=1.39, close=102.01), RANGE),
    (dict(atr_ratio=1.4, close=97.99), EXPANSION_DOWN), (dict(atr_ratio=1.4, close=101.49), RANGE),
    (dict(atr_ratio=1.4, close=101.5), EXPANSION_UP), (dict(atr_ratio=1.4, close=98.5), EXPANSION_DOWN),
    (dict(atr_ratio=1.4, close=98.51), RANGE), (dict(atr_ratio=1.39, close=110.0), RANGE), (dict(atr_ratio=9.0), RANGE),
    (dict(atr_ratio=1.4, close=101.0, upper=101.0), RANGE), (dict(atr_ratio=1.4, close=101.0, upper=100.99), EXPANSION_UP),
    (dict(atr_ratio=1.4, close=99.0, lower=99.0), RANGE), (dict(atr_ratio=1.4, close=99.0, lower=99.01), EXPANSION_DOWN),
    (dict(atr_ratio=1.4, close=103.0, adx=60.0, rank=1.0), EXPANSION_UP),
    # trends: strength, the arm on top, the side of the average
    (dict(adx=25.0), TREND_UP), (dict(adx=24.9), RANGE), (dict(adx=25.0, **FALLING), TREND_DOWN), (dict(adx=24.9, **FALLING), RANGE),
    (dict(adx=30.0, minus=20.0), RANGE), (dict(adx=30.0, average=100.0), RANGE), (dict(adx=30.0, average=100.1), RANGE),
    (dict(adx=30.0, plus=15.0, minus=20.0), RANGE), (dict(adx=30.0, plus=15.0, minus=20.0, average=100.0), RANGE),
    (dict(adx=30.0, rank=1.0), TREND_UP),
    # squeeze: narrow bands and no strength
    (dict(rank=20.0, adx=19.9), SQUEEZE), (dict(rank=20.1, adx=19.9), RANGE), (dict(rank=20.0, adx=20.0), RANGE),
    (dict(rank=0.0, adx=0.0), SQUEEZE),
    # anything unknown
    *((dict([(name, nan)]), UNDEFINED) for name in USUAL),
]


@pytest.mark.parametrize("unusual, expected", TABLE, ids=str)
def test_what_one_bar_says(unusual, expected):
    assert NAMES[seen([row(**unusual)])[0][2]] == NAMES[expected]


@pytest.mark.parametrize("unusual, kept", [
    (dict(adx=20.0), True), (dict(adx=19.9), False), (dict(adx=24.9), True), (dict(adx=20.0, close=98.6), True),
    (dict(adx=22.0, minus=20.0), False), (dict(adx=22.0, minus=20.1), False), (dict(adx=22.0, rank=5.0), True)], ids=str)
@pytest.mark.parametrize("market, trend", [(row, TREND_UP), (mirrored, TREND_DOWN)], ids=["up", "down"])
def test_a_trend_is_kept_down_to_the_weak_mark_while_the_same_arm_is_on_top(market, trend, unusual, kept):
    out = seen([market(adx=25.0), market(adx=25.0), market(**unusual), market(**unusual)])
    assert [x[0] for x in out] == [UNDEFINED, trend, trend, trend if kept else RANGE]
    assert [x[2] == trend for x in out[2:]] == [kept, kept]


BARS = {"R": row(adx=19.0), "M": row(), "S": row(adx=10.0, rank=10.0), "T": row(adx=25.0), "D": row(adx=25.0, **FALLING),
        "N": row(rank=nan), "E": row(atr_ratio=1.4, close=103.0), "F": row(atr_ratio=1.4, close=97.0)}
CODE = dict(U=UNDEFINED, R=RANGE, S=SQUEEZE, T=TREND_UP, D=TREND_DOWN, E=EXPANSION_UP, F=EXPANSION_DOWN)


@pytest.mark.parametrize("bars, states, why", [
    ("RRTRTR", "URRRRR", "one bar is not enough"),
    ("RRTT", "URRT", "two in a row are"),
    ("RRTSTSS", "URRRRRS", "two that differ are not"),
    ("TTDD", "UTTD", "a trend turns in two"),
    ("TTDTDD", "UTTTTD", "a bar of the present state begins the count anew"),
    ("MM", "UR", "the middle ground is range where no trend was"),
    ("TTRM", "UTTT", "the middle ground keeps a trend that one weaker bar did not end"),
    ("TTRRM", "UTTRR", "and does not bring one back"),
    ("E", "E", "expansion does not wait, not even for the first state"),
    ("TTE", "UTE", "nor does it after a trend"),
    ("RRERRR", "UREEER", "it lasts three bars, and what came meanwhile counts"),
    ("RRERSS", "UREEES", "the next state needs its own two"),
    ("EEEERR", "EEEEER", "after more than three bars two are needed as always"),
    ("ERERR", "EEEER", "a second expansion within is the same one"),
    ("EFRRR", "EFFFR", "a turn has three bars of its own"),
    ("TTEMMM", "UTEEER", "hysteresis does not reach back over an expansion"),
    ("ENRR", "EUUR", "what is unknown ends it at once"),
    ("TTNTT", "UTUUT", "and a trend"),
    ("RRNE", "URUE", "from the unknown an expansion is believed at once"),
    ("RRNNNRSRR", "URUUUUUUR", "all others in two"),
])
def test_a_story(bars, states, why):
    out = seen([BARS[b] for b in bars])
    assert [NAMES[x[0]] for x in out] == [NAMES[CODE[s]] for s in states], why
    ages = [stood(states[:i + 1]) for i in range(len(states))]
    assert [x[1] - (states[:i + 1] == "U" * (i + 1)) for i, x in enumerate(out)] == ages, "the usual bar before is one of UNDEFINED"


def second(rows) -> list[tuple[float, float, float]]:
    "Quant_spec B1 written again, over the whole history."
    out, states, raws, last = [], [], [], nan
    for close, adx, plus, minus, average, rank, atr, ratio, upper, lower in rows:
        before, was, last = states[-1] if states else "UNDEFINED", last, close
        unknown = any(map(isnan, (close, adx, plus, minus, average, rank, atr, ratio, upper, lower)))
        if unknown and not states:
            out.append((nan, nan, nan))
            continue
        answers = [
            ("UNDEFINED", unknown or isnan(was)),
            ("EXPANSION_" + ("UP" if close > was or close > upper else "DOWN"),
             ratio >= 1.4 and (not lower <= close <= upper or abs(close - was) >= 1.5 * atr)),
            ("TREND_UP", adx >= 25 and plus > minus and close > average), ("TREND_DOWN", adx >= 25 and plus < minus and close < average),
            ("SQUEEZE", rank <= 20 and adx < 20),
            (before, "TREND" in before and adx >= 20 and (plus > minus if "UP" in before else plus < minus)), ("RANGE", True)]
        raw = next(name for name, holds in answers if holds)
        at_once = raw == "UNDEFINED" or raw.startswith("EXPANSION")
        twice = raws[-1:] == [raw] and not (before.startswith("EXPANSION") and stood(states) < 3)
        states.append(raw if at_once or twice else before)
        raws.append(raw)
        out.append(tuple(map(float, (NAMES.index(states[-1]), stood(states), NAMES.index(raw)))))
    return out


near = st.fixed_dictionaries(dict(
    close=st.sampled_from([97.0, 98.0, 98.5, 99.5, 100.0, 100.5, 101.5, 102.0, 103.0]),
    adx=st.sampled_from([10.0, 19.9, 20.0, 24.9, 25.0, 40.0, nan]),
    plus=st.sampled_from([15.0, 20.0, 25.0]), minus=st.sampled_from([15.0, 20.0]), average=st.sampled_from([99.0, 100.0, 101.0]),
    rank=st.sampled_from([0.0, 20.0, 20.1, 80.0]), atr=st.sampled_from([0.5, 1.0]), atr_ratio=st.sampled_from([0.8, 1.0, 1.39, 1.4, nan]),
    upper=st.sampled_from([101.5, 102.0]), lower=st.sampled_from([98.0, 98.5])))


@settings(max_examples=150, deadline=None)
@given(st.lists(near.map(lambda r: tuple(r.values())), min_size=1, max_size=80))
def test_any_history_agrees_with_the_second_writing(rows):
    np.testing.assert_array_equal(np.array(fold(Regime.of(), rows)[1]), np.array(second(rows)))


def inputs_of(bars) -> list[tuple[float, ...]]:
    "The ten inputs by TA-Lib and pandas."
    h, l, c = bars.high, bars.low, bars.close
    upper, mid, lower = talib.BBANDS(c, 20, 2.0, 2.0)
    width, atr = pd.Series((upper - lower) / mid), pd.Series(talib.ATR(h, l, c, 14))
    rank = width.rolling(121).apply(lambda w: 50.0 * (np.sum(w[:-1] < w[-1]) + np.sum(w[:-1] <= w[-1])) / 120, raw=True)
    ratio = atr / atr.shift(1).rolling(100).median()
    don = (pd.Series(h).shift(1).rolling(20).max(), pd.Series(l).shift(1).rolling(20).min())
    arms = talib.ADX(h, l, c, 14), talib.PLUS_DI(h, l, c, 14), talib.MINUS_DI(h, l, c, 14)
    return list(zip(*(np.asarray(x).tolist() for x in (c, *arms, talib.EMA(c, 50), rank, atr, ratio, *don))))


@pytest.mark.parametrize("series", ["walk", "BTC", "SOL"])
def test_wired_it_is_the_second_writing_over_the_inputs_of_talib_and_pandas(series):
    bars = walk(8, 3000, step=0.3) if series == "walk" else real(series, 20_000, 4000)
    ours = np.array(look(bars, **Regime.wired()).regime).T
    np.testing.assert_array_equal(ours, np.array(second(inputs_of(bars))))
    assert len(set(ours[139:, 0])) >= 5 and np.isnan(ours[:139]).all()


def test_on_a_higher_timeframe_it_stands_between_the_closes_of_the_hour():
    bars = walk(9, 1600)
    hours = [hour for hour in fold(Resample(60, 15), bars)[1] if hour.open_time >= 0]
    columns = (np.array([getattr(hour, f) for hour in hours]) for f in ("open_time", "open", "high", "low", "close", "volume"))
    hourly = np.array(look(Bars.from_columns("WALK", 60, *columns), **Regime.wired()).regime)
    quarters = np.array(look(bars, **Regime.wired(60)).regime)
    np.testing.assert_array_equal(quarters[:, 3:-1], np.repeat(hourly[:, :-1], 4, axis=1)[:, :quarters.shape[1] - 4])


def test_a_market_that_never_moved_has_no_regime_until_it_does():
    bars = walk(10, 500)
    still = [bar._replace(open=200.0, high=200.0, low=200.0, close=200.0) if i < 250 else bar for i, bar in enumerate(bars)]
    columns = (np.array([getattr(bar, f) for bar in still]) for f in ("open_time", "open", "high", "low", "close", "volume"))
    state = look(Bars.from_columns("STILL", 15, *columns), **Regime.wired()).regime.state
    assert np.isnan(state[:250]).all() and not np.isnan(state[352:]).any() and set(state[352:]) >= {RANGE}


def test_marks_that_make_no_sense_are_refused():
    for name, wrong in (("surge", 0.0), ("leap", -1.5), ("strong", 101.0), ("patience", 0), ("least", 0), ("quiet", nan)):
        with pytest.raises(ParameterError, match=f"Regime: {name} = {wrong} is "): Regime.of(**{name: wrong})
    with pytest.raises(ParameterError, match=r"Regime: weak = 26.0 is above strong = 25.0"): Regime.of(weak=26.0)


def test_the_marks_are_parameters():
    quick = fold(Regime.of(patience=1, least=1), [row(), row(adx=25.0), BARS["E"], BARS["R"]])[1]
    assert [int(view.state) for view in quick] == [UNDEFINED, TREND_UP, EXPANSION_UP, RANGE]
    assert fold(Regime.of(strong=30.0), [row(), row(adx=29.9)])[1][-1].raw == RANGE
    assert fold(Regime.of(quiet=5.0), [row(), BARS["S"]])[1][-1].raw == RANGE
