"""freqtrade: a strategy with columns of signals, a stop and a return asked for of each trade; its exchange is one that is never called.

What is timed is what its own `backtest_one_strategy` does: indicators, signals, and the walk over the candles.
"""
import logging
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from freqtrade.configuration import TimeRange
from freqtrade.enums import RunMode
from freqtrade.exchange import Exchange
from freqtrade.optimize.backtesting import Backtesting
from freqtrade.strategy import IStrategy, stoploss_from_absolute
from told import answer, averages, seeded, timed, told

PAIR = "BTC/USDT:USDT"
QUARTER = timedelta(minutes=15)


class Cross(IStrategy):
    "Told by whoever makes it."
    INTERFACE_VERSION = 3
    timeframe, can_short, startup_candle_count = "15m", True, 0
    minimal_roi, stoploss = {"0": 100.0}, -0.9
    use_custom_stoploss = use_custom_roi = True
    use_exit_signal = process_only_new_candles = False
    order_types = dict(entry="market", exit="market", stoploss="market", stoploss_on_exchange=False)
    t: dict[str, Any] = {}
    levels: dict[datetime, tuple[float, float]] = {}

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict) -> pd.DataFrame:
        t = {**self.t, **{k: dataframe[k].to_numpy() for k in ("open", "high", "low", "close", "volume")}}
        for name in ("fast", "slow"): dataframe[name] = seeded(t["close"], t[name], 2 / (t[name] + 1))
        for name, values in averages(t).items(): dataframe[name] = values
        return dataframe

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict) -> pd.DataFrame:
        d, t = dataframe, self.t
        above, known = d.fast > d.slow, d.slow.shift(1).notna()
        wanted = known & (above != above.shift(1)) & (d.ratio >= t["surge"]) & d.rsi.between(t["rsi_low"], t["rsi_high"])
        d.loc[wanted & above, "enter_long"], d.loc[wanted & ~above, "enter_short"] = 1, 1
        side, risk = np.where(above, 1.0, -1.0), t["stop_atr"] * d.atr
        rows = pd.DataFrame(dict(date=d.date, stop=d.close - side * risk, target=d.close + side * t["multiple"] * risk))[wanted]
        self.levels = {row.date.to_pydatetime(): (row.stop, row.target) for row in rows.itertuples()}
        return d

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict) -> pd.DataFrame: return dataframe

    def custom_stoploss(self, pair: str, trade: Any, current_time: datetime, current_rate: float, current_profit: float, **_: Any) -> float:
        stop, _target = self.levels[trade.open_date_utc - QUARTER]
        return stoploss_from_absolute(stop, current_rate, is_short=trade.is_short, leverage=trade.leverage)

    def custom_roi(self, pair: str, trade: Any, current_time: datetime, trade_duration: int, entry_tag: Any, side: str, **_: Any) -> float:
        _stop, target = self.levels[trade.open_date_utc - QUARTER]
        return trade.calc_profit_ratio(target)


def market() -> dict[str, Any]:
    nothing = dict(min=None, max=None)
    return dict(id="BTCUSDT", symbol=PAIR, base="BTC", quote="USDT", settle="USDT", active=True, type="swap", spot=False, swap=True,
                future=False, linear=True, inverse=False, contract=True, contractSize=1.0, taker=0.0005, maker=0.0005,
                precision=dict(amount=1e-8, price=1e-10, cost=1e-8),
                limits=dict(amount=nothing, price=nothing, cost=nothing, leverage=nothing), info={})


def backtesting(t: dict[str, Any], folder: Path) -> Backtesting:
    config: Any = dict(
        strategy="Cross", strategy_path=str(folder), user_data_dir=folder, datadir=folder, exportdirectory=folder, exportfilename=folder,
        runmode=RunMode.BACKTEST, dry_run=True, dry_run_wallet=1e9, stake_currency="USDT", stake_amount=50_000, max_open_trades=1,
        timeframe="15m", trading_mode="futures", margin_mode="isolated", fee=t["fee"], pairlists=[dict(method="StaticPairList")],
        timerange=None, exchange=dict(name="binance", key="", secret="", pair_whitelist=[PAIR], pair_blacklist=[]), original_config={},
        export="none", entry_pricing=dict(price_side="other", use_order_book=False),
        exit_pricing=dict(price_side="other", use_order_book=False), unfilledtimeout=dict(entry=10, exit=10, unit="minutes"),
        dataformat_ohlcv="feather", dataformat_trades="feather", internals={})
    Exchange.get_markets = lambda self, *_, **__: {PAIR: market()}
    Exchange.reload_markets = lambda self, *_, **__: None
    Exchange.get_max_leverage = lambda self, *_, **__: 1.0
    Exchange.get_maintenance_ratio_and_amt = lambda self, *_, **__: (0.0, 0.0)
    Exchange.dry_run_liquidation_price = lambda self, *_, **__: None
    Exchange.get_liquidation_price = lambda self, *_, **__: None
    Exchange.calculate_funding_fees = lambda self, *_, **__: 0.0
    exchange = Exchange(config, validate=False)
    exchange._markets = {PAIR: market()}
    exchange._api.markets = exchange._api_async.markets = exchange._markets
    return Backtesting(config, exchange)


def run(t: dict[str, Any], folder: Path) -> tuple[float, list[tuple]]:
    it = backtesting(t, folder)
    strategy = it.strategylist[0]
    type(strategy).t = t
    frame = pd.DataFrame(dict(date=pd.to_datetime(t["open_time"], unit="ms", utc=True),
                              **{name: t[name] for name in ("open", "high", "low", "close", "volume")}))
    it.futures_data, it.funding_fee_timeframe_secs = {PAIR: pd.DataFrame(columns=["date", "open_fund", "open_mark"])}, 8 * 3600
    seconds, _ = timed(lambda: it.backtest_one_strategy(strategy, {PAIR: frame}, TimeRange()))
    results = it.all_bt_content[strategy.get_strategy_name()]["results"]
    opened, closed = (np.searchsorted(frame.date, pd.DatetimeIndex(results[name])).tolist() for name in ("open_date", "close_date"))
    rows = zip(results.is_short, opened, closed, results.open_rate, results.close_rate, results.exit_reason, strict=True)
    return seconds, [(-1 if short else 1, a, b, float(x), float(y)) for short, a, b, x, y, why in rows if why != "force_exit"]


def main() -> None:
    t = told()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(__file__, folder / "cross.py")      # it looks for strategies in a folder
        run({**t, **{k: t[k][:1000] for k in ("open_time", "open", "high", "low", "close", "volume")}}, folder)
        answer(*run(t, folder))


if __name__ == "__main__": main()
