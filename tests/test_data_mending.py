"A stored series mended from another source, the catalogue and its hashes."
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from click.testing import Result
from desk_kit import BARS, CAPTURES, NOW, Desk, served
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from perps_kit.core.bar import Bars, DataError
from perps_kit.data.files import content_hash, read_bars, read_table, table_of, write_bars, write_table
from perps_kit.storage.candles import CandleStore, merged, part_facts, same
from perps_kit.storage.mending import plan_mend
from runners.cli.data import ls as ls_command
from runners.cli.mend import mend as mend_command
from runners.cli.mend import source_of
from runners.errors import ConfigError
from runners.mend import Mended, Terms, mend_series, told
from runners.sources import Caller, FileSource, VenueSource

app = typer.Typer()
for command, name in ((ls_command, "ls"), (mend_command, "mend")): app.command(name)(command)


@pytest.fixture
def store(tmp_path: Path) -> CandleStore: return CandleStore(tmp_path / "candles")


# Mending from another source


def holed(store: CandleStore) -> Bars:
    "A stored series with two holes and a run of stand-ins; what is true at its times."
    rows = np.r_[0:100, 120:500, 530:1200]
    stand_ins = (np.arange(len(rows)) >= 300) & (np.arange(len(rows)) < 304)
    store.append(replace(BARS[rows], synthetic=stand_ins), label="binanceusdm")
    return BARS[rows]


async def mended(store: CandleStore, source: Any, terms: Terms = Terms(), start: int | None = None, end: int | None = None) -> Mended:
    return await mend_series(store, source, "SOLUSDT", "15m", start, end, terms, NOW)


async def test_a_file_mends_what_is_missing_and_says_so(store: CandleStore, tmp_path: Path) -> None:
    holed(store)
    write_bars(BARS, tmp_path / "other" / "SOLUSDT-15m.csv")
    got = await mended(store, FileSource(tmp_path / "other"))
    assert same(store.read("SOLUSDT", "15m"), BARS) and got.mend.left == 0 and got.doubt == ""
    assert [(p.bars, p.why) for p in got.mend.patches] == [(20, "missing"), (4, "synthetic"), (30, "missing")]
    assert got.agreement.overlap == got.agreement.alike > 300 and got.agreement.worst == 0.0
    log = json.loads(part_facts(store.parts()[0])["mended"])
    assert [(line["source"], line["bars"], line["why"]) for line in log] == [("other", 20, "missing"), ("other", 4, "synthetic"),
                                                                             ("other", 30, "missing")]
    store.append(Bars.of("SOLUSDT", 15, [BARS[1199]._replace(trades=7.0)]), label="binanceusdm")     # the story outlives later bars
    assert json.loads(part_facts(store.parts()[0])["mended"]) == log and store.catalogue()[0].source == "binanceusdm, other"
    again = await mended(store, FileSource(tmp_path / "other"))
    assert again.files == 0 and not again.mend.patches


async def test_no_good_bar_is_replaced_though_another_source_says_otherwise(store: CandleStore, tmp_path: Path) -> None:
    held = holed(store)
    write_bars(replace(BARS, volume=BARS.volume * 1.3, taker_buy=BARS.taker_buy * 1.3), tmp_path / "SOLUSDT-15m.parquet")
    await mended(store, FileSource(tmp_path / "SOLUSDT-15m.parquet"))
    now = store.read("SOLUSDT", "15m")
    mine = np.isin(now.open_time, held.open_time) & ~np.isin(now.open_time, held.open_time[300:304])
    assert len(now) == 1200 and (now.volume[mine] == BARS.volume[mine]).all() and (now.volume[~mine] == BARS.volume[~mine] * 1.3).all()


async def test_a_source_that_covers_one_hole_of_two_mends_that_one(store: CandleStore, tmp_path: Path) -> None:
    holed(store)
    write_bars(BARS[450:700], tmp_path / "SOLUSDT-15m.parquet")
    got = await mended(store, FileSource(tmp_path / "SOLUSDT-15m.parquet"))
    assert [(p.bars, p.why) for p in got.mend.patches] == [(30, "missing")] and got.mend.left == 20
    assert len(store.read("SOLUSDT", "15m")) == 1180


