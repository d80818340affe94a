"Every venue's habits of paging, its units, its faults; series other than candles; what it cannot give."
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ccxt.async_support
import numpy as np
import pytest
from aiohttp import web
from desk_kit import BARS, END, IDS, NAKED, NOW, START, Desk, captured, served
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import DAY, HOUR, MINUTE
from perps_kit.data.asof import as_of
from perps_kit.sources.pages import numbered, pages
from perps_kit.storage.candles import CandleStore, same
from perps_kit.storage.readings import read_readings
from runners.cli.data import _download, app
from runners.download import download_bars, download_funding, download_readings
from runners.errors import ConfigError
from runners.sources import Caller, VenueSource


@pytest.fixture
def store(tmp_path: Path) -> CandleStore: return CandleStore(tmp_path / "candles")


# Candles of venues that answer newest first, cap what they send, or count contracts

@pytest.mark.parametrize(("venue", "size"), [("bybit", 1.0), ("okx", 0.1), ("gate", 0.5), ("mexc", 0.5), ("kucoinfutures", 0.5),
                                             ("hyperliquid", 1.0), ("bitget", 1.0)])
async def test_candles_of_any_venue_are_whole_and_in_base_units(venue: str, size: float, store: CandleStore, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Desk(), venue, tmp_path, monkeypatch, size) as client:
        symbol = IDS[venue] if venue not in ("bybit", "hyperliquid") else "SOL/USDT:USDT"
        got = await download_bars(Caller(client), store, symbol, "15m", START, END + DAY)
        again = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert got.symbol == "SOLUSDT" and got.stored == len(BARS) and got.missing == 0 and again.received == 0
    held = store.read("SOLUSDT", "15m")
    assert np.allclose(held.volume, NAKED.volume, rtol=1e-12)
    assert (held.close == NAKED.close).all() and (held.open_time == NAKED.open_time).all()


