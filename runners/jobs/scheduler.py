"Runs the schedule: each planned time once, by whichever instance is first; what is cut off or missed is caught up once."

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError

from perps_kit.core.clock import iso
from perps_kit.storage import jobs as kept
from perps_kit.storage.models import JobRun
from runners.db.connect import Database
from runners.errors import ConfigError
from runners.jobs.claims import HELD, Claims, lease, this_instance, told
from runners.jobs.launch import launch
from runners.jobs.retention import tidy
from runners.jobs.schedule import Planned, turn
from runners.jobs.settings import JobsSettings
from runners.logs import redacted
from runners.metrics import Metrics
from runners.settings import Settings
from runners.telegram.console import CHANNEL
from runners.telegram.ports import Clock, WallClock

log = logging.getLogger(__name__)
POLL = 30.0  # seconds between two looks at what others have left undone


class Scheduler:
    "Looks at the clock and the database, and runs what is due. Whoever was killed leaves a row behind from which the next one goes on."

    def __init__(self, db: Database, settings: JobsSettings, planned: list[Planned], clock: Clock | None = None, *,
                 channel: str = "telegram", metrics: Metrics | None = None, environ: Mapping[str, str] | None = None,
                 held: int = HELD, instance: str = "", launch: Callable[..., dict[str, Any]] = launch) -> None:
        self.db, self.settings, self.planned, self.clock = db, settings, planned, clock or WallClock()
        self.claims = Claims(db, settings.folder.resolve(), channel, instance or this_instance(), held)
        self.metrics, self.environ, self.launch, self.stop = metrics, environ, launch, asyncio.Event()
        self.slots, self.pool = asyncio.Semaphore(settings.at_once), ThreadPoolExecutor(settings.at_once, "job")
        self.looked = self.clock.now()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ended: list[tuple[str, str]] = []  # jobs and how they came out, a line for each run that is over

    async def run(self, once: bool = False) -> None:
        "Run what is due until told to stop; with `once`, until nothing is due and nothing waits for another attempt."
        try:
            while not self.stop.is_set():
                again = await self.step()
                if once and not self.tasks and again is None:
                    return
                await self.rest(min(POLL, self.until_next(again, once)))
        finally:
            self.stop.set()
            if self.tasks:
                log.warning("stopping: %s ended before time and run again at the next start", ", ".join(self.tasks))
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
            self.pool.shutdown(wait=False)

    def until_next(self, again: int | None, once: bool) -> float:
        "Seconds to the next planned time after the last look, or to the next further attempt."
        times = [] if once else [planned.next(self.looked) for planned in self.planned if planned.name not in self.tasks]
        if again is not None:
            times.append(again)
        return max(0.05, (min(times) - self.clock.now()) / 1000) if times else POLL

    async def rest(self, seconds: float) -> None:
        "Until it is time, a job has ended, or we are to stop."
        side = [asyncio.create_task(self.stop.wait()), asyncio.create_task(self.clock.sleep(seconds))]
        try:
            await asyncio.wait([*side, *self.tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in side:
                task.cancel()
            await asyncio.gather(*side, return_exceptions=True)

    async def step(self) -> int | None:
        "Start what is due; when the earliest further attempt is, if one waits."
        for name, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[name]
                if error := task.exception():
                    reason = (str(error).splitlines() or ["no message"])[0]
                    log.error("job %s: %s: %s; it is looked at again", name, type(error).__name__, redacted(reason))
                    await self.clock.sleep(1.0)
        self.looked = now = self.clock.now()
        try:
            async with self.db.read() as session:
                newest, held = await kept.newest_runs(session), await kept.held(session, now)
        except DBAPIError as error:
            log.error("the schedule cannot be read: %s", redacted(str(error.orig)))
            return None
        for planned in self.planned:
            idle = planned.name not in self.tasks and lease(planned.name) not in held
            if idle and turn(planned, newest.get(planned.name), now):
                self.tasks[planned.name] = asyncio.create_task(self.carry(planned, now), name=f"job {planned.name}")
        names = {planned.name for planned in self.planned} - self.tasks.keys()
        return min((run.next_at for name, run in newest.items() if name in names and run.next_at is not None), default=None)

    async def carry(self, planned: Planned, noticed: int) -> None:
        "One attempt at a job that is due, if it still is when there is a place for it."
        async with self.slots:
            claim = None if self.stop.is_set() else await self.claims.claim(planned, self.clock.now(), noticed)
            if not claim:
                return
            run = claim.run
            late = ", caught up" if run.caught_up else ""
            log.info("job %s starts: %s UTC, attempt %d%s", planned.name, iso(run.scheduled_at), run.attempt, late)
            halt = threading.Event()
            beat = asyncio.create_task(self.keep_lease(planned.name, claim.token, halt), name=f"lease {planned.name}")
            follow = asyncio.create_task(self.follow_stop(halt), name=f"stop {planned.name}")
            try:
                result = await self.attempt(planned, run, halt)
            finally:
                for task in (beat, follow):
                    task.cancel()
                await asyncio.gather(beat, follow, return_exceptions=True)
            last = await self.claims.settle(planned, claim, result, self.clock.now())
            self.tell(planned.name, result, last)
            if last is not None:
                await tidy(self.db, planned, self.claims.home, self.claims.instance, self.clock.now())

    async def attempt(self, planned: Planned, run: JobRun, halt: threading.Event) -> dict[str, Any]:
        "The job in a process of its own; its result, or why there is none."
        entry, folder = planned.settings, self.claims.folder(planned.name, run.scheduled_at) / str(run.attempt)
        work = partial(self.launch, planned.job, planned.given, folder, entry.timeout, entry.memory, halt, self.environ)
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except (ConfigError, OSError) as error:
            return dict(status="died", values={}, error=dict(cell=None, kind=type(error).__name__, message=str(error)), seconds=0.0)

    async def follow_stop(self, halt: threading.Event) -> None:
        "Pass on that we are to stop."
        await self.stop.wait()
        halt.set()

    async def keep_lease(self, name: str, token: int, halt: threading.Event) -> None:
        "Renew the lease while the job runs; end the job where the lease is lost."
        held = self.claims.held
        until = self.clock.now() + held
        while True:
            await self.clock.sleep(held / 3000)
            try:
                now = self.clock.now()
                ours = await self.claims.renew(name, token, now)
            except DBAPIError as error:
                log.warning("the lease of job %s cannot be renewed: %s", name, redacted(str(error.orig)))
                ours = self.clock.now() < until
            else:
                until = now + held
            if not ours:
                log.error("job %s is ended: another instance has taken it over", name)
                halt.set()
                return

    def tell(self, name: str, result: dict[str, Any], last: bool | None) -> None:
        "Log and count how an attempt came out; `last` as `Claims.settle` answered."
        status, error = result["status"], told(result)
        if last is None:
            log.error("job %s was taken over by another instance: what it brought is not kept", name)
            return
        level = logging.WARNING if error else logging.INFO
        log.log(level, "job %s: %s after %.1f s%s", name, status, result["seconds"], f": {error}" if error else "")
        if self.metrics:
            self.metrics.jobs.labels(name, status).inc()
        if last:
            self.ended.append((name, status))


def scheduler_of(settings: Settings, db: Database, planned: list[Planned], metrics: Metrics | None = None) -> Scheduler:
    "The scheduler of a service's settings: alerts go to the bot where there is one, else to the terminal; jobs read the same database."
    channel = "telegram" if settings.telegram.token.get_secret_value() else CHANNEL
    return Scheduler(db, settings.jobs, planned, channel=channel, metrics=metrics, environ={"PERPS_DATABASE": settings.database})
