"The outbox's sender: pace, order, failures, crashes; on an injected clock, and over a real database."

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count, pairwise
from typing import Any

import pytest
from pg import new_database
from sqlalchemy import select

from perps_kit.core.clock import HOUR
from perps_kit.storage.models import Chat
from perps_kit.storage.models import Outbox as OutboxRow
from perps_kit.telegram.facts import CLOSE, SIGNAL
from runners.db.connect import open_database
from runners.telegram.console import CHANNEL, ConsoleSender
from runners.telegram.enqueue import enqueue
from runners.telegram.outbox import Outbox, pause
from runners.telegram.pace import Pace
from runners.telegram.ports import ChatGone, Failed, Queued, Unreachable, Wait, WallClock
from runners.telegram.store import SqlOutbox

START = 1_790_000_000_000


class FakeClock:
    "Time that jumps to the next sleeper when nobody has anything left to do."

    def __init__(self) -> None:
        self.time, self.sleepers, self.order = START, [], count()

    def now(self) -> int:
        return self.time

    async def sleep(self, seconds: float) -> None:
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleepers, (self.time + max(1, round(seconds * 1000)), next(self.order), wake))
        await wake

    async def play(self, work: Coroutine[Any, Any, Any], seconds: float) -> None:
        "Run `work` for so many seconds of this clock."
        task, end = asyncio.ensure_future(work), self.time + round(seconds * 1000)
        while not task.done():
            for _ in range(60):
                await asyncio.sleep(0)
            if not self.sleepers or self.sleepers[0][0] > end:
                break
            self.time, _, wake = heapq.heappop(self.sleepers)
            if not wake.done():
                wake.set_result(None)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.time = max(self.time, end)


class MemoryStore:
    "The outbox's table as a dict, for tests that play with time."

    def __init__(self, rows: list[Queued]) -> None:
        self.rows = {row.id: [row, row.created_at] for row in rows}
        self.done: dict[int, str] = {}
        self.asked = 0

    async def due(self, now: int, limit: int) -> list[Queued]:
        self.asked += 1
        heads: dict[str, list] = {}
        for id, item in sorted(self.rows.items()):
            if id not in self.done:
                heads.setdefault(item[0].chat, item)
        return [row for row, due in sorted(heads.values(), key=lambda item: item[1]) if due <= now][:limit]

    async def next_due(self) -> int | None:
        heads: dict[str, int] = {}
        for id, (row, due) in sorted(self.rows.items()):
            if id not in self.done:
                heads.setdefault(row.chat, due)
        return min(heads.values(), default=None)

    async def sent(self, row: int, message_id: int | None, now: int) -> None:
        self.done[row] = "sent"

    async def later(self, row: int, error: str, due_at: int, counted: bool) -> None:
        old = self.rows[row][0]
        self.rows[row] = [old._replace(attempts=old.attempts + counted), due_at]

    async def give_up(self, row: int, error: str, now: int) -> None:
        self.done[row] = error

    async def unsubscribe(self, chat: str, error: str, now: int) -> None:
        self.done |= {id: error for id, (row, _) in self.rows.items() if row.chat == chat and id not in self.done}


class Recorder:
    "A sender that notes when each message came, and fails as it is told."

    def __init__(self, clock: FakeClock, failures: list[Exception | None] | None = None) -> None:
        self.clock, self.failures, self.log = clock, failures or [], []

    async def send(self, chat: str, message: Any, random_id: int) -> int | None:
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.log.append((self.clock.now(), chat, random_id))
        return len(self.log)


def queued(id: int, chat: str, kind: str = "signal", facts: Any = SIGNAL, created_at: int = START) -> Queued:
    return Queued(id, kind, chat, facts, 1000 + id, created_at, 0, "en")


def outbox_of(
    rows: list[Queued], failures: list[Exception | None] | None = None, **options: Any
) -> tuple[Outbox, MemoryStore, Recorder, FakeClock]:
    clock = FakeClock()
    store, sender = MemoryStore(rows), Recorder(clock, failures)
    return Outbox(store, sender, clock, Pace(clock), **options), store, sender, clock


