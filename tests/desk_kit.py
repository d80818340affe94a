"A market told by several venues in their own words, on loopback, to ccxt's unmodified clients."
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ccxt.async_support
import numpy as np
import pytest
from aiohttp import web

from perps_kit.core.bar import Bars
from perps_kit.core.clock import HOUR, MINUTE, parse_time
from perps_kit.data.sample import sample_bars
from runners.venue import certificate as cert
from runners.venue.route import loopback_session

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "data"
BARS = sample_bars("SOLUSDT")[:1200]
NAKED = Bars.from_columns("SOLUSDT", 15, *BARS.columns()[:6])           # what six columns tell
START, END = int(BARS.open_time[0]), int(BARS.close_time[-1])
NOW = END + 5 * MINUTE
HOSTS = ("api.bybit.com", "www.okx.com", "api.gateio.ws", "api.gate.io", "api.gate.com", "contract.mexc.com", "api.mexc.com",
         "api-futures.kucoin.com", "api.kucoin.com", "api.hyperliquid.xyz", "api.bitget.com")


class Desk:
    "A market told by each of several venues in its own words; `trick` may answer otherwise."

    def __init__(self, trick: Callable[[int, str], Any] | None = None) -> None:
        self.trick, self.asked, self.now = trick, [], NOW
        self.hours = np.arange(parse_time("2026-04-15"), parse_time("2026-04-15") + 400 * HOUR, HOUR)
        self.settled = np.arange(parse_time("2026-04-15"), parse_time("2026-04-15") + 300 * 8 * HOUR, 8 * HOUR)
        self.bars: Bars = BARS

    def amount(self, t: int) -> float: return 1000.0 + (t // HOUR) % 97

    def rate(self, t: int) -> float: return 0.0001 * ((t // HOUR) % 7 - 3)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path, q = request.path, request.query if request.method == "GET" else await request.json()
        clock = path.endswith(("time", "ping", "timestamp")) or (request.method == "POST" and q["type"] == "exchangeStatus")
        if not clock: self.asked.append((path, dict(q)))
        other = self.trick(len(self.asked), path) if self.trick and not clock else None
        if other == "cut": return await cut(request)
        if other is not None: return other
        found = next((f for tail, f in ROUTES.items() if path.endswith(tail)), None)
        return web.json_response(found(self, q)) if found else web.json_response({"message": f"no {path}"}, status=404)


async def cut(request: web.Request) -> web.StreamResponse:
    "Half an answer, then the connection is gone."
    answer = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'{"code":"0","data":[[')
    assert request.transport is not None
    request.transport.abort()
    return answer


def within(rows: list, times: list[int], low: int | None, high: int | None, limit: int, newest: bool) -> list:
    "Rows with low <= time < high, cut as a venue cuts them: newest first or oldest first."
    kept = [r for r, t in zip(rows, times, strict=True) if (low is None or t >= low) and (high is None or t < high)]
    return kept[::-1][:limit] if newest else kept[:limit]


def number(q: Any, name: str) -> Any: return int(q[name]) if name in q else None


def candle_rows(desk: Desk, size: float = 1.0) -> tuple[list, list[int]]:
    rows = [[str(b.open_time), *map(str, (b.open, b.high, b.low, b.close, b.volume / size)), "1"] for b in desk.bars]
    return rows, desk.bars.open_time.tolist()


def bybit_kline(desk: Desk, q: Any) -> dict:
    rows, times = candle_rows(desk)
    low, high = number(q, "start"), number(q, "end")
    return {"retCode": 0, "retMsg": "OK", "time": desk.now, "result": {"symbol": "SOLUSDT", "category": "linear",
            "list": within(rows, times, low, None if high is None else high + 1, min(int(q["limit"]), 150), True)}}


def bybit_interest(desk: Desk, q: Any) -> dict:
    times = desk.hours.tolist()
    rows = [{"openInterest": str(desk.amount(t)), "timestamp": str(t)} for t in times]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "symbol": "SOLUSDT", "nextPageCursor": "",
            "list": within(rows, times, number(q, "startTime"), number(q, "endTime") + 1, min(int(q["limit"]), 200), True)}}


def bybit_ratio(desk: Desk, q: Any) -> dict:
    times = desk.hours.tolist()
    rows = [{"symbol": "SOLUSDT", "buyRatio": "0.75", "sellRatio": "0.25", "timestamp": str(t)} for t in times]
    return {"retCode": 0, "retMsg": "OK", "result": {"list": within(rows, times, number(q, "startTime"), number(q, "endTime") + 1,
                                                                    min(int(q["limit"]), 500), True)}}


def bybit_funding(desk: Desk, q: Any) -> dict:
    times = desk.settled.tolist()
    rows = [{"symbol": "SOLUSDT", "fundingRate": str(desk.rate(t)), "fundingRateTimestamp": str(t)} for t in times]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": within(rows, times, number(q, "startTime"),
            number(q, "endTime") + 1, min(int(q["limit"]), 200), True)}}


