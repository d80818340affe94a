"""Makes .envs/peer-<name> from benchmarks/peers/requirements-<name>.txt; costs milliseconds when nothing has changed.

Usage: python3 benchmarks/peers/make.py [NAME...]      (default: all)
"""
import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LONGEST = 900       # seconds for one installation

PEERS = tuple(sorted(path.stem.removeprefix("requirements-") for path in HERE.glob("requirements-*.txt")))


class NotMade(RuntimeError):
    "A peer's environment that could not be made, and why."


def wishes(name: str) -> Path: return HERE / f"requirements-{name}.txt"


def run(*command: object) -> None:
    try: done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired: raise NotMade(f"its installation took longer than {LONGEST} s") from None
    if done.returncode: raise NotMade(" ".join(done.stderr.split())[-300:])


def made(name: str) -> Path:
    "The interpreter of a peer's environment, which is made or made anew where needed."
    sys.path.insert(0, str(ROOT / "tools"))
    from bootstrap import BIN, ENVS, make
    home, uv = ENVS / f"peer-{name}", ENVS / "uv" / BIN / "uv"
    stamp = hashlib.sha256(repr(sys.version_info[:3]).encode() + wishes(name).read_bytes()).hexdigest()
    python = home / BIN / "python"
    if python.exists() and (home / "stamp").exists() and (home / "stamp").read_text() == stamp: return python
    if not uv.exists(): make("uv")
    print(f"Making .envs/{home.name} ...", file=sys.stderr, flush=True)
    run(uv, "venv", "-q", "--clear", "--no-project", "--python", sys.executable, home)
    run(uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "-r", wishes(name))
    (home / "stamp").write_text(stamp)
    return python


if __name__ == "__main__":
    for peer in sys.argv[1:] or PEERS:
        try: print(made(peer).parent.parent.name)
        except NotMade as problem: print(f"{peer}: {problem}")
