"The exit ladder and the venue on the same candles: a service that keeps orders for the ladder gets the ladder's own prices."
from math import isnan

import numpy as np
import pytest
from venue_kit import SPAN, T0

from perps_kit.core.bar import Bars
from perps_kit.core.money import floor_to
from perps_kit.core.signal import SCALP, SINGLE, STANDARD, TRIPLE
from perps_kit.exchange.filters import Filters
from perps_kit.exchange.wire import text
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.plan import CANCELLED, CLOSED
from runners.venue import Venue
from runners.venue import trading as desk

GRID = Filters("BTCUSDT", 0.1, 0.001, 0.001)


def rough(seed: int, n: int = 1500) -> Bars:
    "Candles with gaps, long wicks and flat ones."
    r = np.random.default_rng(seed)
    close = 1000 * np.exp(np.cumsum(r.standard_t(3, n) * 0.004))
    opened = np.r_[1000, close[:-1]] * np.where(r.random(n) < 0.15, 1 + r.normal(0, 0.006, n), 1.0)
    high, low = np.maximum(opened, close) * (1 + r.exponential(0.003, n)), np.minimum(opened, close) * (1 - r.exponential(0.003, n))
    flat = r.random(n) < 0.03
    close, high, low = (np.where(flat, opened, x) for x in (close, high, low))
    return Bars.from_columns("BTCUSDT", 15, T0 + np.arange(n) * SPAN, *(np.round(x, 1) for x in (opened, high, low, close)),
                             r.uniform(1, 9, n))


class Keeper:
    "The smallest executor: what the ladder says at a close, said to the venue's desk."

    def __init__(self, venue: Venue, ladder: Ladder) -> None:
        self.venue, self.account, self.ladder, self.plan, self.version = venue, venue.accounts[venue.key], ladder, ladder.plan, 0
        self.enter, self.exit = ("BUY", "SELL") if ladder.plan.side > 0 else ("SELL", "BUY")

    def order(self, side: str, kind: str, quantity: float, **more) -> None:
        body = {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": text(quantity, GRID.step), **more}
        desk.place(self.venue, self.account, body)

    def stop(self) -> None:
        "Put the stop where the ladder has it, for what is left."
        for algo in list(self.account.open_algos.get("BTCUSDT", ())): self.venue.matching.end_algo(self.account, algo, "CANCELED")
        left = abs(self.account.position("BTCUSDT").quantity)
        body = {"symbol": "BTCUSDT", "side": self.exit, "type": "STOP_MARKET", "algoType": "CONDITIONAL", "reduceOnly": "true"}
        desk.place_algo(self.venue, self.account, body | {"quantity": text(left, GRID.step),
                                                          "triggerPrice": text(self.ladder.levels.stop, GRID.tick)})

    def protect(self, entry: float) -> None:
        "After the entry's fill: the stop and the targets."
        now = self.ladder.filled(entry, self.venue.time)
        self.stop()
        for name, weight in (("t1", self.plan.w1), ("t2", self.plan.w2), ("t3", self.plan.w3)):
            price = getattr(now.levels, name)
            if not isnan(price) and weight:
                self.order(self.exit, "LIMIT", floor_to(weight * self.plan.quantity + GRID.step / 2, GRID.step),
                           price=text(price, GRID.tick), reduceOnly="true")

    def close(self, bar) -> bool:
        "A closed bar; whether the position goes on."
        before = self.ladder
        self.ladder, _ = before.update(bar)
        if self.ladder.state >= CLOSED: return False
        if self.ladder.leaving: self.order(self.exit, "MARKET", abs(self.account.position("BTCUSDT").quantity), reduceOnly="true")
        elif self.ladder.levels.stop != before.levels.stop: self.stop()
        return True


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("preset", [STANDARD, SCALP, TRIPLE, SINGLE])
def test_every_fill_is_the_ladders(seed, preset):
    bars = rough(100 * preset + seed)
    venue = Venue([bars], start=int(bars.open_time[5]), filters={"BTCUSDT": GRID}, balance=1e7)
    keeper, i, trades, account = None, 5, 0, venue.accounts[venue.key]
    side, got = 1, []
    while venue.time < venue.end:
        if keeper is None and i % 3 == 0:
            price, atr = float(bars.close[i - 1]), 8.0
            ladder = Ladder.of(side, price, price - side * 1.5 * atr, atr, preset, GRID.tick, GRID.step, 1.234, GRID.min_quantity,
                               time=venue.time)
            if side * (float(bars.open[i]) - ladder.plan.stop) >= 0.25 * abs(price - ladder.plan.stop):      # else a gap calls it off
                keeper, got = Keeper(venue, ladder), []
                keeper.order(keeper.enter, "MARKET", 1.234)
            side = -side
        venue.open_bar()
        got += [f["price"] for f in venue.filled]
        if keeper and isnan(keeper.ladder.fills.entry): keeper.protect(venue.filled[0]["price"])
        venue.trade_bar()
        got += [f["price"] for f in venue.filled]
        if keeper and not keeper.close(bars[i]):
            f = keeper.ladder.fills
            assert keeper.ladder.state != CANCELLED and account.position("BTCUSDT").quantity == 0.0
            assert got == [x for x in (f.entry, f.x1, f.x2, f.x3, f.out) if not isnan(x)], (bars[i], keeper.ladder)
            for algo in list(account.open_algos.get("BTCUSDT", ())): venue.matching.end_algo(account, algo, "CANCELED")
            assert not account.open_orders["BTCUSDT"]
            keeper, trades = None, trades + 1
        i += 1
    assert trades > 30
