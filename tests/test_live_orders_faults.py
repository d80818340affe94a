"Bad days of a live account: lost answers, late orders, refusals, limits. No order is lost and none is there twice."

import asyncio

import pytest
from live_kit import SETTLE, STILL, living

from perps_kit.core.signal import TRIPLE
from perps_kit.storage.models import Order
from perps_kit.trackers.plan import Rules

UP, HIGH = (100.0, 101.6, 99.9, 101.5), (101.5, 101.6, 101.2, 101.5)


def once(life) -> bool:
    "Whether the venue knows every order of ours exactly once."
    return len(set(life.names())) == len(life.names())


@pytest.mark.parametrize("kind", ["503", "503_late", "late_apply", "timeout", "html", "slow"])
@pytest.mark.parametrize("what", ["v1/order", "algoOrder"])
async def test_a_lost_answer_neither_loses_nor_doubles_an_order(tmp_path, kind, what):
    async with living(tmp_path, UP, (101.5, 101.6, 99.9, 100.1), STILL) as life:
        life.exchange.timeout = 0.4
        await life.fault(kind, count=1, path=what, seconds=SETTLE / 2)
        await life.commit(new := life.signal(1, preset=TRIPLE))
        await life.account.perform()
        if what == "v1/order":
            assert (await life.orders())["entry.0"].state == "open" and once(life)
        await life.bench.barrier("close")
        await life.account.opened(life.venue.time)
        await asyncio.sleep(SETTLE)  # whatever comes late has come
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0", "tp3-0"] and once(life)
        assert life.position == (await life.tracker()).quantity and new.id in life.account.positions
        await life.bench.barrier("open")
        await life.bar()
        await life.bar()
        assert (await life.tracker()).exit_type == "TP1_BE" and await life.agree() and once(life)


async def test_an_uncertain_order_is_written_down_as_unknown_before_the_wait(tmp_path):
    async with living(tmp_path, STILL, STILL) as life:
        await life.commit(life.signal(1))
        await life.fault("late_apply", path="v1/order", seconds=SETTLE / 2)
        sending = asyncio.create_task(life.account.perform())
        await asyncio.sleep(SETTLE / 3)
        assert [o.state for o in await life.rows(Order)] == ["unknown"] and life.names() == []
        await sending
        assert [o.state for o in await life.rows(Order)] == ["open"] and len(life.names()) == 1


async def test_a_venue_that_is_away_for_long_gets_the_order_when_it_is_back_and_not_twice(tmp_path):
    async with living(tmp_path, UP, HIGH, HIGH) as life:
        life.account.desk.settle = 0.01
        await life.bar(life.signal(1))
        await life.fault("503", path="rder", count=2)  # the new stop, and the first question after it
        await life.bar()
        assert life.resting() == ["stop-1", "tp2-0"] and once(life)


async def test_a_rate_limit_is_waited_for(tmp_path):
    async with living(tmp_path, STILL, STILL) as life:
        await life.fault("429", path="v1/order", seconds=1)
        began = asyncio.get_running_loop().time()
        await life.bar(life.signal(1))
        assert asyncio.get_running_loop().time() - began >= 1.0 and life.resting() == ["stop-0", "tp1-0", "tp2-0"] and once(life)


async def test_an_entry_that_would_come_too_late_is_called_off(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL, start=False) as life:
        await life.start(lag=0.5)
        await life.fault("429", path="v1/order", seconds=30)
        await life.bar(life.signal(1))
        tracker = await life.tracker()
        assert (tracker.state, life.position, life.names()) == ("CANCELLED", 0.0, [])
        assert "too late" in (await life.orders())["entry.0"].error
        await life.bar(life.signal(1))
        assert life.position > 0


async def test_an_entry_without_margin_is_called_off(tmp_path):
    async with living(tmp_path, STILL, STILL, balance=100.0) as life:
        life.account.equity = 10_000.0
        before, life.account.before = life.account.before, lambda time: asyncio.sleep(0)
        await life.bar(life.signal(1))
        life.account.before = before
        assert (await life.tracker()).state == "CANCELLED" and "-2019" in (await life.orders())["entry.0"].error
        assert not life.account.positions and not await life.alerts()


