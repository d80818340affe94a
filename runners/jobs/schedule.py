"The schedule: when each job is due, and what there is to do about it now."

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from perps_kit.core.clock import MINUTE
from runners.errors import ConfigError
from runners.jobs.catalog import Job, find, missing
from runners.jobs.parameters import check
from runners.jobs.settings import JobsSettings, ScheduledJob, zone_of

LATE = 5 * MINUTE  # after which a time counts as missed
LOOKS = tuple(timedelta(days=days) for days in (1 / 12, 2, 40, 400, 3_000, 19_000))  # how far back, ever further
COUNTED = 1_000  # missed times, at most
LONGEST = 3_600.0  # seconds between two attempts


class Planned(NamedTuple):
    "A job with its place in the schedule, everything checked."

    name: str
    job: Job
    settings: ScheduledJob
    zone: tzinfo
    given: list[str]  # parameters as `name=value`

    def times(self, after: int) -> Iterator[int]:
        "The planned times after a time, in milliseconds: those that a clock set forward skips come right after, none comes twice."
        from cronsim import CronSim

        for moment in CronSim(self.settings.cron, datetime.fromtimestamp(after / 1000, UTC).astimezone(self.zone)):
            time = round(moment.timestamp() * 1000)
            if time > after:
                yield time

    def next(self, after: int) -> int:
        "The first planned time after a time."
        return next(self.times(after))

    def latest(self, now: int) -> int | None:
        "The last planned time that has come."
        for look in LOOKS:
            found = None
            for time in self.times(now - round(look.total_seconds() * 1000)):
                if time > now:
                    break
                found = time
            if found is not None:
                return found
        return None

    def between(self, after: int, until: int) -> int:
        "How many planned times lie between two others."
        for count, time in enumerate(self.times(after)):
            if time >= until or count == COUNTED:
                return count
        return 0

    def pause(self, attempt: int) -> int:
        "Milliseconds between an attempt and the next."
        return round(1000 * min(LONGEST, self.settings.retry_wait * 2 ** (attempt - 1)))

    def tries_again(self, attempt: int, status: str) -> bool:
        "Whether an attempt that ended so is followed by another. One that was cut off is a missed run, which is caught up once."
        if status in ("done", "refused"):
            return False
        most = self.settings.retries + 1
        return attempt < (max(most, 2) if status in ("lost", "interrupted") and self.settings.catch_up else most)


class Turn(NamedTuple):
    "What there is to do about a job now."

    kind: str  # run; again: another attempt; lost: its scheduler died; missed: too late; new: never seen before
    scheduled_at: int
    attempt: int = 1
    missed: int = 0  # planned times before it that nobody ran
    caught_up: bool = False


def turn(planned: Planned, newest: Any, now: int, noticed: int | None = None) -> Turn | None:
    """What to do, from the newest row of a job that nobody else runs; None: nothing.

    `noticed` is when it fell due for us: a job that only waited for its place among the others is not late.
    """
    last, seen = planned.latest(now), now if noticed is None else noticed
    if newest is None:
        return None if last is None else Turn("run", last) if seen - last <= LATE else Turn("new", last)
    if newest.status == "running":
        return Turn("lost", newest.scheduled_at, newest.attempt)
    if last is not None and last > newest.scheduled_at:
        late, missed = seen - last > LATE, planned.between(newest.scheduled_at, last)
        return Turn("run" if planned.settings.catch_up or not late else "missed", last, 1, missed, late)
    if newest.next_at is not None and newest.next_at <= now:
        return Turn("again", newest.scheduled_at, newest.attempt + 1, newest.missed, newest.caught_up or now - newest.scheduled_at > LATE)
    return None


def plan(settings: JobsSettings) -> list[Planned]:
    "The schedule with its notebooks found and their parameters checked; ConfigError names the entry."
    made, zone = [], zone_of(settings.timezone)
    for name, entry in settings.schedule.items():
        try:
            job = find(entry.notebook or name)
            given = [f"{parameter}={value}" for parameter, value in entry.parameters.items()]
            check(given, job.parameters, job.name)
            if lacking := missing(job):
                raise ConfigError(lacking)
        except ConfigError as wrong:
            raise ConfigError(f"jobs.schedule.{name}: {wrong}") from None
        made.append(Planned(name, job, entry, zone, given))
    return made
