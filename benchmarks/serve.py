"""The service of the benchmark: the same composition as `perps-kit run`, with a stopwatch at each committed cycle.

    python -m benchmarks.serve SETTINGS.yaml        prints one line of JSON at the end
"""
import asyncio
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.measure import peak_memory
from runners import logs
from runners.live.service import Service
from runners.run import run
from runners.settings import load


def main() -> None:
    watch: dict[str, list[float]] = dict(decided=[], whole=[], at=[])
    tell = Service.tell

    def timed(self, cycle, arrival, seconds):
        watch["decided"].append(seconds)
        watch["whole"].append(time.monotonic() - arrival.began)
        watch["at"].append(time.monotonic())
        tell(self, cycle, arrival, seconds)
    Service.tell = timed
    logs.set_up("warning")
    running = asyncio.run(run(load(Path(sys.argv[1]), environ={})))
    times = os.times()
    print(json.dumps(watch | dict(memory=peak_memory(os.getpid()), cpu=times.user + times.system, summary=running.state.summary)))


if __name__ == "__main__": main()
