"The outbox in the database, as its sender sees it."

from typing import Any

from sqlalchemy import Select, func, select, update

from perps_kit.storage import outbox
from perps_kit.storage.models import Chat, Outbox
from runners.db.connect import Database
from runners.telegram.ports import Queued


class SqlOutbox:
    "The waiting messages of one channel."

    def __init__(self, database: Database, channel: str = "telegram") -> None:
        self.database, self.channel = database, channel

    def heads(self) -> Select[Any]:
        "The oldest waiting message of each chat: those behind it wait for it."
        return select(func.min(Outbox.id)).where(Outbox.channel == self.channel, Outbox.sent_at.is_(None)).group_by(Outbox.recipient)

    async def due(self, now: int, limit: int) -> list[Queued]:
        "The oldest waiting message of each chat, where that is due; the longest due first."
        query = select(Outbox).where(Outbox.id.in_(self.heads()), Outbox.due_at <= now).order_by(Outbox.due_at, Outbox.id).limit(limit)
        async with self.database.read() as session:
            rows = list(await session.scalars(query))
            chats = [int(row.recipient) for row in rows if row.recipient.lstrip("-").isdigit()]
            spoken: dict[str, str] = {}
            if chats:
                found = await session.execute(select(Chat.id, Chat.language).where(Chat.id.in_(chats)))
                spoken = {str(id): language for id, language in found}
        return [Queued(row.id, row.kind, row.recipient, row.payload, row.random_id, row.created_at, row.attempts,
                       spoken.get(row.recipient, "en")) for row in rows]

    async def next_due(self) -> int | None:
        "When the next one is due."
        query = select(func.min(Outbox.due_at)).where(Outbox.id.in_(self.heads()))
        async with self.database.read() as session: return await session.scalar(query)

    async def sent(self, row: int, message_id: int | None, now: int) -> None:
        "It has arrived."
        async with self.database.write() as session: await outbox.mark_sent(session, row, now, message_id)

    async def later(self, row: int, error: str, due_at: int, counted: bool) -> None:
        "Try again at `due_at`."
        if counted:
            async with self.database.write() as session: await outbox.mark_failed(session, row, error, due_at)
        else:
            await self.change(Outbox.id == row, error=error, due_at=due_at)

    async def give_up(self, row: int, error: str, now: int) -> None:
        "It will never arrive."
        async with self.database.write() as session: await outbox.give_up(session, row, now, error)

    async def unsubscribe(self, chat: str, error: str, now: int) -> None:
        "The chat is gone, and with it all that waits for it."
        async with self.database.write() as session:
            if chat.lstrip("-").isdigit(): await session.execute(update(Chat).where(Chat.id == int(chat)).values(subscribed=False))
            mine = (Outbox.channel == self.channel, Outbox.recipient == chat, Outbox.sent_at.is_(None))
            await session.execute(update(Outbox).where(*mine).values(sent_at=now, message_id=None, error=error))

    async def change(self, which: Any, **values: Any) -> None:
        async with self.database.write() as session: await session.execute(update(Outbox).where(which).values(**values))
