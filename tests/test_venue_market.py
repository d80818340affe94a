"Market data of the replay venue, asked for by the unmodified ccxt."
import asyncio

import numpy as np
import pytest
from venue_kit import BTC, SPAN, T0, bench, walk

from perps_kit.core.clock import HOUR
from perps_kit.data.funding import Funding
from perps_kit.exchange.candles import bars_of

ETH = "ETH/USDT:USDT"


async def test_markets_carry_the_grid():
    async with bench(walk(), walk("ETHUSDT", price=3000.0, digits=2, seed=2)) as b:
        market = b.exchange.market(BTC)
        assert (market["id"], market["precision"]["price"], market["precision"]["amount"], market["limits"]["cost"]["min"]) == ("BTCUSDT",
                0.1, 0.001, 5.0)
        assert set(b.exchange.markets) == {BTC, ETH} and await b.exchange.fetch_time() == b.venue.time
        assert b.exchange.has["fetchOHLCV"] and not b.exchange.currencies.get("XYZ")


async def test_candles_come_to_the_bit_and_never_from_the_future():
    bars = walk(n=2000)
    async with bench(bars, start=int(bars.open_time[1800])) as b:
        rows, since = [], int(bars.open_time[0])
        while True:
            page = await b.exchange.fetch_ohlcv(BTC, "15m", since=since, limit=1500)
            if not page: break
            rows += page
            since = page[-1][0] + 1
        got = bars_of(rows, 15, b.venue.time)
        assert len(got) == 1800 and got[-1].close_time == b.venue.time
        assert [(g.open_time, g.open, g.high, g.low, g.close, g.volume) for g in got] == [(x.open_time, x.open, x.high, x.low, x.close,
                x.volume) for x in bars[:1800]]
        last = await b.exchange.fetch_ohlcv(BTC, "15m", limit=3)
        assert [r[0] for r in last] == bars.open_time[1797:1800].tolist()
        until = await b.exchange.fetch_ohlcv(BTC, "15m", limit=5, params={"until": int(bars.open_time[100])})
        assert until[-1][0] == bars.open_time[100] and len(until) == 5


async def test_longer_candles_are_gathered_from_whole_buckets():
    async with bench(walk()) as b:
        hours = await b.exchange.fetch_ohlcv(BTC, "1h", limit=4)
        quarters = {r[0]: r for r in await b.exchange.fetch_ohlcv(BTC, "15m", limit=30)}
        for hour in hours:
            parts = [quarters[hour[0] + k * SPAN] for k in range(4)]
            assert hour[1:5] == [parts[0][1], max(p[2] for p in parts), min(p[3] for p in parts), parts[3][4]]
            assert hour[0] % HOUR == 0
        with pytest.raises(Exception, match="Invalid interval"): await b.exchange.fetch_ohlcv(BTC, "5m")


async def test_book_trades_tickers():
    async with bench(walk(), walk("ETHUSDT", price=3000.0, digits=2, seed=2)) as b:
        book = await b.exchange.fetch_order_book(BTC, 20)
        assert len(book["bids"]) == len(book["asks"]) == 20 and book["bids"][0][0] < book["asks"][0][0] and book["nonce"]
        trades = await b.exchange.fetch_trades(BTC, limit=8)
        times = [t["timestamp"] for t in trades]
        assert len(trades) == 8 and times == sorted(times) and trades[-1]["price"] == b.venue.price("BTCUSDT")
        since = await b.exchange.fetch_trades(BTC, since=b.venue.time - 2 * SPAN, limit=100)
        assert len(since) == 8 and trades[-1]["id"] == since[-1]["id"]
        tickers = await b.exchange.fetch_tickers()
        assert set(tickers) == {BTC, ETH} and tickers[BTC]["last"] == b.venue.price("BTCUSDT") and tickers[BTC]["quoteVolume"] > 0
        assert (await b.exchange.fetch_ticker(ETH))["close"] == b.venue.price("ETHUSDT")
        assert (await b.exchange.fetch_bids_asks([BTC]))[BTC]["bid"] == book["bids"][0][0]


