"The feed on bad days: against the replay venue over the wire, nothing is lost, nothing is taken twice, nothing bad gets in."

import asyncio
import logging
from contextlib import asynccontextmanager

import numpy as np
import pytest
from venue_kit import SPAN, bench, walk

from perps_kit.core.bar import Bars
from runners.live.feed import Feed
from runners.live.venue import Exchange, Pacer
from runners.metrics import Metrics

BTC, ETH = walk("BTCUSDT"), walk("ETHUSDT", seed=2, price=3_000.0, digits=2)
TOPIC = "ethusdt@kline_15m"


class Day:
    "A venue, a feed that watches it, and what the feed has handed out."

    def __init__(self, bench, feed):
        self.bench, self.feed, self.venue = bench, feed, bench.venue
        self.arrivals = feed.cycles()
        self.next = None

    async def bar(self):
        "One bar at the venue; the close that it brings."
        await self.bench.bar()
        return self.venue.time

    async def arrival(self, within=5.0):
        return await asyncio.wait_for(anext(self.arrivals), within)

    async def watched(self):
        async with asyncio.timeout(5):
            while not all(self.venue.hub.wanted(f"{s.lower()}@kline_15m") for s in self.feed.last):
                await asyncio.sleep(0.01)

    def forget(self, topic=TOPIC):
        "The exchange no longer sends a stream, and says nothing."
        for socket in list(self.venue.hub.topics[topic]):
            self.venue.hub.part(socket, [topic])

    def refused(self, reason):
        return self.feed.metrics.refusals.labels(reason)._value.get()


@asynccontextmanager
async def day(*bars, patience=0.4, stale=20.0, **options):
    async with bench(*bars, **options) as b:
        exchange = Exchange(b.exchange, tuple(x.symbol for x in bars), Pacer(), "binanceusdm", 5.0)
        feed = Feed(exchange, 15, Metrics(), patience, stale)
        feed.last = dict.fromkeys(feed.last, b.venue.time)
        watcher = asyncio.create_task(feed.watch())
        try:
            it = Day(b, feed)
            await it.watched()
            yield it
            assert not watcher.done(), watcher.exception()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


def without(bars, *times):
    "The candles but for those that close at these times."
    return bars[~np.isin(bars.close_time, times)]


def bar_at(bars: Bars, time):
    return next(bar for bar in bars if bar.close_time == time)


async def test_a_cycle_is_every_symbol_of_a_close_and_what_the_venue_recorded():
    async with day(BTC, ETH) as it:
        for _ in range(3):
            time = await it.bar()
            got = await it.arrival(0.35)  # at once, without waiting for patience
            assert got.time == time and not got.missing and got.bars.keys() == {"BTCUSDT", "ETHUSDT"}
            ((bar,), wanted) = got.bars["BTCUSDT"], bar_at(BTC, time)
            assert bar[:7] == pytest.approx(wanted[:7]) and bar.taker_buy == bar.taker_buy and not bar.synthetic
        assert not it.feed.waiting and not it.feed.began


async def test_a_dropped_socket_is_opened_again_and_no_bar_is_lost():
    async with day(BTC, ETH) as it:
        first = await it.bar()
        await it.arrival()
        await it.bench.control("fault", kind="drop_socket")
        for _ in range(3):
            await it.bar()
        got = [await it.arrival() for _ in range(3)]
        assert [a.time for a in got] == [first + k * SPAN for k in (1, 2, 3)] and not any(a.missing for a in got)
        await it.watched()
        await it.bar()
        assert (await it.arrival(0.35)).time == first + 4 * SPAN  # by the stream again


@pytest.mark.parametrize("status", ["429", "418"])
async def test_the_venue_asks_to_wait_and_the_feed_waits(status, caplog):
    caplog.set_level(logging.WARNING)
    async with day(BTC, ETH, patience=5.0) as it:
        await it.bench.control("fault", kind=status, count=1, seconds=1, path="klines")
        it.venue.hub.muted = True
        await it.bar()
        it.venue.hub.muted = False
        it.feed.distrust.set()
        began = asyncio.get_running_loop().time()
        got = await it.arrival()
        assert not got.missing and asyncio.get_running_loop().time() - began >= 1.0
        assert "again in 1.0 s" in caplog.text and it.venue.limits.refused == 0


@pytest.mark.parametrize("kind", ["html", "nan", "repeat"])
async def test_a_bad_answer_is_refused_counted_and_asked_for_again(kind):
    async with day(BTC, ETH) as it:
        await it.bench.control("fault", kind=kind, count=2, path="klines")
        it.venue.hub.muted = True
        time = await it.bar()
        it.venue.hub.muted = False
        it.feed.distrust.set()
        waiting = asyncio.create_task(it.arrival())
        async with asyncio.timeout(5):
            while it.refused("bad answer") < 2:
                await asyncio.sleep(0.01)
        it.feed.distrust.set()
        it.feed.arrived.set()
        got = await waiting
        assert got.time == time and not got.missing
        assert got.bars["ETHUSDT"][0][:6] == pytest.approx(bar_at(ETH, time)[:6])


