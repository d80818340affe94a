"EMA fan against TA-Lib and pandas; excursions against a plain scan of the bars held, and against the ladder."
from itertools import pairwise
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
import talib
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.signal import SINGLE, STANDARD
from perps_kit.core.unit import ParameterError, fold
from perps_kit.data.look import look
from perps_kit.indicators.excursion import Excursion
from perps_kit.indicators.fan import Fan
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.plan import CLOSED, RUNNER, Rules


@pytest.mark.parametrize("series", ["walk", "coarse", "bitcoin"])
def test_fan_agrees_with_talib(series):
    bars = {"walk": lambda: walk(1, 900), "coarse": lambda: walk(2, 900, tick=0.5), "bitcoin": lambda: real("BTC", 30_000, 2000)}[series]()
    fan = look(bars, **Fan.wired()).fan
    emas = np.array([talib.EMA(bars.close, n) for n in (5, 9, 13, 21, 200)])
    for ours, theirs in zip(fan[3:], emas, strict=True):
        assert np.isnan(ours[:199]).all()
        np.testing.assert_allclose(ours[199:], theirs[199:], rtol=1e-12)
    gaps = -np.diff(emas[:4], axis=0)
    sure = np.abs(gaps[:, 199:]).min(axis=0) > 1e-9
    ordered = np.where((gaps > 0).all(axis=0), 1.0, np.where((gaps < 0).all(axis=0), -1.0, 0.0))
    np.testing.assert_array_equal(fan.ordered[199:][sure], ordered[199:][sure])
    spread = np.ptp(emas[:4], axis=0) / talib.ATR(bars.high, bars.low, bars.close, 14)
    np.testing.assert_allclose(fan.spread[199:], spread[199:], rtol=1e-9, atol=1e-11)
    same = pd.Series(fan.ordered[199:])
    age = same.groupby((same != same.shift()).cumsum()).cumcount() + 1
    began = int(np.argmax(same.to_numpy() != same[0]))
    assert {1.0, -1.0, 0.0} == set(same)
    np.testing.assert_array_equal(fan.age[199:][began:], np.where(same != 0, age, 0)[began:])


def test_the_age_counts_from_before_the_slow_average_is_known():
    fan = fold(Fan.of(), [(100.0 + k, 1.0) for k in range(230)])[1]
    assert isnan(fan[198].age) and fan[199].age == 180 and fan[229].age == 210 and fan[229].ordered == 1    # known with the 21st close


def test_equal_averages_are_no_order_and_no_range_is_no_measure():
    still = fold(Fan.of(), [(7.3, 0.0)] * 220)[1][-1]
    assert still.ordered == 0 and still.age == 0 and isnan(still.spread) and still[3:] == (7.3,) * 5
    assert fold(Fan.of(), [(7.3, 2.0)] * 220)[1][-1].spread == 0.0


def test_the_averages_go_on_while_the_atr_is_not_known():
    with_hole = fold(Fan.of(), [(100.0 + (k * 7) % 11, nan if k < 50 or k == 210 else 1.0) for k in range(220)])[1]
    without = fold(Fan.of(), [(100.0 + (k * 7) % 11, 1.0) for k in range(220)])[1]
    assert isnan(with_hole[210].spread) and with_hole[210][3:] == without[210][3:] and with_hole[219] == without[219]


def scan(side, entry, risk, held, exit, whole):
    "The definition by numpy: prices of the bars held, in R."
    good = np.array([side * ((b.high if side > 0 else b.low) - entry) for b in held])
    bad = np.array([side * (entry - (b.low if side > 0 else b.high)) for b in held])
    if not isnan(exit):
        out, ahead = side * (exit - entry), side * (exit - held[-1].open)
        if not whole or ahead >= 0: good[-1] = out
        if not whole or ahead <= 0: bad[-1] = -out
    return max(good.max(), 0.0) / risk, max(bad.max(), 0.0) / risk, float(len(held)), float(good.argmax() + 1 if good.max() > 0 else 0)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 400), st.integers(1, 30), st.sampled_from([1, -1]), st.floats(0.1, 5.0), st.one_of(st.just(nan), st.floats(0.0, 1.0)),
       st.integers(0, 1))
