"Orders and conditional orders, and how both look on the wire."
from dataclasses import dataclass

from perps_kit.exchange.filters import Filters
from perps_kit.exchange.wire import decimals, exact

OPEN = ("NEW", "PARTIALLY_FILLED")
STOPS, TAKES = ("STOP", "STOP_MARKET"), ("TAKE_PROFIT", "TAKE_PROFIT_MARKET")
CONDITIONAL = (*STOPS, *TAKES)


def side_name(side: int) -> str: return "BUY" if side > 0 else "SELL"


@dataclass(slots=True)
class Order:
    "An order in the book, or on its way to the next price."
    id: int
    client_id: str
    symbol: str
    side: int
    type: str                   # MARKET, LIMIT, LIQUIDATION
    quantity: float
    price: float = 0.0
    tif: str = "GTC"
    reduce_only: bool = False
    close_position: bool = False
    time: int = 0
    update: int = 0
    status: str = "NEW"
    filled: float = 0.0
    average: float = 0.0
    origin: str = ""            # type of the conditional order it came from
    trigger: float = 0.0
    algo: int = 0               # its id

    @property
    def left(self) -> float: return self.quantity - self.filled

    def rest(self, f: Filters) -> dict:
        "The body of a REST answer."
        p, q = decimals(f.tick), decimals(f.step)
        return {"orderId": self.id, "symbol": self.symbol, "status": self.status, "clientOrderId": self.client_id,
                "price": exact(self.price, p), "avgPrice": exact(self.average, p),
                "origQty": exact(self.quantity, q), "executedQty": exact(self.filled, q),
                "cumQuote": exact(self.filled * self.average, p + q), "cumQty": exact(self.filled, q),
                "timeInForce": self.tif, "type": self.type, "reduceOnly": self.reduce_only, "closePosition": self.close_position,
                "side": side_name(self.side), "positionSide": "BOTH",
                "stopPrice": exact(self.trigger, p), "workingType": "CONTRACT_PRICE", "priceProtect": False,
                "origType": self.origin or self.type, "priceMatch": "NONE",
                "selfTradePreventionMode": "EXPIRE_MAKER", "goodTillDate": 0, "time": self.time, "updateTime": self.update}

    def event(self, f: Filters, execution: str, time: int, last: tuple[float, float, float, int, bool, float] | None = None) -> dict:
        "An ORDER_TRADE_UPDATE; `last` is the fill: quantity, price, fee, trade id, whether maker, realised profit."
        p, q = decimals(f.tick), decimals(f.step)
        quantity, price, fee, trade, maker, realised = last or (0.0, 0.0, 0.0, 0, False, 0.0)
        o = {"s": self.symbol, "c": self.client_id, "S": side_name(self.side), "o": self.type, "f": self.tif, "q": exact(self.quantity, q),
             "p": exact(self.price, p), "ap": exact(self.average, p),
             "sp": exact(self.trigger, p), "x": execution, "X": self.status, "i": self.id, "l": exact(quantity, q),
             "z": exact(self.filled, q), "L": exact(price, p), "n": exact(fee, 8), "N": f.quote,
             "T": time, "t": trade, "b": "0", "a": "0", "m": maker, "R": self.reduce_only, "wt": "CONTRACT_PRICE",
             "ot": self.origin or self.type, "ps": "BOTH", "cp": self.close_position,
             "AP": "0", "cr": "0", "pP": False, "si": 0, "ss": 0, "rp": exact(realised, 8), "V": "EXPIRE_MAKER", "pm": "NONE", "gtd": 0}
        return {"e": "ORDER_TRADE_UPDATE", "T": time, "E": time, "o": o}


@dataclass(slots=True)
class Algo:
    "A conditional order: it lives in a namespace of its own until its trigger is touched, then sends an Order."
    id: int
    client_id: str
    symbol: str
    side: int
    type: str                   # one of CONDITIONAL
    quantity: float
    trigger: float
    price: float = 0.0
    tif: str = "GTC"
    reduce_only: bool = False
    close_position: bool = False
    working: str = "CONTRACT_PRICE"
    time: int = 0
    update: int = 0
    status: str = "NEW"
    order: int = 0              # id of what it sent
    triggered: int = 0
    average: float = 0.0
    filled: float = 0.0
    reason: str = ""

    @property
    def rising(self) -> bool:
        "Whether it waits for the price to rise to its trigger."
        return (self.side > 0) == (self.type in STOPS)

    def touched(self, price: float) -> bool: return price >= self.trigger if self.rising else price <= self.trigger

    def rest(self, f: Filters) -> dict:
        "The body of a REST answer."
        p, q = decimals(f.tick), decimals(f.step)
        return {"algoId": self.id, "clientAlgoId": self.client_id, "algoType": "CONDITIONAL", "orderType": self.type, "symbol": self.symbol,
                "side": side_name(self.side), "positionSide": "BOTH",
                "timeInForce": self.tif, "quantity": exact(self.quantity, q), "algoStatus": self.status,
                "actualOrderId": str(self.order) if self.order else "", "actualPrice": exact(self.average, p),
                "triggerPrice": exact(self.trigger, p), "price": exact(self.price, p), "icebergQuantity": None, "tpTriggerPrice": "0",
                "tpPrice": "0", "slTriggerPrice": "0", "slPrice": "0",
                "tpOrderType": "", "selfTradePreventionMode": "EXPIRE_MAKER", "workingType": self.working, "priceMatch": "NONE",
                "closePosition": self.close_position, "priceProtect": False,
                "reduceOnly": self.reduce_only, "createTime": self.time, "updateTime": self.update, "triggerTime": self.triggered,
                "goodTillDate": 0}

    def event(self, f: Filters, time: int) -> dict:
        "An ALGO_UPDATE."
        p, q = decimals(f.tick), decimals(f.step)
        o = {"caid": self.client_id, "aid": self.id, "at": "CONDITIONAL", "o": self.type, "s": self.symbol, "S": side_name(self.side),
             "ps": "BOTH", "f": self.tif, "q": exact(self.quantity, q),
             "X": self.status, "ai": str(self.order) if self.order else "", "ap": exact(self.average, p), "aq": exact(self.filled, q),
             "act": "MARKET" if self.order else "0", "tp": exact(self.trigger, p),
             "p": exact(self.price, p), "V": "EXPIRE_MAKER", "wt": self.working, "pm": "NONE", "cp": self.close_position, "pP": False,
             "R": self.reduce_only, "tt": self.triggered, "gtd": 0, "rm": self.reason}
        return {"e": "ALGO_UPDATE", "T": time, "E": time, "o": o}
