"HTTP: health, answers, the door, the server's lifetime."

import asyncio
import json
import socket
import subprocess
import sys
from itertools import pairwise

import httpx
import pytest
import pytest_asyncio
from filled import M15, START, filled
from pydantic import SecretStr
from sqlalchemy import text

from runners.db.connect import open_database
from runners.errors import ConfigError
from runners.http.app import make_app
from runners.http.drawing import bokeh_script
from runners.http.server import open_socket, serving
from runners.http.settings import HttpSettings
from runners.state import ServiceState

pytestmark = pytest.mark.asyncio(loop_scope="module")
ANY_PORT = HttpSettings(port=0)
KEY = "correct horse battery"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(tmp_path_factory):
    database = await open_database(str(tmp_path_factory.mktemp("http") / "perps.db"))
    await filled(database, 200)
    yield database
    await database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(db):
    "A client of a running server, and the state that the service would set."
    state = ServiceState(mode="paper", venue="binanceusdm")
    async with serving(make_app(db, state, ANY_PORT), ANY_PORT) as address, httpx.AsyncClient(base_url=address) as client:
        yield client, state


async def test_alive_at_once_ready_when_warm(site):
    client, state = site
    state.wait_for("candles of ETHUSDT")
    assert (await client.get("/healthz")).text == "alive"
    answer = await client.get("/readyz")
    assert answer.status_code == 503 and answer.json() == {"ready": False, "mode": "paper", "waiting_for": ["candles of ETHUSDT"]}
    state.wait_for()
    answer = await client.get("/readyz")
    assert answer.status_code == 200 and answer.json()["ready"] is True


async def test_metrics_are_the_services_own(site):
    client, state = site
    state.metrics.cycles.inc(3)
    state.metrics.refusals.labels(reason="nan").inc()
    state.metrics.cycle_seconds.observe(0.004)
    shown = (await client.get("/metrics")).text
    for line in (
        "perps_cycles_total 3.0",
        'perps_candle_refusals_total{reason="nan"} 1.0',
        'perps_cycle_seconds_bucket{le="0.005"} 1.0',
        "perps_ready 1.0",
    ):
        assert line in shown
    depth = next(line for line in shown.splitlines() if line.startswith("perps_outbox_depth "))
    assert float(depth.split()[1]) > 0
    assert ServiceState().metrics.registry.get_sample_value("perps_cycles_total") == 0


async def test_signals_are_paged_to_the_end_without_a_gap(site):
    client, _ = site
    whole = (await client.get("/signals?limit=1000")).json()
    assert len(whole) > 5 and [s["close_time"] for s in whole] == sorted((s["close_time"] for s in whole), reverse=True)
    paged, page = [], (await client.get("/signals?limit=2")).json()
    while page:
        paged += page
        page = (await client.get(f"/signals?limit=2&before={page[-1]['id']}")).json()
    assert paged == whole
    one = (await client.get(f"/signals/{whole[0]['id']}")).json()
    assert one["trackers"][0]["account"] is None and one["trackers"][0]["events"][0]["kind"] == "entry"
    why = (await client.get(f"/decisions/{one['decision_id']}")).json()
    assert why["signal_id"] == whole[0]["id"] and all(v["passed"] for v in why["verdicts"]) and why["features"]["zone"] == "nan"


async def test_a_rejected_decision_names_its_gate(site):
    client, _ = site
    rejected = (await client.get("/decisions?outcome=rejected&limit=1")).json()[0]
    last = rejected["verdicts"][-1]
    assert last["gate"] == rejected["reason"] and not last["passed"] and all(v["passed"] for v in rejected["verdicts"][:-1])


async def test_series_are_oldest_first_and_continue_from_since(site):
    client, _ = site
    bars = (await client.get("/candles/BTCUSDT?limit=50")).json()
    assert len(bars) == 50 and all(b["open_time"] - a["open_time"] == M15 for a, b in pairwise(bars))
    assert (await client.get(f"/candles/BTCUSDT?since={bars[-2]['open_time']}")).json() == bars[-2:]
    equity = (await client.get("/equity")).json()
    assert len(equity) == 200 and equity[0] == {"account": "paper", "time": START + M15, "equity": 10000.0}
    assert {p["state"] for p in (await client.get("/positions")).json()} <= {"OPEN", "TP1", "TP2"}


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("/signals/nothing", 404, "there is no signal nothing"),
        ("/decisions/999999", 404, "there is no decision 999999"),
        ("/candles/NOPE", 404, "no candles of NOPE"),
        ("/candles/BTCUSDT?minutes=7", 404, "at 7 minutes"),
        ("/decisions/abc", 422, "integer"),
        ("/decisions/99999999999999999999", 422, ""),
        ("/signals?limit=0", 422, ""),
        ("/signals?limit=100000", 422, ""),
        ("/candles/BTCUSDT?since=-1", 422, ""),
        ("/signals?before='; DROP TABLE signals", 200, "[]"),
        ("/static/../app.py", 404, ""),
        ("/redoc", 404, ""),
    ],
)
async def test_a_wrong_question_has_a_clear_answer(site, path, code, says):
    client, _ = site
    answer = await client.get(path)
    assert answer.status_code == code and says in answer.text


