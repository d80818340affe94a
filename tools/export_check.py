"""Are the modules in perps_kit/ what the notebooks in nbs/ export? Exports into a temporary copy and compares.

Usage: tools/export_check.py
"""
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from notebooks import ROOT, complaints, found

ASIDE = ("py.typed", "_modidx.py")
SHOWN = 30      # lines of a difference


def modules(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path.name not in ASIDE]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in files}


def exported() -> dict[str, str]:
    "What the notebooks export, beside the hand-written top __init__.py."
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        shutil.copytree(ROOT / "nbs", there / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        for name in ("pyproject.toml", "settings.ini"): shutil.copy(ROOT / name, there)
        (there / "perps_kit").mkdir()
        shutil.copy(ROOT / "perps_kit" / "__init__.py", there / "perps_kit")
        command = [Path(sys.executable).parent / "nbdev-export"]
        result = subprocess.run(command, cwd=there, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
        if result.returncode: sys.exit(f"nbdev-export failed:\n{result.stdout}{result.stderr}")
        return modules(there / "perps_kit")


def main() -> int:
    wrong = [line for path in found([]) for line in complaints(path)]
    committed, fresh = modules(ROOT / "perps_kit"), exported()
    for name in sorted(committed.keys() | fresh.keys()):
        old, new = committed.get(name), fresh.get(name)
        if old == new: continue
        if old is None: wrong.append(f"perps_kit/{name} is missing: run `make export`")
        elif new is None and not old.strip(): wrong.append(f"perps_kit/{name} is empty and no notebook exports beside it: remove it")
        elif new is None: wrong.append(f"perps_kit/{name} comes from no notebook: write the notebook, or remove it")
        else:
            lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "in perps_kit", "from the notebook", lineterm="", n=1))
            more = [f"... {len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else []
            wrong.append("\n".join([f"perps_kit/{name} is not what its notebook exports: run `make export`", *lines[:SHOWN], *more]))
    print("\n".join(wrong) if wrong else f"{len(fresh)} modules equal their notebooks")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
