"The schedule of jobs: the clock and its two odd days, runs that are missed, cut off, tried again or raced for, and what is kept."

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import count, islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import nbformat
import pytest
import pytest_asyncio
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pg import new_database
from sqlalchemy import func, select
from test_jobs import ended, make, perps_kit
from typer.testing import CliRunner

from perps_kit.core.clock import DAY, HOUR, MINUTE, iso, parse_time
from perps_kit.storage import jobs as kept
from perps_kit.storage.models import Chat, Outbox
from runners.cli.schedule import app
from runners.db.connect import open_database
from runners.errors import ConfigError
from runners.jobs.catalog import Job, find
from runners.jobs.claims import HELD
from runners.jobs.retention import tidy
from runners.jobs.schedule import LATE, Planned, Turn, plan, turn
from runners.jobs.scheduler import Scheduler
from runners.jobs.settings import JobsSettings, ScheduledJob, zone_of
from runners.jobs.units import texts
from runners.run import Running, jobs, surroundings
from runners.settings import load
from runners.state import ServiceState

NUMBERS = count()
NOON = parse_time("2026-11-20T12:00")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata"]


def planned(cron="0 * * * *", zone="UTC", name="toy", path=None, **more) -> Planned:
    job = find(str(path)) if path else Job(name, Path(f"{name}.ipynb"), name, "")
    return Planned(name, job, ScheduledJob(cron=cron, **more), zone_of(zone), [])


def local(times, zone):
    return [datetime.fromtimestamp(t / 1000, ZoneInfo(zone)).strftime("%d %H:%M %z") for t in times]


# --- the clock


@pytest.mark.parametrize(("cron", "zone", "since", "expected"), [
    ("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]),    # 02:30 is skipped
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["25 02:30 +0200", "26 02:30 +0100"]),                      # 02:30 comes twice
    ("30 1 * * *", "America/New_York", "2026-11-01T00:00", ["01 01:30 -0400", "02 01:30 -0500"]),
    ("15 * * * *", "Europe/Berlin", "2026-10-24T23:59", ["25 02:15 +0200", "25 02:15 +0100", "25 03:15 +0100"]),   # every hour
    ("15 * * * *", "Europe/Berlin", "2026-03-29T00:00", ["29 01:15 +0100", "29 03:15 +0200"]),
    ("5 0 * * *", "UTC", "2026-03-28T12:00", ["29 00:05 +0000", "30 00:05 +0000"]),
    ("0 9 * * MON-FRI", "Europe/Berlin", "2026-10-23T12:00", ["26 09:00 +0100", "27 09:00 +0100"]),
    ("0 0 13 * FRI", "UTC", "2026-11-10T00:00", ["13 00:00 +0000", "20 00:00 +0000"]),                              # a day or a weekday
    ("0 0 L * *", "UTC", "2027-02-01T00:00", ["28 00:00 +0000"]),
])  # fmt: skip
def test_planned_times_on_ordinary_and_odd_days(cron, zone, since, expected):
    assert local(islice(planned(cron, zone).times(parse_time(since)), len(expected)), zone) == expected


TURNS = ["2026-03-29", "2026-04-05", "2026-10-25", "2026-11-01", "2026-07-01"]  # days on which clocks turn, and one on which none does
CRONS = ["30 2 * * *", "*/20 * * * *", "0 2,3 * * *", "5 0 * * MON", "15,45 1-3 * * *", "0 */6 * * *", "0 4 1 * *"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CRONS), st.sampled_from(ZONES), st.sampled_from(TURNS),
       st.integers(-2 * 1440, 2 * 1440))
def test_the_last_time_and_the_next_leave_none_between(cron, zone, day, minutes):
    p, now = planned(cron, zone), parse_time(day) + minutes * MINUTE
    last, following = p.latest(now), p.next(now)
    assert last is not None and last <= now < following
    assert p.next(last) == following and p.next(last - MINUTE) == last
    every = list(islice(p.times(last - 3 * DAY), 20))
    assert all(a < b for a, b in pairwise(every))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["*/20 * * * *", "7 * * * *", "10-30/10 * * * SAT,SUN", "3 * 25 10 *"]), st.sampled_from(ZONES), st.integers(0, 3000)
)
def test_times_by_the_minute_are_those_whose_local_clock_fits(cron, zone, minutes):
    "A second opinion: every minute is looked at."
    minute, _, day, month, weekday = cron.split()
    p, since = planned(cron, zone), parse_time("2026-10-24T00:00") + minutes * MINUTE

    def fits(time):
        at = datetime.fromtimestamp(time / 1000, zone_of(zone))
        of = {"*/20": range(0, 60, 20), "7": [7], "10-30/10": [10, 20, 30], "3": [3]}[minute]
        dates = (day == "*" or at.day == int(day)) and (month == "*" or at.month == int(month))
        return at.minute in of and dates and (weekday == "*" or at.weekday() >= 5)

    wanted = [t for t in range(since + MINUTE, since + DAY, MINUTE) if fits(t)]
    assert [t for t in islice(p.times(since), len(wanted)) if t < since + DAY] == wanted


