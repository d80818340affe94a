"What a job notebook may be told: the names it declares, their types, and nothing that looks like a secret."

import ast
import re
from difflib import get_close_matches
from typing import Any, NamedTuple

from runners.errors import ConfigError

SECRET = re.compile(
    r"(^|_)(secrets?|tokens?|passwords?|passwd|passphrase|credentials?|(api|private|access|auth|session|signing)_?keys?|apikeys?|key)($|_)",
    re.I,
)
LOGIN = re.compile(r"://[^/\s:@]*:[^/\s@]+@")  # an address with a password in it
KINDS = {"int": int, "float": float, "bool": bool, "str": str}
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Parameter(NamedTuple):
    "One name of the notebook's `parameters` cell."

    name: str
    kind: str  # int, float, bool or str
    default: Any
    help: str = ""  # the comment beside it

    def read(self, text: str) -> Any:
        "The value that `text` stands for; ConfigError names the type it should have."
        try:
            value = WORDS[text.strip().lower()] if self.kind == "bool" else KINDS[self.kind](text)
        except (KeyError, ValueError):
            article = "an" if self.kind == "int" else "a"
            raise ConfigError(f"parameter {self.name} is {article} {self.kind}, not {text!r}: its default is {self.default!r}") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigError(f"parameter {self.name} must be a finite number, not {text!r}")
        return value


def declared(notebook: Any, name: str = "the notebook") -> list[Parameter]:
    "The parameters of a notebook: the plain assignments `name: type = literal  # help` of its cell tagged `parameters`."
    cell = next((cell for cell in notebook.cells if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])), None)
    if cell is None:
        return []
    lines, found = cell.source.splitlines(), []
    for line in ast.parse(cell.source).body:
        target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0] if isinstance(line, ast.Assign) else None
        try:
            if not isinstance(target, ast.Name) or line.value is None:
                raise ValueError
            default = ast.literal_eval(line.value)
            kind = ast.unparse(line.annotation) if isinstance(line, ast.AnnAssign) else type(default).__name__
            if kind not in KINDS:
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"{name}: line {line.lineno} of its parameters cell is not `name = value` with an int, float, bool or str"
            ) from None
        if SECRET.search(target.id):
            raise ConfigError(
                f"{name} declares {target.id}: a parameter is written into the output notebook, so read secrets from the environment"
            )
        comment = lines[(line.end_lineno or 1) - 1][line.end_col_offset :].strip()
        found.append(Parameter(target.id, kind, default, comment.removeprefix("#").strip()))
    return found


def check(given: list[str], known: list[Parameter], job: str) -> dict[str, Any]:
    "The values of `name=value` texts; a wrong name, type or a secret is a ConfigError."
    by_name, values = {p.name: p for p in known}, {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigError(f"write a parameter as name=value, not {text!r}")
        if SECRET.search(name):
            raise ConfigError(
                f"{name!r} looks like a secret, and parameters are written into the output notebook: set it in the environment instead"
            )
        if LOGIN.search(value):
            raise ConfigError(
                f"the value of {name} holds a password, and parameters are written into the output notebook: set it in the environment"
            )
        if name not in by_name:
            near = get_close_matches(name, by_name, 1)
            raise ConfigError(
                f"{job} has no parameter {name!r}"
                + (f": did you mean {near[0]}?" if near else f": it takes {', '.join(by_name) or 'none'}")
            )
        if name in values:
            raise ConfigError(f"parameter {name} is given twice")
        values[name] = by_name[name].read(value)
    return values