async def test_feed_gives_what_is_new(site):
    client, _ = site
    first = (await client.get("/page/feed?symbol=ETHUSDT")).json()
    bars = first["chart"]["candles"]["open_time"]
    assert (
        first["chart"]["symbol"] == "ETHUSDT" and len(bars) == 200 and "BTCUSDT" in first["symbols"] and first["equity"]["paper"]["equity"]
    )
    later = (await client.get(f"/page/feed?symbol=ETHUSDT&since={bars[-1]}&equity_since={first['equity']['paper']['time'][-1]}")).json()
    assert later["chart"]["candles"]["open_time"] == bars[-1:] and later["equity"] == {}
    assert (await client.get("/page/feed?symbol=NOPE")).json()["chart"]["symbol"] in first["symbols"]


async def test_the_page_loads_nothing_from_elsewhere(site):
    client, _ = site
    for path in (
        "/",
        "/docs",
        "/static/page.js",
        "/static/page.css",
        "/static/charts.js",
        "/static/api.js",
        "/favicon.ico",
        "/openapi.json",
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        body = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in body and "https://" not in body, path
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    script = await client.get("/static/bokeh.min.js")
    assert script.status_code == 200 and len(script.content) > 500_000 and bokeh_script().exists()
    assert (await client.get("/static/bokeh.min.js", headers={"if-none-match": script.headers["etag"]})).status_code in (200, 304)
    charts = (await client.get("/page/charts")).json()
    assert set(charts) == {"light", "dark"} and set(charts["dark"]) == {"palette", "candles", "equity"}


async def test_the_description_knows_every_answer(site):
    client, _ = site
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths) == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/signals",
        "/signals/{id}",
        "/decisions",
        "/decisions/{id}",
        "/positions",
        "/equity",
        "/candles/{symbol}",
    }


async def test_a_web_page_elsewhere_cannot_read_through_the_browser(site):
    client, _ = site
    assert (await client.get("/signals", headers={"host": "evil.example:8000"})).status_code == 421
    assert (await client.get("/signals", headers={"host": "localhost:8000"})).status_code == 200


async def test_with_a_key_only_health_and_the_empty_page_are_open(db):
    settings = HttpSettings(port=0, api_key=SecretStr(KEY))
    async with serving(make_app(db, ServiceState(), settings), settings) as address, httpx.AsyncClient(base_url=address) as client:
        for path in ("/signals", "/metrics", "/page/feed", "/page/charts", "/openapi.json", "/decisions/1"):
            for headers in (
                {},
                {"x-api-key": "wrong"},
                {"x-api-key": KEY[:-1]},
                {"authorization": "Bearer wrong"},
                {"authorization": f"Basic {KEY}"},
                {"x-api-key": "ключ".encode()},
            ):
                refused = await client.get(path, headers=headers)
                assert refused.status_code == 401 and "X-API-Key" in refused.text, path
        for path in ("/", "/healthz", "/static/page.js", "/docs"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/signals", headers={"x-api-key": KEY})).status_code == 200
        assert (await client.get("/signals", headers={"authorization": f"Bearer {KEY}"})).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_a_public_address_without_a_key_is_refused(host):
    with pytest.raises(ConfigError, match="set PERPS_HTTP__API_KEY, or listen on 127.0.0.1"):
        open_socket(HttpSettings(host=host, port=0))


async def test_a_short_key_is_refused():
    with pytest.raises(ConfigError, match="at least 16 characters"):
        open_socket(HttpSettings(host="0.0.0.0", port=0, api_key=SecretStr("1234")))


async def test_a_busy_port_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(ConfigError, match="port .* is in use.*http.port"):
        open_socket(HttpSettings(port=busy.getsockname()[1]))


async def test_the_server_ends_soon_and_frees_its_port(db):
    taken = open_socket(ANY_PORT)
    port = taken.getsockname()[1]
    async with serving(make_app(db, ServiceState(), ANY_PORT), ANY_PORT, taken):
        _, writer = await asyncio.open_connection("127.0.0.1", port)  # a client that never says anything
    async with asyncio.timeout(1):
        open_socket(HttpSettings(port=port)).close()
    writer.close()


async def test_a_database_out_of_reach_is_said_not_shown(tmp_path):
    database = await open_database(str(tmp_path / "x.db"))
    state = ServiceState()
    state.wait_for()
    async with serving(make_app(database, state, ANY_PORT), ANY_PORT) as address, httpx.AsyncClient(base_url=address) as client:
        async with database.write() as session:
            await session.execute(text("ALTER TABLE signals RENAME TO gone"))
        answer = await client.get("/signals")
        assert answer.status_code == 503 and json.loads(answer.text) == {"detail": "the database does not answer; try again"}
    await database.close()


async def test_the_service_never_carries_bokeh():
    code = "import sys, runners.http.app; print([m for m in ('bokeh', 'pandas', 'alembic', 'IPython', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