async def test_funding():
    bars = walk(n=400)
    times = np.arange(-(-int(bars.open_time[0]) // (8 * HOUR)) * 8 * HOUR, int(bars.open_time[-1]), 8 * HOUR)
    funding = Funding.of("BTCUSDT", times, np.linspace(1e-4, 3e-4, len(times)), np.full(len(times), 60_000.0))
    async with bench(bars, funding={"BTCUSDT": funding}) as b:
        past = times[times <= b.venue.time]
        history = await b.exchange.fetch_funding_rate_history(BTC, since=int(times[0]), limit=100)
        assert [h["timestamp"] for h in history] == past.tolist() and history[0]["fundingRate"] == 1e-4
        now = await b.exchange.fetch_funding_rate(BTC)
        assert now["fundingRate"] == pytest.approx(history[-1]["fundingRate"]) and now["fundingTimestamp"] == times[times > b.venue.time][0]
        assert set(await b.exchange.fetch_funding_rates()) == {BTC}
        assert (await b.exchange.fetch_funding_intervals())[BTC]["interval"] == "8h"


async def test_a_watched_book_stays_in_step_with_the_venue():
    async with bench(walk()) as b:
        watch = asyncio.create_task(b.exchange.watch_order_book(BTC))
        await asyncio.wait_for(watch, 10)
        for _ in range(5):
            ahead = asyncio.create_task(b.exchange.watch_order_book(BTC))
            await asyncio.sleep(0.02)
            await b.bar()
            await asyncio.wait_for(ahead, 10)
        await asyncio.sleep(0.1)
        local, remote = b.exchange.orderbooks[BTC], await b.exchange.fetch_order_book(BTC, 50)
        assert local["bids"][:50] == remote["bids"] and local["asks"][:50] == remote["asks"]


async def test_a_lost_depth_message_is_noticed_and_mended():
    from ccxt.base.errors import ChecksumError
    async with bench(walk()) as b:
        await asyncio.wait_for(b.exchange.watch_order_book(BTC), 10)
        await b.bar()
        await b.control("fault", kind="depth_gap")
        ahead = asyncio.create_task(b.exchange.watch_order_book(BTC))
        await asyncio.sleep(0.02)
        await b.bar()
        with pytest.raises(ChecksumError): await asyncio.wait_for(ahead, 10)
        fresh = await asyncio.wait_for(b.exchange.watch_order_book(BTC), 10)
        assert fresh["bids"][0][0] < fresh["asks"][0][0]


async def test_streams_of_candles_trades_marks_and_tickers():
    async with bench(walk()) as b:
        x = b.exchange
        tasks = {"candles": x.watch_ohlcv(BTC, "15m"), "trades": x.watch_trades(BTC), "mark": x.watch_mark_price(BTC),
                 "ticker": x.watch_ticker(BTC), "best": x.watch_bids_asks([BTC])}
        waiting = {k: asyncio.create_task(v) for k, v in tasks.items()}
        await asyncio.sleep(0.3)
        now = b.venue.time
        await b.bar()
        got = {k: await asyncio.wait_for(v, 10) for k, v in waiting.items()}
        assert got["candles"][-1][0] == now and got["candles"][-1][4] == b.venue.price("BTCUSDT")
        assert got["trades"][-1]["symbol"] == BTC and got["trades"][0]["timestamp"] >= now
        assert got["mark"]["markPrice"] == got["ticker"]["last"] == b.venue.price("BTCUSDT") and got["best"][BTC]["bid"] > 0


async def test_every_candle_of_a_close_reaches_the_cache_though_only_some_calls_wake():
    symbols = [f"X{i}USDT" for i in range(12)]
    async with bench(*(walk(s, seed=i, price=100.0, digits=2) for i, s in enumerate(symbols))) as b:
        pairs = [[f"X{i}/USDT:USDT", "15m"] for i in range(12)]
        first = asyncio.create_task(b.exchange.watch_ohlcv_for_symbols(pairs))
        await asyncio.sleep(0.3)
        now = b.venue.time
        await b.bar()
        await asyncio.wait_for(first, 10)
        await asyncio.sleep(0.1)
        assert [b.exchange.ohlcvs[pair]["15m"][-1][0] for pair, _ in pairs] == [now] * 12


async def test_unsubscribing_ends_a_stream():
    async with bench(walk()) as b:
        watch = asyncio.create_task(b.exchange.watch_trades(BTC))
        await asyncio.sleep(0.2)
        await b.bar()
        await watch
        assert b.venue.hub.wanted("btcusdt@trade")
        await b.exchange.un_watch_trades(BTC)
        assert not b.venue.hub.wanted("btcusdt@trade")


async def test_with_a_factor_the_venue_runs_by_itself():
    bars = walk(n=60)
    async with bench(bars, start=int(bars.open_time[50]), pace=9000.0, hold=True) as b:
        watch = asyncio.create_task(b.exchange.watch_ohlcv(BTC, "15m"))
        await asyncio.sleep(0.2)
        assert b.venue.time == bars.open_time[50]
        await b.control("start")
        forming = await asyncio.wait_for(watch, 10)
        assert forming[-1][0] == bars.open_time[50]
        while b.venue.phase != "done": await asyncio.sleep(0.05)
        assert b.venue.time == bars.open_time[-1] + SPAN and b.venue.price("BTCUSDT") == bars.close[-1]
        seen = b.exchange.ohlcvs[BTC]["15m"]
        assert [list(r[:5]) for r in seen][-5:] == [[x.open_time, x.open, x.high, x.low, x.close] for x in bars[-5:]]


async def test_a_forming_candle_is_told_apart_by_the_clock():
    bars = walk(n=60)
    async with bench(bars, start=int(bars.open_time[50]), pace=200.0) as b:
        await asyncio.sleep(0.6)
        rows = await b.exchange.fetch_ohlcv(BTC, "15m", limit=10)
        closed = bars_of(rows, 15, b.venue.time)
        assert len(rows) == 10 and rows[-1][0] + SPAN > b.venue.time and closed[-1].close_time <= b.venue.time


def test_a_start_on_no_candle_is_refused():
    from runners.venue import Venue
    with pytest.raises(ValueError, match="nothing to replay"): Venue([walk()], start=T0 + 10_000 * SPAN)
    with pytest.raises(ValueError, match="no candles"): Venue([])
