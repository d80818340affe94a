"The settlements that positions pay or receive, as the venue published them."

import asyncio
import logging

from perps_kit.core.clock import HOUR
from perps_kit.core.stream import Step
from runners.live.venue import Exchange, network_errors

log = logging.getLogger(__name__)


class FundingDesk:
    "Asks the venue for the settlements of bars in which something is held."

    def __init__(self, exchange: Exchange):
        self.exchange = exchange

    async def of(self, steps: dict[str, list[Step]], held: set[str]) -> dict[tuple[str, int], tuple[float, float]]:
        "(symbol, open_time) -> quote cash per unit of base that a long pays at the open and inside of that bar; only bars with a settlement on a whole hour are asked for."
        due = {symbol: [step.bar for step in some if step.bar.close_time // HOUR > (step.bar.open_time - 1) // HOUR] for symbol, some in steps.items() if symbol in held}
        found: dict[tuple[str, int], tuple[float, float]] = {}
        for symbol, bars in due.items():
            if not bars:
                continue
            for time, rate, mark in await self.settled(symbol, bars[0].open_time, bars[-1].close_time):
                for bar in bars:
                    if bar.open_time <= time < bar.close_time:
                        at_open, inside = found.get((symbol, bar.open_time), (0.0, 0.0))
                        cash = mark * rate
                        found[symbol, bar.open_time] = (at_open + cash, inside) if time == bar.open_time else (at_open, inside + cash)
        return found

    async def settled(self, symbol: str, since: int, until: int) -> list[tuple[int, float, float]]:
        "Time, rate and mark price of the settlements in [since, until); none where the venue does not answer, which is logged."
        for attempt in range(3):
            try:
                async with asyncio.timeout(self.exchange.timeout):
                    rows = await self.exchange.client.fapiPublicGetFundingRate(dict(symbol=symbol, startTime=since, endTime=until - 1, limit=100))
                return [(round(int(r["fundingTime"]) / 60_000) * 60_000, float(r["fundingRate"]), float(r["markPrice"])) for r in rows if r.get("markPrice")]
            except (TimeoutError, *network_errors()) as error:
                log.warning("%s: no funding (attempt %d): %s", symbol, attempt + 1, type(error).__name__)
        log.error("%s: the settlement between %d and %d is missing from its positions", symbol, since, until)
        return []
