"The daily report on a database made by hand: what it counts, what it says of nothing, what it draws."

import json
import os
import subprocess
import sys
from math import isclose
from pathlib import Path

import pytest

from perps_kit.core.clock import DAY, HOUR, MINUTE, parse_time
from perps_kit.storage.models import Account, DecisionRow, Equity, SignalRow, Tracker, TrackerEvent
from runners.db.connect import open_database
from runners.errors import ConfigError
from runners.jobs.report import Gate, Window, gather, window_of

NOON = parse_time("2026-10-30T12:00")
GATES = ("data", "session", "score", "duplicate")
CLOSED = ((1, "TP3", 1.17, 1.6), (-1, "SL", -1.0, -1.6), (1, "TP1_BE", 0.24, 0.3), (1, "BREAKEVEN", 0.0, -0.1))


def verdicts(stopped: str | None) -> list[dict]:
    "Verdicts of all gates; those after the first refusal were only explained."
    return [{"gate": gate, "passed": gate != stopped, "value": "", "reason": ""} for gate in GATES]


async def fill(url: str) -> None:
    "Five signals, four of them closed, seven decisions, an account; a day earlier one more signal."
    database = await open_database(url)
    async with database.write() as session:
        session.add(
            Account(id=1, name="paper <1>", venue="binanceusdm", mode="paper", currency="USDT", start_balance=10_000.0, created_at=NOON)
        )
        for i in range(6):
            time = NOON + i * HOUR if i < 5 else NOON - DAY
            side = CLOSED[i][0] if i < 4 else 1
            session.add(signal(f"{i:032x}", time, side, "closed" if i < 4 else "active"))
            await session.flush()
            kind, gross, net = CLOSED[i][1:] if i < 4 else (None, None, None)
            session.add(tracker(i + 1, f"{i:032x}", "CLOSED" if i < 4 else "OPEN", kind, gross, net, time + 2 * HOUR if i < 4 else None))
            await session.flush()
            session.add(TrackerEvent(tracker_id=i + 1, time=time + 15 * MINUTE, kind="entry", price=100.0, weight=1.0, detail={}))
        for i, stopped in enumerate((None,) * 5 + ("session", "score")):
            session.add(
                DecisionRow(
                    venue="binanceusdm",
                    time=NOON + i * HOUR,
                    strategy="ema_scalper",
                    symbol="BTCUSDT",
                    minutes=15,
                    side=1,
                    mode="CROSS",
                    outcome="rejected" if stopped else "published",
                    reason=stopped or "",
                    verdicts=verdicts(stopped),
                    features={},
                )
            )
        session.add_all(Equity(account_id=1, time=NOON + i * HOUR, equity=10_000.0 + 10 * i) for i in range(6))
    await database.close()


def signal(id: str, time: int, side: int, status: str) -> SignalRow:
    return SignalRow(
        id=id,
        venue="binanceusdm",
        strategy="ema_scalper",
        symbol="BTCUSDT",
        side=side,
        mode="CROSS",
        minutes=15,
        close_time=time,
        entry=100.0,
        stop=100.0 - side * 1.5,
        preset="TRIPLE",
        targets=[1, 2, 3],
        multiples=[0.8, 1.2, 1.5],
        atr=1.0,
        raw=7.0,
        score=70.0,
        final=72.0,
        components={"volume": 1.0},
        warm=True,
        origin=0,
        status=status,
        created_at=time,
    )


def tracker(id: int, signal_id: str, state: str, kind: str | None, gross: float | None, net: float | None, closed: int | None) -> Tracker:
    return Tracker(
        id=id,
        signal_id=signal_id,
        account_id=None,
        state=state,
        ladder="{}",
        stop=98.5,
        trailing_peak_price=float("nan"),
        quantity=1.0,
        quantity_left=0.0,
        last_bar_time=NOON,
        exit_type=kind,
        gross_r=gross,
        gross_percent=gross and gross * 1.5,
        net_percent=net,
        closed_at=closed,
    )


async def read(url: str, window: Window):
    database = await open_database(url)
    async with database.read() as session:
        report = await gather(session, window)
    await database.close()
    return report


