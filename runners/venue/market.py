"One symbol's recorded market: its candles, its settlements, and its price now."
from bisect import bisect_left, bisect_right

import numpy as np

from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, HOUR, MINUTE
from perps_kit.data.funding import Funding
from perps_kit.exchange.filters import Filters, guess_filters
from perps_kit.exchange.wire import decimals, exact
from runners.venue.book import Book

FUNDING_EVERY = 8 * HOUR
PRICES = ("open", "high", "low", "close")


class Market:
    """Candles as columns, and a cursor: `last` is the newest price, `index` the number of closed bars.

    `forming` is open, high, low, close of the bar that trades now, and the share of it that is over; None between bars and in lockstep.
    """

    def __init__(self, bars: Bars, filters: Filters | None = None, funding: Funding | None = None, fine: Bars | None = None) -> None:
        if bars.synthetic.any():        # a venue sends no candle that it never had
            bars = Bars(bars.symbol, bars.minutes, *(column[~bars.synthetic] for column in bars.columns()))
        if not len(bars): raise ValueError(f"{bars.symbol}: no candles to replay")
        self.symbol, self.minutes, self.bars, self.fine = bars.symbol, bars.minutes, bars, fine
        recent = np.concatenate([getattr(bars, name)[-2000:] for name in PRICES])
        self.filters = filters or guess_filters(bars.symbol, recent.tolist())
        self.digits, self.steps = decimals(self.filters.tick), decimals(self.filters.step)
        self.opens: list[int] = bars.open_time.tolist()
        self.index, self.last, self.span = 0, float(bars.open[0]), bars.minutes * MINUTE
        self.settled: list[tuple[int, float, float]] = []
        if funding is not None: self.settled = list(zip(funding.time.tolist(), funding.rate.tolist(), funding.mark.tolist(), strict=True))
        self.settled_times = [row[0] for row in self.settled]
        self.book = Book(self)
        self.trades_sent = 0
        self.forming: tuple[float, float, float, float, float] | None = None

    def seek(self, time: int) -> None:
        "Set the cursor: bars that close by `time` are history."
        self.index = bisect_right(self.opens, time - self.span)
        if self.index: self.last = float(self.bars.close[self.index - 1])
        self.forming = None

    def opening(self, time: int) -> int | None:
        "Row of the bar that opens at `time`."
        i = bisect_left(self.opens, time)
        return i if i < len(self.opens) and self.opens[i] == time else None

    def bar(self, i: int) -> tuple[float, float, float, float]:
        "Open, high, low and close of a row."
        return float(self.bars.open[i]), float(self.bars.high[i]), float(self.bars.low[i]), float(self.bars.close[i])

    def due(self, low: int, high: int) -> list[tuple[int, float, float]]:
        """Settlements at times in [low, high): time, rate, and cash per unit that a long pays.

        Without a recorded mark the open of the bar stands for it, as in perps_kit.data.funding.
        """
        rows = []
        for time, rate, mark in self.settled[bisect_left(self.settled_times, low):bisect_left(self.settled_times, high)]:
            if mark != mark:
                i = bisect_right(self.opens, time) - 1
                mark = float(self.bars.open[i]) if i >= 0 else self.last
            rows.append((time, rate, mark * rate))
        return rows

    def rate(self, time: int) -> tuple[float, int]:
        "The last settled rate, and when the next settlement is."
        i = bisect_right(self.settled_times, time)
        coming = self.settled_times[i] if i < len(self.settled_times) else (time // FUNDING_EVERY + 1) * FUNDING_EVERY
        return (self.settled[i - 1][1] if i else 0.0), coming

    def day(self, time: int) -> dict:
        "The 24 hour ticker."
        low = bisect_left(self.opens, time - DAY)
        s, b, d = slice(min(low, max(0, self.index - 1)), max(self.index, 1)), self.bars, self.digits
        opened, volume = float(b.open[s][0]), float(b.volume[s].sum())
        quote = float((b.volume[s] * (b.open[s] + b.high[s] + b.low[s] + b.close[s]) / 4).sum())
        change, top, bottom = self.last - opened, max(float(b.high[s].max()), self.last), min(float(b.low[s].min()), self.last)
        return {"symbol": self.symbol, "priceChange": f"{change:.{d}f}", "priceChangePercent": f"{100 * change / opened:.3f}",
                "weightedAvgPrice": f"{quote / volume if volume else self.last:.{d}f}", "lastPrice": exact(self.last, d),
                "lastQty": exact(self.filters.min_quantity, self.steps), "openPrice": exact(opened, d), "highPrice": exact(top, d),
                "lowPrice": exact(bottom, d), "volume": f"{volume:.3f}", "quoteVolume": f"{quote:.2f}", "openTime": time - DAY,
                "closeTime": time, "firstId": low * 4, "lastId": self.index * 4 - 1, "count": max(0, (self.index - low) * 4)}

    def path(self, i: int, low_first: bool) -> list[tuple[int, float]]:
        "Offsets in milliseconds and prices through bar i: open, one extreme, the other, close; through its finer bars where it has all."
        fine = self.fine
        if fine is None: return legs(0, self.span, self.bar(i), low_first)
        a, z = (int(np.searchsorted(fine.open_time, t)) for t in (self.opens[i], self.opens[i] + self.span))
        if z - a != self.minutes // fine.minutes: return legs(0, self.span, self.bar(i), low_first)
        path = []
        for j in range(a, z):
            prices = float(fine.open[j]), float(fine.high[j]), float(fine.low[j]), float(fine.close[j])
            path += legs(int(fine.open_time[j]) - self.opens[i], fine.minutes * MINUTE, prices, low_first)
        return path


def legs(start: int, span: int, bar: tuple[float, float, float, float], low_first: bool) -> list[tuple[int, float]]:
    "The path through one candle."
    o, high, low, close = bar
    first, second = (low, high) if low_first else (high, low)
    return [(start, o), (start + span // 3, first), (start + 2 * span // 3, second), (start + span - 1, close)]
