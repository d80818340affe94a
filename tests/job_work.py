"Work that the tests of jobs send to workers."

import os
import signal
import time
from pathlib import Path


def squared(shared: dict, job: dict) -> dict:
    "Takes its time and leaves a line for each time it was run."
    if "log" in shared:
        with open(shared["log"], "a") as log: log.write(f"{job['n']}\n")
    time.sleep(job.get("wait", 0.0))
    return dict(n=job["n"], y=(job["n"] + shared["add"]) ** 2 / 3, pid=os.getpid() if shared.get("pid") else 0)


def deadly(shared: dict, job: dict) -> int:
    "Kills its worker: the first `kills` times."
    marks = Path(shared["folder"])
    if job.get("kills"):
        before = len(list(marks.glob(f"{job['n']}-*")))
        if before < job["kills"]:
            (marks / f"{job['n']}-{before}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return job["n"]


def picky(shared: None, job: int) -> float:
    "Refuses 3."
    if job == 3: raise ValueError("three is not wanted")
    return 1 / job
