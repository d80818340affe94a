"The public archive behind the port: whole zips are fetched, their rows of a span are given."
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from perps_kit.core.bar import Bars, DataError
from perps_kit.data.funding import Funding
from perps_kit.data.readings import Readings
from perps_kit.sources.archive import EVERY, ArchiveFile, archive_bars, archive_funding, archive_metrics, covering
from runners.archive import Archive, obtain
from runners.archive_import import readings_of
from runners.errors import ConfigError


@dataclass
class ArchiveSource:
    "Binance's archive as a source; `now` in milliseconds tells which zips can exist."
    archive: Archive
    now: int
    venue: str = "binanceusdm"
    name: str = "archive"
    has: frozenset[str] = frozenset(("candles", "funding", "open_interest", "long_short_ratio"))
    remarks: list[str] = field(default_factory=list)    # zips that were not usable

    async def _zips(self, kind: str, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[tuple[ArchiveFile, Path]]:
        import httpx
        async with httpx.AsyncClient(timeout=self.archive.quiet, follow_redirects=True) as client:
            for file in covering(symbol, kind, timeframe, start, end, self.now, self.venue):
                for one, got in await obtain(self.archive, client, file, self.now):
                    if isinstance(got, DataError): self.remarks.append(str(got))
                    elif got is not None: yield one, got

    async def candles(self, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[Bars]:
        "A zip's bars of the span at a time."
        async for file, path in self._zips("klines", symbol, timeframe, start, end):
            bars = await asyncio.to_thread(archive_bars, path, file)
            bars = bars[(bars.open_time >= start) & (bars.open_time < end)]
            if len(bars): yield bars

    async def funding(self, symbol: str, start: int, end: int) -> AsyncIterator[Funding]:
        "A month's settlements at a time."
        async for file, path in self._zips("fundingRate", symbol, "", start, end):
            funding = archive_funding(path, file)
            yield funding[(funding.time >= start) & (funding.time < end)]

    async def readings(self, what: str, symbol: str, timeframe: str, start: int, end: int) -> AsyncIterator[Readings]:
        "Five-minute readings from a day's metrics at a time."
        if timeframe != "5m": raise ConfigError(f"the archive tells {what.replace('_', ' ')} every 5m, not every {timeframe}")
        async for file, path in self._zips("metrics", symbol, "", start - EVERY, end):
            for readings in readings_of(archive_metrics(path, file)):
                inside = readings[(readings.time >= start) & (readings.time < end)]
                if readings.kind == what and len(inside): yield inside