# --- what is wrong is said before anything runs


@pytest.mark.parametrize(("jobs", "sentence"), [
    ({"daily_report": {"cron": "5 0 * *"}}, "daily_report.cron': '5 0 * *' is not a cron expression (it has not five fields)"),
    ({"daily_report": {"cron": "61 0 * * *"}}, "(bad minute): write minute hour day month weekday"),
    ({"daily_report": {"cron": "0 0 30 2 *"}}, "bad day-of-month"),
    ({"daily_report": {"cron": "5 0 * * *", "retris": 1}}, "unknown setting 'jobs.schedule.daily_report.retris': did you mean 'retries'?"),
    ({"dayly_report": {"cron": "5 0 * * *"}}, "jobs.schedule.dayly_report: there is no job 'dayly_report': did you mean daily_report?"),
    ({"x": {"cron": "5 0 * * *", "notebook": "x.ipynb"}}, "jobs.schedule.x: there is no notebook at x.ipynb"),
    ({"A B": {"cron": "5 0 * * *"}}, "'A B' is not a name for a job"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"dais": 1}}}, "no parameter 'dais': did you mean days?"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"days": "many"}}}, "parameter days is a float, not 'many'"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"days": True}}}, "parameter days is a float, not 'True'"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"days": [1]}}}, "parameter days must be a number, a text or true or false"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"days": None}}}, "parameter days must be a number"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"token": "x"}}}, "let the notebook read the environment"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"my_token": "x"}}}, "'my_token' looks like a secret"),
    ({"daily_report": {"cron": "5 0 * * *", "parameters": {"until": "postgresql://me:word@host/x"}}}, "holds a password"),
    ({"daily_report": {"cron": "5 0 * * *", "memory": 10}}, "greater than or equal to 256"),
    ({"daily_report": {"cron": "5 0 * * *", "timeout": 0}}, "greater than 0"),
])  # fmt: skip
def test_a_wrong_schedule_is_one_sentence(tmp_path, jobs, sentence):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"jobs": {"schedule": jobs}}))
    with pytest.raises(ConfigError) as refused:
        plan(load(path, {}).jobs)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_a_wrong_time_zone_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="there is no time zone 'Europe/Berlni': did you mean Europe/Berlin"):
        load(None, {}, jobs={"timezone": "Europe/Berlni"})


def test_a_job_whose_packages_are_missing_is_refused_with_the_schedule(tmp_path, monkeypatch):
    path = make(tmp_path, "1")
    book = nbformat.read(path, 4)
    book.metadata["perps_kit"] = {"extras": ["research"]}
    nbformat.write(book, path)
    monkeypatch.setattr("runners.jobs.catalog.installed", lambda extra: extra != "research")
    with pytest.raises(ConfigError, match=r"jobs.schedule.toy: toy needs the research extra: pip install 'perps_kit\[research\]'"):
        plan(JobsSettings(schedule={"toy": ScheduledJob(cron="5 0 * * *", notebook=str(path))}))


async def test_the_service_refuses_a_wrong_schedule_before_it_makes_a_database(tmp_path):
    given = load(None, {}, database=f"sqlite:///{tmp_path}/x.db", jobs={"schedule": {"nothing": {"cron": "5 0 * * *"}}})
    with pytest.raises(ConfigError, match="there is no job 'nothing'"):
        async with surroundings(given):
            pass
    assert not list(tmp_path.iterdir())


def test_the_example_is_accepted_and_its_units_are_those_shown(root, monkeypatch):
    given = load(root / "docs/examples/jobs.yaml", {})
    made = plan(given.jobs)
    config, home = Path("/etc/perps-kit/jobs.yaml"), Path("/var/lib/perps-kit")
    shown = {path.name: path.read_text() for path in (root / "docs/examples/systemd").glob("perps-kit*")}
    assert texts(given.jobs, made, config, home, "perps", "/opt/perps-kit/bin/perps-kit") == shown


# --- what to do next, from the newest row


def row(scheduled_at, status="done", attempt=1, next_at=None, missed=0):
    return SimpleNamespace(scheduled_at=scheduled_at, status=status, attempt=attempt, next_at=next_at, missed=missed, caught_up=False)


