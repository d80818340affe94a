"What the market scan reads: what every strategy says at the last close of every symbol, and in what kind of market."

from collections.abc import Collection
from typing import Any, NamedTuple, cast

import numpy as np

from perps_kit.backtest.explain import Answer, answer, said, usual
from perps_kit.backtest.lanes import lanes, market_at
from perps_kit.backtest.run import walk
from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, MINUTE
from perps_kit.core.features import on
from perps_kit.core.registry import strategy
from perps_kit.data.funding import Funding
from perps_kit.data.look import look
from perps_kit.indicators.atr_percent import ATRPercent
from perps_kit.indicators.regime import NAMES, Regime
from perps_kit.scoring.book import Book, Pipeline
from perps_kit.scoring.gates import judge_all
from runners.errors import ConfigError
from runners.jobs.funding import Rates, rates
from runners.jobs.market import listed
from runners.jobs.weekly import wished_of
from runners.settings import Settings

ORDER = ("published", "rejected")  # what stands first


def wished_for(settings: Settings, names: str) -> dict[str, Any]:
    "The strategies to ask: those of the settings, all, or those named, with the settings' parameters where there are any."
    if not names.strip():
        return wished_of(settings)
    if names.strip() == "all":
        return usual(settings.minutes) | wished_of(settings)
    try:
        return {name: strategy(name, **settings.strategies.get(name, {})) for name in listed(names)}
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None


def pipeline_for(settings: Settings, wished: Collection[str], bars: Collection[str]) -> Pipeline:
    "The settings' gates, with whatever is asked switched on."
    from runners.live.service import pipeline_of

    gates = pipeline_of(settings)
    leader = settings.gates.leader if settings.gates.leader in bars else ""
    return gates._replace(enabled=gates.enabled | set(wished), leader=leader)


class Row(NamedTuple):
    "One symbol at its last close."

    symbol: str
    time: int
    close: float
    move: float  # of the last 24 hours, a fraction
    score: float  # the same in standard deviations of the days before; nan below 20 days
    regime: str
    age: int  # bars in it
    atr: float  # percent of the close
    funding: Rates | None
    answers: list[Answer]

    @property
    def rank(self) -> tuple:
        "Published before rejected before quiet, then what moved most for its kind."
        best = min((ORDER.index(a.outcome) for a in self.answers if a.outcome in ORDER), default=len(ORDER))
        return best, -abs(self.score if self.score == self.score else 0.0), -abs(self.move if self.move == self.move else 0.0), self.symbol


def answers(
    bars: dict[str, Bars],
    wished: dict[str, Any],
    pipeline: Pipeline = Pipeline(),
    funding: dict[str, Funding] | None = None,
    ticks: dict[str, float] | None = None,
) -> dict[str, list[Answer]]:
    "What each strategy says of each symbol at its last close, as `explain` does for one; candles are walked once for those of one close."
    found: dict[str, list[Answer]] = {}
    for close in sorted({int(b.close_time[-1]) for b in bars.values()}):
        past = {s: b[b.close_time <= close] for s, b in bars.items()}
        all_of = lanes(wished, {s: b for s, b in past.items() if len(b)}, funding, keep=True)
        book, gates = Book(), pipeline if pipeline.leader in past else pipeline._replace(leader="")
        walk(all_of, gates, ticks=ticks, book=book, until=close)
        grounds = {one.bars.symbol: one.ground for one in all_of}
        for symbol in (s for s, b in bars.items() if b.close_time[-1] == close):
            mine = [one for one in all_of if one.bars.symbol == symbol]
            asked = {one.name: said(one, close) for one in mine}
            market = market_at(grounds, {symbol, gates.leader}, close)
            judged = judge_all([c for c, _ in asked.values() if c], wished, gates, book, market=market, explain=True)
            decisions = {c.strategy: d for c, d in judged}
            found[symbol] = [answer(one, close, *asked[one.name], decisions.get(one.name)) for one in mine]
    return found


def moved(bars: Bars) -> tuple[float, float]:
    "The move of the last 24 hours, and the same in standard deviations of the daily moves before it."
    n = DAY // (bars.minutes * MINUTE)
    daily = bars.close[::-n][::-1] if n else bars.close
    moves = np.diff(daily) / daily[:-1]
    if not len(moves):
        return np.nan, np.nan
    spread = float(moves[:-1].std(ddof=1)) if len(moves) > 20 else np.nan
    return float(moves[-1]), float(moves[-1]) / spread if spread > 0 else np.nan


def scan(
    bars: dict[str, Bars],
    wished: dict[str, Any],
    pipeline: Pipeline = Pipeline(),
    funding: dict[str, Funding] | None = None,
    ticks: dict[str, float] | None = None,
) -> list[Row]:
    "All symbols, what asks for a look first."
    said_of, rows = answers(bars, wished, pipeline, funding, ticks), list[Row]()
    for symbol, b in bars.items():
        seen, close = look(b, **cast(Any, Regime.wired()), percent=on(ATRPercent.of())), int(b.close_time[-1])
        state, age, paid = seen.regime.state[-1], seen.regime.age[-1], (funding or {}).get(symbol)
        known = state == state
        rows.append(
            Row(
                symbol,
                close,
                float(b.close[-1]),
                *moved(b),
                NAMES[int(state)] if known else "",
                int(age) if known else 0,
                float(seen.percent[-1]),
                rates(paid, close) if paid is not None and len(paid) else None,
                said_of[symbol],
            )
        )
    return sorted(rows, key=lambda row: row.rank)
