"Accounts, balances, positions and symbols as Binance writes them."
from typing import TYPE_CHECKING

from perps_kit.exchange.wire import exact
from perps_kit.risk.liquidation import TYPICAL
from runners.venue.account import LEVERAGES, Account, Position, maintenance
from runners.venue.market import Market

if TYPE_CHECKING:
    from runners.venue.venue import Venue

QUOTE = "USDT"
ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]


def money(x: float) -> str: return f"{x:.8f}"


def symbol_info(m: Market) -> dict:
    "An entry of /exchangeInfo."
    f, tick, step = m.filters, exact(m.filters.tick, m.digits), exact(m.filters.step, m.steps)
    return {"symbol": m.symbol, "pair": m.symbol, "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": m.opens[0],
            "status": "TRADING", "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000", "baseAsset": f.base, "quoteAsset": f.quote, "marginAsset": f.quote,
            "pricePrecision": m.digits, "quantityPrecision": m.steps, "baseAssetPrecision": 8,
            "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": [], "settlePlan": 0, "triggerProtect": "0.0500",
            "liquidationFee": "0.012500", "marketTakeBound": "0.05",
            "filters": [{"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "100000000", "tickSize": tick},
                        {"filterType": "LOT_SIZE", "stepSize": step, "minQty": exact(f.min_quantity, m.steps),
                         "maxQty": exact(f.max_quantity, 0)},
                        {"filterType": "MARKET_LOT_SIZE", "stepSize": step, "minQty": exact(f.min_quantity, m.steps),
                         "maxQty": exact(f.max_quantity, 0)},
                        {"filterType": "MAX_NUM_ORDERS", "limit": 200}, {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 100},
                        {"filterType": "MIN_NOTIONAL", "notional": exact(f.min_notional, 0)},
                        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.5000", "multiplierDown": "0.5000", "multiplierDecimal": "4"}],
            "orderTypes": ORDER_TYPES, "timeInForce": ["GTC", "IOC", "FOK", "GTX"]}


def brackets(symbol: str) -> dict:
    "An entry of /leverageBracket."
    rows = [{"bracket": n, "initialLeverage": leverage, "notionalCap": tier.cap, "notionalFloor": tier.floor, "maintMarginRatio": tier.mmr,
             "cum": tier.cum}
            for n, (tier, leverage) in enumerate(zip(TYPICAL, LEVERAGES, strict=True), 1)]
    return {"symbol": symbol, "notionalCoef": 1.0, "brackets": rows}


def position_risk(venue: "Venue", account: Account, p: Position, version: int) -> dict:
    "An entry of /positionRisk, as version 2 or 3 has it."
    m = venue.markets[p.symbol]
    notional, profit = p.quantity * m.last, p.quantity * (m.last - p.entry)
    margin = p.margin + profit if p.isolated else 0.0
    initial = p.margin if p.isolated else abs(notional) / p.leverage
    row = {"symbol": p.symbol, "positionSide": "BOTH", "positionAmt": exact(p.quantity, m.steps), "entryPrice": exact(p.entry, m.digits),
           "breakEvenPrice": exact(p.entry, m.digits), "markPrice": exact(m.last, 8),
           "unRealizedProfit": money(profit), "liquidationPrice": exact(round(account.liquidation(p.symbol), 8), m.digits),
           "isolatedMargin": money(margin), "notional": money(notional),
           "isolatedWallet": money(p.margin), "updateTime": p.update}
    if version == 2:
        return row | {"leverage": str(p.leverage), "maxNotionalValue": "10000000", "marginType": "isolated" if p.isolated else "cross",
                      "isAutoAddMargin": "false"}
    return row | {"marginAsset": QUOTE, "initialMargin": money(initial), "maintMargin": money(maintenance(abs(notional))),
                  "positionInitialMargin": money(initial), "openOrderInitialMargin": "0",
                  "adl": 2, "bidNotional": "0", "askNotional": "0"}


def asset(venue: "Venue", account: Account) -> dict:
    "The quote asset in /account."
    profit, held = account.profit(venue.price), account.held_margin(venue.price)
    held_maintenance = sum(maintenance(abs(p.quantity) * venue.price(p.symbol)) for p in account.positions.values() if p.quantity)
    free, isolated = account.available(venue.price), sum(p.margin for p in account.positions.values())
    return {"asset": QUOTE, "walletBalance": money(account.wallet), "unrealizedProfit": money(profit),
            "marginBalance": money(account.wallet + profit), "maintMargin": money(held_maintenance),
            "initialMargin": money(held), "positionInitialMargin": money(held), "openOrderInitialMargin": "0.00000000",
            "crossWalletBalance": money(account.wallet - isolated), "crossUnPnl": money(profit),
            "availableBalance": money(free), "maxWithdrawAmount": money(free), "marginAvailable": True,
            "updateTime": account.update or venue.start}


def account_body(venue: "Venue", account: Account, version: int) -> dict:
    "The body of /account, version 2 or 3."
    a = asset(venue, account)
    held = [p for p in account.positions.values() if p.quantity or version == 2]
    totals = {"totalInitialMargin": a["initialMargin"], "totalMaintMargin": a["maintMargin"], "totalWalletBalance": a["walletBalance"],
              "totalUnrealizedProfit": a["unrealizedProfit"],
              "totalMarginBalance": a["marginBalance"], "totalPositionInitialMargin": a["positionInitialMargin"],
              "totalOpenOrderInitialMargin": "0.00000000",
              "totalCrossWalletBalance": a["crossWalletBalance"], "totalCrossUnPnl": a["crossUnPnl"],
              "availableBalance": a["availableBalance"], "maxWithdrawAmount": a["maxWithdrawAmount"]}
    head = {} if version == 3 else {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "updateTime": 0,
                                    "multiAssetsMargin": False, "tradeGroupId": -1}
    return {**head, **totals, "assets": [a], "positions": [account_position(venue, account, p, version) for p in held]}


def account_position(venue: "Venue", account: Account, p: Position, version: int) -> dict:
    row = position_risk(venue, account, p, 3)
    row = {"symbol": p.symbol, "positionSide": "BOTH", "positionAmt": row["positionAmt"], "unrealizedProfit": row["unRealizedProfit"],
           "isolatedMargin": row["isolatedMargin"], "notional": row["notional"],
           "isolatedWallet": row["isolatedWallet"], "initialMargin": row["initialMargin"], "maintMargin": row["maintMargin"],
           "updateTime": p.update, "entryPrice": row["entryPrice"],
           "positionInitialMargin": row["initialMargin"], "openOrderInitialMargin": "0", "leverage": str(p.leverage),
           "isolated": p.isolated, "maxNotional": "10000000", "bidNotional": "0", "askNotional": "0"}
    if version == 2: return row
    return {k: v for k, v in row.items() if k not in ("entryPrice", "positionInitialMargin", "openOrderInitialMargin", "leverage",
                                                      "isolated", "maxNotional", "bidNotional", "askNotional")}


def balance_row(venue: "Venue", account: Account) -> dict:
    "An entry of /balance."
    a = asset(venue, account)
    return {"accountAlias": "replay", "asset": QUOTE, "balance": a["walletBalance"], "crossWalletBalance": a["crossWalletBalance"],
            "crossUnPnl": a["crossUnPnl"], "availableBalance": a["availableBalance"],
            "maxWithdrawAmount": a["maxWithdrawAmount"], "marginAvailable": True, "updateTime": a["updateTime"]}


def account_update(venue: "Venue", account: Account, reason: str, symbol: str) -> dict:
    "An ACCOUNT_UPDATE event."
    m, p = venue.markets[symbol], account.position(symbol)
    cross = account.wallet - sum(q.margin for q in account.positions.values())
    held = {"s": symbol, "pa": exact(p.quantity, m.steps), "ep": exact(p.entry, m.digits), "bep": exact(p.entry, m.digits),
            "cr": money(p.realised), "up": money(p.quantity * (m.last - p.entry)),
            "mt": "isolated" if p.isolated else "cross", "iw": money(p.margin), "ps": "BOTH"}
    return {"e": "ACCOUNT_UPDATE", "T": venue.time, "E": venue.time, "a": {"m": reason,
                                                                           "B": [{"a": QUOTE, "wb": money(account.wallet),
                                                                                  "cw": money(cross), "bc": "0"}], "P": [held]}}
