"Market data endpoints: what anyone may ask."
from typing import TYPE_CHECKING

from perps_kit.core.clock import TIMEFRAMES
from perps_kit.exchange.wire import exact
from runners.venue.history import klines as history
from runners.venue.market import Market
from runners.venue.refusal import Refusal, mandatory, whole
from runners.venue.trading import Params, market_of
from runners.venue.wire import symbol_info

if TYPE_CHECKING:
    from runners.venue.venue import Venue

KLINES_LIMIT = 1500


def exchange_info(venue: "Venue", params: Params) -> dict:
    return {"timezone": "UTC", "serverTime": venue.time, "futuresType": "U_MARGINED",
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": venue.limits.limit},
                           {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
                           {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300}],
            "exchangeFilters": [], "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [symbol_info(m) for m in venue.markets.values()]}


def limit_of(params: Params, default: int, most: int) -> int:
    limit = whole(params, "limit", default) or 0
    if limit < 1: raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def klines(venue: "Venue", params: Params) -> list:
    m, interval = market_of(venue, params), mandatory(params, "interval")
    minutes = TIMEFRAMES.get(interval)
    playable = minutes is not None and (minutes % m.minutes == 0 or (m.fine is not None and minutes == m.fine.minutes))
    if minutes is None or not playable: raise Refusal(-1120, "Invalid interval.")
    return history(m, minutes, whole(params, "startTime"), whole(params, "endTime"), limit_of(params, 500, KLINES_LIMIT))


def depth(venue: "Venue", params: Params) -> dict:
    m, limit = market_of(venue, params), whole(params, "limit", 500) or 500
    if limit not in (5, 10, 20, 50, 100, 500, 1000): raise Refusal(-4021, f"'{limit}' is not valid depth limit.")
    return m.book.snapshot(limit, venue.time)


def trade_rows(venue: "Venue", params: Params) -> list[tuple[int, int, float, float, bool]]:
    "Four trades a closed bar: id, time, price, quantity, whether the buyer was the maker."
    m, limit = market_of(venue, params), limit_of(params, 500, 1000)
    start, end, first = whole(params, "startTime"), whole(params, "endTime"), whole(params, "fromId")
    bars = range(max(0, m.index - limit // 4 - 1), m.index)
    if first is not None: bars = range(min(first // 4, m.index), min(m.index, first // 4 + limit // 4 + 2))
    elif start is not None:
        low = next((i for i in range(m.index) if m.opens[i] + m.span > start), m.index)
        bars = range(low, min(m.index, low + limit // 4 + 2))
    rows = [(4 * i + k, m.opens[i] + offset, price, float(m.bars.volume[i]) / 4, k % 2 == 1) for i in bars for k,
            (offset, price) in enumerate(m.path(i, True)[:4])]
    rows = [r for r in rows if (start is None or r[1] >= start) and (end is None or r[1] <= end) and (first is None or r[0] >= first)]
    return rows[:limit] if start is not None or first is not None else rows[-limit:]


def agg_trades(venue: "Venue", params: Params) -> list:
    m = market_of(venue, params)
    return [{"a": n, "p": exact(p, m.digits), "q": exact(round(q, m.steps), m.steps), "f": n, "l": n, "T": t, "m": maker} for n, t, p, q,
            maker in trade_rows(venue, params)]


def trades(venue: "Venue", params: Params) -> list:
    m = market_of(venue, params)
    return [{"id": n, "price": exact(p, m.digits), "qty": exact(round(q, m.steps), m.steps), "quoteQty": f"{p * q:.2f}", "time": t,
             "isBuyerMaker": maker} for n, t, p, q, maker in trade_rows(venue, params)]


def each(venue: "Venue", params: Params, make) -> dict | list:
    "One symbol's answer, or all."
    return make(market_of(venue, params)) if "symbol" in params else [make(m) for m in venue.markets.values()]


def ticker_price(venue: "Venue", m: Market) -> dict: return {"symbol": m.symbol, "price": exact(m.last, m.digits), "time": venue.time}


def book_ticker(venue: "Venue", m: Market) -> dict:
    bid, ask = m.book.top()
    return {"symbol": m.symbol, "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1], "time": venue.time,
            "lastUpdateId": m.book.last_id}


def premium(venue: "Venue", m: Market) -> dict:
    rate, coming = m.rate(venue.time)
    price = exact(m.last, 8)
    return {"symbol": m.symbol, "markPrice": price, "indexPrice": price, "estimatedSettlePrice": price, "lastFundingRate": f"{rate:.8f}",
            "interestRate": "0.00010000", "nextFundingTime": coming, "time": venue.time}


def funding_rate(venue: "Venue", params: Params) -> list:
    chosen = [market_of(venue, params)] if "symbol" in params else list(venue.markets.values())
    start, end, limit = whole(params, "startTime"), whole(params, "endTime"), limit_of(params, 100, 1000)
    rows = [{"symbol": m.symbol, "fundingTime": t, "fundingRate": f"{rate:.8f}",
             "markPrice": "" if mark != mark else exact(mark, 8)} for m in chosen for t, rate, mark in m.settled
            if t <= venue.time and (start is None or t >= start) and (end is None or t <= end)]
    rows.sort(key=lambda r: r["fundingTime"])
    return rows[:limit] if start is not None else rows[-limit:]


def funding_info(venue: "Venue", params: Params) -> list:
    return [{"symbol": s, "adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": 8,
             "disclaimer": False, "updateTime": venue.time} for s in venue.markets]


def open_interest(venue: "Venue", params: Params) -> dict:
    m = market_of(venue, params)
    i = max(0, m.index - 1)
    return {"openInterest": exact(round(float(m.bars.volume[max(0, i - 95):i + 1].sum()), m.steps), m.steps), "symbol": m.symbol,
            "time": venue.time}



PUBLIC = {
    "ping": lambda v, p: {}, "time": lambda v, p: {"serverTime": v.time}, "exchangeInfo": exchange_info, "klines": klines, "depth": depth,
          "aggTrades": agg_trades, "trades": trades,
    "ticker/24hr": lambda v, p: each(v, p, lambda m: m.day(v.time)), "ticker/price": lambda v, p: each(v, p, lambda m: ticker_price(v, m)),
    "ticker/bookTicker": lambda v, p: each(v, p, lambda m: book_ticker(v, m)), "premiumIndex": lambda v,
          p: each(v, p, lambda m: premium(v, m)),
    "fundingRate": funding_rate, "fundingInfo": funding_info, "openInterest": open_interest,
}
