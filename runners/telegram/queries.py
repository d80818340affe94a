"What the bot asks, answered from the database and the service's state."

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.clock import DAY
from perps_kit.storage import queries as q
from perps_kit.storage.keep import insert_new
from perps_kit.storage.models import Chat
from perps_kit.storage.outbox import depth
from perps_kit.telegram.facts import PositionFacts, SignalFacts, StatusFacts, WhyFacts
from runners.db.connect import Database
from runners.state import ServiceState
from runners.telegram.ports import Clock, Unavailable


class DatabaseQueries:
    "The bot's questions. `tick` gives a symbol's price step, 0 where it is not known."

    def __init__(self, database: Database, state: ServiceState, clock: Clock, tick: Callable[[str], float] = lambda symbol: 0.0) -> None:
        self.database, self.state, self.clock, self.tick = database, state, clock, tick

    def with_tick(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {**row, "tick": self.tick(row["symbol"])}

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self.database.read() as session: yield session
        except SQLAlchemyError as error:
            raise Unavailable("the database does not answer") from error

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self.database.write() as session: yield session
        except SQLAlchemyError as error:
            raise Unavailable("the database does not answer") from error

    async def status(self) -> StatusFacts:
        "How the service is, and its last 24 hours by its own clock."
        now = self.state.time or self.clock.now()
        async with self.read() as session:
            day, symbols, waiting = await q.summary(session, now - DAY), await q.symbols(session), await depth(session)
        state, watched = self.state, {(s["venue"], s["symbol"]) for s in symbols}
        return StatusFacts(mode=state.mode, venue=state.venue, ready=state.ready, missing=state.missing, time=state.time,
                           symbols=len(watched), open=day["open"], signals=day["signals"], closed=day["closed"], waiting=waiting)

    async def signals(self, limit: int) -> list[SignalFacts]:
        "The newest first."
        async with self.read() as session: return [cast(SignalFacts, self.with_tick(row)) for row in await q.latest_signals(session, limit)]

    async def positions(self) -> list[PositionFacts]:
        "Those of the signals, then those of accounts."
        async with self.read() as session: rows = await q.open_positions(session)
        return [cast(PositionFacts, self.with_tick(row)) for row in sorted(rows, key=lambda row: row["account"] or "")]

    async def why(self, id: str) -> WhyFacts | None:
        "The decision behind a signal's id or, for a short number, a decision's own."
        async with self.read() as session:
            if id.isdecimal() and len(id) < 19: found = await q.decision(session, int(id))
            else: found = await q.decision_of_signal(session, id.lower())
            if found is None: return None
            signal = await q.signal_whole(session, found["signal_id"]) if found["signal_id"] else None
        scored = {k: signal[k] for k in ("final", "components")} if signal else {}
        return cast(WhyFacts, {**found, **scored})

    async def subscribe(self, chat: int, language: str) -> None:
        "Signals for this chat from now on."
        async with self.write() as session:
            await insert_new(session, Chat, [dict(id=chat, language=language, subscribed=True, created_at=self.clock.now())])
            await session.execute(update(Chat).where(Chat.id == chat).values(language=language, subscribed=True))

    async def unsubscribe(self, chat: int) -> None:
        "No more signals for this chat."
        async with self.write() as session: await session.execute(update(Chat).where(Chat.id == chat).values(subscribed=False))
