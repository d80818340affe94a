"Rows of the archive's zips on their way into the store: what it lacks, gathered by part, written once, counted."
import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import MINUTE, iso, minutes_of
from perps_kit.data.files import part_names
from perps_kit.data.funding import Funding, missing_settlements
from perps_kit.data.readings import Readings
from perps_kit.sources.archive import (
    EVERY,
    ArchiveFile,
    Metrics,
    Trades,
    append_rows,
    archive_bars,
    archive_funding,
    archive_metrics,
    archive_trades,
    covering,
    read_rows,
    rows_folder,
)
from perps_kit.sources.paging import missing_ranges
from perps_kit.storage.candles import CandleStore, merged
from perps_kit.storage.readings import append_readings
from runners.archive import Archive, Outcome, drop, obtain

Progress = Callable[[int, int], None]           # zips that are dealt with, and how many there are


class Archived(NamedTuple):
    "What one symbol's span brought."
    symbol: str
    what: str                   # a timeframe, or fundingRate, aggTrades, metrics
    fetched: int                # zips that came over the wire
    kept: int                   # zips that lay here verified from before
    held: int                   # zips that were not needed, the store had their rows
    requests: int
    received: int               # rows
    stored: int                 # of them, new or changed in the store
    missing: int                # holes that the archive leaves: spans; of trades, ids
    holes: tuple[str, ...]      # the first of them
    absent: tuple[str, ...]     # zips that the archive does not have (yet)
    bad: tuple[str, ...]        # zips that were not used, and why


@dataclass
class Keeper:
    "Rows of one symbol and kind on their way into the store: read, gathered by part, written, counted."
    store: CandleStore
    start: int
    end: int
    received: int = 0
    stored: int = 0
    lost: int = 0               # trades whose ids are skipped
    bars: Bars | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: Path, file: ArchiveFile) -> None:
        "Store the rows of a zip that lie in the span; DataError for one that must not be used."
        with self.lock: self._take(path, file)

    def _take(self, path: Path, file: ArchiveFile) -> None:
        if file.kind == "klines":
            bars = archive_bars(path, file)
            self._bars(bars[(bars.open_time >= self.start) & (bars.open_time < self.end)])
        elif file.kind == "fundingRate":
            funding = archive_funding(path, file)
            self._funding(funding[(funding.time >= self.start) & (funding.time < self.end)])
        else:
            rows = archive_trades(path, file) if file.kind == "aggTrades" else archive_metrics(path, file)
            self.lost += rows.missing() if isinstance(rows, Trades) else 0
            self.received += len(rows)
            self.stored += append_rows(rows, self.store.root, self.store.venue)
            if isinstance(rows, Metrics):
                for readings in readings_of(rows): append_readings(self.store, readings, label="archive")

    def _bars(self, bars: Bars) -> None:
        "A part of the store is written once, not once for each zip."
        self.received += len(bars)
        if not len(bars): return
        if self.bars is not None and self._part(self.bars) != self._part(bars): self._flush()
        self.bars = bars if self.bars is None else merged(self.bars, bars)

    def _part(self, bars: Bars) -> str: return part_names(bars.open_time[-1:], bars.minutes)[0]

    def _funding(self, funding: Funding) -> None:
        "Rates come without mark prices: those that the store has stay."
        known = self.store.read_funding(funding.symbol, self.start, self.end)
        marks = dict(zip(known.time.tolist(), known.mark.tolist()))
        full = Funding.of(funding.symbol, funding.time, funding.rate, [marks.get(t, float("nan")) for t in funding.time.tolist()])
        self.received, self.stored = self.received + len(full), self.stored + self.store.append_funding(full, label="archive")

    def flush(self) -> None:
        "Write what is gathered; a zip that is being read is waited for."
        with self.lock: self._flush()

    def _flush(self) -> None:
        if self.bars is not None: self.stored += self.store.append(self.bars, label="archive")
        self.bars = None


def readings_of(metrics: Metrics) -> tuple[Readings, Readings]:
    "Open interest and long/short ratio of metrics, rows that the venue left empty left out."
    def told(kind: str, *columns) -> Readings:
        known = columns[0] >= 0
        return Readings.of(metrics.symbol, kind, EVERY, metrics.time[known], *(c[known] for c in columns))
    return told("open_interest", metrics.open_interest, metrics.open_interest_value), told("long_short_ratio", metrics.long_short_ratio)