async def test_a_refused_stop_closes_the_position_and_tells_somebody(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL) as life:
        await life.commit(life.signal(1))
        await life.account.perform()
        await life.bench.barrier("close")
        market = life.venue.markets["BTCUSDT"]
        market.filters = market.filters._replace(tick=1.0)  # the venue has another grid now: 98.5 is not on it
        await life.account.opened(life.venue.time)
        market.filters = market.filters._replace(tick=0.01)
        assert life.position == 0.0 and await life.alerts() == ["Stop refused"]
        await life.bench.barrier("open")
        await life.bar()
        tracker = await life.tracker()
        assert (tracker.state, tracker.exit_type) == ("CLOSED", "MANUAL") and life.resting() == [] and not life.account.positions
        assert (await life.orders())["stop.0"].state == "rejected" and "-1111" in (await life.orders())["stop.0"].error


async def test_a_stop_that_would_trigger_at_once_is_a_stop_that_was_hit(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL) as life:
        await life.commit(life.signal(1))
        await life.account.perform()
        await life.bench.barrier("close")
        life.venue.lockstep = False  # the real venue's refusal, -2021
        life.venue.markets["BTCUSDT"].last = 98.0
        await life.account.opened(life.venue.time)
        life.venue.lockstep = True
        assert life.position == 0.0 and await life.alerts() == ["Stop refused"]
        await life.bench.barrier("open")
        await life.bar()
        assert (await life.tracker()).exit_type == "SL"


async def test_a_stop_that_the_venue_dropped_is_placed_again(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL) as life:
        await life.bar(life.signal(1))
        await life.exchange.client.fapiPrivateDeleteAlgoOpenOrders({"symbol": "BTCUSDT"})
        assert life.resting() == ["tp1-0", "tp2-0"]
        await life.bar()
        assert life.resting() == ["stop-1", "tp1-0", "tp2-0"]


async def test_a_position_closed_by_hand_is_noticed(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL) as life:
        await life.bar(life.signal(1))
        await life.exchange.client.create_order("BTC/USDT:USDT", "market", "sell", life.position, None, {"reduceOnly": True})
        await life.bar()
        await life.bar()
        tracker = await life.tracker()
        assert (tracker.state, tracker.exit_type) == ("CLOSED", "MANUAL") and life.resting() == [] and not life.account.positions
        assert [kind for kind, _, _ in await life.fills()] == ["entry", "ext"]


async def test_a_strangers_position_is_told_of_once_and_left_alone(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL, STILL) as life:
        await life.exchange.client.create_order("BTC/USDT:USDT", "market", "buy", 1.0)
        for _ in range(3):
            await life.bar()
        await life.start()
        await life.start()
        assert await life.alerts() == ["Unknown position"] and life.position == 1.0 and life.resting() == []


async def test_a_cycle_without_answer_is_made_good_at_the_next(tmp_path):
    rows = [UP, HIGH, HIGH, HIGH]
    async with living(tmp_path, *rows) as life:
        await life.bar(life.signal(1, preset=TRIPLE))
        await life.fault("timeout", path="v3/account")
        life.exchange.timeout = 0.1
        await life.commit()  # the target's fill is not known, so nothing is stepped
        life.exchange.timeout = 1.0
        assert (await life.tracker()).state == "OPEN" and life.resting() == ["stop-0", "tp2-0", "tp3-0"]
        for phase in ("close", "open"):
            await life.bench.barrier(phase)
        await life.bar()  # both bars are
        assert (await life.tracker()).state == "TP1" and life.resting() == ["stop-1", "tp2-0", "tp3-0"]
        assert life.account.positions and once(life)


async def test_liquidation_is_called_by_its_name(tmp_path):
    async with living(tmp_path, STILL, (100.0, 100.0, 85.0, 86.0), STILL, rules=Rules(patience=0)) as life:
        await life.bar(life.signal(1))
        await life.exchange.client.fapiPrivateDeleteAlgoOpenOrders({"symbol": "BTCUSDT"})
        await life.bench.barrier("close")
        await life.bench.barrier("open")
        await life.bar()
        tracker = await life.tracker()
        assert tracker.exit_type == "LIQ" and life.position == 0.0 and tracker.gross_r < -1
