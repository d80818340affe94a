"What the service does when something under it fails: it ends rather than go on ahead of its database, and the next start recovers."

import asyncio

import ccxt
import pytest
from pg import new_database
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError
from venue_kit import SPAN, bench, walk

from perps_kit.core.bar import Bar, DataError
from perps_kit.core.clock import HOUR, parse_time
from perps_kit.core.stream import Step, Stream
from perps_kit.storage.keep import get_meta, set_meta
from perps_kit.storage.models import Candle, Outbox, SignalRow, Snapshot
from runners.db.connect import open_database
from runners.errors import ConfigError
from runners.live.book import keep_candles
from runners.live.feed import Arrival, Feed
from runners.live.funding import FundingDesk, on_the_hour, settlements_of
from runners.live.service import named_strategies
from runners.live.start import history, snapshot, wake
from runners.live.venue import Exchange, Pacer, connected
from runners.metrics import Metrics
from runners.state import ServiceState
from runners.venue import open_exchange
from tests.serving import resumed, serving, settings


class Full(OperationalError):
    "The disk is full, the server is gone: a commit that fails."

    def __init__(self):
        super().__init__("COMMIT", None, OSError("no space left on device"))


def fail_after(db, service, cycles, commits):
    "So many cycles are done and so many commits after them; the next one fails."
    @event.listens_for(db.engine.sync_engine, "commit")
    def on_commit(connection):  # pyright: ignore[reportUnusedFunction]
        nonlocal commits
        if service.cycles == cycles and connection.get_execution_options().get("writes") and service.under_way:
            if commits == 0:
                raise Full
            commits -= 1