@pytest.mark.parametrize(("newest", "now", "expected"), [
    (None, NOON + 1, Turn("run", NOON)),
    (None, NOON + LATE + 1, Turn("new", NOON)),                                       # never seen: nobody missed it
    (row(NOON), NOON + 59 * MINUTE, None),
    (row(NOON), NOON + HOUR, Turn("run", NOON + HOUR)),
    (row(NOON), NOON + 5 * HOUR + LATE + 1, Turn("run", NOON + 5 * HOUR, 1, 4, True)),  # the latest of five
    (row(NOON, "running"), NOON + 5 * HOUR, Turn("lost", NOON)),
    (row(NOON, "failed", 1, NOON + 9_000), NOON + 8_999, None),
    (row(NOON, "failed", 1, NOON + 9_000), NOON + 9_000, Turn("again", NOON, 2)),
    (row(NOON, "failed", 1, NOON + 2 * HOUR), NOON + HOUR, Turn("run", NOON + HOUR)),  # its time is over
])  # fmt: skip
def test_what_there_is_to_do(newest, now, expected):
    assert turn(planned(), newest, now) == expected


def test_without_catching_up_a_missed_time_is_only_noted():
    p = planned(catch_up=False)
    assert turn(p, row(NOON), NOON + HOUR + LATE) == Turn("run", NOON + HOUR)
    assert turn(p, row(NOON), NOON + HOUR + LATE + 1) == Turn("missed", NOON + HOUR, 1, 0, True)


@pytest.mark.parametrize(("retries", "catch_up", "status", "expected"), [
    (0, True, "failed", 1), (2, True, "failed", 3), (2, True, "refused", 1), (2, True, "done", 1),
    (0, True, "lost", 2), (0, False, "lost", 1), (3, True, "lost", 4), (0, True, "interrupted", 2), (1, True, "memory", 2),
])  # fmt: skip
def test_how_often_a_job_is_tried(retries, catch_up, status, expected):
    p = planned(retries=retries, catch_up=catch_up)
    assert next(k for k in range(1, 9) if not p.tries_again(k, status)) == expected


# --- the scheduler, on both databases


class Watch:
    "A clock that stands still until it is set. Whoever sleeps looks up now and then: it may have been set just before."

    def __init__(self, now):
        self.t = now

    def now(self):
        return self.t

    async def sleep(self, seconds):
        until, tired = self.t + round(seconds * 1000), time.monotonic() + 0.3
        while self.t < until and time.monotonic() < tired:
            await asyncio.sleep(0.002)


class Launcher:
    "Stands for the subprocess: outcomes as they are told, a note of every run."

    def __init__(self, *outcomes, takes=0.0):
        self.outcomes, self.takes, self.runs = list(outcomes), takes, []

    def __call__(self, job, given, folder, timeout, memory, halt, environ):
        self.runs.append((job.name, folder.parent.name, int(folder.name)))
        until = time.monotonic() + self.takes
        while time.monotonic() < until and not halt.is_set():
            time.sleep(0.002)
        status = "interrupted" if halt.is_set() else self.outcomes.pop(0) if self.outcomes else "done"
        error = None if status == "done" else {"cell": 3, "kind": "ValueError", "message": "token=abcdefgh\nmore"}
        return {"status": status, "values": {"n": len(self.runs)}, "error": error, "seconds": 0.1}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return str(tmp_path / "perps.db") if request.param == "sqlite" else new_database()


@pytest_asyncio.fixture
async def db(url):
    database = await open_database(url)
    async with database.write() as session:
        session.add(Chat(id=42, created_at=0))
    yield database
    await database.close()


def scheduler(db, clock, *made, launcher=None, folder=Path("unused"), **more):
    given = JobsSettings(folder=folder, at_once=more.pop("at_once", 1))
    return Scheduler(db, given, list(made), clock, launch=launcher or Launcher(), **more)


async def once(s):
    "A `jobs once` whose clock goes on whenever nothing runs."
    task = asyncio.create_task(s.run(once=True))
    while not task.done():
        await asyncio.sleep(0.005)
        if not s.tasks:
            s.clock.t += 500
    await task
    return s.ended


async def history(db, **which):
    async with db.read() as session:
        return await kept.latest_runs(session, 99, **which)


async def alerts(db):
    async with db.read() as session:
        return [m.payload["text"] for m in await session.scalars(select(Outbox).order_by(Outbox.id))]


