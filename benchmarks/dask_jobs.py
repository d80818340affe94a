"Jobs through dask: what a second worker brings, and what an empty job costs (wall time: waiting is what is measured)."
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.measure import Line, at_least, at_most
from perps_kit.backtest.jobs import cluster, cores, run_jobs

ROUNDS, EMPTY = 5, 400


def busy(shared: Any, job: dict) -> float:
    "Arithmetic for about as long as some sets of a sweep take."
    x = float(job["n"])
    for _ in range(job["turns"]): x = x * 0.999999 + 1.0
    return x


def empty(shared: Any, job: int) -> int: return job


def wall(client: Any, work: str, jobs: list) -> float:
    begun = time.perf_counter()
    run_jobs(f"benchmarks.dask_jobs:{work}", jobs, client=client)
    return time.perf_counter() - begun


def without(jobs: list) -> float:
    "Seconds of the same jobs in two processes that are there already and take half of them each."
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(busy, [None] * 2, [dict(n=1, turns=1)] * 2))
        begun = time.perf_counter()
        list(pool.map(busy, [None] * len(jobs), jobs))
        return time.perf_counter() - begun


def lines() -> list[Line]:
    jobs = [dict(n=n, turns=8_000_000) for n in range(8)]
    started = time.perf_counter()
    with cluster(2) as two:
        start = time.perf_counter() - started
        with cluster(1) as one:
            for client in (one, two): wall(client, "busy", [dict(n=k, turns=1) for k in range(4)])
            spent: dict[int, list[float]] = {1: [], 2: []}
            bare = list[float]()
            for _ in range(ROUNDS):             # in turns, so that a busy machine is busy for all
                for n, client in ((1, one), (2, two)): spent[n].append(wall(client, "busy", jobs))
                bare.append(without(jobs))
            found = {n: min(times) for n, times in spent.items()}
        cost = min(wall(two, "empty", list(range(EMPTY))) for _ in range(ROUNDS)) / EMPTY
    share = found[1] / found[2] / 2
    note = f"{found[1]:.2f} s with one, {found[2]:.2f} s with two, {len(jobs)} jobs, {cores()} cores"
    return [at_least("two workers against one: efficiency", share, "", 0.8, note),
            at_most("two workers against two bare processes", found[2] / min(bare), "times", 1.25, f"{min(bare):.2f} s without dask"),
            at_most("an empty job", cost * 1e3, "ms", 10.0),
            Line("start of two workers", start, "s")]
