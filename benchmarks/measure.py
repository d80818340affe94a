"CPU time, medians, and the table that all benchmarks fill."
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Line:
    "One measured number; `target` in words, `met` None where there is none."
    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""


def at_most(what: str, value: float, unit: str, limit: float, note: str = "") -> Line:
    return Line(what, value, unit, f"at most {limit:g}", value <= limit, note)


def at_least(what: str, value: float, unit: str, limit: float, note: str = "") -> Line:
    return Line(what, value, unit, f"at least {limit:g}", value >= limit, note)


def cpu_seconds(works: dict[str, Callable[[], Any]], times: int = 5, warm: int = 1) -> dict[str, float]:
    "The median CPU time of each piece of work; they take turns, so that a busy machine is busy for all."
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm + times):
        for name, work in works.items():
            begun = time.process_time()
            work()
            if turn >= warm: spent[name].append(time.process_time() - begun)
    return {name: statistics.median(found) for name, found in spent.items()}


def child_cpu(command: list[str], environ: dict[str, str] | None = None) -> tuple[float, float]:
    "CPU and wall seconds of a process that succeeds; with children of its own."
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ, cwd=ROOT)
    assert process.stderr
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode: raise RuntimeError(f"{' '.join(command)} failed: {said.decode()[-2000:]}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - begun


def peak_memory(pid: int) -> float:
    "The most memory that a process held so far, in MB (VmHWM)."
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"): return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def runner(name: str) -> str:
    "A program of the environment that services run in, else of this one."
    lean = ROOT / ".envs" / "runner" / "bin" / name
    return str(lean if lean.exists() else Path(sys.executable).parent / name)


def table(lines: list[Line]) -> str:
    "The lines in columns."
    verdict = {True: "met", False: "MISSED", None: ""}
    rows = [("", "", "", "target", "", ""),
            *((x.what, f"{x.value:,.{digits(x.value)}f}", x.unit, x.target, verdict[x.met], x.note) for x in lines)]
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    cells = [[x.rjust(w) if k == 1 else x.ljust(w) for k, (x, w) in enumerate(zip(row, widths))] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def digits(x: float) -> int: return 0 if abs(x) >= 100 else 1 if abs(x) >= 10 else 2 if abs(x) >= 0.1 else 4
