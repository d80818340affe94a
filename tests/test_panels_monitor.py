"The live monitor at a real service: the unmodified application on loopback over a real database."

import asyncio
import gc
import json
import re
from contextlib import asynccontextmanager
from weakref import ref

import httpx
import pytest
import pytest_asyncio
from filled import filled
from pydantic import SecretStr

pytest.importorskip("ipywidgets", reason="panels need ipywidgets")
pytest.importorskip("jupyter_bokeh", reason="panels need jupyter_bokeh")

from ipywidgets.widgets.widget import _instances as instances

from perps_kit.core.clock import iso
from perps_kit.research import monitor as module
from perps_kit.research.monitor import KEY, Monitor, checked_address, monitor
from runners.db.connect import open_database
from runners.http.app import make_app
from runners.http.server import serving
from runners.http.settings import HttpSettings
from runners.state import ServiceState

SECRET = "correct horse battery"


@pytest_asyncio.fixture
async def db(tmp_path):
    database = await open_database(str(tmp_path / "perps.db"))
    database.market = await filled(database, 120)
    yield database
    await database.close()


@asynccontextmanager
async def running(db, state=None, port=0, key=None):
    "A service's HTTP side; its address without the last slash."
    settings = HttpSettings(port=port, api_key=key and SecretStr(key))
    async with serving(make_app(db, state or ServiceState(mode="paper"), settings), settings) as address: yield address.rstrip("/")


@asynccontextmanager
async def attended(address, **options):
    panel = monitor(address, **options)
    try: yield panel
    finally:
        panel.stop()
        await asyncio.gather(panel.task, return_exceptions=True)


def rows(html): return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in html.split("<tbody>")[-1].split("</tr>")][:-1]


async def test_what_the_panel_shows_are_the_rows_of_the_api(db):
    state = ServiceState(mode="paper")
    async with running(db, state) as address, attended(address, rows=7) as panel, httpx.AsyncClient(base_url=address) as client:
        await panel.settled()
        assert "paper: not ready, waits for start-up" in panel.status.text and panel.status.kind == "busy"
        state.wait_for()
        await panel.settled()
        assert panel.status.kind == "good" and "paper: ready" in panel.status.text
        told = {name: (await client.get(path)).json() for name, path in dict(
            signals="/signals?limit=7", decisions="/decisions?limit=7", positions="/positions", equity="/equity").items()}
        assert panel.facts.signals == told["signals"] and len(told["signals"]) == 7
        assert panel.facts.decisions == told["decisions"] and panel.facts.positions == told["positions"]
        shown = [(r[0], r[1], r[2]) for r in rows(panel.signals.value)]
        assert shown == [(iso(s["close_time"]), s["symbol"], s["side"]) for s in told["signals"]]
        assert [r[4] for r in rows(panel.decisions.value)] == [d["outcome"] for d in told["decisions"]]
        assert [r[1] for r in rows(panel.positions.value)] == [p["symbol"] for p in told["positions"]]
        last = told["equity"][-1]
        assert rows(panel.worth.value) == [["paper", iso(last["time"]), f"{last['equity']:,.10g}"]]
        assert panel.source.data["ys"] == [[e["equity"] for e in told["equity"]]] and len(told["equity"]) == 120


async def test_news_appear_without_asking_for_everything_again(db):
    async with running(db) as address, attended(address) as panel:
        await panel.settled()
        before, since = panel.facts, panel.since
        for _ in range(40): await db.market.bar()
        await panel.settled()
        assert panel.since > since and len(panel.facts.equity) == 40 and len(panel.source.data["xs"][0]) == 160
        assert panel.facts.decisions[0]["id"] > before.decisions[0]["id"]


async def test_a_service_that_goes_is_missed_and_found_again(db):
    state = ServiceState(mode="paper")
    state.wait_for()
    async with running(db, state) as address:
        panel = monitor(address)
        await panel.settled()
        shown = panel.signals.value
        assert panel.status.kind == "good" and "perps-stale" not in shown
    await panel.settled()
    assert panel.status.kind == "wrong" and panel.status.text.startswith("disconnected since 20")
    assert panel.signals.value == f"<div style='opacity:0.45' class='perps-stale'>{shown}</div>"        # the last ones, and marked as such
    panel.gone -= 5000
    gone = panel.gone                       # the first silence counts, not the latest
    pauses = []
    for _ in range(7):
        await panel.settled()
        pauses.append(int(re.search(r"trying again in (\d+) s", panel.status.text)[1]))
        assert panel.gone == gone and panel.running
    assert pauses == sorted(pauses) and set(pauses) <= {1, 2, 4, 8, 16, 30} and {8, 30} <= set(pauses)
    port = int(address.rsplit(":", 1)[1])
    async with running(db, state, port):
        await panel.settled()
        assert panel.status.kind == "good" and panel.signals.value == shown and panel.gone == 0 and len(panel.source.data["xs"][0]) == 120
        panel.stop()
        await asyncio.gather(panel.task, return_exceptions=True)


