"`perps-kit data` from outside: what it prints, its exit codes, and that nothing is written when it refuses."
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from perps_kit.core.bar import Bars
from perps_kit.data.files import read_bars, write_bars
from perps_kit.data.sample import sample_bars, sample_root
from perps_kit.data.series import check
from perps_kit.storage.candles import CandleStore, same
from runners.cli.data import app

BARS = sample_bars("BTCUSDT")[:60]


def run(*words: object) -> Result: return CliRunner().invoke(app, [str(w) for w in words])


def refused(result: Result, *told: str) -> None:
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and not result.stdout, result.output
    for text in told: assert text in result.stderr


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    "A file with a duplicate, two rows swapped, a nan and a hole of two."
    order = np.array([0, 1, 1, 3, 2, 4, 5, 6, 9, 10, 11])
    columns = [c.copy() for c in BARS[order].columns()]
    columns[2][9] = np.nan
    path = tmp_path / "BTCUSDT-15m.parquet"
    write_bars(Bars("BTCUSDT", 15, *columns), path)
    return path


def test_check_of_sound_candles() -> None:
    result = run("check", sample_root(), "--symbol", "BTCUSDT", "--timeframe", "15m")
    assert result.exit_code == 0 and "19,200" in result.stdout and "sound" in result.stdout


def test_check_of_a_store_of_several_venues(tmp_path: Path) -> None:
    for venue in ("binanceusdm", "okx"): CandleStore(tmp_path, venue).append(BARS)
    refused(run("check", tmp_path), "several venues")
    assert run("check", tmp_path, "--venue", "okx").exit_code == 0


def test_check_of_faulty_candles(faulty: Path) -> None:
    shown, told = run("check", faulty), run("check", faulty, "--json")
    assert shown.exit_code == told.exit_code == 1 and "faulty" in shown.stdout and "row 2" in shown.stdout
    [report] = json.loads(told.stdout)
    assert {f["kind"]: f["count"] for f in report["findings"]} == {"order": 1, "duplicate": 1, "gap": 1,
        "nan": 1} and report["missing"] == 2


def test_repair_mends_and_says_what_it_did(faulty: Path, tmp_path: Path) -> None:
    result = run("repair", faulty, "--out", tmp_path / "mended.csv")
    assert result.exit_code == 0
    for told in ("dropped 1 rows: 1 nan", "dropped 1 duplicates", "filled 3 missing"): assert told in result.stdout
    mended = read_bars(tmp_path / "mended.csv", "BTCUSDT")
    assert check(mended).ok and len(mended) == 12 and int(mended.synthetic.sum()) == 3
    assert "nothing to mend" in run("repair", tmp_path / "mended.csv", "--symbol", "BTCUSDT", "--out", tmp_path / "again.parquet").stdout
    assert same(read_bars(tmp_path / "again.parquet"), mended)


def test_repair_refuses(faulty: Path, tmp_path: Path) -> None:
    before = faulty.read_bytes()
    refused(run("repair", faulty, "--out", faulty), "exists", "--force")
    refused(run("repair", faulty, "--out", tmp_path / "x.docx"), ".parquet, .feather or .csv")
    refused(run("repair", tmp_path / "none.csv", "--out", tmp_path / "x.csv"), "no such file")
    assert faulty.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == [faulty.name]


def test_import_then_list(tmp_path: Path) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"): write_bars(sample_bars(symbol)[:100], tmp_path / "in" / f"{symbol}-15m.csv")
    first, second = run("import", tmp_path / "in", "--store", tmp_path / "store"), run("import", tmp_path / "in", "--store",
        tmp_path / "store")
    assert first.exit_code == second.exit_code == 0 and "100 new or changed" in first.stdout and "100 new" not in second.stdout
    assert same(CandleStore(tmp_path / "store").read("ETHUSDT", "15m"), sample_bars("ETHUSDT")[:100])
    entries = json.loads(run("ls", "--store", tmp_path / "store", "--json").stdout)
    assert [(e["symbol"], e["timeframe"], e["rows"]) for e in entries] == [("BTCUSDT", "15m", 100), ("ETHUSDT", "15m", 100)]
    assert "ETHUSDT" in run("ls", "--store", tmp_path / "store").stdout


def test_one_faulty_file_stops_the_whole_import(faulty: Path, tmp_path: Path) -> None:
    good = tmp_path / "ETHUSDT-15m.csv"
    write_bars(sample_bars("ETHUSDT")[:100], good)
    refused(run("import", good, faulty, "--store", tmp_path / "store"), faulty.name, "data repair")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("words", "told"), [
    (["check", "nowhere.csv"], "no such file"),
    (["check", str(sample_root()), "--timeframe", "7m"], "unknown timeframe '7m'"),
    (["check", str(sample_root()), "--symbol", "NOPEUSDT"], "no candles of NOPEUSDT"),
    (["import", "nowhere.csv"], "no such file"),
    (["ls", "--store", "nowhere"], "holds no candles"),
    (["download", "--symbol", "BTCUSDT", "--start", "yesterday"], "is not a time"),
    (["download", "--symbol", "BTCUSDT", "--start", "2026-01-02", "--end", "2026-01-01"], "is not before"),
    (["download", "--symbol", "BTC", "--start", "2026-01-02"], "not a symbol like BTCUSDT"),
    (["download", "--symbol", "BTCUSDT", "--start", "2026-01-02", "--timeframe", "2d"], "unknown timeframe"),
    (["download", "--symbol", "BTCUSDT", "--start", "2026-01-02", "--venue", "mtgox"], "knows no exchange"),
])
def test_unusable_input_is_one_sentence_and_exit_code_2(words: list[str], told: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run(*words), told)
    assert list(tmp_path.iterdir()) == []
