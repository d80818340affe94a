"""The venue: markets, accounts, one clock, and the order of events in a bar.

Lockstep, between two barriers (quant_spec 0.3 and E2, architecture "From a bar to a message"):
  phase "close" at T: the candles that closed at T are sent. Orders that come now wait for the next price.
  barrier "close": funding of T on what is held; then waiting market orders fill at the open of the next bar. Phase "open".
  barrier "open": the bar trades, stop first: the open beyond a stop fills at the open, a touched stop at its price with 5 bp, then
  targets ascending at their own price. T moves on.
Two courtesies to parity, in lockstep only: a conditional order already beyond the price is not refused (-2021) but takes part in the next
bar, and a limit order never fills before the bar trades.
The klines of a bar that trades inside lockstep are not shown before it has closed. In the other pace the venue runs by itself (pace.py)
and behaves as the real one in all three.
"""
import asyncio
from collections.abc import Mapping, Sequence

from perps_kit.core.bar import Bars
from perps_kit.core.clock import MINUTE, timeframe_of
from perps_kit.data.funding import Funding
from perps_kit.exchange.filters import Filters
from runners.venue.account import Account
from runners.venue.feed import Feed
from runners.venue.limits import Limits
from runners.venue.market import Market
from runners.venue.matching import Matching
from runners.venue.streams import Hub

KEY, SECRET = "replay-key", "replay-secret"        # open by design: loopback and play money


