"Rows, value area, session and rolling profiles against a second writing that starts from nothing at every bar (A10, R59)."
from math import floor, isnan, nan

import numpy as np
import pytest
from fixtures.candles import candle, real, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.clock import DAY
from perps_kit.core.unit import fold, same_bits
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.rolling_profile import RollingProfile
from perps_kit.indicators.session_profile import SessionProfile, levels
from perps_kit.indicators.volume_profile import control, merge, move, pour, row_width, rows_of, value_area

SERIES = {"sample": lambda: sample_bars("SOLUSDT")[:700], "coarse": lambda: walk(2, 600, tick=0.5),
          "bitcoin": lambda: real("BTC", 30_000, 700)}
some = st.lists(st.tuples(st.floats(10.0, 60.0), st.floats(0.0, 9.0), st.floats(0.0, 1e6)), min_size=1, max_size=20)


@pytest.fixture(params=SERIES)
def bars(request):
    return SERIES[request.param]()


def row(price: float, width: float) -> int:
    "A price within a billionth of a row's edge lies on it."
    near = round(price / width)
    return near if abs(price / width - near) < 1e-9 else floor(price / width)


def poured(bars: list[Bar], width: float) -> dict[int, float]:
    "Volume by row number, from nothing."
    rows: dict[int, float] = {}
    for bar in bars:
        first, last = row(bar.low, width), row(bar.high, width)
        for i in range(first, last + 1):
            reach = bar.high - bar.low
            share = 1.0 if first == last else (min(bar.high, (i + 1) * width) - max(bar.low, i * width)) / reach
            rows[i] = rows.get(i, 0.0) + share * bar.volume
    return rows


def area(rows: dict[int, float], share: float = 0.7, pair: int = 2) -> tuple[int, int, int] | None:
    "POC and value area as row numbers, written down as the spec says it."
    if not sum(rows.values()) > 0: return None
    low, high = min(rows), max(rows)
    middle = (low + high) / 2
    top = max(rows.values())
    leaders = [i for i, v in rows.items() if v >= top * (1 - 1e-9)]
    poc = min(leaders, key=lambda i: (abs(i - middle), i))
    inside = [poc]
    while sum(rows.get(i, 0.0) for i in inside) < share * sum(rows.values()) * (1 - 1e-12):
        above = [i for i in range(inside[-1] + 1, inside[-1] + 1 + pair) if i <= high]
        below = [i for i in range(inside[0] - pair, inside[0]) if i >= low]
        if not above and not below: break
        up, down = (sum(rows.get(i, 0.0) for i in some) if some else -1.0 for some in (above, below))
        inside = inside + above if up >= down - 1e-9 else below + inside
    return poc, inside[0], inside[-1]


def prices(found: tuple[int, int, int] | None, width: float) -> tuple[float, float, float]:
    return (nan, nan, nan) if found is None else ((found[0] + 0.5) * width, (found[2] + 1) * width, found[1] * width)


def agree(ours: tuple, theirs: tuple, rows: dict[int, float], width: float) -> bool:
    "Equal, or two rows as good as equal have changed places: both bands then hold what they should."
    if np.allclose(ours, theirs, rtol=1e-9, equal_nan=True): return True
    if any(map(isnan, ours)): return False
    total, inside = sum(rows.values()), (round(ours[2] / width), round(ours[1] / width))
    held = sum(v for i, v in rows.items() if inside[0] <= i < inside[1])
    return rows.get(floor(ours[0] / width), 0.0) >= max(rows.values()) * (1 - 1e-9) and held >= 0.7 * total * (1 - 1e-9)


def test_the_vector_of_the_specification():
    rows = np.array([10.0, 20.0, 50.0, 30.0, 15.0, 5.0])
    assert value_area(rows, 0, 5, 0.7, 2) == (2, 2, 4) and value_area(rows, 0, 5, 0.7, 1) == (2, 1, 3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=14), st.integers(1, 3), st.floats(0.1, 1.0))
def test_poc_and_value_area_as_written_down(volumes, step, share):
    expected = area(dict(enumerate(volumes)), share, step)
    assert value_area(np.array(volumes), 0, len(volumes) - 1, share, step) == (expected or (-1, -1, -1))


def test_equal_rows_go_to_the_middle_and_then_down():
    assert control(np.array([5.0, 1.0, 5.0, 1.0, 1.0]), 0, 4, 0.0) == 2
    assert control(np.array([5.0, 1.0, 1.0, 5.0]), 0, 3, 0.0) == 0
    assert control(np.array([9.0, 5.0, 1.0, 1.0, 5.0]), 1, 4, 0.0) == 1     # only the places that are asked for
    assert control(np.array([5.0, 1.0, 5.0 - 1e-12, 1.0, 1.0]), 0, 4, 1e-9) == 2


