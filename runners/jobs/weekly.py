"What the weekly review reads: the signals of a period as they were lived, the same period by the backtest, and how far the two are apart."

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from perps_kit.backtest.lanes import lanes
from perps_kit.backtest.run import Trade, walk
from perps_kit.backtest.statistics import DRAWS, FEWEST, SEED, Interval, mean_interval, percentiles, resampled_sums, wilson
from perps_kit.core.registry import strategy
from perps_kit.risk.memory import Memory
from perps_kit.scoring.book import Book
from perps_kit.storage.models import Account, SignalRow, Tracker, TrackerEvent
from perps_kit.trackers.outcome import result_class
from runners.errors import ConfigError
from runners.jobs.market import Market
from runners.jobs.report import trade
from runners.settings import Settings

TRIFLE, DEAR = 0.005, 0.02  # R: what nobody needs to look at, and slippage that somebody should


class Life(NamedTuple):
    "A published signal and what its reference trade made; results are nan until it is over."

    id: str
    strategy: str
    symbol: str
    side: int
    time: int  # close of the signal's bar
    final: float
    probability: float
    entry: float  # fill; nan before it
    gross_r: float
    net_r: float

    @property
    def over(self) -> bool:
        return self.net_r == self.net_r

    @property
    def won(self) -> bool:
        return self.over and result_class(self.gross_r) == "WIN"


def entry_of(tracker: Any) -> Any:
    "The price at which a tracker was entered."
    return select(TrackerEvent.price).where(TrackerEvent.tracker_id == tracker.id, TrackerEvent.kind == "entry").limit(1).scalar_subquery()


async def lives(session: AsyncSession, venue: str, since: int, until: int) -> list[Life]:
    "The service's signals whose bars closed in [since, until), with their reference trades."
    query = (
        select(SignalRow, Tracker, entry_of(Tracker))
        .outerjoin(Tracker, and_(Tracker.signal_id == SignalRow.id, Tracker.account_id.is_(None)))
        .where(SignalRow.venue == venue, SignalRow.close_time >= since, SignalRow.close_time < until)
        .order_by(SignalRow.close_time, SignalRow.id)
    )
    found = []
    for s, t, price in await session.execute(query):
        over = trade(s, t, price) if t is not None and t.state == "CLOSED" else None
        results = (over.gross_r, over.net_r) if over else (nan, nan)
        entry = nan if price is None else float(price)
        found.append(Life(s.id, s.strategy, s.symbol, s.side, s.close_time, s.final, s.probability, entry, *results))
    return found


class Slip(NamedTuple):
    "How much worse an account was filled than the reference of the same signal; negative is better."

    account: str
    signal: str
    symbol: str
    basis_points: float
    r: float


async def slips(session: AsyncSession, venue: str, since: int, until: int) -> list[Slip]:
    "The entries of accounts against those of the reference."
    own, reference = aliased(Tracker), aliased(Tracker)
    query = (
        select(Account.name, SignalRow, entry_of(own), entry_of(reference))
        .join(own, own.signal_id == SignalRow.id)
        .join(Account, Account.id == own.account_id)
        .join(reference, and_(reference.signal_id == SignalRow.id, reference.account_id.is_(None)))
        .where(SignalRow.venue == venue, SignalRow.close_time >= since, SignalRow.close_time < until)
        .order_by(SignalRow.close_time, SignalRow.id, Account.name)
    )
    found = []
    for account, s, filled, meant in await session.execute(query):
        if filled is None or meant is None or not (filled > 0 and meant > 0):
            continue
        worse, risk = s.side * (filled - meant), abs(meant - s.stop)
        found.append(Slip(account, s.id, s.symbol, 1e4 * worse / meant, worse / risk if risk > 0 else nan))
    return found


def wished_of(settings: Settings) -> dict[str, Any]:
    "The strategies that the settings name, with their parameters."
    try:
        return {name: strategy(name, **given) for name, given in settings.strategies.items()}
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None


def again(settings: Settings, market: Market, since: int, until: int) -> list[Life]:
    "The same period by the backtest, with the service's strategies, gates and memory; the candles before it warm up."
    from runners.live.service import pipeline_of

    if not market.bars:
        return []
    found = lanes(wished_of(settings), market.bars, market.funding)
    book = Book(memory=Memory.of(settings.memory.terms))
    trades = walk(found, pipeline_of(settings), ticks=market.ticks, book=book).trades
    return [life_of(t) for t in trades if since <= t.candidate.time < until]


def life_of(t: Trade) -> Life:
    "A trade of the backtest; one that the end of the candles cut off is not over."
    o, c = t.outcome, t.candidate
    results = (o.gross_r, o.net_r) if o and not o.marked else (nan, nan)
    return Life(t.id, c.strategy, c.symbol, c.signal.side, c.time, t.final, nan, o.entry if o else nan, *results)


class Difference(NamedTuple):
    "Lived minus tested, with the 95 % interval."

    live: float
    test: float
    value: float
    interval: Interval


