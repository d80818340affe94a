"""Makes .envs/runner or .envs/dev from its lock file; costs milliseconds when nothing has changed.

Usage: python3 tools/bootstrap.py runner|dev|uv

Runs on whatever Python starts it, with nothing installed: standard library only, and syntax that an old Python
can at least read far enough to say that it is too old.
"""
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVS = ROOT / ".envs"
OLDEST = (3, 11)
BIN = "Scripts" if os.name == "nt" else "bin"


def stop(sentence):
    sys.exit("bootstrap: " + sentence)


def check_python():
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:3]))
        need = ".".join(map(str, OLDEST))
        stop(f"Python {need} or newer is needed and this is {have}; name a newer one: make PYTHON=python3.12 ...")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop("this Python cannot make environments: install python3-venv (Debian, Ubuntu: apt-get install python3-venv) and try again")


def stamp_of(name):
    "What an environment was made from: the lock, the package's metadata, the interpreter, the place."
    digest = hashlib.sha256(repr((sys.version_info[:3], os.path.realpath(sys.executable), str(ROOT))).encode())
    for path in [f"requirements/{name}.txt", *(["settings.ini", "setup.py", "pyproject.toml"] if name != "uv" else [])]:
        digest.update((ROOT / path).read_bytes())
    return digest.hexdigest()


def run(*command):
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")}
    result = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment)
    if result.returncode:
        stop(f"`{Path(command[0]).name} {' '.join(map(str, command[1:3]))} ...` failed, see above; is a package index within reach?")


def is_fresh(name):
    stamp = ENVS / name / "stamp"
    return stamp.exists() and stamp.read_text() == stamp_of(name)


def make(name):
    "The environment's folder, made or brought up to date where needed."
    home = ENVS / name
    if is_fresh(name):
        return home
    stamp = stamp_of(name)
    if name == "uv":
        shutil.rmtree(home, ignore_errors=True)
        run(sys.executable, "-m", "venv", home)
        pip = [home / BIN / "python", "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "install", "-q", "--require-hashes", "-r", "requirements/uv.txt")
    else:
        uv = make("uv") / BIN / "uv"
        print(f"Making .envs/{name} from requirements/{name}.txt (a minute or so, once) ...", file=sys.stderr, flush=True)
        python = home / BIN / "python"
        quiet = [] if sys.stderr.isatty() else ["-q"]
        if not python.exists() or version_of(python) != sys.version_info[:3]:
            run(uv, "venv", *quiet, "--clear", "--no-project", "--python", sys.executable, home)
        run(uv, "pip", "sync", *quiet, "--compile-bytecode", "--require-hashes", "--python", python, f"requirements/{name}.txt")
        run(uv, "pip", "install", *quiet, "--no-deps", "--python", python, "--editable", ".")
    (home / "stamp").write_text(stamp)
    return home


def version_of(python):
    answer = subprocess.run([str(python), "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, text=True)
    return tuple(map(int, answer.stdout.split()))


def main(names):
    check_python()
    if not names or set(names) - {"runner", "dev", "uv"}:
        stop("name an environment to make: runner, dev or uv")
    if all(map(is_fresh, names)):
        return
    ENVS.mkdir(exist_ok=True)
    with open(ENVS / "lock", "w") as lock:
        try:
            import fcntl
            fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits, then finds the work done
        except ImportError:
            pass
        for name in names:
            make(name)


if __name__ == "__main__":
    main(sys.argv[1:])
