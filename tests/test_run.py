"The whole program: settings in, messages on Telegram, a page, a clean end; and one sentence where it cannot start."

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from mtproto.server import TOKEN, Telegram

from perps_kit.core.clock import parse_time
from runners import run as composition
from runners.errors import ConfigError
from runners.settings import Telegram as Bot
from tests.serving import settings

DAY = 86_400_000


def wanted(folder, telegram=None, **given):
    "A day of two symbols with one signal, at the venue's pace of lockstep."
    made = settings(folder, start="2026-10-30", end="2026-10-31", **given)
    http = made.http.model_copy(update=dict(enabled=True, port=0))
    update = dict(http=http)
    if telegram:
        update["telegram"] = bot(telegram, folder / "telegram.session")
    return made.model_copy(update=update)


def bot(telegram, session, token=TOKEN):
    return Bot.model_validate(dict(token=token, api_id=1, api_hash="hash", server=telegram.dc, session=session))


async def test_a_signal_reaches_its_reader_on_telegram_with_its_reasons(tmp_path):
    async with Telegram() as telegram:
        asked = wanted(tmp_path, telegram)
        async with composition.surroundings(asked) as running:
            work = asyncio.create_task(composition.messages(running, None))
            telegram.say(77, "/start")
            await telegram.texts(77, 1, 10)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        kept = tmp_path / "telegram.session"
        assert kept.stat().st_mode & 0o077 == 0 and TOKEN.encode() not in kept.read_bytes()
        ended = await asyncio.wait_for(composition.run(asked), 120)
        sent = await telegram.texts(77, 3, 10)
        assert ended.state.summary and ended.state.summary["signals"] >= 1
        texts = [message.text for message in sent]
        assert any("ETH/USDT" in text and "Stop" in text and "Target 3" in text for text in texts)
        assert any("last target reached" in text for text in texts)


async def test_a_wrong_token_is_one_sentence_and_nothing_is_written(tmp_path):
    async with Telegram() as telegram:
        asked = wanted(tmp_path).model_copy(update=dict(telegram=bot(telegram, tmp_path / "s", "123456:not-the-one")))
        with pytest.raises(ConfigError, match="does not accept the bot token") as caught:
            await composition.run(asked)
        assert "not-the-one" not in str(caught.value) and not list(tmp_path.iterdir())


async def test_a_busy_port_is_one_sentence_and_nothing_is_written(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        asked = wanted(tmp_path)
        asked = asked.model_copy(update=dict(http=asked.http.model_copy(update=dict(port=holder.getsockname()[1]))))
        with pytest.raises(ConfigError, match="in use"):
            await composition.run(asked)
    assert not list(tmp_path.iterdir())


async def test_the_page_and_the_answers_are_there_while_it_runs(tmp_path):
    running = asyncio.create_task(composition.run(wanted(tmp_path), keep_serving=True))
    try:
        page = await until_served(running)
        async with httpx.AsyncClient(base_url=page, timeout=10) as client:
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
            signals = []
            while not signals:
                signals = (await client.get("/signals")).json()
                signals = signals if isinstance(signals, list) else next(v for v in signals.values() if isinstance(v, list))
                await asyncio.sleep(0.1)
            assert "perps_cycles_total" in (await client.get("/metrics")).text and (await client.get("/")).status_code == 200
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        ended = await asyncio.wait_for(running, 30)
    assert ended.stop.is_set()


async def until_served(task):
    "The address in the program's log."
    import logging

    found = asyncio.get_running_loop().create_future()

    class Ear(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("page: ") and not found.done():
                found.set_result(record.getMessage().removeprefix("page: "))

    ear, logger = Ear(), logging.getLogger("runners.run")
    logger.addHandler(ear), logger.setLevel("INFO")
    try:
        done, _ = await asyncio.wait({task, found}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            task.result()
        return found.result()
    finally:
        logger.removeHandler(ear)


def cli(*arguments, **environ):
    command = [sys.executable, "-m", "runners", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environ})


def test_the_command_line_runs_a_replay_from_a_file_and_says_what_came_of_it(tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("\n".join([
        f"database: sqlite:///{tmp_path}/run.db",
        "symbols: [ETHUSDT]",
        f"origin: {parse_time('2026-10-30') - 45 * DAY}",
        "http: {port: 0}",
        "gates: {weigh: false}",
        "venue: {replay: {start: 2026-10-30T11:00, end: 2026-10-30T17:00}}",
    ]))
    done = cli("run", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "The replay has ended" in done.stdout and "1: 1 won" in done.stdout
    for line in done.stderr.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["level"] in ("debug", "info", "warning", "error")


@pytest.mark.parametrize(("arguments", "environ", "sentence"), [
    (("run", "--config", "nowhere.yaml"), {}, "cannot read the settings"),
    (("run",), {"PERPS_MODE": "live"}, "PERPS_LIVE__CONFIRMED"),
    (("run",), {"PERPS_SYMBOLZ": "x"}, "did you mean 'symbols'"),
    (("run", "--mode", "fast"), {}, "'mode'"),
    (("backtest", "--strategy", "ema_scalpr"), {}, "did you mean 'ema_scalper'"),
    (("backtest", "--param", "surje=2"), {}, "did you mean 'surge'"),
    (("backtest", "--symbol", "NOPEUSDT"), {}, "NOPEUSDT"),
    (("parity", "--start", "yesterday"), {}, "is not a time"),
])
def test_what_a_person_can_mend_is_one_sentence_and_exit_code_2(tmp_path, arguments, environ, sentence):
    done = cli(*arguments, **environ, PERPS_DATABASE=f"sqlite:///{tmp_path}/x.db")
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not Path(tmp_path / "x.db").exists()


@pytest.mark.slow
def test_the_demo_runs_on_nothing_but_what_is_here_and_ends(tmp_path):
    done = cli("demo", "--exit", "--days", "2", "--speed", "100", "--port", "0", HOME=str(tmp_path))
    assert done.returncode == 0 and "The replay has ended" in done.stdout and "0 waiting" in done.stdout, done.stderr
