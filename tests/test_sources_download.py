"The unmodified ccxt downloads from a small exchange on loopback: pages, resumes, waits when told to, refuses what is no candle."
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import ccxt.async_support
import pytest
from aiohttp import web

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import MINUTE
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.storage.candles import CandleStore, same
from runners.download import Caller, download_bars, download_funding
from runners.errors import ConfigError
from runners.venue.certificate import make_certificate, server_context
from runners.venue.route import loopback_session

Trick = Callable[[int, list], web.Response | list | None]     # (which request, rows) -> another answer


class Exchange:
    "Klines and funding of the sample, at most 1000 a call, with a trick for some requests."

    def __init__(self, bars: Bars, trick: Trick | None = None) -> None:
        self.bars, self.trick, self.asked, self.now = bars, trick, [], int(bars.close_time[-1]) + 5 * MINUTE

    async def time(self, _: web.Request) -> web.Response: return web.json_response({"serverTime": self.now})

    async def klines(self, request: web.Request) -> web.Response:
        q = request.query
        self.asked.append((int(q["startTime"]), int(q["endTime"])))
        if q["symbol"] != self.bars.symbol: return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        rows = [[b.open_time, *map(str, (b.open, b.high, b.low, b.close, b.volume)), b.close_time - 1, str(b.quote_volume), int(b.trades),
                 str(b.taker_buy), "0", "0"]
                for b in self.bars if int(q["startTime"]) <= b.open_time <= int(q["endTime"])][:min(int(q["limit"]), 1000)]
        other = self.trick(len(self.asked), rows) if self.trick else None
        return other if isinstance(other, web.Response) else web.json_response(rows if other is None else other)

    async def funding(self, request: web.Request) -> web.Response:
        f, q = sample_funding(self.bars.symbol), request.query
        rows = [dict(symbol=f.symbol, fundingTime=t + 3, fundingRate=str(r), markPrice=str(m)) for t, r,
                m in zip(f.time.tolist(), f.rate.tolist(), f.mark.tolist())
                if int(q["startTime"]) <= t <= int(q["endTime"])]
        return web.json_response(rows[:int(q["limit"])])


@asynccontextmanager
async def served(exchange: Exchange, folder: Path) -> AsyncIterator[ccxt.async_support.binanceusdm]:
    "ccxt, led to the exchange on a port of its own."
    app = web.Application()
    app.add_routes([web.get("/fapi/v1/time", exchange.time), web.get("/fapi/v1/klines", exchange.klines),
                    web.get("/fapi/v1/fundingRate", exchange.funding)])
    certificate, key = make_certificate(folder)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate, key))
    await site.start()
    client = ccxt.async_support.binanceusdm({"enableRateLimit": False, "options": {"fetchCurrencies": False}})
    client.session = loopback_session(site._server.sockets[0].getsockname()[1], certificate)
    try: yield client
    finally:
        await client.close()
        await runner.cleanup()


@pytest.fixture
def store(tmp_path: Path) -> CandleStore: return CandleStore(tmp_path / "candles")


BARS = sample_bars("SOLUSDT")
START, END = int(BARS.open_time[0]), int(BARS.close_time[-1])


async def test_all_pages_arrive_with_their_taker_volume(store: CandleStore, tmp_path: Path) -> None:
    seen = []
    async with served(Exchange(BARS[:3456]), tmp_path) as client:
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END, lambda done, total: seen.append((done, total)))
    assert got.received == got.stored == 3456 and got.missing == 0 and got.requests == 5
    assert same(store.read("SOLUSDT", "15m"), BARS[:3456])
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]


async def test_a_second_download_asks_only_for_what_is_missing(store: CandleStore, tmp_path: Path) -> None:
    store.append(BARS[100:2000])
    store.append(BARS[2010:2500])
    exchange = Exchange(BARS[:3000])
    async with served(exchange, tmp_path) as client:
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
        assert got.stored == got.received == 100 + 10 + 500
        exchange.asked.clear()
        again = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert again.received == 0 and exchange.asked == [] and same(store.read("SOLUSDT", "15m"), BARS[:3000])


async def test_the_forming_bar_stays_out(store: CandleStore, tmp_path: Path) -> None:
    exchange = Exchange(BARS[:50])
    exchange.now = int(BARS.open_time[49]) + MINUTE
    async with served(exchange, tmp_path) as client: await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert len(store.read("SOLUSDT", "15m")) == 49