def lacking(store: CandleStore, file: ArchiveFile, start: int, end: int) -> list[tuple[int, int]]:
    "Spans [a, b) of the part of a zip within [start, end) that the store lacks; funding always counts as lacking."
    start, end = max(start, file.start), min(end, file.end)
    if file.kind == "klines":
        held = store.read(file.symbol, file.timeframe, start, end)
        return missing_ranges(held.open_time, start, end, minutes_of(file.timeframe) * MINUTE)
    if file.kind == "metrics":
        held = read_rows(Metrics, store.root, store.venue, file.symbol, file.start + 1, file.end + 1)
        return missing_ranges(held.time, file.start + EVERY, file.end + 1, EVERY)
    if file.kind == "aggTrades":
        part = rows_folder(Trades, store.root, store.venue, file.symbol) / f"{iso(file.start)[:10]}.parquet"
        return [] if part.exists() else [(file.start, file.end)]
    return [(start, end)]


def holes(store: CandleStore, files: list[ArchiveFile], start: int, end: int) -> list[str]:
    "What the store lacks of the span of some zips, as text: neighbours joined."
    spans: list[tuple[int, int]] = []
    for file in files:
        if file.kind == "fundingRate":
            held = store.read_funding(file.symbol, max(start, file.start), min(end, file.end))
            steps = (held.time[1:] - held.time[:-1]).tolist()
            held = Funding.of(held.symbol, held.time, held.rate, every=max(set(steps), key=steps.count) if steps else held.every)
            found = [(t, t + held.every) for t in missing_settlements(held, max(start, file.start), min(end, file.end)).tolist()]
        else: found = lacking(store, file, start, end)
        for a, b in found:
            if spans and spans[-1][1] == a: spans[-1] = (spans[-1][0], b)
            else: spans.append((a, b))
    return [f"{iso(a)} to {iso(b)}" for a, b in spans]


async def all_of(work: Coroutine[Any, Any, Any]) -> Any:
    "The result of work that runs task groups, its first error bare."
    try: return await work
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup): error = error.exceptions[0]
        raise error from None


async def archive_into(archive: Archive, store: CandleStore, symbol: str, kind: str, timeframe: str, start: int, end: int, now: int,
                       progress: Progress | None = None, keep: bool = True) -> Archived:
    "Rows of [start, end) that the store lacks, from the archive; `keep` leaves the zips where they are."
    plan = covering(symbol, kind, timeframe, start, end, now, store.venue)
    wanted = [file for file in plan if lacking(store, file, start, end)]
    before = archive.requests, archive.fetched, archive.kept
    keeper, absent, bad = Keeper(store, start, end), [], []

    tasks: list[asyncio.Task[list[Outcome]]] = []
    using: list[asyncio.Future[None]] = []
    used: set[str] = set()
    pending: list[Path] = []

    async def run() -> None:
        import httpx
        async with httpx.AsyncClient(timeout=archive.quiet, follow_redirects=True) as client, asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(obtain(archive, client, file, now)) for file in wanted)
            for done, task in enumerate(tasks, 1):
                for file, got in await task:
                    using[:] = [asyncio.ensure_future(asyncio.to_thread(use, file, got))]
                    await asyncio.shield(using[0])
                if progress: progress(done, len(tasks))

    def use(file: ArchiveFile, got: Path | DataError | None) -> None:
        used.add(file.name)
        if got is None: absent.append(file.name)
        elif isinstance(got, DataError): bad.append(str(got))
        else:
            try: keeper.take(got, file)
            except DataError as error: bad.append(str(error))
            else:
                if file.kind == "klines": pending.append(got)      # their rows may still wait for the rest of their part
                elif not keep: drop(got)

    async def rest() -> None:
        "Zips that had come before another one ended all."
        if using: await asyncio.wait(using)
        came = [task.result() for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
        for file, got in (one for outcomes in came for one in outcomes if one[0].name not in used): await asyncio.to_thread(use, file, got)

    try: await all_of(run())
    finally:
        await rest()
        keeper.flush()
    if not keep:
        for path in pending: drop(path)
    gaps = await asyncio.to_thread(holes, store, plan, start, end)
    fetched, kept, requests = archive.fetched - before[1], archive.kept - before[2], archive.requests - before[0]
    return Archived(symbol, timeframe if kind == "klines" else kind, fetched, kept, len(plan) - len(wanted), requests, keeper.received,
                    keeper.stored, keeper.lost if kind == "aggTrades" else len(gaps), tuple(gaps[:5]), tuple(absent), tuple(bad))
