"What the README shows is there and works: settings, variables, commands, targets, files."
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from runners.settings import Settings, load

SHORTER = dict(PERPS_VENUE__REPLAY__PACE="180000", PERPS_VENUE__REPLAY__END="2026-10-10", PERPS_SYMBOLS='["XRPUSDT"]', PERPS_HTTP__PORT="0")


@pytest.fixture(scope="module")
def readme(root) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["paper", "replay"])
def test_the_examples_of_settings_are_accepted(root, name):
    settings = load(root / "docs" / "examples" / f"{name}.yaml", {})
    assert settings.mode == name and (settings.venue.replay is not None) == (name == "replay")


def test_the_settings_shown_are_the_example(root, readme):
    shown = re.search(r"```yaml\n(.*?)```", readme, re.S)
    assert shown and yaml.safe_load(shown[1]) == yaml.safe_load((root / "docs" / "examples" / "paper.yaml").read_text())


def test_every_variable_is_a_setting(readme):
    names = set(re.findall(r"PERPS_[A-Z_]*[A-Z]", readme))
    assert len(names) > 7
    for name in names:
        model = Settings
        for part in name.removeprefix("PERPS_").lower().split("__"):
            assert part in model.model_fields, name
            model = model.model_fields[part].annotation


def test_every_file_is_there(root, readme):
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", readme)
    house = re.findall(r"^    (\w+/) {2,}\S", readme, re.M)
    assert len(linked) > 3 and len(house) == 8
    assert [name for name in linked + house if not (root / name).exists()] == []


def test_every_target_is_there(root, readme):
    targets = set(re.findall(r"^(\w+):.*## ", (root / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:`|^    )make (\w+)", readme, re.M)) <= targets


def test_every_command_is_there(readme):
    said = set(re.findall(r"`perps-kit (\w+)", readme)) | set(re.findall(r"^    (?:\S+=\S+ )?perps-kit (\w+)", readme, re.M))
    assert said >= {"demo", "run", "backtest", "parity", "units", "data", "jobs", "docs", "new", "db", "doctor"}
    from typer.main import get_command

    from runners.cli import app

    assert said <= set(get_command(app).commands)


@pytest.mark.slow
def test_the_report_of_the_tour_comes_out(root, readme, tmp_path):
    lines = re.findall(r"^    ((?:PERPS_\S+ )?perps-kit (?:run|jobs) .*)$", readme, re.M)
    assert len(lines) == 2
    (tmp_path / "docs").symlink_to(root / "docs")
    for line in lines:
        words = shlex.split(line)
        extra = dict(word.split("=", 1) for word in words[: words.index("perps-kit")])
        command = [sys.executable, "-m", "runners", *words[words.index("perps-kit") + 1 :]]
        environment = os.environ | extra | (SHORTER if "--config" in line else {}) | dict(PYTHONPATH=str(root))
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=55)
        assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob("var/jobs/daily_report/*/daily_report.html"))
