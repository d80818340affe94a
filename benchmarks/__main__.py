"`python -m benchmarks [fold] [start] [service]`: measure, print a table, and write the same as JSON to benchmarks/results.json."
import argparse
import json
import os
import platform
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.measure import ROOT, Line, table

GROUPS = dict(fold="Signals of the EMA scalper over years of candles (CPU time)",
              strategies="All strategies together (CPU time)", indicators="Indicators (CPU time)",
              book="The order book (CPU time)",
              start="A start", service="The service")
os.environ.setdefault("PERPS_CACHE", str(ROOT / ".cache" / "loops"))


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure side by side what matters.")
    p.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="group", help=f"some of {', '.join(GROUPS)} (default: all)")
    p.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    chosen = p.parse_args()
    results: dict[str, list[Line]] = {}
    for name in chosen.groups or GROUPS:
        print(f"measuring {name} ...", flush=True)
        results[name] = import_module(f"benchmarks.{name}").lines()
    for name, lines in results.items(): print(f"\n{GROUPS[name]}\n{table(lines)}")
    machine = dict(python=platform.python_version(), machine=platform.machine(), cores=os.cpu_count())
    facts = dict(machine=machine, results={name: [asdict(x) for x in lines] for name, lines in results.items()})
    chosen.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"\nThe same as JSON: {chosen.out}")


if __name__ == "__main__": main()
