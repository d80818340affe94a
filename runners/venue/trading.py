"Placing, changing and cancelling orders, with the refusals that the real venue gives."
from typing import TYPE_CHECKING

from perps_kit.core.money import floor_to
from perps_kit.exchange.filters import Filters
from runners.venue.account import Account, largest_position
from runners.venue.market import Market
from runners.venue.matching import check_conditional
from runners.venue.orders import CONDITIONAL, OPEN, Algo, Order
from runners.venue.refusal import Refusal, flag, mandatory, number, whole

if TYPE_CHECKING:
    from runners.venue.venue import Venue

Params = dict[str, str]


def market_of(venue: "Venue", params: Params) -> Market:
    symbol = mandatory(params, "symbol")
    if symbol not in venue.markets: raise Refusal(-1121, "Invalid symbol.")
    return venue.markets[symbol]


def side_of(params: Params) -> int:
    side = mandatory(params, "side")
    if side not in ("BUY", "SELL"): raise Refusal(-1117, "Invalid side.")
    if params.get("positionSide", "BOTH") != "BOTH": raise Refusal(-4061, "Order's position side does not match user's setting.")
    return 1 if side == "BUY" else -1


def on_grid(value: float, grid: float, what: str) -> float:
    if abs(value / grid - round(value / grid)) > 1e-6:
        raise Refusal(-1111, f"Precision is over the maximum defined for this asset ({what}).")
    return floor_to(value, grid)


def quantity_of(params: Params, f: Filters, needed: bool = True) -> float:
    if not needed and not params.get("quantity"): return 0.0
    value = number(params, "quantity")
    if value <= 0: raise Refusal(-4003, "Quantity less than or equal to zero.")
    value = on_grid(value, f.step, "quantity")
    if value < f.min_quantity: raise Refusal(-4003, "Quantity less than min quantity.")
    if value > f.max_quantity: raise Refusal(-4005, "Quantity greater than max quantity.")
    return value


def price_of(params: Params, name: str, f: Filters) -> float:
    value = number(params, name)
    if value <= 0: raise Refusal(-4001, "Price less than 0." if value < 0 else "Price less than or equal to zero.")
    return on_grid(value, f.tick, name)


def client_id_of(params: Params, name: str, taken: bool, made: str) -> str:
    value = params.get(name, "") or made
    if len(value) > 36 or not all(c.isalnum() or c in ".:/_-" for c in value): raise Refusal(-4015, "Client order id is not valid.")
    if taken: raise Refusal(-4116, "ClientOrderId is duplicated.")
    return value


def check_margin(venue: "Venue", account: Account, m: Market, side: int, quantity: float, price: float) -> None:
    "Refuse what the free margin does not carry; what only reduces is free."
    p = account.position(m.symbol)
    adding = quantity if p.quantity * side >= 0 else max(0.0, quantity - abs(p.quantity))
    notional = (abs(p.quantity) if p.quantity * side >= 0 else 0.0) + adding
    if adding and notional * price > largest_position(p.leverage):
        raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
    if adding * price / p.leverage > account.available(venue.price): raise Refusal(-2019, "Margin is insufficient.")


