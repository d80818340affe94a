"Forty symbols in lockstep, orders included, through the real client, the replay venue in a process of its own, and SQLite."
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.candles import crowd
from benchmarks.measure import ROOT, Line, at_most, runner
from perps_kit.core.clock import DAY
from perps_kit.data.sample import sample_bars

SYMBOLS, HISTORY, DAYS = 40, 45, 3     # 45 days: what the four-hour averages need before they speak, and a little more


def lines() -> list[Line]:
    end = int(sample_bars().close_time[-1])
    with tempfile.TemporaryDirectory() as folder:
        symbols = crowd(Path(folder) / "candles", SYMBOLS, HISTORY + DAYS)
        config = Path(folder) / "settings.yaml"
        replay = dict(data=f"{folder}/candles", start=str(end - DAYS * DAY), pace="lockstep")
        config.write_text(json.dumps(dict(
            mode="live", live=dict(confirmed=True), database=f"sqlite:///{folder}/perps.db", symbols=symbols, warmup=HISTORY * 96 - 16,
            http=dict(port=0), venue=dict(replay=replay))))
        command = [runner("python"), "-m", "benchmarks.serve", str(config)]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode: raise RuntimeError(f"the service failed: {done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return told(found)


def told(found: dict) -> list[Line]:
    "The numbers of a run, from its second cycle on."
    decided, whole, at = (found[name][1:] for name in ("decided", "whole", "at"))
    cycles, summary = len(decided), found["summary"]
    rate = SYMBOLS * (cycles - 1) / (at[-1] - at[0])
    seen = f"{cycles} closes, {summary.get('signals', 0)} signals; service, venue and database on one machine"
    slowest = f"99 of 100 within {1000 * nearly_worst(decided):.0f} ms, all within {1000 * max(decided):.0f} ms"
    return [Line(f"{SYMBOLS} symbols in lockstep", rate, "candles a second", note=seen),
            Line("last close to last committed decision", 1000 * statistics.median(decided), "ms", note=slowest),
            Line("first close to last committed decision", 1000 * statistics.median(whole), "ms", note="all 40 arriving included"),
            at_most("peak memory of the service", found["memory"], "MB", 350, "aim: 250")]


def nearly_worst(values: list[float]) -> float: return sorted(values)[int(0.99 * (len(values) - 1))]
