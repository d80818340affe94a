"The whole gate on strategies whose worth is known: one that reads tomorrow, a hundred that know nothing, one with an edge."
from math import isnan

import numpy as np
import pytest
from evidence_kit import market, paid
from fixtures.candles import QUARTER
from told import BUY, FREELY, LEAVE_LONGS, LEAVE_SHORTS, QUIET, SELL, Told

from perps_kit.backtest.bootstrap import bootstrap
from perps_kit.backtest.evidence import ENOUGH, Paper, evidence
from perps_kit.backtest.lanes import lanes
from perps_kit.backtest.nulls import dearer, nulls
from perps_kit.backtest.overfitting import overfitting
from perps_kit.backtest.report import report
from perps_kit.backtest.run import walk
from perps_kit.backtest.sharpe import independent
from perps_kit.backtest.splits import leaks
from perps_kit.core.bar import Bars
from perps_kit.core.compiled import have_numba
from perps_kit.trackers.plan import Rules

DONE = dict(pbo=0.0, paper=Paper(30, 0))                        # what no backtest can measure is taken as passed: the numbers alone decide
FREE = Rules(patience=0, entry_bp=0, stop_bp=0, close_bp=0, fee=0, target_fee=0)
pytestmark = pytest.mark.skipif(not have_numba(), reason="numba is not installed: a hundred backtests in plain Python take minutes")


def noise(seed: int, n: int = 6000, step: float = 0.3) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, step / 100, n)))


def fair(seed: int, volume: np.ndarray, step: float = 0.5, fine: int = 400) -> Bars:
    "Candles of a price that is as likely to rise as to fall at every one of many moments inside of each; any fill is a fair bet."
    path = 100 + np.cumsum(np.random.default_rng(seed).normal(0, step / np.sqrt(fine), len(volume) * fine)).reshape(-1, fine)
    first = np.concatenate([[100.0], path[:-1, -1]])
    high, low = np.maximum(first, path.max(1)), np.minimum(first, path.min(1))
    return Bars.from_columns("BTCUSDT", 15, QUARTER * np.arange(len(volume)), *(x + 200 for x in (first, high, low, path[:, -1])), volume)


def candles(close: np.ndarray, volume: np.ndarray, seed: int) -> Bars:
    "Candles through these closes, with wicks."
    rng, first = np.random.default_rng(seed), np.concatenate([[100.0], close[:-1]])
    up, down = rng.exponential(5e-4, (2, len(close)))
    high, low = np.maximum(first, close) * (1 + up), np.minimum(first, close) * (1 - down)
    return Bars.from_columns("BTCUSDT", 15, QUARTER * np.arange(len(close)), first, high, low, close, volume)


def tried(bars: Bars, rules: Rules = Rules(patience=0), width: float = 2.0):
    "Lanes, run and page; funding is paid."
    found = lanes({"told": Told(width=width)}, bars, paid(bars))
    run = walk(found, FREELY, rules)
    return found, run, report(run)


def holder(side: np.ndarray, close: np.ndarray, seed: int = 0) -> Bars:
    "Candles on which a strategy enters on the given sides and wants out one bar later."
    volume = np.full(len(close), QUIET)
    at = np.flatnonzero(side)
    volume[at], volume[at + 1] = np.where(side[at] > 0, BUY, SELL), np.where(side[at] > 0, LEAVE_LONGS, LEAVE_SHORTS)
    return candles(close, volume, seed)


@pytest.mark.parametrize("seed", range(3))
def test_who_is_told_tomorrows_return_is_caught(seed):
    close = noise(seed, step=1.0)
    r = np.diff(np.log(close), prepend=np.log(100.0))
    tomorrow = np.where((np.arange(len(r)) % 6 == 3) & (np.arange(len(r)) < len(r) - 10), np.sign(np.roll(r, -1)), 0.0)
    assert leaks(tomorrow, r).found and leaks(tomorrow, r).ahead == 1
    bars = holder(tomorrow, close)
    found, run, page = tried(bars)
    assert page.trades.n >= 200 and page.trades.expectancy > 0.1                # its backtest is splendid
    numbers = evidence(run, page, out_of_sample=page, **DONE)
    checked = nulls(found, run, FREELY, seeds=50)
    assert numbers.label == "proven" and checked.coin.passed                    # and the numbers of one run alone believe it
    assert any("one bar late nothing is left" in line for line in checked.objections)
    assert evidence(run, page, out_of_sample=page, nulls=checked, **DONE).label == "unproven"


