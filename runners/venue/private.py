"Account endpoints: signed, one answer each."
import secrets
import time as host
from typing import TYPE_CHECKING

from runners.venue import trading
from runners.venue.account import MAKER, TAKER, Account
from runners.venue.refusal import Refusal, flag, mandatory, whole
from runners.venue.trading import Params, market_of
from runners.venue.wire import account_body, balance_row, brackets, position_risk

if TYPE_CHECKING:
    from runners.venue.venue import Venue

LISTEN_KEY_LIFE = 3600.0


def chosen(venue: "Venue", params: Params) -> list[str]:
    return [market_of(venue, params).symbol] if params.get("symbol") else list(venue.markets)


def positions(version: int):
    def answer(venue: "Venue", account: Account, params: Params) -> list:
        rows = [account.position(s) for s in chosen(venue, params)]
        return [position_risk(venue, account, p, version) for p in rows if version == 2 or p.quantity]
    return answer


def set_leverage(venue: "Venue", account: Account, params: Params) -> dict:
    m, leverage = market_of(venue, params), whole(params, "leverage")
    if leverage is None or not 1 <= leverage <= m.filters.max_leverage: raise Refusal(-4028, f"Leverage {leverage} is not valid")
    p = account.position(m.symbol)
    if p.isolated and p.quantity and leverage < p.leverage:
        raise Refusal(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.")
    p.leverage = leverage
    return {"symbol": m.symbol, "leverage": leverage, "maxNotionalValue": "10000000"}


def set_margin_type(venue: "Venue", account: Account, params: Params) -> dict:
    m, kind = market_of(venue, params), mandatory(params, "marginType")
    if kind not in ("ISOLATED", "CROSSED"): raise Refusal(-1130, "Data sent for parameter 'marginType' is not valid.")
    p = account.position(m.symbol)
    if p.isolated == (kind == "ISOLATED"): raise Refusal(-4046, "No need to change margin type.")
    if p.quantity: raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
    if account.open_orders.get(m.symbol) or account.open_algos.get(m.symbol):
        raise Refusal(-4047, "Margin type cannot be changed if there exists open orders.")
    p.isolated = kind == "ISOLATED"
    return {"code": 200, "msg": "success"}


def set_dual(venue: "Venue", account: Account, params: Params) -> dict:
    if flag(params, "dualSidePosition"): raise Refusal(-4062, "The replay venue plays one-way positions only.")
    raise Refusal(-4059, "No need to change position side.")


def symbol_config(venue: "Venue", account: Account, params: Params) -> list:
    rows = [account.position(s) for s in chosen(venue, params)]
    return [{"symbol": p.symbol, "marginType": "ISOLATED" if p.isolated else "CROSSED", "isAutoAddMargin": False, "leverage": p.leverage,
             "maxNotionalValue": "10000000"} for p in rows]


def open_orders(venue: "Venue", account: Account, params: Params) -> list:
    return [o.rest(venue.markets[s].filters) for s in chosen(venue, params) for o in account.open_orders.get(s, ())]


def open_algos(venue: "Venue", account: Account, params: Params) -> list:
    return [a.rest(venue.markets[s].filters) for s in chosen(venue, params) for a in account.open_algos.get(s, ())]


def history(rows, venue: "Venue", params: Params) -> list:
    "The last `limit` of a symbol's orders within the times asked for."
    symbol, start, end, limit = market_of(venue, params).symbol, whole(params, "startTime"), whole(params, "endTime"), whole(params,
            "limit", 500) or 500
    kept = [r for r in rows if r.symbol == symbol and (start is None or r.time >= start) and (end is None or r.time <= end)]
    return [r.rest(venue.markets[symbol].filters) for r in (kept[:limit] if start is not None else kept[-limit:])]


def noted(rows: list[dict], params: Params, limit: int, **fixed: str | None) -> list[dict]:
    "Dicts with a time, filtered and cut as Binance does."
    start, end, first = whole(params, "startTime"), whole(params, "endTime"), whole(params, "fromId")
    kept = [r for r in rows if all(v is None or r[k] == v for k,
                                   v in fixed.items()) and (start is None or r["time"] >= start) and (end is None or r["time"] <= end)
            and (first is None or r.get("id", 0) >= first)]
    return kept[:limit] if start is not None or first is not None else kept[-limit:]


def user_trades(venue: "Venue", account: Account, params: Params) -> list:
    order = whole(params, "orderId")
    rows = noted(account.trades, params, min(whole(params, "limit", 500) or 500, 1000), symbol=market_of(venue, params).symbol)
    return [r for r in rows if order is None or r["orderId"] == order]


def income(venue: "Venue", account: Account, params: Params) -> list:
    return noted(account.income, params, min(whole(params, "limit", 100) or 100, 1000), symbol=params.get("symbol"),
                 incomeType=params.get("incomeType"))


def cancel_all(venue: "Venue", account: Account, params: Params) -> dict:
    for order in list(account.open_orders.get(market_of(venue, params).symbol, ())): venue.matching.end(account, order, "CANCELED")
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def cancel_all_algos(venue: "Venue", account: Account, params: Params) -> dict:
    for algo in list(account.open_algos.get(market_of(venue, params).symbol, ())): venue.matching.end_algo(account, algo, "CANCELED")
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def listen_key(venue: "Venue", account: Account, params: Params) -> dict:
    "POST and PUT: the key of the last hour is made or kept alive."
    now = host.monotonic()
    for key in [k for k, until in account.listen_keys.items() if until < now]: del account.listen_keys[key]
    key = next(iter(account.listen_keys), None) or secrets.token_hex(32)
    account.listen_keys[key] = now + LISTEN_KEY_LIFE
    return {"listenKey": key}


def keep_listen_key(venue: "Venue", account: Account, params: Params) -> dict:
    if not account.listen_keys: raise Refusal(-1125, "This listenKey does not exist.")
    return listen_key(venue, account, params)


def drop_listen_key(venue: "Venue", account: Account, params: Params) -> dict:
    account.listen_keys.clear()
    return {}


def order_of(venue: "Venue", account: Account, params: Params) -> dict:
    return trading.find(account, params).rest(market_of(venue, params).filters)


def algo_of(venue: "Venue", account: Account, params: Params) -> dict:
    algo = trading.find_algo(account, params)
    return algo.rest(venue.markets[algo.symbol].filters)


KEY_ONLY = {"listenKey"}        # asks for the key, not for a signature
PRIVATE = {
    ("GET", "account"): lambda v, a, p: account_body(v, a, 2), ("GET", "v2/account"): lambda v, a, p: account_body(v, a, 2),
           ("GET", "v3/account"): lambda v, a, p: account_body(v, a, 3),
    ("GET", "balance"): lambda v, a, p: [balance_row(v, a)], ("GET", "v2/balance"): lambda v, a, p: [balance_row(v, a)],
           ("GET", "v3/balance"): lambda v, a, p: [balance_row(v, a)],
    ("GET", "positionRisk"): positions(2), ("GET", "v2/positionRisk"): positions(2), ("GET", "v3/positionRisk"): positions(3),
    ("GET", "positionSide/dual"): lambda v, a, p: {"dualSidePosition": False}, ("POST", "positionSide/dual"): set_dual,
           ("GET", "multiAssetsMargin"): lambda v, a, p: {"multiAssetsMargin": False},
    ("POST", "leverage"): set_leverage, ("POST", "marginType"): set_margin_type, ("GET", "symbolConfig"): symbol_config,
    ("GET", "leverageBracket"): lambda v, a, p: [brackets(s) for s in chosen(v, p)],
    ("GET", "commissionRate"): lambda v, a, p: {"symbol": market_of(v, p).symbol, "makerCommissionRate": f"{MAKER:g}",
                                                "takerCommissionRate": f"{TAKER:g}"},
    ("POST", "order"): trading.place, ("GET", "order"): order_of, ("DELETE", "order"): trading.cancel, ("PUT", "order"): trading.amend,
           ("GET", "openOrder"): order_of,
    ("GET", "openOrders"): open_orders, ("GET", "allOrders"): lambda v, a, p: history(a.orders.values(), v, p),
           ("DELETE", "allOpenOrders"): cancel_all,
    ("POST", "algoOrder"): trading.place_algo, ("GET", "algoOrder"): algo_of, ("DELETE", "algoOrder"): trading.cancel_algo,
           ("GET", "openAlgoOrders"): open_algos,
    ("GET", "allAlgoOrders"): lambda v, a, p: history(a.algos.values(), v, p), ("DELETE", "algoOpenOrders"): cancel_all_algos,
    ("GET", "userTrades"): user_trades, ("GET", "income"): income, ("POST", "listenKey"): listen_key, ("PUT", "listenKey"): keep_listen_key,
           ("DELETE", "listenKey"): drop_listen_key,
}
