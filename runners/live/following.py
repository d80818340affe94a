"""The account behind a follower: its money as the risk rules see it, asked and written down in the cycle's own transaction.

Paper and live accounts both keep one. What it decides and what it learns is committed with the trade that it is about.
"""

import logging
import time as wall
from collections.abc import Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.engine.engine import Engine, Published
from perps_kit.engine.follow import FOLLOWED, Follow, followed, ladder_of, order_of
from perps_kit.exchange.filters import Filters
from perps_kit.risk.account import Account, Holding, Terms, account_of, checked, kept
from perps_kit.risk.limits import day_change, guarded
from perps_kit.risk.liquidation import TYPICAL, Tier
from perps_kit.risk.memory import Memory
from perps_kit.risk.order import Grid, Scene
from perps_kit.storage.keep import insert_new, put
from perps_kit.storage.models import FollowRow, MemoryState
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import CLOSED, Rules
from runners.errors import ConfigError
from runners.settings import AccountSettings
from runners.telegram.console import CHANNEL as CONSOLE
from runners.telegram.enqueue import enqueue

log = logging.getLogger(__name__)


def grid_of(f: Filters) -> Grid:
    "The venue's bounds as the rules read them."
    return Grid(f.tick, f.step, f.min_quantity, f.max_quantity, f.min_notional)


class Following:
    "An account that answers to signals."

    def __init__(self, id: int, settings: AccountSettings, filters: dict[str, Filters], rules: Rules, engine: Engine | None,
                 balance: float, console: bool = False):
        self.id, self.name, self.rules, self.engine, self.console = id, settings.name, rules, engine, console
        self.terms: Terms = checked(settings.terms._replace(fee=rules.fee))
        self.grids = {symbol: grid_of(f) for symbol, f in filters.items()}
        self.account, self.written = Account.of(balance), None
        self.tiers: dict[str, tuple[Tier, ...]] = {}  # the venue's own, by symbol; else a typical table

    async def load(self, session: AsyncSession) -> None:
        "Take up what was written; a state that cannot be read is a ConfigError, for money hangs on it."
        row = await session.get(MemoryState, f"account|{self.name}")
        if row is None:
            return
        try:
            self.account = account_of(row.state)
        except ValueError as wrong:
            raise ConfigError(f"account {self.name!r}: {wrong}") from None
        self.written = self.account

    async def save(self, session: AsyncSession, time: int) -> None:
        "Write the account if it has changed; a halt or a resumption from outside is honoured at the next cycle."
        if self.account._replace(holdings=()) != self.written:
            self.written = self.account._replace(holdings=())
            await put(session, MemoryState, [dict(name=f"account|{self.name}", state=kept(self.account), updated_at=time)])

    async def heed(self, session: AsyncSession) -> None:
        "What `perps-kit account` left since the last cycle: a halt, a resumption, money that came or went."
        row = await session.get(MemoryState, f"switch|{self.name}", with_for_update=True)
        if row is None:
            return
        await session.delete(row)
        try:
            halted, moved = row.state["halted"], float(row.state["moved"])
        except (KeyError, TypeError, ValueError):
            log.error("account %s: the word that was left for it cannot be read, and may have been a halt: %s", self.name, row.state)
            halted, moved = True, 0.0
        self.account = self.account.moved(moved)
        if halted is not None:
            self.account = self.account._replace(halted=True) if halted else self.account.resumed()
        log.warning("account %s: %s, %+.2f", self.name, {None: "as before", True: "halted", False: "resumed"}[halted], moved)

    def ended(self, time: int, ladder: Ladder) -> None:
        "Book a position that is over; one that never began costs nothing."
        if ladder.state == CLOSED:
            made = result(ladder)
            self.account = self.account.closed(time, made.net, made.result)

    async def mark(self, session: AsyncSession, time: int, equity: float) -> None:
        "The equity at a close; everybody is told when a limit ends the day, or halts the account."
        before = self.account
        self.account = after = guarded(before.marked(time, equity), self.terms)
        if after.halted and not before.halted:
            fall = f"{self.name} fell {100 * after.drawdown:.1f} % below its peak; it enters nothing until: perps-kit account resume"
            fall += f" {self.name}"
            await self.warn(session, "Account halted", fall, f"halt|{self.name}|{time}")
        if after.over == after.day and before.over != after.day:
            loss = f"{self.name} lost {-100 * day_change(after):.1f} % since 00:00 UTC and enters nothing until midnight."
            await self.warn(session, "Daily loss", loss, f"day|{self.name}|{after.day}")

    async def warn(self, session: AsyncSession, title: str, text: str, key: str) -> None:
        "An alert for everybody who listens, in the transaction that it is about."
        log.error("%s", text)
        channel = CONSOLE if self.console else "telegram"
        await enqueue(session, "alert", dict(title=title, text=text), key, wall.time_ns() // 1_000_000, channel=channel)

    async def answer(self, session: AsyncSession, new: Published, holdings: Iterable[Holding], minutes: int) -> Ladder | None:
        "Ask the rules about a published signal and keep what they said; the account's own waiting ladder if it follows."
        c, engine = new.candidate, self.engine
        self.account = self.account._replace(holdings=tuple(holdings))
        known: Any = engine.book.memory if engine else None
        memory = known if isinstance(known, Memory) else None
        grid, market, tiers = self.grids[c.symbol], engine.market if engine else {}, self.tiers.get(c.symbol, TYPICAL)
        scene = Scene(self.account, self.terms, grid, tiers, market, memory, minutes)
        order, said = followed(order_of(new.id, c, new.final, new.ladder), scene)
        await insert_new(session, FollowRow, [row_of(said, self.id)])
        if said.outcome != FOLLOWED:
            log.info("%s does not follow %s: %s", self.name, new.id[:8], said.verdicts[-1].reason)
            return None
        self.account = self.account.entered(c.time, c.symbol)
        return ladder_of(order, c.signal, grid, self.rules)


def row_of(said: Follow, account_id: int) -> dict[str, Any]:
    "The columns of an answer."
    facts = {k: v for k, v in said._asdict().items() if k not in ("id", "symbol", "side", "verdicts")}
    return facts | dict(signal_id=said.id, account_id=account_id, verdicts=[v._asdict() for v in said.verdicts])
