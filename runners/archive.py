"Zips of the public archive on the disk: months where there are whole ones, each verified, a broken one gone on with, politely."
import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from perps_kit.core.bar import DataError
from perps_kit.core.clock import DAY
from perps_kit.sources.archive import ArchiveFile, checksum_of, verified
from perps_kit.sources.paging import wait_seconds
from runners.errors import ConfigError

if TYPE_CHECKING:
    import httpx

VISION = "https://data.binance.vision"
SETTLED = 60 * DAY          # a month that is over for so long and not there has no days either


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


def drop(path: Path) -> None:
    "Remove a zip and its checksum line."
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
