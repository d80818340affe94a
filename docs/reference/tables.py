"Cells and tables of the reference pages."

import re
from typing import Any


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    "A Markdown table; bars and line ends in its cells are tamed."
    tame = lambda cell: " ".join(str(cell).replace("|", "\\|").split()) or " "
    lines = [f"| {' | '.join(map(tame, row))} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:], ""])


def plain(text: str) -> str:
    "A docstring without its references to the specification, which readers of the site do not have."
    return re.sub(r" \((?:for )?quant_spec [^)]*\)", "", text)


def code(value: Any) -> str:
    return f"`{value}`" if str(value) else ""


def number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)


def first(text: str | None) -> str:
    "The first sentence."
    return (text or "").partition("\n")[0].partition(". ")[0].rstrip(".") + "."
