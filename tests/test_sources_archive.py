"A small archive on loopback, with recorded zips and hand-made ones: what is fetched, resumed, refused, stored and told."
import asyncio
import csv
import hashlib
import io
import os
import signal
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer
from aiohttp import web
from fixtures.candles import walk
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import DAY, HOUR, MINUTE, iso, parse_time
from perps_kit.data.files import KLINE_FIELDS
from perps_kit.data.funding import Funding
from perps_kit.sources.archive import (
    EVERY,
    KINDS,
    ArchiveFile,
    Metrics,
    Trades,
    append_rows,
    archive_bars,
    archive_funding,
    archive_metrics,
    archive_trades,
    checksum_of,
    covering,
    read_rows,
    verified,
)
from perps_kit.storage.candles import CandleStore, same
from perps_kit.storage.readings import read_readings
from runners.archive import Archive
from runners.archive_import import Archived, archive_into
from runners.archive_source import ArchiveSource
from runners.cli.archive import archive as command
from runners.errors import ConfigError
from runners.mend import Terms, mend_series

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "binance_vision"
JANUARY, NOW = parse_time("2025-01-01"), parse_time("2025-03-04T12:00")
OCTOBER_28, OCTOBER_18 = parse_time("2024-10-28"), parse_time("2024-10-18")
Trick = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def recorded(name: str) -> bytes:
    if not (REAL / name).exists(): pytest.skip("recorded zips are not here: binance_vision of ../shared/data")
    return (REAL / name).read_bytes()


