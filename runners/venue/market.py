"One symbol's recorded market: its candles, its settlements, and its price now."
from bisect import bisect_left, bisect_right

import numpy as np

from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, HOUR, MINUTE
from perps_kit.exchange.filters import Filters, guess_filters
from perps_kit.exchange.wire import decimals, exact
from runners.venue.book import Book

FUNDING_EVERY = 8 * HOUR


class Market:
    "Candles as columns, and a cursor: `last` is the newest price, `index` the number of closed bars."

    def __init__(self, bars: Bars, filters: Filters | None = None, funding: object | None = None, fine: Bars | None = None) -> None:
        if bars.synthetic.any(): bars = bars[~bars.synthetic]      # a venue sends no candle that it never had
        if not len(bars): raise ValueError(f"{bars.symbol}: no candles to replay")
        self.symbol, self.minutes, self.bars, self.fine = bars.symbol, bars.minutes, bars, fine
        self.filters = filters or guess_filters(bars.symbol, np.concatenate([bars.open[-2000:], bars.high[-2000:], bars.low[-2000:], bars.close[-2000:]]).tolist())
        self.digits, self.steps = decimals(self.filters.tick), decimals(self.filters.step)
        self.opens: list[int] = bars.open_time.tolist()
        self.index, self.last, self.span = 0, float(bars.open[0]), bars.minutes * MINUTE
        self.settled: list[tuple[int, float, float]] = [] if funding is None else list(zip(funding.time.tolist(), funding.rate.tolist(), funding.mark.tolist(), strict=True))
        self.settled_times = [row[0] for row in self.settled]
        self.book = Book(self)
        self.trades_sent = 0
        self.forming: tuple[float, float, float, float, float] | None = None    # open, high, low, close and share of the bar that opens at `index`, while it trades

    def seek(self, time: int) -> None:
        "Set the cursor: bars that close by `time` are history."
        self.index = bisect_right(self.opens, time - self.span)
        if self.index: self.last = float(self.bars.close[self.index - 1])
        self.forming = None

    def opening(self, time: int) -> int | None:
        "Row of the bar that opens at `time`."
        i = bisect_left(self.opens, time)
        return i if i < len(self.opens) and self.opens[i] == time else None

    def due(self, low: int, high: int) -> list[tuple[int, float, float]]:
        "Settlements at times in [low, high): time, rate, and cash per unit that a long pays; without a recorded mark the open of the bar stands for it (as perps_kit.data.funding)."
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

    def kline(self, i: int) -> list:
        "A row of /klines for the closed bar i."
        b, d = self.bars, self.digits
        o, h, low, c, v = (float(x[i]) for x in (b.open, b.high, b.low, b.close, b.volume))
        return self._row(self.opens[i], self.span, o, h, low, c, v, float(b.quote_volume[i]), float(b.trades[i]), float(b.taker_buy[i]), d)

    @staticmethod
    def _row(time: int, span: int, o: float, h: float, low: float, c: float, v: float, quote: float, trades: float, taker: float, d: int) -> list:
        quote = v * (o + h + low + c) / 4 if quote != quote else quote
        taker = v / 2 if taker != taker else taker
        return [time, exact(o, d), exact(h, d), exact(low, d), exact(c, d), exact(v, 3), time + span - 1, exact(quote, 8), 4 if trades != trades else int(trades), exact(taker, 3), exact(quote / 2, 8), "0"]

    def klines(self, minutes: int, start: int | None, end: int | None, limit: int) -> list[list]:
        "History by Binance's rules: from `start` on, or the last ones up to `end`; a longer timeframe is gathered from whole buckets, the bar that is trading now comes last."
        if minutes == self.minutes: opens, row, closed = self.opens, self.kline, self.index
        elif self.fine is not None and minutes == self.fine.minutes: return self._fine(start, end, limit)
        elif minutes % self.minutes == 0: return self._gathered(minutes, start, end, limit)
        else: return []
        last = closed if end is None else min(closed, bisect_right(opens, end))
        first = bisect_left(opens, start) if start is not None else max(0, last - limit)
        rows = [row(i) for i in range(first, min(last, first + limit))]
        if self.forming and len(rows) < limit and first <= closed and (end is None or opens[closed] <= end): rows.append(self.forming_kline())
        return rows

    def forming_kline(self) -> list:
        "The row of the bar that is trading now; its volume grows with time."
        o, h, low, c, share = self.forming or (self.last, self.last, self.last, self.last, 0.0)
        volume = round(float(self.bars.volume[self.index]) * share, 3) if self.index < len(self.opens) else 0.0
        return self._row(self.opens[self.index] if self.index < len(self.opens) else self.opens[-1] + self.span, self.span, o, h, low, c, volume, float("nan"), 4.0, float("nan"), self.digits)

    def _fine(self, start: int | None, end: int | None, limit: int) -> list[list]:
        fine = self.fine
        assert fine is not None
        now = self.opens[self.index - 1] + self.span if self.index else self.opens[0]
        closed = int(np.searchsorted(fine.open_time, now))
        last = closed if end is None else min(closed, int(np.searchsorted(fine.open_time, end, side="right")))
        first = int(np.searchsorted(fine.open_time, start)) if start is not None else max(0, last - limit)
        return [self._row(int(fine.open_time[i]), fine.minutes * MINUTE, *(float(x[i]) for x in (fine.open, fine.high, fine.low, fine.close, fine.volume)), *(float(x[i]) for x in (fine.quote_volume, fine.trades, fine.taker_buy)),
                          self.digits) for i in range(first, min(last, first + limit))]

    def _gathered(self, minutes: int, start: int | None, end: int | None, limit: int) -> list[list]:
        k, span, b = minutes // self.minutes, minutes * MINUTE, self.bars
        last = self.index if end is None else min(self.index, bisect_right(self.opens, end - end % span + span - 1))
        first = bisect_left(self.opens, -(-start // span) * span) if start is not None else max(0, last - (limit + 1) * k)
        rows, i = [], first
        while i + k <= last and len(rows) < (limit if start is not None else limit + 2):
            time = self.opens[i]
            if time % span or self.opens[i + k - 1] != time + span - self.span:
                i += 1
                continue
            s = slice(i, i + k)
            rows.append(self._row(time, span, float(b.open[i]), float(b.high[s].max()), float(b.low[s].min()), float(b.close[i + k - 1]), float(b.volume[s].sum()), float(b.quote_volume[s].sum()),
                                  float(b.trades[s].sum()), float(b.taker_buy[s].sum()), self.digits))
            i += k
        return rows[-limit:] if start is None else rows[:limit]

    def day(self, time: int) -> dict:
        "The 24 hour ticker."
        low = bisect_left(self.opens, time - DAY)
        s, b, d = slice(min(low, max(0, self.index - 1)), max(self.index, 1)), self.bars, self.digits
        opened, volume = float(b.open[s][0]), float(b.volume[s].sum())
        typical = (b.open[s] + b.high[s] + b.low[s] + b.close[s]) / 4
        quote = float((b.volume[s] * typical).sum())
        change = self.last - opened
        return {"symbol": self.symbol, "priceChange": f"{change:.{d}f}", "priceChangePercent": f"{100 * change / opened:.3f}", "weightedAvgPrice": f"{quote / volume if volume else self.last:.{d}f}",
                "lastPrice": exact(self.last, d), "lastQty": exact(self.filters.step * 10, self.steps), "openPrice": exact(opened, d), "highPrice": exact(max(float(b.high[s].max()), self.last), d),
                "lowPrice": exact(min(float(b.low[s].min()), self.last), d), "volume": f"{volume:.3f}", "quoteVolume": f"{quote:.2f}", "openTime": time - DAY, "closeTime": time, "firstId": low * 4,
                "lastId": self.index * 4 - 1, "count": max(0, (self.index - low) * 4)}

    def path(self, i: int, low_first: bool) -> list[tuple[int, float]]:
        "Offsets in milliseconds and prices through bar i: open, one extreme, the other, close; through its finer bars where there are any."
        fine, b = self.fine, self.bars
        if fine is not None:
            a, z = (int(np.searchsorted(fine.open_time, t)) for t in (self.opens[i], self.opens[i] + self.span))
            if z - a == self.minutes // fine.minutes:
                return [point for j in range(a, z) for point in _legs(int(fine.open_time[j]) - self.opens[i], fine.minutes * MINUTE, *(float(x[j]) for x in (fine.open, fine.high, fine.low, fine.close)), low_first)]
        return _legs(0, self.span, float(b.open[i]), float(b.high[i]), float(b.low[i]), float(b.close[i]), low_first)


def _legs(start: int, span: int, o: float, h: float, low: float, c: float, low_first: bool) -> list[tuple[int, float]]:
    first, second = (low, h) if low_first else (h, low)
    return [(start, o), (start + span // 3, first), (start + 2 * span // 3, second), (start + span - 1, c)]
