"From written intentions to acknowledged orders: symbol by symbol, closes first, entries last, and never a position without a stop."

import asyncio
import logging
import time as wall
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.storage.models import Order
from perps_kit.trackers.ladder import stop_name
from perps_kit.trackers.plan import MANUAL
from runners.db.connect import Database
from runners.live.execution.answers import TOO_LATE, Seen, trouble
from runners.live.execution.desk import Desk
from runners.live.execution.ledger import keep, keep_ladder
from runners.live.execution.position import Position
from runners.live.execution.survey import Surveyor
from runners.telegram.console import CHANNEL as CONSOLE
from runners.telegram.enqueue import enqueue

log = logging.getLogger(__name__)
RANK = {"close": 0, "stop": 1, "tp1": 2, "tp2": 3, "tp3": 4}


def rank(order: Order) -> int:
    "Closes, stops, targets, what is to be cancelled, entries."
    return 9 if order.kind == "entry" else 8 if order.state == "cancelling" else RANK[order.kind]


class Sender:
    "Sends what is intended and cancels what is to go. `lag`: seconds after which an entry comes too late."

    def __init__(self, desk: Desk, surveyor: Surveyor, db: Database, name: str, leverage: int, lag: float, console: bool):
        self.desk, self.surveyor, self.db, self.name, self.leverage, self.lag, self.console = (
            desk,
            surveyor,
            db,
            name,
            leverage,
            lag,
            console,
        )
        self.prepared: set[str] = set()
        self.fresh: set[str] = set()  # entries decided in this cycle
        self.now = 0  # by the venue's clock

    async def send(self, positions: Sequence[Position]) -> None:
        "Everything that is written down for these positions; symbols do not wait for each other."
        symbols: dict[str, list[Position]] = {}
        for p in positions:
            if any(o.state in ("intended", "cancelling") for o in p.orders.values()):
                symbols.setdefault(p.symbol, []).append(p)
        await asyncio.gather(*(self.send_symbol([p for p in positions if p.symbol == s]) for s in symbols))

    async def send_symbol(self, positions: list[Position]) -> None:
        tried: set[str] = set()
        while work := [
            (rank(o), p, o)
            for p in positions
            for o in p.orders.values()
            if o.state in ("intended", "cancelling") and o.client_id not in tried
        ]:
            _, p, order = min(work, key=lambda w: w[0])
            tried.add(order.client_id)
            await self.handle(p, order, positions)
        async with self.db.write() as session:
            for p in positions:
                before = p.ladder
                p.enter(self.now)
                await keep_ladder(session, p, before)
            await keep(session, positions)

    async def handle(self, p: Position, order: Order, positions: list[Position]) -> None:
        "One order, to the end of what can be known of it now."
        if order.state == "cancelling":
            p.note(order, await self.desk.cancel(order))
            return
        entry = order.kind == "entry"
        why = await self.unfit(order, positions) if entry else ""
        p.note(
            order,
            Seen("rejected", error=why)
            if why
            else await self.desk.place(order, lambda: self.uncertain(p, order), self.lag if entry else float("inf")),
        )
        if order.state != "rejected":
            return
        log.warning("%s: %s of %g refused: %s", p.symbol, order.kind, order.quantity, order.error)
        if order.kind == "stop":
            await self.unprotected(p, order)
        elif order.kind == "close":
            await self.surveyor.survey(p)
            if p.left > 0.0:
                await self.stuck(p, order)

    async def uncertain(self, p: Position, order: Order) -> None:
        "Write down that an order may be at the venue, before waiting for the truth."
        p.note(order, Seen("unknown", error="no answer from the venue"))
        async with self.db.write() as session:
            await keep(session, [p])

    async def unfit(self, order: Order, positions: list[Position]) -> str:
        "Why an entry may not be sent now: too late, no leverage, or a position whose close has not gone out."
        if any(o.kind == "close" and o.state in ("intended", "unknown") for p in positions for o in p.orders.values()):
            return "the position before it is still open"
        if order.client_id not in self.fresh:
            try:
                late = await self.desk.exchange.now() - order.created_at > 1000 * self.lag
            except trouble():
                late = True
            if late:
                return "too late: the service or the venue was not there in time"
        if order.symbol in self.prepared:
            return ""
        why = await self.desk.prepare(order.symbol, self.leverage)
        if not why:
            self.prepared.add(order.symbol)
        return why

    async def unprotected(self, p: Position, stop: Order) -> None:
        "A stop was refused: out at the market, and somebody is told. A position that is gone needs neither."
        await self.surveyor.survey(p)
        if p.left <= 0.0:
            return
        before = p.ladder
        p.ladder = before.leave(stop_name(before) if TOO_LATE in (stop.error or "") else MANUAL)
        p.arrange(self.now)
        async with self.db.write() as session:
            await keep_ladder(session, p, before)
            await keep(session, [p])
            text = f"{self.name}: the venue refused the stop of {p.symbol} at {stop.trigger:g}; the position is closed. {stop.error}"
            await self.alert(session, "Stop refused", text, stop.client_id)

    async def stuck(self, p: Position, close: Order) -> None:
        "A close was refused though something is held: it is tried again, and somebody is told."
        async with self.db.write() as session:
            text = f"{self.name}: the venue refused to close {p.left:g} {p.symbol}; it is tried again at the next close. {close.error}"
            await self.alert(session, "Close refused", text, close.client_id)

    async def alert(self, session: AsyncSession, title: str, text: str, key: str) -> None:
        "A message for everybody who listens; the same key tells nobody twice."
        await enqueue(
            session,
            "alert",
            dict(title=title, text=text),
            key,
            wall.time_ns() // 1_000_000,
            channel=CONSOLE if self.console else "telegram",
        )
