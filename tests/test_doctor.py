"The doctor: every check says what it saw, and what is wrong in one sentence."

import asyncio
import json
import socket
from collections import namedtuple

import pytest
from pg import new_database
from typer.testing import CliRunner

from runners import doctor
from runners.cli import app
from runners.db.connect import open_database
from runners.doctor import PACKAGES, examine
from runners.errors import ConfigError

WHAT = ["python", *PACKAGES, "settings", "strategies", "database", "sample data", "port", "jobs", "disk"]


@pytest.fixture
def config(tmp_path):
    "Writes settings; what is not given is in order."
    def write(text="", port=0, database=None):
        path = tmp_path / "settings.yaml"
        path.write_text(f"database: {database or f'sqlite:///{tmp_path}/x.db'}\nhttp: {{port: {port}}}\n{text}\n")
        return path
    return write


def lines(config):
    return {line.what: line for line in examine(config)}


def test_everything_is_looked_at_in_the_order_of_a_start_and_is_well(config, tmp_path):
    found = examine(config())
    assert [line.what for line in found] == WHAT and all(line.ok and line.detail and "\n" not in line.detail for line in found)
    assert lines(config())["strategies"].detail == "ema_scalper" and "without Telegram" in lines(config())["settings"].detail
    assert not (tmp_path / "x.db").exists()  # looking makes nothing


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_is_looked_into_whether_it_has_been_used_or_not(config, tmp_path, kind):
    address = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else new_database()
    path = config(database=address)
    assert lines(path)["database"].ok and "at the first start" in lines(path)["database"].detail
    asyncio.run(made(address))
    assert lines(path)["database"].ok and "newest schema" in lines(path)["database"].detail


async def made(address):
    await (await open_database(address)).close()


@pytest.mark.parametrize(("text", "what", "reason"), [
    ("modes: paper", "settings", "did you mean 'mode'"),
    ("strategies: {ema_scalpr: {}}", "strategies", "did you mean 'ema_scalper'"),
    ("strategies: {ema_scalper: {surje: 2}}", "strategies", "did you mean 'surge'"),
    ("telegram: {token: 'x'}", "settings", "PERPS_TELEGRAM__TOKEN"),
    ("mode: live", "settings", "PERPS_LIVE__CONFIRMED"),
])
def test_wrong_settings_are_one_sentence(config, text, what, reason):
    found = lines(config(text))[what]
    assert not found.ok and reason in found.detail and "\n" not in found.detail


def test_a_file_that_is_no_database_of_ours_is_told(config, tmp_path):
    (tmp_path / "x.db").write_bytes(b"nothing like it" * 100)
    found = lines(config())["database"]
    assert not found.ok and "x.db" in found.detail


def test_a_busy_port_is_told_and_a_page_that_is_off_needs_none(config):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        found = lines(config(port=holder.getsockname()[1]))["port"]
    assert not found.ok and "in use" in found.detail
    path = config()
    path.write_text(path.read_text().replace("{port: 0}", "{enabled: false}"))
    assert lines(path)["port"] == ("port", True, "the page is switched off")


def test_a_missing_package_and_a_full_disk_are_told(config, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "nothing-of-this-name"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(100 << 20))
    found = lines(config())
    assert found["numpy"].ok and found["nothing-of-this-name"].detail == "missing: install perps_kit again"
    assert not found["disk"].ok and "100 MB left" in found["disk"].detail


@pytest.mark.parametrize(("text", "code"), [("", 0), ("modes: paper", 2)])
def test_the_command_says_it_to_people_and_to_machines(config, text, code):
    said = CliRunner().invoke(app, ["doctor", "--config", str(config(text))])
    assert said.exit_code == code and len(said.stdout.splitlines()) == len(WHAT)
    assert all(line.startswith(("ok    ", "FAIL  ")) for line in said.stdout.splitlines())
    told = CliRunner().invoke(app, ["doctor", "--json", "--config", str(config(text))])
    rows = json.loads(told.stdout)
    assert told.exit_code == code and [row["what"] for row in rows] == WHAT and all(row["ok"] for row in rows) == (code == 0)


def test_an_unforeseen_error_is_not_hidden():
    def look():
        raise ZeroDivisionError

    assert doctor.attempt("it", lambda: "fine") == ("it", True, "fine")
    for error in (ConfigError("a"), ValueError("a"), OSError("a")):
        def refuse(error=error):
            raise error

        assert doctor.attempt("it", refuse) == ("it", False, "a")
    with pytest.raises(ZeroDivisionError):
        doctor.attempt("it", look)


def test_settings_that_cannot_be_read_do_not_end_the_examination(tmp_path):
    found = lines(tmp_path / "nowhere.yaml")
    assert not found["settings"].ok and "cannot read" in found["settings"].detail and found["disk"].ok
