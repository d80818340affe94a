"""The service: cycle after cycle, each committed before anybody outside hears of it.

What it is made of is put together here and nowhere else; two services with other settings can live in one process.
"""

import asyncio
import logging
import time as wall
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from math import nan
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from perps_kit.core.clock import iso, timeframe_of
from perps_kit.core.registry import strategy
from perps_kit.core.stream import Step, Stream
from perps_kit.engine.engine import Engine
from perps_kit.risk.memory import Memory
from perps_kit.scoring.book import Pipeline
from perps_kit.scoring.context import KEPT, context_features, context_of
from perps_kit.storage import queries
from perps_kit.trackers.plan import Rules
from runners.db.connect import Database
from runners.errors import ConfigError
from runners.live import start
from runners.live.accounts import Follower, PaperAccount, account_row
from runners.live.book import Odds, keep_cycle
from runners.live.feed import Arrival, Feed
from runners.live.funding import FundingDesk
from runners.live.venue import Exchange, open_venue
from runners.settings import Settings
from runners.state import ServiceState
from runners.supervisor import keep_running

log = logging.getLogger(__name__)


class Service:
    "One venue, one set of strategies, any number of accounts. `console`: whether messages go to the terminal for want of a bot."

    def __init__(self, settings: Settings, db: Database, exchange: Exchange, state: ServiceState, console: bool, rules: Rules = Rules()):
        self.settings, self.db, self.exchange, self.state, self.console = settings, db, exchange, state, console
        self.strategies = named_strategies(settings)
        self.engine = Engine(self.strategies, pipeline_of(settings), rules, exchange.ticks, Memory.of(settings.memory.terms))
        context = context_features(settings.minutes)
        self.streams = {s: Stream(self.strategies, s, settings.minutes, context, KEPT) for s in settings.symbols}
        self.frames = {*next(iter(self.streams.values())).plan.own.values()} if self.streams else set()
        self.feed = Feed(exchange, settings.minutes, state.metrics, settings.patience, settings.stale)
        self.funding, self.followers = FundingDesk(exchange, state.metrics), list[Follower]()
        self.odds = odds_of(settings)
        self.last, self.cycles = 0, 0
        self.notify = asyncio.Event()  # there are new messages
        self.stopping = asyncio.Event()
        self.under_way: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()  # one cycle, or one look at an account, at a time

    async def prepare(self) -> None:
        "From whatever the last service left to the state it would be in had it never stopped."
        self.state.mode, self.state.venue = self.settings.mode, venue_name(self.settings)
        self.last = await start.wake(self.db, self.feed, self.streams, self.settings, self.state)
        seen = ((s, context_of(stream.seen())) for s, stream in self.streams.items())
        self.engine.market.update({s: context for s, context in seen if context})
        async with self.db.read() as session:
            await start.resume(session, self.engine, self.settings)
            await start.remember(session, self.engine, self.settings)
        await self.open_accounts()
        for follower in self.followers:
            await follower.recover()
        self.state.time = max(self.last, *(s.last.close_time for s in self.streams.values() if s.last), 0)
        self.state.wait_for()

    async def open_accounts(self) -> None:
        "The accounts of the settings, in the mode of the settings."
        if self.settings.mode in ("research", "signals"):
            return
        live = self.settings.mode == "live"
        if live and len(self.settings.accounts) > 1:
            raise ConfigError("mode live has one exchange key and so one account: leave one under accounts")
        for wished in self.settings.accounts:
            async with self.db.write() as session:
                row = await account_row(session, wished, self.exchange.venue, "live" if live else "paper", "USDT", self.state.time)
                if not live:
                    frame, quiet = self.settings.minutes, self.console
                    paper = PaperAccount(row, wished, self.exchange.filters, self.engine.rules, self.engine, frame, quiet)
                    await paper.load(session)
                    self.followers.append(paper)
                    continue
            from runners.live.orders import LiveAccount

            self.followers.append(LiveAccount(row, wished, self.exchange, self.db, self.engine.rules,
                                              lag=self.settings.max_lag, settle=self.settings.venue.settle, console=self.console,
                                              engine=self.engine, minutes=self.settings.minutes))

    async def run(self) -> None:
        "Evaluate until the replay ends or somebody stops the service."
        watcher = asyncio.create_task(self.feed.watch(), name="klines")
        stopped = asyncio.create_task(self.stopping.wait(), name="stop")
        between = [
            asyncio.create_task(keep_running("account", lambda f=f: self.tend(f), self.state.metrics, (SQLAlchemyError,)), name="account")
            for f in self.followers if not self.exchange.pacer.lockstep]
        work = asyncio.create_task(self.lockstep() if self.exchange.pacer.lockstep else self.flow(), name="cycles")
        done, waiting = set[asyncio.Task[Any]](), {watcher, stopped, work, *between}
        try:
            while not done & {watcher, stopped, work}:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises what ended it
        finally:
            for task in (watcher, stopped, work, *between):
                task.cancel()
            await asyncio.gather(watcher, stopped, work, *between, return_exceptions=True)
            if self.under_way:
                await self.under_way

    async def whole(self, work: Coroutine[Any, Any, None]) -> None:
        "Run what a stop must not cut in two: what has been stepped is also committed, what has been entered is also protected."
        try:
            await self.turn.acquire()
        except asyncio.CancelledError:
            work.close()
            raise
        try:
            self.under_way = asyncio.create_task(work, name="cycle")
            await asyncio.shield(self.under_way)
        finally:
            if self.under_way and self.under_way.done():
                self.under_way = None
            self.turn.release()

    async def tend(self, follower: Follower) -> None:
        "See to an account between two cycles, whenever its venue tells something."
        async for _ in follower.news():
            await self.whole(follower.attend(self.last))

    async def flow(self) -> None:
        "Cycles as the venue's clock brings them."
        self.feed.distrust.set()  # what closed while the service was starting
        await self.exchange.pacer.start()
        async for arrival in self.feed.cycles():
            await self.whole(self.acted(arrival))

    async def lockstep(self) -> None:
        "Cycles between the replay's barriers, wherever it stands now."
        pacer, arrivals = self.exchange.pacer, self.feed.cycles(lockstep=True)
        where = await pacer.status()
        self.feed.distrust.set()
        while where["phase"] != "done":
            if where["phase"] == "close":
                while self.last < where["time"] and any(last < where["time"] for last in self.feed.last.values()):
                    await self.whole(self.cycle(await anext(arrivals)))
                where = await pacer.release(where["time"], "close")
            if where["phase"] == "open":
                await self.whole(self.opened(where["time"]))
                where = await pacer.release(where["time"], "open")
            self.state.progress = where.get("progress", self.state.progress)

    async def acted(self, arrival: Arrival) -> None:
        "A cycle and what its orders brought: no stop comes between an entry and its protection."
        await self.cycle(arrival)
        await self.opened(arrival.time)

    async def opened(self, time: int) -> None:
        "The bar after a close has opened: accounts learn of their fills and protect them."
        for follower in self.followers:
            await follower.opened(time)

    async def cycle(self, arrival: Arrival) -> None:
        "Everything of one close time: step, judge, write, and only then act."
        begun, now = wall.perf_counter(), self.venue_time(arrival)
        steps = self.step(arrival)
        stale = now - arrival.time > 1000 * self.settings.max_lag or arrival.time <= self.last
        late = {s: "it came too late to act on" for s in steps} if stale else {}
        for follower in self.followers:
            await follower.before(arrival.time)
        held = {s for s, some in self.engine.tracked.items() if some}.union(*(f.held for f in self.followers))
        funding = await self.funding.of(steps, held, self.frames)
        remembered, cycle = self.engine.book.memory, self.engine.cycle(arrival.time, steps, funding, late)
        async with self.db.write() as session:
            venue, ticks = self.exchange.venue, self.exchange.ticks
            await keep_cycle(session, venue, self.settings.minutes, cycle, steps, ticks, self.console, self.last, self.odds)
            if self.engine.book.memory is not remembered:
                await start.keep_memory(session, self.engine, cycle.time)
            for follower in self.followers:
                await follower.plan(session, cycle, steps, funding)
        self.last, self.cycles = max(self.last, arrival.time), self.cycles + 1
        self.tell(cycle, arrival, wall.perf_counter() - begun)
        for follower in self.followers:
            await follower.perform()
        if self.cycles % self.settings.snapshot_every == 0:
            await start.snapshot(self.db, self.streams, self.settings)

    def step(self, arrival: Arrival) -> dict[str, list[Step]]:
        "Step the streams; a bar that a stream refuses is counted, and the symbol waits for good data."
        steps: dict[str, list[Step]] = {}
        for symbol, bars in arrival.bars.items():
            for bar in bars:
                try:
                    steps.setdefault(symbol, []).extend(self.streams[symbol].accept(bar))
                except ValueError as error:
                    self.feed.refuse(symbol, "out of order", error)
        return steps

    def venue_time(self, arrival: Arrival) -> int:
        "The present by the clock that the closes belong to; a replay waits for nobody, and nothing in it comes too late."
        return arrival.time if self.settings.venue.replay else self.exchange.clock()

    def tell(self, cycle, arrival: Arrival, seconds: float) -> None:
        "Numbers for the page, the terminal and /metrics."
        state, m = self.state, self.state.metrics
        state.time, state.clock = self.last, wall.time_ns() // 1_000_000
        m.cycles.inc()
        m.candles.inc(sum(len(bars) for bars in arrival.bars.values()))
        m.cycle_seconds.observe(wall.monotonic() - arrival.began)
        m.open_positions.set(sum(map(len, self.engine.tracked.values())))
        for _, d in cycle.decisions:
            m.decisions.labels(d.outcome).inc()
        for new in cycle.published:
            m.signals.labels(new.candidate.strategy).inc()
            c, side = new.candidate, "long" if new.candidate.signal.side > 0 else "short"
            log.info("signal %s %s %s at %g, close %s", new.id[:8], side, c.symbol, c.signal.entry, iso(cycle.time))
        if cycle.published or any(move.after.state >= 5 for move in cycle.moves):
            self.notify.set()

    async def finish(self) -> None:
        "A graceful end: the units' states are written down."
        if self.cycles:
            await start.snapshot(self.db, self.streams, self.settings)

    async def summary(self) -> dict:
        "What a replay brought, in numbers."
        async with self.db.read() as session:
            return dict(await queries.summary(session), cycles=self.cycles)


