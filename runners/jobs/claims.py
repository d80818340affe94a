"What a scheduler writes down: who runs which planned time, how it came out, and who is told when it failed."

import os
import socket
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.clock import SECOND, iso
from perps_kit.storage import jobs as kept
from perps_kit.storage.models import JobRun
from runners.db.connect import Database
from runners.jobs.schedule import Planned, Turn, turn
from runners.logs import redacted
from runners.telegram.enqueue import enqueue

log = getLogger(__name__)
HELD = 60 * SECOND  # for which a lease lasts; it is renewed three times as often


class Claim(NamedTuple):
    "The right to make one attempt."

    run: JobRun
    token: int


class Claims(NamedTuple):
    "One instance's way to the rows of runs and leases."

    db: Database
    home: Path  # of the jobs' files
    channel: str  # of alerts
    instance: str  # this process among all that look at the database
    held: int = HELD

    async def claim(self, planned: Planned, now: int, noticed: int | None = None) -> Claim | None:
        "Take the lease and, under it, the planned time; None where another instance was first or nothing is due any more."
        async with self.db.write() as session:
            token = await kept.take(session, lease(planned.name), self.instance, now, self.held)
            if token is None:
                return None
            while what := turn(planned, newest := (await kept.newest_runs(session, planned.name)).get(planned.name), now, noticed):
                if newest and newest.next_at is not None and what.scheduled_at > newest.scheduled_at:
                    await kept.end(session, newest.id, newest.fence, next_at=None)  # the next time has come: no further attempt
                    await self.alert(session, planned, newest, newest.status, newest.error or "", now)
                if run := await self.apply(session, planned, what, newest, token, now):
                    return Claim(run, token)
            await kept.release(session, lease(planned.name), token)
        return None

    async def apply(self, session: AsyncSession, planned: Planned, what: Turn, newest: Any, token: int, now: int) -> JobRun | None:
        "Write down what is to be done; the run where it is one."
        name, at = planned.name, what.scheduled_at
        columns = dict(instance=self.instance, started_at=now, attempt=what.attempt, missed=what.missed, caught_up=what.caught_up)
        if what.kind == "run":
            return await kept.begin(session, name, at, token, folder=str(self.folder(name, at)), **columns)
        if what.kind == "again":
            columns |= dict(status="running", next_at=None, finished_at=None, error=None, folder=str(self.folder(name, at)))
            await kept.end(session, newest.id, newest.fence, fence=token, **columns)
            return (await kept.newest_runs(session, name))[name]
        if what.kind == "lost":
            again = now if planned.tries_again(newest.attempt, "lost") else None
            error = f"{newest.instance} ended without a word during attempt {newest.attempt}"
            await kept.end(session, newest.id, newest.fence, fence=token, status="lost", finished_at=now, next_at=again, error=error)
            log.warning("job %s of %s UTC: %s", name, iso(at), error)
            if again is None:
                await self.alert(session, planned, newest, "lost", error, now)
        else:
            why = "before the schedule was first looked at" if what.kind == "new" else "nobody was there to run it"
            await kept.begin(session, name, at, token, **columns | dict(attempt=0, status=what.kind, finished_at=now, error=why))
        return None

    async def settle(self, planned: Planned, claim: Claim, result: dict[str, Any], now: int) -> bool | None:
        "Write down how an attempt came out; whether it was the last, None where another instance has taken it over."
        run, status, error = claim.run, result["status"], told(result)
        again = None
        if planned.tries_again(run.attempt, status):
            again = now if status == "interrupted" else now + planned.pause(run.attempt)
        ended = dict(status=status, finished_at=now, next_at=again, values=result["values"], error=error)
        async with self.db.write() as session:
            if not await kept.end(session, run.id, claim.token, **ended):
                return None
            if error and again is None:
                await self.alert(session, planned, run, status, error, now)
            await kept.release(session, lease(planned.name), claim.token)
        return again is None

    async def renew(self, name: str, token: int, now: int) -> bool:
        "Hold a job's lease on; whether it is still ours."
        async with self.db.write() as session:
            return await kept.renew(session, lease(name), token, now, self.held)

    async def alert(self, session: AsyncSession, planned: Planned, run: JobRun, status: str, error: str, now: int) -> None:
        "A message for everybody who listens, in the transaction that it is about."
        text = f"{planned.name} of {iso(run.scheduled_at)} UTC: {status}. {error}"
        log.error("job %s", text)
        key = f"job|{planned.name}|{run.scheduled_at}"
        await enqueue(session, "alert", dict(title="Job failed", text=text), key, now, channel=self.channel)

    def folder(self, name: str, scheduled_at: int) -> Path:
        "Where the attempts of one planned time leave their files."
        return self.home / name / f"{datetime.fromtimestamp(scheduled_at / 1000, UTC):%Y%m%dT%H%M}"


def lease(name: str) -> str:
    "The name of a job's lease."
    return f"job|{name}"


def this_instance() -> str:
    "Host and process."
    return f"{socket.gethostname()[:50]}:{os.getpid()}"


def told(result: dict[str, Any]) -> str | None:
    "What went wrong, in one line without secrets."
    error = result["error"]
    if not error:
        return None
    where = f"cell {error['cell']}: " if error["cell"] else ""
    kind = f"{error['kind']}: " if result["status"] == "failed" else ""
    return redacted(f"{where}{kind}{(error['message'] or 'no message').splitlines()[0]}")[:500]