def test_excursions_are_the_extremes_of_what_was_held(start, n, side, risk, where, whole):
    held = list(walk(11, 500, tick=0.1)[start:start + n])
    exit = held[-1].low + where * (held[-1].high - held[-1].low)
    rows = [(bar, nan) for bar in held[:-1]] + [(held[-1], exit)]
    out = fold(Excursion.of(side, held[0].open, risk, whole), rows)[1]
    assert out[-1] == pytest.approx(scan(side, held[0].open, risk, held, exit, whole), rel=1e-12)
    assert all(a.mfe <= b.mfe and a.mae <= b.mae for a, b in pairwise(out))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("exit, whole, mfe, mae", [
    (98.5, 0, 1.0, 1.0), (98.5, 1, 4 / 1.5, 1.0),           # a stop: behind the open
    (103.0, 0, 2.0, 0.5), (103.0, 1, 2.0, 2.0),             # a target: before it
    (101.0, 0, 1.0, 0.5), (101.0, 1, 1.0, 0.5),             # at the open: nothing else was lived
    (nan, 0, 4 / 1.5, 2.0), (nan, 1, 4 / 1.5, 2.0)])        # still held
def test_the_bar_of_the_exit_is_cut_at_its_price(side, exit, whole, mfe, mae):
    def turned(i, o, h, l, c): return candle(i, o, h, l, c) if side > 0 else candle(i, 200 - o, 200 - l, 200 - h, 200 - c)

    rows = [(turned(0, 100, 101.5, 99.25, 101), nan), (turned(1, 101, 104, 97, 98), exit if side > 0 else 200 - exit)]
    end, out = fold(Excursion.of(side, 100.0, 1.5, whole), rows)
    assert out[-1][:3] == (mfe, mae, 2.0) and out[-1].to_mfe == (2.0 if mfe > 1 else 1.0)
    after = end.update(turned(2, 98, 150, 50, 98))
    assert after == (end, out[-1]) or isnan(exit)


def test_trades_agree_with_the_ladder_to_the_last_digit():
    bars, closed, ran = walk(12, 4000), 0, 0
    for k in range(20, 3900, 40):
        side, preset, last = 1 if k % 80 else -1, (STANDARD, SINGLE)[k // 40 % 2], bars.close[k - 1]
        ladder = Ladder.of(side, float(last), float(last - side * 1.5), 1.0, preset, tick=0.01, rules=Rules(trail=1.2))
        unit = None
        for bar in bars[k:k + 100]:
            ladder, _ = ladder.update(bar)
            if isnan(ladder.fills.entry): break             # called off
            fills, over = ladder.fills, ladder.state == CLOSED
            sold = [x for x in (fills.out, fills.x3, fills.x2, fills.x1) if not isnan(x)]
            unit = unit or Excursion.of(side, fills.entry, abs(fills.entry - ladder.plan.stop))
            unit, _ = unit.update(bar, sold[0] if over else nan)
            assert (unit.best, unit.worst, unit.bars) == (ladder.tally.mfe, ladder.tally.mae, ladder.tally.bars)
            ran += ladder.state == RUNNER
            if over:
                closed += 1
                break
    assert closed > 60 and ran > 20


def test_a_trade_that_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="Excursion: side = 0 is no trade"): Excursion.of(0, 100.0, 1.0)
    for wrong, text in ((dict(side=2), "side = 2 is outside"), (dict(entry=0.0), "entry = 0.0 is outside"),
                        (dict(risk=-1.0), "risk = -1.0 is outside"), (dict(risk=nan), "risk = nan is not a number"),
                        (dict(whole=2), "whole = 2 is outside")):
        with pytest.raises(ParameterError, match=f"Excursion: {text}"): Excursion.of(**dict(side=1, entry=100.0, risk=1.0) | wrong)
