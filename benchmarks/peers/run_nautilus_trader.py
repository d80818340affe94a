"""nautilus_trader: its own indicators, a market order with its stop and target as a bracket, logging off.

A market order of `on_bar` is filled at the close that it was decided on, not at the next open; told as an entry at the next bar. Its
averages begin with the first value and not with the mean of the first few, so the earliest trades may differ.
"""
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import (
    AverageTrueRange,
    ExponentialMovingAverage,
    MovingAverageType,
    RelativeStrengthIndex,
    SimpleMovingAverage,
)
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
from told import answer, timed, told

QUARTER = 900_000


def instrument(fee: float) -> CryptoPerpetual:
    "Bitcoin with more decimals of price than the venue has; with many more its accounts no longer add up."
    share = Decimal(str(fee))
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT-PERP"), Venue("SIM")), raw_symbol=Symbol("BTCUSDT"), base_currency=BTC,
        quote_currency=USDT, settlement_currency=USDT, is_inverse=False, price_precision=2, price_increment=Price.from_str("0.01"),
        size_precision=3, size_increment=Quantity.from_str("0.001"), margin_init=Decimal("0.05"), margin_maint=Decimal("0.025"),
        maker_fee=share, taker_fee=share, ts_event=0, ts_init=0)


class Cross(Strategy):
    "Told what to look at, by the number of the bar."

    def __init__(self, t: dict[str, Any], traded: CryptoPerpetual, kind: BarType):
        super().__init__()
        self.t, self.traded, self.kind = t, traded, kind

    def on_start(self) -> None:
        wilder = MovingAverageType.WILDER
        self.fast, self.slow = ExponentialMovingAverage(self.t["fast"]), ExponentialMovingAverage(self.t["slow"])
        self.rsi, self.atr = RelativeStrengthIndex(14, wilder), AverageTrueRange(14, wilder)
        self.volume, self.was_above = SimpleMovingAverage(20), False
        for unit in (self.fast, self.slow, self.rsi, self.atr): self.register_indicator_for_bars(self.kind, unit)
        self.subscribe_bars(self.kind)

    def on_bar(self, bar: Bar) -> None:
        usual, ready, amount = self.volume.value, self.indicators_initialized() and self.volume.initialized, float(bar.volume)
        self.volume.update_raw(amount)
        above, was_above = self.fast.value > self.slow.value, self.was_above
        self.was_above = above
        if not ready or above == was_above or not self.portfolio.is_flat(self.traded.id): return
        if amount < self.t["surge"] * usual or not self.t["rsi_low"] <= 100 * self.rsi.value <= self.t["rsi_high"]: return
        side, close, risk = 1 if above else -1, float(bar.close), self.t["stop_atr"] * self.atr.value
        price = self.traded.make_price
        orders = self.order_factory.bracket(
            self.traded.id, OrderSide.BUY if above else OrderSide.SELL, self.traded.make_qty(1),
            sl_trigger_price=price(close - side * risk), tp_price=price(close + side * self.t["multiple"] * risk), tp_post_only=False)
        self.submit_order_list(orders)


def engine_of(t: dict[str, Any]) -> BacktestEngine:
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(Venue("SIM"), OmsType.NETTING, AccountType.MARGIN, [Money(1e8, USDT)], base_currency=USDT, default_leverage=Decimal(1))
    traded = instrument(t["fee"])
    engine.add_instrument(traded)
    kind = BarType.from_str(f"{traded.id}-15-MINUTE-LAST-EXTERNAL")
    frame = pd.DataFrame({name: t[name] for name in ("open", "high", "low", "close", "volume")},
                         index=pd.to_datetime(t["open_time"] + QUARTER, unit="ms", utc=True))
    engine.add_data(BarDataWrangler(kind, traded).process(frame))
    engine.add_strategy(Cross(t, traded, kind))
    return engine


def rows_of(t: dict[str, Any], engine: BacktestEngine) -> list[tuple]:
    found = []
    positions = [*engine.kernel.cache.position_snapshots(), *engine.kernel.cache.positions_closed()]
    for p in sorted(positions, key=lambda p: p.ts_opened):
        if not p.ts_closed: continue
        opened, closed = (int(np.searchsorted(t["open_time"], ts // 1_000_000)) for ts in (p.ts_opened, p.ts_closed))
        found.append((1 if p.entry == OrderSide.BUY else -1, opened, closed - 1, float(p.avg_px_open), float(p.avg_px_close)))
    return found


def main() -> None:
    t = told()
    engine = engine_of({**t, **{k: t[k][:1000] for k in ("open_time", "open", "high", "low", "close", "volume")}})
    engine.run()
    engine.dispose()
    engine = engine_of(t)
    seconds, _ = timed(engine.run)
    answer(seconds, rows_of(t, engine))


main()
