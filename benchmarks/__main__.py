"`python -m benchmarks [GROUP...]`: measure, print a table, write the same to benchmarks/results.json; its other groups stay as they are."
import argparse
import json
import os
import platform
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Line, table

GROUPS = dict(fold="Signals of the EMA scalper over years of candles (CPU time)",
              backtest="A backtest, and a thousand of them (CPU time)",
              strategies="All strategies together (CPU time)", indicators="Indicators (CPU time)",
              evaluation="Evaluation (CPU time)", portfolio="The portfolio (CPU time)", dask="Jobs on more than one process",
              book="The order book (CPU time)", engine="A notebook as a job",
              archive="A year of minutes from the archive's zips",
              start="A start", service="The service")
MODULES = dict(dask="dask_jobs")        # where the module has another name than its group
os.environ.setdefault("PERPS_CACHE", str(ROOT / ".cache" / "loops"))


def plain(line: Line) -> dict[str, Any]:
    "For JSON, which knows no nan: what was not measured is null."
    return {key: None if isinstance(x, float) and isnan(x) else x for key, x in asdict(line).items()}


def merged(path: Path, results: dict[str, list[Line]]) -> dict[str, Any]:
    "The facts of a file with these groups in the place of its own."
    machine = dict(python=platform.python_version(), machine=platform.machine(), cores=os.cpu_count())
    before = json.loads(path.read_text())["results"] if path.exists() else {}
    both = before | {name: [plain(x) for x in lines] for name, lines in results.items()}
    return dict(machine=machine, results={name: both[name] for name in (*GROUPS, *both) if name in both})


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure side by side what matters.")
    p.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="group", help=f"some of {', '.join(GROUPS)} (default: all)")
    p.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    chosen = p.parse_args()
    results: dict[str, list[Line]] = {}
    for name in chosen.groups or GROUPS:
        module = f"benchmarks.{MODULES.get(name, name)}"
        if find_spec(module) is None:
            print(f"{name} is left out: there is no {module}")
            continue
        print(f"measuring {name} ...", flush=True)
        results[name] = import_module(module).lines()
    for name, lines in results.items(): print(f"\n{GROUPS[name]}\n{table(lines)}")
    chosen.out.write_text(json.dumps(merged(chosen.out, results), indent=1, allow_nan=False) + "\n")
    print(f"\nThe same as JSON: {chosen.out}")


if __name__ == "__main__": main()
