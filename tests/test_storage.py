"The questions that are put to the database, the same on SQLite and on PostgreSQL."

import asyncio
import subprocess
import sys
from math import inf, nan

import pytest
import pytest_asyncio
from filled import M15, NAMES, START, filled
from pg import new_database
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from perps_kit.storage import keep, outbox, queries
from perps_kit.storage.models import (
    Account,
    Base,
    Candle,
    Chat,
    DecisionRow,
    Lock,
    Outbox,
    SignalRow,
    Tracker,
    TrackerEvent,
    json_floats,
    json_safe,
)
from runners.db.connect import open_database

pytestmark = pytest.mark.asyncio(loop_scope="module")
BARS = 150


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def db(request, tmp_path_factory):
    database = await open_database(str(tmp_path_factory.mktemp("storage") / "perps.db") if request.param == "sqlite" else new_database())
    await filled(database, BARS)
    yield database
    await database.close()


async def rows(session, model) -> list:
    return list(await session.scalars(select(model)))


async def test_every_signal_comes_once_in_pages_with_its_reference_tracker(db):
    async with db.read() as session:
        every = await rows(session, SignalRow)
        paged, page = [], await queries.latest_signals(session, 3)
        while page:
            paged += page
            page = await queries.latest_signals(session, 3, before=page[-1]["id"])
        assert [s["id"] for s in paged] == [s.id for s in sorted(every, key=lambda s: (s.close_time, s.id), reverse=True)] and len(
            every
        ) > 3
        assert all(s["tracker"]["state"] == "CLOSED" if s["status"] == "closed" else s["tracker"]["closed_at"] is None for s in paged)
        active = await queries.active_signals(session)
        assert {s["id"] for s in active} == {s.id for s in every if s.status == "active"}
        some = every[0].symbol
        assert {s["id"] for s in await queries.latest_signals(session, 99, symbol=some)} == {s.id for s in every if s.symbol == some}


async def test_ties_in_time_are_paged_without_a_gap(db):
    async with db.write() as session:
        given = dict(
            venue="tie",
            strategy="s",
            symbol="TIE",
            side=1,
            mode="m",
            minutes=15,
            close_time=5,
            entry=1.0,
            stop=0.5,
            preset="SINGLE",
            targets=[],
            multiples=[],
            atr=1.0,
            raw=1.0,
            score=1.0,
            final=1.0,
        )
        session.add_all(
            [SignalRow(id=f"{k:032x}", components={}, warm=True, origin=0, status="cancelled", created_at=0, **given) for k in range(5)]
        )
        await session.flush()
        first = await queries.latest_signals(session, 2, symbol="TIE")
        rest = await queries.latest_signals(session, 9, before=first[-1]["id"], symbol="TIE")
        assert [int(s["id"], 16) for s in first + rest] == [4, 3, 2, 1, 0] and first[0]["tracker"] is None
        await session.rollback()


async def test_why_leads_from_a_signal_to_its_decision_and_back(db):
    async with db.read() as session:
        for s in await queries.latest_signals(session, 5):
            why = await queries.decision_of_signal(session, s["id"])
            assert why["outcome"] == "published" and why["symbol"] == s["symbol"] and why == await queries.decision(session, why["id"])
        assert await queries.decision(session, 10**9) is None and await queries.decision_of_signal(session, "none") is None
        latest = await queries.latest_decisions(session, 1000)
        assert [d["id"] for d in latest] == sorted((d.id for d in await rows(session, DecisionRow)), reverse=True)
        assert await queries.latest_decisions(session, 2, before=latest[1]["id"]) == latest[2:4]
        assert latest[0]["features"]["zone"] == "nan" and latest[0]["features"]["h4"] == {"ema200": 1.0}


async def test_positions_are_the_trackers_not_closed(db):
    async with db.read() as session:
        open_ones = {t.id: t for t in await rows(session, Tracker) if t.state not in ("CLOSED", "CANCELLED")}
        found = await queries.open_positions(session)
        assert {p["tracker_id"] for p in found} == set(open_ones) and len(found) == await queries.count_open(session)
        closes = {}
        for bar in await session.scalars(select(Candle).order_by(Candle.open_time)):
            closes[bar.symbol] = bar.close
        for p in found:
            assert (
                p["last"] == closes[p["symbol"]]
                and p["filled"]
                and p["open_r"] == p["side"] * (p["last"] - p["entry"]) / abs(p["entry"] - p["first_stop"])
            )
        assert await queries.open_positions(session, reference=False) == []


