"`perps-kit db`, as a person or a script meets it."

import asyncio
import json
import sqlite3

import pytest
from filled import filled
from typer.testing import CliRunner

from runners.cli.db import app
from runners.db.connect import open_database


def cli(*words: str):
    return CliRunner().invoke(app, [*map(str, words)], env={"PERPS_DATABASE": None})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    "A small filled database."
    path = tmp_path_factory.mktemp("cli") / "perps.db"

    async def make():
        database = await open_database(str(path))
        await filled(database, 60)
        await database.close()

    asyncio.run(make())
    return path


def test_upgrade_makes_a_database_and_says_so(tmp_path):
    for _ in range(2):
        result = cli("upgrade", "-u", tmp_path / "new.db")
        assert result.exit_code == 0 and "is at schema 0001" in result.output


def test_status_counts_rows(path):
    facts = json.loads(cli("status", "-u", path, "--json").output)
    assert facts["schema"] == facts["needs"] == "0001" and facts["rows"]["candles"] == 480 and facts["bytes"] > 100_000
    assert "candles" in cli("status", "-u", path).output


def test_a_backup_is_whole_and_never_overwrites(path, tmp_path):
    target = tmp_path / "copy.db"
    assert cli("backup", target, "-u", path).exit_code == 0
    assert json.loads(cli("status", "-u", target, "--json").output)["rows"]["candles"] == 480
    again = cli("backup", target, "-u", path)
    assert again.exit_code == 2 and "exists" in again.output
    assert cli("backup", tmp_path / "no" / "copy.db", "-u", path).exit_code == 2
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".partial"] == []


def test_export_gives_every_row_parents_first(path, tmp_path):
    target = tmp_path / "rows.jsonl"
    assert cli("export", target, "-u", path).exit_code == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    tables = list(dict.fromkeys(line["table"] for line in lines))
    assert len(lines) == sum(json.loads(cli("status", "-u", path, "--json").output)["rows"].values())
    assert tables.index("accounts") < tables.index("equity") and tables.index("signals") < tables.index("trackers") < tables.index(
        "tracker_events"
    )
    assert cli("export", target, "-u", path).exit_code == 2
    assert {json.loads(line)["table"] for line in cli("export", "-t", "accounts", "-u", path).output.splitlines()} == {"accounts"}
    wrong = cli("export", tmp_path / "x.jsonl", "-t", "candle", "-u", path)
    assert wrong.exit_code == 2 and "there is no table 'candle'" in wrong.output and not (tmp_path / "x.jsonl").exists()


def test_check_finds_contradictions(path, tmp_path):
    assert cli("check", "-u", path).output.strip() == "no faults"
    broken = tmp_path / "broken.db"
    cli("backup", broken, "-u", path)
    with sqlite3.connect(broken) as raw:
        raw.execute("UPDATE candles SET low = high + 1 WHERE rowid = 5")
        raw.execute("DELETE FROM decisions WHERE outcome = 'published'")
        raw.execute("DELETE FROM accounts")
    result = cli("check", "-u", broken, "--json")
    faults = json.loads(result.output)["faults"]
    assert result.exit_code == 1 and len(faults) >= 3
    for word in ("candles that contradict", "signals without their decision", "missing row of accounts"):
        assert any(word in fault for fault in faults)


@pytest.mark.parametrize("command", ["status", "check", "export", "backup"])
def test_a_missing_database_is_one_sentence_and_nothing_is_written(command, tmp_path):
    words = [command, tmp_path / "out.file"] if command in ("export", "backup") else [command]
    result = cli(*words, "-u", tmp_path / "none.db")
    assert result.exit_code == 2 and "there is no database at" in result.output and len(result.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