async def test_two_recordings_of_the_same_market_agree_and_one_mends_the_other(store: CandleStore) -> None:
    name = "BTC_USDT_USDT-15m-futures.feather"
    long, short = CAPTURES / "binance_usdm_15m" / name, CAPTURES / "binance_usdm_2025" / name
    if not long.exists() or not short.exists(): pytest.skip("recorded candles are not here: binance_usdm_15m of ../shared/data")
    true, other = read_bars(long), read_bars(short)
    row = int(np.searchsorted(true.open_time, other.open_time[200]))
    store.append(true[np.r_[0:row, row + 300:len(true)]])
    got = await mend_series(store, FileSource(short), "BTCUSDT", "15m", None, None, Terms(tolerance=0.0), int(true.close_time[-1]))
    assert got.agreement.overlap == got.agreement.alike == 192 and got.agreement.volume == 1.0
    assert same(store.read("BTCUSDT", "15m"), true)


async def test_one_venue_of_a_store_mends_another(store: CandleStore) -> None:
    holed(store)
    CandleStore(store.root, "bybit").append(BARS, label="bybit")
    CandleStore(store.root, "okx").append(BARS[:300], label="okx")
    source, _ = source_of(f"{store.root}:bybit", store.root, "", "binanceusdm", NOW)
    got = await mended(store, source)
    assert same(store.read("SOLUSDT", "15m"), BARS) and got.source == "candles:bybit" and got.mend.left == 0
    assert same(CandleStore(store.root, "bybit").read("SOLUSDT", "15m"), BARS)


@pytest.mark.parametrize(("change", "told"), [(lambda b: replace(b, high=b.high * 1.01), "prices differ by up to 1.000%"),
                                              (lambda b: replace(b, volume=b.volume * 10), "volumes are 10 times"),
                                              (lambda b: b[np.r_[100:120, 500:530]], "no bar is in both")])
async def test_sources_that_do_not_fit_are_refused_before_anything_is_written(change: Callable[[Bars], Bars], told: str, store: CandleStore,
                                                                              tmp_path: Path) -> None:
    holed(store)
    write_bars(change(BARS), tmp_path / "SOLUSDT-15m.parquet")
    before = {p: p.read_bytes() for p in store.parts()}
    source = FileSource(tmp_path / "SOLUSDT-15m.parquet")
    with pytest.raises(ConfigError, match=told): await mended(store, source)
    looked = await mended(store, source, Terms(write=False))
    assert looked.doubt and looked.mend.patches and {p: p.read_bytes() for p in store.parts()} == before
    forced = await mended(store, source, Terms(force=True))
    assert forced.files == 1 and len(store.read("SOLUSDT", "15m")) == 1200


async def test_a_bad_row_that_got_into_a_part_is_replaced_or_dropped(store: CandleStore, tmp_path: Path) -> None:
    store.append(BARS)
    [part] = store.parts()
    columns = [c.copy() for c in BARS.columns()]
    columns[2][50], columns[4][60] = np.nan, -1.0
    write_table(table_of(Bars("SOLUSDT", 15, *columns)), part)
    with pytest.raises(DataError): store.read("SOLUSDT", "15m")
    write_bars(BARS[np.r_[0:60, 61:200]], tmp_path / "SOLUSDT-15m.parquet")
    got = await mended(store, FileSource(tmp_path / "SOLUSDT-15m.parquet"))
    assert [(p.bars, p.why) for p in got.mend.patches] == [(1, "nan")] and got.mend.dropped == 1 and got.mend.left == 1
    assert same(store.read("SOLUSDT", "15m"), BARS[np.r_[0:60, 61:1200]]) and store.verify() == []


