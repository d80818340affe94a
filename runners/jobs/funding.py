"What the funding report reads: rates a year, where the newest one stands among the past, the next settlement, the extremes."

from typing import NamedTuple

import numpy as np

from perps_kit.core.clock import DAY, HOUR
from perps_kit.data.files import usual_step
from perps_kit.data.funding import Funding

YEAR = 365 * DAY
LEAST = 20  # settlements below which nothing is called a percentile


class Rates(NamedTuple):
    "The settlements of a symbol in figures; rates are fractions that longs pay, nan where too little is known."

    symbol: str
    n: int
    every: int  # milliseconds from one to the next, as the newest ones are apart
    last: float
    last_time: int
    next_time: int  # the first settlement after `now`
    yearly: float  # the newest rate as if it went on
    week: float  # mean of seven days, a year
    percentile: float  # share of the others of the window that are lower, ties half
    low: float  # 5 % quantile of the window
    high: float  # 95 %
    paid: float  # what a long has paid in the window, of its value


def interval(funding: Funding, newest: int = 12) -> int:
    "Milliseconds between the newest settlements, as most of them are apart; the promised interval for fewer than two."
    minutes = usual_step(funding.time[-newest:])
    return minutes * 60_000 or funding.every


def rates(funding: Funding, now: int) -> Rates:
    "Figures of a series that is not empty."
    every, last, time = interval(funding), float(funding.rate[-1]), int(funding.time[-1])
    a_year, past = YEAR / every, funding.rate[:-1]
    week = funding.rate[funding.time > time - 7 * DAY]
    known = len(past) >= LEAST
    below = float(((past < last).sum() + 0.5 * (past == last).sum()) / len(past)) if known else np.nan
    low, high = (float(q) for q in np.quantile(funding.rate, [0.05, 0.95])) if known else (np.nan, np.nan)
    late = max(0, now - time) // every + 1
    return Rates(
        funding.symbol,
        len(funding),
        every,
        last,
        time,
        time + late * every,
        last * a_year,
        float(week.mean()) * a_year,
        below,
        low,
        high,
        float(funding.rate.sum()),
    )


class Extreme(NamedTuple):
    "A settlement far from the others."

    symbol: str
    time: int
    rate: float
    score: float  # distances of the middle half from the median


def extremes(funding: Funding, most: int = 5, from_score: float = 3.0) -> list[Extreme]:
    "The settlements that stand furthest out, by the distance from the median in quartile ranges; none without a spread."
    if len(funding) < LEAST:
        return []
    low, middle, high = np.quantile(funding.rate, [0.25, 0.5, 0.75])
    if high == low:
        return []
    scores = (funding.rate - middle) / (high - low)
    order = np.argsort(-np.abs(scores), kind="stable")[:most]
    found = [Extreme(funding.symbol, int(funding.time[i]), float(funding.rate[i]), float(scores[i])) for i in order]
    return [x for x in found if abs(x.score) >= from_score]


def wait_text(milliseconds: int) -> str:
    "A wait as hours and minutes."
    hours, minutes = milliseconds // HOUR, milliseconds % HOUR // 60_000
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
