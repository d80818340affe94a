"""Closed candles, gathered into cycles: WebSocket first, REST for whatever is missing.

The unified watch_ohlcv says neither that a candle has closed nor how much of it takers bought, so the client's own kline handler is
tapped: the raw message has both.
"""

import asyncio
import logging
import time as wall
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from perps_kit.core.bar import Bar, DataError
from perps_kit.core.clock import MINUTE, iso, timeframe_of
from perps_kit.exchange.candles import bar_of, bars_of
from runners.live.venue import Exchange, network_errors
from runners.metrics import Metrics

log = logging.getLogger(__name__)


class Arrival(NamedTuple):
    "The bars of one close time by symbol, those that never came, and when the first was here (monotonic seconds)."

    time: int
    bars: dict[str, list[Bar]]
    missing: list[str]
    began: float


class Feed:
    "Closed bars of all symbols, in order and without holes that the venue could fill. `last`: the close time already taken, by symbol."

    def __init__(self, exchange: Exchange, minutes: int, metrics: Metrics, patience: float, stale: float):
        self.exchange, self.minutes, self.metrics, self.patience, self.stale = exchange, minutes, metrics, patience, stale
        self.last: dict[str, int] = {s: 0 for s in exchange.pairs}
        self.waiting: dict[int, dict[str, Bar]] = {}  # by close time
        self.began: dict[int, float] = {}
        self.arrived, self.distrust = asyncio.Event(), asyncio.Event()
        self.tried: set[int] = set()  # the close for which holes before it were already asked for
        self.heard = wall.monotonic()
        self.tap()

    def tap(self) -> None:
        "Look at each kline message before ccxt does."
        client = self.exchange.client
        handler = client.handle_ohlcv

        def tapped(connection: Any, message: dict[str, Any]) -> None:
            self.heard = wall.monotonic()
            kline = message.get("k") or {}
            if kline.get("x") and kline.get("i") == timeframe_of(self.minutes):
                self.take(kline.get("s", ""), [kline.get(k) for k in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V")])
            handler(connection, message)

        client.handle_ohlcv = tapped

    def take(self, symbol: str, row: Any) -> None:
        "A closed candle from the stream; a bad one is refused and fetched again."
        if symbol not in self.last:
            return
        try:
            self.add(symbol, bar_of(row, self.minutes))
        except DataError as error:
            self.refuse(symbol, "bad candle", error)
            self.distrust.set()
            self.arrived.set()

    def add(self, symbol: str, bar: Bar) -> None:
        if bar.close_time <= self.last[symbol]:
            return
        self.began.setdefault(bar.close_time, wall.monotonic())
        self.waiting.setdefault(bar.close_time, {})[symbol] = bar
        self.arrived.set()

    def refuse(self, symbol: str, reason: str, error: Exception) -> None:
        "Count and log what the exchange should not have sent."
        self.metrics.refusals.labels(reason).inc()
        log.warning("%s: candle refused: %s", symbol, error)

    async def watch(self) -> None:
        "Keep the kline streams open for ever; after a break, what was missed is fetched."
        wishes = [[pair, timeframe_of(self.minutes)] for pair in self.exchange.pairs.values()]
        pause = 0.5
        while True:
            try:
                async with asyncio.timeout(self.stale):
                    await self.exchange.client.watch_ohlcv_for_symbols(wishes)
                pause = 0.5
            except (TimeoutError, *network_errors()) as error:
                quiet = isinstance(error, TimeoutError)
                if quiet and wall.monotonic() - self.heard < self.stale:
                    continue
                log.warning("kline stream: %s; asking again in %.1f s", "silent" if quiet else error, pause)
                if quiet:
                    self.exchange.hang_up("no candles came")
                self.distrust.set()
                self.arrived.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, 30.0)

    async def fetch(self, symbol: str, since: int, now: int) -> list[Bar]:
        "Closed bars that opened at `since` or later, from REST, page after page."
        bars: list[Bar] = []
        while since + self.minutes * MINUTE <= now:
            wish = dict(symbol=symbol, interval=timeframe_of(self.minutes), startTime=since, limit=self.exchange.profile.klines_limit)
            rows = await self.exchange.patiently(lambda wish=wish: self.exchange.client.fapiPublicGetKlines(wish))
            page = bars_of(rows, self.minutes, now, bars[-1].close_time if bars else 0)
            if not page:
                break
            bars += page
            since = page[-1].close_time
        return bars

    async def catch_up(self, within: float | None = None) -> None:
        "Fetch what closed since the last bar taken, in so many seconds; a symbol whose answer is bad or too slow waits for the next time."
        self.distrust.clear()
        try:
            async with asyncio.timeout(within):
                await self.ask()
        except TimeoutError:
            log.warning("no candles from %s within %g s", self.exchange.venue, within)

    async def ask(self) -> None:
        try:
            now = await self.exchange.now()
        except DataError as error:
            return self.refuse(self.exchange.venue, "bad answer", error)
        except (TimeoutError, *network_errors()) as error:
            log.warning("no answer from %s: %s", self.exchange.venue, type(error).__name__)
            return
        gate = asyncio.Semaphore(5)

        async def one(symbol: str) -> None:
            async with gate:
                try:
                    for bar in await self.fetch(symbol, self.last[symbol], now):
                        self.add(symbol, bar)
                except DataError as error:
                    self.refuse(symbol, "bad answer", error)
                except (TimeoutError, *network_errors()) as error:
                    log.warning("%s: no candles: %s", symbol, type(error).__name__)

        await asyncio.gather(*(one(s) for s in self.exchange.pairs if now - self.last[s] >= self.minutes * MINUTE))

    def complete(self, time: int) -> bool:
        return all(s in self.waiting.get(time, {}) or self.last[s] >= time for s in self.last)

    async def cycles(self, lockstep: bool = False) -> AsyncIterator[Arrival]:
        "Cycle after cycle, each when its last symbol is here or patience has ended; in lockstep the caller moves the venue between two."
        while True:
            if self.distrust.is_set():
                await self.catch_up()
            time = min(self.waiting, default=0)
            if time and time not in self.tried and any(0 < self.last[s] < bar.open_time for s, bar in self.waiting[time].items()):
                self.tried = {time}
                await self.catch_up()
                continue
            if time and self.complete(time):
                yield self.hand_out(time)
                continue
            self.arrived.clear()
            patience = min(self.patience, 1.0) if lockstep else self.patience
            until = self.began[time] + patience if time else wall.monotonic() + (patience if lockstep else self.stale)
            try:
                async with asyncio.timeout(max(0.0, until - wall.monotonic())):
                    await self.arrived.wait()
            except TimeoutError:
                await self.catch_up(None if lockstep or not time else self.patience)
                if time and time == min(self.waiting) and not self.complete(time):
                    yield self.hand_out(time)

    def hand_out(self, time: int) -> Arrival:
        "The cycle of a close time; its bars count as taken."
        bars, began = self.waiting.pop(time), self.began.pop(time)
        missing = [s for s in self.last if s not in bars and self.last[s] < time]
        if missing:
            log.warning("close %s: nothing from %s", iso(time), ", ".join(missing))
        for symbol in bars:
            self.last[symbol] = max(time, self.last[symbol])
        return Arrival(time, {s: [b] for s, b in bars.items()}, missing, began)
