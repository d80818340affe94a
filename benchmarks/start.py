"What a start costs: the help text, and a service until it is ready."
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.measure import ROOT, Line, at_most, child_cpu, peak_memory, runner


def help_text() -> list[Line]:
    spent = [child_cpu([runner("perps-kit"), "--help"]) for _ in range(6)][1:]
    cpu, wall = (statistics.median(x) for x in zip(*spent, strict=True))
    return [at_most("perps-kit --help", cpu, "s CPU", 1.0, f"{wall:.2f} s on the clock")]


def ready() -> list[Line]:
    "`perps-kit run` on a replay of the sample with default settings: three symbols, 12,800 candles of history each."
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "settings.yaml"
        port, replay = free_port(), dict(start="2026-10-01", pace=1.0)
        config.write_text(json.dumps(dict(database=f"sqlite:///{folder}/perps.db", venue=dict(replay=replay), http=dict(port=port))))
        command, begun = [runner("perps-kit"), "run", "-c", str(config)], time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            while not answers(port):
                if process.poll() is not None or time.perf_counter() - begun > 120:
                    assert process.stderr
                    raise RuntimeError(f"the service did not become ready: {process.stderr.read1(2000).decode()}")
                time.sleep(0.02)
            wall, memory, cpu = time.perf_counter() - begun, peak_memory(process.pid), cpu_of(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    return [Line("perps-kit run to ready", wall, "s", note="new database, 3 symbols, 12,800 candles each from the venue"),
            Line("perps-kit run to ready", cpu, "s CPU", note="of the service; the venue starts beside it"),
            Line("memory when ready", memory, "MB")]


def cpu_of(pid: int) -> float:
    "User and system seconds of a living process."
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port: int) -> bool:
    "Whether the service says that it is ready."
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer: return answer.status == 200
    except OSError: return False


def lines() -> list[Line]: return [*help_text(), *ready()]