@pytest.mark.parametrize("what", ["snapshot", "cycle"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_commit_that_fails_ends_the_service_and_the_next_start_loses_nothing(tmp_path, kind, what):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-30T16:00", snapshot_every=1,
                      **(dict(database=new_database()) if kind == "postgresql" else {}))
    with pytest.raises(OperationalError, match="no space left"):
        async with serving(wanted) as (service, db, _):
            fail_after(db, service, 46, ["snapshot", "cycle"].index(what))
            async with asyncio.timeout(30):
                await service.run()
    done = parse_time("2026-10-30") + 46 * SPAN
    db = await open_database(wanted.database)
    async with db.read() as session:
        assert int(await get_meta(session, "cycle") or 0) == done  # nothing of a failed cycle is there
        assert await session.scalar(select(func.max(Snapshot.time))) == (done if what == "cycle" else done - SPAN)
    await db.close()
    async with serving(resumed(wanted, done, "2026-10-30T16:00")) as (service, db, _):
        await service.run()
        again = await left(db)
    (tmp_path / "whole").mkdir()
    async with serving(settings(tmp_path / "whole", start="2026-10-30", end="2026-10-30T16:00")) as (service, db, _):
        await service.run()
        assert await left(db) == again and len(again[0]) >= 1


async def left(db):
    async with db.read() as session:
        signals = sorted((s.id, s.status, s.final) for s in await session.scalars(select(SignalRow)))
        messages = sorted((m.kind, m.random_id) for m in await session.scalars(select(Outbox)))
        last = await session.scalar(select(func.max(Candle.open_time)))
    return signals, messages, last


@pytest.mark.parametrize("error", [Full, ZeroDivisionError])
async def test_an_account_ahead_of_its_database_ends_the_service_any_other_trouble_is_tried_again(tmp_path, error):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-30T02:00", replay=dict(pace=9_000), max_lag=1e6)
    async with serving(wanted) as (service, _, state):
        asked = []

        async def news():
            yield

        async def attend(time):
            asked.append(time)
            if len(asked) == 1:
                raise error

        (paper,) = service.followers
        paper.news, paper.attend = news, attend
        running = asyncio.create_task(service.run())
        if error is Full:
            with pytest.raises(OperationalError):
                await asyncio.wait_for(running, 10)
            return
        async with asyncio.timeout(10):
            while len(asked) < 2 or service.cycles < 2:
                await asyncio.sleep(0.05)
        service.stopping.set()
        await asyncio.wait_for(running, 10)
        assert state.metrics.restarts.labels("account")._value.get() == 1


async def test_a_late_bar_does_not_set_the_service_back(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-30T02:00")
    async with serving(wanted) as (service, db, _):
        await service.run()
        last, old = service.last, bar(service.last - 2 * SPAN)
        await service.cycle(Arrival(old.close_time, {"ETHUSDT": [old]}, [], 0.0))
        async with db.read() as session:
            assert service.last == last == int(await get_meta(session, "cycle") or 0)
    async with serving(resumed(wanted, last)) as (service, _, _):
        assert service.last == last and {s.last.close_time for s in service.streams.values()} == {last}


async def test_a_task_that_fails_leaves_none_behind(tmp_path):
    async with serving(settings(tmp_path, start="2026-10-30", end="2026-10-30T03:00")) as (service, _, _):
        async def broken(arrival):
            raise ZeroDivisionError

        service.cycle = broken
        with pytest.raises(ZeroDivisionError):
            await service.run()
        assert not {"klines", "stop", "cycles", "cycle"} & {task.get_name() for task in asyncio.all_tasks()}


async def test_a_stop_between_two_closes_of_a_silent_venue_is_soon(tmp_path):
    async with serving(settings(tmp_path, start="2026-10-30", end="2026-10-30T03:00")) as (service, _, _):
        async def nothing(time, phase):
            await asyncio.sleep(60)

        service.exchange.pacer.release = nothing
        running = asyncio.create_task(service.run())
        await asyncio.sleep(0.3)
        service.stopping.set()
        async with asyncio.timeout(2):
            await running


GOOD = dict(symbol="BTCUSDT", fundingTime="1760180400007", fundingRate="0.0001", markPrice="60000")


def test_settlements_are_read_on_their_minute():
    assert settlements_of([GOOD]) == [(1_760_180_400_000, 0.0001, 60_000.0)]
    assert settlements_of([]) == [] and settlements_of([dict(GOOD, markPrice="")]) == []


@pytest.mark.parametrize("rows", [
    "<html>", dict(code=-1), ["<html>"], [dict(GOOD, fundingRate="NaN")], [dict(GOOD, markPrice="Infinity")], [dict(GOOD, markPrice="-1")],
    [dict(GOOD, fundingTime=None)], [dict(GOOD, fundingRate="x")], [{k: v for k, v in GOOD.items() if k != "fundingRate"}],
])
def test_settlements_that_make_no_sense_are_refused(rows):
    with pytest.raises(DataError):
        settlements_of(rows)


def bar(open_time, length=SPAN):
    return Bar(open_time, open_time + length, 1.0, 1.0, 1.0, 1.0, 1.0)


def test_only_bars_that_touch_a_whole_hour_are_asked_for():
    hour = parse_time("2026-10-30T08:00")
    assert [on_the_hour(bar(hour + k * SPAN)) for k in range(-2, 4)] == [False, True, True, False, False, True]
    assert on_the_hour(bar(hour, 4 * HOUR))


async def test_a_settlement_that_cannot_be_had_is_counted_and_the_cycle_goes_on(caplog):
    bars = walk()
    async with bench(bars) as b:
        desk = FundingDesk(Exchange(b.exchange, ("BTCUSDT",), Pacer(), "binanceusdm", 1.0), metrics := Metrics())
        hour = b.venue.time - b.venue.time % (8 * HOUR)
        steps = {"BTCUSDT": [Step(bar(hour), [], {}, {15: bar(hour)})]}
        await b.control("fault", kind="html", count=1, path="fundingRate")
        assert await desk.of(steps, {"BTCUSDT"}, {15}) == {} and metrics.refusals.labels("bad funding")._value.get() == 1
        await b.control("fault", kind="timeout", count=5, path="fundingRate")
        began = asyncio.get_running_loop().time()
        assert await desk.of(steps, {"BTCUSDT"}, {15}) == {} and asyncio.get_running_loop().time() - began < 4
        assert caplog.text.count("is missing from its positions") == 2
        assert await desk.of(steps, set(), {15}) == {}  # nothing held, nothing asked


async def test_nobody_asks_during_a_ban(monkeypatch):
    async with bench(walk()) as b:
        exchange = Exchange(b.exchange, ("BTCUSDT",), Pacer(), "binanceusdm", 2.0)
        await b.control("fault", kind="418", count=9, seconds=3600, path="time")
        for _ in range(3):
            with pytest.raises(ccxt.DDoSProtection):
                await exchange.now()
        assert b.venue.faults[0]["count"] == 8  # asked once
        await b.control("fault", kind="clear")
        exchange.quiet_until = 0.0
        assert await exchange.now() == b.venue.time


async def test_all_requests_wait_out_one_limit():
    async with bench(walk()) as b:
        exchange = Exchange(b.exchange, ("BTCUSDT",), Pacer(), "binanceusdm", 2.0)
        await b.control("fault", kind="429", count=1, seconds=1, path="time")
        began = asyncio.get_running_loop().time()
        first = asyncio.create_task(exchange.now())
        await asyncio.sleep(0.2)
        assert await exchange.now() == await first and asyncio.get_running_loop().time() - began >= 1.0


@pytest.mark.parametrize(("fault", "said"), [
    (dict(kind="html", count=2, path="klines"), ""), (dict(kind="nan", count=2, path="klines"), ""),
    (dict(kind="html", count=99, path="klines"), "sends no sound history of BTCUSDT"),
    (dict(kind="418", count=99, seconds=3600, path="klines"), "does not give the history of BTCUSDT"),
])
async def test_a_bad_day_at_the_start_is_waited_out_or_one_sentence(fault, said):
    async with bench(walk()) as b:
        feed = Feed(Exchange(b.exchange, ("BTCUSDT",), Pacer(), "binanceusdm", 2.0), 15, Metrics(), 1.0, 5.0)
        await b.control("fault", **fault)
        if not said:
            assert (await history(feed, "BTCUSDT", b.venue.time - 50 * SPAN, b.venue.time))[-1].close_time == b.venue.time
            return
        with pytest.raises(ConfigError, match=said) as caught:
            await history(feed, "BTCUSDT", b.venue.time - 50 * SPAN, b.venue.time)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["exchangeInfo", "time"])
@pytest.mark.parametrize("kind", ["html", "503", "418"])
async def test_a_venue_that_is_down_is_one_sentence(path, kind):
    async with bench(walk()) as b:
        client = await open_exchange(b.door.port, b.door.certificate, b.venue.key, b.venue.secret)
        await b.control("fault", kind=kind, count=99, seconds=3600, path=path)
        with pytest.raises(ConfigError, match="cannot reach binanceusdm") as caught:
            async with connected(client, settings("/nowhere", symbols=("BTCUSDT",)), Pacer()):
                pass
        assert "\n" not in str(caught.value)


async def test_a_long_hole_in_the_stored_candles_is_a_new_origin_as_it_was_live(tmp_path):
    wanted = settings(tmp_path, symbols=("ETHUSDT",))
    strategies = named_strategies(wanted)
    bars = list(walk("ETHUSDT", 200))
    lived, db = Stream(strategies, "ETHUSDT", 15), await open_database(wanted.database)
    for k, one in enumerate(bars):
        if 120 <= k < 130:
            continue
        lived.accept(one)
        if k == 100:
            await snapshot(db, {"ETHUSDT": lived}, wanted)
    async with db.write() as session:
        await keep_candles(session, "binanceusdm", "ETHUSDT", 15, bars[:120] + bars[130:])
        await set_meta(session, cycle=str(bars[-1].close_time))
    async with bench(walk("ETHUSDT", 200)) as b:
        feed = Feed(Exchange(b.exchange, ("ETHUSDT",), Pacer(), "binanceusdm", 2.0), 15, Metrics(), 1.0, 5.0)
        woken = Stream(strategies, "ETHUSDT", 15)
        assert await wake(db, feed, {"ETHUSDT": woken}, wanted, ServiceState()) == bars[-1].close_time
    await db.close()
    assert woken.save() == lived.save() and woken.origin == bars[130].open_time
