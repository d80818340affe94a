"The venue's answers beside recorded ones of the real exchange: the same keys, the same JSON types."
import asyncio
import gzip
import json
from pathlib import Path

import aiohttp
import pytest
from venue_kit import BTC, bench, walk

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SAMPLES, CAPTURES = DATA / "api_samples" / "binance_usdm", DATA / "exchange_captures"
KNOWN_AS_BOTH = {"orderId", "maxNotionalValue", "marginAsset"}       # the samples themselves disagree


def kind(value) -> str:
    if isinstance(value, bool): return "bool"
    if isinstance(value, int | float): return "number"
    return {str: "text", list: "list", dict: "object", type(None): "null"}[type(value)]


def differences(ours, theirs, at="") -> list[str]:
    "Keys of theirs that ours lacks, and values of another JSON type; a list is judged by its first member."
    if kind(ours) != kind(theirs):
        return [] if at.rsplit(".", 1)[-1] in KNOWN_AS_BOTH else [f"{at}: {kind(ours)} instead of {kind(theirs)}"]
    if isinstance(theirs, dict):
        return [d for key, value in theirs.items() for d in ([f"{at}.{key} is missing"] if key not in ours else differences(ours[key],
                value, f"{at}.{key}"))]
    if isinstance(theirs, list) and theirs and not ours: return [f"{at}[] is empty"]
    if isinstance(theirs, list) and theirs:
        rows = all(not isinstance(x, dict | list) for x in theirs) and len(theirs) == len(ours) > 2
        if rows: return [d for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differences(a, b, f"{at}[{k}]")]
        return differences(ours[0], theirs[0], f"{at}[]")
    return []


def test_a_difference_is_seen():
    assert differences({"a": "1", "b": [{"c": 1}]}, {"a": 1, "b": [{"c": 2, "d": 3}], "e": []}) == [".a: text instead of number",
            ".b[].d is missing", ".e is missing"]
    assert differences([1, "2", 3], [1, "2", "3"]) == ["[2]: number instead of text"] and differences([], [1]) == ["[] is empty"]


def sample(name: str):
    path = SAMPLES / f"{name}.json"
    if not path.is_file(): pytest.skip(f"{path} is not here: recorded answers are only in the development tree")
    body = json.loads(path.read_text())
    return body["data"] if isinstance(body, dict) and "stream" in body else body


REST = {
    "http_futures_market_exchange_info": ("fapiPublicGetExchangeInfo", {}),
        "http_futures_market_klines": ("fapiPublicGetKlines", {"symbol": "BTCUSDT", "interval": "15m"}),
    "http_futures_market_depth": ("fapiPublicGetDepth", {"symbol": "BTCUSDT"}),
        "http_futures_market_agg_trades": ("fapiPublicGetAggTrades", {"symbol": "BTCUSDT"}),
    "http_futures_market_trades": ("fapiPublicGetTrades", {"symbol": "BTCUSDT"}),
        "http_futures_market_ticker_24hr": ("fapiPublicGetTicker24hr", {"symbol": "BTCUSDT"}),
    "http_futures_market_ticker_price": ("fapiPublicGetTickerPrice", {"symbol": "BTCUSDT"}),
        "http_futures_market_book_ticker": ("fapiPublicGetTickerBookTicker", {"symbol": "BTCUSDT"}),
    "http_futures_market_premium_index": ("fapiPublicGetPremiumIndex", {"symbol": "BTCUSDT"}),
        "http_futures_market_open_interest": ("fapiPublicGetOpenInterest", {"symbol": "BTCUSDT"}),
    "http_futures_account_position_side_dual": ("fapiPrivateGetPositionSideDual", {}),
        "http_futures_account_symbol_config": ("fapiPrivateGetSymbolConfig", {}),
    "http_futures_wallet_commission_rate_btcusdt": ("fapiPrivateGetCommissionRate", {"symbol": "BTCUSDT"}),
        "account_info_v2": ("fapiPrivateV2GetAccount", {}),
    "balance": ("fapiPrivateV2GetBalance", {}), "position_risk": ("fapiPrivateV2GetPositionRisk", {}),
        "http_futures_account_positions_one_way": ("fapiPrivateV2GetPositionRisk", {}),
    "http_futures_account_trades": ("fapiPrivateGetUserTrades", {"symbol": "BTCUSDT"}),
        "order_response": ("fapiPrivateGetOrder", {"symbol": "BTCUSDT", "origClientOrderId": "rest"}),
}


@pytest.mark.parametrize("name", REST)
async def test_answers(name):
    theirs = sample(name)
    async with bench(walk()) as b:
        x = b.exchange
        await x.create_order(BTC, "market", "buy", 0.01)
        await x.create_order(BTC, "limit", "buy", 0.01, round(b.venue.price("BTCUSDT") * 0.8, 1), {"newClientOrderId": "rest"})
        await b.bar()
        method, params = REST[name]
        assert differences(await getattr(x, method)(dict(params)), theirs) == []