async def test_the_recorded_markets_of_gate_turn_contracts_into_coins(store: CandleStore, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    listed = captured("GATEIO_FUTURES.0.gz")
    [multiplier] = [float(one["quanto_multiplier"]) for one in listed if one["name"] == "OOKI_USDT"]
    desk = Desk(lambda n, path: web.json_response(listed if "usdt" in path else []) if path.endswith("/contracts") else None)
    async with served(desk, "gate", tmp_path, monkeypatch, listed=False) as client:
        client.options["fetchMarkets"] = {"types": ["swap"]}
        got = await download_bars(Caller(client), store, "OOKI_USDT", "15m", START, END)
        with pytest.raises(ConfigError, match="no linear perpetual"):
            await download_bars(Caller(client), store, "NOPEUSDT", "15m", START, END)
    assert got.symbol == "OOKIUSDT" and multiplier == 100.0 and got.stored == 1200
    assert np.allclose(store.read("OOKIUSDT", "15m").volume, NAKED.volume * 2 * multiplier, rtol=1e-12)


async def test_the_forming_bar_stays_out_of_a_newest_first_answer(store: CandleStore, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.now = int(BARS.open_time[-1]) + MINUTE
    async with served(desk, "bybit", tmp_path, monkeypatch) as client:
        await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert store.last("SOLUSDT", "15m") == BARS.open_time[-1]


async def test_holes_and_a_late_listing_cost_few_questions(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.bars = Bars.of("SOLUSDT", 15, [*BARS[700:800], *BARS[830:1100]])
    async with served(desk, "okx", tmp_path, monkeypatch) as client:
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert got.stored == 370 and got.missing == 3 and len(desk.asked) < 25


# Open interest and ratios

@pytest.mark.parametrize(("venue", "size"), [("bybit", 1.0), ("okx", 0.1), ("gate", 0.5)])
async def test_open_interest_is_in_base_units_and_known_after_its_hour(venue: str, size: float, store: CandleStore, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.now = int(desk.hours[-1]) + HOUR // 2
    begin, end = int(desk.hours[0]), int(desk.hours[-1]) + DAY
    async with served(desk, venue, tmp_path, monkeypatch, size) as client:
        got = await download_readings(Caller(client), store, "open_interest", "SOLUSDT", "1h", begin, end)
        n = len(desk.asked)
        again = await download_readings(Caller(client), store, "open_interest", "SOLUSDT", "1h", begin, end)
    held = read_readings(store, "SOLUSDT", "open_interest", "1h")
    assert got.stored == len(held) == 399 and again.received == 0 and len(desk.asked) <= n + 2
    assert (held.time == desk.hours[:-1] + HOUR).all()
    assert held.column("amount").tolist() == [desk.amount(t) for t in desk.hours[:-1].tolist()]
    closes = BARS.close_time[:400]
    known = as_of(held.time, held.column("amount"), closes, held.period)
    for close, value in zip(closes.tolist(), known.tolist(), strict=True):
        if value == value: assert value == desk.amount(int(desk.hours[desk.hours + HOUR <= close][-1]))


@pytest.mark.parametrize("what", ["open_interest", "long_short_ratio"])
async def test_binance_with_its_recorded_markets_looks_back_thirty_days(what: str, store: CandleStore, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.hours = np.arange(NOW // HOUR * HOUR - 40 * DAY, NOW // HOUR * HOUR, HOUR)
    async with served(desk, "binanceusdm", tmp_path, monkeypatch) as client:
        got = await download_readings(Caller(client), store, what, "SOLUSDT", "1h", NOW - 90 * DAY, NOW)
    held = read_readings(store, "SOLUSDT", what, "1h")
    asked = [int(q["startTime"]) for path, q in desk.asked if "futures/data" in path]
    assert min(asked) >= NOW - 30 * DAY and got.stored == len(held) == (held.time[-1] - held.time[0]) // HOUR + 1 >= 718
    assert "looks back" in got.remarks[0]


async def test_ratios_of_bybit_follow_the_span(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    async with served(desk, "bybit", tmp_path, monkeypatch) as client:
        begin, end = int(desk.hours[0]) + HOUR, int(desk.hours[50])
        got = await download_readings(Caller(client), store, "long_short_ratio", "SOLUSDT", "1h", begin, end)
    assert got.stored == 49 and set(read_readings(store, "SOLUSDT", "long_short_ratio", "1h").column("ratio")) == {3.0}


async def test_a_venue_that_tells_only_the_latest_ratios_is_not_asked_for_ever(store: CandleStore, tmp_path: Path,
                                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.now = int(desk.hours[-1]) + HOUR
    async with served(desk, "bitget", tmp_path, monkeypatch) as client:
        begin = int(desk.hours[0]) - 300 * DAY
        got = await download_readings(Caller(client), store, "long_short_ratio", "SOLUSDT", "1h", begin, desk.now + 1)
    assert got.stored == 30 and got.missing == 1 and len(desk.asked) < 8


# Funding, by spans, by a parameter of its own, by page numbers

@pytest.mark.parametrize("venue", ["bybit", "okx", "mexc", "bitget"])
async def test_funding_of_any_venue_is_whole_and_resumes(venue: str, store: CandleStore, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.now = int(desk.settled[-1]) + HOUR // 2
    begin = int(desk.settled[7])
    async with served(desk, venue, tmp_path, monkeypatch) as client:
        got = await download_funding(Caller(client), store, "SOLUSDT", begin, desk.now)
        n = len(desk.asked)
        again = await download_funding(Caller(client), store, "SOLUSDT", begin, desk.now)
    held = store.read_funding("SOLUSDT")
    assert got.stored == len(held) == 293 and again.received == 0 and len(desk.asked) == n < 20
    assert (held.time == desk.settled[7:]).all() and held.rate.tolist() == [desk.rate(t) for t in desk.settled[7:].tolist()]


async def test_the_command_brings_all_that_is_asked_for_and_the_catalogue_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, root = Desk(), tmp_path / "candles"
    desk.now = int(desk.settled[-1])
    begin, end, wanted = int(desk.hours[0]), int(desk.hours[100]), ["candles", "funding", "open_interest", "long_short_ratio"]
    async with served(desk, "bybit", tmp_path, monkeypatch) as client:
        monkeypatch.setattr("runners.cli.data.open_venue", lambda venue: client)
        got = await _download("bybit", root, ["SOLUSDT"], wanted, True, "15m", "1h", begin, end, quiet=True)
    assert [(d.what, d.stored) for d in got] == [("15m", 400), ("funding", 13), ("open_interest 1h", 99), ("long_short_ratio 1h", 99)]
    listed = json.loads(CliRunner().invoke(app, ["ls", "--store", str(root), "--json"]).stdout)
    assert all((e["gaps"], e["source"]) == (0, "bybit") for e in listed)
    rows = {"funding": 13, "long_short_ratio 1h": 99, "open_interest 1h": 99, "15m": 400}
    assert {e["timeframe"]: e["rows"] for e in listed} == rows
    assert CliRunner().invoke(app, ["ls", "--store", str(root), "--verify"]).exit_code == 0


# Faults on the way

async def test_a_maintenance_page_is_no_empty_history(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(lambda n, path: web.Response(text="<html>maintenance</html>", content_type="text/html") if n > 3 else None)
    async with served(desk, "okx", tmp_path, monkeypatch) as client:
        with pytest.raises((DataError, ConfigError), match="html"): await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert 0 < len(store.read("SOLUSDT", "15m")) < len(BARS)


@pytest.mark.parametrize("fault", ["drop", "429", "503"])
async def test_a_fault_in_the_middle_loses_nothing(fault: str, store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trick(n: int, path: str) -> Any:
        if n not in (3, 5): return None
        if fault == "drop": return "cut"
        code = "50011" if fault == "429" else "50001"
        return web.json_response({"code": code, "msg": "busy"}, status=int(fault), headers={"Retry-After": "0.2"})

    desk, waits = Desk(trick), []
    sleep = asyncio.sleep

    async def short(seconds: float, *rest: Any) -> None:
        waits.append(seconds)
        await sleep(min(seconds, 0.01))

    monkeypatch.setattr("runners.sources.asyncio.sleep", short)
    async with served(desk, "okx", tmp_path, monkeypatch) as client:
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert got.stored == len(BARS) and same(store.read("SOLUSDT", "15m"), NAKED)
    assert (0.2 if fault == "429" else 1.0) in waits


@pytest.mark.parametrize(("row", "told"), [([None] * 8, "not a number"), (["x"] * 8, "not a number"), (["NaN"] * 8, "positive numbers"),
                                           (["5", "4", "6", "5", "1", "1", "1", "1"], "do not contain")])
async def test_garbage_in_place_of_a_candle_is_refused(row: list, told: str, store: CandleStore, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(lambda n, path: web.json_response({"code": "0", "data": [[str(START), *row]]}))
    async with served(desk, "okx", tmp_path, monkeypatch) as client:
        with pytest.raises(DataError, match=told): await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert not store.root.exists()


async def test_what_a_venue_has_not_is_one_sentence() -> None:
    source = VenueSource(Caller(ccxt.async_support.mexc()))
    with pytest.raises(ConfigError, match="mexc has no history of open interest"): source.need("open_interest")
    with pytest.raises(ConfigError, match="data record"): source.need("liquidations")
    await source.exchange.close()


async def test_an_unknown_market_is_one_sentence(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Desk(), "okx", tmp_path, monkeypatch) as client:
        for symbol in ("NOPEUSDT", "SOLUSD", "WHAT"):
            with pytest.raises(ConfigError, match=rf"okx has no linear perpetual '{symbol}'"):
                await download_bars(Caller(client), store, symbol, "15m", START, END)


CHILD = """
import asyncio, sys
from pathlib import Path
import ccxt.async_support
from desk_kit import END, START, market
from perps_kit.storage.candles import CandleStore
from runners.download import Caller, download_bars
from runners.venue.route import loopback_session

async def main(port, certificate, root):
    client = ccxt.async_support.okx({"enableRateLimit": False})
    client.set_markets([market("okx", 0.1)])
    client.session = loopback_session(int(port), certificate)
    await download_bars(Caller(client), CandleStore(Path(root)), "SOLUSDT", "15m", START, END, keep=2)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_download_goes_on_where_it_stopped(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[asyncio.subprocess.Process] = []

    def trick(n: int, path: str) -> None:
        if n == 6: children[0].kill()

    desk = Desk(trick)
    async with served(desk, "okx", tmp_path, monkeypatch, 0.1) as client:
        port = client.session.connector._resolver.port
        environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])}
        children.append(await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(port), str(tmp_path / "cert" / "venue.pem"),
                                                             str(store.root), env=environ))
        assert await children[0].wait() == -signal.SIGKILL
        assert len(store.read("SOLUSDT", "15m")) == 400         # two answers at a time are kept
        got = await download_bars(Caller(client), store, "SOLUSDT", "15m", START, END)
    assert got.received == 800 and same(store.read("SOLUSDT", "15m"), NAKED) and store.verify() == []


# Paging, whatever a venue does

@settings(max_examples=120, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=200), st.integers(1, 40), st.booleans(), st.integers(1, 80), st.booleans())
def test_pages_gather_all_there_is_without_a_loop(times: list[int], cap: int, newest: bool, window: int, bounded: bool) -> None:
    held, asked = sorted(set(times)), 0

    async def ask(a: int, b: int) -> list:
        nonlocal asked
        asked += 1
        assert asked < 2000 and 0 <= a < b <= 300 and b - a <= window
        kept = [(t,) for t in held if t >= a and (t < b or not bounded)]
        return (kept[::-1] if newest and bounded else kept)[:cap]

    async def gather() -> list[int]: return [row[0] for piece, _ in [x async for x in pages(ask, 0, 300, window, 1)] for row in piece]

    found = asyncio.run(gather())
    assert sorted(found) == [t for t in held if t < 300] and len(found) == len(set(found))


def test_a_venue_that_ignores_the_span_ends_soon() -> None:
    asked = []

    async def ask(a: int, b: int) -> list:
        asked.append((a, b))
        return [(t,) for t in range(990, 1000)]

    async def gather() -> list[int]: return [row[0] for piece, _ in [x async for x in pages(ask, 0, 1000, 10, 1)] for row in piece]

    assert asyncio.run(gather()) == list(range(990, 1000)) and len(asked) == 3


def test_numbered_pages_that_repeat_themselves_end() -> None:
    async def ask(page: int) -> list: return [(t,) for t in range(50, 60)]

    async def gather() -> list[int]: return [row[0] for piece, _ in [x async for x in numbered(ask, 0, 100)] for row in piece]

    assert asyncio.run(gather()) == list(range(50, 60))


@pytest.mark.parametrize(("words", "told"), [
    (["--what", "candles,gossip"], "gossip"), (["--what", "liquidations"], "data record"), (["--what", "oi", "--period", "7m"], "unknown"),
    (["--venue", "mexc", "--what", "oi"], "mexc has no history"), (["--venue", "hyperliquid", "--what", "lsr"], "has no history")])
def test_what_cannot_be_downloaded_is_told_before_any_question(words: list[str], told: str, store: CandleStore) -> None:
    result = CliRunner().invoke(app, ["download", "--store", str(store.root), "--symbol", "SOLUSDT", "--start", "2026-01-01", *words])
    assert result.exit_code == 2 and told in result.stderr and result.stderr.count("\n") == 1 and not store.root.exists()