def busiest(times: list[int], window: int) -> int:
    "The most messages in any window of so many ms."
    return max(sum(t <= u < t + window for u in times) for t in times)


async def test_many_chats_are_served_at_thirty_a_second():
    box, _, sender, clock = outbox_of([queued(k, str(100 + k)) for k in range(600)])
    await clock.play(box.run(), 25)
    times = [time for time, *_ in sender.log]
    assert len(times) == 600 and busiest(times, 1_000) == 30
    assert 19_000 <= times[-1] - times[0] <= 20_500


async def test_one_chat_gets_one_a_second_in_order_while_others_are_not_held_up():
    rows = [queued(k, "7") for k in range(5)] + [queued(10 + k, str(100 + k)) for k in range(10)]
    box, _, sender, clock = outbox_of(rows)
    await clock.play(box.run(), 8)
    mine = [(time, id) for time, chat, id in sender.log if chat == "7"]
    assert [id for _, id in mine] == [1000, 1001, 1002, 1003, 1004]
    assert all(b[0] - a[0] >= 1_000 for a, b in pairwise(mine)) and mine[-1][0] - mine[0][0] < 5_000
    assert all(time - START < 500 for time, chat, _ in sender.log if chat != "7")


async def test_a_group_gets_twenty_a_minute():
    box, _, sender, clock = outbox_of([queued(k, "-55") for k in range(45)])
    await clock.play(box.run(), 200)
    times = [time for time, *_ in sender.log]
    assert len(times) == 45 and busiest(times, 60_000) == 20


async def test_a_flood_wait_silences_everybody_and_fails_nobody():
    rows = [queued(k, str(100 + k)) for k in range(40)]
    box, store, sender, clock = outbox_of(rows, [None, None, Wait(30)])
    await clock.play(box.run(), 60)
    assert len(sender.log) == 40 and set(store.done.values()) == {"sent"}
    assert all(row.attempts == 0 for row, _ in store.rows.values())
    later = [time - START for time, *_ in sender.log if time - START > 1_000]
    assert len(later) >= 30 and min(later) >= 30_000


async def test_slow_mode_silences_one_chat_only():
    box, _store, sender, clock = outbox_of([queued(1, "-5"), queued(2, "6")], [Wait(20, chat_only=True)])
    await clock.play(box.run(), 30)
    assert [(chat, time - START >= 20_000) for time, chat, _ in sender.log] == [("6", False), ("-5", True)]


async def test_a_failing_message_is_tried_less_and_less_often_and_then_kept_with_its_reason():
    box, store, _sender, clock = outbox_of([queued(1, "7"), queued(2, "8")], [Failed("INTERNAL"), None, *[Failed("INTERNAL")] * 9])
    await clock.play(box.run(), 2_000)
    assert store.done[2] == "sent" and "given up after 10 attempts: INTERNAL" in store.done[1]
    assert [pause(k, 300) for k in (1, 2, 3, 9, 30)] == [1_000, 2_000, 4_000, 256_000, 300_000]


async def test_an_outage_counts_against_no_message():
    box, store, _sender, clock = outbox_of(
        [queued(1, "7", "close", CLOSE), queued(2, "8", "close", CLOSE)], [Unreachable("down")] * 40, poll=30.0
    )
    await clock.play(box.run(), 4_000)
    assert store.asked < 200  # silence is slept through
    assert set(store.done.values()) == {"sent"} and all(row.attempts == 0 for row, _ in store.rows.values()) and box.outages == 0


async def test_a_reader_who_left_gets_nothing_more():
    box, store, _sender, clock = outbox_of([queued(1, "7"), queued(2, "7"), queued(3, "8")], [ChatGone("USER_IS_BLOCKED")])
    await clock.play(box.run(), 5)
    assert store.done == {1: "USER_IS_BLOCKED", 2: "USER_IS_BLOCKED", 3: "sent"}


