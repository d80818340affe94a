"The candle store: what goes in comes out, twice is once, a kill leaves the old or the new."
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import DAY, parse_time
from perps_kit.data.funding import Funding
from perps_kit.data.sample import sample_bars, sample_funding, sample_root
from perps_kit.storage.candles import CandleStore, load_bars, load_funding, merged, raw_series, same


@pytest.fixture
def store(tmp_path: Path) -> CandleStore: return CandleStore(tmp_path / "candles")


@pytest.mark.parametrize("timeframe", ["15m", "1m"])
def test_the_round_trip_keeps_every_bit(store: CandleStore, timeframe: str) -> None:
    bars = sample_bars("ETHUSDT", timeframe)
    assert store.append(bars) == len(bars) and same(store.read("ETHUSDT", timeframe), bars)
    assert store.last("ETHUSDT", timeframe) == bars.close_time[-1]


def test_nan_columns_synthetic_bars_and_odd_floats_survive(store: CandleStore) -> None:
    bars = sample_bars()[:8]
    odd = Bars.from_columns("BTCUSDT", 15, bars.open_time, bars.open + 1e-9, bars.high * 2, bars.low / 3, bars.close, np.full(8, 0.1) * 3,
                            synthetic=np.arange(8) % 2 == 1)
    store.append(odd)
    assert same(store.read("BTCUSDT", "15m"), odd)


def test_years_and_months_are_files_of_their_own(store: CandleStore) -> None:
    bars = sample_bars()[:4]
    turn = parse_time("2026-12-31T23:30")
    year = Bars.from_columns("BTCUSDT", 15, turn + 900_000 * np.arange(4), *bars.columns()[1:])
    store.append(year)
    folder = store.root / "venue=binanceusdm" / "symbol=BTCUSDT" / "timeframe=15m"
    assert sorted(p.name for p in folder.iterdir()) == ["2026.parquet", "2027.parquet"]
    assert same(store.read("BTCUSDT", "15m"), year) and len(store.read("BTCUSDT", "15m", start=turn + 1_800_000)) == 2
    assert len(store.read("BTCUSDT", "15m", end=turn + 1_800_000)) == 2


def test_appending_again_changes_and_writes_nothing(store: CandleStore) -> None:
    bars = sample_bars("BTCUSDT", "1m")
    store.append(bars[:3000])
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*.parquet")}
    assert store.append(bars[1000:3000]) == 0
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*.parquet")} == before
    assert store.append(bars[2000:]) == 1320 and same(store.read("BTCUSDT", "1m"), bars)


def test_a_new_bar_replaces_an_old_one_but_no_stand_in_does(store: CandleStore) -> None:
    bars = sample_bars()[:3]
    fake = Bars.of("BTCUSDT", 15, [bars[1]._replace(volume=0.0, taker_buy=0.0, synthetic=True)])
    other = Bars.of("BTCUSDT", 15, [bars[1]._replace(trades=5.0)])
    store.append(bars)
    assert store.append(fake) == 0 and store.append(other) == 1
    assert store.read("BTCUSDT", "15m").trades[1] == 5.0
    assert same(merged(fake, bars), bars)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6))
def test_merging_is_idempotent_and_order_free_where_the_bars_agree(cuts: list[tuple[int, int]]) -> None:
    bars = sample_bars()[:60]
    parts = [bars[min(c):max(c)] for c in cuts]
    forth, back = bars[:0], bars[:0]
    for part in parts: forth = merged(forth, part)
    for part in reversed(parts): back = merged(merged(back, part), part)
    assert same(forth, back) and set(forth.open_time.tolist()) == {t for p in parts for t in p.open_time.tolist()}


def test_bad_bars_are_refused_and_nothing_is_written(store: CandleStore) -> None:
    bars = sample_bars()[:10]
    nans = Bars.from_columns("BTCUSDT", 15, bars.open_time, *([bars.open * np.nan] * 4), bars.volume)
    for bad in (bars[np.array([1, 0])], bars[np.array([0, 0])], nans):
        with pytest.raises(DataError): store.append(bad)
    assert not store.root.exists()


