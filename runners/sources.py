"The sources behind one port: an exchange through ccxt, the public archive, files."
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import HOUR, MINUTE, iso, minutes_of
from perps_kit.data.files import QUOTES, symbol_of
from perps_kit.data.funding import Funding
from perps_kit.data.readings import Readings
from perps_kit.exchange.candles import bars_of
from perps_kit.exchange.filters import pair
from perps_kit.sources.pages import numbered, pages
from perps_kit.sources.paging import funding_of, funding_request, kline_request, wait_seconds
from perps_kit.sources.port import CONTRACTS, Limit, limit_of
from runners.errors import ConfigError

METHODS = dict(candles=("fetchOHLCV", "candles"), funding=("fetchFundingRateHistory", "past funding"),
               open_interest=("fetchOpenInterestHistory", "history of open interest"),
               long_short_ratio=("fetchLongShortRatioHistory", "history of the long/short ratio"))


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
                async with asyncio.timeout(self.within): answer = await call()
            except ccxt.BadSymbol as error: raise ConfigError(f"{self.exchange.id} knows no such symbol: {_short(error)}") from None
            except (ccxt.BaseError, TimeoutError) as error:
                if not _passes(error): raise ConfigError(f"{self.exchange.id} refused: {_short(error)}") from None
                refused = isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded))
                pause = wait_seconds(attempt, self.exchange.last_response_headers if refused else None)
                if attempt + 1 == self.tries or pause > self.longest:
                    later = f" in {pause:.0f} seconds" if refused else ""
                    raise ConfigError(f"{self.exchange.id} gives no answer ({_short(error)}); go on{later}, what came is kept") from None
                await asyncio.sleep(pause)
            else: return self._data(answer)
        raise AssertionError("tries is at least 1")

    def _data(self, answer: Any) -> Any:
        "The answer, unless the body was no JSON: ccxt makes an empty history of a maintenance page."
        body = self.exchange.last_http_response
        if isinstance(body, str) and body.strip() and body.lstrip()[0] not in "[{\"0123456789-tfn":
            raise DataError(f"{self.exchange.id} sent {' '.join(body.split())[:60]!r} instead of data; try again later, what came is kept")
        return answer


def _passes(error: BaseException) -> bool:
    "Whether a later try may do better; an answer that broke off half-way is to ccxt an error like any other, but for its cause."
    import aiohttp
    import ccxt
    return isinstance(error, (ccxt.OperationFailed, TimeoutError)) or isinstance(error.__cause__ or error.__context__, aiohttp.ClientError)


def _short(error: BaseException) -> str: return " ".join(str(error).split())[:160] or type(error).__name__


def _number(value: Any, what: str) -> float:
    try: return float(value)
    except (TypeError, ValueError): raise DataError(f"{what}: the exchange sent {value!r} where a number should be") from None


def _rows(answer: Any, what: str) -> list[dict]:
    if isinstance(answer, list) and all(isinstance(row, dict) for row in answer): return answer
    raise DataError(f"{what}: the exchange sent {str(answer)[:60]!r} instead of a list")


