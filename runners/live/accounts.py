"""Accounts that follow the signals: the port that paper and live accounts share, and the paper one.

A cycle asks twice: `plan` inside the cycle's transaction writes down what is to be done, `perform` after it does it. So a kill at
any moment leaves either nothing or a written intention.
"""

import logging
from collections.abc import AsyncIterator
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.money import floor_to
from perps_kit.core.stream import Step
from perps_kit.core.unit import loads
from perps_kit.engine.engine import Cycle, Move, Paid, Published, stepped, waiting
from perps_kit.exchange.filters import Filters
from perps_kit.storage.keep import put
from perps_kit.storage.models import Account, Equity, SignalRow, Tracker
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import CLOSED, OPEN, Rules
from runners.errors import ConfigError
from runners.live.book import keep_move, tracker_columns
from runners.settings import AccountSettings

log = logging.getLogger(__name__)


class Follower(Protocol):
    "What the service asks of an account."

    @property
    def held(self) -> set[str]:
        "Symbols in which something is open."
        ...

    async def recover(self) -> None:
        "Take up open positions and unfinished intentions after a start."
        ...

    async def before(self, time: int) -> None:
        "A cycle is about to be evaluated: ask the outside what it needs to know."
        ...

    async def plan(self, session: AsyncSession, cycle: Cycle, steps: dict[str, list[Step]], paid: Paid) -> None:
        "Write down what this cycle asks for, in its transaction."
        ...

    async def perform(self) -> None:
        "Do what is written down, until the venue has acknowledged all of it."
        ...

    async def opened(self, time: int) -> None:
        "The next bar has opened: learn of fills, protect what was entered."
        ...

    def news(self) -> AsyncIterator[None]:
        "A hint each time that something happened to the account outside of a cycle."
        ...

    async def attend(self, time: int) -> None:
        "See to what happened."
        ...


def pattern(rules: Rules) -> Ladder:
    "A ladder of the shape that saved ones are read with."
    return Ladder.of(1, 100.0, 99.0, 1.0, rules=rules)


def sized(settings: AccountSettings, equity: float, new: Published, filters: Filters) -> float:
    "Quantity whose full loss costs the account's risk, on the venue's step and within its leverage; 0 where the venue would not take it."
    plan = new.ladder.plan
    risk = abs(plan.reference - plan.stop)
    wished = min(equity * settings.risk / risk, equity * settings.leverage / plan.reference)
    quantity = floor_to(max(wished, 0.0), filters.step)
    refusal = filters.refusal(quantity, plan.reference)
    if refusal:
        log.info("%s does not follow %s: %s", settings.name, new.id[:8], refusal)
    return 0.0 if refusal else quantity


class PaperAccount:
    "An account whose orders are filled by the ladder itself, from the same candles as the reference."

    mode = "paper"

    def __init__(self, account: Account, settings: AccountSettings, filters: dict[str, Filters], rules: Rules):
        self.id, self.settings, self.filters, self.rules = account.id, settings, filters, rules
        self.cash = account.start_balance  # with everything realised
        self.open: dict[str, tuple[str, str, int, Ladder]] = {}  # strategy, symbol, minutes, position by signal
        self.prices: dict[str, float] = {}

    async def load(self, session: AsyncSession) -> None:
        "Take up what the database holds."
        held = select(Tracker, SignalRow).join(SignalRow, SignalRow.id == Tracker.signal_id)
        rows = await session.execute(held.where(Tracker.account_id == self.id))
        for tracker, signal in rows:
            ladder = loads(pattern(self.rules), tracker.ladder)
            if ladder.state < CLOSED:
                self.open[signal.id] = (signal.strategy, signal.symbol, signal.minutes, ladder)
            elif ladder.state == CLOSED:
                self.cash += result(ladder).net

    @property
    def held(self) -> set[str]:
        return {symbol for _, symbol, _, _ in self.open.values()}

    async def recover(self) -> None: ...

    async def before(self, time: int) -> None: ...

    async def plan(self, session: AsyncSession, cycle: Cycle, steps: dict[str, list[Step]], paid: Paid) -> None:
        "Step what is open, follow what is new, note the equity."
        for id, (strategy, symbol, minutes, ladder) in list(self.open.items()):
            for step in steps.get(symbol, ()):
                after = stepped(ladder, strategy, symbol, minutes, step, paid)
                await keep_move(session, Move(id, symbol, ladder, after), self.id)
                ladder = after
            self.open[id] = (strategy, symbol, minutes, ladder)
            if ladder.state >= CLOSED:
                del self.open[id]
                self.cash += result(ladder).net if ladder.state == CLOSED else 0.0
        self.prices.update({symbol: some[-1].bar.close for symbol, some in steps.items() if some})
        equity = self.equity()
        for new in cycle.published:
            await self.follow(session, new, equity)
        await put(session, Equity, [dict(account_id=self.id, time=cycle.time, equity=equity)])

    def equity(self) -> float:
        "Cash, and what open positions would bring at the last closes."
        open_now = ((symbol, ladder) for _, symbol, _, ladder in self.open.values() if ladder.state >= OPEN and symbol in self.prices)
        return self.cash + sum(result(ladder, self.prices[symbol]).net for symbol, ladder in open_now)

    async def follow(self, session: AsyncSession, new: Published, equity: float) -> None:
        "One position a symbol: a further signal on the same side confirms it, on the other side finds it leaving or is left alone."
        c = new.candidate
        if any(symbol == c.symbol and not ladder.leaving for _, symbol, _, ladder in self.open.values()):
            return
        quantity = sized(self.settings, equity, new, self.filters[c.symbol])
        if not quantity:
            return
        f = self.filters[c.symbol]
        ladder = waiting(c.signal, c.time, f.tick, self.rules, f.step, quantity, f.min_quantity)
        self.open[new.id] = (c.strategy, c.symbol, c.minutes, ladder)
        session.add(Tracker(signal_id=new.id, account_id=self.id, **tracker_columns(ladder)))

    async def perform(self) -> None: ...

    async def opened(self, time: int) -> None: ...

    async def news(self) -> AsyncIterator[None]:
        for nothing in ():
            yield nothing

    async def attend(self, time: int) -> None: ...


async def account_row(session: AsyncSession, settings: AccountSettings, venue: str, mode: str, currency: str, now: int) -> Account:
    "The account of that name, made if it is new."
    found = (await session.scalars(select(Account).where(Account.name == settings.name))).one_or_none()
    if found is None:
        found = Account(name=settings.name, venue=venue, mode=mode, currency=currency, start_balance=settings.balance, created_at=now)
        session.add(found)
        await session.flush()
    if found.mode != mode:
        raise ConfigError(f"account {settings.name!r} is a {found.mode} account in this database: give the {mode} one another name")
    return found


