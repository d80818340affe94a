"What a check finds, what a repair mends, how holes are filled and series cut."
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import MINUTE
from perps_kit.core.stream import BRIDGED as HOLE
from perps_kit.core.stream import bridge
from perps_kit.data.sample import sample_bars
from perps_kit.data.series import check, fill_holes, repair, segments, sound
from perps_kit.storage.candles import same

STEP = 15 * MINUTE
START = 1_790_000_100_000


def column(bars: Bars, name: str, row: int, value: float) -> Bars:
    "The bars with one value changed."
    columns = {n: getattr(bars, n).copy() for n in ("open_time", "open", "high", "low", "close", "volume", "taker_buy")}
    columns[name][row] = value
    return Bars.from_columns(bars.symbol, bars.minutes, **columns)


def rows(bars: Bars, order: list[int]) -> Bars: return bars[np.array(order)]


FAULTS: dict[str, Callable[[Bars], Bars]] = dict(
    order=lambda b: rows(b, [0, 1, 3, 2, 4, *range(5, 20)]),
    duplicate=lambda b: rows(b, [0, 1, 1, *range(2, 20)]),
    gap=lambda b: rows(b, [0, 1, 2, *range(7, 20)]),
    off_grid=lambda b: column(b, "open_time", 19, int(b.open_time[19]) + 1000),
    nan=lambda b: column(b, "high", 5, np.nan),
    ohlc=lambda b: column(b, "high", 5, float(b.low[5]) * 0.99),
    volume=lambda b: column(b, "volume", 5, -1.0),
)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_of_fault_is_found_and_named(kind: str) -> None:
    report = check(FAULTS[kind](sample_bars()[:20]))
    assert not report.ok and report.count(kind) >= 1
    first = next(f for f in report.findings if f.kind == kind)
    assert first.examples[0].startswith("row ") and not first.remark
    if kind != "order": assert [f.kind for f in report.findings if not f.remark] == [kind]


@pytest.mark.parametrize(("name", "value"), [("open", np.inf), ("volume", np.nan), ("low", -1.0), ("close", 0.0), ("taker_buy", 1e12)])
def test_impossible_numbers_are_faults(name: str, value: float) -> None: assert not check(column(sample_bars()[:20], name, 3, value)).ok


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind != "gap"])
def test_the_boundary_refuses_what_the_check_finds(kind: str) -> None:
    with pytest.raises(DataError, match=kind.replace("_", " ") if kind != "order" else "order|duplicate"):
        sound(FAULTS[kind](sample_bars()[:20]))


def test_a_sound_series_passes_and_a_gap_is_no_reason_to_refuse() -> None:
    bars = sample_bars()[:20]
    assert check(bars).ok and sound(bars) is bars and sound(FAULTS["gap"](bars)) is not None
    assert check(FAULTS["gap"](bars)).missing == 4


def test_flat_bars_are_a_remark() -> None:
    bars = sample_bars()[:4]
    flat = Bars.from_columns("BTCUSDT", 15, bars.open_time, *([bars.close[:1].repeat(4)] * 4), np.zeros(4))
    report = check(flat)
    assert report.ok and report.count("flat") == 4


@pytest.mark.parametrize("kind", FAULTS)
def test_a_repaired_series_is_sound_and_stays_as_it_is(kind: str) -> None:
    once, done = repair(FAULTS[kind](sample_bars()[:20]))
    twice, again = repair(once)
    assert done and same(once, twice)
    assert again == ([] if kind != "gap" else done)
    assert not [f for f in check(once).findings if not f.remark and f.kind != "gap"]


def test_of_two_rows_for_one_time_the_later_one_stays() -> None:
    bars = sample_bars()[:3]
    twice = Bars.of("BTCUSDT", 15, [bars[0], bars[1], bars[2], bars[1]._replace(volume=7.0, taker_buy=1.0)])
    mended, done = repair(twice)
    assert mended.volume[1] == 7.0 and len(mended) == 3 and len(done) == 2


holes = st.lists(st.integers(0, 9), min_size=1, max_size=30)


def holed(gaps: list[int]) -> Bars:
    "A series with holes of so many bars."
    index = np.cumsum(np.array(gaps) + 1)
    level = 100 + np.sin(index)
    return Bars.from_columns("BTCUSDT", 15, START + STEP * index, level, level + 1, level - 1, level + 0.5, 1.0 + index, 0.5 * index)


@given(holes)
def test_filling_adds_flat_bars_in_short_holes_and_nothing_else(gaps: list[int]) -> None:
    bars = holed(gaps)
    full = fill_holes(bars)
    assert same(full[~full.synthetic], bars)
    assert int(full.synthetic.sum()) == sum(g for g in gaps[1:] if g <= HOLE)
    for i in np.flatnonzero(full.synthetic).tolist():
        bar = full[i]
        assert bar.open == bar.high == bar.low == bar.close == full.close[i - 1] and bar.volume == 0 and bar.taker_buy == 0
        assert bar.trades != bar.trades and bar.open_time == full.close_time[i - 1]
    assert same(fill_holes(full), full)


@given(holes)
def test_segments_are_unbroken_and_lose_nothing(gaps: list[int]) -> None:
    bars = holed(gaps)
    runs = segments(bars)
    assert all((np.diff(run.open_time) == STEP).all() for run in runs)
    assert len(runs) == 1 + sum(g > HOLE for g in gaps[1:])
    assert same(Bars.of("BTCUSDT", 15, [bar for run in runs for bar in run if not bar.synthetic]), bars)
    assert not any(run.synthetic[0] or run.synthetic[-1] for run in runs)


@given(holes)
def test_bridging_bar_by_bar_gives_the_same_as_filling_the_series(gaps: list[int]) -> None:
    bars, stream = list(holed(gaps)), []
    for bar in bars:
        between = bridge(stream[-1][-1], bar) if stream else None
        if between is None: stream.append([bar])
        else: stream[-1] += [*between, bar]
    runs = segments(holed(gaps))
    assert len(stream) == len(runs) and all(same(Bars.of("BTCUSDT", 15, a), b) for a, b in zip(stream, runs, strict=True))


@given(holes, st.randoms())
def test_repair_brings_any_order_back(gaps: list[int], chance) -> None:
    bars = holed(gaps)
    order = list(range(len(bars))) * 2
    chance.shuffle(order)
    assert same(repair(rows(bars, order))[0], fill_holes(bars))


def test_nothing_is_no_series() -> None:
    none = sample_bars()[:0]
    mended, done = repair(none)
    assert not check(none).ok and len(mended) == 0 and done == []
    assert segments(none) == []


def test_what_is_out_of_order_cannot_be_filled() -> None:
    with pytest.raises(DataError, match="data repair"): fill_holes(FAULTS["duplicate"](sample_bars()[:20]))
