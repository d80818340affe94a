"The public archive into the store: only what is missing, months where there are whole ones, each zip verified before it is opened."
import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import DAY, MINUTE, iso, minutes_of
from perps_kit.data.files import part_names
from perps_kit.data.funding import Funding, missing_settlements
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
    checksum_of,
    covering,
    read_rows,
    rows_folder,
    verified,
)
from perps_kit.sources.paging import missing_ranges, wait_seconds
from perps_kit.storage.candles import CandleStore, merged
from runners.errors import ConfigError

if TYPE_CHECKING:
    import httpx

VISION = "https://data.binance.vision"
SETTLED = 60 * DAY          # a month that is over for so long and not there has no days either
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
class Archive:
    "Where the archive stands, where its zips are kept, and how politely it is asked."
    folder: Path                # of the zips, in the archive's own tree
    base: str = VISION
    at_once: int = 4            # zips on the wire at a time
    pace: float = 0.1           # seconds between two requests
    tries: int = 6
    within: float = 900.0       # seconds that one answer may take, large files included
    longest: float = 120.0      # a wait longer than this, in seconds, is not sat out
    quiet: float = 20.0         # seconds without a byte that end an answer
    requests: int = 0
    fetched: int = 0
    kept: int = 0
    _next: float = 0.0          # the loop's time before which nothing is asked
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.tries < 1: raise ConfigError("at least one zip at a time and one try")
        if not self.base.startswith(("http://", "https://")): raise ConfigError(f"{self.base!r} is no address; it begins with https://")
        self._slots = asyncio.Semaphore(self.at_once)

    async def fetch(self, client: "httpx.AsyncClient", file: ArchiveFile) -> Path | None:
        "The verified zip on disk, from before or fetched now; None where the archive has none; DataError where it is damaged there."
        path = self.folder / file.path
        note, line, part = _beside(path, ".CHECKSUM"), _beside(path, ".CHECKSUM.part"), _beside(path, ".part")
        if path.exists() and note.exists() and await asyncio.to_thread(_sound, path, note):
            self.kept += 1
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        async with self._slots:
            for fresh in (False, True):
                line.unlink(missing_ok=True)
                if not await self._pull(client, f"{file.path}.CHECKSUM", line): return None
                wanted = checksum_of(line.read_text(errors="replace"), file.name)
                whole = part.exists() and await asyncio.to_thread(_fits, part, wanted)
                if not whole and not await self._pull(client, file.path, part): return None
                try: await asyncio.to_thread(verified, part, wanted)
                except DataError as error:
                    part.unlink()
                    if fresh: raise DataError(str(error).replace(part.name, file.name)) from None
                    continue
                os.replace(part, path)
                os.replace(line, note)
                self.fetched += 1
                return path
        raise AssertionError("the second try returns or raises")

    async def _pull(self, client: "httpx.AsyncClient", path: str, into: Path) -> bool:
        "Whether the archive has it; its bytes go into a file, from where a broken try left it."
        import httpx
        for attempt in range(self.tries):
            await self._turn()
            try:
                async with asyncio.timeout(self.within): status, headers = await _stream(client, f"{self.base.rstrip('/')}/{path}", into)
            except (httpx.RequestError, TimeoutError) as error: status, headers, why = 0, None, _short(error)
            else: why = f"status {status}"
            if status in (200, 206): return True
            if status == 404: return False
            if status == 416: into.unlink(missing_ok=True)
            elif 300 <= status < 500 and status not in (408, 418, 425, 429):
                raise ConfigError(f"{self.base} refused {path} with status {status}")
            pause = wait_seconds(attempt, headers) if status != 416 else 0.0
            if attempt + 1 == self.tries or pause > self.longest:
                later = f" in {pause:.0f} seconds" if headers else ""
                raise ConfigError(f"{self.base} gives no answer for {path} ({why}); go on{later}, what came is kept")
            self._next = max(self._next, asyncio.get_running_loop().time() + pause)
        raise AssertionError("tries is at least 1")

    async def _turn(self) -> None:
        "Wait for one's turn: requests keep their distance, and a refusal of one holds up all."
        loop = asyncio.get_running_loop()
        while (ahead := self._next - loop.time()) > 0: await asyncio.sleep(ahead)
        self._next, self.requests = loop.time() + self.pace, self.requests + 1


