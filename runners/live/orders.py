"""The live account: the port that paper trading fills from candles, filled here by orders at a venue.

Nothing is sent that was not first committed as an intention, and what should rest at the venue is worked out anew each time from the
position, so that a cycle, an event and a start after a kill all do the same thing: look, compare, write, send.
"""

import asyncio
import logging
import time as wall
from collections.abc import AsyncIterator, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.clock import HOUR
from perps_kit.core.stream import Step
from perps_kit.engine.engine import Cycle, Engine, Move, Paid, Published
from perps_kit.engine.follow import holding_of
from perps_kit.exchange.orders import entry_order
from perps_kit.risk.account import Holding
from perps_kit.storage.keep import put
from perps_kit.storage.models import Account, Equity, Tracker
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.plan import CLOSED, Rules
from runners.db.connect import Database
from runners.errors import ConfigError
from runners.live.book import keep_move, tracker_columns
from runners.live.execution.answers import Balance, trouble
from runners.live.execution.desk import Desk
from runners.live.execution.ledger import keep, keep_ladder, load
from runners.live.execution.position import UNSURE, Position
from runners.live.execution.sender import Sender
from runners.live.execution.survey import Surveyor, astray
from runners.live.following import Following
from runners.live.venue import Exchange
from runners.settings import AccountSettings

log = logging.getLogger(__name__)
QUIET = 600.0  # seconds without an event of the account after which it is looked at all the same


