"The picture of the layers, drawn from the contracts that CI holds the code to (pyproject.toml), so that it cannot say anything else."

import sys
import tomllib
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROW, GAP, WIDE, SIDE = 34, 8, 330, 96  # pixels: a layer's height, the space below it, the stack's width, an edge's width
SAYS = dict(
    research="pictures, panels",
    backtest="simulation, statistics, search",
    engine="the loop both sides share",
    trackers="exits, outcomes",
    risk="sizes, limits, memory",
    scoring="gates",
    strategies="features, decisions",
    indicators="one concept each",
    data="candles, funding, books",
    core="bar, unit, time, money",
)


def contracts() -> list[dict[str, Any]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def names(layer: str) -> list[str]:
    "The packages of one line of a contract: those beside each other may not read each other."
    return [part.strip(" ()") for part in layer.split("|")]


def stack() -> tuple[list[str], list[str], str]:
    "The layers from the highest down, the edges beside them, and the highest layer that the edges may read."
    inside = [one for one in contracts() if one["type"] == "layers" and one.get("containers") == ["perps_kit"]]
    tall = max(inside, key=lambda one: sum(len(names(layer)) == 1 for layer in one["layers"]))
    order = [names(layer)[0] for layer in tall["layers"]]
    beside = next(one for one in inside if one is not tall and len(one["layers"]) > 1)
    return order, [name for name in names(beside["layers"][0]) if name not in order], names(beside["layers"][1])[0]


def above() -> str:
    "The package that may read all of it, and is read by none."
    return next(one["layers"][0] for one in contracts() if one["type"] == "layers" and "perps_kit" in one["layers"])


def plain() -> tuple[list[str], list[str]]:
    "The layers without libraries, and some of those that they are kept from."
    rule = next(one for one in contracts() if one["type"] == "forbidden")
    return [name.split(".")[1] for name in rule["source_modules"]], rule["forbidden_modules"]


def text(x: float, y: float, words: str, kind: str = "words", at: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{at}" class="{kind}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, name: str, words: str = "", kind: str = "", link: str = "") -> str:
    "A package, its name a link where it has a room."
    middle = y + height / 2 + 4.5
    label = text(x + 14, middle, name, "name") if words else text(x + width / 2, middle, name, "name", "middle")
    label += text(x + width - 14, middle, words, at="end") if words else ""
    drawn = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>{label}'
    return f'<a href="{link}">{drawn}</a>' if link else drawn


def path(drawn: str, tip: bool = False) -> str:
    return f'<path d="{drawn}" class="line"{" marker-end=" + chr(34) + "url(#tip)" + chr(34) if tip else ""}/>'


NOTE = "An arrow is “may read”. Filled layers import the standard library and numpy, and a compiler or file reader when asked."
TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" class="tip"/></marker>'
)


def svg(rooms: dict[str, str] | None = None) -> str:
    "The picture as SVG, in the colours of the page; `rooms`: where each layer's name leads."
    (order, edges, most), free, rooms = stack(), plain()[0], rooms or {}
    left, top = 28, ROW + 3 * GAP
    right = left + WIDE + 34
    width, height = right + len(edges) * (SIDE + GAP) - GAP + 4, top + len(order) * (ROW + GAP) + 26
    y_of = {name: top + k * (ROW + GAP) for k, name in enumerate(order)}
    floor, foot, middle = y_of[most] - GAP, y_of[order[-1]] + ROW, (right + width) / 2
    parts = [box(left, 4, width - left - 4, ROW, above(), "sockets, clocks, processes; imports everything", "shell")]
    for name, y in y_of.items():
        parts.append(box(left, y, WIDE, ROW, name, SAYS.get(name, ""), "pure" if name in free else "open", rooms.get(name, "")))
    for k, name in enumerate(edges):
        parts.append(box(right + k * (SIDE + GAP), top, SIDE, floor - top, name, "", "edge", rooms.get(name, "")))
    parts += [
        path(f"M{right} {floor + 6}v8H{width - 4}v-8"),
        path(f"M{middle} {floor + 14}v{(ROW + GAP) / 2}H{right - 22}", tip=True),
        text(right + 4, floor + 62, f"read {most} and what is below it,"),
        text(right + 4, floor + 79, "never each other, nor what stands above"),
        path(f"M14 {top}V{foot}", tip=True),
        text(left, height - 6, NOTE),
    ]
    words = f"{above()} imports everything. {' reads '.join(order)}. {', '.join(edges)} read {most} and below, never each other."
    return (
        f'<div class="picture"><svg class="layers" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>Layers of perps_kit, lowest at the bottom</title>'
        f'<defs>{TIP}</defs>{"".join(parts)}</svg></div>'
    )


if __name__ == "__main__":
    sys.stdout.write(svg())
