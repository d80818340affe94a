"Empties the outbox: what is due goes out once, at the pace allowed, and every outcome is written down."

import asyncio
import logging
from contextlib import suppress

from perps_kit.core.clock import HOUR, MINUTE
from perps_kit.telegram.catalog import texts_in
from perps_kit.telegram.render import Message, render
from runners.telegram.pace import Pace
from runners.telegram.ports import ChatGone, Clock, Failed, OutboxStore, Queued, Refused, Sender, Unreachable, Wait

log = logging.getLogger(__name__)


class Outbox:
    """Sends what waits. The database is its only memory: a new one, after a crash, goes on where the last one fell.

    A message that was sent but not yet marked goes out again under the same `random_id`, which Telegram recognises. The
    messages of one chat keep their order: one that has to wait holds back those behind it.
    """

    def __init__(self, store: OutboxStore, sender: Sender, clock: Clock, pace: Pace, *, attempts: int = 10, within: float = 15.0,
                 at_once: int = 8, batch: int = 100, poll: float = 1.0, keep: int = 6 * HOUR) -> None:
        self.store, self.sender, self.clock, self.pace = store, sender, clock, pace
        self.attempts, self.within, self.batch, self.poll, self.keep = attempts, within, batch, poll, keep
        self.slots = asyncio.Semaphore(at_once)
        self.news = asyncio.Event()
        self.held_until: int | None = None          # when the first of those may go that are due but have to be silent
        self.sent = self.given_up = self.outages = 0

    def notify(self) -> None:
        "New rows have been committed: look at once."
        self.news.set()

    async def run(self) -> None:
        "Send for ever."
        while True:
            self.news.clear()
            if not await self.step(): await self.nap()

    async def step(self) -> int:
        "Try everything that may go now; how many were tried."
        now = self.clock.now()
        due = await self.store.due(now, self.batch)
        rows = [row for row in due if self.pace.ready_at(row.chat) <= now + 50 or self.crowded(row.chat, now)]
        taken = {row.chat for row in rows}
        self.held_until = min((self.pace.ready_at(row.chat) for row in due if row.chat not in taken), default=None)
        async with asyncio.TaskGroup() as group:
            for row in rows: group.create_task(self.take(row))
        return len(rows)

    def crowded(self, chat: str, now: int) -> bool:
        "Whether a chat waits for nothing but the general pace, which is a wait of less than a second."
        return self.pace.holds.get("", 0) <= now and self.pace.ready_at(chat) == self.pace.ready_at("")

    async def nap(self) -> None:
        "Rest until there is news, something falls due, or a while has passed."
        due = await self.store.next_due() if self.held_until is None else self.held_until
        wait = self.poll if due is None else min(self.poll, max(0.02, (due - self.clock.now()) / 1000))
        tasks = [asyncio.create_task(self.news.wait()), asyncio.create_task(self.clock.sleep(wait))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks: task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError): await task

    async def take(self, row: Queued) -> None:
        "One message, from its facts to its outcome."
        try:
            message = self.write(row)
        except (ValueError, Refused) as error:
            return await self.give_up(row, str(error))
        async with self.slots:
            await self.pace.turn(row.chat)
            await self.deliver(row, message)

    def write(self, row: Queued) -> Message:
        "The message in the reader's language, marked as late if it is."
        age = self.clock.now() - row.created_at
        if row.kind == "signal" and age > self.keep: raise Refused(f"not sent: {age // MINUTE} min late, too late to be of use")
        return render(texts_in(row.language), row.kind, row.facts, late=age // MINUTE if age >= 2 * MINUTE else 0)

    async def deliver(self, row: Queued, message: Message) -> None:
        "Send, and write down what came of it."
        try:
            async with asyncio.timeout(self.within):
                message_id = await self.sender.send(row.chat, message, row.random_id)
        except Wait as wait:
            until = self.clock.now() + round(wait.seconds * 1000)
            self.pace.hold(until, row.chat if wait.chat_only else "")
            log.warning("message %d: %s", row.id, wait)
            await self.store.later(row.id, str(wait), until, counted=False)
        except ChatGone as gone:
            log.info("chat %s is gone: %s", row.chat, gone)
            self.given_up += 1
            await self.store.unsubscribe(row.chat, str(gone), self.clock.now())
        except Refused as refused:
            await self.give_up(row, str(refused))
        except Unreachable as error:
            self.outages += 1
            until = self.clock.now() + pause(self.outages, 60)
            self.pace.hold(until)
            await self.store.later(row.id, str(error), until, counted=False)
        except (Failed, TimeoutError) as error:
            await self.again(row, str(error) or f"no answer within {self.within:g} s")
        else:
            self.outages, self.sent = 0, self.sent + 1
            await self.store.sent(row.id, message_id, self.clock.now())

    async def again(self, row: Queued, error: str) -> None:
        "The message itself failed: a longer pause each time, and an end."
        if row.attempts + 1 >= self.attempts: return await self.give_up(row, f"given up after {self.attempts} attempts: {error}")
        log.warning("message %d failed: %s", row.id, error)
        await self.store.later(row.id, error, self.clock.now() + pause(row.attempts + 1, 300), counted=True)

    async def give_up(self, row: Queued, error: str) -> None:
        log.error("message %d to %s will not arrive: %s", row.id, row.chat, error)
        self.given_up += 1
        await self.store.give_up(row.id, error, self.clock.now())


def pause(attempt: int, most: int) -> int:
    "Milliseconds before the next attempt: 1 s, 2 s, 4 s, to at most `most` seconds."
    return 1_000 * min(most, 1 << min(attempt - 1, 20))