async def test_a_job_runs_once_for_each_planned_time(db):
    clock, p, launcher = Watch(NOON + 1), planned(), Launcher()
    for _ in range(3):
        await once(scheduler(db, clock, p, launcher=launcher))
    clock.t = NOON + HOUR
    await once(scheduler(db, clock, p, launcher=launcher))
    assert launcher.runs == [("toy", "20261120T1200", 1), ("toy", "20261120T1300", 1)]
    rows = await history(db)
    assert [(r["scheduled_at"], r["status"], r["attempt"], r["values"]) for r in rows] == [
        (NOON + HOUR, "done", 1, {"n": 2}), (NOON, "done", 1, {"n": 1})]
    assert not await alerts(db)


async def test_missed_times_are_caught_up_once_the_latest_of_them(db):
    clock, launcher = Watch(NOON + 1), Launcher()
    eager, calm = planned(name="eager"), planned(name="calm", catch_up=False)
    await once(scheduler(db, clock, eager, calm, launcher=launcher))
    launcher.runs.clear()
    clock.t = NOON + 6 * HOUR + 30 * MINUTE
    await once(scheduler(db, clock, eager, calm, launcher=launcher))
    await once(scheduler(db, clock, eager, calm, launcher=launcher))
    assert launcher.runs == [("eager", "20261120T1800", 1)]
    (run, _), (noted, _) = await history(db, job="eager"), await history(db, job="calm")
    assert (run["caught_up"], run["missed"], run["status"]) == (True, 5, "done") and noted["status"] == "missed"


async def test_a_job_that_is_new_to_the_database_waits_for_its_next_time(db):
    clock, launcher, p = Watch(NOON + 30 * MINUTE), Launcher(), planned()
    assert await once(scheduler(db, clock, p, launcher=launcher)) == [] and (await history(db))[0]["status"] == "new"
    clock.t = NOON + HOUR + 30 * MINUTE
    assert await once(scheduler(db, clock, p, launcher=launcher)) == [("toy", "done")]


async def test_a_failing_job_is_tried_again_ever_later_and_then_somebody_is_told(db):
    clock, p = Watch(NOON), planned(retries=2, retry_wait=10)
    launcher, begun = Launcher("failed", "stopped", "failed"), []

    def noted(*given):
        begun.append(clock.t)
        return launcher(*given)

    assert await once(scheduler(db, clock, p, launcher=noted)) == [("toy", "failed")]
    assert [attempt for *_, attempt in launcher.runs] == [1, 2, 3] and [p.pause(attempt) for attempt in (1, 2)] == [10_000, 20_000]
    assert begun[1] - begun[0] >= 10_000 and begun[2] - begun[1] >= 20_000
    (run,) = await history(db)
    assert (run["attempt"], run["status"], run["next_at"]) == (3, "failed", None)
    assert await alerts(db) == ["toy of 2026-11-20 12:00 UTC: failed. cell 3: ValueError: token=***"]
    async with db.read() as session:
        (message,) = await session.scalars(select(Outbox))
        assert (message.kind, message.recipient, message.channel) == ("alert", "42", "telegram")


async def test_a_job_that_succeeds_in_the_end_alarms_nobody_and_one_that_was_refused_is_not_tried_again(db):
    clock, launcher = Watch(NOON), Launcher("failed", "done", "refused")
    assert await once(scheduler(db, clock, planned(retries=5, retry_wait=1), launcher=launcher)) == [("toy", "done")]
    assert not await alerts(db)
    clock.t = NOON + HOUR
    assert await once(scheduler(db, clock, planned(retries=5), launcher=launcher)) == [("toy", "refused")]
    assert len(await alerts(db)) == 1 and len(launcher.runs) == 3


async def test_an_attempt_that_waits_gives_way_to_the_next_planned_time(db):
    clock, p, launcher = Watch(NOON), planned("* * * * *", retries=3, retry_wait=90), Launcher("failed")
    s = scheduler(db, clock, p, launcher=launcher)
    await s.step()
    await asyncio.gather(*s.tasks.values())
    clock.t += MINUTE
    await once(s)
    assert [(r["status"], r["next_at"]) for r in await history(db)] == [("done", None), ("failed", None)] and len(await alerts(db)) == 1


async def test_of_two_schedulers_one_runs_each_time_and_never_two_at_once(url, db):
    "Two instances with connections of their own race through two hours of four jobs; each run takes a while."
    other, clock = await open_database(url), Watch(NOON)
    running, overlaps = Counter(), []

    class Slow(Launcher):
        def __call__(self, job, *rest):
            running[job.name] += 1
            overlaps.append(running[job.name])
            time.sleep(0.004)
            result = super().__call__(job, *rest)
            running[job.name] -= 1
            return result

    made = [planned("*/15 * * * *", name=f"job{k}") for k in range(4)]
    launcher = Slow()
    both = [scheduler(d, clock, *made, launcher=launcher, at_once=3, instance=f"host{k}:1") for k, d in enumerate((db, other))]
    tasks = [asyncio.create_task(s.run()) for s in both]
    for k in range(9):
        clock.t = NOON + k * 15 * MINUTE
        async with asyncio.timeout(30):
            while len(await history(db, status="done")) < 4 * (k + 1):
                await asyncio.sleep(0.02)
    for s in both:
        s.stop.set()
    await asyncio.gather(*tasks)
    rows = await history(db)
    await other.close()
    assert len(launcher.runs) == len(set(launcher.runs)) == 36 == len(rows) and set(overlaps) == {1}
    assert {r["status"] for r in rows} == {"done"} and {r["instance"] for r in rows} <= {"host0:1", "host1:1"}