@settings(max_examples=200, deadline=None)
@given(some, st.sampled_from([0.1, 0.25, 1.0]))
def test_pouring_loses_no_volume_and_pouring_out_takes_it_back(given_bars, width):
    rows = np.zeros(1000)
    for low, reach, volume in given_bars: pour(rows, 0, width, low, low + reach, volume)
    total = sum(volume for *_, volume in given_bars)
    assert rows.sum() == pytest.approx(total, rel=1e-9, abs=1e-9)
    for low, reach, volume in given_bars: pour(rows, 0, width, low, low + reach, -volume)
    assert np.abs(rows).max() <= 1e-9 * max(total, 1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9).map(float), min_size=16, max_size=16), st.integers(-40, 40), st.integers(-20, 20))
def test_merging_and_moving_keep_every_row_in_its_place(volumes, base, by):
    rows = np.array(volumes)
    begin = merge(rows, base)
    whole = {i: 0.0 for i in range(begin, begin + 16)}
    for k, v in enumerate(volumes): whole[(base + k) // 2] += v
    assert rows.tolist() == list(whole.values())
    rows = np.array(volumes)
    move(rows, by)
    assert rows.tolist() == [volumes[i + by] if 0 <= i + by < 16 else 0.0 for i in range(16)]


@pytest.mark.parametrize(("atr", "tick", "width"), [(4.0, 0.0, 1.0), (4.0, 0.3, 0.9), (0.1, 0.5, 0.5), (10.0, 0.5, 2.5), (4.6, 0.5, 1.0)])
def test_rows_lie_on_the_tick_and_are_never_less_than_one(atr, tick, width):
    assert row_width(atr, tick, 100.0) == pytest.approx(width)


@pytest.mark.parametrize(("step", "tick"), [(2, 0.0), (1, 0.05)])
def test_session_profiles_are_those_of_each_day_from_nothing(bars, step, tick):
    atr = fold(ATR.of(14), bars)[1]
    seen = fold(SessionProfile.of(tick, 0.7, step), list(zip(bars, atr)))[1]
    held, known, whole, day, width = (nan, nan, nan), nan, False, [], nan
    for bar, now, y in zip(bars, atr, seen):
        if bar.open_time % DAY == 0 or isnan(width):
            day, whole, width = [], bar.open_time % DAY == 0 and known > 0, row_width(known, tick, bar.open) if known > 0 else nan
        known = now if now > 0 else known
        if isnan(width): continue
        day.append(bar)
        rows = poured(day, width)
        expected = prices(area(rows, 0.7, step), width)
        assert y.width == width and agree((y.day_poc, y.day_vah, y.day_val), expected, rows, width)
        if bar.close_time % DAY == 0 and whole: held = (y.day_poc, y.day_vah, y.day_val)
        np.testing.assert_equal((y.poc, y.vah, y.val), held)
    assert not isnan(held[0])


@pytest.mark.parametrize("n", [1, 20, 96])
def test_rolling_profiles_are_those_of_the_window_from_nothing(bars, n):
    atr = fold(ATR.of(14), bars)[1]
    seen = fold(RollingProfile.of(n), list(zip(bars, atr)))[1]
    known, width, spoke = nan, nan, 0
    for i, (bar, y) in enumerate(zip(bars, seen)):
        if (isnan(width) or bar.open_time % DAY == 0) and known > 0: width = row_width(known, 0.0, bar.open)
        known = atr[i] if atr[i] > 0 else known
        if i + 1 < n or isnan(width):
            assert isnan(y.poc)
            continue
        rows = poured(list(bars[i + 1 - n:i + 1]), width)
        assert y.width == width and agree((y.poc, y.vah, y.val), prices(area(rows), width), rows, width), i
        spoke += 1
    assert spoke > 400


@pytest.mark.parametrize("unit", [SessionProfile.of(capacity=64), RollingProfile.of(8, capacity=64)], ids=["session", "rolling"])
def test_a_crash_makes_rows_wider_and_loses_nothing(unit):
    falling = [candle(96 + i, 100 - 6 * i, 100 - 6 * i, 94 - 6 * i, 94 - 6 * i, 5.0) for i in range(10)]
    end, seen = fold(unit, [(candle(95, 100, 100, 100, 100), 0.4), *((bar, 0.4) for bar in falling)])
    assert end.rows.sum() == pytest.approx(50.0 if isinstance(end, SessionProfile) else 40.0)
    assert seen[-1].width > seen[1].width == 0.1 or isnan(seen[1].width)
    assert np.log2(seen[-1].width / 0.1) == int(np.log2(seen[-1].width / 0.1))


def test_a_day_entered_in_the_middle_never_counts_and_one_without_trades_has_no_profile():
    quarter = 900_000

    def day(first: int, last: int, volume: float) -> list[tuple]:
        return [(Bar(i * quarter, (i + 1) * quarter, 50.0, 51.0, 50.0, 51.0, volume), 1.0) for i in range(first, last)]
    seen = fold(SessionProfile.of(), [*day(50, 96, 1.0), *day(96, 192, 0.0), *day(192, 288, 2.0)])[1]
    assert all(isnan(y.poc) for y in seen[:-1]) and not isnan(seen[-1].poc) and not isnan(seen[10].day_poc) and isnan(seen[60].day_poc)


def test_nothing_drifts_in_a_year_of_candles():
    bars = list(sample_bars("SOLUSDT")[:6000])
    end = fold(RollingProfile.of(), [(bar, 0.4) for bar in bars])[0]
    rows = np.zeros(len(end.rows))
    for bar in bars[-96:]: pour(rows, end.base, end.width, bar.low, bar.high, bar.volume)
    np.testing.assert_allclose(end.rows, rows, rtol=0, atol=1e-10 * rows.sum())


def test_a_silent_window_has_no_profile_whatever_was_in_it_before():
    rng = np.random.default_rng(5)
    loud = [candle(i, 100, 100 + rng.random(), 99 + rng.random() / 2, 100, rng.lognormal(3, 2)) for i in range(300)]
    quiet = [candle(300 + i, 100, 100.5, 99.5, 100, 0.0) for i in range(250)]
    seen = fold(RollingProfile.of(), [(bar, 0.4) for bar in loud + quiet])[1]
    assert not any(isnan(y.poc) for y in seen[95:395]) and all(isnan(y.poc) for y in seen[395:])


def test_the_width_of_rolling_rows_changes_at_midnight_alone():
    minute, rng = 60_000, np.random.default_rng(6)
    bars = [Bar(i * minute, (i + 1) * minute, 100.0, 100.5, 99.5, 100.0, 1.0) for i in range(3000)]
    width = [y.width for y in fold(RollingProfile.of(60), [(bar, 0.4 + rng.random()) for bar in bars])[1]]
    assert [i for i in range(61, 3000) if width[i] != width[i - 1]] == [1440, 2880]


def test_a_long_stillness_overflows_nothing_and_compiles_alike():
    lively, quarter = list(walk(1, 40)), 900_000
    still = [Bar(i * quarter, (i + 1) * quarter, 300.0, 300.0, 300.0, 300.0, 0.0) for i in range(40, 12_000)]
    again = [Bar(i * quarter, (i + 1) * quarter, 300.0, 301.0, 299.0, 300.5, 5.0) for i in range(12_000, 12_200)]
    bars = Bars.of("STILL", 15, lively + still + again)
    for unit in (SessionProfile, RollingProfile):
        plain, compiled = (look(bars, way, **unit.wired())[-1] for way in (False, None))
        assert same_bits(np.array(plain), np.array(compiled))
        assert 299.0 <= plain.poc[-1] <= 301.0


@pytest.mark.parametrize(("tick", "width"), [(0.1, 0.2), (0.01, 0.07), (0.0001, 0.0003), (0.5, 1.5)])
def test_a_price_on_the_edge_of_a_row_lies_above_it(tick, width):
    for i in range(3, 2000, 7): assert rows_of(i * width, i * width, width) == (i, i)


@pytest.mark.parametrize("volumes", [(1.0, 1.0), (1.0, 3.0)])
def test_ties_do_not_depend_on_what_has_left_the_window(volumes):
    rng, bars = np.random.default_rng(9), list(walk(5, 2000, tick=0.5, step=0.5))
    bars = [bar._replace(volume=float(rng.integers(*volumes, endpoint=True))) for bar in bars]
    unit = RollingProfile.of(20, 0.5)
    for i, bar in enumerate(bars):
        unit, y = unit.update(bar, 8.0)
        if i % 3 or isnan(y.poc): continue
        rows = np.zeros(len(unit.rows))
        for old in bars[i - 19:i + 1]: pour(rows, unit.base, unit.width, old.low, old.high, old.volume)
        assert levels(rows, unit.base, unit.width, unit.first, unit.last, 0.7, 2) == (y.poc, y.vah, y.val), i