KILL = """
import os, signal, sys
from pathlib import Path
from perps_kit.data.sample import sample_bars
from perps_kit.storage.candles import CandleStore
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
os.replace = die                                    # the moment between the written file and its name
CandleStore(Path(sys.argv[1])).append(sample_bars()[:200])
"""


def test_a_kill_before_the_rename_leaves_the_old_file(store: CandleStore) -> None:
    bars = sample_bars()
    store.append(bars[:100])
    died = subprocess.run([sys.executable, "-c", KILL, str(store.root)], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert same(store.read("BTCUSDT", "15m"), bars[:100])
    assert store.append(bars[:200]) == 100 and same(store.read("BTCUSDT", "15m"), bars[:200])


def test_funding(store: CandleStore) -> None:
    funding = sample_funding("SOLUSDT")
    assert store.append_funding(funding[:400]) == 400 and store.append_funding(funding) == 200 and store.append_funding(funding) == 0
    back = store.read_funding("SOLUSDT")
    assert (back.time == funding.time).all() and (back.rate == funding.rate).all() and (back.mark == funding.mark).all()
    unknown = Funding.of("SOLUSDT", funding.time[:1], [0.5e-4])
    assert store.append_funding(unknown) == 1 and store.append_funding(unknown) == 0
    assert len(store.read_funding("SOLUSDT", start=int(funding.time[-1]))) == 1


def test_the_catalogue(store: CandleStore) -> None:
    for timeframe in ("1m", "15m"): store.append(sample_bars("BTCUSDT", timeframe)[:50])
    store.append_funding(sample_funding("BTCUSDT")[:3])
    listed = {e.timeframe: e for e in store.catalogue()}
    assert list(listed) == ["funding", "1m", "15m"] and listed["15m"].rows == 50
    assert listed["15m"].end - listed["15m"].start == 50 * 900_000 and listed["funding"].rows == 3


def test_load_bars_finds_the_same_candles_wherever_they_lie(store: CandleStore, tmp_path: Path) -> None:
    from perps_kit.data.files import write_bars
    bars = sample_bars("BTCUSDT")[:300]
    store.append(bars)
    write_bars(bars, tmp_path / "flat" / "BTC_USDT_USDT-15m-futures.feather")
    write_bars(bars, tmp_path / "flat" / "BTC_USDT_USDT-15m-mark.feather")
    write_bars(bars[:200], tmp_path / "split" / "BTCUSDT-15m-a.csv")
    write_bars(bars[200:], tmp_path / "split" / "BTCUSDT-15m-b.parquet")
    for place in (store.root, tmp_path / "flat", tmp_path / "split", list((tmp_path / "split").iterdir())):
        assert same(load_bars(place, ["BTC/USDT:USDT"])["BTCUSDT"], bars)
    day = load_bars(store.root, start=int(bars.open_time[0]) + DAY)["BTCUSDT"]
    assert len(day) == 300 - 96


def test_load_bars_keeps_the_order_asked_for_and_names_what_is_missing() -> None:
    assert list(load_bars(sample_root(), ["SOLUSDT", "BTCUSDT"])) == ["SOLUSDT", "BTCUSDT"]
    with pytest.raises(DataError, match=r"no 15m candles of NOPEUSDT, it has ARBUSDT, "): load_bars(sample_root(), ["BTCUSDT", "NOPEUSDT"])
    with pytest.raises(DataError, match="in the time asked for"): load_bars(sample_root(), ["BTCUSDT"], start=parse_time("2030-01-01"))
    with pytest.raises(DataError, match="holds nothing of okx"): load_bars(sample_root(), venue="okx")
    assert set(load_funding(sample_root(), ["BTCUSDT", "NOPEUSDT"])) == {"BTCUSDT"}


def test_a_corrupt_part_is_named(store: CandleStore) -> None:
    store.append(sample_bars()[:10])
    part = next(store.root.rglob("*.parquet"))
    part.write_bytes(b"PAR1garbage")
    for act in (lambda: store.read("BTCUSDT", "15m"), lambda: load_bars(store.root), lambda: raw_series(store.root), store.catalogue):
        with pytest.raises(DataError, match="not a readable parquet"): act()