async def test_only_one_of_many_claims_of_the_same_time_is_granted(url, db):
    others = [await open_database(url) for _ in range(4)]
    clock, p = Watch(NOON), planned()
    many = [scheduler(d, clock, p, instance=f"h{k}:1") for k, d in enumerate([*others, db])]
    claims = await asyncio.gather(*(s.claims.claim(p, clock.t) for s in many))
    assert sum(claim is not None for claim in claims) == 1 and len(await history(db)) == 1
    for database in others:
        await database.close()


async def test_a_scheduler_that_died_is_taken_for_dead_when_its_lease_ends_and_its_run_is_caught_up_once(db):
    clock, p, launcher = Watch(NOON), planned(retries=0), Launcher()
    dead = scheduler(db, clock, p, instance="dead:1")
    claim = await dead.claims.claim(p, clock.t)
    assert claim
    clock.t += HELD - 1

    def heir():
        return scheduler(db, clock, p, launcher=launcher, instance="heir:2")

    assert await once(heir()) == [] and (await history(db))[0]["status"] == "running"
    clock.t = NOON + HELD
    assert await once(heir()) == [("toy", "done")] and launcher.runs == [("toy", "20261120T1200", 2)]
    async with db.write() as session:  # it was only asleep, and speaks again
        assert not await kept.end(session, claim.run.id, claim.token, status="failed")
        assert not await kept.renew(session, "job|toy", claim.token, clock.t, HELD)
    (run,) = await history(db)
    assert (run["status"], run["instance"], run["attempt"]) == ("done", "heir:2", 2) and not await alerts(db)


async def test_a_job_that_kills_its_scheduler_each_time_is_given_up(db):
    clock, p = Watch(NOON), planned(retries=0)
    for k in range(2):
        assert await scheduler(db, clock, p, instance=f"dead:{k}").claims.claim(p, clock.t)
        clock.t += HELD
    assert await once(scheduler(db, clock, p)) == []
    (run,) = await history(db)
    assert (run["status"], run["attempt"], run["next_at"]) == ("lost", 2, None)
    assert await alerts(db) == ["toy of 2026-11-20 12:00 UTC: lost. dead:1 ended without a word during attempt 2"]


async def test_a_scheduler_that_loses_its_lease_ends_its_job_and_keeps_nothing_of_it(db):
    clock, p = Watch(NOON), planned()
    s = scheduler(db, clock, p, launcher=Launcher(takes=20))
    await s.step()
    while not s.launch.runs:
        await asyncio.sleep(0.01)
    async with db.write() as session:
        assert await kept.take(session, "job|toy", "thief:1", clock.t + HELD, HELD) == 2
        run = (await kept.newest_runs(session))["toy"]
        assert await kept.end(session, run.id, 1, fence=2)
    clock.t += HELD // 3
    async with asyncio.timeout(10):
        await asyncio.gather(*s.tasks.values())
    assert s.ended == [] and (await history(db))[0]["status"] == "running"


MOVES = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, 20_000, HELD - 1, HELD, 4 * MINUTE, 17 * MINUTE, 2 * HOUR])),
    st.tuples(st.sampled_from(["claim", "renew", "die"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["done", "failed", "interrupted"]), st.integers(0, 2)),
)


@pytest.fixture(scope="module")
def loop_and_database(tmp_path_factory):
    with asyncio.Runner() as runner:
        database = runner.run(open_database(str(tmp_path_factory.mktemp("moves") / "perps.db")))
        yield runner, database
        runner.run(database.close())


