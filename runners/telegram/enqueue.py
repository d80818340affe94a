"Putting messages into the outbox, inside the transaction that makes them true."

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.storage.keep import insert_new
from perps_kit.storage.models import Outbox
from perps_kit.storage.outbox import random_id, subscribers
from runners.telegram import console


async def enqueue(session: AsyncSession, kind: str, facts: Any, key: str, now: int, *, channel: str = "telegram",
                  signal_id: str | None = None) -> int:
    """One row for each subscriber (for the terminal: one); how many readers.

    `key` names the event, such as a signal's id: the same event never gives a reader a second row. `now` is wall time: lateness is
    measured from it.
    """
    readers = [console.RECIPIENT] if channel == console.CHANNEL else [str(chat.id) for chat in await subscribers(session)]
    await insert_new(session, Outbox, [
        dict(channel=channel, kind=kind, recipient=reader, payload=facts, random_id=random_id(channel, kind, reader, key),
             signal_id=signal_id, created_at=now, due_at=now, attempts=0) for reader in readers])
    return len(readers)