class Venue:
    """Recorded candles (a mapping of symbol to Bars, all of one timeframe) as an exchange. `start` and `end` are times in milliseconds:
    bars that closed by `start` are history.

    `pace` is "lockstep", or how many times faster than the clock on the wall. `pieces` > 1 splits every fill.
    `hold`: with a factor, stand still at `start` until POST /replay/start. Not thread-safe: everything happens in the loop that serves it.
    """

    def __init__(self, bars: Mapping[str, Bars] | Sequence[Bars], *, start: int | None = None, end: int | None = None,
                 pace: str | float = "lockstep", filters: Mapping[str, Filters] | None = None,
                 funding: Mapping[str, Funding] | None = None, fine: Mapping[str, Bars] | None = None, balance: float = 10_000.0,
                 pieces: int = 1, weight_limit: int = 2400, ban: float = 120.0,
                 hold: bool = False, key: str = KEY, secret: str = SECRET, keys: Mapping[str, str] | None = None) -> None:
        rows = list(bars.values()) if isinstance(bars, Mapping) else list(bars)
        if not rows: raise ValueError("the venue has no candles to replay: give it at least one symbol")
        if len({b.minutes for b in rows}) > 1:
            names = sorted({timeframe_of(b.minutes) for b in rows})
            raise ValueError(f"the venue replays one timeframe, not {names}: give the finer ones as `fine`")
        filters, funding, fine = filters or {}, funding or {}, fine or {}
        self.markets = {b.symbol: Market(b, filters.get(b.symbol), funding.get(b.symbol), fine.get(b.symbol)) for b in rows}
        self.minutes, self.span = rows[0].minutes, rows[0].minutes * MINUTE
        self.timeframe = timeframe_of(self.minutes)
        first, last = min(m.opens[0] for m in self.markets.values()), max(m.opens[-1] for m in self.markets.values()) + self.span
        self.start = first if start is None else max(first, start - start % self.span)
        self.end = last if end is None else min(last, end - end % self.span)
        if self.start >= self.end: raise ValueError("nothing to replay: no candle closes between start and end")
        self.lockstep, self.factor = pace == "lockstep", 1.0 if pace == "lockstep" else float(pace)
        self.time, self.phase, self.bars = self.start, "close" if self.lockstep else "running", 0
        self.accounts = {k: Account(k, s, balance) for k, s in (keys or {key: secret}).items()}
        self.key, self.secret = next(iter(self.accounts.values())).key, next(iter(self.accounts.values())).secret
        self.hub, self.limits, self.matching, self.feed = Hub(), Limits(weight_limit, ban), Matching(self, pieces), Feed(self)
        self.filled: list[dict] = []        # since the last barrier
        self.faults: list[dict] = []
        self.late: set[asyncio.Task] = set()
        self._id = 4_000_000
        self.go = asyncio.Event()
        if not hold: self.go.set()
        for m in self.markets.values(): m.seek(self.start)

    def next_id(self) -> int:
        self._id += 1
        return self._id

    def price(self, symbol: str) -> float: return self.markets[symbol].last

    def status(self) -> dict:
        "The body of /replay/status."
        return {"time": self.time, "phase": self.phase, "progress": (self.time - self.start) / (self.end - self.start), "bars": self.bars,
                "start": self.start, "end": self.end,
                "minutes": self.minutes, "symbols": list(self.markets), "pace": "lockstep" if self.lockstep else self.factor}

    def tell(self, account: Account, event: dict) -> None: self.hub.tell(account.listen_keys, event)

    def tell_account(self, account: Account, reason: str, symbol: str) -> None:
        "ACCOUNT_UPDATE: the wallet and one position."
        from runners.venue.wire import account_update
        self.tell(account, account_update(self, account, reason, symbol))

    def open_bar(self) -> None:
        "What barrier close releases: settlements of this instant, then fills of waiting market orders at the opens."
        self.filled = []
        if self.time >= self.end:
            self.phase = "done"
            return
        for symbol, m in self.markets.items():
            self.settle(m, self.time, self.time + 1)
            i = m.opening(self.time)
            if i is None: continue
            m.last = float(m.bars.open[i])
            for account in self.accounts.values():
                for order in [o for o in account.open_orders.get(symbol, ()) if o.type == "MARKET"]:
                    self.matching.market_order(account, order, m.last)
        self.phase = "open"

    def trade_bar(self) -> None:
        "What barrier open releases: the bar trades, the clock moves to its close, its candles are sent."
        self.filled = []
        now, self.phase = self.time, "close"
        for symbol, m in self.markets.items():
            self.settle(m, now + 1, now + self.span)
            i = m.opening(now)
            if i is None: continue
            o, high, low, close = m.bar(i)
            for account in self.accounts.values():
                if not (account.open_orders.get(symbol) or account.open_algos.get(symbol) or account.position(symbol).quantity): continue
                self.time = now
                self.matching.gap(account, m, o, False)
                self.time = now + self.span - 1     # fills inside the bar come after those at its open
                first, second = (high, low) if account.position(symbol).quantity < 0 else (low, high)
                for a, b in ((o, first), (first, second), (second, close)): self.matching.move(account, m, a, b)
            self.feed.path(m, i)
        self.close_bar(now + self.span)

    def close_bar(self, time: int) -> None:
        "Move the clock to a close and send the candles that closed there."
        self.time = time
        for m in self.markets.values():
            before = m.index
            m.seek(time)
            if m.index > before:
                self.bars += m.index - before
                self.feed.closed(m)
        self.feed.tick(list(self.markets.values()))

    def settle(self, m: Market, low: int, high: int) -> None:
        "Charge the settlements in [low, high)."
        for time, rate, cash in m.due(low, high):
            for account in self.accounts.values(): self.matching.settle(account, m.symbol, rate, cash, time)

    async def barrier(self, time: int, phase: str) -> dict:
        """Release one barrier; answered when what it released has happened and been written to the sockets. One that was passed before is
        answered at once, so a restarted service may repeat it."""
        if self.phase != "done" and (time, phase) == (self.time, self.phase):
            if phase == "close": self.open_bar()
            else: self.trade_bar()
            await self.hub.drain()
        elif self.phase != "done" and (time > self.time or (time == self.time and (phase, self.phase) == ("open", "close"))):
            return {"error": f"the venue stands at {self.phase} of {self.time}: release that barrier first", **self.status()}
        return {**self.status(), "fills": self.filled}