async def test_a_bad_candle_of_the_stream_is_refused_and_fetched():
    async with day(BTC, ETH) as it:
        it.feed.take("ETHUSDT", [it.venue.time, "1", "NaN", "1", "1", "1"])
        it.feed.take("ETHUSDT", [it.venue.time, "1", "1", "1", "1", "1", 0, None, "x", {}])
        it.feed.take("ETHUSDT", "<html>")
        it.feed.take("DOGEUSDT", "<html>")  # nobody asked for that one
        assert it.refused("bad candle") == 3 and it.feed.distrust.is_set() and not it.feed.waiting
        time = await it.bar()
        assert (await it.arrival()).time == time


async def test_an_answer_to_the_clock_that_is_no_time_is_refused():
    async with day(BTC, ETH) as it:
        await it.bench.control("fault", kind="html", count=1, path="time")
        await it.feed.catch_up()
        assert it.refused("bad answer") == 1


async def test_a_symbol_that_stays_away_is_left_out_and_its_late_bar_comes_alone():
    async with day(BTC, ETH) as it:
        it.forget()
        await it.bench.control("fault", kind="html", count=20, path="klines")
        missed = await it.bar()
        got = await it.arrival()
        assert got.time == missed and got.missing == ["ETHUSDT"] and got.bars.keys() == {"BTCUSDT"}
        await it.bench.control("fault", kind="clear")
        await it.feed.catch_up()
        late = await it.arrival()
        assert late.time == missed and late.bars.keys() == {"ETHUSDT"} and not late.missing
        assert set(it.feed.last.values()) == {missed}


@pytest.mark.parametrize(("kind", "path"), [("503", "klines"), ("503", "time"), ("503_late", "klines"), ("slow", "klines")])
async def test_a_busy_venue_is_asked_again(kind, path):
    async with day(BTC, ETH, patience=5.0) as it:
        await it.bench.control("fault", kind=kind, count=2, seconds=0.2, path=path)
        it.venue.hub.muted = True
        time = await it.bar()
        it.venue.hub.muted = False
        it.feed.distrust.set()
        got = await it.arrival()
        assert got.time == time and not got.missing and it.refused("bad answer") == 0


async def test_a_bar_that_the_venue_never_had_is_waited_for_and_then_left_out():
    gap = int(ETH.close_time[len(ETH) // 2]) + 2 * SPAN
    async with day(BTC, without(ETH, gap), start=gap - 2 * SPAN) as it:
        seen = []
        for _ in range(3):
            await it.bar()
            seen.append(await it.arrival())
        assert [a.missing for a in seen] == [[], ["ETHUSDT"], []] and seen[1].time == gap
        assert [a.bars.get("ETHUSDT", [None])[0] is not None for a in seen] == [True, False, True]


async def test_a_hole_in_the_stream_is_filled_from_rest_before_anything_else():
    async with day(BTC, ETH) as it:
        it.venue.hub.muted = True
        first = await it.bar()
        await it.bar()
        it.venue.hub.muted = False
        await it.bar()  # heard again, two bars later
        got = [await it.arrival() for _ in range(3)]
        assert [a.time for a in got] == [first, first + SPAN, first + 2 * SPAN]
        assert not any(bar.synthetic for a in got for bars in a.bars.values() for bar in bars) and not any(a.missing for a in got)


async def test_a_hole_that_rest_could_not_fill_at_first_is_handed_out_in_order_once_it_can():
    async with day(BTC, ETH, patience=0.8) as it:
        it.venue.hub.muted = True
        first = await it.bar()
        it.venue.hub.muted = False
        it.forget()
        await it.bench.control("fault", kind="html", count=2, path="klines")
        second = await it.bar()  # BTC by the stream; REST refuses at first, then has both closes of both
        got = [await it.arrival(), await it.arrival()]
        assert [(a.time, sorted(a.bars)) for a in got] == [(first, ["BTCUSDT", "ETHUSDT"]), (second, ["BTCUSDT", "ETHUSDT"])]
        assert set(it.feed.last.values()) == {second}


async def test_silence_ends_in_a_question_by_rest():
    async with day(BTC, ETH, stale=0.6) as it:
        it.venue.hub.muted = True
        time = await it.bar()
        got = await it.arrival()
        assert got.time == time and not got.missing


async def test_a_venue_that_does_not_answer_holds_a_close_back_no_longer_than_twice_the_patience():
    async with day(BTC, ETH, patience=0.3) as it:
        it.forget()
        await it.bench.control("fault", kind="slow", count=20, seconds=30, path="klines")
        await it.bar()
        began = asyncio.get_running_loop().time()
        got = await it.arrival()
        assert got.missing == ["ETHUSDT"] and asyncio.get_running_loop().time() - began < 1.5


async def test_what_was_taken_is_not_taken_again():
    async with day(BTC, ETH) as it:
        time = await it.bar()
        await it.arrival()
        await it.feed.catch_up()
        it.feed.take("BTCUSDT", [time - SPAN, *map(str, bar_at(BTC, time)[2:7])])
        assert not it.feed.waiting


async def test_the_venues_clock_is_known_between_questions():
    async with day(BTC) as it:
        now = await it.feed.exchange.now()
        assert now == it.venue.time and 0 <= it.feed.exchange.clock() - now < 1_000


async def test_candles_come_page_after_page():
    long = walk(n=2_300)
    async with day(long) as it:
        since = int(long.open_time[0])
        bars = await it.feed.fetch("BTCUSDT", since, it.venue.time)
        assert bars[0].open_time == since and bars[-1].close_time == it.venue.time
        assert [b.open_time for b in bars] == list(range(since, it.venue.time, SPAN)) and len(bars) > 1_000