def _beside(path: Path, tail: str) -> Path: return path.with_name(path.name + tail)


def _drop(path: Path) -> None:
    for one in (path, _beside(path, ".CHECKSUM")): one.unlink(missing_ok=True)


def _short(error: BaseException) -> str: return " ".join(str(error).split())[:160] or type(error).__name__


def _fits(path: Path, checksum: str) -> bool:
    try: return verified(path, checksum) == path
    except DataError: return False


def _sound(path: Path, note: Path) -> bool:
    try: return _fits(path, checksum_of(note.read_text(errors="replace"), path.name))
    except DataError: return False


async def _stream(client: "httpx.AsyncClient", url: str, into: Path) -> tuple[int, dict[str, str]]:
    "Status and headers of an answer; the bytes of a good one are added to what the file has, or replace it where the server starts anew."
    have = into.stat().st_size if into.exists() else 0
    asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    async with client.stream("GET", url, headers=asked) as answer:
        headers = dict(answer.headers)
        if answer.status_code not in (200, 206): return answer.status_code, headers
        goes_on = answer.status_code == 206 and headers.get("content-range", "").startswith(f"bytes {have}-")
        if answer.status_code == 206 and not goes_on: return 416, headers
        with open(into, "ab" if goes_on else "wb", buffering=0) as file:        # what came is on disk when we are killed
            async for chunk in answer.aiter_raw(): file.write(chunk)
    return answer.status_code, headers


Outcome = tuple[ArchiveFile, Path | DataError | None]


async def obtain(archive: Archive, client: "httpx.AsyncClient", file: ArchiveFile, now: int) -> list[Outcome]:
    "A zip, or its days where the month is not published; damage is an outcome, not an end."
    got = await _tried(archive, client, file)
    days = file.days() if file.by_month and got[1] is None else []
    if not days: return [got]
    last = await _tried(archive, client, days[-1])
    if last[1] is None and now - file.end > SETTLED: return [got]       # one question tells that a market did not trade then
    async with asyncio.TaskGroup() as group: tasks = [group.create_task(_tried(archive, client, day)) for day in days[:-1]]
    return [*(task.result() for task in tasks), last]


async def _tried(archive: Archive, client: "httpx.AsyncClient", file: ArchiveFile) -> Outcome:
    try: return file, await archive.fetch(client, file)
    except DataError as error: return file, error


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

    async def run() -> None:
        import httpx
        async with httpx.AsyncClient(timeout=archive.quiet, follow_redirects=True) as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(obtain(archive, client, file, now)) for file in wanted]
            for done, task in enumerate(tasks, 1):
                for file, got in await task: await asyncio.to_thread(use, file, got)
                if progress: progress(done, len(tasks))

    def use(file: ArchiveFile, got: Path | DataError | None) -> None:
        if got is None: absent.append(file.name)
        elif isinstance(got, DataError): bad.append(str(got))
        else:
            try: keeper.take(got, file)
            except DataError as error: bad.append(str(error))
            else:
                if file.kind == "klines": pending.append(got)      # their rows may still wait for the rest of their part
                elif not keep: _drop(got)

    pending: list[Path] = []
    try: await all_of(run())
    finally: keeper.flush()
    if not keep:
        for path in pending: _drop(path)
    gaps = await asyncio.to_thread(holes, store, plan, start, end)
    fetched, kept, requests = archive.fetched - before[1], archive.kept - before[2], archive.requests - before[0]
    return Archived(symbol, timeframe if kind == "klines" else kind, fetched, kept, len(plan) - len(wanted), requests, keeper.received,
                    keeper.stored, keeper.lost if kind == "aggTrades" else len(gaps), tuple(gaps[:5]), tuple(absent), tuple(bad))
