"A live account that starts again: what was written is done, what was done is found, and a naked position gets its stop first."

import pytest
from live_kit import SETTLE, STILL, living

from perps_kit.core.signal import TRIPLE
from perps_kit.storage.models import Order

UP = (100.0, 101.6, 99.9, 101.5)


def once(life) -> bool:
    return len(set(life.names())) == len(life.names())


class Killed(BaseException):
    "The process ends here."


def die_after(life, requests: int) -> None:
    "The account's client dies with its so-manieth order or cancel: it reaches the venue, the answer never comes back."
    client, left = life.exchange.client, [requests]
    fetch = client.fetch

    async def fetched(url, method="GET", *more):
        answer = await fetch(url, method, *more)
        if method in ("POST", "DELETE") and "rder" in url:
            left[0] -= 1
            if not left[0]:
                client.fetch = fetch
                raise Killed
        return answer

    client.fetch = fetched


async def test_an_entry_that_was_written_but_not_sent_is_sent(tmp_path):
    async with living(tmp_path, STILL, STILL) as life:
        await life.commit(life.signal(1))
        assert life.names() == []
        await life.start()
        assert len(life.names()) == 1 and [o.state for o in await life.rows(Order)] == ["open"]
        await life.bar()
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0"] and once(life)


async def test_an_entry_from_before_a_long_absence_is_not_sent(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL) as life:
        await life.commit(life.signal(1))
        for phase in ("close", "open", "close", "open"):
            await life.bench.barrier(phase)
        await life.start()
        assert (
            life.names() == []
            and (await life.tracker()).state == "CANCELLED"
            and not [p for p in life.account.positions.values() if not p.over]
        )


@pytest.mark.parametrize("requests", [1, 2, 3, 4])
async def test_a_kill_between_two_orders_leaves_each_of_them_once(tmp_path, requests):
    async with living(tmp_path, UP, (101.5, 101.6, 99.9, 100.1), STILL) as life:
        await life.commit(life.signal(1, preset=TRIPLE))
        die_after(life, requests)
        try:
            await life.account.perform()
            await life.bench.barrier("close")
            await life.account.opened(life.venue.time)
            raise AssertionError("it should have died")
        except Killed:
            await life.start()
        if life.venue.phase == "close":
            await life.bench.barrier("close")
            await life.account.opened(life.venue.time)
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0", "tp3-0"] and once(life)
        await life.bench.barrier("open")
        await life.bar()
        await life.bar()
        assert (await life.tracker()).exit_type == "TP1_BE" and await life.agree() and once(life)


async def test_an_entry_that_was_filled_before_anybody_knew_it_was_sent_is_not_sent_again(tmp_path):
    async with living(tmp_path, UP, STILL, STILL) as life:
        await life.commit(life.signal(1))
        die_after(life, 1)
        with pytest.raises(Killed):
            await life.account.perform()
        await life.bench.barrier("close")
        assert [o.state for o in await life.rows(Order)] == ["intended"] and life.position > 0
        await life.start()
        assert life.position == (await life.tracker()).quantity and life.resting() == ["stop-0", "tp1-0", "tp2-0"] and once(life)


@pytest.mark.parametrize("requests", [1, 2])
async def test_a_kill_while_the_stop_moves_never_leaves_the_position_naked(tmp_path, requests):
    async with living(tmp_path, UP, (101.5, 101.6, 99.9, 100.1), STILL) as life:
        await life.bar(life.signal(1, preset=TRIPLE))
        await life.commit()
        die_after(life, requests)
        with pytest.raises(Killed):
            await life.account.perform()
        assert any(name.startswith("stop") for name in life.resting())
        await life.start()
        assert life.resting() == ["stop-1", "tp2-0", "tp3-0"] and once(life)
        for phase in ("close", "open"):
            await life.bench.barrier(phase)
        await life.bar()
        assert (await life.tracker()).exit_type == "TP1_BE" and await life.agree()


async def test_a_naked_position_gets_its_stop_before_anything_else(tmp_path):
    async with living(tmp_path, STILL, STILL) as life:
        await life.commit(life.signal(1))
        await life.account.perform()
        await life.bench.barrier("close")
        assert life.position and life.resting() == []
        await life.start()
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0"]
        assert life.names()[0].startswith("stop") and [n.split("-")[0] for n in life.names()[1:]] == ["entry", "tp1", "tp2"]
        ids = sorted((o.venue_id, o.kind) for o in await life.rows(Order))
        assert [kind for _, kind in ids] == ["entry", "stop", "tp1", "tp2"]


async def test_an_entry_whose_answer_was_lost_is_waited_for_before_it_is_sent_again(tmp_path):
    async with living(tmp_path, STILL, STILL) as life:
        await life.commit(life.signal(1))
        client = life.exchange.client
        create = client.create_order

        async def killed(*args):
            await life.fault("late_apply", path="v1/order", seconds=SETTLE / 2)
            try:
                await create(*args)
            finally:
                raise Killed

        client.create_order = killed
        with pytest.raises(Killed):
            await life.account.perform()
        client.create_order = create
        assert life.names() == []
        await life.start()
        assert len(life.names()) == 1


async def test_fills_of_an_absence_are_found(tmp_path):
    rows = [UP, (101.5, 101.6, 99.9, 100.1), STILL]
    async with living(tmp_path, *rows) as life:
        await life.bar(life.signal(1, preset=TRIPLE))
        await life.start()
        assert life.resting() == ["stop-0", "tp2-0", "tp3-0"]  # the first target was filled in the bar just closed
        await life.bar()
        await life.start()
        await life.bar()
        assert [kind for kind, _, _ in await life.fills()] == ["entry", "tp1", "stop"] and once(life)
        assert (await life.tracker()).exit_type == "TP1_BE" and await life.agree()
