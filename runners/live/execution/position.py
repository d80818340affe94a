"One position of an account: its ladder, its orders and what the venue says was traded for them."

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isnan

from perps_kit.core.money import floor_to
from perps_kit.core.stream import Step
from perps_kit.engine.engine import Paid, paid_in
from perps_kit.exchange.account import Legs, Sale, average, entered, gapped, legs_of, step_on_fills
from perps_kit.exchange.filters import Filters
from perps_kit.exchange.orders import Resting, Wanted, client_id, close_order, difference, protection
from perps_kit.storage.models import Fill, Order
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.plan import CANCELLED, CLOSED, GAP_THROUGH_STOP, MANUAL, OPPOSITE, PENDING
from runners.live.execution.answers import Seen

UNSURE = ("intended", "unknown")  # it may be at the venue or not
LIVE = (*UNSURE, "open", "cancelling")  # may still trade
FOREIGN = {"liq": "liquidation", "ext": "foreign"}  # trades by no order of ours, by the first word of the client id they are kept under


@dataclass(eq=False)
class Position:
    "One followed signal. Changes wait here until the ledger writes them; a program that dies before that reads them from the venue again."

    account: str
    account_id: int
    id: str  # the signal's
    strategy: str
    symbol: str
    minutes: int  # of the bars that its ladder steps on
    filters: Filters
    ladder: Ladder
    orders: dict[str, Order] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)  # the venue's number of the order that trades, by client id
    backlog: list[tuple[Step, tuple[float, float]]] = field(default_factory=list)  # closed bars whose trades are not known yet
    known: bool = True  # whether the trades up to the last look are all here
    dirty: set[str] = field(default_factory=set)  # orders and fills to be written

    @property
    def side(self) -> int:
        return self.ladder.plan.side

    @property
    def live(self) -> list[Order]:
        return [o for o in self.orders.values() if o.state in LIVE]

    @property
    def over(self) -> bool:
        "Nothing is held and nothing can trade any more."
        return self.ladder.state >= CLOSED and not self.live

    @property
    def bought(self) -> float:
        "Quantity of the entry: of its fills, or as its order tells while those are not here yet."
        entry = self.newest("entry")
        return self._grid(max(entry.filled, self.traded(entry.client_id))) if entry else 0.0

    @property
    def left(self) -> float:
        "Quantity in the market, by the fills."
        return self._grid(self.bought - sum(f.quantity for f in self.fills.values() if f.side != self.side))

    @property
    def incomplete(self) -> list[Order]:
        "Orders that have traded more than the fills that are here."
        return [o for o in self.orders.values() if o.filled > self.traded(o.client_id) + self.filters.step / 2]

    def _grid(self, quantity: float) -> float:
        return floor_to(quantity + self.filters.step / 2, self.filters.step)

    def kind(self, fill: Fill) -> str:
        "What a fill was for."
        order = self.orders.get(fill.client_id)
        return order.kind if order else FOREIGN.get(fill.client_id.split("-")[0], "foreign")

    @property
    def awaited(self) -> bool:
        "Whether the venue should have news of it: an order with an unknown fate, a market order under way, fills that are not here."
        return any(o.state in UNSURE or (o.state == "open" and o.type == "MARKET") for o in self.orders.values()) or bool(self.incomplete)

    def traded(self, name: str) -> float:
        return sum(f.quantity for f in self.fills.values() if f.client_id == name)

    def newest(self, kind: str) -> Order | None:
        return max((o for o in self.orders.values() if o.kind == kind), key=lambda o: o.version, default=None)

    def intend(self, wish: Wanted, now: int) -> Order:
        "An order that is meant to be sent, under a name that follows from what it is for."
        before = self.newest(wish.kind)
        version = before.version + 1 if before else 0
        stop, limit = wish.type == "STOP_MARKET", wish.type == "LIMIT"
        order = Order(
            client_id=client_id(self.account, self.id, wish.kind, version),
            account_id=self.account_id,
            signal_id=self.id,
            symbol=self.symbol,
            kind=wish.kind,
            version=version,
            side=wish.side,
            type=wish.type,
            quantity=wish.quantity,
            price=wish.level if limit else None,
            trigger=wish.level if stop else None,
            reduce_only=wish.reduce_only,
            state="intended",
            venue_id=None,
            filled=0.0,
            average=None,
            created_at=now,
            updated_at=now,
            error=None,
        )
        self.orders[order.client_id] = order
        self.dirty.add(order.client_id)
        return order

    def note(self, order: Order, seen: Seen) -> None:
        "What the venue said of an order."
        state = seen.state
        if state == "absent":  # never came; or so old that the venue has forgotten it
            state = "intended" if order.state in UNSURE else "cancelled"
        elif state == "open" and order.state == "cancelling":
            state = "cancelling"
        elif state == "unknown" and order.state in ("open", "cancelling"):
            state = order.state  # not reached: nothing new
        order.state, order.venue_id = state, seen.venue_id or order.venue_id
        order.filled, order.average, order.error = max(order.filled, seen.filled), seen.average or order.average, seen.error or None
        if seen.number:
            self.numbers[order.client_id] = seen.number
        self.dirty.add(order.client_id)

    def enter(self, now: int) -> None:
        "Take the entry from the fills once its order can trade no more; call it off where nothing was filled."
        order = self.newest("entry")
        if self.ladder.state != PENDING or order is None or order.state in LIVE:
            return
        if not self.bought:
            self.ladder = self.ladder.leave(MANUAL)
            return
        mine = [Sale("entry", f.price, f.quantity, f.time) for f in self.fills.values() if f.client_id == order.client_id]
        if order in self.incomplete:  # the stop does not wait for the trades
            if order.average is None:
                return
            mine = [Sale("entry", order.average, order.filled, mine[0].time if mine else now)]
        first = min(t.time for t in mine)
        self.ladder = entered(self.ladder, average(mine), self.bought, first, self.filters.step, self.filters.min_quantity)
        if gapped(self.ladder):
            self.ladder = self.ladder.leave(GAP_THROUGH_STOP)

    def legs(self, until: int) -> Legs:
        "What was sold before a time."
        sales = [Sale(self.kind(f), f.price, f.quantity, f.time) for f in self.fills.values() if f.side != self.side]
        limits = sorted((o for o in self.orders.values() if o.type == "LIMIT"), key=lambda o: -o.version)
        whole = {o.kind: o.quantity for o in limits}  # the first one's; a later one is for a rest
        return legs_of(sales, whole, self.bought, self.filters.step, until)

    def learn(self, steps: Iterable[Step], paid: Paid) -> None:
        "Bars of its own that closed, and decisions to leave that fell between two of them."
        for step in steps:
            bar = step.closed.get(self.minutes)
            if bar:
                self.backlog.append((step._replace(bar=bar), paid_in(paid, self.symbol, bar)))
            elif step.leaves.get(self.strategy, 0) == self.side:
                self.ladder = self.ladder.leave(OPPOSITE)

    def advance(self) -> list[tuple[Ladder, Ladder]]:
        "Step the ladder over the bars whose trades are known: each time before and after."
        moves = []
        while self.backlog and self.known and self.ladder.state != PENDING:
            step, paid = self.backlog.pop(0)
            before = self.ladder
            after = step_on_fills(before, step.bar, *paid, self.legs(step.bar.close_time))
            if after is not before and step.leaves.get(self.strategy, 0) == self.side:
                after = after.leave(OPPOSITE)
            if after is not before:
                self.ladder = after
                moves.append((before, after))
        if self.ladder.state >= CLOSED:
            self.backlog.clear()
        return moves

    def wanted(self) -> list[Wanted]:
        "What should rest at the venue now."
        ladder, left = self.ladder, self.left
        if ladder.state in (PENDING, CANCELLED) or left <= 0.0:
            return []
        if ladder.leaving or ladder.state >= CLOSED:  # what protects it stays until it is out
            resting = [
                Wanted(o.kind, o.type, o.side, o.quantity, level(o))
                for o in self.orders.values()
                if o.state in ("open", "intended", "unknown") and o.kind not in ("entry", "close")
            ]
            return [close_order(ladder.plan, left), *resting]
        return [wish for wish in map(self.unsold, protection(ladder, left, self.filters.step)) if wish.quantity > 0.0]

    def unsold(self, wish: Wanted) -> Wanted:
        "A target without what it has sold since the last close, which the ladder will hear of at the next."
        sold = sum(f.quantity for f in self.fills.values() if self.kind(f) == wish.kind) if wish.type == "LIMIT" else 0.0
        return wish._replace(quantity=self._grid(wish.quantity - sold)) if sold else wish

    def arrange(self, now: int) -> None:
        "Make what rests what is wanted: new intentions, and orders to be cancelled."
        resting = [
            Resting(o.client_id, o.kind, level(o)) for o in self.orders.values() if o.state in ("open", *UNSURE) and o.kind != "entry"
        ]
        place, cancel = difference(self.wanted(), resting)
        for wish in place:
            self.intend(wish, now)
        for name in cancel:
            order = self.orders[name]
            order.state = "cancelling"
            self.dirty.add(name)


def level(order: Order) -> float:
    "A limit's price or a stop's trigger; nan for a market order."
    found = order.trigger if order.price is None else order.price
    return float("nan") if found is None or isnan(found) else found
