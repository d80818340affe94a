"""Killed twenty times, and nothing is lost and nothing is there twice: signals, decisions, positions, orders, fills, messages.

The venue and Telegram go on while the service dies, as they would. Some kills fall anywhere, some where something is open, some into the
start after the kill before, and some at the worst of moments: the venue has taken an order, and its answer is never read.
"""

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mtproto.server import TOKEN, Telegram
from sqlalchemy import select

from perps_kit.core.clock import DAY, parse_time
from perps_kit.storage.models import Candle, Chat, DecisionRow, Equity, Fill, Order, Outbox, SignalRow, Tracker, TrackerEvent
from perps_kit.storage.outbox import depth
from runners.db.connect import open_database
from runners.venue import Venue, serve
from runners.venue.data import read_market

ROOT = Path(__file__).resolve().parent.parent
SYMBOLS = ["ETHUSDT", "SOLUSDT"]
START, END = parse_time("2026-10-09T12:00"), parse_time("2026-10-15T18:00")
READER = 77


@asynccontextmanager
async def world(folder: Path):
    "A venue in lockstep, Telegram, a database with a reader, and the settings of a service among them."
    folder.mkdir()
    market = read_market([str(ROOT / "sample_data")], SYMBOLS, 15, START, END)
    venue = Venue(**market, start=START, end=END, weight_limit=1_000_000)
    async with serve(venue) as door, Telegram() as telegram:
        (folder / "venue.json").write_text(json.dumps(dict(port=door.port, certificate=door.certificate, symbols=SYMBOLS, time=START)))
        (folder / "key.pem").write_bytes(telegram.key.pem)
        database = f"sqlite:///{folder}/crash.db"
        settings = dict(
            mode="live",
            live=dict(confirmed=True),
            database=database,
            symbols=SYMBOLS,
            accounts=[dict(correlation=False)],  # as many orders as there are signals
            origin=START - 45 * DAY,
            snapshot_every=50,
            venue=dict(replay=dict(attach=f"{folder}/venue.json"), settle=0.1),
            http=dict(enabled=False),
            telegram=dict(token=TOKEN, api_id=1, api_hash="hash", server=telegram.dc, session=f"{folder}/telegram.session"),
        )
        (folder / "settings.json").write_text(json.dumps(settings))
        db = await open_database(database)
        async with db.write() as session:
            session.add(Chat(id=READER, language="en", subscribed=True, created_at=0))
        await db.close()
        async with services(folder) as made:
            yield venue, telegram, made


class Service:
    "One run of the service; `ended` is its exit code."

    def __init__(self, pid: int, code: asyncio.Task[bytes]) -> None:
        self.pid, self.code = pid, code

    def kill(self) -> None:
        if not self.code.done():
            os.kill(self.pid, signal.SIGKILL)

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return int(await self.code)


class Services:
    "Starts services among the same settings, one after the other."

    def __init__(self, folder: Path, mother: asyncio.subprocess.Process) -> None:
        self.folder, self.mother = folder, mother

    async def start(self) -> Service:
        assert self.mother.stdin and self.mother.stdout
        self.mother.stdin.write(b"start\n")
        async with asyncio.timeout(60):
            pid = int(await self.mother.stdout.readline())
        return Service(pid, asyncio.create_task(self.mother.stdout.readline()))

    async def finish(self) -> None:
        "Let a service run to the end of the replay, and start again until the reader has everything: a chat takes a message a second."
        for _ in range(6):
            assert await (await self.start()).ended() == 0
            db = await open_database(f"sqlite:///{self.folder}/crash.db")
            async with db.read() as session:
                waiting = await depth(session)
            await db.close()
            if not waiting:
                return
        raise AssertionError(f"{waiting} messages are still waiting")


