"""Fills: what a price, or a price's move, does to the orders of one account in one symbol.

Market orders fill at the price through `core.money.fill`, 2 bp against an entry and 5 bp against an order that only reduces. A
conditional order that the price reaches fills
at its trigger with 5 bp; one that the open has already passed fills at the open, as it is. Limit orders rest, and fill at their own
price. What a position no longer covers is clipped
or expires. A triggered order keeps its conditional order's client id, so that one name follows it from placement to fill.
"""
from typing import TYPE_CHECKING

from perps_kit.core.money import fill
from runners.venue.account import MAKER, TAKER, Account, on_step
from runners.venue.market import Market
from runners.venue.orders import CONDITIONAL, OPEN, Algo, Order
from runners.venue.refusal import Refusal

if TYPE_CHECKING:
    from runners.venue.venue import Venue

ENTRY_BP, CLOSE_BP = 2.0, 5.0


class Matching:
    "The venue's hands: every change of an order or position goes through here and leaves its events."

    def __init__(self, venue: "Venue", pieces: int = 1) -> None:
        self.venue, self.pieces, self.trade_id = venue, pieces, 1000

    def market_order(self, account: Account, order: Order, price: float) -> None:
        "Fill a market order at the price that is now."
        m = self.venue.markets[order.symbol]
        if order.reduce_only and not self._clip(account, order): return
        self.take(account, order, fill(price, order.side, CLOSE_BP if order.reduce_only else ENTRY_BP, m.filters.tick))

    def take(self, account: Account, order: Order, price: float, maker: bool = False) -> None:
        "Fill what is left of an order, in `pieces` parts."
        step = self.venue.markets[order.symbol].filters.step
        parts, left = [], order.left
        for k in range(self.pieces, 1, -1):
            part = on_step(left / k - step / 2, step)
            if part > 0: parts.append(part)
            left = on_step(left - part, step)
        for part in (*parts, left): self._fill(account, order, part, price, maker)

    def _fill(self, account: Account, order: Order, quantity: float, price: float, maker: bool) -> None:
        v, m = self.venue, self.venue.markets[order.symbol]
        f, time = m.filters, v.time
        fee = quantity * price * (MAKER if maker else TAKER)
        realised = account.apply(order.symbol, order.side * quantity, price, fee, f.step, time)
        order.average = price if not order.filled else (order.average * order.filled + price * quantity) / (order.filled + quantity)
        order.filled = on_step(order.filled + quantity, f.step)
        order.update, order.status = time, "FILLED" if order.left < f.step / 2 else "PARTIALLY_FILLED"
        self.trade_id += 1
        account.note_trade(order, f, self.trade_id, quantity, price, fee, maker, realised, time)
        account.note_income("COMMISSION", order.symbol, -fee, f.quote, time, str(self.trade_id))
        if realised: account.note_income("REALIZED_PNL", order.symbol, realised, f.quote, time, str(self.trade_id))
        if order.status == "FILLED": self._close(account, order)
        v.filled.append({"symbol": order.symbol, "clientOrderId": order.client_id, "orderId": order.id, "tradeId": self.trade_id,
                         "price": price, "quantity": quantity, "side": order.side})
        v.tell(account, order.event(f, "TRADE", time, (quantity, price, fee, self.trade_id, maker, realised)))
        v.tell_account(account, "ORDER", order.symbol)
        if order.algo and order.status == "FILLED":
            algo = account.algos[order.algo]
            algo.average, algo.filled, algo.status, algo.update = order.average, order.filled, "FINISHED", time
            v.tell(account, algo.event(f, time))
        if not account.position(order.symbol).quantity: self._expire_reducing(account, order.symbol)

    def _clip(self, account: Account, order: Order) -> bool:
        "Cut a reducing order to the position; without one it expires, and False is said."
        held = account.position(order.symbol).quantity
        if held * order.side >= 0:
            self.end(account, order, "EXPIRED")
            return False
        if order.left > abs(held): order.quantity = on_step(order.filled + abs(held), self.venue.markets[order.symbol].filters.step)
        return True

    def _expire_reducing(self, account: Account, symbol: str) -> None:
        for order in [o for o in account.open_orders.get(symbol, ()) if o.reduce_only and o.type == "LIMIT"]:
            self.end(account, order, "EXPIRED")
        for algo in [a for a in account.open_algos.get(symbol, ()) if a.close_position]: self.end_algo(account, algo, "EXPIRED")

    def end(self, account: Account, order: Order, status: str) -> None:
        "Cancel or expire an order."
        order.status, order.update = status, self.venue.time
        self._close(account, order)
        self.venue.tell(account, order.event(self.venue.markets[order.symbol].filters, status, self.venue.time))

    def end_algo(self, account: Account, algo: Algo, status: str, reason: str = "") -> None:
        "Cancel, expire or reject a conditional order."
        algo.status, algo.update, algo.reason = status, self.venue.time, reason
        self._close_algo(account, algo)
        self.venue.tell(account, algo.event(self.venue.markets[algo.symbol].filters, self.venue.time))

    @staticmethod
    def _close(account: Account, order: Order) -> None:
        rows = account.open_orders.get(order.symbol, [])
        if order in rows: rows.remove(order)

    @staticmethod
    def _close_algo(account: Account, algo: Algo) -> None:
        rows = account.open_algos.get(algo.symbol, [])
        if algo in rows: rows.remove(algo)

    def trigger(self, account: Account, algo: Algo, price: float, slipped: bool) -> None:
        "A conditional order's moment: it becomes an order, at `price` or 5 bp beyond it."
        v, m = self.venue, self.venue.markets[algo.symbol]
        f, time, held = m.filters, v.time, account.position(algo.symbol).quantity
        algo.triggered = algo.update = time
        algo.status = "TRIGGERING"
        v.tell(account, algo.event(f, time))
        if algo.close_position: algo.quantity = abs(held)
        if (algo.reduce_only or algo.close_position) and held * algo.side >= 0:
            return self.end_algo(account, algo, "REJECTED", "Reduce Only reject")
        limit = algo.type in ("STOP", "TAKE_PROFIT")
        order = Order(v.next_id(), algo.client_id, algo.symbol, algo.side, "LIMIT" if limit else "MARKET", algo.quantity, algo.price,
                      algo.tif, algo.reduce_only or algo.close_position, algo.close_position,
                      time, time, origin=algo.type, trigger=algo.trigger, algo=algo.id)
        account.orders[order.id] = order
        self._close_algo(account, algo)
        algo.order, algo.status = order.id, "TRIGGERED"
        v.tell(account, algo.event(f, time))
        v.tell(account, order.event(f, "NEW", time))
        account.open_orders.setdefault(order.symbol, []).append(order)
        if order.reduce_only and not self._clip(account, order): return
        if not limit: self.take(account, order, fill(price, order.side, CLOSE_BP if slipped else 0.0, f.tick))

    def gap(self, account: Account, m: Market, price: float, resting: bool) -> None:
        """The price jumps (an open): liquidation first, then stops that it passed, at the price itself; with `resting`, limit orders that
        it passed, at their own."""
        level = account.liquidation(m.symbol)
        held = account.position(m.symbol).quantity if level else 0.0
        if level and (price <= level if held > 0 else price >= level): self._liquidate(account, m)
        for algo in [a for a in account.open_algos.get(m.symbol, ()) if a.touched(price)]:
            if algo.status == "NEW" and (resting or algo.type not in ("TAKE_PROFIT", "TAKE_PROFIT_MARKET")):
                self.trigger(account, algo, price, False)
        if not resting: return
        for order in self._limits(account, m.symbol):
            if order.status in OPEN and (price <= order.price if order.side > 0 else price >= order.price): self._rest_fill(account, order)

    def move(self, account: Account, m: Market, start: float, end: float) -> None:
        "The price goes from start to end, touching everything between, nearest first; what another's fill ended is passed over."
        symbol, up, down = m.symbol, end >= start, end <= start
        if not account.open_orders.get(symbol) and not account.open_algos.get(symbol) and not account.position(symbol).quantity: return
        touched: list[tuple[float, int, Order | Algo | None]] = []
        for algo in account.open_algos.get(symbol, ()):
            if (up if algo.rising else down) and algo.touched(end): touched.append((algo.trigger, 0, algo))
        for order in self._limits(account, symbol):
            if (up and end >= order.price) if order.side < 0 else (down and end <= order.price): touched.append((order.price, 1, order))
        level, short = account.liquidation(symbol), account.position(symbol).quantity < 0
        if level and ((up and end >= level) if short else (down and end <= level)): touched.append((level, 2, None))
        for price, _, what in sorted(touched, key=lambda t: (t[0] if up else -t[0], t[1])):
            if isinstance(what, Algo):
                if what.status == "NEW": self.trigger(account, what, price, True)
            elif isinstance(what, Order):
                if what.status in OPEN: self._rest_fill(account, what)
            elif account.liquidation(symbol) == level: self._liquidate(account, m)

    def _limits(self, account: Account, symbol: str) -> list[Order]:
        return [o for o in account.open_orders.get(symbol, ()) if o.type == "LIMIT" and o.status in OPEN]

    def _rest_fill(self, account: Account, order: Order) -> None:
        if order.reduce_only and not self._clip(account, order): return
        self.take(account, order, order.price, maker=True)

    def _liquidate(self, account: Account, m: Market) -> None:
        v, p = self.venue, account.position(m.symbol)
        price = max(m.filters.tick, fill(account.bankruptcy(m.symbol), -1 if p.quantity > 0 else 1, 0.0, m.filters.tick))
        order = Order(v.next_id(), f"autoclose-{v.time}", m.symbol, -1 if p.quantity > 0 else 1, "LIQUIDATION", abs(p.quantity), price,
                      "IOC", True, False, v.time, v.time)
        account.orders[order.id] = order
        v.tell(account, order.event(m.filters, "NEW", v.time))
        self.take(account, order, price)

    def settle(self, account: Account, symbol: str, rate: float, cash: float, time: int) -> None:
        "Funding of one settlement on what is held."
        p = account.positions.get(symbol)
        if p is None or not p.quantity: return
        amount = -p.quantity * cash
        account.charge(symbol, amount)
        account.note_income("FUNDING_FEE", symbol, amount, self.venue.markets[symbol].filters.quote, time, "FUNDING_FEE")
        self.venue.tell_account(account, "FUNDING_FEE", symbol)


def check_conditional(kind: str) -> None:
    "The conditional types that the venue plays."
    if kind not in CONDITIONAL: raise Refusal(-1116, f"Invalid orderType: the replay venue plays {', '.join(CONDITIONAL)}.")
