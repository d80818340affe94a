"The command line: help everywhere, completion, answers for machines, and nothing imported for a question."

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from perps_kit.core.registry import entries
from perps_kit.data.sample import sample_root
from runners.cli import app


def commands(command, path=()):
    "Every command and group with the words that reach it."
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


def said(*words, **more):
    return CliRunner().invoke(app, list(words), prog_name="perps-kit", **more)


def test_the_commands_are_those_of_the_front_page():
    assert {"demo", "run", "backtest", "parity", "units", "data", "jobs", "db", "doctor"} <= set(ALL[()].commands)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(path, flag):
    found = said(*path, flag)
    assert found.exit_code == 0 and "Usage: perps-kit" in found.stdout
    assert ALL[path].help and ALL[path].help.strip().endswith("."), f"{' '.join(path)} has no sentence of help"


@pytest.mark.parametrize("path", [p for p in ALL if p], ids=" ".join)
def test_every_option_has_a_word_of_help(path):
    bare = [p.name for p in ALL[path].params if not getattr(p, "help", None)]
    assert not bare


def test_a_group_alone_lists_its_commands():
    for path, command in ALL.items():
        if hasattr(command, "commands"):
            assert all(name in said(*path).output for name in command.commands)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell):
    "Typer asks the shell that started it; this variable makes it believe the name instead, whatever started the tests."
    command = [Path(sys.executable).with_name("perps-kit"), "--show-completion", shell]
    environ = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0 and "perps-kit" in done.stdout and "_PERPS_KIT_COMPLETE" in done.stdout


def test_units_names_every_registered_unit():
    rows = json.loads(said("units", "--json").stdout)
    assert [row["name"] for row in rows] == [e.name for e in entries()]
    assert all(row.keys() >= {"kind", "name", "module", "notebook", "warmup", "summary"} for row in rows)
    assert all(row["kind"] and row["module"].startswith("perps_kit.") and row["notebook"].endswith(".ipynb") for row in rows)
    only = json.loads(said("units", "--json", "--kind", "strategy").stdout)
    assert only and [row for row in rows if row["kind"] == "strategy"] == only
    assert all(name in said("units").stdout for name in ("ema_scalper", "atr", "rsi"))


FOR_MACHINES = {
    ("backtest",): ("--symbol", "ETHUSDT", "--start", "2026-09-01"),
    ("units",): (),
    ("strategies",): (),
    ("explain",): ("--symbol", "ETHUSDT", "--at", "2026-07-05T12:15", "--strategy", "ema_scalper"),
    ("doctor",): (),
    ("data", "check"): (str(sample_root()),),
    ("data", "ls"): ("--store", str(sample_root())),
    ("jobs", "ls"): (),
    ("jobs", "show"): ("daily_report",),
    ("db", "status"): (),
    ("db", "check"): (),
    ("account", "list"): (),
    ("performance",): (),
    ("ledger",): (),
    ("sweep",): ("-p", "fast=7,9", "-s", "SOLUSDT"),
    ("walkforward",): ("-p", "fast=7,9", "-s", "SOLUSDT", "--train", "90", "--least", "1"),
    ("portfolio",): ("--symbol", "ETHUSDT", "--start", "2026-08-01", "--strategy", "ema_scalper"),
}
ELSEWHERE = {  # slow, or with a server of their own, or tested beside their results
    ("parity",), ("data", "download"), ("data", "archive"), ("data", "mend"), ("new",), ("jobs", "run"), ("jobs", "due"),
    ("jobs", "history"),
    ("evaluate",), ("compare",), ("experiment",)}


@pytest.mark.parametrize("path", FOR_MACHINES, ids=" ".join)
def test_answers_for_machines_are_json_and_nothing_else(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PERPS_DATABASE", f"sqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("PERPS_HTTP__PORT", "0")
    if path[0] in ("db", "account", "performance"):
        assert said("db", "upgrade").exit_code == 0
    found = said(*path, *FOR_MACHINES[path], "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) or path in {("db", "check"), ("account", "list"), ("ledger",)}


def test_no_answer_for_machines_is_forgotten():
    assert {path for path, command in ALL.items() if any("--json" in p.opts for p in command.params)} == FOR_MACHINES.keys() | ELSEWHERE


@pytest.mark.parametrize(("words", "text"), [
    (("nonsense",), "No such command"), (("backtest", "--nonsense"), "No such option"), (("demo", "--days", "0"), "Invalid value"),
    (("demo", "--speed", "many"), "Invalid value"),
])
def test_what_is_not_there_is_refused_with_exit_code_2(words, text):
    found = said(*words)
    assert found.exit_code == 2 and text in found.output


def test_the_version_is_told():
    found = said("--version")
    assert found.exit_code == 0 and found.stdout.startswith("perps_kit ")


def test_help_loads_nothing_heavy():
    heavy = "numpy ccxt sqlalchemy pyarrow telethon fastapi bokeh papermill aiohttp numba pandas".split()
    code = "import sys, runners.cli as c\ntry: c.app(['--help'])\nexcept SystemExit: pass\n"
    code += f"sys.exit(' '.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
