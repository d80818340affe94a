"Every registered unit, from its own signature."

from typing import Any

from .tables import code, number, plain, table

KINDS = {
    "indicator": "Indicators",
    "strategy": "Strategies on candles",
    "flow": "Strategies on the order book and trades",
    "scorer": "Scores of facts from elsewhere",
    "risk rule": "Risk",
    "tracker": "Trackers",
    "core": "Core",
}


def parameter(p: Any) -> str:
    "A parameter with its default and the values that are allowed."
    default = f" = {number(p.default)}" if isinstance(p.default, (int, float, str)) else ""
    return f"`{p.name}`{default}" + (f" ({number(p.span.low)} to {number(p.span.high)})" if p.span else "")


def units(pages: set[str]) -> str:
    "Every registered unit by kind; `pages` are the notebooks that the site has."
    from perps_kit.core.registry import entries
    from perps_kit.core.unit import parameters
    from runners.listing import warmup

    text = (
        "# Units\n\nEverything that is registered, from its own signature: no list is kept by hand. The name leads to the page, which is "
        "the unit's notebook. A range is what validation, sliders and searches allow; *warm-up* is the number of bars after which a unit "
        "with its defaults speaks first. `perps-kit units NAME` prints the same, with inputs and outputs.\n"
    )
    for kind in dict.fromkeys([*KINDS, *(e.kind for e in entries())]):
        rows = []
        for e in (e for e in entries() if e.kind == kind):
            called, short = code(e.name), code(e.module.removeprefix("perps_kit."))
            name, module = (f"[{called}](/{e.notebook})", f"[{short}](/api/{e.module}.md)") if e.notebook in pages else (called, short)
            taken = "<br>".join(parameter(p) for p in parameters(e.cls).values())
            bars = warmup(e.cls)
            rows.append((name, plain(e.summary), taken, "" if bars is None else str(bars), module))
        if rows:
            text += f"\n## {KINDS.get(kind, kind.capitalize())}\n\n" + table(
                ("name", "what it is", "parameters", "warm-up", "module"), rows
            )
    return text
