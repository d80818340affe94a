"A live account at a small replay venue in lockstep: real SQLite, the unmodified client, signals made by hand."

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import nan

from sqlalchemy import select
from venue_kit import T0, Bench, bench, drawn

from perps_kit.core.signal import Candidate, Signal, signal_id
from perps_kit.core.stream import Step
from perps_kit.core.unit import dumps, loads
from perps_kit.engine.engine import Cycle, Move, Published, stepped, target_prices, waiting
from perps_kit.exchange.filters import Filters
from perps_kit.storage.models import Fill, Order, Outbox, Tracker
from perps_kit.trackers.plan import Rules
from runners.db.connect import Database, open_database
from runners.live.accounts import account_row
from runners.live.book import keep_move, publish
from runners.live.orders import LiveAccount
from runners.live.venue import Exchange, Pacer
from runners.settings import AccountSettings

GRID = Filters("BTCUSDT", 0.01, 0.001, 0.001)
STILL = (100.0, 100.0, 100.0, 100.0)
SETTLE = 0.3


class Life:
    "Signals at one venue: what the service does in a cycle, without strategies."

    def __init__(self, bench: Bench, db: Database, rules: Rules) -> None:
        self.bench, self.venue, self.db, self.rules = bench, bench.venue, db, rules
        self.exchange = Exchange(bench.exchange, ("BTCUSDT",), Pacer(), "binanceusdm", 1.0)
        self.references: dict[str, tuple] = {}
        self.account: LiveAccount

    @property
    def close(self) -> int:
        "The newest close."
        return self.venue.time - self.venue.time % self.venue.span

    async def start(self, **options) -> LiveAccount:
        "A service that starts: a new account object over the same database."
        wished = AccountSettings(name="main", leverage=10)
        async with self.db.write() as session:
            row = await account_row(session, wished, "binanceusdm", "live", "USDT", self.venue.time)
        self.account = LiveAccount(row, wished, self.exchange, self.db, self.rules, settle=SETTLE, console=True, **options)
        await self.account.recover()
        return self.account

    def signal(self, side=1, entry=100.0, stop=98.5, atr=1.0, preset=0, strategy="ema_scalper") -> Published:
        "A signal at the close where the venue stands."
        m, t = self.venue.markets["BTCUSDT"], self.close
        s = Signal(side, 0, entry, stop, preset, nan, nan, nan, atr, 8.0, 0, ())
        c = Candidate(strategy, "BTCUSDT", 15, t, s, m.bars[m.index - 1], True, T0, {})
        ladder = waiting(s, t, GRID.tick, self.rules)
        return Published(signal_id(strategy, "BTCUSDT", side, 15, t), c, 80.0, ladder, target_prices(ladder))

    async def commit(self, *published: Published, leave: int = 0) -> None:
        "A cycle up to its commit."
        m, t = self.venue.markets["BTCUSDT"], self.close
        bar = m.bars[m.index - 1]
        step = Step(bar, [], {"ema_scalper": leave} if leave else {}, {15: bar})
        await self.account.before(t)
        async with self.db.write() as session:
            for new in published:
                await publish(session, "binanceusdm", new, "swing", t, GRID.tick, True)
            for id, (symbol, before) in list(self.references.items()):
                after = stepped(before, "ema_scalper", "BTCUSDT", 15, step, {})
                if after is not before:
                    await keep_move(session, Move(id, "ema_scalper", symbol, before, after), None)
                self.references[id] = (symbol, after)
            await self.account.plan(session, Cycle(t, [], [], list(published)), {"BTCUSDT": [step]}, {})
        self.references |= {new.id: ("BTCUSDT", new.ladder) for new in published}

    async def bar(self, *published: Published, leave: int = 0) -> list[dict]:
        "A whole bar: cycle, fills of its open, protection, trade; the fills."
        await self.commit(*published, leave=leave)
        await self.account.perform()
        fills = (await self.bench.barrier("close"))["fills"]
        await self.account.opened(self.venue.time)
        return fills + (await self.bench.barrier("open"))["fills"]

    async def requests(self, *published: Published) -> list[str]:
        "The requests of one bar to the venue."
        client, made = self.exchange.client, []
        fetch = client.fetch

        async def counted(url, *more):
            made.append(url.split("?")[0])
            return await fetch(url, *more)

        client.fetch = counted
        await self.bar(*published)
        client.fetch = fetch
        return made

    async def rows(self, model) -> list:
        async with self.db.read() as session:
            return list(await session.scalars(select(model)))

    async def orders(self) -> dict[str, Order]:
        "By kind and version."
        return {f"{o.kind}.{o.version}": o for o in await self.rows(Order)}

    async def tracker(self) -> Tracker:
        return next(t for t in await self.rows(Tracker) if t.account_id is not None)

    async def fills(self) -> list[tuple[str, float, float]]:
        kinds = {o.client_id: o.kind for o in await self.rows(Order)}
        return [
            (kinds.get(f.client_id, f.client_id[:3]), f.price, f.quantity)
            for f in sorted(await self.rows(Fill), key=lambda f: (f.time, int(f.trade_id)))
        ]

    async def alerts(self) -> list[str]:
        return [row.payload["title"] for row in await self.rows(Outbox) if row.kind == "alert"]

    def resting(self) -> list[str]:
        "Kinds of what rests at the venue."
        a = self.venue.accounts[self.venue.key]
        rows = [*a.open_orders.get("BTCUSDT", ()), *a.open_algos.get("BTCUSDT", ())]
        return sorted(row.client_id.rsplit("-", 1)[0] for row in rows)

    def names(self) -> list[str]:
        "Every order that the venue ever took, conditional ones first; a duplicate would be there twice."
        a = self.venue.accounts[self.venue.key]
        return [x.client_id for x in a.algos.values()] + [o.client_id for o in a.orders.values() if not o.algo]

    @property
    def position(self) -> float:
        return self.venue.accounts[self.venue.key].position("BTCUSDT").quantity

    async def fault(self, kind: str, **more) -> None:
        await self.bench.control("fault", kind=kind, **more)

    async def agree(self) -> bool:
        "Whether the account's position tells the same story as the reference, bit for bit; only quantities differ."
        ((_, reference),) = self.references.values()
        mine = loads(reference, (await self.tracker()).ladder)
        return dumps(mine._replace(plan=reference.plan)) == dumps(reference)


@asynccontextmanager
async def living(tmp_path, *rows, rules: Rules = Rules(), start: bool = True, **options) -> AsyncIterator[Life]:
    "A venue of drawn candles with an account that has started."
    async with bench(drawn(*rows), filters={"BTCUSDT": GRID}, **options) as b:
        db = await open_database(f"sqlite:///{tmp_path}/live.db")
        try:
            life = Life(b, db, rules)
            if start:
                await life.start()
            yield life
        finally:
            await life.exchange.pacer.close()
            await db.close()