async def test_conditional_orders():
    theirs = [{k: v for k, v in row.items() if k != "type"} for row in sample("open_algo_orders")]     # documented as orderType
    async with bench(walk()) as b:
        await b.exchange.create_order(BTC, "market", "sell", 0.01, None, {"triggerPrice": round(b.venue.price("BTCUSDT") * 0.8, 1)})
        assert differences(await b.exchange.fapiPrivateGetOpenAlgoOrders(), theirs) == []


async def events_of(b, path: str, act, topics=()):
    "Messages of a raw socket while something happens."
    heard = []
    async with b.session.ws_connect(f"wss://fstream.binance.com{path}") as ws:
        if topics: await ws.send_json({"method": "SUBSCRIBE", "params": list(topics), "id": 1})
        await asyncio.sleep(0.1)
        await act()
        while True:
            try: heard.append(json.loads((await ws.receive(timeout=0.4)).data))
            except TimeoutError: return heard
            except (TypeError, aiohttp.ClientError): return heard


STREAMS = {"kline_stream_closed": ("btcusdt@kline_15m", "kline"), "agg_trade_stream": ("btcusdt@aggTrade", "aggTrade"),
           "trade_stream": ("btcusdt@trade", "trade"),
           "mark_price_stream": ("btcusdt@markPrice@1s", "markPriceUpdate"), "book_ticker_stream": ("btcusdt@bookTicker", "bookTicker"),
           "ticker_stream": ("btcusdt@ticker", "24hrTicker"),
           "depth_update_stream": ("btcusdt@depth@100ms", "depthUpdate")}


@pytest.mark.parametrize("name", STREAMS)
async def test_market_streams(name):
    theirs = sample(name)
    topic, event = STREAMS[name]
    async with bench(walk()) as b:
        heard = await events_of(b, "/market/ws/0", b.bar, [topic])
        assert heard[0] == {"result": None, "id": 1}
        assert differences(next(h for h in heard if h.get("e") == event), theirs) == []


async def test_user_stream():
    theirs = {name: sample(name) for name in ("order_update_trade", "account_update", "algo_update_new", "ws_futures_algo_update_triggered",
                                              "ws_futures_algo_update_finished")}
    async with bench(walk()) as b:
        x = b.exchange
        key = (await x.fapiPrivatePostListenKey())["listenKey"]

        async def act():
            await x.create_order(BTC, "market", "buy", 0.01)
            await b.barrier("close")
            stop = round(b.venue.price("BTCUSDT") * 1.01, 1)        # above the price: met by the next open
            await x.create_order(BTC, "market", "sell", 0.01, None, {"stopLossPrice": stop, "reduceOnly": True})
            await b.barrier("open")

        heard = await events_of(b, f"/private/ws?listenKey={key}", act)
        states = [h["o"]["X"] for h in heard if h["e"] == "ALGO_UPDATE"]
        assert states == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
        assert [(h["o"]["x"], h["o"]["X"]) for h in heard if h["e"] == "ORDER_TRADE_UPDATE"] == [("NEW", "NEW"), ("TRADE", "FILLED")] * 2
        first = {name: next(h for h in heard if h["e"] == theirs[name]["e"]
                            and (h["e"] != "ALGO_UPDATE" or h["o"]["X"] == theirs[name]["o"]["X"])
                            and (h["e"] != "ORDER_TRADE_UPDATE" or h["o"]["x"] == "TRADE")) for name in theirs}
        for name in theirs: assert differences(first[name], theirs[name]) == [], name


def captured(start: str) -> dict:
    "The first recorded REST answer of a URL."
    path = CAPTURES / "BINANCE_FUTURES.0.gz"
    if not path.is_file(): pytest.skip(f"{path} is not here: recorded traffic is only in the development tree")
    for file in sorted(CAPTURES.glob("BINANCE_FUTURES*.gz")):
        for line in gzip.open(file, "rt"):
            if line.startswith(start): return json.loads(line.split(": ", 1)[1])
    return pytest.skip(f"no {start} in {CAPTURES}")


@pytest.mark.parametrize(("url", "method", "params"), [("https://fapi.binance.com/fapi/v1/exchangeInfo", "fapiPublicGetExchangeInfo", {}),
                                                       ("https://fapi.binance.com/fapi/v1/depth", "fapiPublicGetDepth",
                                                        {"symbol": "BTCUSDT", "limit": 1000})])
async def test_answers_as_captured(url, method, params):
    theirs = captured(url)
    async with bench(walk()) as b: assert differences(await getattr(b.exchange, method)(dict(params)), theirs) == []


async def test_depth_messages_as_captured():
    path = CAPTURES / "BINANCE_FUTURES.ws.1.0.gz"
    if not path.is_file(): pytest.skip(f"{path} is not here: recorded traffic is only in the development tree")
    lines = [json.loads(line.split(": ", 1)[1]) for line in gzip.open(path, "rt") if "@depth" in line and ": {" in line]
    async with bench(walk()) as b:
        heard = await events_of(b, "/stream?streams=btcusdt@depth@100ms", b.bar)
        assert differences(heard[0], lines[0]) == [] and heard[0]["stream"] == "btcusdt@depth@100ms"
