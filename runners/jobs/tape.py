"What the cells of a notebook put out, in the order in which it came."

import base64
from collections.abc import Callable
from typing import Any

import nbformat


def node(**fields: Any) -> Any:
    "A notebook's node, which is what papermill writes."
    return nbformat.from_dict(fields)


def written(value: Any) -> Any:
    "A form of an object as a notebook holds it: bytes, such as those of a picture, in base64."
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


class Sheet:
    "A place for outputs: a cell, or an Output widget."

    def __init__(self) -> None:
        self.outputs: list[dict] = []
        self.clear_next = False

    def add(self, output: dict) -> None:
        if self.clear_next:
            self.clear()
        last = self.outputs[-1] if self.outputs else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            self.outputs.append(output)

    def clear(self, wait: bool = False) -> None:
        self.clear_next = wait
        if not wait:
            self.outputs.clear()


class Tape:
    "The running cell's sheet, those that lie over it for a while, and who else is told of what the cell puts out."

    count = 0  # the running cell's execution count

    def __init__(self) -> None:
        self.sheets = [Sheet()]
        self.named: list[tuple[str, dict]] = []  # display_id and the output shown under it, over all cells so far
        self.line = {"stdout": "", "stderr": ""}  # of the streams, not told yet
        self.save: Callable[[], None] = lambda: None
        self.tell: Callable[[Any], None] = lambda output: None

    def start(self, count: int) -> list[dict]:
        self.sheets, self.count = [Sheet()], count
        return self.sheets[0].outputs

    def end(self) -> None:
        "The cell is over: tell what no line end followed."
        for name in self.line:
            self.tell_line(name)

    def tell_line(self, name: str) -> None:
        text, self.line[name] = self.line[name], ""
        if text:
            self.tell(node(output_type="stream", name=name, text=text))

    def write(self, name: str, text: str) -> None:
        "Text of a stream; it is told line by line."
        self.sheets[-1].add(node(output_type="stream", name=name, text=text))
        if len(self.sheets) == 1:
            self.line[name] += text
        if "\n" in text:
            self.tell_line(name)
        self.save()

    def add(self, output: dict) -> None:
        self.sheets[-1].add(output)
        if len(self.sheets) == 1:
            self.tell(output)
        self.save()

    def clear(self, wait: bool = False) -> None:
        self.sheets[-1].clear(wait)

    def show(self, kind: str, data: dict, metadata: dict | None, transient: dict | None = None, update: bool = False, **more: Any) -> None:
        shown = node(data={mime: written(value) for mime, value in data.items()}, metadata=metadata or {})
        name = (transient or {}).get("display_id")
        for output in (output for known, output in self.named if name and known == name):
            output.update(shown)
        if update:
            return
        shown.update(output_type=kind, **more)
        if name:
            self.named.append((name, shown))
        self.add(shown)