async def test_facts_that_make_no_message_are_kept_with_the_reason_and_hold_nobody_up():
    box, store, _sender, clock = outbox_of([queued(1, "7", facts={}), queued(2, "7"), queued(3, "8", kind="letter")])
    await clock.play(box.run(), 5)
    assert "facts of kind 'signal'" in store.done[1] and store.done[2] == "sent" and "letter" in store.done[3]


async def test_a_signal_that_is_hours_late_is_not_sent_but_its_close_is():
    old = START - 7 * HOUR
    box, store, _sender, clock = outbox_of([queued(1, "7", created_at=old), queued(2, "7", "close", CLOSE, created_at=old)])
    await clock.play(box.run(), 5)
    assert "too late" in store.done[1] and store.done[2] == "sent"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path):
    database = await open_database(new_database() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'perps.db'}")
    yield database
    await database.close()


async def put_chats(database, *chats: int) -> None:
    async with database.write() as session:
        for chat in chats:
            session.add(Chat(id=chat, language="en", subscribed=True, created_at=START))


async def all_rows(database) -> list[OutboxRow]:
    async with database.read() as session:
        return list(await session.scalars(select(OutboxRow).order_by(OutboxRow.id)))


async def test_an_event_enters_the_outbox_once_for_each_subscriber(database):
    await put_chats(database, 7, 8)
    for _ in range(2):
        async with database.write() as session:
            await enqueue(session, "signal", SIGNAL, SIGNAL["id"], START)
    async with database.write() as session:
        await enqueue(session, "close", CLOSE, SIGNAL["id"], START)
    rows = await all_rows(database)
    assert [(row.recipient, row.kind) for row in rows] == [("7", "signal"), ("8", "signal"), ("7", "close"), ("8", "close")]


async def test_the_table_gives_the_oldest_message_of_each_chat(database):
    await put_chats(database, 7, 8)
    for key in "abc":
        async with database.write() as session:
            await enqueue(session, "signal", SIGNAL, key, START)
    store = SqlOutbox(database)
    heads = await store.due(START, 10)
    assert [(row.chat, row.language) for row in heads] == [("7", "en"), ("8", "en")]
    await store.later(heads[0].id, "flood", START + 5_000, counted=False)
    assert [row.chat for row in await store.due(START, 10)] == ["8"] and await store.next_due() == START
    await store.later(heads[1].id, "flood", START + 7_000, counted=False)
    assert await store.due(START, 10) == [] and await store.next_due() == START + 5_000
    await store.sent(heads[1].id, 99, START)
    await store.unsubscribe("7", "blocked", START)
    assert {row.chat for row in await store.due(START + 9_000, 10)} == {"8"}
    rows = await all_rows(database)
    assert [(row.attempts, row.message_id, row.error) for row in rows if row.recipient == "7"] == [(0, None, "blocked")] * 3
    async with database.read() as session:
        assert not (await session.get(Chat, 7)).subscribed


async def test_the_terminal_is_a_reader_too(database, capsys):
    async with database.write() as session:
        await enqueue(session, "signal", SIGNAL, SIGNAL["id"], WallClock().now(), channel=CHANNEL)
    clock = WallClock()
    box = Outbox(SqlOutbox(database, CHANNEL), ConsoleSender(), clock, Pace(clock))
    assert await box.step() == 1 and await box.step() == 0
    shown = capsys.readouterr().err
    assert "SOL/USDT LONG" in shown and "<b>" not in shown


async def test_next_message_is_noticed_at_once(database):
    await put_chats(database, 7)
    clock = WallClock()
    sender = Recorder(clock)
    box = Outbox(SqlOutbox(database), sender, clock, Pace(clock), poll=30.0)
    task = asyncio.create_task(box.run())
    await asyncio.sleep(0.1)
    async with database.write() as session:
        await enqueue(session, "signal", SIGNAL, "x", clock.now())
    box.notify()
    async with asyncio.timeout(2):
        while not sender.log:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