def okx_candles(desk: Desk, q: Any) -> dict:
    rows, times = candle_rows(desk)
    full = [[*row[:5], str(float(row[5]) * 10), row[5], "1", "1"] for row in rows]      # contracts of a tenth, then base units
    before, after = number(q, "before"), number(q, "after")
    low = None if before is None else before + 1
    return {"code": "0", "msg": "", "data": within(full, times, low, after, min(int(q["limit"]), 100), True)}


def okx_interest(desk: Desk, q: Any) -> dict:
    times = desk.hours.tolist()
    rows = [[str(t), str(desk.amount(t) * 10), str(desk.amount(t)), str(desk.amount(t) * 50)] for t in times]
    return {"code": "0", "msg": "", "data": within(rows, times, number(q, "begin") + 1, number(q, "end"), min(int(q["limit"]), 100), True)}


def okx_funding(desk: Desk, q: Any) -> dict:
    times = desk.settled.tolist()
    rows = [{"instId": "SOL-USDT-SWAP", "fundingRate": "9", "realizedRate": str(desk.rate(t)), "fundingTime": str(t)} for t in times]
    before = number(q, "before")
    return {"code": "0", "msg": "", "data": within(rows, times, None if before is None else before + 1, number(q, "after"),
                                                   min(int(q["limit"]), 100), True)}


