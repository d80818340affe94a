"What venues tell once and never again: liquidations, gathered from their stream into the store until stopped."
import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from perps_kit.core.bar import DataError
from perps_kit.core.clock import SECOND
from perps_kit.data.files import symbol_of
from perps_kit.data.readings import Readings
from perps_kit.sources.paging import wait_seconds
from perps_kit.storage.candles import CandleStore
from perps_kit.storage.readings import append_readings
from runners.errors import ConfigError

POSITIONS = ("bybit",)      # tell the side of the position that was liquidated, not of the order that closed it


@dataclass
class Recorder:
    "One venue's liquidations of some symbols on their way into a store; a dropped stream is taken up again."
    exchange: Any               # a ccxt.pro exchange
    store: CandleStore
    symbols: list[str]
    every: float = 10.0         # seconds between two writes
    tell: Callable[[str], None] = lambda _: None
    stored: int = 0
    drops: int = 0              # connections that were lost
    bad: int = 0                # events that were no liquidation
    _since: dict[str, int] = field(default_factory=dict)        # of a symbol, the newest event that is stored

    async def run(self, stop: asyncio.Event) -> None:
        "Until `stop` is set; what came is written then too."
        if self.exchange.has.get("watchLiquidations") is not True:
            raise ConfigError(f"{self.exchange.id} has no stream of liquidations; Binance (binanceusdm) and Bybit (bybit) have")
        self.exchange.newUpdates = False        # with it, only the first of several that come together is handed over
        self.exchange.options["liquidationsLimit"] = 20_000
        await self.exchange.load_markets()
        names = [self._unified(symbol) for symbol in self.symbols]
        tasks = [asyncio.create_task(self._follow(name)) for name in names]
        halt = asyncio.create_task(stop.wait())
        try:
            while not halt.done():
                done, _ = await asyncio.wait({halt, *tasks}, timeout=self.every, return_when=asyncio.FIRST_COMPLETED)
                self.save()
                for task in done & set(tasks): task.result()
        finally:
            for task in (halt, *tasks): task.cancel()
            await asyncio.gather(halt, *tasks, return_exceptions=True)
            self.save()

    def _unified(self, symbol: str) -> str:
        from perps_kit.exchange.filters import pair
        name = pair(symbol_of(symbol))
        if name not in self.exchange.markets: raise ConfigError(f"{self.exchange.id} has no linear perpetual {symbol!r}")
        return name

    async def _follow(self, name: str) -> None:
        import ccxt
        attempt = 0
        while True:
            try:
                await self.exchange.watch_liquidations(name)
                attempt = 0
            except (ccxt.OperationFailed, TimeoutError) as error:
                self.drops += 1
                self.tell(f"{name}: the stream broke off ({type(error).__name__}), taken up again")
                await asyncio.sleep(wait_seconds(attempt))
                attempt = min(attempt + 1, 6)
            except ccxt.BaseError as error:
                raise ConfigError(f"{self.exchange.id} refused the stream of {name}: {' '.join(str(error).split())[:160]}") from None

    def save(self) -> int:
        "Write what came since the last time; the number of new events."
        before = self.stored
        rows: dict[str, list[tuple[float, ...]]] = {}
        for event in list(self.exchange.liquidations or ()):
            symbol = symbol_of(event["symbol"])
            if int(event.get("timestamp") or 0) + 60 * SECOND < self._since.get(symbol, 0): continue     # long since stored
            try: rows.setdefault(symbol, []).append(event_of(event, self.exchange.id))
            except DataError: self.bad += 1
        for symbol, found in rows.items():
            events = Readings.of(symbol, "liquidations", 0, *zip(*found, strict=True))
            self.stored += append_readings(self.store, events, label=self.exchange.id)
            self._since[symbol] = int(events.time[-1])
        return self.stored - before


def event_of(event: dict, venue: str) -> tuple[float, ...]:
    "Time, side, price, base units of ccxt's liquidation; a venue tells once a second at most, so it counts as known a second later."
    try: time, price = int(event["timestamp"]) + SECOND, float(event["price"])
    except (KeyError, TypeError, ValueError): raise DataError(f"a liquidation lacks time or price: {str(event)[:80]}") from None
    amount = float(event.get("contracts") or 0.0) * float(event.get("contractSize") or 1.0)
    side = {"buy": 1.0, "sell": -1.0}.get(str(event.get("side")), 0.0) * (-1.0 if venue in POSITIONS else 1.0)
    if not side or not price > 0 or not amount > 0: raise DataError(f"no liquidation: {str(event)[:80]}")
    return time, side, price, amount
