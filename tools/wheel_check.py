"""Does the wheel alone run? Installs it beside the runner's locked packages in an empty environment, starts the command line, and runs
every job that needs no extra over an empty database; one that needs an extra has to say so.

Usage: tools/wheel_check.py
"""
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGES = ("perps_kit", "runners")
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "_modidx.py", "*.pyc", "*.egg-info", ".ipynb_checkpoints")
STARTS = (["--help"], ["units"], ["units", "--json"])
JOBS = """
import asyncio, papermill
from pathlib import Path
from runners.db.connect import open_database
from runners.jobs.catalog import find, names
from runners.jobs.page import export

async def new(): await (await open_database("sqlite:///var/perps.db")).close()

asyncio.run(new())
for job in map(find, names()):
    if job.extras:
        print("needs", job.name)
        continue
    given = {"download": False} if any(p.name == "download" for p in job.parameters) else {}
    papermill.execute_notebook(job.path, f"{job.name}.ipynb", given, engine_name="inprocess", progress_bar=False)
    export(Path(f"{job.name}.ipynb"), Path(f"{job.name}.html"))
    print("ran", job.name)
"""


def run(*command: str | Path, cwd: Path, code: int = 0, **environment: str) -> str:
    "The command's output; ends the check with a sentence and the output when it ends with another exit code than `code`."
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME") and not k.startswith("PERPS_")}
    result = subprocess.run(list(map(str, command)), cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=300)
    if result.returncode != code:
        shown = " ".join([Path(command[0]).name, *map(str, command[1:])])
        sys.exit(f"`{shown}` ended with exit code {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout if not code else result.stderr


def jobs(env: Path, home: Path) -> int:
    "Run every job without extras in one process; how many. Those with extras end with exit code 2 and the sentence."
    told = run(env / BIN.name / "python", "-c", JOBS, cwd=home, HOME=str(home)).split()
    pairs = list(zip(told[::2], told[1::2]))
    for name in (name for word, name in pairs if word == "needs"):
        said = run(env / BIN.name / "perps-kit", "jobs", "run", name, cwd=home, code=2, HOME=str(home))
        if said != f"perps-kit: {name} needs the research extra: pip install 'perps_kit[research]'\n":
            sys.exit(f"`perps-kit jobs run {name}` should say which extra it needs; it said:\n{said}")
    ran = sum(word == "ran" for word, _ in pairs)
    if not 0 < ran < len(pairs): sys.exit(f"{ran} of {len(pairs)} jobs ran without extras: there should be some of both kinds")
    return ran


def source_tree(there: Path) -> None:
    "A copy of what a wheel is made from, so that nothing stale in build/ gets in and nothing is left behind."
    for name in (*PACKAGES, "sample_data"):
        if (ROOT / name).is_dir(): shutil.copytree(ROOT / name, there / name, ignore=NOT_SHIPPED)
    for name in ("setup.py", "settings.ini", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists(): shutil.copy(ROOT / name, there)


def main() -> int:
    uv = BIN / "uv"
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        source, home, env = there / "source", there / "home", there / "env"
        source.mkdir()
        home.mkdir()
        source_tree(source)
        how = ["-q", "--wheel", "--no-build-isolation", "--python", sys.executable]
        run(uv, "build", *how, "--out-dir", there, source, cwd=there)
        wheel = next(there.glob("*.whl"))
        inside = set(zipfile.ZipFile(wheel).namelist())
        expected = {str(path.relative_to(source)) for name in PACKAGES for path in (source / name).rglob("*") if path.is_file()}
        expected |= {str(Path("perps_kit") / path.relative_to(source)) for path in (source / "sample_data").rglob("*") if path.is_file()}
        if missing := sorted(expected - inside): sys.exit("the wheel lacks files, see package_data in setup.py:\n" + "\n".join(missing))
        run(uv, "venv", "-q", "--no-project", "--python", sys.executable, env, cwd=there)
        python = env / BIN.name / "python"
        run(uv, "pip", "sync", "-q", "--require-hashes", "--python", python, ROOT / "requirements" / "runner.txt", cwd=there)
        run(uv, "pip", "install", "-q", "--no-deps", "--python", python, wheel, cwd=there)
        run(uv, "pip", "check", "-q", "--python", python, cwd=there)
        for arguments in STARTS:
            if not run(env / BIN.name / "perps-kit", *arguments, cwd=home, HOME=str(home)).strip():
                sys.exit(f"`perps-kit {' '.join(arguments)}` printed nothing")
        ran = jobs(env, home)
        size = wheel.stat().st_size / 1e6
    print(f"a wheel of {len(inside)} files, {size:.1f} MB, installed and started; {ran} jobs ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