async def test_series_end_with_the_newest_and_start_oldest(db):
    async with db.read() as session:
        known = await queries.symbols(session)
        assert [k["symbol"] for k in known] == sorted(NAMES) and {k["last"] for k in known} == {START + (BARS - 1) * M15}
        bars = await queries.candles(session, "binanceusdm", "SOLUSDT", 15, limit=7)
        assert [b["open_time"] for b in bars] == [START + (BARS - 7 + k) * M15 for k in range(7)]
        assert await queries.candles(session, "binanceusdm", "SOLUSDT", 15, since=bars[-1]["open_time"]) == bars[-1:]
        assert await queries.candles(session, "binanceusdm", "SOLUSDT", 60) == []
        equity = await queries.equity_series(session)
        assert len(equity) == BARS and equity[-1]["time"] == START + BARS * M15
        assert (
            await queries.equity_series(session, since=equity[-2]["time"]) == equity[-1:]
            and await queries.equity_series(session, account_id=99) == []
        )


async def test_a_chart_gets_the_stories_that_it_can_show(db):
    async with db.read() as session:
        symbol = (await queries.latest_signals(session, 1))[0]["symbol"]
        every = await queries.drawn_signals(session, "binanceusdm", symbol)
        assert [s["close_time"] for s in every] == sorted(s["close_time"] for s in every) and every[0]["events"][0]["kind"] == "entry"
        late = await queries.drawn_signals(session, "binanceusdm", symbol, since=2**60)
        assert all(s["tracker"]["closed_at"] is None for s in late) and await queries.drawn_signals(session, "another", symbol) == []
        told = await queries.latest_events(session, 500)
        shown = [e for e in await rows(session, TrackerEvent) if e.kind not in ("stop_moved", "funding")]
        assert [e["id"] for e in told] == sorted((e.id for e in shown), reverse=True)
        ended = [e for e in told if e["exit_type"]]
        assert ended and all(e["gross_r"] is not None and e["kind"] in ("stop", "tp3") for e in ended)


async def test_a_day_in_numbers_adds_up(db):
    async with db.read() as session:
        whole = await queries.summary(session)
        days = [await queries.summary(session, START + a * M15, START + b * M15) for a, b in ((0, 50), (50, 101), (101, BARS + 1))]
        trackers = [t for t in await rows(session, Tracker) if t.state == "CLOSED"]
        assert sum(d["signals"] for d in days) == whole["signals"] == len(await rows(session, SignalRow))
        assert sum(d["closed"]["count"] for d in days) == whole["closed"]["count"] == len(trackers)
        assert whole["closed"]["total_r"] == pytest.approx(sum(t.gross_r for t in trackers))
        c = whole["closed"]
        assert c["wins"] + c["losses"] + c["breakeven"] == c["count"] and whole["messages"] == {"sent": 0, "waiting": whole["signals"]}
        assert sum(whole["reasons"].values()) == whole["decisions"]["rejected"]
        nothing = await queries.summary(session, 1, 2)
        assert nothing["signals"] == 0 and nothing["closed"]["mean_r"] is None and nothing["closed"]["total_r"] == 0


async def test_rows_are_written_once_or_over(db):
    bar = dict(venue="v", symbol="S", minutes=15, open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0)
    async with db.write() as session:
        await keep.insert_new(session, Candle, [{**bar, "open_time": k, "taker_buy": nan} for k in range(1200)])
        await keep.insert_new(session, Candle, [{**bar, "open_time": k, "close": 2.0} for k in (0, 1200)])
        await keep.insert_new(session, Candle, [])
        got = await keep.load_candles(session, "v", "S", 15)
        assert (
            len(got) == 1201
            and got[0].close == 1.0
            and got[-1].close == 2.0
            and got[0].synthetic is False
            and got[0].taker_buy != got[0].taker_buy
        )
        assert [c.open_time for c in await keep.load_candles(session, "v", "S", 15, after=1198)] == [1199, 1200]
        await keep.put(
            session,
            Chat,
            [dict(id=1, language="en", subscribed=True, created_at=1), dict(id=2, language="en", subscribed=False, created_at=1)],
        )
        await keep.put(session, Chat, [dict(id=2, language="de", subscribed=True, created_at=2)])
        assert [(c.id, c.language) for c in await outbox.subscribers(session)] == [(1, "en"), (2, "de")]
        await session.rollback()


async def test_snapshots_are_found_by_plan(db):
    facts = dict(venue="v", minutes=15, origin=7)
    async with db.write() as session:
        await keep.save_snapshots(
            session, [dict(facts, symbol=s, stamp=p, time=1, state=f"{s}{p}") for s in ("A", "B") for p in ("old", "new")]
        )
        await keep.save_snapshots(session, [dict(facts, symbol="A", stamp="new", time=2, state="later")])
        found = await keep.load_snapshots(session, "v", 15, "new")
        assert {s: (r.time, r.origin, r.state) for s, r in found.items()} == {"A": (2, 7, "later"), "B": (1, 7, "Bnew")}
        await keep.forget_snapshots(session, "v", 15, keep="new")
        assert await keep.load_snapshots(session, "v", 15, "old") == {}
        await keep.set_meta(session, a="1", b="2")
        await keep.set_meta(session, a="3")
        assert await keep.get_meta(session, "a") == "3" and await keep.get_meta(session, "none") is None
        await session.rollback()


