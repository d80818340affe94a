"""backtesting.py: averages ready in `init`, the rules in `next`, stop and target with the order.

It opens at a price that has already passed the stop and closes at once; the house calls such an entry off.
"""
import io
import warnings
from contextlib import redirect_stderr
from typing import Any

import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover
from told import answer, averages, seeded, timed, told


def follower(t: dict[str, Any]) -> type:
    class Cross(Strategy):
        def init(self) -> None:
            close, it = t["close"], averages(t)
            self.fast, self.slow = (self.I(lambda n=n: seeded(close, n, 2 / (n + 1))) for n in (t["fast"], t["slow"]))
            self.rsi, self.atr, self.ratio = (self.I(lambda x=it[name]: x) for name in ("rsi", "atr", "ratio"))

        def next(self) -> None:
            if self.position or len(self.data) == len(t["close"]): return
            above = crossover(self.fast, self.slow)
            if not (above or crossover(self.slow, self.fast)) or not self.ratio[-1] >= t["surge"]: return
            if not t["rsi_low"] <= self.rsi[-1] <= t["rsi_high"]: return
            side, close, risk = 1 if above else -1, self.data.Close[-1], t["stop_atr"] * self.atr[-1]
            (self.buy if above else self.sell)(size=1, sl=close - side * risk, tp=close + side * t["multiple"] * risk)
    return Cross


def run(t: dict[str, Any]) -> Any:
    columns = {name.title(): t[name] for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame(columns, index=pd.to_datetime(t["open_time"], unit="ms"))
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return Backtest(frame, follower(t), cash=1e9, commission=t["fee"]).run()


def main() -> None:
    t = told()
    run({**t, **{k: t[k][:1500] for k in ("open_time", "open", "high", "low", "close", "volume")}})
    seconds, stats = timed(lambda: run(t))
    rows = stats._trades.sort_values("EntryBar").itertuples()
    answer(seconds, [(1 if r.Size > 0 else -1, int(r.EntryBar), int(r.ExitBar), float(r.EntryPrice), float(r.ExitPrice)) for r in rows])


main()
