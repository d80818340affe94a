"Candles and funding from an exchange into the store: asks only for what is missing, waits when told to, keeps what it got."
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from perps_kit.core.bar import Bar, Bars, DataError
from perps_kit.core.clock import HOUR, MINUTE, iso, minutes_of
from perps_kit.data.funding import Funding
from perps_kit.exchange.candles import bars_of
from perps_kit.exchange.filters import pair
from perps_kit.sources.paging import funding_of, funding_request, kline_request, missing_ranges, wait_seconds
from perps_kit.storage.candles import CandleStore
from runners.errors import ConfigError

Progress = Callable[[int, int], None]           # milliseconds of the span that are done, and how many there are


class Downloaded(NamedTuple):
    "What one download brought."
    symbol: str
    what: str                   # a timeframe, or "funding"
    requests: int
    received: int
    stored: int                 # of them, new or changed in the store
    missing: int                # spans that the exchange has nothing for


@dataclass
class Caller:
    "One exchange and how patiently to ask it."
    exchange: Any               # a ccxt.async_support exchange
    within: float = 20.0        # seconds that one answer may take
    tries: int = 6
    longest: float = 120.0      # a ban longer than this, in seconds, is not sat out
    requests: int = 0

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        "The answer of a call; refusals and lost connections are tried again, each after its wait."
        import ccxt
        for attempt in range(self.tries):
            self.requests += 1
            try:
                async with asyncio.timeout(self.within): return await call()
            except ccxt.BadSymbol as error: raise ConfigError(f"{self.exchange.id} knows no such symbol: {_short(error)}") from None
            except (ccxt.OperationFailed, TimeoutError) as error:
                refused = isinstance(error, ccxt.DDoSProtection)
                pause = wait_seconds(attempt, self.exchange.last_response_headers if refused else None)
                if attempt + 1 == self.tries or pause > self.longest:
                    later = f" in {pause:.0f} seconds" if refused else ""
                    raise ConfigError(f"{self.exchange.id} gives no answer ({_short(error)}); go on{later}, what came is kept") from None
                await asyncio.sleep(pause)
            except ccxt.BaseError as error: raise ConfigError(f"{self.exchange.id} refused: {_short(error)}") from None
        raise AssertionError("tries is at least 1")


def _short(error: BaseException) -> str: return " ".join(str(error).split())[:160] or type(error).__name__


async def download_bars(caller: Caller, store: CandleStore, symbol: str, timeframe: str, start: int, end: int,
                        progress: Progress | None = None, limit: int = 1000, keep: int = 10) -> Downloaded:
    "Closed bars that open in [start, end) and that the store lacks; stored after every `keep` answers, so that a break costs little."
    minutes = minutes_of(timeframe)
    now = int(await caller.ask(caller.exchange.fetch_time))
    end = min(end, now // (minutes * MINUTE) * minutes * MINUTE)

    def lacking() -> list[tuple[int, int]]:
        return missing_ranges(store.read(symbol, timeframe, start, end).open_time, start, end, minutes * MINUTE)

    spans = lacking()
    total, done, received, stored = sum(b - a for a, b in spans), 0, 0, 0
    held: list[Bar] = []

    def save() -> None:
        nonlocal stored
        if held: stored += store.append(Bars.of(symbol, minutes, held))
        held.clear()

    try:
        for since, until in spans:
            at, answers = since, 0
            while at < until:
                rows = await caller.ask(lambda at=at, until=until: _klines(caller.exchange, symbol, timeframe, at, until, limit))
                bars = _only(bars_of(rows, minutes, now, at), at, until)
                if not bars: break
                held, at, answers, received = held + bars, bars[-1].close_time, answers + 1, received + len(bars)
                if answers % keep == 0: save()
                if progress: progress(done + at - since, total)
            done += until - since
            save()
            if progress: progress(done, total)
    finally: save()
    return Downloaded(symbol, timeframe, caller.requests, received, stored, len(lacking()))


def _only(bars: list[Bar], since: int, until: int) -> list[Bar]:
    if bars and bars[0].open_time < since:
        raise DataError(f"the exchange sent bars from {iso(bars[0].open_time)} when asked from {iso(since)}")
    return [bar for bar in bars if bar.open_time < until]


async def _klines(exchange: Any, symbol: str, timeframe: str, since: int, until: int, limit: int) -> Sequence:
    "Raw klines of Binance, which hold the takers' volume; ccxt's six columns elsewhere."
    if exchange.id == "binanceusdm": return await exchange.fapiPublicGetKlines(kline_request(symbol, timeframe, since, until, limit))
    return await exchange.fetch_ohlcv(pair(symbol), timeframe, since, limit)


async def download_funding(caller: Caller, store: CandleStore, symbol: str, start: int, end: int, limit: int = 1000) -> Downloaded:
    "Settlements in [start, end), from the newest in the store on (Binance USDT-M only)."
    now = int(await caller.ask(caller.exchange.fetch_time))
    held, end = store.read_funding(symbol, start, end), min(end, now)
    at = int(held.time[-1]) + HOUR if len(held) and held.time[0] - start <= held.every else start
    received = stored = 0
    while at < end:
        funding: Funding = funding_of(await caller.ask(lambda at=at: caller.exchange.fapiPublicGetFundingRate(funding_request(symbol, at,
            end, limit))), symbol)
        if not len(funding): break
        if int(funding.time[-1]) < at:
            raise DataError(f"{symbol} funding: the exchange sent {iso(int(funding.time[-1]))} when asked from {iso(at)}")
        received, stored, at = received + len(funding), stored + store.append_funding(funding), int(funding.time[-1]) + HOUR
    return Downloaded(symbol, "funding", caller.requests, received, stored, 0)
