"""A year of minutes from the archive's zips: rows a second, memory, and one symbol's month read back.

`python -m benchmarks.archive --symbols 50` measures the whole size, `python -m benchmarks archive` four symbols. The zips are made up, in
the archive's own format and tree, and served on loopback by another process; the import is a process of its own.
"""
import argparse
import asyncio
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT, Line, table
from benchmarks.start import free_port
from perps_kit.core.clock import MINUTE, parse_time
from perps_kit.data.files import folder_of, part_names
from perps_kit.sources.archive import ArchiveFile, months_of

START, NOW = parse_time("2024-01-01"), parse_time("2026-01-01")
TEMPLATES = 4               # different random walks; symbols take turns


def symbol(k: int) -> str: return f"COIN{k:03d}USDT"


def span(months: int) -> tuple[int, int]:
    "The first months of 2024, milliseconds [a, b)."
    end = int((np.datetime64("2024-01", "M") + months).astype("datetime64[ms]").astype(np.int64))
    return START, end


def month_csv(seed: int, start: int, end: int) -> bytes:
    "Klines of a month as the archive writes them, header included."
    import pyarrow as pa
    import pyarrow.csv as csv
    r, n = np.random.default_rng(seed), (end - start) // MINUTE
    close = np.round(100.0 * np.exp(np.cumsum(r.normal(0, 0.0008, n))), 3)
    opened = np.r_[close[0], close[:-1]]
    high = np.round(np.maximum(opened, close) * (1 + r.uniform(0, 0.001, n)) + 0.001, 3)
    low = np.round(np.minimum(opened, close) * (1 - r.uniform(0, 0.001, n)) - 0.001, 3)
    volume = np.round(r.gamma(2.0, 800.0, n), 3)
    time_ = start + MINUTE * np.arange(n, dtype=np.int64)
    columns = dict(open_time=time_, open=opened, high=high, low=low, close=close, volume=volume, close_time=time_ + MINUTE - 1,
                   quote_volume=np.round(volume * close, 5), count=r.integers(50, 5000, n), taker_buy_volume=np.round(volume * 0.5, 3),
                   taker_buy_quote_volume=np.round(volume * close * 0.5, 5), ignore=np.zeros(n, np.int64))
    out = io.BytesIO()
    csv.write_csv(pa.table(columns), out, csv.WriteOptions(quoting_style="none"))
    return out.getvalue()


def make_site(folder: Path, symbols: int, months: int) -> int:
    "Zips with their checksum lines; the bytes of all. A few are packed, the others are these under names of the same length."
    size = 0
    for m, (a, b) in enumerate(months_of(*span(months))):
        few = range(min(TEMPLATES, symbols))
        packed = [zipped(month_csv(1000 * t + m, a, b), ArchiveFile(symbol(t), "klines", "1m", a, b)) for t in few]
        for k in range(symbols):
            path = folder / ArchiveFile(symbol(k), "klines", "1m", a, b).path
            path.parent.mkdir(parents=True, exist_ok=True)
            data = packed[k % TEMPLATES].replace(symbol(k % TEMPLATES).encode(), symbol(k).encode())
            path.write_bytes(data)
            path.with_name(path.name + ".CHECKSUM").write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
            size += len(data)
    return size


def zipped(text: bytes, file: ArchiveFile) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive: archive.writestr(file.name.replace(".zip", ".csv"), text)
    return out.getvalue()


async def bring(base: str, folder: Path, symbols: int, months: int) -> int:
    "The import: rows stored."
    from perps_kit.storage.candles import CandleStore
    from runners.archive import Archive
    from runners.archive_import import archive_into
    source, store, rows = Archive(folder / "zips", base, pace=0.0), CandleStore(folder / "store"), 0
    for k in range(symbols):
        got = await archive_into(source, store, symbol(k), "klines", "1m", *span(months), NOW, keep=False)
        if got.bad or got.absent or got.missing: raise RuntimeError(f"{symbol(k)}: {got}")
        rows += got.stored
    return rows


def floor(site: Path, folder: Path, symbols: int, months: int) -> int:
    "The least that could be done with the same bytes: unzip, parse, write Parquet; nothing fetched, checked, merged or hashed. Rows."
    import pyarrow.csv as csv
    import pyarrow.parquet as pq
    rows = 0
    for k in range(symbols):
        for a, b in months_of(*span(months)):
            path = site / ArchiveFile(symbol(k), "klines", "1m", a, b).path
            with zipfile.ZipFile(path) as archive: data = archive.read(archive.namelist()[0])
            found = csv.read_csv(io.BytesIO(data)).select([0, 1, 2, 3, 4, 5, 7, 8, 9])
            pq.write_table(found, folder / f"{symbol(k)}-{a}.parquet", compression="zstd")
            rows += found.num_rows
    return rows


