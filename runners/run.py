"Composition: settings become a database, a page, a way to the readers and a service, opened in that order and closed in the other."

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from runners.db.connect import Database, open_database
from runners.http.app import make_app
from runners.http.server import open_socket, serving
from runners.live.service import Service, named_strategies, open_service, venue_name
from runners.settings import Settings, Telegram
from runners.state import ServiceState
from runners.supervisor import keep_running, together
from runners.telegram.console import CHANNEL, ConsoleSender
from runners.telegram.outbox import Outbox
from runners.telegram.pace import Pace
from runners.telegram.ports import Unavailable, Unreachable, WallClock
from runners.telegram.queries import DatabaseQueries
from runners.telegram.store import SqlOutbox

if TYPE_CHECKING:
    from runners.telegram.bot import Bot

log = logging.getLogger(__name__)
CLOCK = WallClock()


class Running:
    "A service with its surroundings, while it runs."

    def __init__(self, settings: Settings, db: Database, state: ServiceState, page: str, bot: "Bot | None"):
        self.settings, self.db, self.state, self.page, self.bot = settings, db, state, page, bot
        self.service: Service | None = None
        self.stop = asyncio.Event()
        self.brief = False  # whether the terminal has a view of its own, beside which a message is one line

    def tick(self, symbol: str) -> float:
        "The venue's price tick; 0 where it is not known, or not yet."
        return self.service.exchange.ticks.get(symbol, 0.0) if self.service else 0.0


@asynccontextmanager
async def surroundings(settings: Settings) -> AsyncIterator[Running]:
    "Database, page and bot. What a person can mend is found before anything is written: a wrong strategy, job, port, token or database."
    named_strategies(settings)
    if settings.jobs.schedule:
        from runners.jobs.schedule import plan

        plan(settings.jobs)
    async with AsyncExitStack() as stack:
        taken = open_socket(settings.http) if settings.http.enabled else None
        if taken:
            stack.callback(taken.close)
        bot = await stack.enter_async_context(bot_of(settings.telegram)) if settings.telegram.token.get_secret_value() else None
        db = await open_database(settings.database)
        stack.push_async_callback(db.close)
        state, page = ServiceState(mode=settings.mode, venue=venue_name(settings)), ""
        if taken:
            page = await stack.enter_async_context(serving(make_app(db, state, settings.http), settings.http, taken))
        running = Running(settings, db, state, page, bot)
        if bot:
            bot.queries = DatabaseQueries(db, state, CLOCK, running.tick)
        yield running


class Starting:
    "The bot's questions before there is a database."

    def __getattr__(self, name: str):
        raise Unavailable("the service is starting")


@asynccontextmanager
async def bot_of(settings: Telegram) -> AsyncIterator["Bot"]:
    "The bot, logged in if Telegram can be reached; a token that it refuses is a ConfigError, an outage is left to the supervisor."
    from runners.telegram.bot import Bot
    from runners.telegram.session import keep_session, kept_session

    token = settings.token.get_secret_value()
    starting: Any = Starting()
    bot = Bot(starting, Pace(CLOCK), token=token, api_id=settings.api_id, api_hash=settings.api_hash.get_secret_value(),
              session=kept_session(settings.session, token), server=settings.server)
    try:
        try:
            await bot.connect()
            keep_session(settings.session, token, bot.session)
        except Unreachable as outage:
            log.warning("%s; the bot tries again", outage)
        yield bot
    finally:
        await bot.close()


async def messages(running: Running, console: Console | None) -> None:
    "Send what the outbox holds: by the bot, or to the terminal where there is none."
    if running.bot is None:
        outbox = Outbox(SqlOutbox(running.db, CHANNEL), ConsoleSender(console, running.brief), CLOCK, Pace(CLOCK, 1_000, 0))
        await together(outbox.run(), forward(running, outbox.notify))
    else:
        outbox = Outbox(SqlOutbox(running.db), running.bot.sender, CLOCK, running.bot.pace)
        await together(running.bot.run(), outbox.run(), forward(running, outbox.notify))


async def forward(running: Running, notify: Callable[[], None]) -> None:
    "Wake the sender when the service has written a message."
    while running.service:
        await running.service.notify.wait()
        running.service.notify.clear()
        notify()


async def jobs(running: Running) -> None:
    "Run the schedule of jobs, where the settings hold one."
    if not running.settings.jobs.schedule:
        return
    from runners.jobs.schedule import plan
    from runners.jobs.scheduler import scheduler_of

    settings = running.settings
    await scheduler_of(settings, running.db, plan(settings.jobs), running.state.metrics).run()


async def follow_replay(running: Running) -> None:
    "Keep the progress of a replay, and say when it has ended."
    service = running.service
    while service and service.settings.venue.replay and not service.exchange.pacer.lockstep:
        where = await service.exchange.pacer.status()
        running.state.progress = where["progress"]
        if where["phase"] == "done" and service.last >= where["time"]:
            service.stopping.set()
            return
        await asyncio.sleep(0.25)


async def run(
    settings: Settings,
    console: Console | None = None,
    watch: Callable[[Running], AsyncIterator[None]] | None = None,
    keep_serving: bool = False,
) -> Running:
    """Run a service until it is told to stop (SIGTERM, SIGINT) or its replay ends.

    With `keep_serving` the page stays after that until it is told to stop; `watch` is a context around the run, such as a terminal view.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(surroundings(settings))
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, running.stop.set)
        if watch:
            running.brief = True
            await stack.enter_async_context(asynccontextmanager(watch)(running))
        if running.page:
            log.info("page: %s", running.page)
        work = asyncio.create_task(serve(running, console), name="service")
        stopped = asyncio.create_task(running.stop.wait(), name="stop")
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and running.service:
                running.service.stopping.set()
            elif not work.done():
                work.cancel()
            await asyncio.wait({work}, timeout=30)
            if work.done() and not work.cancelled():
                work.result()
            if keep_serving and not running.stop.is_set():
                await stopped
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)
        return running


async def serve(running: Running, console: Console | None) -> None:
    "The service with its side tasks, from preparation to its end."
    settings, state = running.settings, running.state
    async with open_service(settings, running.db, state, console=running.bot is None) as service:
        running.service = service
        works = dict(
            messages=lambda: messages(running, console), replay=lambda: follow_replay(running), jobs=lambda: jobs(running))
        sides = [asyncio.create_task(keep_running(name, work, state.metrics), name=name) for name, work in works.items()]
        main = asyncio.create_task(service.run(), name="cycles")
        try:
            done, _ = await asyncio.wait({main, sides[0]}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if main not in done:
                await main
            await drain(running)
        finally:
            for task in (main, *sides):
                task.cancel()
            await asyncio.gather(main, *sides, return_exceptions=True)
        if settings.venue.replay and not running.stop.is_set():
            state.summary, state.done, state.progress = await service.summary(), True, 1.0


async def drain(running: Running, within: float = 3.0) -> None:
    "Give the last messages a moment to go out; what remains goes out at the next start."
    from perps_kit.storage.outbox import depth

    until = asyncio.get_running_loop().time() + within
    if running.service:
        running.service.notify.set()
    while asyncio.get_running_loop().time() < until:
        async with running.db.read() as session:
            if not await depth(session):
                return
        await asyncio.sleep(0.05)
