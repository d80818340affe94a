"CVD divergence (R64, R124): hand-made pairs at their limits, and a slow second writing that keeps every swing."
from dataclasses import replace
from math import inf, isnan, nan, sqrt

import numpy as np
import pytest
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bars
from perps_kit.core.features import prefixed
from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.divergence import Divergence, DivergenceView, cvd_bonus, cvd_conflict

NOTHING = DivergenceView(nan, nan, nan)


def path(corners) -> list[float]: return np.interp(np.arange(corners[-1][0] + 1), *zip(*corners, strict=True)).tolist()


def inputs_of(price, flow, atr=1.0, vr=1.0, usual=1.0, since=None) -> list[tuple]:
    "Candles half a unit to either side of the corners' line, and what feeds the unit beside them."
    bars = [candle(k, y, y + 0.5, y - 0.5, y) for k, y in enumerate(path(price))]
    counted = [k + 1.0 if since is None else float(since(k)) for k in range(len(bars))]
    return [(bar, atr, vr, c, usual, known) for bar, c, known in zip(bars, path(flow), counted, strict=True)]


def rows(inputs, **choices) -> list[DivergenceView]: return fold(Divergence.of(**choices), inputs)[1]


def events(seen) -> dict[int, float]: return {k: row.event for k, row in enumerate(seen) if abs(row.event) == 1}


LEGS, BUYING = [(0, 104), (6, 100), (12, 104), (18, 99), (40, 110)], [(0, 0), (6, -10), (18, -5), (40, 0)]


def mirrored(inputs) -> list[tuple]:
    return [(bar._replace(open=200 - bar.open, high=200 - bar.low, low=200 - bar.high, close=200 - bar.close), atr, vr, -c, usual, since)
            for bar, atr, vr, c, usual, since in inputs]


def test_known_three_bars_late_valid_for_eight_more():
    seen = rows(inputs_of(LEGS, BUYING))
    assert [row.state for row in seen[20:31]] == [0] + [1] * 9 + [0] and events(seen) == {21: 1.0}
    assert [row.age for row in seen[20:31]] == [inf, *range(10)]
    assert same_bits(seen[:6], [NOTHING] * 6) and seen[6].state == 0


def test_bearish_is_its_mirror_image():
    bull, bear = rows(inputs_of(LEGS, BUYING)), rows(mirrored(inputs_of(LEGS, BUYING)))
    assert events(bear) == {21: -1.0}
    for a, b in zip(bull[6:], bear[6:], strict=True): assert (a.state, a.age, a.event) == (-b.state, b.age, -b.event)


def changed(inputs, bar: int, **given) -> list[tuple]:
    "The inputs with atr, vr, flow, usual or since of one bar replaced."
    names = ("bar", "atr", "vr", "flow", "usual", "since")
    return [tuple(given.get(name, x) if k == bar else x for name, x in zip(names, row, strict=True)) for k, row in enumerate(inputs)]


# Price falls by 1 from bar 6 to bar 18 while the CVD rises by 5; each limit is tried at bar 18 from both sides.
@pytest.mark.parametrize("inside, outside", [
    (dict(atr=9.99), dict(atr=10.0)),                                           # 98.5 < 99.5 - 0.1 ATR
    (dict(flow=-9.65), dict(flow=-9.66)),                                       # -10 + 0.1 sqrt(12) = -9.6536
    (dict(usual=5 / (0.1 * sqrt(12)) - 1e-9), dict(usual=5 / (0.1 * sqrt(12)) + 1e-9)),
    (dict(vr=1.0), dict(vr=0.9999)),
    (dict(since=13.0), dict(since=12.0)),                                       # both swings within one count
    (dict(atr=0.001), dict(atr=0.0)),
    (dict(vr=5.0), dict(vr=nan)),
])
def test_each_limit_is_read_at_the_later_swing(inside, outside):
    base = inputs_of(LEGS, BUYING)
    assert events(rows(changed(base, 18, **inside))) == {21: 1.0}
    assert events(rows(changed(base, 18, **outside))) == {}
    for other in (17, 19, 21):
        assert events(rows(changed(base, other, **outside))) == {21: 1.0}, "bar 18 alone counts"