def zipped(text: str, name: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive: archive.writestr(name, text)
    return data.getvalue()


def whole(file: ArchiveFile, text: str) -> bytes: return zipped(text, file.name.replace(".zip", ".csv"))


def on_disk(folder: Path, file: ArchiveFile, text: str) -> Path:
    path = folder / file.name
    path.write_bytes(whole(file, text))
    return path


def market(start: int, end: int, minutes: int = 60, seed: int = 1) -> Bars:
    "Made-up candles of a span, of whole volumes, so that text keeps them exactly."
    n = (end - start) // (minutes * MINUTE)
    b = walk(seed, n)
    volume = np.arange(n) + 5.0
    return Bars.from_columns("SOLUSDT", minutes, start + np.arange(n) * minutes * MINUTE, b.open, b.high, b.low, b.close, volume,
                             volume / 2, volume * 100, volume)


def text_of(bars: Bars, header: bool = True, unit: int = 1) -> str:
    rows = [[b.open_time * unit, b.open, b.high, b.low, b.close, b.volume, b.close_time * unit - 1, b.quote_volume, int(b.trades),
             b.taker_buy, 1.5, 0] for b in bars]
    return "\n".join([",".join(KLINE_FIELDS)] * header + [",".join(map(str, row)) for row in rows]) + "\n"


def hourly(start: str, end: str = "") -> ArchiveFile:
    a = parse_time(start)
    return ArchiveFile("SOLUSDT", "klines", "1h", a, parse_time(end) if end else a + DAY)


class Site:
    "A tree of files with their checksum lines; `trick` may answer otherwise."

    def __init__(self, trick: Trick | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.trick, self.asked, self.base = trick, [], ""

    def put(self, path: str, data: bytes) -> None:
        self.files[path] = data
        self.files[f"{path}.CHECKSUM"] = f"{hashlib.sha256(data).hexdigest()}  {path.rsplit('/', 1)[1]}\n".encode()

    def klines(self, bars: Bars, *files: ArchiveFile, header: bool = True, unit: int = 1) -> None:
        for f in files: self.put(f.path, whole(f, text_of(bars[(bars.open_time >= f.start) & (bars.open_time < f.end)], header, unit)))

    def zips(self) -> list[str]: return [name for name, _ in self.asked if name.endswith(".zip")]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        self.asked.append((path.rsplit("/", 1)[1], request.headers.get("Range", "")))
        other = await self.trick(request) if self.trick else None
        if other is not None: return other
        data = self.files.get(path)
        if data is None: return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        first = request.http_range.start or 0
        if first and first >= len(data): return web.Response(status=416)
        if not first: return web.Response(body=data)
        return web.Response(status=206, body=data[first:], headers={"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"})


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", site.answer)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = web.TCPSite(runner, "127.0.0.1", 0)
    await port.start()
    site.base = f"http://127.0.0.1:{port._server.sockets[0].getsockname()[1]}"
    try: yield site.base
    finally: await runner.cleanup()


async def fetched(site: Site, folder: Path, start: int, end: int, kind: str = "klines", frame: str = "1h", symbol: str = "SOLUSDT",
                  venue: str = "binanceusdm", now: int = NOW, keep: bool = True, **more) -> Archived:
    async with served(site) as base:
        source = Archive(folder / "zips", base, pace=0.0, **more)
        return await archive_into(source, CandleStore(folder / "store", venue), symbol, kind, frame, start, end, now, keep=keep)


# What a zip says

@pytest.mark.parametrize("name, venue", [("futures-um-klines-BTCUSDT-1h-2024-10-28.zip", "binanceusdm"),
                                         ("spot-klines-BTCUSDT-1h-2024-10-28.zip", "binance")])
async def test_recorded_candles_arrive_as_they_stand_in_the_csv(name: str, venue: str, tmp_path: Path) -> None:
    data, site = recorded(name), Site()
    file = ArchiveFile("BTCUSDT", "klines", "1h", OCTOBER_28, OCTOBER_28 + DAY, venue)
    site.put(file.path, data)
    got = await fetched(site, tmp_path, file.start, file.end, symbol="BTCUSDT", venue=venue)
    with zipfile.ZipFile(io.BytesIO(data)) as archive: rows = list(csv.reader(archive.read(archive.namelist()[0]).decode().splitlines()))
    rows = [row for row in rows if row[0].isdigit()]
    bars = CandleStore(tmp_path / "store", venue).read("BTCUSDT", "1h")
    assert got.received == got.stored == len(bars) == 24 and got.missing == 0 and not got.bad and not got.absent
    assert bars.open_time.tolist() == [int(row[0]) for row in rows]
    for column, at in ((bars.open, 1), (bars.high, 2), (bars.low, 3), (bars.close, 4), (bars.volume, 5), (bars.quote_volume, 7),
                       (bars.trades, 8), (bars.taker_buy, 9)):
        assert column.tolist() == [float(row[at]) for row in rows]


async def test_recorded_trades_arrive_as_they_stand_in_the_csv(tmp_path: Path) -> None:
    data, site = recorded("futures-APEUSDT-aggTrades-2024-10-18.zip"), Site()
    file = ArchiveFile("APEUSDT", "aggTrades", "", OCTOBER_18, OCTOBER_18 + DAY)
    site.put(file.path, data)
    got = await fetched(site, tmp_path, file.start, file.end, "aggTrades", symbol="APEUSDT")
    with zipfile.ZipFile(io.BytesIO(data)) as archive: text = archive.read(archive.namelist()[0]).decode()
    rows = list(csv.DictReader(text.splitlines()))
    trades = read_rows(Trades, tmp_path / "store", "binanceusdm", "APEUSDT")
    ids = [int(row["agg_trade_id"]) for row in rows]
    assert ids == sorted(set(ids)) == trades.id.tolist() and got.received == got.stored == len(rows) == 45342
    assert trades.price.tolist() == [float(row["price"]) for row in rows]
    assert trades.amount.tolist() == [float(row["quantity"]) for row in rows]
    assert trades.time.tolist() == [int(row["transact_time"]) for row in rows]
    assert trades.buyer_maker.tolist() == [row["is_buyer_maker"] == "true" for row in rows]
    assert got.missing == ids[-1] - ids[0] + 1 - len(ids)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", [1, 1000])
def test_headers_and_units_make_no_difference(header: bool, unit: int, tmp_path: Path) -> None:
    file, bars = hourly("2025-01-05"), market(parse_time("2025-01-05"), parse_time("2025-01-06"))
    assert same(archive_bars(on_disk(tmp_path, file, text_of(bars, header, unit)), file), bars)


def test_a_hole_stays_a_hole_and_an_empty_day_is_no_rows(tmp_path: Path) -> None:
    file, bars = hourly("2025-01-05"), market(parse_time("2025-01-05"), parse_time("2025-01-06"))
    kept = bars[np.r_[0:6, 9:24]]
    assert same(archive_bars(on_disk(tmp_path, file, text_of(kept)), file), kept)
    assert len(archive_bars(on_disk(tmp_path, file, text_of(bars[:0])), file)) == 0


def test_what_is_no_such_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file, bars = hourly("2025-01-05"), market(parse_time("2025-01-05"), parse_time("2025-01-06"))
    good, path = text_of(bars), tmp_path / file.name
    dear = good.replace(good.splitlines()[5].split(",")[2], "0.01", 1)
    for data, told in ((whole(file, good)[:-400], "not a readable zip"), (b"<html>busy</html>", "not a readable zip"),
                       (zipped(good, "ETHUSDT-1h-2025-01-05.csv"), "holds ETHUSDT-1h-2025-01-05.csv, not SOLUSDT-1h-2025-01-05.csv"),
                       (whole(hourly("2025-01-05"), ""), "Empty CSV"), (whole(file, text_of(bars[::2])), "120 minutes apart, not 1h"),
                       (whole(file, text_of(market(file.start, file.end, 15))), "off grid"), (whole(file, dear), "ohlc fault"),
                       (whole(file, text_of(market(file.start - DAY, file.end))), "24 rows lie outside its span, the first at 2025-01-04"),
                       (whole(file, good.replace("open_time", "when")), "no column open_time"),
                       (whole(file, good.replace("\n" + str(file.start), "\nnever")), "holds something that is no time")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=told) as error: archive_bars(path, file)
        assert file.name in str(error.value) and "\n" not in str(error.value)
    broken = bytearray(whole(file, good))
    broken[len(broken) // 2] ^= 0x55
    path.write_bytes(broken)
    with pytest.raises(DataError, match="not a readable zip"): archive_bars(path, file)


def test_funding_is_ordered_and_each_settlement_once(tmp_path: Path) -> None:
    file = ArchiveFile("SOLUSDT", "fundingRate", "", JANUARY, parse_time("2025-02-01"))
    twice = (JANUARY + 8 * HOUR + 3, 8, "0.00010000")
    rows = [twice, (JANUARY, 8, "-0.00002"), twice, (JANUARY + 12 * HOUR, 4, "0")]
    for header in (",".join(KINDS["fundingRate"]) + "\n", ""):
        funding = archive_funding(on_disk(tmp_path, file, header + "\n".join(",".join(map(str, row)) for row in rows)), file)
        assert funding.time.tolist() == [JANUARY, JANUARY + 8 * HOUR, JANUARY + 12 * HOUR]
        assert funding.rate.tolist() == [-0.00002, 0.0001, 0.0] and funding.every == 8 * HOUR and np.isnan(funding.mark).all()
    with pytest.raises(DataError, match="not to be believed"): archive_funding(on_disk(tmp_path, file, f"{JANUARY},8,0.5\n"), file)
    path = on_disk(tmp_path, file, f"{JANUARY},8,0.1\n{JANUARY + HOUR},8,\n")
    with pytest.raises(DataError, match="empty cells"): archive_funding(path, file)


def readings(times: list[int], symbol: str = "SOLUSDT") -> str:
    rows = [f"{iso(t)}:00,{symbol},{t // EVERY % 1000}.0,{t // EVERY % 977}e3,1.5,1.4,{'' if i == 1 else 1.3},0.9"
            for i, t in enumerate(times)]
    return "\n".join([",".join(KINDS["metrics"]), *rows]) + "\n"


@pytest.mark.parametrize("day, first", [("2024-06-01", EVERY), ("2026-07-01", 0), ("2024-06-01", 0)])
def test_a_reading_is_never_known_before_it_was_made(day: str, first: int, tmp_path: Path) -> None:
    file = ArchiveFile("SOLUSDT", "metrics", "", parse_time(day), parse_time(day) + DAY)
    labels = [file.start + first + i * EVERY for i in range(288)]
    m = archive_metrics(on_disk(tmp_path, file, readings(labels)), file)
    assert m.time.tolist() == [file.start + (i + 1) * EVERY for i in range(288)]
    assert m.open_interest.tolist() == [t // EVERY % 1000 for t in labels]
    assert np.isnan(m.long_short_ratio).tolist() == [i == 1 for i in range(288)]


@pytest.mark.parametrize("day, labels, late", [("2024-06-01", (100, 101), 0), ("2026-07-01", (100, 101), 1), ("2024-06-01", (0, 5, 288), 0),
                                               ("2026-07-01", (0, 5, 288), 1)])
def test_a_file_whose_rows_do_not_tell_goes_by_its_date(day: str, labels: tuple[int, ...], late: int, tmp_path: Path) -> None:
    file = ArchiveFile("SOLUSDT", "metrics", "", parse_time(day), parse_time(day) + DAY)
    m = archive_metrics(on_disk(tmp_path, file, readings([file.start + i * EVERY for i in labels])), file)
    assert [(t - file.start) // EVERY for t in m.time.tolist()] == [i + late for i in labels]


def test_readings_out_of_order_and_twice_are_put_right_and_others_refused(tmp_path: Path) -> None:
    file = ArchiveFile("SOLUSDT", "metrics", "", JANUARY, JANUARY + DAY)
    labels = [JANUARY + i * EVERY for i in (288, 7, 3, 3, 1, 2)]
    m = archive_metrics(on_disk(tmp_path, file, readings(labels)), file)
    assert [(t - JANUARY) // EVERY for t in m.time.tolist()] == [1, 2, 3, 7, 288] and (np.diff(m.time) > 0).all()
    with pytest.raises(DataError, match="rows of ETHUSDT"): archive_metrics(on_disk(tmp_path, file, readings(labels, "ETHUSDT")), file)


def test_trades_without_header_in_microseconds_and_bad_ones(tmp_path: Path) -> None:
    file = ArchiveFile("SOLUSDT", "aggTrades", "", JANUARY, JANUARY + DAY, "binance")
    spot = f"8,1.5,2.0,11,12,{JANUARY + 7}123,True,True\n7,1.4,3.0,10,10,{JANUARY + 5}999,False,True\n"
    trades = archive_trades(on_disk(tmp_path, file, spot), file)
    assert trades.time.tolist() == [JANUARY + 5, JANUARY + 7] and trades.id.tolist() == [7, 8]
    assert trades.buyer_maker.tolist() == [False, True]
    for bad, told in ((spot.replace("1.5", "-1.5"), "is no trade"), (spot.replace("2.0", "inf"), "is no trade"),
                      (spot.replace("True,True", "perhaps,True"), "not true or false")):
        with pytest.raises(DataError, match=told): archive_trades(on_disk(tmp_path, file, bad), file)


def test_a_checksum_line_is_of_this_file_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert verified(tmp_path / "a.zip", checksum_of(f"{digest.upper()} *a.zip\r\n", "a.zip"))
    for line, told in (("", "no checksum line"), (f"{digest[:-1]}  a.zip", "no checksum line"),
                       (f"{digest}  b.zip", "of another file, b.zip")):
        with pytest.raises(DataError, match=told): checksum_of(line, "a.zip")
    with pytest.raises(DataError, match="does not fit"): verified(tmp_path / "a.zip", "0" * 64)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 900 * 24), st.integers(0, 400 * 24), st.integers(0, 900 * 24), st.sampled_from(list(KINDS)))
def test_zips_cover_the_span_once_and_none_is_of_the_future(first: int, hours: int, later: int, kind: str) -> None:
    start, now = JANUARY + first * HOUR, JANUARY + later * HOUR
    end = start + hours * HOUR
    plan = covering("SOLUSDT", kind, "1h", start, end, now)
    assert all(a.end <= b.start for a, b in pairwise(plan)) and all(f.end <= now for f in plan)
    assert all(f.start < end and f.end > start for f in plan)
    if kind == "fundingRate": assert all(f.by_month for f in plan)
    else:
        days = {t for f in plan for t in range(f.start, f.end, DAY)}
        assert days == {t for t in range(start // DAY * DAY, end, DAY) if t + DAY <= now and start < end}
        assert all(start <= f.start and f.end <= end for f in plan if f.by_month)


def test_what_the_archive_does_not_have_is_refused_before_it_is_asked() -> None:
    usual = dict(symbol="SOLUSDT", kind="klines", timeframe="1h", venue="binanceusdm", start=JANUARY, end=JANUARY + DAY, now=NOW)
    for other, told in ((dict(timeframe="7m"), "unknown timeframe"), (dict(symbol="../x"), "no symbol"), (dict(kind="books"), "kind"),
                        (dict(kind="metrics", venue="binance"), "spot has no metrics"), (dict(venue="okx"), "not for 'okx'")):
        with pytest.raises(ValueError, match=told): covering(**usual | other)


def test_rows_are_merged_and_read_by_span(tmp_path: Path) -> None:
    times = parse_time("2025-01-31T23:50") + np.arange(6) * EVERY
    old = Metrics("SOLUSDT", times[:4], *(np.arange(4.0) for _ in range(6)))
    new = Metrics("SOLUSDT", times[2:], *(np.arange(4.0) + 10 for _ in range(6)))
    assert append_rows(old, tmp_path, "v") == 4 and append_rows(new, tmp_path, "v") == 2 and append_rows(new, tmp_path, "v") == 0
    assert read_rows(Metrics, tmp_path, "v", "SOLUSDT").open_interest.tolist() == [0, 1, 10, 11, 12, 13]
    assert read_rows(Metrics, tmp_path, "v", "SOLUSDT", int(times[1]), int(times[3])).time.tolist() == times[1:3].tolist()
    assert sorted(p.name for p in tmp_path.rglob("*.parquet")) == ["2025-01.parquet", "2025-02.parquet"]


# How it is fetched

BARS = market(parse_time("2024-12-30"), parse_time("2025-03-04"))


async def test_months_and_days_arrive_once(tmp_path: Path) -> None:
    site, start = Site(), parse_time("2024-12-30")
    plan = covering("SOLUSDT", "klines", "1h", start, NOW, NOW)
    site.klines(BARS, *plan)
    got = await fetched(site, tmp_path, start, NOW)
    store = CandleStore(tmp_path / "store")
    assert same(store.read("SOLUSDT", "1h"), BARS) and got.received == got.stored == len(BARS) and got.fetched == len(plan) == 7
    assert got.missing == 0 and got.requests == 14 and sorted(site.zips()) == sorted(f.name for f in plan)
    assert not list((tmp_path / "zips").rglob("*.part")) and len(list((tmp_path / "zips").rglob("*.CHECKSUM"))) == 7
    again = await fetched(site, tmp_path, start, NOW)
    assert again.requests == 0 and again.held == 7 and again.stored == 0
    (tmp_path / "store" / "venue=binanceusdm" / "symbol=SOLUSDT" / "timeframe=1h" / "2025.parquet").unlink()
    third = await fetched(site, tmp_path, start, NOW)
    assert third.requests == 0 and third.kept == 5 and same(store.read("SOLUSDT", "1h"), BARS)


async def test_a_zip_that_rotted_here_is_fetched_again(tmp_path: Path) -> None:
    site, file = Site(), hourly("2025-01-05")
    site.klines(BARS, file)
    path = tmp_path / "zips" / file.path
    await fetched(site, tmp_path, file.start, file.end)
    path.write_bytes(path.read_bytes()[:-3])
    (tmp_path / "store" / "venue=binanceusdm" / "symbol=SOLUSDT" / "timeframe=1h" / "2025.parquet").unlink()
    got = await fetched(site, tmp_path, file.start, file.end)
    assert got.fetched == 1 and got.stored == 24 and path.read_bytes() == site.files[file.path]


async def test_an_unpublished_month_comes_by_day_and_what_is_missing_is_told(tmp_path: Path) -> None:
    site, start, end = Site(), parse_time("2025-02-01"), parse_time("2025-03-04")
    february = hourly("2025-02-01", "2025-03-01")
    lost = hourly("2025-02-11").name
    site.klines(BARS, *(day for day in february.days() if day.name != lost), hourly("2025-03-01"), hourly("2025-03-02"))
    got = await fetched(site, tmp_path, start, end)
    assert got.absent == (lost, "SOLUSDT-1h-2025-03-03.zip") and not got.bad and got.fetched == 29
    assert got.missing == 2 and got.holes == ("2025-02-11 00:00 to 2025-02-12 00:00", "2025-03-03 00:00 to 2025-03-04 00:00")
    assert len(CandleStore(tmp_path / "store").read("SOLUSDT", "1h")) == 29 * 24


async def test_a_month_that_has_just_ended_comes_by_day_though_its_last_day_is_not_there(tmp_path: Path) -> None:
    site, february = Site(), hourly("2025-02-01", "2025-03-01")
    site.klines(BARS, *february.days()[:-1])
    got = await fetched(site, tmp_path, february.start, february.end, now=february.end + HOUR)
    assert got.fetched == 27 and got.absent == ("SOLUSDT-1h-2025-02-28.zip",) and got.stored == 27 * 24


async def test_a_market_that_did_not_trade_costs_two_questions_a_month(tmp_path: Path) -> None:
    got = await fetched(Site(), tmp_path, parse_time("2024-06-01"), parse_time("2024-09-01"))
    assert got.requests == 6 and got.absent == tuple(f"SOLUSDT-1h-2024-0{m}.zip" for m in (6, 7, 8))
    assert got.missing == 1 and got.stored == 0


async def test_a_damaged_zip_is_not_used_and_the_others_are(tmp_path: Path) -> None:
    site, start = Site(), parse_time("2025-01-02")
    files = [hourly(f"2025-01-0{d}") for d in range(2, 6)]
    site.klines(BARS, *files)
    site.files[files[1].path] = site.files[files[0].path]                   # whole, but not what the line says
    site.put(files[2].path, whole(files[0], text_of(BARS[:24])))            # fits its line, but holds another day
    got = await fetched(site, tmp_path, start, start + 4 * DAY)
    assert len(got.bad) == 2 and "the checksum does not fit" in got.bad[0] and "holds SOLUSDT-1h-2025-01-02.csv" in got.bad[1]
    assert got.stored == 48 and got.holes == ("2025-01-03 00:00 to 2025-01-05 00:00",) and site.zips().count(files[1].name) == 2
    assert not (tmp_path / "zips" / files[1].path).exists() and not list((tmp_path / "zips").rglob("*.zip.part"))


async def test_a_wrong_byte_on_the_wire_is_mended_by_fetching_anew(tmp_path: Path) -> None:
    async def garble(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(".zip") and site.zips() == [file.name]: return web.Response(body=site.files[file.path][:-1] + b"?")
        return None
    site, file = Site(garble), hourly("2025-01-05")
    site.klines(BARS, file)
    got = await fetched(site, tmp_path, file.start, file.end)
    assert not got.bad and got.stored == 24 and len(site.zips()) == 2


async def test_a_cut_connection_goes_on_where_it_broke(tmp_path: Path) -> None:
    async def cut(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(".zip") or request.headers.get("Range"): return None
        data = site.files[file.path]
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:500])
        await asyncio.sleep(0.05)
        request.transport.close()
        return response
    site, file = Site(cut), hourly("2025-01-05")
    site.klines(BARS, file)
    got = await fetched(site, tmp_path, file.start, file.end)
    assert got.stored == 24 and [r for name, r in site.asked if name == file.name] == ["", "bytes=500-"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_is_waited_out_as_told(status: int, tmp_path: Path) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse | None:
        return web.Response(status=status, headers={"Retry-After": "0.05"}) if len(site.asked) <= 2 else None
    site, file = Site(refuse), hourly("2025-01-05")
    site.klines(BARS, file)
    got = await fetched(site, tmp_path, file.start, file.end)
    assert got.stored == 24 and got.requests == 4


async def test_a_long_ban_ends_with_one_sentence_and_keeps_what_came(tmp_path: Path) -> None:
    async def ban(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=429, headers={"Retry-After": "3600"}) if "2025-01-04" in request.path else None
    site, start = Site(ban), parse_time("2025-01-02")
    site.klines(BARS, *(hourly(f"2025-01-0{d}") for d in range(2, 6)))
    with pytest.raises(ConfigError, match=r"status 429\); go on in 3600 seconds, what came is kept"):
        await fetched(site, tmp_path, start, start + 4 * DAY, at_once=1)
    assert len(CandleStore(tmp_path / "store").read("SOLUSDT", "1h")) == 48
    site.trick = None
    asked = len(site.asked)
    got = await fetched(site, tmp_path, start, start + 4 * DAY)
    assert got.stored == 48 and got.held == 2 and len(site.asked) == asked + 4


async def test_a_refusal_for_good_and_a_silent_host_are_said(tmp_path: Path) -> None:
    async def forbid(_: web.Request) -> web.StreamResponse | None: return web.Response(status=403)
    with pytest.raises(ConfigError, match="refused .* with status 403"): await fetched(Site(forbid), tmp_path, JANUARY, JANUARY + DAY)
    source = Archive(tmp_path / "zips", "http://127.0.0.1:9", pace=0.0, tries=1)
    with pytest.raises(ConfigError, match="gives no answer"):
        await archive_into(source, CandleStore(tmp_path / "store"), "SOLUSDT", "klines", "1h", JANUARY, JANUARY + DAY, NOW)
    with pytest.raises(ConfigError, match="no address"): Archive(tmp_path, "example")


async def test_no_more_zips_than_allowed_are_on_the_wire(tmp_path: Path) -> None:
    now, most = [0], [0]

    async def slow(_: web.Request) -> web.StreamResponse | None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.01)
        now[0] -= 1
        return None
    site = Site(slow)
    files = hourly("2025-01-01", "2025-01-11").days()
    site.klines(BARS, *files)
    await fetched(site, tmp_path, files[0].start, files[-1].end, at_once=3)
    assert most[0] == 3


async def test_funding_keeps_the_marks_that_the_store_has(tmp_path: Path) -> None:
    site, file = Site(), ArchiveFile("SOLUSDT", "fundingRate", "", JANUARY, parse_time("2025-02-01"))
    times = [JANUARY + i * 8 * HOUR for i in range(93) if i != 40]
    site.put(file.path, whole(file, ",".join(KINDS["fundingRate"]) + "\n" + "\n".join(f"{t + 2},8,0.0001" for t in times)))
    store = CandleStore(tmp_path / "store")
    store.append_funding(Funding.of("SOLUSDT", times[:2], [0.0001, 0.0002], [190.0, 191.0]))
    got = await fetched(site, tmp_path, JANUARY, NOW, "fundingRate")
    assert got.received == 92 and got.stored == 91 and got.absent == ("SOLUSDT-fundingRate-2025-02.zip",)
    assert store.read_funding("SOLUSDT").mark[:3].tolist()[:2] == [190.0, 191.0]
    assert got.holes[0] == f"{iso(JANUARY + 40 * 8 * HOUR)} to {iso(JANUARY + 41 * 8 * HOUR)}"


async def test_metrics_arrive_and_the_store_stays_listable(tmp_path: Path) -> None:
    site, days = Site(), [ArchiveFile("SOLUSDT", "metrics", "", JANUARY + i * DAY, JANUARY + (i + 1) * DAY) for i in range(2)]
    for day in days: site.put(day.path, whole(day, readings([day.start + (i + 1) * EVERY for i in range(288) if i != 100])))
    site.klines(BARS, hourly("2025-01-05"))
    got = await fetched(site, tmp_path, JANUARY, JANUARY + 2 * DAY, "metrics", keep=False)
    assert got.stored == 574 and got.missing == 2 and got.holes[0] == "2025-01-01 08:25 to 2025-01-01 08:30"
    assert not list((tmp_path / "zips").rglob("*.zip*"))
    await fetched(site, tmp_path, parse_time("2025-01-05"), parse_time("2025-01-06"), keep=False)
    store = CandleStore(tmp_path / "store")
    listed = {e.timeframe: (e.rows, e.gaps) for e in store.catalogue()}
    ratio = (572, 4)        # two of its cells are empty
    assert listed == {"1h": (24, 0), "metrics": (574, 2), "open_interest 5m": (574, 2), "long_short_ratio 5m": ratio}
    metrics, interest = read_rows(Metrics, store.root, store.venue, "SOLUSDT"), read_readings(store, "SOLUSDT", "open_interest", "5m")
    assert (interest.time == metrics.time).all() and (interest.column("amount") == metrics.open_interest).all() and store.verify() == []
    assert not list((tmp_path / "zips").rglob("*.zip*"))


# The archive as a source among others

async def test_the_archive_mends_a_stored_series_with_the_zips_it_needs(tmp_path: Path) -> None:
    site, store = Site(), CandleStore(tmp_path / "store")
    days = [hourly(f"2025-01-0{d}") for d in range(2, 8)]
    site.klines(BARS, *days)
    held = BARS[(BARS.open_time >= days[0].start) & (BARS.open_time < days[-1].end)]
    store.append(held[np.r_[0:50, 56:144]], label="binanceusdm")
    async with served(site) as base:
        source = ArchiveSource(Archive(tmp_path / "zips", base, pace=0.0), NOW)
        got = await mend_series(store, source, "SOLUSDT", "1h", None, None, Terms(context=12), NOW)
    assert same(store.read("SOLUSDT", "1h"), held) and got.mend.left == 0 and store.catalogue()[0].source == "archive, binanceusdm"
    assert [(p.bars, p.why) for p in got.mend.patches] == [(6, "missing")] and got.agreement.alike == 24
    assert set(site.zips()) == {"SOLUSDT-1h-2025-01-03.zip", "SOLUSDT-1h-2025-01-04.zip"}


async def test_the_archive_tells_settlements_and_readings_of_a_span(tmp_path: Path) -> None:
    site, day = Site(), ArchiveFile("SOLUSDT", "metrics", "", JANUARY, JANUARY + DAY)
    site.put(day.path, whole(day, readings([day.start + (i + 1) * EVERY for i in range(288)])))
    month = ArchiveFile("SOLUSDT", "fundingRate", "", JANUARY, parse_time("2025-02-01"))
    times = [JANUARY + i * 8 * HOUR for i in range(93)]
    site.put(month.path, whole(month, ",".join(KINDS["fundingRate"]) + "\n" + "\n".join(f"{t + 2},8,0.0001" for t in times)))
    async with served(site) as base:
        source = ArchiveSource(Archive(tmp_path / "zips", base, pace=0.0), NOW)
        found = [r async for r in source.readings("open_interest", "SOLUSDT", "5m", JANUARY + HOUR, JANUARY + 2 * HOUR)]
        paid = [f async for f in source.funding("SOLUSDT", JANUARY + DAY, JANUARY + 2 * DAY)]
        with pytest.raises(ConfigError, match="every 5m, not every 1h"):
            async for _ in source.readings("open_interest", "SOLUSDT", "1h", JANUARY, JANUARY + DAY): pass
    assert [r.time.tolist() for r in found] == [list(range(JANUARY + HOUR, JANUARY + 2 * HOUR, EVERY))]
    assert [f.time.tolist() for f in paid] == [times[3:6]]


# The command

CALL = "import typer; from runners.cli.archive import archive; app = typer.Typer(); app.command()(archive); app()"


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


async def test_a_killed_download_goes_on_in_the_middle_of_its_zip(tmp_path: Path) -> None:
    reached, stalled = asyncio.Event(), []

    async def stall(request: web.Request) -> web.StreamResponse | None:
        if "2025-01-06.zip" not in request.path or request.path.endswith("CHECKSUM"): return None
        response = web.StreamResponse(headers={"Content-Length": str(len(site.files[slow.path]))})
        await response.prepare(request)
        await response.write(site.files[slow.path][:600])
        stalled.append(request)
        reached.set()
        await asyncio.sleep(30)
        return response
    site, slow, part = Site(stall), hourly("2025-01-06"), tmp_path / "zips" / (hourly("2025-01-06").path + ".part")
    site.klines(BARS, hourly("2025-01-05"), slow)
    async with served(site) as base:
        given = ["--symbol", "SOLUSDT", "--start", "2025-01-05", "--end", "2025-01-07", "--timeframe", "1h", "--what", "klines",
                 "--store", f"{tmp_path}/store", "--zips", f"{tmp_path}/zips", "--base", base, "--at-once", "1"]
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", CALL, *given, stderr=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(60):
            await reached.wait()
            while not part.exists() or part.stat().st_size < 600: await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        assert stalled[0].transport is not None     # it still waits for the rest, it has not given up
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        assert part.stat().st_size == 600 and not (tmp_path / "zips" / slow.path).exists()
        site.trick, site.asked = None, []
        done = await asyncio.to_thread(CliRunner().invoke, app(), given)
    assert done.exit_code == 0, done.output
    assert [(n, r) for n, r in site.asked if n.endswith(".zip")] == [(slow.name, "bytes=600-")]
    day = (BARS.open_time >= parse_time("2025-01-05")) & (BARS.open_time < parse_time("2025-01-07"))
    assert same(CandleStore(tmp_path / "store").read("SOLUSDT", "1h"), BARS[day])


async def test_the_command_tells_what_it_did_and_by_its_code_whether_all_was_sound(tmp_path: Path) -> None:
    site, file = Site(), hourly("2025-01-05")
    site.klines(BARS, file, hourly("2025-01-06"))
    site.files[hourly("2025-01-06").path] = b"not this"
    async with served(site) as base:
        call = ["--start", "2025-01-05", "--end", "2025-01-07", "--timeframe", "1h", "--what", "klines", "--store", f"{tmp_path}/store",
                "--zips", f"{tmp_path}/zips", "--base", base]
        shown = await asyncio.to_thread(CliRunner().invoke, app(), ["--symbol", "SOL/USDT:USDT", *call])
        asked = len(site.asked)
        refused = await asyncio.to_thread(CliRunner().invoke, app(), ["--symbol", "SOLUSDT", *call, "--timeframe", "7m"])
        backwards = await asyncio.to_thread(CliRunner().invoke, app(), ["--symbol", "SOLUSDT", *call, "--start", "2025-02-05"])
        unknown = await asyncio.to_thread(CliRunner().invoke, app(), ["--symbol", "SOLUSDT", *call, "--what", "books"])
    assert unknown.exit_code == 2 and "unknown kind 'books'" in unknown.output
    assert shown.exit_code == 1 and "SOLUSDT 1h: 24 rows, 24 new or changed; zips: 1 fetched" in shown.output
    assert "not used: SOLUSDT-1h-2025-01-06.zip: the checksum does not fit" in shown.output and "1 holes: 2025-01-06 00:00" in shown.output
    assert refused.exit_code == backwards.exit_code == 2 and "unknown timeframe" in refused.output and "is not before" in backwards.output
    assert len(site.asked) == asked
