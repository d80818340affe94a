"""The hand that reaches the venue: one order placed, looked up or cancelled, each with a deadline, every answer read as one of few states.

A lost answer says nothing about the order. The desk then waits until the venue can no longer apply a late request, asks by the order's own
name, and only an order that the venue does not know is sent again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from math import inf
from typing import Any

from perps_kit.core.bar import DataError
from perps_kit.exchange.outcome import BROKEN, GONE, LIMITED, UNKNOWN, Outcome, outcome_of
from perps_kit.exchange.wire import text
from perps_kit.risk.liquidation import Tier
from perps_kit.storage.models import Order
from runners.errors import ConfigError
from runners.live.execution.answers import STATES, TWICE, UNCHANGED, Balance, Seen, Trade, read, trouble
from runners.live.venue import Exchange, retry_after

log = logging.getLogger(__name__)
TRIES = 5

class Desk:
    "One account's requests. `settle`: seconds after which a request with a lost answer has either been done or never will be."

    def __init__(self, exchange: Exchange, settle: float | None = None):
        self.exchange, self.client = exchange, exchange.client
        self.settle = exchange.profile.settle if settle is None else settle

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        "A request that changes nothing, or that may be made twice: again after a limit's pause and a few times after trouble."
        for attempt in range(TRIES):
            try:
                async with asyncio.timeout(self.exchange.timeout):
                    answer = await call()
                if isinstance(answer, (dict, list)):
                    return answer
                raise DataError(f"{self.exchange.venue} sent something else than data: {str(answer)[:60]!r}")
            except trouble() as error:
                outcome = self.read_error(error)
                if attempt + 1 == TRIES or outcome.kind not in (LIMITED, UNKNOWN):
                    raise
                await asyncio.sleep(outcome.wait or 0.25 * 2**attempt)

    def read_error(self, error: BaseException) -> Outcome:
        return outcome_of(error, retry_after(self.client))

    async def send(self, order: Order) -> Any:
        "The one request that must not be made twice."
        f, pair, side = self.exchange.filters[order.symbol], self.exchange.pairs[order.symbol], "buy" if order.side > 0 else "sell"
        params: dict[str, Any] = dict(clientOrderId=order.client_id) | (dict(reduceOnly=True) if order.reduce_only else {})
        if order.trigger is not None:
            params["stopLossPrice"] = float(text(order.trigger, f.tick))
        price = None if order.price is None else float(text(order.price, f.tick))
        async with asyncio.timeout(self.exchange.timeout):
            return await self.client.create_order(
                pair, order.type.lower() if order.trigger is None else "market", side, float(text(order.quantity, f.step)), price, params
            )

    async def place(self, order: Order, uncertain: Callable[[], Awaitable[None]], within: float = inf) -> Seen:
        """Send an order until its fate is known: taken, refused, or, after long trouble, still unknown.

        `uncertain` is called before the first wait; nothing is sent after `within` seconds.
        """
        clock = asyncio.get_running_loop()
        until = clock.time() + within
        for attempt in range(TRIES):
            if attempt and clock.time() > until:
                return Seen("rejected", error="too late: the venue was not to be reached in time")
            try:
                return await self.seen((await self.send(order))["info"])
            except trouble() as error:
                outcome = self.read_error(error)
            log.warning("%s %s: %s, %s", order.symbol, order.client_id, outcome.kind, outcome.reason)
            if outcome.kind == LIMITED:
                await asyncio.sleep(min(outcome.wait, max(0.0, until - clock.time()) + 0.001))
                continue
            if outcome.kind != UNKNOWN and TWICE not in outcome.reason:
                return Seen("rejected", error=outcome.reason)
            if outcome.kind == UNKNOWN:
                if attempt == 0:
                    await uncertain()
                await asyncio.sleep(self.settle)
            seen = await self.look(order)
            if seen.state != "absent":
                return seen
        return Seen("unknown", error="the venue did not say what became of it")

    async def look(self, order: Order) -> Seen:
        "What became of an order. One that the venue once took and now does not find is asked for again: its answers may lag behind."
        seen = await self.glance(order)
        if seen.state == "absent" and order.venue_id:
            await asyncio.sleep(self.settle)
            seen = await self.glance(order)
        return seen

    async def glance(self, order: Order) -> Seen:
        "An order by its own name; unknown where the venue cannot be asked."
        try:
            if order.type == "STOP_MARKET":
                return await self.seen(await self.ask(lambda: self.client.fapiPrivateGetAlgoOrder(dict(clientAlgoId=order.client_id))))
            return await self.seen(
                await self.ask(lambda: self.client.fapiPrivateGetOrder(dict(symbol=order.symbol, origClientOrderId=order.client_id)))
            )
        except trouble() as error:
            outcome = self.read_error(error)
            if outcome.kind != GONE:
                log.warning("%s %s: cannot be looked up: %s", order.symbol, order.client_id, outcome.reason)
            return Seen("absent") if outcome.kind == GONE else Seen("unknown", error=outcome.reason)

    async def seen(self, answer: Any) -> Seen:
        "Read an order's body; a stop that was triggered is followed to the order that it became."
        if isinstance(answer, dict) and "algoStatus" in answer:
            body = read(answer, "algoId", "symbol")
            number = str(body.get("actualOrderId") or "")
            state = STATES.get(body["algoStatus"], "open")
            if not number or number == "0":
                return Seen("rejected" if state == "filled" else state, str(body["algoId"]), error=str(body.get("rejectReason") or ""))
            actual = read(
                await self.ask(lambda: self.client.fapiPrivateGetOrder(dict(symbol=body["symbol"], orderId=number))),
                "status",
                "executedQty",
            )
            return Seen(
                STATES.get(actual["status"], "open"),
                str(body["algoId"]),
                float(actual["executedQty"]),
                float(actual.get("avgPrice") or 0) or None,
                number,
            )
        body = read(answer, "orderId", "status", "executedQty")
        return Seen(
            STATES.get(body["status"], "open"),
            str(body["orderId"]),
            float(body["executedQty"]),
            float(body.get("avgPrice") or 0) or None,
            str(body["orderId"]),
        )

    async def cancel(self, order: Order) -> Seen:
        "Take an order back; what it did before that is looked up. Cancelling twice does no harm."
        stop = order.type == "STOP_MARKET"
        try:
            if stop:
                await self.ask(lambda: self.client.fapiPrivateDeleteAlgoOrder(dict(clientAlgoId=order.client_id)))
                return Seen("cancelled", order.venue_id or "")
            return await self.seen(
                await self.ask(lambda: self.client.fapiPrivateDeleteOrder(dict(symbol=order.symbol, origClientOrderId=order.client_id)))
            )
        except trouble() as error:
            outcome = self.read_error(error)
            if outcome.kind != GONE:
                log.warning("%s %s: cannot be cancelled: %s", order.symbol, order.client_id, outcome.reason)
                return Seen("unknown", error=outcome.reason)
        seen = await self.look(order)
        return seen._replace(state="cancelled") if seen.state == "absent" else seen

    async def trades(self, symbol: str, **which: Any) -> list[Trade]:
        "Fills in a symbol: of one order (`orderId`), or since a time (`startTime`)."
        rows = await self.ask(lambda: self.client.fapiPrivateGetUserTrades(dict(symbol=symbol, limit=1000, **which)))
        return [
            Trade(
                str(r["id"]),
                str(r["orderId"]),
                1 if r["side"] == "BUY" else -1,
                float(r["price"]),
                float(r["qty"]),
                float(r["commission"]),
                int(r["time"]),
            )
            for r in rows
        ]

    async def balance(self) -> Balance:
        "Equity with open positions at the venue's price, and what is held: one request."
        body = read(await self.ask(lambda: self.client.fapiPrivateV3GetAccount()), "totalMarginBalance", "positions")
        return Balance(
            float(body["totalMarginBalance"]), {p["symbol"]: float(p["positionAmt"]) for p in body["positions"] if float(p["positionAmt"])}
        )

    async def tiers(self, symbols: Collection[str]) -> dict[str, tuple[Tier, ...]]:
        "Maintenance tiers by symbol, as the venue has them for this account."
        rows = await self.ask(lambda: self.client.fapiPrivateGetLeverageBracket())
        found: dict[str, tuple[Tier, ...]] = {}
        for row in rows if isinstance(rows, list) else ():
            steps = read(row, "symbol", "brackets")
            if steps["symbol"] in symbols:
                found[steps["symbol"]] = tuple(
                    Tier(*(float(b[k]) for k in ("notionalFloor", "notionalCap", "maintMarginRatio", "cum"))) for b in steps["brackets"]
                )
        if missing := sorted(set(symbols) - found.keys()):
            raise DataError(f"no maintenance tiers of {', '.join(missing)}")
        return found

    async def stops(self, symbol: str) -> set[str]:
        "Names of the conditional orders that rest in a symbol."
        return {
            str(row.get("clientAlgoId")) for row in await self.ask(lambda: self.client.fapiPrivateGetOpenAlgoOrders(dict(symbol=symbol)))
        }

    async def name_of(self, symbol: str, number: str) -> str:
        "The client id of an order by its number."
        body = await self.ask(lambda: self.client.fapiPrivateGetOrder(dict(symbol=symbol, orderId=number)))
        return str(read(body, "clientOrderId")["clientOrderId"])

    async def check_mode(self, account: str) -> None:
        "Refuse a key that does not work and an account that holds both sides at once."
        try:
            mode = read(await self.ask(lambda: self.client.fapiPrivateGetPositionSideDual()), "dualSidePosition")
        except trouble() as error:
            if self.read_error(error).kind == BROKEN:
                wrong = f"{self.exchange.venue} refuses the key of account {account!r}"
                raise ConfigError(f"{wrong}: set PERPS_VENUE__API_KEY and PERPS_VENUE__SECRET to one that may trade futures") from None
            raise
        if str(mode["dualSidePosition"]).lower() == "true":
            raise ConfigError(f"account {account!r} is in hedge mode at {self.exchange.venue}: switch its position mode to one-way")

    async def prepare(self, symbol: str, leverage: int) -> str:
        "Isolated margin and leverage for a symbol without position; why not, or an empty text."
        pair = self.exchange.pairs[symbol]
        for call in (lambda: self.client.set_margin_mode("isolated", pair), lambda: self.client.set_leverage(leverage, pair)):
            try:
                await self.ask(call)
            except trouble() as error:
                if UNCHANGED not in str(error):
                    return str(error)[:300]
        return ""