def test_an_honest_edge_that_lasts_survives_a_late_order():
    rng, n = np.random.default_rng(4), 6000
    side = np.where((np.arange(n) % 12 == 3) & (np.arange(n) < n - 20), rng.choice([-1.0, 1.0], n), 0.0)
    drift = sum(np.roll(side, k) for k in range(1, 9)) * 0.004                  # what follows a sign lasts for two hours
    r = drift + rng.normal(0, 0.002, n)
    close = 100 * np.exp(np.cumsum(r - r.mean()))
    volume = np.where(side > 0, BUY, np.where(side < 0, SELL, QUIET))
    found, run, page = tried(candles(close, volume, 1))
    checked = nulls(found, run, FREELY, seeds=50)
    assert page.trades.n >= 200 and not checked.objections and 0 < checked.delayed < checked.coin.own


@pytest.mark.parametrize("rules, trials", [(Rules(patience=0), 1), (FREE, 10)], ids=["after costs", "without costs"])
def test_of_a_hundred_strategies_that_know_nothing_ninety_five_fail(rules, trials):
    "After costs; and without any, where their best is chosen out of ten."
    failed, sharpes, runs = 0, [], []
    for seed in range(100):
        rng, volume = np.random.default_rng(1000 + seed), np.full(3600, QUIET)
        at = np.arange(20, 3500, 9)
        volume[at] = rng.choice([BUY, SELL], len(at))
        _, run, page = tried(fair(seed, volume), rules, width=0.8)
        runs.append((run, page))
        sharpes.append(page.equity.sharpe / np.sqrt(365))
    for run, page in runs:
        assert page.trades.n >= ENOUGH
        failed += evidence(run, page, trials, float(np.var(sharpes)), out_of_sample=page, doubled=page, **DONE).label == "unproven"
    assert failed >= 95


def test_a_planted_edge_passes_the_numbers():
    bars = market(9000, 24, 2.5, 1.5)
    found, run, page = tried(bars)
    dear = report(walk(found, FREELY, dearer(run.rules, 2.0, 1.0)))
    rng, days = np.random.default_rng(0), np.diff(page.curve.equity, prepend=page.curve.start) / page.capital
    others = rng.normal(0, days.std(), (len(days), 30))                         # the settings that did not find it
    matrix = np.column_stack([days, others])
    odds = overfitting(matrix, 10)
    case = evidence(run, page, independent(matrix), float((matrix.mean(0) / matrix.std(0, ddof=1))[1:].var(ddof=1)), out_of_sample=page,
                    doubled=dear, pbo=odds.probability, paper=Paper(31, 0), nulls=nulls(found, run, FREELY, seeds=50))
    assert case.label == "proven", case.objections
    assert case.trials == 31 and case.deflated > 0.95 and case.lower > 0 and case.overfitting < 0.05
    assert bootstrap(page).expectancy.bca.low > 0 and bootstrap(page).sharpe.percentile.low > 0


def test_an_edge_that_pays_the_fees_only_without_slippage_fails():
    _, run, page = tried(market(9000, 24, 2.5, 1.5), Rules(patience=0, entry_bp=0, stop_bp=0, close_bp=0))
    found = lanes({"told": Told()}, market(9000, 24, 2.5, 1.5))
    dear = report(walk(found, FREELY, Rules(patience=0, entry_bp=200, stop_bp=200, close_bp=200)))
    case = evidence(run, page, out_of_sample=page, doubled=dear, **DONE)
    assert any(line.startswith("doubled slippage leaves no gain: -") for line in case.objections) and not isnan(case.lower)
