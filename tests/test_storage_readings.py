"Readings on disk: any order and any repetition of appends leaves the same rows, and a part that does not change is not written."
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import DataError
from perps_kit.core.clock import DAY, HOUR, parse_time
from perps_kit.data.readings import Readings
from perps_kit.storage.candles import CandleStore
from perps_kit.storage.readings import append_readings, read_readings

BEGIN = parse_time("2026-01-20")


def interest(n: int = 600) -> Readings:
    "Hourly readings over the turn of a month, some without a value."
    value = np.where(np.arange(n) % 5 == 0, np.nan, 50.0 + np.arange(n))
    return Readings.of("BTCUSDT", "open_interest", HOUR, BEGIN + HOUR * np.arange(n), 1000.0 + np.arange(n), value)


def alike(a: Readings, b: Readings) -> bool:
    return a.symbol == b.symbol and np.array_equal(a.time, b.time) and all(np.array_equal(x, y, equal_nan=True)
                                                                           for x, y in zip(a.columns, b.columns, strict=True))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)), min_size=1, max_size=5))
def test_appends_in_any_order_and_number_leave_the_same_rows(cuts: list[tuple[int, int]]) -> None:
    whole = interest()
    pieces = [whole[min(c):max(c)] for c in cuts]
    rows = sorted({i for c in cuts for i in range(min(c), max(c))})
    with tempfile.TemporaryDirectory() as folder:
        store = CandleStore(Path(folder))
        assert sum(append_readings(store, piece) for piece in [*pieces, *reversed(pieces)]) == len(rows)
        assert alike(read_readings(store, "BTCUSDT", "open_interest", "1h"), whole[np.array(rows, np.int64)])


def test_a_part_that_does_not_change_is_not_written_and_a_range_is_read(tmp_path: Path) -> None:
    store, whole = CandleStore(tmp_path), interest()
    append_readings(store, whole, label="bybit")
    before = {p.name: p.stat().st_mtime_ns for p in store.parts()}
    assert append_readings(store, whole[:50]) == 0 and {p.name: p.stat().st_mtime_ns for p in store.parts()} == before
    assert list(before) == ["2026-01.parquet", "2026-02.parquet"]
    day = read_readings(store, "BTCUSDT", "open_interest", "1h", BEGIN + DAY, BEGIN + 2 * DAY)
    assert alike(day, whole[24:48]) and not len(read_readings(store, "ETHUSDT", "open_interest", "1h"))
    changed = Readings.of("BTCUSDT", "open_interest", HOUR, [BEGIN], [7.0], [1.0])
    assert append_readings(store, changed) == 1 and read_readings(store, "BTCUSDT", "open_interest", "1h").column("amount")[0] == 7.0
    assert store.verify() == [] and store.catalogue()[0].source == "bybit"


@pytest.mark.parametrize(("kind", "columns", "told"), [
    ("gossip", ([1.0],), "unknown kind"), ("open_interest", ([1.0],), "needs columns time, amount, value"),
    ("open_interest", ([-1.0], [1.0]), "not to be believed"), ("long_short_ratio", ([np.nan],), "not to be believed"),
    ("liquidations", ([0.0], [1.0], [1.0]), "not to be believed"), ("liquidations", ([1.0], [-1.0], [1.0]), "not to be believed")])
def test_what_no_venue_means_is_refused(kind: str, columns: tuple, told: str) -> None:
    with pytest.raises(DataError, match=told): Readings.of("BTCUSDT", kind, HOUR, [BEGIN], *columns)