@asynccontextmanager
async def services(folder: Path):
    child = [str(ROOT / "tests" / "crash_child.py"), str(folder / "settings.json"), str(folder / "key.pem")]
    pipe = asyncio.subprocess.PIPE
    mother = await asyncio.create_subprocess_exec(sys.executable, *child, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        yield Services(folder, mother)
    finally:
        mother.stdin.close()
        await asyncio.wait_for(mother.wait(), 10)


async def left_by(folder: Path, venue: Venue, telegram: Telegram) -> dict:
    "Everything that two runs of the same span must agree on, in an order of its own."
    db = await open_database(f"sqlite:///{folder}/crash.db")
    found = {}
    async with db.read() as session:
        for model, without in (
            (SignalRow, ()),
            (DecisionRow, ("id",)),
            (Order, ("updated_at", "venue_id")),
            (Fill, ("trade_id",)),
            (Equity, ()),
            (Candle, ()),
            (Outbox, ("id", "created_at", "due_at", "attempts", "sent_at", "message_id", "error")),
        ):
            rows = [{k: v for k, v in row.facts().items() if k not in without} for row in await session.scalars(select(model))]
            found[model.__tablename__] = sorted(map(repr, rows))
        trackers = {t.id: t for t in await session.scalars(select(Tracker))}
        found["trackers"] = sorted(repr((t.signal_id, t.account_id, t.state, t.exit_type, t.ladder)) for t in trackers.values())
        found["events"] = sorted(
            repr((trackers[e.tracker_id].signal_id, trackers[e.tracker_id].account_id, e.time, e.kind, e.price, e.weight))
            for e in await session.scalars(select(TrackerEvent))
        )
    await db.close()
    account = venue.accounts[venue.key]
    found["at the venue"] = sorted(
        repr((o.client_id, o.side, o.type, o.quantity, o.price, o.trigger, o.status, o.filled, o.average, o.time))
        for o in account.orders.values()
    )
    found["conditional"] = sorted(repr((a.client_id, a.side, a.quantity, a.trigger, a.status, a.time)) for a in account.algos.values())
    found["trades"] = sorted(repr((t["side"], t["price"], t["qty"], t["time"])) for t in account.trades)
    found["wallet"] = [repr(account.wallet)]
    found["read"] = sorted(repr((m.chat, m.text, m.random_id)) for m in telegram.sent)
    return found


class Trap:
    "Kills a service as the venue takes, fills or cancels an order: the so-manieth time after it was set."

    def __init__(self, venue: Venue) -> None:
        self.tell, self.left, self.service, self.fired = venue.tell, 0, None, 0
        venue.tell = self.heard  # type: ignore[method-assign]

    def set(self, service: Service, events: int) -> None:
        self.service, self.left = service, events

    def heard(self, account, event: dict) -> None:
        self.tell(account, event)
        if self.service and event["e"] in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE"):
            self.left -= 1
            if not self.left:
                self.service.kill()
                self.service, self.fired = None, self.fired + 1


@pytest.mark.timeout(300)
async def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path):
    async with world(tmp_path / "whole") as (venue, telegram, services):
        await services.finish()
        whole = await left_by(tmp_path / "whole", venue, telegram)
        orders = venue.accounts[venue.key].orders.values()
        busy = sorted({t for o in orders for t in (o.time - o.time % venue.span, o.update - o.update % venue.span + venue.span)})
        entries = sorted(o.time for o in orders if o.client_id.startswith("entry"))
    assert len(whole["signals"]) >= 4 and len(whole["orders"]) >= 20 and len(whole["read"]) == len(whole["outbox"]) >= 8

    dice = random.Random(2026)
    moments = [(START + dice.randrange((END - START) // venue.span) * venue.span, 0) for _ in range(6)]
    moments += [(dice.choice(busy), 0) for _ in range(6)] + [(dice.choice(entries[:-1]), dice.randint(1, 6)) for _ in range(8)]
    async with world(tmp_path / "killed") as (venue, telegram, services):
        trap, killed_at, clock = Trap(venue), [], asyncio.get_running_loop().time
        for moment, events in sorted(moments):
            service, there = await services.start(), venue.time >= moment
            while venue.time < moment and not service.code.done():
                await asyncio.sleep(0.0005)
            if events:
                trap.set(service, events)
            until = clock() + (60.0 if events else dice.uniform(0.1, 1.0) if there else dice.uniform(0.0, 0.03))
            reach = END if events else venue.time + 2 * venue.span  # so that a fast machine does not come to the end before the last kill
            while clock() < until and venue.time < reach and not service.code.done():
                await asyncio.sleep(0.0005)
            service.kill()
            assert await service.ended() == -signal.SIGKILL
            killed_at.append(venue.time)
        assert len(killed_at) == 20 and trap.fired == 8 and len(set(killed_at)) >= 9 and venue.phase != "done"
        await services.finish()
        killed = await left_by(tmp_path / "killed", venue, telegram)
    for what, rows in whole.items():
        lost, doubled = [r for r in rows if r not in killed[what]], [r for r in killed[what] if r not in rows]
        assert killed[what] == rows, (what, "only undisturbed:", lost[:3], "only killed:", doubled[:3], len(rows), len(killed[what]))