def gate_candles(desk: Desk, q: Any) -> list:
    rows, times = candle_rows(desk, size=0.5)
    told = [dict(t=int(r[0]) // 1000, o=r[1], h=r[2], l=r[3], c=r[4], v=float(r[5]), sum="1") for r in rows]
    return within(told, times, number(q, "from") * 1000, number(q, "to") * 1000 + 1, 2000, False)


def gate_stats(desk: Desk, q: Any) -> list:
    times = desk.hours.tolist()
    rows = [{"time": t // 1000, "open_interest": desk.amount(t) * 2, "open_interest_usd": "7", "lsr_account": "1.5"} for t in times]
    return within(rows, times, number(q, "from") * 1000, None, int(q["limit"]), False)


def mexc_funding(desk: Desk, q: Any) -> dict:
    times, size, page = desk.settled.tolist(), int(q["page_size"]), int(q.get("page_num", 1))
    rows = [{"symbol": "SOL_USDT", "fundingRate": desk.rate(t), "settleTime": t} for t in times][::-1]
    return {"success": True, "code": 0, "data": {"pageSize": size, "currentPage": page, "resultList": rows[(page - 1) * size:page * size]}}


def mexc_candles(desk: Desk, q: Any) -> dict:
    rows, times = candle_rows(desk, size=0.5)
    found = within(rows, times, number(q, "start") * 1000, number(q, "end") * 1000 + 1, 2000, False)
    columns = [[int(r[0]) // 1000 for r in found], *([float(r[k]) for r in found] for k in (1, 2, 3, 4, 5))]
    return {"success": True, "code": 0, "data": dict(zip(("time", "open", "high", "low", "close", "vol"), columns, strict=True))}


def kucoin_candles(desk: Desk, q: Any) -> dict:
    rows, times = candle_rows(desk, size=0.5)
    found = within([[int(r[0]), *map(float, r[1:6])] for r in rows], times, number(q, "from"), number(q, "to") + 1, 200, False)
    return {"code": "200000", "data": found}


def hyperliquid_info(desk: Desk, q: Any) -> Any:
    if q["type"] == "exchangeStatus": return {"specialStatuses": None, "time": desk.now}
    assert q["type"] == "candleSnapshot" and q["req"]["coin"] == "SOL"
    rows, times = candle_rows(desk)
    told = [dict(t=int(r[0]), T=int(r[0]) + 1, s="SOL", i="15m", o=r[1], h=r[2], l=r[3], c=r[4], v=r[5], n=1) for r in rows]
    return within(told, times, q["req"]["startTime"], q["req"]["endTime"] + 1, 5000, False)


def bitget_candles(desk: Desk, q: Any) -> dict:
    rows, times = candle_rows(desk)
    found = within([r[:6] + ["1"] for r in rows], times, number(q, "startTime"), number(q, "endTime"), min(int(q["limit"]), 200), True)
    return {"code": "00000", "msg": "success", "data": found[::-1]}


def bitget_funding(desk: Desk, q: Any) -> dict:
    times, size, page = desk.settled.tolist(), int(q["pageSize"]), int(q.get("pageNo", 1))
    rows = [{"symbol": "SOLUSDT", "fundingRate": str(desk.rate(t)), "fundingTime": str(t)} for t in times][::-1]
    return {"code": "00000", "msg": "success", "data": rows[(page - 1) * size:page * size]}


def bitget_ratio(desk: Desk, q: Any) -> dict:
    like = {"longAccountRatio": "0.6", "shortAccountRatio": "0.4", "longShortAccountRatio": "1.5"}
    rows = [like | {"ts": str(t)} for t in desk.hours.tolist()]
    return {"code": "00000", "msg": "success", "data": rows[-30:]}      # the latest, whatever was asked


def binance_interest(desk: Desk, q: Any) -> list:
    times = desk.hours.tolist()
    rows = [{"symbol": q["symbol"], "sumOpenInterest": str(desk.amount(t)), "sumOpenInterestValue": str(desk.amount(t) * 50),
             "timestamp": str(t)} for t in times]
    return within(rows, times, number(q, "startTime"), number(q, "endTime") + 1, min(int(q["limit"]), 500), False)


def binance_ratio(desk: Desk, q: Any) -> list:
    times = desk.hours.tolist()
    rows = [{"symbol": q["symbol"], "longShortRatio": "1.9559", "longAccount": "0.6617", "shortAccount": "0.3382", "timestamp": str(t)}
            for t in times]
    return within(rows, times, number(q, "startTime"), number(q, "endTime") + 1, min(int(q["limit"]), 500), False)


def exchange_info(desk: Desk, q: Any) -> dict: return captured("BINANCE_FUTURES.0.gz")


def captured(name: str) -> Any:
    "The JSON body of a recorded answer."
    path = CAPTURES / "exchange_captures" / name
    if not path.exists(): pytest.skip("recorded answers are not here: exchange_captures of ../shared/data")
    return json.loads(gzip.open(path, "rt").readline().split(": ", 1)[1])


ROUTES: dict[str, Callable[[Desk, Any], Any]] = {       # by the end of a path, the first that fits
    "/mix/market/candles": bitget_candles, "/mix/market/history-candles": bitget_candles, "/mix/market/history-fund-rate": bitget_funding,
    "/mix/market/account-long-short": bitget_ratio, "/kline/SOL_USDT": mexc_candles, "/kline/query": kucoin_candles,
    "/info": hyperliquid_info, "/api/v1/timestamp": lambda d, q: {"code": "200000", "data": d.now},
    "/api/v2/public/time": lambda d, q: {"code": "00000", "data": {"serverTime": str(d.now)}},
    "/v5/market/time": lambda d, q: {"retCode": 0, "result": {}, "time": d.now}, "/v5/market/kline": bybit_kline,
    "/v5/market/open-interest": bybit_interest, "/v5/market/account-ratio": bybit_ratio, "/v5/market/funding/history": bybit_funding,
    "/api/v5/public/time": lambda d, q: {"code": "0", "data": [{"ts": str(d.now)}]}, "/market/history-candles": okx_candles,
    "/market/candles": okx_candles, "/contracts/open-interest-history": okx_interest, "/public/funding-rate-history": okx_funding,
    "/spot/time": lambda d, q: {"server_time": d.now}, "/futures/usdt/candlesticks": gate_candles,
    "/futures/usdt/contract_stats": gate_stats,
    "/contract/funding_rate/history": mexc_funding, "/contract/ping": lambda d, q: {"success": True, "code": 0, "data": d.now},
    "/fapi/v1/time": lambda d, q: {"serverTime": d.now}, "/fapi/v1/exchangeInfo": exchange_info,
    "/futures/data/openInterestHist": binance_interest, "/futures/data/globalLongShortAccountRatio": binance_ratio}
IDS = dict(bybit="SOLUSDT", okx="SOL-USDT-SWAP", gate="SOL_USDT", mexc="SOL_USDT", kucoinfutures="SOLUSDTM", hyperliquid="5",
           bitget="SOLUSDT")


def market(venue: str, size: float) -> dict:
    "A linear perpetual as ccxt keeps it."
    names = dict(symbol="SOL/USDT:USDT", base="SOL", baseName="SOL", quote="USDT", settle="USDT", baseId="SOL", quoteId="USDT",
                 settleId="usdt")
    kinds = dict(type="swap", spot=False, margin=False, swap=True, future=False, option=False, contract=True, linear=True, inverse=False)
    return dict(id=IDS[venue], active=True, contractSize=size, created=None, limits={}, precision={}, info={}) | names | kinds


@asynccontextmanager
async def served(desk: Desk, venue: str, folder: Path, monkeypatch: pytest.MonkeyPatch, size: float = 1.0,
                 listed: bool = True) -> AsyncIterator[Any]:
    "ccxt's unmodified client of a venue, its host names led to the desk."
    monkeypatch.setattr(cert, "HOSTS", (*cert.HOSTS, *HOSTS))
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", desk.answer)])
    certificate, key = cert.make_certificate(folder / "cert")
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=cert.server_context(certificate, key))
    await site.start()
    client = getattr(ccxt.async_support, venue)({"enableRateLimit": False, "options": {"fetchCurrencies": False, "defaultType": "swap"}})
    client.has["fetchCurrencies"] = False
    if listed and venue in IDS: client.set_markets([market(venue, size)])
    client.session = loopback_session(site._server.sockets[0].getsockname()[1], certificate)
    try: yield client
    finally:
        await client.close()
        await runner.cleanup()


