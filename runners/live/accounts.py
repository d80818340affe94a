"""Accounts that follow the signals: the port that paper and live accounts share, and the paper one.

A cycle asks twice: `plan` inside the cycle's transaction writes down what is to be done, `perform` after it does it. So a kill at
any moment leaves either nothing or a written intention.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.stream import Step
from perps_kit.core.unit import loads
from perps_kit.engine.engine import Cycle, Engine, Move, Paid, Published, stepped
from perps_kit.engine.follow import holding_of, valued
from perps_kit.exchange.filters import Filters
from perps_kit.storage.keep import put
from perps_kit.storage.models import Account, Equity, SignalRow, Tracker
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import worth
from perps_kit.trackers.plan import CLOSED, OPEN, Rules
from runners.errors import ConfigError
from runners.live.book import keep_move, tracker_columns
from runners.live.following import Following
from runners.settings import AccountSettings


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


class PaperAccount:
    "An account whose orders are filled by the ladder itself, from the same candles as the reference."

    mode = "paper"

    def __init__(self, account: Account, settings: AccountSettings, filters: dict[str, Filters], rules: Rules, engine: Engine | None = None,
                 minutes: int = 15, console: bool = False):
        self.id, self.rules, self.minutes = account.id, rules, minutes
        self.following = Following(account.id, settings, filters, rules, engine, account.start_balance, console)
        self.open: dict[str, tuple[str, str, int, Ladder]] = {}  # strategy, symbol, minutes, position by signal
        self.prices: dict[str, float] = {}

    async def load(self, session: AsyncSession) -> None:
        "Take up what the database holds, positions in the order in which they were taken."
        await self.following.load(session)
        held = select(Tracker, SignalRow).join(SignalRow, SignalRow.id == Tracker.signal_id)
        open_now = held.where(Tracker.account_id == self.id, Tracker.closed_at.is_(None)).order_by(Tracker.id)
        for tracker, signal in await session.execute(open_now):
            self.open[signal.id] = (signal.strategy, signal.symbol, signal.minutes, loads(pattern(self.rules), tracker.ladder))

    @property
    def held(self) -> set[str]:
        return {symbol for _, symbol, _, _ in self.open.values()}

    async def recover(self) -> None: ...

    async def before(self, time: int) -> None: ...

    async def plan(self, session: AsyncSession, cycle: Cycle, steps: dict[str, list[Step]], paid: Paid) -> None:
        "Step what is open, note the equity, answer to what is new."
        await self.following.heed(session)
        for id, (strategy, symbol, minutes, ladder) in list(self.open.items()):
            for step in steps.get(symbol, ()):
                after = stepped(ladder, strategy, symbol, minutes, step, paid)
                await keep_move(session, Move(id, strategy, symbol, ladder, after), self.id)
                ladder = after
            self.open[id] = (strategy, symbol, minutes, ladder)
            if ladder.state >= CLOSED:
                del self.open[id]
                self.following.ended(cycle.time, ladder)
        self.prices.update({symbol: some[-1].bar.close for symbol, some in steps.items() if some})
        equity = self.equity()
        await self.following.mark(session, cycle.time, equity)
        for new in cycle.published:
            await self.follow(session, new)
        await put(session, Equity, [dict(account_id=self.id, time=cycle.time, equity=equity)])
        await self.following.save(session, cycle.time)

    def equity(self) -> float:
        "What is realised, and what open positions would bring at the last closes."
        open_now = ((symbol, ladder) for _, symbol, _, ladder in self.open.values() if ladder.state >= OPEN and symbol in self.prices)
        return valued(self.following.account.balance, (worth(ladder, self.prices[symbol]) for symbol, ladder in open_now))

    async def follow(self, session: AsyncSession, new: Published) -> None:
        "Take a position if the account's rules agree."
        leverage, c = self.following.terms.leverage, new.candidate
        held = [holding_of(id, strategy, symbol, ladder, leverage) for id, (strategy, symbol, _, ladder) in self.open.items()]
        ladder = await self.following.answer(session, new, held, self.minutes)
        if ladder is None:
            return
        self.open[new.id] = (c.strategy, c.symbol, c.minutes, ladder)
        session.add(Tracker(signal_id=new.id, account_id=self.id, **tracker_columns(ladder)))
        await session.flush()  # trackers are numbered in the order in which they are taken

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


