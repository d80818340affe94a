"The venue as a process of its own: what it prints, how it ends, what it says when it cannot start."
import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from venue_kit import BTC, T0, walk

from perps_kit.data.files import table_of, write_table
from runners.venue import open_exchange
from runners.venue.__main__ import main
from runners.venue.route import loopback_session

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def files(tmp_path):
    "A folder with two symbols and their rules."
    for symbol, price, digits in (("BTCUSDT", 60_000.0, 1), ("ETHUSDT", 3000.0, 2)):
        write_table(table_of(walk(symbol, n=200, price=price, digits=digits)), tmp_path / f"{symbol}-15m.parquet")
    rules = [{"symbol": "BTCUSDT", "sector": "BTC", "tick": 0.1, "step": 0.01, "min_qty": 0.01, "min_notional": 100.0}]
    (tmp_path / "symbols.json").write_text(json.dumps({"symbols": rules}))
    return tmp_path


async def test_it_says_where_it_listens_and_ends_on_sigterm(files):
    command = [sys.executable, "-m", "runners.venue", "--data", str(files), "--start", str(T0 + 100 * 900_000), "--with-parent"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert set(said["symbols"]) == {"BTCUSDT", "ETHUSDT"} and said["time"] == T0 + 100 * 900_000
        x, session = await open_exchange(said["port"], said["certificate"], "replay-key", "replay-secret"), loopback_session(said["port"],
                said["certificate"])
        try:
            assert (await x.load_markets())[BTC]["precision"]["amount"] == 0.01 and x.market(BTC)["limits"]["cost"]["min"] == 100.0
            async with session.get("https://fapi.binance.com/replay/status") as answer: assert (await answer.json())["phase"] == "close"
        finally:
            await x.close()
            await session.close()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert not Path(said["certificate"]).exists()
    finally:
        if process.returncode is None: process.kill()


@pytest.mark.parametrize(("extra", "sentence"), [
    (["--data", "/nowhere"], "no such file or folder"), (["--symbols", "DOGEUSDT"], "DOGEUSDT"), (["--start", "yesterday"], "not a time"),
    (["--pace", "fast"], "write lockstep"), (["--minutes", "7"], "7 minutes"),
                                                 (["--start", "2040-01-01"], "no 15m candles|nothing to replay"),
])
def test_what_it_cannot_play_is_one_sentence_and_code_2(files, capsys, extra, sentence):
    assert main(["--data", str(files), *extra]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.count("\n") == 1
    import re
    assert re.search(sentence, said.err)


def test_a_busy_port_is_told(files, capsys):
    import socket
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--data", str(files), "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another with --port" in capsys.readouterr().err
