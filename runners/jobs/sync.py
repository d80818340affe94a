"What the nightly sync does: download what the store lacks, then look at every series as it now stands."

import time as wall
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from perps_kit.core.bar import DataError
from perps_kit.core.clock import DAY, MINUTE, minutes_of
from perps_kit.data.funding import missing_settlements
from perps_kit.data.series import Report, check
from perps_kit.exchange.filters import pair
from perps_kit.storage.candles import CandleStore, raw_series
from runners.download import Caller, Downloaded, download_bars, download_funding
from runners.errors import ConfigError
from runners.settings import Settings


class Fetched(NamedTuple):
    "One series asked for."

    symbol: str
    what: str  # a timeframe, or funding
    got: Downloaded | None  # None: it failed
    problem: str = ""


class Checked(NamedTuple):
    "One series of the store as it stands."

    symbol: str
    what: str
    report: Report
    behind: int  # bars between its end and now

    @property
    def sound(self) -> bool:
        return self.report.ok and not self.report.missing


@asynccontextmanager
async def exchange_of(settings: Settings) -> AsyncIterator[Any]:
    "The exchange to ask: that of the settings, which may be a replay on this machine; public questions only, without any key."
    if settings.venue.replay is not None:
        from runners.live.venue import replay_process
        from runners.venue.route import open_exchange

        async with replay_process(settings.venue.replay, settings.symbols, settings.minutes) as address:
            client = await open_exchange(address["port"], Path(address["certificate"]), "", "")
            try:
                yield client
            finally:
                await client.close()
        return
    import ccxt.async_support

    if settings.venue.id not in ccxt.async_support.exchanges:
        raise ConfigError(f"ccxt knows no exchange {settings.venue.id!r}, Binance USDT-M is binanceusdm")
    client = getattr(ccxt.async_support, settings.venue.id)({"timeout": 15_000, "options": {"fetchCurrencies": False}})
    try:
        yield client
    finally:
        await client.close()


async def fetch(
    settings: Settings, store: CandleStore, symbols: list[str], frames: list[str], days: float, funding: bool = True
) -> list[Fetched]:
    "Ask for the last `days` of every series; after the exchange has given no answer, nothing more is asked of it."
    found, silent = list[Fetched](), ""
    for frame in frames:
        minutes_of(frame)
    for symbol in symbols:
        pair(symbol)
    async with exchange_of(settings) as client:
        for symbol in symbols:
            for what in [*frames, *(["funding"] if funding and store.venue == "binanceusdm" else [])]:
                if silent:
                    found.append(Fetched(symbol, what, None, f"not asked: {silent}"))
                    continue
                try:
                    found.append(Fetched(symbol, what, await one(Caller(client), store, symbol, what, days)))
                except (ConfigError, DataError) as error:
                    found.append(Fetched(symbol, what, None, str(error)))
                    silent = str(error) if "gives no answer" in str(error) else ""
    return found


async def one(caller: Caller, store: CandleStore, symbol: str, what: str, days: float) -> Downloaded:
    "The last `days` of one series, up to the exchange's own present."
    now = int(await caller.ask(caller.exchange.fetch_time))
    since = now - round(days * DAY)
    if what == "funding":
        return await download_funding(caller, store, symbol, since, now)
    step = minutes_of(what) * MINUTE
    return await download_bars(caller, store, symbol, what, since // step * step, now)


def examined(store: CandleStore, now: int | None = None) -> list[Checked]:
    "Every series of the venue in the store, checked as its files stand."
    at, found = wall.time_ns() // 1_000_000 if now is None else now, list[Checked]()
    if not (store.root / f"venue={store.venue}").is_dir():
        return found
    try:
        series = raw_series(store.root, venue=store.venue)
    except DataError as error:
        raise ConfigError(str(error)) from None
    for _, bars in series:
        report = check(bars)
        found.append(Checked(bars.symbol, report.timeframe, report, max(0, at - report.end) // (bars.minutes * MINUTE)))
    return sorted(found, key=lambda c: (c.symbol, minutes_of(c.what)))


def unsettled(store: CandleStore) -> dict[str, int]:
    "Settlements that are missing inside of each funding series, by symbol."
    symbols = [e.symbol for e in store.catalogue() if e.timeframe == "funding"]
    held = {symbol: store.read_funding(symbol) for symbol in symbols}
    return {symbol: len(missing_settlements(f, int(f.time[0]), int(f.time[-1]) + 1)) for symbol, f in held.items() if len(f)}
