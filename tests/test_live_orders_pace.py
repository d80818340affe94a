"A live account at a venue that runs by itself: fills between two closes are heard of and seen to at once."
import asyncio
from contextlib import asynccontextmanager

import pytest
from live_kit import STILL, living

from perps_kit.core.clock import parse_time
from perps_kit.core.signal import TRIPLE
from perps_kit.storage.models import Fill, Order, Tracker
from runners.errors import ConfigError
from tests.serving import serving, settings
from tests.test_service import table


@asynccontextmanager
async def tended(life):
    "Attend to the account whenever the venue speaks, as the service does: one thing at a time."
    turn = asyncio.Lock()

    async def tend() -> None:
        async for _ in life.account.news():
            async with turn:
                await life.account.attend(life.close)

    task = asyncio.create_task(tend())
    await asyncio.sleep(0.3)
    try:
        yield turn
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds, within=5.0):
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("row", [(100.0, 103.0, 99.9, 102.0), (100.0, 100.2, 98.0, 98.1)], ids=["targets", "stop"])
async def test_what_is_left_over_by_a_fill_is_cancelled_before_the_next_close(tmp_path, row):
    async with living(tmp_path, row, STILL, pace=450.0, hold=True) as life, tended(life) as turn:
        async with turn:
            await life.commit(life.signal(1, preset=TRIPLE))
            await life.account.perform()
            assert life.position == 62.529                                      # filled at once
            await life.account.opened(life.venue.time)
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0", "tp3-0"]
        await life.bench.control("start")
        await until(lambda: life.position == 0.0)
        await until(lambda: not life.resting(), 2.0)
        assert life.venue.time < life.venue.start + life.venue.span             # still inside the bar
        assert (await life.tracker()).state == "OPEN"                           # the ladder hears of it at the close
        await until(lambda: life.venue.time >= life.venue.start + life.venue.span)
        async with turn:
            await life.commit()
        tracker = await life.tracker()
        assert tracker.state == "CLOSED" and tracker.exit_type == ("TP3" if row[1] > 101 else "SL")
        assert len(set(life.names())) == len(life.names()) and {o.state for o in await life.rows(Order)} <= {"filled", "cancelled"}


async def test_a_target_sold_inside_the_bar_is_not_placed_again(tmp_path):
    async with living(tmp_path, (100.0, 101.4, 99.9, 101.3), STILL, pace=450.0, hold=True) as life, tended(life) as turn:
        async with turn:
            await life.commit(life.signal(1, preset=TRIPLE))
            await life.account.perform()
            await life.account.opened(life.venue.time)
        assert "tp1-0" in life.resting()
        await life.bench.control("start")
        await until(lambda: "tp1-0" not in life.resting())
        await asyncio.sleep(0.2)
        async with turn:
            await life.account.attend(life.close)
        assert life.resting() == ["stop-0", "tp2-0", "tp3-0"]


async def test_the_service_trades_a_replay_that_runs_by_itself(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30T11:00", end="2026-10-30T16:30", mode="live", live=dict(confirmed=True), max_lag=1e6,
                      origin=parse_time("2026-10-30") - 45 * 86_400_000, replay=dict(pace=1800.0))
    async with serving(wanted) as (service, db, _):
        task = asyncio.create_task(service.run())
        account = service.followers[0]
        async with asyncio.timeout(40):
            while (await service.exchange.pacer.status())["phase"] != "done" or service.last < wanted.venue.replay.end:
                await asyncio.sleep(0.2)
                assert not task.done()
        service.stopping.set()
        await task
        orders, fills, trackers = await table(db, Order), await table(db, Fill), [t for t in await table(db, Tracker) if t["account_id"]]
        assert trackers and fills and not account.positions
        assert {o["state"] for o in orders} <= {"filled", "cancelled"} and {t["state"] for t in trackers} == {"CLOSED"}


async def test_a_stop_never_comes_between_an_entry_and_its_protection(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30T11:30", end="2026-10-30T16:30", mode="live", live=dict(confirmed=True), max_lag=1e6,
                      origin=parse_time("2026-10-30") - 45 * 86_400_000, replay=dict(pace=450.0))
    async with serving(wanted) as (service, db, _):
        account = service.followers[0]
        perform = account.perform

        async def stopped_meanwhile() -> None:
            await perform()
            if account.positions:
                service.stopping.set()

        account.perform = stopped_meanwhile
        async with asyncio.timeout(40):
            await service.run()
        orders = {o["kind"]: o["state"] for o in await table(db, Order)}
        assert orders["entry"] == "filled" and orders["stop"] == "open"


async def test_mode_live_has_one_account(tmp_path):
    wanted = settings(tmp_path, mode="live", live=dict(confirmed=True), accounts=[dict(name="one"), dict(name="two")])
    with pytest.raises(ConfigError, match="one account"):
        async with serving(wanted):
            pass
