"""Every check of the repository, a few at a time: quiet when green, the whole output of what is red.

Usage: tools/check.py [CHECK...]      (default: all; the names are those of the table at the end)
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LONGEST = 1500      # seconds for one check


@dataclass(frozen=True)
class Check:
    name: str
    promise: str
    command: tuple[str, ...]


def tool(name: str, *arguments: str) -> tuple[str, ...]:
    return str(BIN / name), *arguments


def script(name: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, f"tools/{name}.py", *arguments


def tests(*arguments: str) -> tuple[str, ...]:
    return tool("pytest", "--no-header", "--color=no", "-p", "no:cacheprovider", "-rfEs", *arguments)


def files(*patterns: str) -> list[str]:
    return sorted({str(path.relative_to(ROOT)) for pattern in patterns for path in (ROOT / "tests").glob(f"test_{pattern}.py")})


# The tests are four checks, so that the lanes stay full: units alone, research, the desk where one looks and clicks, and the service.
UNITS = ["tests/contracts", *files("indicators_*")]
RESEARCH = files(
    "account_report", "account_value", "backtest*", "bootstrap", "bridge", "calibration", "cli_experiments", "cli_research", "evaluation",
    "experiment", "jobs_dask", "ledger", "memory", "nulls", "overfitting", "parity", "performance", "portfolio*", "report", "research",
    "risk_rules", "search", "sharpe", "splits", "statistics", "sweep", "trackers_whole", "walk_forward", "what_if")

DESK = files(
    "charts*", "data_desk", "data_mending", "data_record", "docs", "guides*", "jobs_engine", "jobs_figures", "jobs_notebooks",
    "jobs_schedule",
    "lab", "new", "page", "panels*", "readme", "sources*", "storage_readings")
LANES = 1 + (os.cpu_count() or 1)      # tests of a service wait more than they compute

# The longest first: the lanes then end at about the same time.
CHECKS = (
    Check("pytest", "tests pass", tests(*(f"--ignore={path}" for path in (*UNITS, *RESEARCH, *DESK)))),
    Check("desk", "the desk's tests pass", tests(*DESK)),
    Check("research", "research tests pass", tests(*RESEARCH)),
    Check("units", "units keep their contracts", tests(*UNITS)),
    Check("wheel", "the wheel alone runs", script("wheel_check")),
    Check("notebooks", "notebooks execute", script("notebooks", "test", "--workers", "1")),
    Check("pyright", "types agree", tool("pyright")),
    Check("export", "modules equal notebooks", script("export_check")),
    Check("layers", "layers are kept", tool("lint-imports", "--no-cache")),
    Check("arithmetic", "units compile to the same bits", script("arithmetic_lint")),
    Check("ruff", "code is tidy", tool("ruff", "check", "--quiet", "--output-format=concise", ".")),
)


@dataclass(frozen=True)
class Result:
    check: Check
    passed: bool
    seconds: float
    output: str


class Runner:
    "Starts checks in process groups of their own, so that none outlives an interrupted run."

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self.lock = threading.Lock()
        self.stopped = False
        drop = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV")
        self.environment = {k: v for k, v in os.environ.items() if k not in drop} | {
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
            "COLUMNS": "150",
            "NO_COLOR": "1",
            **{name: str(ROOT / ".cache" / folder) for name, folder in
               [("IPYTHONDIR", "ipython"), ("JUPYTER_CONFIG_DIR", "jupyter/config"), ("JUPYTER_DATA_DIR", "jupyter/data")]},
        }

    def run(self, check: Check) -> Result:
        began = time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            with self.lock:
                if self.stopped: return Result(check, False, 0.0, "not run")
                process = subprocess.Popen(check.command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=subprocess.STDOUT, start_new_session=True)
                self.groups.add(process.pid)
            try:
                code, late = process.wait(LONGEST), ""
            except subprocess.TimeoutExpired:
                self.kill(process.pid)
                code, late = process.wait(), f"\n{check.name} did not end within {LONGEST} s and was killed"
            with self.lock: self.groups.discard(process.pid)
            output.seek(0)
            return Result(check, code == 0, time.monotonic() - began, output.read() + late)

    def kill(self, group: int) -> None:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for group in self.groups: self.kill(group)


def closing_line(output: str) -> str:
    "pytest's last line, such as '=== 12 passed in 3.4s ==='."
    lines = [line for line in output.splitlines() if re.search(r"\d+ (passed|failed|error|skipped)|no tests ran", line)]
    return lines[-1] if lines else ""


def skipped(outputs: list[str]) -> Counter[str]:
    "Why tests were skipped, and how many: it says what to install."
    found: Counter[str] = Counter()
    for output in outputs:
        for count, reason in re.findall(r"^SKIPPED \[(\d+)\] \S+: (.+)$", output, re.M): found[reason] += int(count)
    return found


def chosen(names: list[str]) -> list[Check]:
    known = {check.name: check for check in CHECKS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"check: there is no check called {unknown[0]}; there are {', '.join(known)}")
    return [known[name] for name in names] or list(CHECKS)


def main(names: list[str]) -> int:
    checks = chosen(names)
    (ROOT / ".cache" / "ipython").mkdir(parents=True, exist_ok=True)
    began, runner, results = time.monotonic(), Runner(), []
    with ThreadPoolExecutor(min(LANES, 4)) as lanes:
        try:
            for future in as_completed([lanes.submit(runner.run, check) for check in checks]):
                result = future.result()
                results.append(result)
                if not result.passed:
                    print(f"\n──── {result.check.name} failed: {' '.join([Path(result.check.command[0]).name, *result.check.command[1:]])}")
                    print(result.output.strip(), flush=True)
        except KeyboardInterrupt:
            runner.stop()
            print("interrupted")
            return 130
    print()
    for result in sorted(results, key=lambda r: checks.index(r.check)):
        print(f"{'ok    ' if result.passed else 'FAILED'}  {result.check.name:11} {result.check.promise:32} {result.seconds:6.1f} s")
    red = [result.check.name for result in results if not result.passed]
    print(f"{len(results)} checks in {time.monotonic() - began:.1f} s: {'all green' if not red else 'red: ' + ', '.join(red)}")
    for result in results:
        if result.check.name in ("pytest", "desk", "research", "units"): print(closing_line(result.output))
    for reason, count in skipped([result.output for result in results]).items(): print(f"skipped {count}: {reason}")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
