"The supervisor: what fails starts again, later each time; what a person has to mend does not; parts of a task end together."

import asyncio

import pytest

from runners import supervisor
from runners.errors import ConfigError
from runners.metrics import Metrics
from runners.supervisor import keep_running, together


@pytest.fixture
def pauses(monkeypatch):
    "The pauses that were asked for; none is really waited for."
    asked, sleep = [], asyncio.sleep

    async def quick(seconds):
        asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr(supervisor.asyncio, "sleep", quick)
    return asked


def failing(times, error=RuntimeError):
    "Work that fails so many times and then ends well."
    starts = []

    async def work():
        starts.append(len(starts))
        if len(starts) <= times:
            raise error("it rained")

    return starts, work


def restarts(metrics, name="it"):
    return metrics.restarts.labels(name)._value.get()


async def test_what_fails_starts_again_later_each_time_until_it_ends_well(pauses, caplog):
    metrics, (starts, work) = Metrics(), failing(9)
    await keep_running("it", work, metrics)
    assert len(starts) == 10 and restarts(metrics) == 9
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert caplog.messages[0] == "it failed and starts again in 0.5 s: RuntimeError: it rained"


async def test_what_ends_well_is_left_alone(pauses):
    metrics, (starts, work) = Metrics(), failing(0)
    await keep_running("it", work, metrics)
    assert len(starts) == 1 and not pauses and restarts(metrics) == 0


async def test_after_a_good_while_the_pauses_begin_anew(pauses, monkeypatch):
    monkeypatch.setattr(supervisor, "STEADY", -1.0)
    await keep_running("it", failing(4)[1], Metrics())
    assert pauses == [0.5, 0.5, 0.5, 0.5]


async def test_what_a_person_has_to_mend_is_not_tried_again(pauses):
    _, work = failing(1, ConfigError)
    with pytest.raises(ConfigError):
        await keep_running("it", work, Metrics())
    assert not pauses


async def test_what_only_a_new_start_mends_is_not_tried_again(pauses):
    with pytest.raises(KeyError):
        await keep_running("it", failing(1, KeyError)[1], Metrics(), (KeyError,))
    assert not pauses


async def test_cancelling_ends_it():
    async def work():
        await asyncio.sleep(60)

    task = asyncio.create_task(keep_running("it", work, Metrics()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_part_that_fails_ends_the_others_so_that_none_runs_twice_after_a_restart():
    at_work = 0

    async def lasting():
        nonlocal at_work
        at_work += 1
        try:
            await asyncio.sleep(60)
        finally:
            at_work -= 1

    async def failing():
        await asyncio.sleep(0.01)
        raise RuntimeError("it rained")

    with pytest.raises(RuntimeError, match="it rained"):
        await together(lasting(), failing(), lasting())
    assert at_work == 0


async def test_parts_that_end_well_are_waited_for_and_a_cancel_reaches_all():
    done = []

    async def part(seconds):
        try:
            await asyncio.sleep(seconds)
        finally:
            done.append(seconds)

    await together(part(0.01), part(0.02))
    assert done == [0.01, 0.02]
    task = asyncio.create_task(together(part(60), part(61)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(done) == [0.01, 0.02, 60, 61]