async def test_the_outbox_from_due_to_done(db):
    def message(k: int, due_at: int, channel: str = "test") -> Outbox:
        return Outbox(
            channel=channel,
            kind="alert",
            recipient=str(k),
            payload={"r": nan},
            random_id=outbox.random_id("test", k),
            created_at=0,
            due_at=due_at,
        )

    async with db.write() as session:
        before = await outbox.depth(session)
        session.add_all([message(1, 30), message(2, 10), message(3, 20), message(4, 10, "other")])
        await session.flush()
        due = await outbox.due(session, "test", now=20)
        assert [m.recipient for m in due] == ["2", "3"] and due[0].payload == {"r": "nan"} and await outbox.next_due(session, "test") == 10
        await outbox.mark_sent(session, due[0].id, now=21, message_id=5)
        await outbox.mark_failed(session, due[1].id, "flood wait", due_at=90)
        assert (
            await outbox.due(session, "test", now=29) == []
            and await outbox.next_due(session, "test") == 30
            and await outbox.depth(session) == before + 3
        )
        await outbox.give_up(session, due[1].id, 91, "blocked")
        told = {m["recipient"]: m for m in await outbox.latest_messages(session, 4)}
        assert (
            told["2"]["message_id"] == 5 and told["3"]["attempts"] == 2 and told["3"]["error"] == "blocked" and told["3"]["sent_at"] == 91
        )
        await session.rollback()


@pytest.mark.parametrize("twice", ["signal", "decision", "reference", "account", "event", "message", "orphan", "lock"])
async def test_what_must_be_one_cannot_be_two(db, twice):
    "The database itself refuses a second signal, decision, tracker, event, message or lock, and a row without its parent."
    async with db.read() as session:
        signal = (await session.scalars(select(SignalRow).limit(1))).one()
        decision = (await session.scalars(select(DecisionRow).limit(1))).one()
        tracker = (await session.scalars(select(Tracker).where(Tracker.signal_id == signal.id))).one()
        event = (await session.scalars(select(TrackerEvent).limit(1))).one()
        message = (await session.scalars(select(Outbox).limit(1))).one()
        account = (await session.scalars(select(Account))).one()
    made = {
        "signal": [SignalRow(**signal.facts())],
        "decision": [DecisionRow(**{**decision.facts(), "id": None})],
        "reference": [Tracker(**{**tracker.facts(), "id": None})],
        "account": [Tracker(**{**tracker.facts(), "id": None, "account_id": account.id}) for _ in range(2)],
        "event": [TrackerEvent(**{**event.facts(), "id": None})],
        "message": [Outbox(**{**message.facts(), "id": None})],
        "orphan": [Tracker(**{**tracker.facts(), "id": None, "signal_id": "f" * 32})],
        "lock": [Lock(venue="v", symbol="S", side=1, strategy="s", signal_id=signal.id, until=k) for k in range(2)],
    }[twice]
    with pytest.raises(IntegrityError):
        async with db.write() as session:
            for row in made:
                session.add(row)
                await session.flush()
                session.expunge(row)
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(Tracker)) == await session.scalar(
            select(func.count()).select_from(SignalRow)
        )


async def test_a_page_is_read_while_the_service_writes(db):
    "Readers never wait for the writer, and see whole transactions only."
    seen = []

    async def write():
        for k in range(20):
            async with db.write() as session:
                await keep.set_meta(session, left=str(k))
                await asyncio.sleep(0.001)
                await keep.set_meta(session, right=str(k))

    async def read(until):
        while not until.done():
            async with db.read() as session:
                pair = dict(
                    (
                        await session.execute(
                            select(Base.metadata.tables["meta"]).where(Base.metadata.tables["meta"].c.key.in_(("left", "right")))
                        )
                    ).all()
                )
                seen.append((pair.get("left"), pair.get("right")))
            await asyncio.sleep(0)

    writer = asyncio.create_task(write())
    await asyncio.gather(writer, read(writer))
    assert len(seen) > 5 and all(a == b for a, b in seen)


async def test_safe_json_is_undone_for_numbers():
    class Odd:
        pass

    import numpy as np

    assert json_safe({1: (inf, [-inf, {"x": nan}]), "n": np.float64(0.1), "k": np.int64(3), "b": True, "t": None}) == {
        "1": ["inf", ["-inf", {"x": "nan"}]],
        "n": 0.1,
        "k": 3,
        "b": True,
        "t": None,
    }
    assert repr(json_floats({"a": ["nan", "inf", "-inf", "info", 1]})) == "{'a': [nan, inf, -inf, 'info', 1]}"
    with pytest.raises(TypeError, match="Odd has no JSON form"):
        json_safe([Odd()])


async def test_storage_imports_nothing_of_the_shell():
    modules = "perps_kit.storage.queries, perps_kit.storage.keep, perps_kit.storage.outbox"
    code = f"import sys, {modules}; print([m for m in ('runners', 'alembic', 'pandas', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
