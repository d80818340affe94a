"""Does the wheel alone run? Installs it beside the runner's locked packages in an empty environment, and starts the command line.

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


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    "The command's output; ends the check with a sentence and the output when it fails."
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME") and not k.startswith("PERPS_")}
    result = subprocess.run(list(map(str, command)), cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=300)
    if result.returncode:
        shown = " ".join([Path(command[0]).name, *map(str, command[1:])])
        sys.exit(f"`{shown}` ended with exit code {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


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
        size = wheel.stat().st_size / 1e6
    print(f"a wheel of {len(inside)} files, {size:.1f} MB, installed and started")
    return 0


if __name__ == "__main__":
    sys.exit(main())