@dataclass
class VenueSource:
    "A venue through ccxt."
    caller: Caller
    rows: int = 0               # at most so many an answer, 0: what the venue allows
    now: int = 0                # the venue's time in milliseconds when first asked
    remarks: list[str] = field(default_factory=list)    # what a caller should tell

    @property
    def exchange(self) -> Any: return self.caller.exchange

    @property
    def name(self) -> str: return self.exchange.id

    @property
    def has(self) -> frozenset[str]: return frozenset(what for what, (method, _) in METHODS.items() if self.exchange.has.get(method))

    def need(self, what: str) -> None:
        "ConfigError in one sentence for what the venue cannot give."
        if what == "liquidations":
            raise ConfigError("no venue tells past liquidations; gather them from now on by `perps-kit data record`")
        if what not in METHODS: raise ConfigError(f"unknown {what!r}: ask for {', '.join(METHODS)}")
        if what not in self.has: raise ConfigError(f"{self.name} has no {METHODS[what][1]} that can be asked for")

    async def time(self) -> int:
        "The venue's clock, ours where it has none."
        if not self.now and not self.exchange.has.get("fetchTime"): self.now = int(time.time() * 1000)
        if not self.now: self.now = int(await self.caller.ask(self.exchange.fetch_time))
        return self.now

    async def market(self, symbol: str) -> dict:
        "ccxt's market of a linear perpetual, from BTCUSDT, a pair, or the venue's own id."
        if not self.exchange.markets: await self.caller.ask(self.exchange.load_markets)
        names = [symbol, *(pair(s) for s in [symbol_of(symbol)] if s.endswith(QUOTES))]
        found = next((self.exchange.markets[n] for n in names if n in self.exchange.markets), None)
        if found is None: found = next(iter(self.exchange.markets_by_id.get(symbol, [])), None)
        if found is None or not (found.get("swap") and found.get("linear")):
            raise ConfigError(f"{self.name} has no linear perpetual {symbol!r}; write it like BTC/USDT:USDT or BTCUSDT")
        return found

    async def name_of(self, symbol: str) -> str:
        "What a store calls it: BTCUSDT; of an id that does not tell (XBTUSDTM), what the venue's market is."
        name = symbol_of(symbol)
        return name if name.endswith(QUOTES) else symbol_of((await self.market(symbol))["symbol"])

    def _limit(self, what: str) -> Limit:
        limit = limit_of(self.name, what)
        return limit._replace(rows=min(self.rows or limit.rows, limit.rows))

    async def candles(self, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[Bars]:
        "Closed bars; raw klines of Binance, which hold the takers' volume, ccxt's six columns elsewhere."
        self.need("candles")
        minutes, now, limit, size = minutes_of(timeframe), await self.time(), self._limit("candles"), 1.0
        step, name = minutes * MINUTE, await self.name_of(symbol)
        if self.name == "binanceusdm":
            def fetch(a: int, b: int) -> Awaitable[Any]:
                return self.exchange.fapiPublicGetKlines(kline_request(name, timeframe, a, b, limit.rows))
        else:
            if timeframe not in self.exchange.timeframes:
                raise ConfigError(f"{self.name} has no candles of {timeframe}, only {', '.join(self.exchange.timeframes)}")
            market = await self.market(symbol)
            if self.name in CONTRACTS["candles"]: size = _number(market.get("contractSize"), f"{self.name}'s contract size")
            start = max(start, int(market.get("created") or 0) // step * step)

            def fetch(a: int, b: int) -> Awaitable[Any]:
                return self.exchange.fetch_ohlcv(market["symbol"], timeframe, a, limit.rows, _span(limit, a, b))

        async def ask(a: int, b: int) -> list:
            bars = bars_of(await self.caller.ask(lambda: fetch(a, b)), minutes, now)
            return bars if size == 1.0 else [bar._replace(volume=bar.volume * size) for bar in bars]

        end = min(end, now // step * step)
        window = end - start if limit.whole else limit.rows * step
        async for bars, _ in pages(ask, start, end, window, step): yield Bars.of(name, minutes, bars)

    async def funding(self, symbol: str, start: int, end: int) -> AsyncIterator[Funding]:
        "Settlements, with mark prices where they are told (Binance)."
        self.need("funding")
        now, limit, name = await self.time(), self._limit("funding"), await self.name_of(symbol)
        end, what = min(end, now), f"{symbol} funding"
        if self.name == "binanceusdm":
            async def ask(a: int, b: int) -> list:
                got = funding_of(await self.caller.ask(lambda: self.exchange.fapiPublicGetFundingRate(
                    funding_request(name, a, b, limit.rows))), name)
                return list(zip(got.time.tolist(), got.rate.tolist(), got.mark.tolist(), strict=True))
        else:
            unified = (await self.market(symbol))["symbol"]

            async def rates(since: int | None, params: dict) -> list:
                answer = await self.caller.ask(lambda: self.exchange.fetch_funding_rate_history(unified, since, limit.rows, params))
                return [(int(_number(r.get("timestamp"), what)), _number(r.get("fundingRate"), what), nan) for r in _rows(answer, what)]

            async def ask(a: int, b: int) -> list: return await rates(a, _span(limit, a, b))
        if limit.page: found = numbered(lambda n: rates(None, {limit.page: n}), start, end)
        else: found = pages(ask, start, end, end - start if limit.whole else limit.rows * 8 * HOUR, 8 * HOUR)
        async for rows, _ in found:
            once = sorted({(r[0] + 30_000) // 60_000: r for r in rows}.values())
            times, values, marks = zip(*once, strict=True)
            yield Funding.of(name, times, values, marks)

    async def readings(self, what: str, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[Readings]:
        """Open interest or long/short ratios, known one period after their stamp.

        Venues do not say whether a stamp opens or closes its period: late by a period at worst, never early.
        """
        self.need(what)
        period, now, limit, size = minutes_of(timeframe) * MINUTE, await self.time(), self._limit(what), 1.0
        market, name, label = await self.market(symbol), await self.name_of(symbol), f"{symbol} {what.replace('_', ' ')}"
        if self.name in CONTRACTS.get(what, ()): size = _number(market.get("contractSize"), f"{self.name}'s contract size")
        if limit.keeps and start < now - limit.keeps:
            start = now - limit.keeps
            self.remarks.append(f"{self.name} looks back {limit.keeps // (24 * HOUR)} days: asked from {iso(start)} on")

        x = self.exchange
        fetch = x.fetch_open_interest_history if what == "open_interest" else x.fetch_long_short_ratio_history

        async def ask(a: int, b: int) -> list:
            a, b = a - period, b - period       # stamps of what becomes known in the span
            rows = _rows(await self.caller.ask(lambda: fetch(market["symbol"], timeframe, a, limit.rows, _span(limit, a, b))), label)
            return [(int(_number(r.get("timestamp"), label)) + period, *_values(r, what, size, label)) for r in rows]

        async for rows, _ in pages(ask, start, min(end, now + 1), limit.rows * period, period):
            yield Readings.of(name, what, period, *zip(*rows, strict=True))


def _span(limit: Limit, a: int, b: int) -> dict[str, int]:
    return {key: t for key, t in ((limit.since, a), (limit.until, b - 1)) if key}


def _values(row: dict, what: str, size: float, label: str) -> tuple[float, ...]:
    "The columns of a reading; base units where the venue tells them beside its contracts (OKX)."
    if what == "long_short_ratio": return (_number(row.get("longShortRatio"), label),)
    base, value = row.get("baseVolume"), row.get("openInterestValue")
    amount = _number(row.get("openInterestAmount") if base is None else base, label) * (size if base is None else 1.0)
    return amount, nan if value is None else _number(value, label)


@dataclass
class FileSource:
    "Candles and funding from a file, a folder of them or another store."
    path: Path
    venue: str = ""             # of a store that holds several
    has: frozenset[str] = frozenset(("candles", "funding"))
    _held: dict[tuple[str, str], dict[str, Bars]] = field(default_factory=dict)     # files are read once

    @property
    def name(self) -> str: return f"{self.path.name}:{self.venue}" if self.venue else self.path.name

    async def candles(self, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[Bars]:
        "All of a span at once; nothing where the files have none of it, DataError where they have no such candles at all."
        from perps_kit.storage.candles import load_bars
        key = symbol, timeframe
        if key not in self._held: self._held[key] = load_bars(self.path, [symbol], timeframe, venue=self.venue)
        for bars in self._held[key].values():
            inside = bars[(bars.open_time >= start) & (bars.open_time < end)]
            if len(inside): yield inside

    async def funding(self, symbol: str, start: int, end: int) -> AsyncIterator[Funding]:
        "All at once."
        from perps_kit.storage.candles import load_funding
        for funding in load_funding(self.path, [symbol], start, end, self.venue).values(): yield funding

    async def readings(self, what: str, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[Readings]:
        "Files of these are not read."
        raise ConfigError(f"{self.path}: files give candles and funding only, not {what.replace('_', ' ')}")
        yield