class LiveAccount:
    """An account at a venue.

    `lag`: seconds after which an entry comes too late; `settle`: how late a request can still be applied, else as the venue's profile says.
    """

    mode = "live"

    def __init__(
        self,
        account: Account,
        settings: AccountSettings,
        exchange: Exchange,
        db: Database,
        rules: Rules,
        *,
        lag: float = 60.0,
        settle: float | None = None,
        console: bool = False,
        engine: Engine | None = None,
        minutes: int = 15,
    ):
        self.account, self.id, self.settings, self.exchange, self.db, self.rules = account, account.id, settings, exchange, db, rules
        self.desk = Desk(exchange, settle)
        self.surveyor = Surveyor(self.desk, exchange.venue)
        self.sender = Sender(self.desk, self.surveyor, db, settings.name, settings.leverage, lag, console)
        self.positions: dict[str, Position] = {}  # by signal
        self.equity, self.minutes = account.start_balance, minutes
        self.following = Following(account.id, settings, exchange.filters, rules, engine, account.start_balance, console)

    @property
    def held(self) -> set[str]:
        "Symbols in which something is open."
        return {p.symbol for p in self.positions.values()}

    async def recover(self) -> None:
        "Take up what the last service left: naked positions first, then orders with an unknown fate."
        try:
            await self.desk.check_mode(self.settings.name)
            self.following.tiers = await self.desk.tiers(self.exchange.filters)
            balance = await self.desk.balance()
            self.equity, self.sender.now = balance.equity, await self.exchange.now()
        except trouble() as error:
            raise ConfigError(f"{self.exchange.venue} says nothing about account {self.settings.name!r}: {error}; try again") from None
        async with self.db.read() as session:
            self.positions = await load(session, self.account, self.exchange.filters, self.rules)
            await self.following.load(session)
        everything = list(self.positions.values())
        naked = [p for p in everything if not any(o.kind == "stop" and o.state == "open" for o in p.orders.values())]
        doubtful = await self.put_right(naked, sure=False)
        doubtful += await self.put_right([p for p in everything if p not in naked], sure=False)
        if doubtful:
            last = max(o.updated_at for p in doubtful for o in p.orders.values() if o.kind == "entry")
            await asyncio.sleep(max(0.0, self.desk.settle - (wall.time_ns() // 1_000_000 - last) / 1000))
            await self.put_right(doubtful, sure=True)
        await self.check(await self.desk.balance() if self.positions else balance)
        await self.settle(list(self.positions.values()))

    def of(self, symbol: str) -> list[Position]:
        return [p for p in self.positions.values() if p.symbol == symbol]

    async def put_right(self, positions: Sequence[Position], sure: bool = True) -> list[Position]:
        "Look at positions, write what follows, send it. Unless `sure`, those whose entry the venue does not know are left and given back."
        for p in positions:
            await self.surveyor.survey(p)
        doubtful = [] if sure else [p for p in positions if any(o.kind == "entry" and o.state in UNSURE for o in p.orders.values())]
        await self.settle([p for p in positions if p not in doubtful])
        return doubtful

    async def settle(self, positions: Sequence[Position]) -> None:
        "Entries become positions, positions get what they want; written, then sent."
        async with self.db.write() as session:
            for p in positions:
                before = p.ladder
                p.enter(self.sender.now)
                p.arrange(self.sender.now)
                await self.keep(session, p, before, self.sender.now)
            await keep(session, positions)
        await self.sender.send(positions)

    async def keep(self, session: AsyncSession, p: Position, before: Ladder, time: int) -> None:
        "Write a position, and with its end what the account learns of it."
        await keep_ladder(session, p, before)
        if p.ladder.state >= CLOSED > before.state:
            self.following.ended(time, p.ladder)
            await self.following.save(session, time)

    async def check(self, balance: Balance) -> None:
        "Compare what the venue holds with what we believe; positions that no signal of ours explains are told of and left alone."
        for symbol in sorted({*balance.held, *self.held}):
            mine = self.of(symbol)
            if beyond := await self.surveyor.check(symbol, mine, balance) if mine else astray(symbol, mine, balance):
                name, venue = self.settings.name, self.exchange.venue
                log.warning("%s: %s holds %g %s that no signal explains", name, venue, beyond, symbol)
                text = f"{name}: {venue} holds {beyond:g} {symbol} that no signal of this service explains; it is left alone."
                async with self.db.write() as session:
                    await self.sender.alert(session, "Unknown position", text, f"stranger|{self.settings.name}|{symbol}|{beyond:g}")

    async def before(self, time: int) -> None:
        "Before a cycle: what the venue filled up to now. Nothing is asked where nothing is open, but for the equity once an hour."
        self.sender.now = time
        if not self.positions and time % HOUR:
            return
        try:
            async with asyncio.timeout(2 * self.exchange.timeout):  # a cycle does not wait for a rate limit
                balance = await self.desk.balance()
                self.equity = balance.equity
                await self.check(balance)
        except trouble() as error:
            log.warning("%s: no answer about the account: %s", self.settings.name, error)
            for p in self.positions.values():
                p.known = False
        if any(p.dirty for p in self.positions.values()):
            async with self.db.write() as session:
                await keep(session, self.positions.values())

    async def plan(self, session: AsyncSession, cycle: Cycle, steps: dict[str, list[Step]], paid: Paid) -> None:
        "Step what is open on the venue's fills, intend what it wants now, follow what is new."
        held = list[Holding]()
        await self.following.heed(session)
        for p in self.positions.values():
            p.learn(steps.get(p.symbol, ()), paid)
            before = p.ladder
            p.enter(cycle.time)
            await self.keep(session, p, before, cycle.time)
            for a, b in p.advance():
                await keep_move(session, Move(p.id, p.strategy, p.symbol, a, b), self.id)
                if b.state >= CLOSED > a.state:
                    self.following.ended(cycle.time, b)
            p.arrange(cycle.time)
            if p.ladder.state < CLOSED:
                one = holding_of(p.id, p.strategy, p.symbol, p.ladder, self.settings.leverage)
                held.append(one._replace(leaving=one.leaving and not before.leaving))  # one that should have gone is still in the way
        await self.following.mark(session, cycle.time, self.equity)
        for new in cycle.published:
            held += await self.follow(session, new, held)
        await self.following.save(session, cycle.time)
        await keep(session, self.positions.values())
        self.positions = {id: p for id, p in self.positions.items() if not p.over}
        await put(session, Equity, [dict(account_id=self.id, time=cycle.time, equity=self.equity)])

    async def follow(self, session: AsyncSession, new: Published, held: list[Holding]) -> list[Holding]:
        "Intend an entry if the account's rules agree; what it will hold."
        c, f = new.candidate, self.exchange.filters[new.candidate.symbol]
        ladder = await self.following.answer(session, new, held, self.minutes)
        if ladder is None:
            return []
        p = self.positions[new.id] = Position(self.account.name, self.id, new.id, c.strategy, c.symbol, c.minutes, f, ladder)
        self.sender.fresh.add(p.intend(entry_order(ladder.plan), c.time).client_id)
        session.add(Tracker(signal_id=new.id, account_id=self.id, **tracker_columns(ladder)))
        return [holding_of(p.id, p.strategy, p.symbol, ladder, self.settings.leverage)]

    async def perform(self) -> None:
        "Send what the cycle wrote, until the venue has acknowledged it."
        await self.sender.send(list(self.positions.values()))
        self.sender.fresh.clear()
        self.positions = {id: p for id, p in self.positions.items() if not p.over}

    async def opened(self, time: int) -> None:
        "The next bar has opened: entries and closes are filled, positions get their stops and targets."
        if waiting := [p for p in self.positions.values() if p.awaited]:
            try:
                await self.put_right(waiting)
            except trouble() as error:
                log.warning("%s: no answer about fills: %s", self.settings.name, error)

    async def attend(self, time: int) -> None:
        "Between two cycles: something happened at the venue."
        if self.positions:
            await self.before(time)
            await self.settle(list(self.positions.values()))

    async def news(self) -> AsyncIterator[None]:
        "A hint each time that the venue tells something about the account, and after long silence; the truth is asked for."
        pause = 1.0
        while True:
            try:
                async with asyncio.timeout(QUIET):
                    await self.exchange.client.watch_orders()
                pause = 1.0
            except TimeoutError:
                pass
            except trouble() as error:
                log.warning("%s: no events of the account: %s; asking again in %.0f s", self.settings.name, error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 60.0)
            yield