async def test_a_venue_mends_and_its_lack_of_takers_volume_is_told(store: CandleStore, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    holed(store)
    desk = Desk()
    async with served(desk, "okx", tmp_path, monkeypatch, 0.1) as client: got = await mended(store, VenueSource(Caller(client)))
    assert len(store.read("SOLUSDT", "15m")) == 1200 and len(desk.asked) < 25
    assert any("54 of the borrowed bars do not tell the takers' volume" in line for line in told(got))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 59), min_size=1), st.sets(st.integers(0, 59), min_size=1), st.sets(st.integers(0, 59)))
def test_a_mended_series_is_the_union_with_the_held_bars_first(held: set[int], other: set[int], fake: set[int]) -> None:
    base = BARS[:60]
    raw = replace(base, close=base.close, synthetic=np.isin(np.arange(60), list(fake)))[np.array(sorted(held))]
    from_there = replace(base, volume=base.volume + 1.0)[np.array(sorted(other))]
    low, high = int(base.open_time[0]), int(base.close_time[-1])
    plan = plan_mend(raw, from_there, low, high)
    both = merged(plan.kept, plan.borrowed)
    assert both.open_time.tolist() == base.open_time[np.array(sorted(held | other))].tolist()
    mine = held - (fake & other)
    for t, volume in zip(both.open_time.tolist(), both.volume.tolist(), strict=True):
        i = int(np.searchsorted(base.open_time, t))
        assert volume == base.volume[i] + (0.0 if i in mine else 1.0)
    assert sum(p.bars for p in plan.patches) == len(plan.borrowed) and plan.left == 60 - len(held | other)


# The catalogue and its hashes

def cli(*words: object) -> Result: return CliRunner().invoke(app, [str(w) for w in words])


def test_the_catalogue_tells_holes_and_hashes_and_verify_finds_what_changed(store: CandleStore) -> None:
    holed(store)
    listed = json.loads(cli("ls", "--store", store.root, "--json").stdout)
    assert [(e["timeframe"], e["gaps"], e["missing"], e["source"], len(e["sha256"])) for e in listed] == [("15m", 2, 50, "binanceusdm", 64)]
    assert cli("ls", "--store", store.root, "--verify").exit_code == 0
    other = CandleStore(store.root.parent / "second")
    holed(other)
    assert other.catalogue()[0].sha256 == listed[0]["sha256"]       # the rows count, not the writer
    [part] = store.parts()
    table = read_table(part)
    write_table(table.slice(0, table.num_rows - 1).replace_schema_metadata(table.schema.metadata), part)
    result = cli("ls", "--store", store.root, "--verify")
    assert result.exit_code == 1 and "CHANGED" in result.stderr and "2026.parquet" in result.stderr
    part.write_bytes(part.read_bytes()[:-20])
    torn = cli("ls", "--store", store.root, "--verify", "--json")
    assert torn.exit_code == 1 and "not a readable" in json.loads(torn.stdout)["doubts"][0]["problem"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 59), st.integers(0, 4), st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_any_changed_number_changes_the_hash(row: int, column: int, value: float) -> None:
    columns = [c.copy() for c in BARS[:60].columns()]
    changed = columns[column + 1][row] != value
    columns[column + 1][row] = value
    assert (content_hash(table_of(Bars("SOLUSDT", 15, *columns))) != content_hash(table_of(BARS[:60]))) == changed


def test_mend_from_the_command_line(store: CandleStore, tmp_path: Path) -> None:
    holed(store)
    write_bars(BARS[:510], tmp_path / "SOLUSDT-15m.parquet")
    words = ("mend", "--store", store.root, "--symbol", "SOLUSDT", "--from", tmp_path / "SOLUSDT-15m.parquet")
    dry = cli(*words, "--dry-run", "--json")
    assert dry.exit_code == 1 and json.loads(dry.stdout)["files"] == 0 and json.loads(dry.stdout)["left"] == 20
    done = cli(*words)
    for words_told in ("20 bars, missing, from SOLUSDT-15m.parquet", "20 bars are still missing"): assert words_told in done.stdout
    assert done.exit_code == 1
    assert len(store.read("SOLUSDT", "15m")) == 1180
    refused = cli("mend", "--store", store.root, "--symbol", "SOLUSDT", "--from", "./none.csv")
    assert refused.exit_code == 2 and "no such file" in refused.stderr


