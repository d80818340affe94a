"A stored series mended from another source: what it lacks is fetched, the two are compared where both have bars, then it is written."
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perps_kit.core.bar import Bars
from perps_kit.core.clock import MINUTE, iso, timeframe_of
from perps_kit.sources.port import Source
from perps_kit.storage.candles import CandleStore, merged, raw_series
from perps_kit.storage.mending import Agreement, Mend, agreement, good_rows, plan_mend, write_mend
from runners.errors import ConfigError


@dataclass(frozen=True)
class Terms:
    "How far two sources may differ, and how much of what is whole is asked for to compare them."
    tolerance: float = 0.001    # of a price, relative
    context: int = 96           # sound bars asked for on either side of a hole
    force: bool = False         # borrow all the same
    write: bool = True


class Mended(NamedTuple):
    "What a mending found and did."
    symbol: str
    timeframe: str
    source: str
    agreement: Agreement
    mend: Mend
    doubt: str                  # why the sources do not fit, empty where they do
    files: int                  # parts written


async def mend_series(store: CandleStore, source: Source, symbol: str, timeframe: str, start: int | None, end: int | None, terms: Terms,
                      now: int) -> Mended:
    "Fill what a series lacks in [start, end), its own span where not given; ConfigError, before anything is written, where they disagree."
    [(_, raw)] = raw_series(store.root, [symbol], timeframe, store.venue)
    good, step = raw[good_rows(raw)], raw.minutes * MINUTE
    if not len(good): raise ConfigError(f"no bar of {symbol} {timeframe} is sound, so no source can be compared with it; download it anew")
    low = int(good.open_time.min()) if start is None else start // step * step
    high = int(good.close_time.max()) if end is None else -(-end // step) * step
    spans = wanted(good, low, min(high, now // step * step), terms.context)
    other = await gathered(source, raw.symbol, timeframe_of(raw.minutes), spans, raw)
    both, mend = agreement(good[~good.synthetic], other, terms.tolerance), plan_mend(raw, other, low, high)
    doubt, files = both.doubt(terms.tolerance) if len(mend.borrowed) else "", 0
    if doubt and terms.write and not terms.force:
        raise ConfigError(f"{source.name} does not fit the {symbol} held ({both.overlap} bars in both, {both.alike} alike): {doubt}; "
                          "nothing was written, --force borrows all the same")
    if terms.write and (len(mend.borrowed) or len(good) < len(raw)): files = write_mend(store, raw, mend, source.name, now)
    return Mended(raw.symbol, timeframe_of(raw.minutes), source.name, both, mend, doubt, files)


def wanted(good: Bars, start: int, end: int, context: int) -> list[tuple[int, int]]:
    "Spans [a, b) of [start, end) to ask for: what is not held by real bars, with context, near ones joined."
    from perps_kit.sources.paging import missing_ranges
    step, spans = good.minutes * MINUTE, []
    for a, b in missing_ranges(np.sort(good.open_time[~good.synthetic]), start, end, step):
        a, b = a - context * step, b + context * step
        if spans and a <= spans[-1][1]: spans[-1] = (spans[-1][0], b)
        else: spans.append((a, b))
    return spans


async def gathered(source: Source, symbol: str, timeframe: str, spans: list[tuple[int, int]], like: Bars) -> Bars:
    "All bars of the spans that a source has."
    found = like[:0]
    for a, b in spans:
        async for bars in source.candles(symbol, timeframe, a, b): found = merged(found, bars)
    return found


def told(m: Mended) -> list[str]:
    "The same in sentences."
    a, lines = m.agreement, []
    if not m.mend.borrowed.open_time.size: lines.append(f"{m.source} has no bar that {m.symbol} {m.timeframe} lacks")
    if a.overlap:
        lines.append(f"{a.overlap:,} bars are in both, {a.alike:,} of them alike; prices differ by at most {a.worst:.4%} "
                     f"(at {iso(a.worst_at)}), volumes are {a.volume:.3g} times those held")
    if m.doubt: lines.append(f"they do not fit: {m.doubt}")
    lines += [f"{iso(p.start)} to {iso(p.end)}: {p.bars:,} bars, {p.why}, from {m.source}" for p in m.mend.patches]
    bare = int(np.isnan(m.mend.borrowed.taker_buy).sum())
    if bare: lines.append(f"{bare:,} of the borrowed bars do not tell the takers' volume")
    if m.mend.dropped: lines.append(f"{m.mend.dropped:,} bad rows have no successor and are dropped")
    lines.append(f"{m.mend.left:,} bars are still missing; {m.files} files written")
    return lines
