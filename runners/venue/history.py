"Candles as /klines gives them: closed ones, longer ones gathered from whole buckets, and the one that is trading now."
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from perps_kit.core.bar import Bars
from perps_kit.core.clock import MINUTE
from perps_kit.exchange.wire import exact

if TYPE_CHECKING:
    from runners.venue.market import Market

NAMES = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy")


def kline(time: int, span: int, values: Sequence[float], digits: int) -> list:
    "A row of the answer; what a file did not record (quote volume, trades, the takers' share) is filled in plausibly."
    o, high, low, close, volume, quote, trades, taker = values
    quote = volume * (o + high + low + close) / 4 if quote != quote else quote
    taker = volume / 2 if taker != taker else taker
    return [time, exact(o, digits), exact(high, digits), exact(low, digits), exact(close, digits), exact(volume, 3), time + span - 1,
            exact(quote, 8), 4 if trades != trades else int(trades), exact(taker, 3), exact(quote / 2, 8), "0"]


def of_row(bars: Bars, i: int, digits: int) -> list:
    "The row of one recorded candle."
    return kline(int(bars.open_time[i]), bars.minutes * MINUTE, [float(getattr(bars, name)[i]) for name in NAMES], digits)


def klines(m: "Market", minutes: int, start: int | None, end: int | None, limit: int) -> list[list]:
    "History by Binance's rules: from `start` on, or the last ones up to `end`; the candle that trades now comes last."
    if m.fine is not None and minutes == m.fine.minutes != m.minutes: return finer(m, m.fine, start, end, limit)
    if minutes != m.minutes: return gathered(m, minutes, start, end, limit)
    last = m.index if end is None else min(m.index, bisect_right(m.opens, end))
    first = bisect_left(m.opens, start) if start is not None else max(0, last - limit)
    rows = [of_row(m.bars, i, m.digits) for i in range(first, min(last, first + limit))]
    shown = m.forming is not None and first <= m.index and (end is None or m.opens[m.index] <= end)
    if shown and len(rows) < limit: rows.append(forming(m))
    elif shown and start is None and last == m.index: rows = [*rows[1:], forming(m)]
    return rows


def forming(m: "Market") -> list:
    "The row of the candle that is trading now; its volume grows with time."
    o, high, low, close, share = m.forming or (m.last, m.last, m.last, m.last, 0.0)
    inside = m.index < len(m.opens)
    volume = round(float(m.bars.volume[m.index]) * share, 3) if inside else 0.0
    time = m.opens[m.index] if inside else m.opens[-1] + m.span
    return kline(time, m.span, (o, high, low, close, volume, float("nan"), 4.0, float("nan")), m.digits)


def finer(m: "Market", fine: Bars, start: int | None, end: int | None, limit: int) -> list[list]:
    "Candles shorter than the replayed ones, up to the last close."
    now = m.opens[m.index - 1] + m.span if m.index else m.opens[0]
    closed = int(np.searchsorted(fine.open_time, now))
    last = closed if end is None else min(closed, int(np.searchsorted(fine.open_time, end, side="right")))
    first = int(np.searchsorted(fine.open_time, start)) if start is not None else max(0, last - limit)
    return [of_row(fine, i, m.digits) for i in range(first, min(last, first + limit))]


def gathered(m: "Market", minutes: int, start: int | None, end: int | None, limit: int) -> list[list]:
    "Candles longer than the replayed ones, from buckets of which nothing is missing."
    k, span = minutes // m.minutes, minutes * MINUTE
    last = m.index if end is None else min(m.index, bisect_right(m.opens, end - end % span + span - 1))
    i = bisect_left(m.opens, -(-start // span) * span) if start is not None else max(0, last - (limit + 1) * k)
    rows = []
    while i + k <= last and (start is None or len(rows) < limit):
        time = m.opens[i]
        if time % span == 0 and m.opens[i + k - 1] == time + span - m.span:
            rows.append(kline(time, span, bucket(m.bars, slice(i, i + k)), m.digits))
            i += k
        else: i += 1
    return rows[-limit:] if start is None else rows


def bucket(b: Bars, s: slice) -> tuple[float, ...]:
    "One candle of several."
    return (float(b.open[s][0]), float(b.high[s].max()), float(b.low[s].min()), float(b.close[s][-1]), float(b.volume[s].sum()),
            float(b.quote_volume[s].sum()), float(b.trades[s].sum()), float(b.taker_buy[s].sum()))
