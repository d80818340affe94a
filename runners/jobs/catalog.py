"""The notebooks that can be run as jobs.

A job that needs more than the service does names the extras in its notebook's metadata: `"perps_kit": {"extras": ["research"]}`.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any

import nbformat

from runners.errors import ConfigError
from runners.jobs.parameters import Parameter, declared

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    "A notebook that can be run."

    name: str
    path: Path
    title: str
    summary: str
    parameters: list[Parameter] = field(default_factory=list)
    extras: tuple[str, ...] = ()  # of perps_kit, that it needs to be installed


def names() -> list[str]:
    "The jobs that come with perps_kit."
    return sorted(path.stem for path in HERE.glob("*.ipynb"))


def find(name: str) -> Job:
    "The job called `name`, or the notebook at that path; ConfigError where there is none."
    path = Path(name) if name.endswith(".ipynb") else HERE / f"{name}.ipynb"
    if not path.is_file():
        if name.endswith(".ipynb"):
            raise ConfigError(f"there is no notebook at {name}")
        near = get_close_matches(name, names(), 1)
        raise ConfigError(f"there is no job {name!r}" + (f": did you mean {near[0]}?" if near else f": there are {', '.join(names())}"))
    try:
        notebook = nbformat.read(path, 4)
        parameters = declared(notebook, path.stem)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, SyntaxError) as error:
        raise ConfigError(f"{path} cannot be read as a notebook: {str(error).splitlines()[0]}") from None
    first = notebook.cells[0].source.splitlines() if notebook.cells and notebook.cells[0].cell_type == "markdown" else []
    heading = next((line.lstrip("# ") for line in first if line.startswith("#")), path.stem)
    summary = next((line.lstrip("> ") for line in first if line.startswith(">")), "")
    return Job(path.stem, path.resolve(), heading, summary, parameters, extras_of(notebook, path.stem))


def extras_of(notebook: Any, name: str) -> tuple[str, ...]:
    "The extras that a notebook's metadata names; ConfigError where that is no list of names."
    told = notebook.metadata.get("perps_kit", {})
    extras = told.get("extras", []) if isinstance(told, dict) else None
    if not isinstance(extras, list) or not all(isinstance(extra, str) for extra in extras):
        raise ConfigError(f'{name}: its metadata should hold "perps_kit": {{"extras": ["research"]}}, or nothing of that name')
    return tuple(extras)


def missing(job: Job) -> str:
    "What has to be installed before `job` can run, in a sentence; empty where it can."
    lacking = [extra for extra in job.extras if not installed(extra)]
    if not lacking:
        return ""
    what = f"the {' and '.join(lacking)} extra{'s' if len(lacking) > 1 else ''}"
    return f"{job.name} needs {what}: pip install 'perps_kit[{','.join(lacking)}]'"


@cache
def installed(extra: str) -> bool:
    "Whether everything that an extra of perps_kit asks for is installed; ConfigError where there is no such extra."
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(text) for text in requires("perps_kit") or ()]
    except PackageNotFoundError:
        return True  # run from a folder: nothing tells what its extras are
    wanted = [r.name for r in asked if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})]
    if not wanted:
        raise ConfigError(f"perps_kit has no extra named {extra!r}")
    try:
        return all(distribution(name) for name in wanted)
    except PackageNotFoundError:
        return False
