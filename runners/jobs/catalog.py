"The notebooks that can be run as jobs."

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

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
    return Job(path.stem, path.resolve(), heading, summary, parameters)