def pipeline_of(settings: Settings) -> Pipeline:
    "The gates' settings. Strategies that are off by themselves are on where the settings name them."
    g, hours = settings.gates, tuple(sorted(settings.gates.hours.items()))
    leader = g.leader if g.leader in settings.symbols else ""
    if g.leader and not leader:
        log.warning("%s is not among the symbols: signals are not held against it", g.leader)
    return Pipeline(frozenset(g.muted), frozenset(g.disabled), frozenset(settings.strategies), g.sessions, hours, g.minimum,
                    tuple(sorted(g.minimums.items())), weigh=g.weigh, leader=leader,
                    on_opposite=g.on_opposite)


def odds_of(settings: Settings) -> Odds | None:
    "The calibrated probability of each strategy's scores, where the settings name a file of them."
    if settings.calibration is None:
        return None
    import json

    from perps_kit.backtest.calibration import calibrator

    try:
        kept = json.loads(settings.calibration.read_text(encoding="utf-8"))
        found = {name: calibrator(json.dumps(facts)) for name, facts in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError) as wrong:
        raise ConfigError(f"settings, calibration: {settings.calibration} cannot be read: {wrong}") from None
    return lambda name, final: found[name].probability(final) if name in found else nan


def venue_name(settings: Settings) -> str:
    "The venue as readers see it: a replay says that it is one."
    return f"replay of {settings.venue.id}" if settings.venue.replay else settings.venue.id


def named_strategies(settings: Settings) -> dict:
    "The strategies of the settings, their parameters checked."
    try:
        found = {name: strategy(name, **parameters) for name, parameters in settings.strategies.items()}
    except ValueError as wrong:
        raise ConfigError(f"settings, strategies: {wrong}") from None
    for name, it in found.items():
        if it.minutes % settings.minutes:
            own = timeframe_of(it.minutes)
            raise ConfigError(f"settings, strategies: {name} decides on bars of {it.minutes} minutes, which do not come of "
                              f"{settings.timeframe} candles; give it a service of its own with timeframe: {own}")
    return found


@asynccontextmanager
async def open_service(settings: Settings, db: Database, state: ServiceState, console: bool) -> AsyncIterator[Service]:
    "A service that is prepared to run; it saves its state at the end of the block."
    async with open_venue(settings) as exchange:
        service = Service(settings, db, exchange, state, console)
        await service.prepare()
        yield service
        await service.finish()
