"Files of every make become bars, or one sentence."
import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from perps_kit.core.bar import DataError
from perps_kit.core.clock import iso
from perps_kit.data.files import name_facts, read_bars, read_funding, write_bars
from perps_kit.data.sample import sample_bars
from perps_kit.data.series import check, sound
from perps_kit.storage.candles import load_bars, load_funding, same

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
recorded = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, the recorded candles")

ROW = "{time},100.5,101.0,99.0,100.0,12.5\n"
START = 1_790_000_100_000


def csv(path: Path, times: list[str], head: str = "open_time,open,high,low,close,volume\n") -> Path:
    "A small CSV with those times."
    path.write_text(head + "".join(ROW.format(time=t) for t in times))
    return path


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "iso", "iso-z", "date"])
def test_times_in_any_unit(unit: str, tmp_path: Path) -> None:
    times = [START + 900_000 * k for k in range(3)]
    text = {name: [f"{t}{zeros}" for t in times] for name, zeros in (("ms", ""), ("us", "000"), ("ns", "000000"))}
    text |= dict(s=[str(t // 1000) for t in times],
                iso=[iso(t) + ":00" for t in times], date=[iso(t) + ":00+00:00" for t in times])
    text["iso-z"] = [iso(t).replace(" ", "T") + ":00Z" for t in times]
    head = "date,open,high,low,close,volume\n" if unit in ("iso", "date") else "open_time,open,high,low,close,volume\n"
    bars = read_bars(csv(tmp_path / "BTCUSDT-15m.csv", text[unit], head))
    assert bars.open_time.tolist() == times and bars.minutes == 15 and bars.symbol == "BTCUSDT" and bars[0].volume == 12.5


def test_a_file_without_header_is_read_as_klines(tmp_path: Path) -> None:
    hour = START // 3_600_000 * 3_600_000
    (tmp_path / "ETHUSDT-1h.csv").write_text("".join(f"{t},1,3,0.5,2,10,9,20,7,6,12,0\n" for t in (hour, hour + 3_600_000)))
    bar = read_bars(tmp_path / "ETHUSDT-1h.csv")[0]
    assert (bar.open, bar.volume, bar.quote_volume, bar.trades, bar.taker_buy) == (1, 10, 20, 7, 6)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv"])
def test_every_kind_of_file_gives_back_the_bits(suffix: str, tmp_path: Path) -> None:
    bars = sample_bars("SOLUSDT")[:500]
    write_bars(bars, tmp_path / f"SOLUSDT-15m{suffix}")
    assert same(read_bars(tmp_path / f"SOLUSDT-15m{suffix}"), bars)
    assert list(tmp_path.iterdir()) == [tmp_path / f"SOLUSDT-15m{suffix}"]


def test_packed_csv(tmp_path: Path) -> None:
    plain = csv(tmp_path / "BTCUSDT-15m.csv", [str(START), str(START + 900_000)]).read_bytes()
    (tmp_path / "BTCUSDT-15m.csv.gz").write_bytes(gzip.compress(plain))
    with zipfile.ZipFile(tmp_path / "BTCUSDT-15m.zip", "w") as archive: archive.writestr("x.csv", plain)
    assert same(read_bars(tmp_path / "BTCUSDT-15m.csv.gz"), read_bars(tmp_path / "BTCUSDT-15m.zip"))


def test_empty_cells_are_nan_and_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-15m.csv"
    rows = ((START, "1,2,0.5,1,3"), (START + 900_000, "1,,0.5,NaN,3"), (START + 1_800_000, "1,2,0.5,1,3"))
    lines = ["open_time,open,high,low,close,volume", *(f"{time},{row}" for time, row in rows)]
    path.write_text("\n".join(lines))
    assert check(read_bars(path)).count("nan") == 1


BROKEN = {
    "BTCUSDT-15m.parquet": (b"PAR1 this is not parquet", "not a readable parquet"),
    "BTCUSDT-15m.feather": (b"nonsense", "not a readable feather"),
    "BTCUSDT-15m.zip": (b"nonsense", "not a readable zip"),
    "BTCUSDT-15m.csv": (b"<html><body>502 Bad Gateway</body></html>\n<p>x</p>\n", "no column"),
    "ETHUSDT-15m.csv": (b"open_time,open,high,low,close,volume\n", "no rows"),
    "SOLUSDT-15m.csv": (b"open_time,open,high,low,close,volume\nyesterday,1,2,0,1,3\n", "holds no times"),
    "XRPUSDT-15m.csv": (b"open_time,open,high,low,close,volume\n1790000100000,1,two,0,1,3\n", "not a number"),
    "UNIUSDT-15m.csv": (b"open_time,open,high,low,close\n1790000100000,1,2,0,1\n", "no column volume"),
    "ARBUSDT-15m.csv": (b"1790000100000,1,2\n", "no header row"),
    "FETUSDT-15m.csv": (b"\xff\xfe\x00\x01", "no column|not a readable"),
    "candles.csv": (b"open_time,open,high,low,close,volume\n1790000100000,1,2,0,1,3\n", "tells no symbol"),
    "BNBUSDT.csv": (b"open_time,open,high,low,close,volume\n1790000100000,1,2,0,1,3\n", "tell no timeframe"),
    "notes.docx": (b"", "unknown kind of file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_usable_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BROKEN[name][0])
    with pytest.raises(DataError, match=BROKEN[name][1]) as told: load_bars(tmp_path / name)
    assert "\n" not in str(told.value) and name in str(told.value)


def test_a_missing_file_and_a_wrong_timeframe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"): load_bars(tmp_path / "none.csv")
    path = csv(tmp_path / "BTCUSDT.csv", [str(START), str(START + 900_000)])
    with pytest.raises(DataError, match="holds 15m candles, not 1h"): load_bars(path, timeframe="1h")
    with pytest.raises(DataError, match="15 minutes apart, not 1h"): read_bars(path, timeframe="1h")
    with pytest.raises(ValueError, match="unknown timeframe"): load_bars(path, timeframe="7m")


def test_an_unsorted_file_is_refused_when_loaded(tmp_path: Path) -> None:
    path = csv(tmp_path / "BTCUSDT-15m.csv", [str(START + 900_000), str(START), str(START + 1_800_000)])
    with pytest.raises(DataError, match=r"order fault.*data repair"): load_bars(path)


def test_names() -> None:
    assert name_facts("BTC_USDT_USDT-15m-futures.feather") == ("BTCUSDT", "15m")
    assert name_facts("x/1000PEPEUSDT-1m-2024-10.zip") == ("1000PEPEUSDT", "1m")
    assert name_facts("BTC-USDT.csv") == ("BTCUSDT", "") and name_facts("2026.parquet") == ("", "")


@recorded
def test_freqtrade_folders_and_the_known_marks_of_the_recordings() -> None:
    loaded = load_bars(SHARED / "binance_usdm_15m")
    assert {s: len(b) for s, b in loaded.items()} == dict.fromkeys(("BTCUSDT", "ETHUSDT", "SOLUSDT"), 81_642)
    for bars in loaded.values():
        report = check(bars, examples=4)
        assert report.ok and [f.kind for f in report.findings] == ["flat"]
        assert [e.split(", ")[1] for e in report.findings[0].examples] == [f"2024-10-28 20:{m:02}" for m in (0, 15, 30, 45)]


@recorded
def test_freqtrade_funding_and_marks_are_joined() -> None:
    funding = load_funding(SHARED / "binance_usdm_15m", ["BTCUSDT"])["BTCUSDT"]
    assert len(funding) == 2552 and funding.rate[0] == 0.00037409 and funding.mark[0] == 42313.9 and not np.isnan(funding.mark).any()
    alone = read_funding(SHARED / "binance_usdm_15m" / "BTC_USDT_USDT-1h-funding_rate.feather")
    assert np.isnan(alone.mark).all() and (alone.rate == funding.rate).all()


@recorded
def test_one_hour_of_the_archive_against_fifteen_minutes() -> None:
    hours = load_bars(SHARED / "binance_vision" / "futures-um-klines-BTCUSDT-1h-2024-10-28.zip", timeframe="1h")["BTCUSDT"]
    quarters = load_bars(SHARED / "binance_usdm_15m", ["BTCUSDT"], start=int(hours.open_time[0]), end=int(hours.close_time[-1]))["BTCUSDT"]
    assert len(hours) == 24 and len(quarters) == 96
    same_hours = (quarters.high.reshape(-1, 4).max(1) == hours.high) & (quarters.low.reshape(-1, 4).min(1) == hours.low)
    assert 20 <= int(same_hours.sum()) <= 24
    assert (hours.taker_buy <= hours.volume).all() and np.flatnonzero(hours.volume == 0).tolist() == [20], "the venue stood still at 20:00"


@recorded
@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m"])
def test_all_recordings_are_sound(timeframe: str) -> None:
    for bars in load_bars(SHARED / "binance_usdm_2025", timeframe=timeframe).values(): assert check(sound(bars)).missing == 0