@settings(max_examples=30, deadline=None)
@given(moves=st.lists(MOVES, max_size=25), retries=st.integers(0, 2), catch_up=st.booleans())
def test_whoever_dies_or_sleeps_no_time_is_done_twice_and_none_stays_running(loop_and_database, moves, retries, catch_up):
    "Three schedulers that claim, renew, end, sleep and die in any order; what was believed of a lease holds against a plain record."
    runner, database = loop_and_database

    async def play():
        clock, p = Watch(NOON), planned(name=f"job{next(NUMBERS)}", retries=retries, catch_up=catch_up, retry_wait=30)
        hands: dict = {}  # scheduler: its claim
        until, owner, done = 0, None, Counter()
        three = [scheduler(database, clock, p, instance=f"h{k}:1") for k in range(3)]
        for what, k in moves:
            if what == "pass":
                clock.t += k
            elif what == "claim" and k not in hands:
                claim = await three[k].claims.claim(p, clock.t)
                assert not (claim and owner is not None and clock.t < until), "two hold the lease"
                if claim:
                    hands[k], owner, until = claim, k, clock.t + HELD
            elif what == "die":
                hands.pop(k, None)
            elif what == "renew" and k in hands:
                async with database.write() as session:
                    ours = await kept.renew(session, f"job|{p.name}", hands[k].token, clock.t, HELD)
                assert ours == (owner == k)
                until = clock.t + HELD if ours else until
            elif k in hands:
                claim, error = hands.pop(k), None if what == "done" else {"cell": None, "kind": "x", "message": "x"}
                await three[k].claims.settle(p, claim, {"status": what, "values": {}, "error": error}, clock.t)
                done[claim.run.scheduled_at] += what == "done" and owner == k
                owner = None if owner == k else owner
        assert max(done.values(), default=0) <= 1
        clock.t += HELD
        await once(scheduler(database, clock, p))
        rows = await history(database, job=p.name)
        assert all(r["status"] != "running" and r["next_at"] is None for r in rows)
        assert {r["scheduled_at"] for r in rows if r["status"] == "done"} >= {time for time, n in done.items() if n}

    runner.run(play())


async def test_stopping_ends_what_runs_and_the_next_start_goes_on(db, caplog):
    clock, p = Watch(NOON), planned(retries=0)
    s = scheduler(db, clock, p, launcher=Launcher(takes=20))
    task = asyncio.create_task(s.run())
    while not s.launch.runs:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (run,) = await history(db)
    assert run["status"] == "interrupted" and run["next_at"] is not None and "toy ended before time" in caplog.text
    assert await once(scheduler(db, clock, p)) == [("toy", "done")] and (await history(db))[0]["attempt"] == 2


async def test_at_most_so_many_run_at_once(db):
    running, most, pair = Counter(), [], threading.Barrier(2, timeout=20)

    def launcher(*_):
        running["n"] += 1
        pair.wait()
        most.append(running["n"])
        pair.wait()
        running["n"] -= 1
        return {"status": "done", "values": {}, "error": None, "seconds": 0.0}

    made = [planned(name=f"job{k}") for k in range(6)]
    await once(scheduler(db, Watch(NOON), *made, launcher=launcher, at_once=2))
    assert most == [2] * 6


async def test_a_job_that_waits_for_its_place_is_not_late(db):
    clock = Watch(NOON)

    def slow(*_):
        clock.t = NOON + 2 * LATE
        return {"status": "done", "values": {}, "error": None, "seconds": 0.0}

    made = [planned(name=name, catch_up=False) for name in ("first", "second")]
    await once(scheduler(db, clock, *made, launcher=slow))
    assert [(r["job"], r["status"], r["caught_up"]) for r in await history(db)] == [("second", "done", False), ("first", "done", False)]


async def test_a_folder_that_cannot_be_written_is_a_failed_attempt(tmp_path, db):
    (tmp_path / "file").write_text("")
    p = planned(path=make(tmp_path, "1"), retries=0)
    given = JobsSettings(folder=tmp_path / "file")
    s = Scheduler(db, given, [p], Watch(NOON))
    assert await once(s) == [("toy", "died")] and "cannot write to" in (await alerts(db))[0]


# --- what is kept


async def test_files_are_kept_for_so_many_runs_and_days_and_rows_for_longer(tmp_path, db):
    p, clock, home = planned("0 0 * * *", keep=3, keep_days=10), Watch(NOON), tmp_path / "jobs"
    for day in range(6):
        clock.t = NOON // DAY * DAY + day * DAY
        (home / "toy" / f"{datetime.fromtimestamp(clock.t / 1000, UTC):%Y%m%dT%H%M}" / "1").mkdir(parents=True)
        await once(scheduler(db, clock, p, folder=home, instance="here:1"))
    names = sorted(path.name for path in (home / "toy").iterdir())
    assert names == ["20261123T0000", "20261124T0000", "20261125T0000"]
    assert [bool(r["folder"]) for r in await history(db)] == [True] * 3 + [False] * 3
    assert await tidy(db, p, home, "elsewhere:1", clock.t + 40 * DAY) == 0           # another machine's files are its own
    assert await tidy(db, p, home, "here:2", clock.t + 40 * DAY) == 2                # all are old, but the newest stays
    assert [path.name for path in (home / "toy").iterdir()] == ["20261125T0000"]
    assert len(await history(db)) == 6
    await tidy(db, p, home, "here:2", clock.t + 800 * DAY)
    assert len(await history(db)) == 1