def place(venue: "Venue", account: Account, params: Params) -> dict:
    "POST order."
    m, side, kind = market_of(venue, params), side_of(params), mandatory(params, "type")
    if kind in (*CONDITIONAL, "TRAILING_STOP_MARKET"):
        raise Refusal(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
    if kind not in ("LIMIT", "MARKET"): raise Refusal(-1116, "Invalid orderType.")
    f, reduce_only, tif = m.filters, flag(params, "reduceOnly"), params.get("timeInForce", "GTC")
    if tif not in ("GTC", "IOC", "FOK", "GTX"): raise Refusal(-1115, "Invalid timeInForce.")
    quantity = quantity_of(params, f)
    price = price_of(params, "price", f) if kind == "LIMIT" else 0.0
    if not reduce_only and quantity * (price or m.last) < f.min_notional:
        raise Refusal(-4164, f"Order's notional must be no smaller than {f.min_notional:g} (unless you choose reduce only).")
    client = params.get("newClientOrderId", "")
    client = client_id_of(params, "newClientOrderId", any(o.client_id == client for rows in account.open_orders.values() for o in rows),
                          f"replay-{venue._id + 1}")
    if reduce_only and account.position(m.symbol).quantity * side >= 0: raise Refusal(-2022, "ReduceOnly Order is rejected.")
    if not reduce_only: check_margin(venue, account, m, side, quantity, price or m.last)
    if kind == "LIMIT" and not m.last * 0.5 <= price <= m.last * 1.5:
        raise Refusal(-4016 if price > m.last else -4024, "Limit price can't be outside of the allowed range.")
    if not venue.limits.order(venue.time): raise Refusal(-1015, "Too many new orders; current limit is 300 orders per 10 SECOND.", 429)
    crossing = kind == "LIMIT" and (price >= m.last if side > 0 else price <= m.last) and not (venue.lockstep and tif == "GTC")
    if crossing and tif == "GTX":
        raise Refusal(-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected.")
    order = Order(venue.next_id(), client, m.symbol, side, kind, quantity, price, tif, reduce_only, False, venue.time, venue.time)
    account.orders[order.id] = order
    account.open_orders.setdefault(m.symbol, []).append(order)
    venue.tell(account, order.event(f, "NEW", venue.time))
    if kind == "MARKET":
        if venue.phase in ("open", "running"): venue.matching.market_order(account, order, m.last)
        elif venue.phase == "done": venue.matching.end(account, order, "EXPIRED")
    elif crossing: venue.matching.take(account, order, m.last)
    elif tif in ("IOC", "FOK"): venue.matching.end(account, order, "EXPIRED")
    return order.rest(f)


def find(account: Account, params: Params, code: int = -2013) -> Order:
    "An order by its id or its client id, the newest of that name."
    number_, client = whole(params, "orderId"), params.get("origClientOrderId")
    if number_ is None and not client:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    order = account.orders.get(number_) if number_ is not None else next((o for o in reversed(account.orders.values())
                                                                          if o.client_id == client), None)
    if order is None or order.symbol != params.get("symbol", order.symbol):
        raise Refusal(code, "Order does not exist." if code == -2013 else "Unknown order sent.")
    return order


def cancel(venue: "Venue", account: Account, params: Params) -> dict:
    "DELETE order."
    m, order = market_of(venue, params), find(account, params, -2011)
    if order.status not in OPEN: raise Refusal(-2011, "Unknown order sent.")
    venue.matching.end(account, order, "CANCELED")
    return order.rest(m.filters)


def amend(venue: "Venue", account: Account, params: Params) -> dict:
    "PUT order: a resting limit order's price and quantity."
    m, order = market_of(venue, params), find(account, params)
    if order.status not in OPEN or order.type != "LIMIT": raise Refusal(-2013, "Order does not exist.")
    quantity, price = quantity_of(params, m.filters), price_of(params, "price", m.filters)
    if (quantity, price) == (order.quantity, order.price): raise Refusal(-5027, "No need to modify the order.")
    if quantity <= order.filled: raise Refusal(-5028, "The quantity is not above what has been filled.")
    order.quantity, order.price, order.update = quantity, price, venue.time
    venue.tell(account, order.event(m.filters, "AMENDMENT", venue.time))
    return order.rest(m.filters)


def place_algo(venue: "Venue", account: Account, params: Params) -> dict:
    "POST algoOrder."
    m, side, kind = market_of(venue, params), side_of(params), mandatory(params, "type")
    if mandatory(params, "algoType") != "CONDITIONAL": raise Refusal(-1116, "Invalid algoType.")
    check_conditional(kind)
    f, closing = m.filters, flag(params, "closePosition")
    if closing and (params.get("quantity") or flag(params, "reduceOnly")):
        raise Refusal(-4136, "Target strategy invalid for orderType: closePosition goes without quantity and reduceOnly.")
    quantity, trigger = quantity_of(params, f, not closing), price_of(params, "triggerPrice", f)
    price = price_of(params, "price", f) if kind in ("STOP", "TAKE_PROFIT") else 0.0
    working = params.get("workingType", "CONTRACT_PRICE")
    if working not in ("CONTRACT_PRICE", "MARK_PRICE"): raise Refusal(-4008, "Invalid working type.")
    client = params.get("clientAlgoId", "")
    client = client_id_of(params, "clientAlgoId", any(a.client_id == client for rows in account.open_algos.values() for a in rows),
                          f"replay-{venue._id + 1}")
    if not venue.limits.order(venue.time): raise Refusal(-1015, "Too many new orders; current limit is 300 orders per 10 SECOND.", 429)
    algo = Algo(venue.next_id(), client, m.symbol, side, kind, quantity, trigger, price, params.get("timeInForce", "GTC"),
                flag(params, "reduceOnly"), closing, working, venue.time, venue.time)
    if not venue.lockstep and algo.touched(m.last): raise Refusal(-2021, "Order would immediately trigger.")
    account.algos[algo.id] = algo
    account.open_algos.setdefault(m.symbol, []).append(algo)
    venue.tell(account, algo.event(f, venue.time))
    return algo.rest(f)


def find_algo(account: Account, params: Params, code: int = -2013) -> Algo:
    "A conditional order by its id or its client id, the newest of that name."
    number_, client = whole(params, "algoId"), params.get("clientAlgoId")
    if number_ is None and not client: raise Refusal(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
    algo = account.algos.get(number_) if number_ is not None else next((a for a in reversed(account.algos.values())
                                                                        if a.client_id == client), None)
    if algo is None: raise Refusal(code, "Order does not exist." if code == -2013 else "Unknown order sent.")
    return algo


def cancel_algo(venue: "Venue", account: Account, params: Params) -> dict:
    "DELETE algoOrder."
    algo = find_algo(account, params, -2011)
    if algo.status != "NEW": raise Refusal(-2011, "Unknown order sent.")
    venue.matching.end_algo(account, algo, "CANCELED")
    return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}