class Spent:
    "A child process: what it printed, CPU and wall seconds, most memory in MB."

    def __init__(self, *words: object) -> None:
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.archive", *map(str, words)], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout
        self.said = process.stdout.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode: raise RuntimeError(f"{words[0]} failed")
        self.cpu, self.wall, self.memory = used.ru_utime + used.ru_stime, time.perf_counter() - begun, used.ru_maxrss * 1024 / 1e6


def served(site: Path) -> tuple[subprocess.Popen, str]:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(site)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    import socket
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0: return process, f"http://127.0.0.1:{port}"
        time.sleep(0.05)
    raise RuntimeError("the file server did not start")


def read_back(store_root: Path, months: int) -> tuple[float, float, int]:
    "Median CPU milliseconds of one symbol's month by the store and by pyarrow alone, and its rows."
    import pyarrow.parquet as pq

    from perps_kit.storage.candles import CandleStore
    store, (a, b), ours, plain, rows = CandleStore(store_root), months_of(*span(months))[months // 2], [], [], 0
    part = folder_of(store_root, store.venue, symbol(0), "1m") / f"{part_names(np.array([a]), 1)[0]}.parquet"
    for _ in range(31):
        begun = time.process_time()
        rows = len(store.read(symbol(0), "1m", a, b))
        middle = time.process_time()
        pq.ParquetFile(part).read()
        ours.append(middle - begun)
        plain.append(time.process_time() - middle)
    return 1000 * statistics.median(ours), 1000 * statistics.median(plain), rows


def lines(symbols: int = 4, months: int = 12) -> list[Line]:
    "All figures of one size; what is made is removed."
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        need = symbols * months * 6_000_000
        if shutil.disk_usage(folder).free < need: raise RuntimeError(f"{need / 1e9:.0f} GB of disk are needed under {folder}")
        size = make_site(folder / "site", symbols, months)
        (folder / "floor").mkdir()
        server, base = served(folder / "site")
        try: ours = Spent("--bring", base, folder, "--symbols", symbols, "--months", months)
        finally:
            server.terminate()
            server.wait()
        few = min(symbols, 4)
        least = Spent("--floor", folder / "site", folder / "floor", "--symbols", few, "--months", months)
        rows, floor_rows = json.loads(ours.said), json.loads(least.said)
        stored = sum(p.stat().st_size for p in (folder / "store").rglob("*.parquet"))
        month, plain, month_rows = read_back(folder / "store", months)
    each, least_each = ours.cpu / rows, least.cpu / floor_rows
    what = f"{symbols} symbols, {months} months of 1m, {rows:,} rows, zips of {size / 1e6:,.0f} MB, store {stored / 1e6:,.0f} MB"
    return [Line("import, rows a second", rows / ours.wall, "rows/s", note=what),
            Line("import, CPU", ours.cpu, "s CPU", note=f"{ours.wall:.0f} s on the clock, zips from a server on loopback"),
            Line("import over unzip, parse, write alone", each / least_each, "times", note=f"CPU a row; the floor on {few} symbols"),
            Line("import, most memory", ours.memory, "MB"),
            Line("one symbol's month read back", month, "ms CPU", note=f"{month_rows:,} rows, checked; pyarrow alone {plain:.1f} ms")]


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--symbols", type=int, default=4)
    p.add_argument("--months", type=int, default=12)
    p.add_argument("--bring", nargs=2, help=argparse.SUPPRESS)
    p.add_argument("--floor", nargs=2, help=argparse.SUPPRESS)
    chosen = p.parse_args()
    if not 1 <= chosen.months <= 12 or not 1 <= chosen.symbols <= 999: p.error("1 to 12 months and 1 to 999 symbols")
    if chosen.bring: print(asyncio.run(bring(chosen.bring[0], Path(chosen.bring[1]), chosen.symbols, chosen.months)))
    elif chosen.floor: print(floor(Path(chosen.floor[0]), Path(chosen.floor[1]), chosen.symbols, chosen.months))
    else: print(table(lines(chosen.symbols, chosen.months)))


if __name__ == "__main__": main()
