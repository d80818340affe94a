"Liquidations from a stream on loopback into the store."
import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from desk_kit import CAPTURES, Desk, captured, exchange_info

from perps_kit.core.bar import DataError
from perps_kit.storage.candles import CandleStore
from perps_kit.storage.readings import read_readings
from runners.errors import ConfigError
from runners.record import Recorder, event_of
from runners.venue import certificate as cert
from runners.venue.route import loopback_session


@pytest.fixture
def store(tmp_path: Path) -> CandleStore: return CandleStore(tmp_path / "candles")


# Liquidations, as they happen

class Stream:
    "Binance's WebSocket: answers the subscription, then sends what it is given; the first connection breaks off after `cut` messages."

    def __init__(self, events: list[dict], cut: int = 0) -> None: self.events, self.cut, self.paths = events, cut, []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket": return web.json_response(exchange_info(Desk(), {}))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.paths.append(request.path)
        first = len(self.paths) == 1
        async for message in socket:
            asked = json.loads(message.data)
            assert asked["method"] == "SUBSCRIBE" and asked["params"] == ["btcusdt@forceOrder"]
            await socket.send_json({"result": None, "id": asked["id"]})
            half = self.events[:self.cut] if first and self.cut else self.events
            for event in half: await socket.send_json(event)
            if first and self.cut:
                await asyncio.sleep(0.1)
                assert request.transport is not None
                request.transport.abort()
        return socket


def liquidations() -> list[dict]:
    path = CAPTURES / "api_samples" / "binance_usdm" / "liquidation_stream.json"
    if not path.exists(): pytest.skip("recorded payloads are not here: api_samples of ../shared/data")
    like = json.loads(path.read_text())
    others = [dict(T=like["o"]["T"] + k * 700, l=str(0.5 + k), ap=str(9900.0 - k), S="BUY" if k % 3 else "SELL") for k in range(40)]
    return [like, *(like | {"o": like["o"] | other} for other in others)]


@pytest.mark.parametrize("lost", [0, 15])
async def test_every_liquidation_of_a_burst_is_kept_once_though_the_stream_breaks_off(lost: int, store: CandleStore, tmp_path: Path,
                                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    import ccxt.pro
    captured("BINANCE_FUTURES.0.gz")
    stream, sleep = Stream(liquidations(), lost), asyncio.sleep
    monkeypatch.setattr("runners.record.wait_seconds", lambda attempt: 0.01)
    certificate, key = cert.make_certificate(tmp_path / "cert")
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", stream.answer)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=cert.server_context(certificate, key))
    await site.start()
    exchange = ccxt.pro.binanceusdm({"enableRateLimit": False, "options": {"fetchCurrencies": False}})
    exchange.session = loopback_session(site._server.sockets[0].getsockname()[1], certificate)
    recorder, stop = Recorder(exchange, store, ["BTCUSDT"], every=0.05), asyncio.Event()
    try:
        task = asyncio.create_task(recorder.run(stop))
        for _ in range(200):
            await sleep(0.05)
            if recorder.stored >= 41 or task.done(): break
        stop.set()
        await task
    finally:
        await exchange.close()
        await runner.cleanup()
    held, raw = read_readings(store, "BTCUSDT", "liquidations"), liquidations()
    assert len(held) == recorder.stored == 41 and recorder.drops == (1 if lost else 0) and recorder.bad == 0
    assert sorted(zip(held.time.tolist(), *(c.tolist() for c in held.columns), strict=True)) == sorted(
        (e["o"]["T"] + 1000, 1.0 if e["o"]["S"] == "BUY" else -1.0, float(e["o"]["ap"]), float(e["o"]["l"])) for e in raw)
    assert store.catalogue()[0].timeframe == "liquidations"


def test_sides_are_of_the_order_whatever_a_venue_means() -> None:
    event = dict(timestamp=5, price=10.0, contracts=2.0, contractSize=0.1, side="buy")
    assert event_of(event, "binanceusdm") == (1005, 1.0, 10.0, 0.2)
    assert event_of(event, "bybit")[1] == -1.0      # there it is a long position that was liquidated
    for bad in (dict(side="none"), dict(price=None), dict(price=float("nan")), dict(contracts=0)):
        with pytest.raises(DataError): event_of(event | bad, "bybit")


async def test_a_venue_without_the_stream_is_one_sentence(store: CandleStore) -> None:
    import ccxt.pro
    exchange = ccxt.pro.gate()
    with pytest.raises(ConfigError, match="gate has no stream of liquidations"):
        await Recorder(exchange, store, ["BTCUSDT"]).run(asyncio.Event())
    await exchange.close()
