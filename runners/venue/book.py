"A symbol's order book: made up around the last price, but with update ids that hang together as the real ones do."
from typing import TYPE_CHECKING
from zlib import crc32

from perps_kit.core.money import floor_to
from perps_kit.exchange.wire import exact

if TYPE_CHECKING:
    from runners.venue.market import Market

LEVELS = 100


class Book:
    """Price levels as whole ticks. Quantities follow from symbol, level and price alone, so that a replay repeats itself.

    A snapshot bears an id one above the last event's, and the next event begins with that id: what the venue's own manual asks of a
    client's sync (U <= lastUpdateId <= u) holds.
    """

    def __init__(self, market: "Market") -> None:
        self.market = market
        self.centre = 0
        self.bids: dict[int, float] = {}
        self.asks: dict[int, float] = {}
        self.bids_changed: dict[int, float] = {}
        self.asks_changed: dict[int, float] = {}
        self.last_id = crc32(market.symbol.encode()) % 1_000_000 + 1_000_000

    def refresh(self) -> None:
        "Move the levels to the last price; what changed waits for the next event."
        centre = int(self.market.last / self.market.filters.tick + 0.5)
        if centre == self.centre: return
        self.centre = centre
        bids = {centre - k: self._size(centre - k) for k in range(LEVELS) if centre - k > 0}
        asks = {centre + 1 + k: self._size(centre + 1 + k) for k in range(LEVELS)}
        for old, new, waiting in ((self.bids, bids, self.bids_changed), (self.asks, asks, self.asks_changed)):
            waiting.update((k, 0.0) for k in old if k not in new)
            waiting.update((k, v) for k, v in new.items() if old.get(k) != v)
        self.bids, self.asks = bids, asks

    def _size(self, level: int) -> float:
        f = self.market.filters
        share = crc32(b"%d" % level) % 97 + 3
        return max(f.step, floor_to(share * 100.0 / self.market.last, f.step))

    def _rows(self, side: dict[int, float], falling: bool, limit: int | None = None) -> list[list[str]]:
        m = self.market
        return [[exact(floor_to(k * m.filters.tick, m.filters.tick), m.digits), exact(side[k], m.steps)] for k in sorted(side,
                reverse=falling)[:limit]]

    def snapshot(self, limit: int, time: int) -> dict:
        "The body of /depth."
        self.refresh()
        return {"lastUpdateId": self.last_id + 1, "E": time, "T": time, "bids": self._rows(self.bids, True, limit),
                "asks": self._rows(self.asks, False, limit)}

    def event(self, time: int, skip: bool = False) -> dict | None:
        "A depthUpdate since the last one, or None if nothing moved; `skip` breaks the chain of ids as a lost message would."
        self.refresh()
        bids, asks = self.bids_changed, self.asks_changed
        if not bids and not asks: return None
        self.bids_changed, self.asks_changed = {}, {}
        if skip: self.last_id += 50
        before, self.last_id = self.last_id, self.last_id + len(bids) + len(asks)
        return {"e": "depthUpdate", "E": time, "T": time, "s": self.market.symbol, "ps": self.market.symbol, "st": 1, "U": before + 1,
                "u": self.last_id, "pu": before,
                "b": self._rows(bids, True), "a": self._rows(asks, False)}

    def top(self) -> tuple[list[str], list[str]]:
        "Best bid and ask, each as [price, quantity]."
        centre = int(self.market.last / self.market.filters.tick + 0.5)
        return self._rows({centre: self._size(centre)}, True)[0], self._rows({centre + 1: self._size(centre + 1)}, False)[0]
