"The settlements that positions pay or receive, as the venue published them."

import asyncio
import logging
from math import isfinite
from typing import Any

from perps_kit.core.bar import Bar, DataError
from perps_kit.core.clock import HOUR, MINUTE, iso
from perps_kit.core.stream import Step
from perps_kit.engine.engine import Paid, paid_in
from runners.live.venue import Exchange, network_errors
from runners.metrics import Metrics

log = logging.getLogger(__name__)


class FundingDesk:
    "Asks the venue for the settlements of bars in which something is held."

    def __init__(self, exchange: Exchange, metrics: Metrics):
        self.exchange, self.metrics = exchange, metrics

    async def of(self, steps: dict[str, list[Step]], held: set[str], frames: set[int]) -> Paid:
        "Funding of the bars of some timeframes (minutes). Venues settle on whole hours: only bars with one are asked for."
        due = {symbol: [bar for step in some for minutes, bar in step.closed.items() if minutes in frames and on_the_hour(bar)]
               for symbol, some in steps.items() if symbol in held}
        found: Paid = {}
        for symbol, bars in due.items():
            if not bars:
                continue
            for time, rate, mark in await self.settled(symbol, min(b.open_time for b in bars), max(b.close_time for b in bars)):
                for bar in bars:
                    if bar.open_time <= time < bar.close_time:
                        (at_open, inside), cash = paid_in(found, symbol, bar), mark * rate
                        whole = (at_open + cash, inside) if time == bar.open_time else (at_open, inside + cash)
                        found[symbol, bar.open_time, bar.close_time] = whole
        return found

    async def settled(self, symbol: str, since: int, until: int) -> list[tuple[int, float, float]]:
        "Time, rate and mark price of the settlements in [since, until); none where the venue does not answer well, which is logged."
        wish = dict(symbol=symbol, startTime=since, endTime=until - 1, limit=100)
        try:
            async with asyncio.timeout(3 * self.exchange.timeout):
                return settlements_of(await self.exchange.patiently(lambda: self.exchange.client.fapiPublicGetFundingRate(wish), 3))
        except DataError as error:
            self.metrics.refusals.labels("bad funding").inc()
            reason = str(error)
        except (TimeoutError, *network_errors()) as error:
            reason = type(error).__name__
        log.error("%s: a settlement between %s and %s is missing from its positions: %s", symbol, iso(since), iso(until), reason)
        return []


def on_the_hour(bar: Bar) -> bool:
    "Whether a whole hour lies in [open_time, close_time]."
    return bar.close_time // HOUR > (bar.open_time - 1) // HOUR


def settlements_of(rows: Any) -> list[tuple[int, float, float]]:
    "Time (on its minute), rate and mark price of each settlement in an answer; those without a mark price are older than any position."
    if not isinstance(rows, list):
        raise DataError(f"settlements should come as a list, the exchange sent {str(rows)[:60]!r}")
    try:
        paid = [r for r in rows if r["markPrice"]]
        found = [(round(int(r["fundingTime"]) / MINUTE) * MINUTE, float(r["fundingRate"]), float(r["markPrice"])) for r in paid]
    except (KeyError, TypeError, ValueError):
        raise DataError(f"a settlement lacks its time, rate or mark price: {str(rows)[:120]}") from None
    if not all(isfinite(rate) and isfinite(mark) and mark > 0 for _, rate, mark in found):
        raise DataError(f"a settlement holds something that is not a number: {str(rows)[:120]}")
    return found
