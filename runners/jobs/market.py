"Candles, funding and price steps for jobs: the candle store's, and over them the candles that the service kept in its database."

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.bar import COLUMNS, Bars, DataError
from perps_kit.core.clock import timeframe_of
from perps_kit.data.funding import Funding
from perps_kit.storage.candles import CandleStore, merged
from perps_kit.storage.models import Candle
from perps_kit.storage.queries import symbols as series
from runners.errors import ConfigError
from runners.venue.data import read_filters

NONE = "none"  # in the place of a database's address


class Market(NamedTuple):
    "What a job knows of the market, by symbol."

    bars: dict[str, Bars]
    funding: dict[str, Funding]
    ticks: dict[str, float]


async def market(
    address: str, store: CandleStore, minutes: int, wished: Collection[str] = (), since: int | None = None, until: int | None = None
) -> Market:
    "The candles that open in [since, until), of all symbols or those that are `wished`; `address`: the database, or none."
    frame, bars = timeframe_of(minutes), dict[str, Bars]()
    try:
        stored = {e.symbol for e in store.catalogue() if e.timeframe == frame}
        for symbol in sorted(stored & set(wished) if wished else stored):
            bars[symbol] = store.read(symbol, frame, since, until)
        for symbol, kept in (await kept_bars(address, store.venue, minutes, wished, since, until)).items():
            bars[symbol] = merged(bars[symbol], kept) if symbol in bars else kept
        funding = {symbol: store.read_funding(symbol, since, until) for symbol in bars}
    except DataError as error:
        raise ConfigError(str(error)) from None
    held = {symbol: some for symbol, some in sorted(bars.items()) if len(some)}
    ticks = {symbol: f.tick for symbol, f in read_filters(store.root / "symbols.json").items()}
    return Market(held, {symbol: f for symbol, f in funding.items() if len(f) and symbol in held}, ticks)


async def kept_bars(
    address: str, venue: str, minutes: int, wished: Collection[str], since: int | None, until: int | None
) -> dict[str, Bars]:
    "The service's own candles."
    from runners.db.connect import open_database

    if address == NONE:
        return {}
    opened = await open_database(address, create=False, upgrade=False)
    try:
        async with opened.read() as session:
            known = {row["symbol"] for row in await series(session) if (row["venue"], row["minutes"]) == (venue, minutes)}
            some = sorted(known & set(wished) if wished else known)
            return {symbol: await bars_of(session, venue, symbol, minutes, since, until) for symbol in some}
    finally:
        await opened.close()


async def bars_of(session: AsyncSession, venue: str, symbol: str, minutes: int, since: int | None, until: int | None) -> Bars:
    "The stored candles of one symbol."
    columns = [getattr(Candle, name) for name in COLUMNS]
    query = select(*columns).where(Candle.venue == venue, Candle.symbol == symbol, Candle.minutes == minutes).order_by(Candle.open_time)
    if since is not None:
        query = query.where(Candle.open_time >= since)
    if until is not None:
        query = query.where(Candle.open_time < until)
    rows: Any = (await session.execute(query)).all()
    arrays = [np.array([row[k] for row in rows], dtype) for k, dtype in enumerate((np.int64, *[float] * (len(COLUMNS) - 2), bool))]
    return Bars(symbol, minutes, *arrays)


def store_of(path: str, venue: str) -> CandleStore:
    "The candle store at a path; it may be empty."
    return CandleStore(Path(path), venue)


def listed(text: str) -> list[str]:
    "Names with commas or spaces between them."
    return [name for name in text.replace(",", " ").split() if name]


def settlements_of(store: CandleStore, wished: Collection[str] = ()) -> dict[str, Funding]:
    "Every funding series of the store, or those that are `wished`."
    try:
        names = [e.symbol for e in store.catalogue() if e.timeframe == "funding" and (not wished or e.symbol in wished)]
        return {name: found for name in names if len(found := store.read_funding(name))}
    except DataError as error:
        raise ConfigError(str(error)) from None