async def test_nothing_outside_the_folder_of_jobs_is_removed(tmp_path, db):
    p, precious = planned(keep=1), tmp_path / "precious"
    precious.mkdir()
    async with db.write() as session:
        for k in range(3):
            await kept.begin(session, "toy", k, 1, instance="here:1", started_at=0, status="done", folder=str(precious))
    await tidy(db, p, tmp_path / "jobs", "here:1", NOON)
    assert precious.is_dir()


# --- real processes


def config(folder, cells, **entry):
    "A settings file with one job of every minute."
    path = make(folder, *cells)
    schedule = dict(toy=dict(cron="* * * * *", notebook=str(path), **entry))
    given = dict(database=f"sqlite:///{folder}/perps.db",
                 jobs=dict(timezone="Europe/Berlin", folder=str(folder / "jobs"), schedule=schedule))
    (folder / "s.yaml").write_text(yaml.safe_dump(given))
    return folder / "s.yaml"


def said(*words):
    "What a command of the group prints, in this process."
    found = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_once_runs_what_is_due_and_history_tells_of_it(tmp_path):
    cells = ["import os\nfrom runners.jobs.record import record\nrecord(days=days, database=os.environ['PERPS_DATABASE'])"]
    path = config(tmp_path, cells, parameters=dict(days=4))
    done = perps_kit("once", "-c", path)
    assert done.returncode == 0 and done.stdout == "toy done\n", done.stderr
    (run,) = json.loads(said("history", "-c", path, "--json"))
    assert run["status"] == "done" and run["values"] == {"days": 4, "database": f"sqlite:///{tmp_path}/perps.db"}
    files = sorted(file.name for file in (Path(run["folder"]) / "1").iterdir())
    assert files == ["log.txt", "result.json", "toy.html", "toy.ipynb"]
    assert "toy                  done" in said("history", "-c", path, "--job", "toy", "--status", "done")
    assert said("history", "-c", path, "--status", "failed") == "no runs\n"
    (following,) = json.loads(said("due", "-c", path, "--json"))
    assert following["next"] % MINUTE == 0 and following["next"] > run["scheduled_at"]
    assert datetime.fromisoformat(following["local"]).timestamp() * 1000 == following["next"] and following["timezone"] == "Europe/Berlin"
    assert said("check", "-c", path) == "1 job, times in Europe/Berlin: toy\n"
    assert said("due", "-c", path).startswith("toy ") and "CE" in said("due", "-c", path)