async def test_a_window_holds_what_happened_in_it(tmp_path):
    url = f"sqlite:///{tmp_path}/perps.db"
    await fill(url)
    report = await read(url, Window(NOON, NOON + DAY))
    assert [s["state"] for s in report.signals] == ["CLOSED"] * 4 + ["OPEN"] and report.ever == 6
    assert [t.exit_type for t in report.trades] == ["TP3", "SL", "TP1_BE", "BREAKEVEN"]
    assert [round(t.net_r, 6) for t in report.trades] == [round(net / 1.5, 6) for *_, net in CLOSED]
    assert report.gates == [Gate("data", 7, 7), Gate("session", 7, 6), Gate("score", 6, 5), Gate("duplicate", 5, 5)]
    assert report.outcomes == {"published": 5, "rejected": 2} and report.latest == NOON + 6 * HOUR
    assert report.equity == {"paper <1>": [(NOON + i * HOUR, 10_000.0 + 10 * i) for i in range(6)]}
    before = await read(url, Window(NOON - DAY, NOON))
    assert len(before.signals) == 1 and not before.trades and not before.gates


async def test_a_window_is_named_by_its_end(tmp_path):
    url = f"sqlite:///{tmp_path}/perps.db"
    await fill(url)
    database = await open_database(url)
    async with database.read() as session:
        now = NOON + DAY + 5 * MINUTE
        assert await window_of(session, "now", 0.5, now) == (now - DAY // 2, now)
        assert await window_of(session, "today", 1, now) == (NOON - DAY // 2, NOON + DAY // 2)
        assert await window_of(session, "last", 1, now) == (NOON + 7 * HOUR - DAY, NOON + 7 * HOUR)
        assert await window_of(session, "2026-10-30", 2, now) == (parse_time("2026-10-28"), parse_time("2026-10-30"))
        with pytest.raises(ConfigError, match="'yesterdy' is not a time: .* or one of now, today, last"):
            await window_of(session, "yesterdy", 1, now)
        with pytest.raises(ConfigError, match="days must be above 0"):
            await window_of(session, "now", 0, now)
    await database.close()


def daily_report(folder: Path, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-c",
        "from runners.cli import main; main()",
        "jobs",
        "run",
        "daily_report",
        "--out",
        str(folder / "out"),
        "--json",
        *args,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env={**os.environ, **environ})


async def test_the_report_counts_and_draws(tmp_path):
    await fill(f"sqlite:///{tmp_path}/perps.db")
    done = daily_report(tmp_path, "-p", "until=last", PERPS_DATABASE=f"sqlite:///{tmp_path}/perps.db")
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads(done.stdout)["values"]
    assert (values["signals"], values["candidates"], values["trades"], values["wins"], values["losses"]) == (5, 7, 4, 2, 1)
    assert isclose(values["gross_r"], 0.41) and isclose(values["net_r"], 0.2 / 1.5)
    html = (tmp_path / "out/daily_report.html").read_text()
    body = html.rpartition("</head>")[2]
    assert "5 signals published out of 7 candidates; 4 trades closed, +0.13 R after costs." in body
    assert "50.0%" in body and "15.0% to 85.0%" in body and "not from so few trades" in body and "Unproven" in body
    assert body.count("embed_items_notebook") == 4 and "paper &lt;1&gt;" in body and "<td>paper <1>" not in body


async def test_an_empty_database_is_said_to_be_empty(tmp_path):
    await (await open_database(f"sqlite:///{tmp_path}/perps.db")).close()
    done = daily_report(tmp_path, "-p", f"database=sqlite:///{tmp_path}/perps.db")
    assert done.returncode == 0, done.stdout + done.stderr
    body = (tmp_path / "out/daily_report.html").read_text().rpartition("</head>")[2]
    assert "The database is empty: no decision has been made yet." in body and "embed_items" not in body
    assert json.loads(done.stdout)["values"]["trades"] == 0


async def test_an_empty_window_points_to_the_last_decision(tmp_path):
    await fill(f"sqlite:///{tmp_path}/perps.db")
    done = daily_report(tmp_path, "-p", f"database=sqlite:///{tmp_path}/perps.db", "-p", "until=2026-01-02")
    assert (
        "Nothing happened in this window. The newest decision is of 2026-10-30 18:00 UTC"
        in (tmp_path / "out/daily_report.html").read_text()
    )
    assert done.returncode == 0


def test_a_missing_database_is_one_sentence(tmp_path):
    done = daily_report(tmp_path, PERPS_DATABASE=f"sqlite:///{tmp_path}/none.db")
    assert done.returncode == 2 and not (tmp_path / "none.db").exists()
    result = json.loads(done.stdout)
    assert result["status"] == "refused" and result["error"]["message"].startswith(f"there is no database at {tmp_path}/none.db")