@pytest.mark.parametrize("apart, found", [(4, False), (5, True), (12, True), (40, True), (41, False)])
def test_neither_too_near_nor_too_far(apart, found):
    j = 6 + apart
    inputs = inputs_of([(0, 104), (6, 100), (6 + apart // 2, 104), (j, 99), (j + 14, 106)], [(0, 0), (6, -10), (j, -5), (j + 14, 0)])
    assert events(rows(inputs)) == ({j + 3: 1.0} if found else {})
    assert events(rows(inputs, nearest=1, farthest=500)) == {j + 3: 1.0}


def test_a_count_that_began_anew_between_the_swings_gives_no_pair():
    fresh = inputs_of(LEGS, BUYING, since=lambda k: k + 1 if k < 10 else k - 10)          # bar 10 was unknown
    broken = changed(fresh, 10, flow=nan, usual=nan)
    seen = rows(broken)
    assert events(seen) == {} and same_bits(seen[10], NOTHING) and seen[11].state == 0


def test_a_replaced_low_leaves_the_first_one_in_the_pair():
    price = [(0, 104), (6, 100), (12, 104), (18, 99.5), (21, 101), (24, 98.5), (34, 106)]
    flow = [(0, 0), (6, -10), (18, -12), (24, -5), (34, 0)]
    inputs = inputs_of(price, flow)
    inputs = [(bar._replace(high=102 - 0.05 * k) if 18 <= k < 24 else bar, *rest) for k, (bar, *rest) in enumerate(inputs)]
    assert events(rows(inputs)) == {27: 1.0}, "18 against 6 is none; 24 takes its place and is one"
    assert events(rows(inputs, nearest=17, farthest=18)) == {27: 1.0} and events(rows(inputs, nearest=5, farthest=17)) == {}


def test_a_new_one_takes_over_and_counts_from_itself():
    twice = inputs_of([*LEGS[:-1], (24, 104), (30, 98), (50, 110)], [*BUYING[:-1], (30, 0), (50, 5)])
    seen = rows(twice, valid=20)
    assert events(seen) == {21: 1.0, 33: 1.0} and [row.age for row in seen[32:35]] == [11, 0, 1]


def slowly(inputs, n=3) -> list[DivergenceView]:
    "Every row from the list of all accepted swings; a replaced one is dropped from the list when it is replaced."
    bars, atr, vr, cvd, usual, since = (list(x) for x in zip(*inputs, strict=True))
    accepted, last, out = [], (0, -10**9), []               # swings as (kind, bar, price); the last divergence as (side, bar)
    for t in range(len(bars)):
        i, new = t - n, []
        if i >= n:
            if bars[i].high > max(b.high for b in bars[i - n:i]) and bars[i].high >= max(b.high for b in bars[i + 1:t + 1]): new.append(1)
            if bars[i].low < min(b.low for b in bars[i - n:i]) and bars[i].low <= min(b.low for b in bars[i + 1:t + 1]): new.append(-1)
            if accepted and accepted[-1][0] == 1: new.reverse()
        sides = set()
        for kind in new:
            level = bars[i].high if kind == 1 else bars[i].low
            if accepted and accepted[-1][0] == kind:
                if kind * level <= kind * accepted[-1][2]: continue
                accepted.pop()
            accepted.append((kind, i, level))
            same = [s for s in accepted if s[0] == kind]
            if len(same) < 2: continue
            (_, a, before), (_, b, price), side = *same[-2:], -kind
            parts = price < before - 0.1 * atr[b] if side == 1 else price > before + 0.1 * atr[b]
            room = 0.1 * (usual[b] * sqrt(b - a))
            other = cvd[b] > cvd[a] + room if side == 1 else cvd[b] < cvd[a] - room
            if 5 <= b - a <= 40 and since[b] > b - a and vr[b] >= 1.0 and atr[b] > 0 and parts and other: sides.add(side)
        event = sides.pop() if len(sides) == 1 else 0
        if event: last = event, t
        age = float(t - last[1]) if last[0] else inf
        blind = t < 2 * n or isnan(atr[t]) or isnan(cvd[t]) or isnan(usual[t])
        out.append(NOTHING if blind else DivergenceView(float(last[0]) if age <= 8 else 0.0, age, float(event)))
    return out


def taken(bars: Bars, seed: int = 0) -> Bars:
    "With made-up taker volume that follows no price, lost for a bar now and then."
    rng = np.random.default_rng(seed)
    bought = bars.volume * rng.random(len(bars))
    bought[rng.choice(len(bars), len(bars) // 300)] = nan
    return replace(bars, taker_buy=bought)


SERIES = dict(sample=lambda: sample_bars("ETHUSDT")[:3000], ties=lambda: taken(walk(2, 2500, tick=0.5)),
              recorded=lambda: taken(real("SOL", 30_000, 2500)))


@pytest.mark.parametrize("series", SERIES)
def test_every_row_is_as_defined_on_candles(series):
    seen = look(bars := SERIES[series](), **Divergence.wired())
    inputs = list(zip(bars, *(x.tolist() for x in (seen.atr, seen.volume, seen.cvd.cvd, seen.cvd.usual, seen.cvd.since)), strict=True))
    expected = slowly(inputs)
    assert same_bits([DivergenceView(*row) for row in np.array(seen.divergence).T.tolist()], expected)
    assert {1.0, -1.0} <= set(events(expected).values()) and len(events(expected)) >= 8


cells = st.tuples(st.integers(1, 8), st.integers(0, 4), st.floats(-5, 5), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 9))


@settings(max_examples=80, deadline=None)
@given(st.lists(cells, min_size=30, max_size=90))
def test_every_row_is_as_defined_on_a_coarse_grid(cells):
    flow, since, inputs = 0.0, 0, []
    for k, (low, reach, delta, vr, luck) in enumerate(cells):
        since, flow = (0, nan) if luck == 9 and k % 3 == 0 else (since + 1, (flow if since else 0.0) + delta)
        inputs.append((candle(k, low, low + reach, low, low), 0.5, vr, flow, 1.0 if since else nan, float(since)))
    assert same_bits(rows(inputs), slowly(inputs))


def test_one_wild_bar_that_is_both_cancels():
    price = path([(0, 100), (6, 96), (12, 104), (18, 100), (30, 100)])
    flow = path([(0, 0), (6, -10), (9, 0), (12, 10), (18, 0), (30, 0)])          # above the low's, below the high's
    inputs = [(candle(k, y, y + 0.5, y - 0.5, y), 1.0, 1.0, c, 1.0, k + 1.0) for k, (y, c) in enumerate(zip(price, flow, strict=True))]
    inputs[18] = (candle(18, 100, 106, 90, 100), *inputs[18][1:])
    low_only, high_only = list(inputs), list(inputs)
    low_only[18], high_only[18] = ((candle(18, 100, high, low, 100), *inputs[18][1:]) for high, low in ((100.5, 90), (106, 99.5)))
    assert (events(rows(low_only)), events(rows(high_only)), events(rows(inputs))) == ({21: 1.0}, {21: -1.0}, {})


def test_no_taker_volume_no_divergence_and_flat_prices_none():
    assert np.isnan(look(walk(1, 200), **Divergence.wired()).divergence.state).all()
    still = [(candle(k, 5, 5, 5, 5), 0.0, nan, 0.0, 0.0, k + 1.0) for k in range(60)]
    assert {(row.state, row.age, row.event) for row in rows(still)[6:]} == {(0.0, inf, 0.0)}


def test_on_two_timeframes_in_one_look():
    seen = look(sample_bars("BTCUSDT")[:4000], **Divergence.wired(), **prefixed("hour_", Divergence.wired(60)))
    for state in (seen.divergence.state, seen.hour_divergence.state): assert {1.0, -1.0, 0.0} <= set(state.tolist())


@pytest.mark.parametrize("side", [1, -1])
def test_the_bonus_and_the_conflict(side):
    table = {(0, 0): (0.0, False), (1, 0): (0.3, False), (0, 1): (0.5, False), (1, 1): (0.8, False), (-1, 0): (0.0, True),
             (0, -1): (0.0, True), (1, -1): (0.3, True), (-1, 1): (0.5, True), (-1, -1): (0.0, True),
             (nan, 1): (0.5, False), (nan, nan): (0.0, False)}
    for (a, b), expected in table.items():
        assert (cvd_bonus(side, side * a, side * b), cvd_conflict(side, side * a, side * b)) == expected
    assert cvd_bonus(side, side, side, quarter=0.4, hour=0.25) == 0.65


def test_stopping_anywhere_and_going_on_changes_nothing():
    inputs = inputs_of(LEGS, BUYING)
    whole = rows(inputs)
    for cut in (0, 6, 18, 19, 21, 25):
        half, _ = fold(Divergence.of(), inputs[:cut])
        assert same_bits(fold(loads(Divergence.of(), dumps(half)), inputs[cut:])[1], whole[cut:])


@pytest.mark.parametrize("name, value, said", [("n", 0, "is"), ("nearest", 0, "is"), ("price", -0.1, "is"), ("valid", -1, "is"),
                                               ("nearest", 50, "is more than farthest = 40")])
def test_nonsense_is_refused(name, value, said):
    with pytest.raises(ParameterError, match=f"Divergence: {name} = {value} {said}"): Divergence.of(**{name: value})
