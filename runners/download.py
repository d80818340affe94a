"Candles, funding and readings from a source into the store: only what is missing, and what came is kept."
from collections.abc import Callable
from typing import NamedTuple

from perps_kit.core.bar import Bars
from perps_kit.core.clock import HOUR, MINUTE, minutes_of
from perps_kit.sources.pages import open_spans
from perps_kit.sources.paging import missing_ranges
from perps_kit.storage.candles import CandleStore, merged
from perps_kit.storage.readings import append_readings, read_readings
from runners.sources import Caller, VenueSource

Progress = Callable[[int, int], None]           # milliseconds of the span that are done, and how many there are


class Downloaded(NamedTuple):
    "What one download brought."
    symbol: str
    what: str                   # a timeframe, or "funding", "open_interest 1h" ...
    requests: int
    received: int
    stored: int                 # of them, new or changed in the store
    missing: int                # spans that the exchange has nothing for
    remarks: tuple[str, ...] = ()


async def download_bars(caller: Caller, store: CandleStore, symbol: str, timeframe: str, start: int, end: int,
                        progress: Progress | None = None, limit: int = 0, keep: int = 10) -> Downloaded:
    "Closed bars that open in [start, end) and that the store lacks; stored after every `keep` answers, so that a break costs little."
    source, step = VenueSource(caller, limit), minutes_of(timeframe) * MINUTE
    source.need("candles")
    name = await source.name_of(symbol)
    end = min(end, await source.time() // step * step)

    def lacking() -> list[tuple[int, int]]: return missing_ranges(store.read(name, timeframe, start, end).open_time, start, end, step)

    spans = lacking()
    total, done, received, stored = sum(b - a for a, b in spans), 0, 0, 0
    held: list[Bars] = []

    def save() -> None:
        nonlocal stored
        for bars in held[1:]: held[0] = merged(held[0], bars)
        if held: stored += store.append(held[0], label=caller.exchange.id)
        held.clear()

    try:
        for a, b in spans:
            came = 0
            async for bars in source.candles(symbol, timeframe, a, b):
                held.append(bars)
                came += len(bars)
                received += len(bars)
                if len(held) >= keep: save()
                if progress: progress(done + min(came * step, b - a), total)
            done += b - a
            save()
            if progress: progress(done, total)
    finally: save()
    return Downloaded(name, timeframe, caller.requests, received, stored, len(lacking()))


async def download_funding(caller: Caller, store: CandleStore, symbol: str, start: int, end: int, limit: int = 0) -> Downloaded:
    "Settlements in [start, end) that the store lacks; what it has is known by holes of more than a period, and its newest."
    source = VenueSource(caller, limit)
    source.need("funding")
    name = await source.name_of(symbol)
    end = min(end, await source.time())
    held = store.read_funding(name, start, end).time
    last = int(held[-1]) if len(held) else 0
    spans = open_spans(held, start, last + 1, 8 * HOUR) if last else []
    spans += [(last + HOUR if last else start, end)] if end - last > HOUR else []
    received = stored = 0
    for a, b in spans:
        async for funding in source.funding(symbol, a, b):
            received, stored = received + len(funding), stored + store.append_funding(funding, label=caller.exchange.id)
    return Downloaded(name, "funding", caller.requests, received, stored, 0)


async def download_readings(caller: Caller, store: CandleStore, what: str, symbol: str, timeframe: str, start: int, end: int,
                            progress: Progress | None = None) -> Downloaded:
    "Open interest or long/short ratios known in [start, end) that the store lacks; each answer is stored as it comes."
    source, period = VenueSource(caller), minutes_of(timeframe) * MINUTE
    source.need(what)
    name = await source.name_of(symbol)
    end = min(end, await source.time() + 1)

    def lacking() -> list[tuple[int, int]]:
        return open_spans(read_readings(store, name, what, timeframe, start, end).time, start, end, period)

    spans = lacking()
    total, done, received, stored = sum(b - a for a, b in spans), 0, 0, 0
    for a, b in spans:
        async for readings in source.readings(what, symbol, timeframe, a, b):
            received, stored = received + len(readings), stored + append_readings(store, readings, label=caller.exchange.id)
            if progress: progress(done + min(len(readings) * period, b - a), total)
        done += b - a
        if progress: progress(done, total)
    return Downloaded(name, f"{what} {timeframe}", caller.requests, received, stored, len(lacking()), tuple(dict.fromkeys(source.remarks)))
