"Honest evaluation beside its peers: bootstrap against arch, overfitting against a loop, purged splits against skfolio; random entries."
from itertools import combinations

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from skfolio.model_selection import CombinatorialPurgedCV

from benchmarks.measure import Line, at_least, at_most, cpu_seconds
from perps_kit.backtest.bootstrap import bca, estimates, expectancy, yearly_sharpe
from perps_kit.backtest.lanes import lanes
from perps_kit.backtest.nulls import random_entries
from perps_kit.backtest.overfitting import overfitting
from perps_kit.backtest.run import walk
from perps_kit.backtest.splits import combined
from perps_kit.backtest.statistics import block_length, mean_interval
from perps_kit.data.sample import sample_bars, sample_symbols
from perps_kit.strategies.ema_scalper import EmaScalper

DRAWS, TRADES, DAYS = 5000, 1000, 730


def bootstraps() -> list[Line]:
    r = np.random.default_rng(0).normal(0.1, 1.2, TRADES) + 0.4 * np.repeat(np.random.default_rng(1).normal(size=TRADES // 5), 5)
    block, days = block_length(r), np.random.default_rng(2).normal(0.001, 0.02, DAYS)
    sharpe = lambda x: x.mean() / x.std(ddof=1) * np.sqrt(365)
    arch = lambda x, f, b: StationaryBootstrap(b, x, seed=np.random.default_rng(3)).conf_int(f, DRAWS, method="bca").ravel()
    spent = cpu_seconds(dict(
        mean=lambda: mean_interval(r), mean_bca=lambda: estimates(np.stack([r, np.ones(TRADES)]), dict(mean=expectancy)),
        mean_arch=lambda: arch(r, np.mean, block), days=lambda: estimates(days[None], dict(sharpe=yearly_sharpe)),
        days_arch=lambda: arch(days, sharpe, block_length(days)),
        block=lambda: block_length(r), block_arch=lambda: optimal_block_length(r)), times=3)
    ours, theirs = mean_interval(r, draws=50_000), StationaryBootstrap(block, r, seed=np.random.default_rng(4)).conf_int(
        np.mean, 50_000, method="percentile").ravel()
    apart = max(abs(ours.low - theirs[0]), abs(ours.high - theirs[1])) / np.ptp(theirs)
    assert bca(np.arange(9.0), 4.0, np.arange(9.0)).low < 4
    what = f"bootstrap of a mean, {TRADES} trades, {DRAWS} draws, block fitted"
    return [Line(what, spent["mean"] * 1e3, "ms", note=f"mean block {block:.1f}"),
            Line("the same with BCa", spent["mean_bca"] * 1e3, "ms"),
            at_least("arch over it, BCa", spent["mean_arch"] / spent["mean_bca"], "times", 1.0),
            at_least(f"arch over ours, Sharpe ratio of {DAYS} days, BCa", spent["days_arch"] / spent["days"], "times", 1.0),
            at_least("arch over ours, optimal block length", spent["block_arch"] / spent["block"], "times", 1.0),
            at_most("ends of the interval apart from arch's, 50,000 draws", float(apart), "of its width", 0.03)]


def loop_pbo(x: np.ndarray, blocks: int, splits: int) -> float:
    "The first splits by slicing, as the definition reads."
    parts, below = np.array_split(np.arange(len(x)), blocks), 0
    for k, some in enumerate(combinations(range(blocks), blocks // 2)):
        if k == splits: break
        chosen = set(some)
        inside = x[np.concatenate([parts[j] for j in some])]
        outside = x[np.concatenate([parts[j] for j in range(blocks) if j not in chosen])]
        best = (inside.mean(0) / inside.std(0, ddof=1)).argmax()
        ratio = outside.mean(0) / outside.std(0, ddof=1)
        below += (ratio <= ratio[best]).sum() / (x.shape[1] + 1) <= 0.5
    return below / splits


def choices() -> list[Line]:
    x, part = np.random.default_rng(0).normal(size=(DAYS, 100)), 200
    spent = cpu_seconds(dict(ours=lambda: overfitting(x), loop=lambda: loop_pbo(x, 16, part)), times=3)
    loop = spent["loop"] * 12_870 / part
    return [at_most(f"overfitting, 16 blocks, 12,870 halves, 100 configurations, {DAYS} days", spent["ours"], "s CPU", 0.5),
            at_least("a loop over the halves over it", loop / spent["ours"], "times", 10.0, note=f"{part} of its halves measured")]


def splits() -> list[Line]:
    n, groups, tests = 2000, 10, 2
    entry = np.arange(n)
    other = CombinatorialPurgedCV(n_folds=groups, n_test_folds=tests, purged_size=5, embargo_size=20)
    ours, theirs = lambda: combined(entry, entry + 5, groups, tests, 20.5 / (n + 4)), lambda: list(other.split(np.zeros((n, 1))))
    same = all((a.train == b).all() for a, (b, _) in zip(ours(), theirs(), strict=True))
    spent = cpu_seconds(dict(ours=ours, theirs=theirs), times=3)
    said = "the same rows as skfolio's" if same else "OTHER ROWS"
    return [Line(f"{len(ours())} combined purged splits of {n} trades", spent["ours"] * 1e3, "ms", note=said),
            at_least("skfolio over it", spent["theirs"] / spent["ours"], "times", 1.0)]


def coins() -> list[Line]:
    found = lanes(EmaScalper(), {s: sample_bars(s) for s in sample_symbols()})
    run = walk(found)
    spent = cpu_seconds(dict(coins=lambda: random_entries(found, run), walk=lambda: walk(found)), times=3)
    n, gated = len(run.trades), spent["walk"] / len(run.trades) * 1e6
    return [at_most(f"200 seeds of random entries, {n} trades, {len(found)} symbols", spent["coins"], "s CPU", 5.0, note="made-up candles"),
            Line("a random trade", spent["coins"] / 200 / n * 1e6, "us", note=f"in the walk with its gates {gated:,.0f}")]


def lines() -> list[Line]: return [*bootstraps(), *choices(), *splits(), *coins()]
