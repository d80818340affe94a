"What market streams say, made only for those who listen."
from typing import TYPE_CHECKING

from perps_kit.core.clock import MINUTE, TIMEFRAMES
from perps_kit.exchange.wire import exact
from runners.venue.history import forming, klines
from runners.venue.market import Market

if TYPE_CHECKING:
    from runners.venue.venue import Venue

DEPTHS = (5, 10, 20)


class Feed:
    "Market messages of the venue."

    def __init__(self, venue: "Venue") -> None: self.venue, self.skip_depth = venue, 0

    def closed(self, m: Market) -> None:
        "The candle that has just closed (x=true), with longer timeframes that end with it."
        for name, minutes in TIMEFRAMES.items():
            topic = f"{m.symbol.lower()}@kline_{name}"
            if not self.venue.hub.wanted(topic) or minutes % m.minutes or self.venue.time % (minutes * MINUTE): continue
            rows = klines(m, minutes, self.venue.time - minutes * MINUTE, self.venue.time - 1, 1)
            if rows: self.venue.hub.publish(topic, self._kline(m, name, rows[0], True))

    def forming(self, m: Market) -> None:
        "The candle that trades now (x=false)."
        topic = f"{m.symbol.lower()}@kline_{self.venue.timeframe}"
        if self.venue.hub.wanted(topic): self.venue.hub.publish(topic, self._kline(m, self.venue.timeframe, forming(m), False))

    def _kline(self, m: Market, name: str, row: list, closed: bool) -> dict:
        number = row[0] // m.span * 4
        return {"e": "kline", "E": self.venue.time, "s": m.symbol,
                "k": {"t": row[0], "T": row[6], "s": m.symbol, "i": name, "f": number, "L": number + 3, "o": row[1], "c": row[4],
                      "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": closed,
                      "q": row[7], "V": row[9], "Q": row[10], "B": "0"}}

    def path(self, m: Market, i: int) -> None:
        "Lockstep: the trades of a whole bar, four of them."
        if not any(self.venue.hub.wanted(f"{m.symbol.lower()}@{name}") for name in ("trade", "aggTrade")): return
        for k, (offset, price) in enumerate(m.path(i, True)[:4]):
            self.trade(m, m.opens[i] + offset, price, float(m.bars.volume[i]) / 4, k % 2 == 1)

    def trade(self, m: Market, time: int, price: float, quantity: float, maker: bool) -> None:
        "One trade, single and aggregated."
        m.trades_sent += 1
        number, low = 1_000_000_000 + m.trades_sent, m.symbol.lower()
        p, q = exact(price, m.digits), exact(max(m.filters.step, round(quantity, m.steps)), m.steps)
        self.venue.hub.publish(f"{low}@trade", {"e": "trade", "E": time, "T": time, "s": m.symbol, "t": number, "p": p, "q": q,
                                                "X": "MARKET", "m": maker})
        self.venue.hub.publish(f"{low}@aggTrade", {"e": "aggTrade", "E": time, "a": number, "s": m.symbol, "p": p, "q": q, "f": number,
                                                   "l": number, "T": time, "m": maker, "st": 1})

    def tick(self, markets: list[Market]) -> None:
        "After prices moved: depth, best bid and ask, mark prices, tickers."
        hub, now = self.venue.hub, self.venue.time
        if not hub.topics: return
        for m in markets:
            low = m.symbol.lower()
            self._depth(m, low, now)
            for topic in (f"{low}@bookTicker", "!bookTicker"):
                if hub.wanted(topic): hub.publish(topic, self.best(m))
            for topic in (f"{low}@markPrice@1s", f"{low}@markPrice"):
                if hub.wanted(topic): hub.publish(topic, self.mark(m))
            if hub.wanted(f"{low}@ticker"): hub.publish(f"{low}@ticker", self.day(m, True))
            if hub.wanted(f"{low}@miniTicker"): hub.publish(f"{low}@miniTicker", self.day(m, False))
        for topic in ("!markPrice@arr@1s", "!markPrice@arr"):
            if hub.wanted(topic): hub.publish(topic, [self.mark(m) for m in markets])
        for topic, whole in (("!ticker@arr", True), ("!miniTicker@arr", False)):
            if hub.wanted(topic): hub.publish(topic, [self.day(m, whole) for m in markets])

    def _depth(self, m: Market, low: str, now: int) -> None:
        hub = self.venue.hub
        diffs = [t for t in (f"{low}@depth@100ms", f"{low}@depth@0ms", f"{low}@depth@250ms", f"{low}@depth@500ms",
                             f"{low}@depth") if hub.wanted(t)]
        if diffs:
            skip, self.skip_depth = self.skip_depth > 0, max(0, self.skip_depth - 1)
            event = m.book.event(now, skip)
            for topic in diffs:
                if event: hub.publish(topic, event)
        for n in DEPTHS:
            for topic in (f"{low}@depth{n}@100ms", f"{low}@depth{n}"):
                if not hub.wanted(topic): continue
                shown = m.book.snapshot(n, now)
                hub.publish(topic, {"e": "depthUpdate", "E": now, "T": now, "s": m.symbol, "U": shown["lastUpdateId"],
                                    "u": shown["lastUpdateId"], "pu": shown["lastUpdateId"] - 1, "b": shown["bids"], "a": shown["asks"]})

    def best(self, m: Market) -> dict:
        bid, ask = m.book.top()
        return {"e": "bookTicker", "u": m.book.last_id, "E": self.venue.time, "T": self.venue.time, "s": m.symbol, "b": bid[0], "B": bid[1],
                "a": ask[0], "A": ask[1], "st": 1, "ps": m.symbol}

    def mark(self, m: Market) -> dict:
        rate, coming = m.rate(self.venue.time)
        price = exact(m.last, 8)
        return {"e": "markPriceUpdate", "E": self.venue.time, "s": m.symbol, "p": price, "i": price, "P": price, "r": f"{rate:.8f}",
                "T": coming, "st": 1}

    def day(self, m: Market, whole: bool) -> dict:
        t = m.day(self.venue.time)
        mini = {"e": "24hrMiniTicker", "E": self.venue.time, "s": m.symbol, "c": t["lastPrice"], "o": t["openPrice"], "h": t["highPrice"],
                "l": t["lowPrice"], "v": t["volume"], "q": t["quoteVolume"]}
        if not whole: return mini
        return mini | {"e": "24hrTicker", "p": t["priceChange"], "P": t["priceChangePercent"], "w": t["weightedAvgPrice"],
                       "Q": t["lastQty"], "O": t["openTime"], "C": t["closeTime"], "F": t["firstId"],
                       "L": t["lastId"], "n": t["count"], "st": 1}
