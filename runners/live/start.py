"""Start-up is recovery: the same steps whether the service was stopped, killed or never ran.

Units are restored from their last snapshot and stepped over the candles stored since; only a service that knows nothing of a symbol
warms up from the venue's history.
"""

import asyncio
import logging
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.bar import Bar, DataError
from perps_kit.core.clock import DAY, MINUTE, iso
from perps_kit.core.stream import Stream
from perps_kit.core.unit import loads
from perps_kit.engine.engine import Engine, Tracked, end_of
from perps_kit.risk.memory import restored, saved
from perps_kit.scoring.book import Held
from perps_kit.storage.keep import forget_snapshots, get_meta, load_candles, load_snapshots, put, save_snapshots
from perps_kit.storage.models import Candle, MemoryState, SignalRow, Tracker
from perps_kit.trackers.plan import CLOSED
from runners.db.connect import Database
from runners.errors import ConfigError
from runners.live.accounts import pattern
from runners.live.book import keep_candles
from runners.live.feed import Feed
from runners.live.venue import network_errors
from runners.settings import Settings
from runners.state import ServiceState

log = logging.getLogger(__name__)
CHART = 700  # candles of a warm-up that the page can show


async def last_cycle(session: AsyncSession) -> int:
    "Close time of the last cycle that was committed; 0: none."
    return int(await get_meta(session, "cycle", "0") or 0)


def bar_of_row(row: Candle) -> Bar:
    "The stored candle."
    return Bar(row.open_time, row.open_time + row.minutes * MINUTE, row.open, row.high, row.low, row.close, row.volume,
               row.taker_buy, row.quote_volume, row.trades, row.synthetic)


async def wake(db: Database, feed: Feed, streams: dict[str, Stream], settings: Settings, state: ServiceState) -> int:
    "Bring every stream to the last committed cycle, or to the venue's present where there is none; that time."
    venue, minutes = settings.venue.id, settings.minutes
    stamp = next(iter(streams.values())).stamp
    async with db.read() as session:
        done, snapshots = await last_cycle(session), await load_snapshots(session, venue, minutes, stamp)
    until = done or await feed.exchange.now()
    until -= until % (minutes * MINUTE)
    for k, (symbol, stream) in enumerate(streams.items()):
        state.wait_for(f"warm-up: {k} of {len(streams)} symbols")
        if symbol in snapshots and snapshots[symbol].time <= until:
            stream.load(snapshots[symbol].state)
            async with db.read() as session:
                for row in await load_candles(session, venue, symbol, minutes, after=snapshots[symbol].time - 1):
                    if row.open_time < until:
                        stream.accept(bar_of_row(row))  # as it was taken live: a long hole makes a new origin
        else:
            await warm_up(db, feed, stream, settings, until)
        feed.last[symbol] = stream.last.close_time if stream.last else until
    await snapshot(db, streams, settings)
    log.info("%s at %s UTC", "restored" if done else "warmed up", iso(until))
    return done


async def warm_up(db: Database, feed: Feed, stream: Stream, settings: Settings, until: int) -> None:
    "Step a stream over the venue's history up to a time."
    span = settings.minutes * MINUTE
    since = settings.origin if settings.origin is not None else until - settings.warmup * span
    bars = await history(feed, stream.symbol, since, until)
    for i, bar in enumerate(bars):
        stream.accept(bar)
        if i % 250 == 0:
            await asyncio.sleep(0)
    async with db.write() as session:
        await keep_candles(session, settings.venue.id, stream.symbol, settings.minutes, bars[-CHART:])
    first = max(stream.settled.values(), default=0)
    young = "" if len(bars) >= first else f"; its longest averages settle at {first}, until then its signals are marked as young"
    log.info("%s: %d candles of history%s", stream.symbol, len(bars), young)


async def history(feed: Feed, symbol: str, since: int, until: int, times: int = 4) -> list[Bar]:
    "The venue's closed candles in [since, until); a bad answer is refused and asked for again, a few times."
    venue = feed.exchange.venue
    for attempt in range(times):
        try:
            return await feed.fetch(symbol, since, until)
        except DataError as error:
            feed.refuse(symbol, "bad answer", error)
            await asyncio.sleep(0.25 * 2**attempt)
        except (TimeoutError, *network_errors()) as error:
            raise ConfigError(f"{venue} does not give the history of {symbol} ({type(error).__name__}): start again later") from None
    raise ConfigError(f"{venue} sends no sound history of {symbol}: start again later, or take it out of the symbols")


async def snapshot(db: Database, streams: dict[str, Stream], settings: Settings) -> None:
    "Write every stream's state down; those of other code or parameters go."
    stamp = next(iter(streams.values())).stamp
    rows: list[dict[str, Any]] = [
        dict(venue=settings.venue.id, symbol=s, minutes=settings.minutes, stamp=stamp, time=stream.last.close_time,
             origin=stream.origin, state=stream.save())
        for s, stream in streams.items() if stream.last
    ]
    async with db.write() as session:
        await save_snapshots(session, rows)
        await forget_snapshots(session, settings.venue.id, settings.minutes, stamp)


async def resume(session: AsyncSession, engine: Engine, settings: Settings) -> None:
    "Put open positions and the signals that still matter back into the engine."
    since = await last_cycle(session) - max(DAY, engine.pipeline.memory)
    rows = await session.execute(
        select(SignalRow, Tracker).join(Tracker, Tracker.signal_id == SignalRow.id)
        .where(Tracker.account_id.is_(None), SignalRow.venue == settings.venue.id)
        .where((Tracker.closed_at.is_(None)) | (SignalRow.close_time >= since) | (Tracker.closed_at >= since))
        .order_by(SignalRow.close_time)
    )
    for signal, tracker in rows:
        held = Held(signal.id, signal.strategy, signal.symbol, signal.side, signal.close_time, signal.entry)
        ladder = loads(pattern(engine.rules), tracker.ladder)
        if ladder.state >= CLOSED:
            engine.book.add(held._replace(free_at=ladder.times.last, clear_at=ladder.times.last, end=end_of(ladder)))
        else:
            if ladder.leaving:
                held = held._replace(clear_at=ladder.times.last)
            engine.follow(Tracked(signal.id, signal.strategy, signal.symbol, signal.side, signal.minutes, ladder), held)


async def remember(session: AsyncSession, engine: Engine, settings: Settings) -> None:
    "What closed trades taught so far. A memory that cannot be read stops a live service; any other begins with an empty one and says so."
    row = await session.get(MemoryState, "memory")
    if row is None:
        return
    try:
        engine.book.memory = restored(settings.memory.terms, row.state)
    except ValueError as wrong:
        if settings.mode == "live":
            raise ConfigError(f"mode live does not trade without its memory: {wrong}") from None
        log.error("%s; the memory begins empty", wrong)


async def keep_memory(session: AsyncSession, engine: Engine, time: int) -> None:
    "Write the memory, in the transaction of the trade that taught it."
    memory: Any = engine.book.memory
    await put(session, MemoryState, [dict(name="memory", state=saved(memory), updated_at=time)])
