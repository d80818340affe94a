"A small replay venue for tests: made-up candles, the unmodified client, the control calls."
from contextlib import asynccontextmanager

import numpy as np

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.clock import MINUTE
from runners.venue import Venue, open_exchange, serve
from runners.venue.route import loopback_session

T0 = 1_760_000_400_000      # on a boundary of 15 minutes
SPAN = 15 * MINUTE
BTC = "BTC/USDT:USDT"


def walk(symbol="BTCUSDT", n=400, price=60_000.0, seed=1, digits=1, t0=T0, minutes=15) -> Bars:
    "A random walk of candles on a price grid."
    r = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(r.normal(0, 0.003, n))), digits)
    opened = np.r_[price, close[:-1]]
    high, low = np.round(np.maximum(opened, close) * 1.001, digits), np.round(np.minimum(opened, close) * 0.999, digits)
    return Bars.from_columns(symbol, minutes, t0 + np.arange(n) * minutes * MINUTE, opened, high, low, close,
                             np.round(r.uniform(10, 100, n), 3))


def drawn(*rows, symbol="BTCUSDT", before=20) -> Bars:
    "Candles (open, high, low, close) after some quiet ones at the first open; the drawn ones begin at `T0`."
    quiet = [(rows[0][0],) * 4] * before
    made = [Bar(T0 + (k - before) * SPAN, T0 + (k - before + 1) * SPAN, *map(float, row), 100.0) for k, row in enumerate([*quiet, *rows])]
    return Bars.of(symbol, 15, made)


class Bench:
    "A served venue with a client and the control session."

    def __init__(self, venue, door, exchange, session) -> None:
        self.venue, self.door, self.exchange, self.session = venue, door, exchange, session

    async def control(self, what: str, **body) -> dict:
        async with self.session.post(f"https://fapi.binance.com/replay/{what}", json=body) as answer: return await answer.json()

    async def barrier(self, phase: str | None = None) -> dict:
        "Release the barrier at which the venue stands."
        return await self.control("barrier", time=self.venue.time, phase=phase or self.venue.phase)

    async def bar(self) -> list[dict]:
        "Both barriers of a bar; its fills."
        first = await self.barrier("close")
        return first["fills"] + (await self.barrier("open"))["fills"]


@asynccontextmanager
async def bench(*bars: Bars, **options):
    "Serve candles; the client has its markets loaded."
    options.setdefault("start", T0 if bars[0].open_time[0] < T0 else int(bars[0].open_time[len(bars[0]) // 2]))
    venue = Venue(list(bars), **options)
    async with serve(venue) as door:
        exchange = await open_exchange(door.port, door.certificate, venue.key, venue.secret)
        session = loopback_session(door.port, door.certificate)
        try:
            await exchange.load_markets()
            yield Bench(venue, door, exchange, session)
        finally:
            await exchange.close()
            await session.close()