def test_the_command_line_says_what_is_missing(tmp_path):
    path = config(tmp_path, ["1"])
    for args, sentence in [
        (("once", "toi", "-c", path), "the schedule has no job 'toi': it has toy"),
        (("start",), "there is no schedule"),
        (("check", "-c", tmp_path / "none.yaml"), "cannot read the settings"),
        (("history", "-c", path), "there is no database at"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            said(*args)


async def test_limits_of_time_and_memory_end_a_job_and_only_the_job(tmp_path):
    "Both at once, in one scheduler; the rest of the notebook does not run."
    hungry = make(tmp_path, "x = bytearray(600 << 20)", "print('never')", name="hungry")
    slow = make(tmp_path, "print('so far')", "import time; time.sleep(300)", name="slow")
    db = await open_database(str(tmp_path / "x.db"))
    made = [planned(name="hungry", path=hungry, memory=400, retries=0), planned(name="slow", path=slow, timeout=8, retries=0)]
    s = Scheduler(db, JobsSettings(folder=tmp_path / "jobs", at_once=2), made, Watch(NOON))
    assert sorted(await once(s)) == [("hungry", "memory"), ("slow", "stopped")]
    found = {r["job"]: r for r in await history(db)}
    await db.close()
    assert found["hungry"]["error"] == "cell 2: needed more than its limit of 400 MB."
    assert "stopped after its limit of 8 seconds" in found["slow"]["error"]
    page = next((tmp_path / "jobs/slow").glob("*/1/slow.html")).read_text()
    assert "so far" in page


def started(path, folder):
    "A `jobs start` whose job has begun: the command's process and the job's."
    command, home = [sys.executable, "-m", "runners", "jobs", "start", "-c", str(path)], Path(__file__).parent.parent
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
                               env=os.environ | {"PYTHONPATH": str(home)})
    until = time.monotonic() + 60
    while not ((folder / "pid").exists() and (folder / "pid").read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    return process, int((folder / "pid").read_text())


def hang(folder):
    "A cell that tells its process and then hangs, unless it is told to go on."
    pid, go = repr(str(folder / "pid")), repr(str(folder / "go"))
    return f"import os, time\nopen({pid}, 'w').write(str(os.getpid()))\nif not os.path.exists({go}): time.sleep(300)"


async def test_after_kill_9_the_job_is_gone_and_another_scheduler_runs_it_again(tmp_path):
    path = config(tmp_path, [hang(tmp_path)], retries=0)
    process, job = started(path, tmp_path)
    process.kill()
    process.communicate()
    assert ended(job)
    (tmp_path / "go").touch()
    given = load(path, {})
    db = await open_database(given.database)
    (run,) = await history(db)
    assert run["status"] == "running"
    clock = Watch(run["started_at"] + 10_000)
    (p,) = plan(given.jobs)
    p = p._replace(settings=p.settings.model_copy(update=dict(cron="0 0 1 1 *")))      # no other time comes meanwhile
    assert await once(Scheduler(db, given.jobs, [p], clock)) == []                                             # its lease is not over
    clock.t = run["started_at"] + 3 * HELD
    assert await once(Scheduler(db, given.jobs, [p], clock)) == [("toy", "done")]
    (again,) = await history(db)
    await db.close()
    assert (again["attempt"], again["status"], again["scheduled_at"], again["caught_up"]) == (2, "done", run["scheduled_at"], False)


def test_sigterm_ends_the_job_in_order_and_says_so(tmp_path):
    path = config(tmp_path, [hang(tmp_path)])
    process, job = started(path, tmp_path)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "toy ended before time and run again at the next start" in err and out.startswith("stopped")
    assert ended(job)
    (run,) = json.loads(said("history", "-c", path, "--json"))
    assert run["status"] == "interrupted" and run["next_at"]


async def test_the_service_runs_the_schedule_and_counts(tmp_path):
    given = load(config(tmp_path, ["1"]), {})
    db, state = await open_database(given.database), ServiceState()
    task = asyncio.create_task(jobs(Running(given, db, state, "", None)))
    async with asyncio.timeout(60):
        while not (rows := await history(db)) or rows[-1]["status"] == "running":
            await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await db.close()
    assert rows[-1]["status"] == "done" and b'perps_job_attempts_total{job="toy",status="done"} 1.0' in state.metrics.text()


# --- systemd


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_units(tmp_path):
    path = config(tmp_path, ["1"])
    files = said("units", tmp_path / "units", "-c", path, "--home", tmp_path, "--user", "root").split()
    assert sorted(Path(f).name for f in files) == ["perps-kit-job-toy.service", "perps-kit-job-toy.timer", "perps-kit-jobs.service"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and str(tmp_path) not in done.stderr, done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("cron", ["5 0 * * *", "*/20 8-10 * * MON-FRI", "0 12 1,15 * *", "0 12 13 * FRI", "30 6 L * *", "0 0 */10 * MON"])
def test_a_timer_goes_off_at_the_planned_times(cron):
    from runners.jobs.units import calendar

    p, since = planned(cron), parse_time("2026-11-20T07:00")
    found = set()
    for line in calendar(p, "UTC"):
        told = subprocess.run(["systemd-analyze", "calendar", "--iterations=4", f"--base-time={iso(since)}:00 UTC"[:40], line],
                              capture_output=True, text=True, timeout=30, env={"TZ": "UTC", "PATH": os.environ["PATH"]})
        assert told.returncode == 0, told.stderr
        words = [x.split(": ", 1)[1].split() for x in told.stdout.splitlines() if "elapse:" in x or "Iteration" in x or "Iter. #" in x]
        found |= {parse_time(f"{date}T{clock}") for _, date, clock, *_ in words}
    wanted = list(islice(p.times(since), 4))
    assert sorted(found)[:4] == wanted


def test_what_systemd_cannot_say_is_refused():
    from runners.jobs.units import calendar

    with pytest.raises(ConfigError, match="systemd cannot say '0 0 . . MON#2'; run it by `perps-kit jobs start`"):
        calendar(planned("0 0 * * MON#2"), "UTC")


async def test_the_newest_row_of_each_job_is_found_among_many(db):
    async with db.write() as session:
        for k in range(20):
            await kept.begin(session, f"job{k % 3}", k, 1, instance="x:1", started_at=k, status="done")
    async with db.read() as session:
        newest = await kept.newest_runs(session)
        assert {job: run.scheduled_at for job, run in newest.items()} == {"job0": 18, "job1": 19, "job2": 17}
        assert await session.scalar(select(func.count()).select_from(Outbox)) == 0