def mean_difference(live: Sequence[float] | np.ndarray, test: Sequence[float] | np.ndarray) -> Difference:
    "Of two means, each resampled by itself; no interval below 10 values on either side."
    a, b = np.asarray(live, float), np.asarray(test, float)
    mine, theirs = (float(x.mean()) if len(x) else nan for x in (a, b))
    bounds = Interval(nan, nan)
    if min(len(a), len(b)) >= FEWEST:
        one, other = (resampled_sums(x[None], DRAWS, seed=SEED + k)[0] / len(x) for k, x in enumerate((a, b)))
        bounds = percentiles(one - other)
    return Difference(mine, theirs, mine - theirs, bounds)


def share_difference(live: Sequence[bool], test: Sequence[bool]) -> Difference:
    "Of two shares, by Newcombe's interval from both Wilson intervals (Statistics in Medicine 17, 1998, method 10)."
    (k1, n1), (k2, n2) = ((int(sum(x)), len(x)) for x in (live, test))
    if not (n1 and n2):
        return Difference(k1 / n1 if n1 else nan, k2 / n2 if n2 else nan, nan, Interval(nan, nan))
    p1, p2, a, b = k1 / n1, k2 / n2, wilson(k1, n1), wilson(k2, n2)
    low, high = sqrt((p1 - a.low) ** 2 + (b.high - p2) ** 2), sqrt((a.high - p1) ** 2 + (p2 - b.low) ** 2)
    return Difference(p1, p2, p1 - p2, Interval(p1 - p2 - low, p1 - p2 + high))


class Comparison(NamedTuple):
    "One strategy, or all: lived against tested."

    name: str
    live: list[Life]
    test: list[Life]
    both: list[tuple[Life, Life]]  # the same signal, over on both sides
    only_live: list[Life]
    only_test: list[Life]
    expectancy: Difference
    hits: Difference
    paired: Interval  # of the mean difference in net R of those in `both`


def compare(name: str, live: list[Life], test: list[Life]) -> Comparison:
    "Match by the signal's id, which is the same on both sides."
    mine, theirs = {x.id: x for x in live}, {x.id: x for x in test}
    both = [(x, theirs[x.id]) for x in live if x.over and x.id in theirs and theirs[x.id].over]
    over = [[x for x in side if x.over] for side in (live, test)]
    return Comparison(
        name,
        live,
        test,
        both,
        [x for x in live if x.id not in theirs],
        [x for x in test if x.id not in mine],
        mean_difference(*([x.net_r for x in side] for side in over)),
        share_difference(*([x.won for x in side] for side in over)),
        mean_interval([a.net_r - b.net_r for a, b in both]),
    )


def by_strategy(live: list[Life], test: list[Life]) -> list[Comparison]:
    "A comparison for each strategy that has a signal on either side."
    names = sorted({x.strategy for x in (*live, *test)})
    return [compare(name, *([x for x in side if x.strategy == name] for side in (live, test))) for name in names]


def away(interval: Interval) -> bool:
    "Whether an interval leaves nought out."
    return interval.low > 0 or interval.high < 0


def remarks(
    whole: Comparison,
    parts: list[Comparison],
    worse: Sequence[float],
    drifts: dict[tuple[str, str], Any],
    bins: Sequence[Any],
    tested: bool,
) -> list[str]:
    "What deserves a look, in sentences; `worse`: slippage in R, `drifts` by strategy and figure, `bins` of the calibration."
    said = []
    if not tested:
        said.append("The candles of this period are not stored, so nothing could be run again: let data_sync fetch them.")
    elif whole.only_test or whole.only_live:
        said.append(
            f"{len(whole.only_test)} signals of the backtest were not published and {len(whole.only_live)} published ones are not "
            "in the backtest: a restart, a late candle or other settings explain such; `perps-kit parity` tells bug from cause."
        )
    for c in parts:
        mean = float(np.mean([a.net_r - b.net_r for a, b in c.both])) if c.both else nan
        if away(c.paired) and abs(mean) > TRIFLE:
            said.append(
                f"{c.name}: the same signals ended {abs(mean):.2f} R {'better' if mean > 0 else 'worse'} than in the backtest, on average."
            )
        if away(c.expectancy.interval):
            said.append(f"{c.name}: expectancy differs from the backtest by {c.expectancy.value:+.2f} R, and chance does not explain it.")
        if away(c.hits.interval):
            said.append(f"{c.name}: the hit rate differs from the backtest by {c.hits.value:+.1%}, and chance does not explain it.")
    cost = mean_interval(worse)
    if cost.low > DEAR:
        said.append(f"Accounts were filled {np.mean(worse):.3f} R worse than the reference: look at the size of orders and the hour.")
    bar = 0.05 / max(1, 2 * len(drifts))
    for (name, figure), d in drifts.items():
        if min(d.ks_chance, d.psi_chance) < bar:
            said.append(f"{name}: {figure} has drifted (KS {d.ks:.2f}, PSI {d.psi:.2f}): chance parts so far less often than {bar:.1%}.")
    off = [b for b in bins if not b.interval.low <= b.forecast <= b.interval.high]
    if off:
        said.append(f"{len(off)} of {len(bins)} bins of the calibration miss what happened: calibrate again with `perps-kit evaluate`.")
    return said