async def test_another_service_at_the_address_does_not_inherit_the_old_ones_equity(db, tmp_path):
    young = await open_database(str(tmp_path / "young.db"))
    await filled(young, 10)
    async with running(db) as address:
        panel = monitor(address)
        await panel.settled()
    await panel.settled()
    assert panel.status.kind == "wrong" and len(panel.source.data["xs"][0]) == 120
    async with running(young, port=int(address.rsplit(":", 1)[1])):
        await panel.settled()
        assert panel.status.kind != "wrong" and len(panel.source.data["xs"][0]) == 10
        panel.stop()
        await asyncio.gather(panel.task, return_exceptions=True)
    await young.close()


async def test_it_comes_back_by_itself(db):
    async with running(db) as address:
        panel = monitor(address, every=0.2)
        await panel.settled()
    async with asyncio.timeout(20):
        while panel.status.kind != "wrong": await asyncio.sleep(0.05)
        async with running(db, port=int(address.rsplit(":", 1)[1])):
            while panel.status.kind == "wrong": await asyncio.sleep(0.05)
    assert panel.facts.signals
    panel.stop()


async def test_the_key_comes_from_the_environment_and_stays_there(db, monkeypatch):
    async with running(db, key=SECRET) as address:
        async with attended(address) as panel:
            await panel.settled()
            assert panel.status.kind == "wrong" and f"set {KEY}" in panel.status.text and panel.facts is None
        monkeypatch.setenv(KEY, SECRET)
        async with attended(address) as panel:
            await panel.settled()
            assert len(panel.facts.signals) > 5
            state = json.dumps([x.get_state() for x in list(instances.values())], default=str)
            assert "perps-signals" in state and SECRET not in state and SECRET not in repr(panel.__dict__)


async def test_something_else_at_the_address_is_told_apart():
    async def other(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        async with attended(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as panel:
            await panel.settled()
            assert panel.status.kind == "wrong" and "not JSON: is this a perps_kit service?" in panel.status.text and panel.running


async def test_stop_and_start_are_a_button(db):
    async with running(db) as address, attended(address) as panel:
        await panel.settled()
        panel.stop_button.click()
        await asyncio.gather(panel.task, return_exceptions=True)
        assert not panel.running and panel.stop_button.description == "Start" and panel.status.text.startswith("stopped at")
        rounds = panel.begun
        await asyncio.wait_for(panel.settled(), 5)
        assert panel.begun == rounds
        panel.stop_button.click()
        await panel.settled()
        assert panel.running and panel.stop_button.description == "Stop" and panel.begun > rounds and "answered at" in panel.status.text


async def test_running_the_cell_again_leaves_one_task(db, monkeypatch):
    monkeypatch.setattr(module, "cell_id", lambda: "the-cell")
    async with running(db) as address:
        first = monitor(address)
        await first.settled()
        async with attended(address) as second:
            await second.settled()
            assert second.running and not first.running and "replaced by a newer one" in first.status.text
            await asyncio.gather(first.task, return_exceptions=True)
            assert [t for t in asyncio.all_tasks() if t.get_name() == "perps monitor"] == [second.task]


async def test_a_panel_that_nobody_has_ends_its_task(db):
    async with running(db) as address:
        panel = monitor(address, every=0.2)
        await panel.settled()
        task, gone = panel.task, ref(panel)
        del panel
        gc.collect()
        assert gone() is None
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 10)
        kept = monitor(address, every=0.2)
        assert kept._repr_mimebundle_() is not None
        shown = ref(kept)
        del kept
        gc.collect()
        assert shown() is not None          # it is on the screen
        shown().stop()
        del shown().widget.shown_by


async def test_the_loop_is_free_while_a_service_is_slow():
    asked = asyncio.Event()

    async def silent(reader, writer):
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        async with attended(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as panel:
            await asyncio.wait_for(asked.wait(), 5)
            assert panel.running and panel.status.text == "connecting …"        # this line runs while nobody answers


@pytest.mark.parametrize(("address", "told"), [
    ("127.0.0.1:8000", "write it like"), ("http://me:hush@host:1", "keep the key in"), ("", "write it like"),
    ("http://host/?key=hush", "keep the key in"), ("file:///etc", "write it like")])
def test_an_address_that_is_none_is_refused_without_repeating_a_secret(address, told):
    with pytest.raises(ValueError, match=told) as error: checked_address(address)
    assert "hush" not in str(error.value)
    with pytest.raises(ValueError, match="too often"): monitor(every=0)
    with pytest.raises(ValueError, match="outside of 1 to 1000"): monitor(rows=0)


def test_without_a_loop_it_waits_for_one():
    panel = monitor("http://127.0.0.1:1")
    assert isinstance(panel, Monitor) and panel.task is None and "event loop" in panel.status.text


def test_the_key_does_not_travel_for_everyone_to_read(monkeypatch):
    monkeypatch.setenv(KEY, "k" * 20)
    with pytest.raises(ValueError, match="for everyone to read: use https"): checked_address("http://10.0.0.5:8000")
    assert checked_address("https://10.0.0.5") and checked_address("http://127.0.0.1:8000") and checked_address("http://localhost:8000")
    monkeypatch.delenv(KEY)
    assert checked_address("http://10.0.0.5:8000")
