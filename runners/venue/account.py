"One account: wallet, one-way positions, margin, and the books of what happened in it."
from dataclasses import dataclass

from perps_kit.core.money import floor_to
from perps_kit.exchange.filters import Filters
from perps_kit.exchange.wire import decimals, exact
from perps_kit.risk.liquidation import TYPICAL, bankruptcy_price, liquidation_price
from runners.venue.orders import Algo, Order

TAKER, MAKER = 0.0005, 0.0002
LEVERAGES = (125, 100, 50, 20, 10)      # largest leverage of each tier


def maintenance(notional: float) -> float:
    "Maintenance margin of a position of that value."
    for tier in TYPICAL:
        if notional <= tier.cap: return notional * tier.mmr - tier.cum
    return notional * TYPICAL[-1].mmr - TYPICAL[-1].cum


def largest_position(leverage: int) -> float:
    "The notional value that a leverage allows."
    return max(tier.cap for tier, most in zip(TYPICAL, LEVERAGES,
                                              strict=True) if most >= leverage) if leverage <= LEVERAGES[0] else TYPICAL[0].cap


def on_step(x: float, step: float) -> float:
    "The multiple of the step nearest to x, as the float nearest to its decimal text."
    return floor_to(x + step / 2, step) + 0.0


@dataclass(slots=True)
class Position:
    "What is held in one symbol; quantity is signed."
    symbol: str
    quantity: float = 0.0
    entry: float = 0.0
    margin: float = 0.0         # isolated wallet
    isolated: bool = False
    leverage: int = 20
    realised: float = 0.0       # before fees, since the account began
    update: int = 0


class Account:
    "Wallet, positions and orders behind one API key."

    def __init__(self, key: str, secret: str, balance: float) -> None:
        self.key, self.secret, self.wallet = key, secret, balance
        self.positions: dict[str, Position] = {}
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, Algo] = {}
        self.open_orders: dict[str, list[Order]] = {}
        self.open_algos: dict[str, list[Algo]] = {}
        self.trades: list[dict] = []
        self.income: list[dict] = []
        self.listen_keys: dict[str, float] = {}
        self.update = 0

    def position(self, symbol: str) -> Position:
        if symbol not in self.positions: self.positions[symbol] = Position(symbol)
        return self.positions[symbol]

    def apply(self, symbol: str, change: float, price: float, fee: float, step: float, time: int) -> float:
        "Book a fill of signed quantity; returns the realised profit. Quantities stay on the step, so that a closed position is exactly 0."
        p = self.position(symbol)
        before, realised = p.quantity, 0.0
        after = on_step(before + change, step)
        if before * change >= 0:
            p.entry = (p.entry * abs(before) + price * abs(change)) / (abs(before) + abs(change))
            if p.isolated: p.margin += abs(change) * price / p.leverage
        else:
            closed = min(abs(before), abs(change))
            realised = closed * (price - p.entry) * (1 if before > 0 else -1)
            if p.isolated: p.margin = p.margin * (1 - closed / abs(before)) if after * before > 0 else 0.0
            if after * before < 0:
                p.entry = price
                if p.isolated: p.margin = abs(after) * price / p.leverage
            if after == 0.0: p.entry = 0.0
        p.quantity, p.update, self.update = after, time, time
        p.realised += realised
        self.wallet += realised - fee
        return realised

    def charge(self, symbol: str, amount: float) -> None:
        "Move the wallet (and an isolated position's margin) by funding."
        self.wallet += amount
        p = self.position(symbol)
        if p.isolated: p.margin += amount

    def note_income(self, kind: str, symbol: str, amount: float, asset: str, time: int, info: str = "") -> None:
        number = len(self.income) + 1
        self.income.append({"symbol": symbol, "incomeType": kind, "income": f"{amount:.8f}", "asset": asset, "info": info or kind,
                            "time": time, "tranId": number, "tradeId": info})

    def note_trade(self, order: Order, f: Filters, trade: int, quantity: float, price: float, fee: float, maker: bool, realised: float,
                   time: int) -> None:
        p, q = decimals(f.tick), decimals(f.step)
        self.trades.append({"symbol": order.symbol, "id": trade, "orderId": order.id, "side": "BUY" if order.side > 0 else "SELL",
                            "price": exact(price, p), "qty": exact(quantity, q),
                            "realizedPnl": exact(realised, 8), "marginAsset": f.quote, "quoteQty": exact(quantity * price, p + q),
                            "commission": exact(fee, 8), "commissionAsset": f.quote,
                            "time": time, "positionSide": "BOTH", "buyer": order.side > 0, "maker": maker})

    def profit(self, price_of) -> float:
        "Unrealised profit of all positions."
        total = 0.0
        for p in self.positions.values():
            if p.quantity: total += p.quantity * (price_of(p.symbol) - p.entry)
        return total

    def held_margin(self, price_of) -> float:
        "Initial margin of all positions."
        return sum(p.margin if p.isolated else abs(p.quantity) * price_of(p.symbol) / p.leverage for p in self.positions.values()
                   if p.quantity)

    def available(self, price_of) -> float:
        "What a new order's margin may take."
        cross = sum(p.quantity * (price_of(p.symbol) - p.entry) for p in self.positions.values() if p.quantity and not p.isolated)
        return max(0.0, self.wallet + min(0.0, cross) - self.held_margin(price_of))

    def liquidation(self, symbol: str) -> float:
        """The price at which the position in a symbol is taken over, 0 for none (quant_spec E4; a cross position counts with the whole
        wallet)."""
        p = self.positions.get(symbol)
        if p is None or not p.quantity or abs(p.quantity) * p.entry > TYPICAL[-1].cap: return 0.0
        price = liquidation_price(1 if p.quantity > 0 else -1, abs(p.quantity), p.entry, p.margin if p.isolated else self.wallet, TYPICAL)
        return 0.0 if price != price else price

    def bankruptcy(self, symbol: str) -> float:
        "The price at which a position's margin is gone: what a liquidation costs."
        p = self.position(symbol)
        return bankruptcy_price(1 if p.quantity > 0 else -1, abs(p.quantity), p.entry, p.margin if p.isolated else self.wallet)
