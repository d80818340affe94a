"Widgets without a kernel: their states as the notebook keeps them, so that a page made from it shows them."

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from runners.jobs.tape import Sheet, Tape

MIME = "application/vnd.jupyter.widget-state+json"
OUTPUT = "OutputModel"  # the widget that takes up what is printed and shown


class States:
    "The states of all widgets by the ids of their models."

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.states: dict[str, dict[str, Any]] = {}
        self.buffers: dict[str, dict[tuple, dict[str, Any]]] = {}
        self.sheets: dict[str, Sheet] = {}  # of Output widgets

    def take(self, id: str, data: dict[str, Any], buffers: list[Any]) -> None:
        "A message of a widget; those without a state are for a person at a screen."
        if "state" not in data:
            return
        state = self.states.setdefault(id, {})
        state.update(data["state"])
        held = self.buffers.setdefault(id, {})
        for path, buffer in zip(data.get("buffer_paths") or (), buffers):
            held[tuple(path)] = {"data": base64.b64encode(buffer).decode(), "encoding": "base64", "path": list(path)}
        if state.get("_model_name") == OUTPUT and "msg_id" in data["state"]:
            self.lay(id, bool(data["state"]["msg_id"]))

    def lay(self, id: str, over: bool) -> None:
        "Let an Output widget take up what comes, or end that."
        sheet = self.sheets.setdefault(id, Sheet())
        if over and sheet not in self.tape.sheets:
            self.tape.sheets.append(sheet)
        elif not over and sheet in self.tape.sheets:
            self.tape.sheets.remove(sheet)

    def metadata(self) -> dict[str, Any]:
        "What goes under `widgets` into the notebook's metadata; nothing without widgets."
        for id, sheet in self.sheets.items():
            if sheet.outputs:
                self.states[id]["outputs"] = sheet.outputs
        models = {id: model(state, self.buffers[id]) for id, state in self.states.items() if "_model_name" in state}
        return {MIME: json.loads(json.dumps({"state": models, "version_major": 2, "version_minor": 0}))} if models else {}


def model(state: dict[str, Any], buffers: dict[tuple, dict[str, Any]]) -> dict[str, Any]:
    "One widget as the schema of @jupyter-widgets wants it."
    facts = {name: state.get(f"_{name}") for name in ("model_name", "model_module", "model_module_version")}
    return {**facts, "state": state, **({"buffers": list(buffers.values())} if buffers else {})}


@contextmanager
def comms(tape: Tape) -> Iterator[Callable[[], dict[str, Any]]]:
    "While it lasts, widgets talk to us; gives what tells their states. Without the package `comm` there are no widgets."
    if find_spec("comm") is None:
        yield dict
        return
    import comm
    from comm.base_comm import BaseComm, CommManager

    states, manager = States(tape), CommManager()

    class Comm(BaseComm):
        kernel = object()  # an Output widget takes up nothing where there is none

        def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **_) -> None:
            states.take(self.comm_id, data or {}, buffers or [])

        def close(self, *args, **options) -> None:
            super().close(*args, **{**options, "deleting": True})  # a widget may live longer than the manager that knows it
            manager.comms.pop(self.comm_id, None)

    before = comm.create_comm, comm.get_comm_manager
    comm.create_comm, comm.get_comm_manager = Comm, lambda: manager
    try:
        yield states.metadata
    finally:
        comm.create_comm, comm.get_comm_manager = before