async def test_a_hole_of_the_exchange_is_counted_and_a_late_listing_is_fine(store: CandleStore, tmp_path: Path) -> None:
    late = Bars.of("SOLUSDT", 15, [*BARS[200:300], *BARS[310:400]])
    async with served(Exchange(late), tmp_path) as client:
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, int(BARS.close_time[399]))
    assert got.stored == 190 and got.missing == 2 and same(store.read("SOLUSDT", "15m"), late)


async def test_years_before_the_listing_cost_one_question(store: CandleStore, tmp_path: Path) -> None:
    exchange = Exchange(BARS[:1200])
    async with served(exchange, tmp_path) as client:
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START - 2000 * 1000 * 15 * MINUTE, END)
    assert got.stored == 1200 and len(exchange.asked) <= 5


@pytest.mark.parametrize("status", [429, 418, 503])
async def test_a_refusal_is_waited_out(status: int, store: CandleStore, tmp_path: Path) -> None:
    def trick(n: int, rows: list) -> web.Response | None:
        if n != 2: return None
        return web.json_response({"code": -1003, "msg": "Too many requests."}, status=status, headers={"Retry-After": "0.3"})

    async with served(Exchange(BARS[:1500], trick), tmp_path) as client:
        began = asyncio.get_running_loop().time()
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert got.stored == 1500 and asyncio.get_running_loop().time() - began > 0.25


async def test_a_long_ban_is_told_and_what_came_is_kept(store: CandleStore, tmp_path: Path) -> None:
    def trick(n: int, rows: list) -> web.Response | None:
        return web.json_response({"code": -1003, "msg": "banned"}, status=418, headers={"Retry-After": "7200"}) if n > 1 else None

    async with served(Exchange(BARS[:1500], trick), tmp_path) as client:
        with pytest.raises(ConfigError, match="in 7200 seconds"): await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert same(store.read("SOLUSDT", "15m"), BARS[:1000])


def garbled(rows: list, column: int, value: object) -> list:
    return [*rows[:5], [*rows[5][:column], value, *rows[5][column + 1:]], *rows[6:]]


@pytest.mark.parametrize(("trick", "told"), [
    (lambda n, rows: web.Response(text="<html><body>maintenance</body></html>", content_type="text/html"), "html"),
    (lambda n, rows: [[None] * 12 for _ in rows], "not a number"),
    (lambda n, rows: garbled(rows, 4, "NaN"), "positive numbers"),
    (lambda n, rows: garbled(rows, 2, "0.01"), "do not contain"),
    (lambda n, rows: [*rows[:3], rows[2], *rows[3:]], "out of order"),
    (lambda n, rows: garbled(rows, 0, START + 1), "boundary"),
    (lambda n, rows: {"rows": rows}, "list"),
], ids=["html", "none", "nan", "high", "twice", "off-grid", "object"])
async def test_what_is_no_candle_is_refused(trick: Trick, told: str, store: CandleStore, tmp_path: Path) -> None:
    async with served(Exchange(BARS[:200], trick), tmp_path) as client:
        with pytest.raises(DataError, match=told): await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert not store.root.exists()


async def test_an_unknown_symbol_is_told(store: CandleStore, tmp_path: Path) -> None:
    async with served(Exchange(BARS[:10]), tmp_path) as client:
        with pytest.raises(ConfigError, match=r"knows no such symbol.*Invalid symbol"):
            await download_bars(Caller(client), store, "NOPEUSDT", "15m", START, END)


async def test_silence_has_an_end(store: CandleStore, tmp_path: Path) -> None:
    exchange = Exchange(BARS[:10])

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.json_response([])

    exchange.klines = hang
    async with served(exchange, tmp_path) as client:
        with pytest.raises(ConfigError, match="gives no answer"):
            await download_bars(Caller(client, within=0.3, tries=1), store, "SOLUSDT", "15m", START, END)


async def test_funding_resumes_too(store: CandleStore, tmp_path: Path) -> None:
    funding = sample_funding("SOLUSDT")
    async with served(Exchange(BARS), tmp_path) as client:
        got = await download_funding(Caller(client), store, "SOLUSDT", START, END, limit=250)
        again = await download_funding(Caller(client), store, "SOLUSDT", START, END)
    held = store.read_funding("SOLUSDT")
    assert got.stored == 600 and again.received == 0
    assert (held.time == funding.time).all() and (held.rate == funding.rate).all() and (held.mark == funding.mark).all()
