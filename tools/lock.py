"""Writes the lock files in requirements/ from settings.ini: one for the runner, one for development on top of it, one for uv itself.

Usage: python3 tools/lock.py [--upgrade]     (pins stay as they are unless asked to move)
"""
import subprocess
import sys
from pathlib import Path

from bootstrap import BIN, ENVS, ROOT

HOW = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "-q"]
DEV = ["--extra", "research", "--extra", "postgres", "--extra", "dev"]


def compile_lock(name: str, *what: str, stdin: str = "") -> None:
    target = Path("requirements") / f"{name}.txt"
    command = [str(ENVS / "uv" / BIN / "uv"), "pip", "compile", *HOW, *sys.argv[1:], "-o", str(target), *what]
    result = subprocess.run(command, cwd=ROOT, input=stdin, text=True, stdout=subprocess.DEVNULL)
    if result.returncode: sys.exit(f"lock: {target} was not written, see above")
    pins = sum("==" in line and not line.startswith(" ") for line in (ROOT / target).read_text().splitlines())
    print(f"{target}: {pins} pins")


compile_lock("runner", "setup.py")
compile_lock("dev", *DEV, "-c", "requirements/runner.txt", "setup.py")
compile_lock("uv", "-c", "requirements/dev.txt", "-", stdin="uv\n")
