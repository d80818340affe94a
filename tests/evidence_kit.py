"Candles that do what a test is about after each entry, and their backtest."
import numpy as np
from fixtures.candles import QUARTER
from told import BUY, FREELY, QUIET, Told

from perps_kit.backtest.report import Report, report
from perps_kit.backtest.run import Result, backtest
from perps_kit.core.bar import Bars
from perps_kit.data.funding import Funding
from perps_kit.trackers.plan import Rules


def market(n: int, every: int, up: float, jitter: float = 0.0, seed: int = 3) -> Bars:
    "Candles that buy every so many bars and move by `up` (and some noise) after each entry."
    rng, volume, close = np.random.default_rng(seed), np.full(n, QUIET), np.full(n, 100.0)
    volume[2::every] = BUY
    close += np.where(np.arange(n) % every == 4, up + rng.normal(0, jitter, n), 0.0)
    first, time = np.full(n, 100.0), QUARTER * np.arange(n)
    return Bars.from_columns("BTCUSDT", 15, time, first, np.maximum(first, close), np.minimum(first, close), close, volume)


def of(bars: Bars, rules: Rules = Rules(patience=0), **more) -> tuple[Result, Report]:
    run = backtest({"told": Told()}, bars, FREELY, rules=rules, compiled=False, **more)
    return run, report(run)


def paid(bars: Bars) -> dict[str, Funding]:
    times = np.arange(0, int(bars.close_time[-1]), 8 * 3_600_000)
    return {"BTCUSDT": Funding.of("BTCUSDT", times, np.full(len(times), 1e-5))}
