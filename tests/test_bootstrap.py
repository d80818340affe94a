"The bootstrap agrees with arch: block lengths, percentile and BCa intervals; clusters and daily figures agree with their definitions."
import warnings
from math import inf, isnan

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from fixtures.candles import QUARTER
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.backtest.bootstrap import (
    bca,
    bootstrap,
    clusters_of,
    deepest,
    estimates,
    expectancy,
    factor,
    left_out,
    reshuffled,
    table,
    yearly_sharpe,
)
from perps_kit.backtest.equity import Daily, day_ends, drawdown, sharpe
from perps_kit.backtest.report import Record, report
from perps_kit.backtest.run import Result, backtest
from perps_kit.backtest.statistics import block_length, clustered, factor_interval, mean_interval, profit_factor, resampled
from perps_kit.core.bar import Bars
from perps_kit.data.sample import sample_bars
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.trackers.plan import Rules


def echoing(n, rho, seed=0):
    x = np.random.default_rng(seed).normal(size=n)
    for i in range(1, n): x[i] += rho * x[i - 1]
    return x


@pytest.mark.parametrize("n", [20, 50, 200, 1000, 3000])
@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.3, 0.8])
def test_the_block_length_is_that_of_arch(n, rho):
    x = echoing(n, rho, seed=n)
    assert block_length(x) == pytest.approx(max(1.0, float(optimal_block_length(x)["stationary"].iloc[0])), rel=1e-9)


def test_nothing_that_varies_needs_no_blocks():
    assert block_length(np.ones(100)) == block_length([]) == block_length([1.0, 2.0]) == 1.0


@pytest.mark.parametrize("n, block", [(7, 1.0), (50, 3.0), (300, 12.5), (70_000, 4.0)])
def test_samples_are_made_of_blocks_of_the_asked_length(n, block):
    rows = np.concatenate(list(resampled(n, 40, block)))
    assert rows.shape == (40, n) and rows.min() >= 0 and rows.max() < n
    again = (rows[:, 1:] != (rows[:, :-1] + 1) % n).mean()
    assert again == pytest.approx((1 - 1 / n) / block, abs=4 * np.sqrt(1 / block / rows.size))
    assert np.bincount(rows.ravel(), minlength=n).std() / 40 < 2 * np.sqrt(block / 40)      # every row as likely
    assert all((a == b).all() for a, b in zip(resampled(n, 40, block), resampled(n, 40, block)))


@pytest.mark.parametrize("name, ours, theirs", [
    ("mean", lambda c: c[0].mean(1), np.mean),
    ("factor", lambda c: np.maximum(c[0], 0).sum(1) / np.maximum(-c[0], 0).sum(1), lambda x: x[x > 0].sum() / -x[x < 0].sum()),
    ("sharpe", yearly_sharpe, lambda x: x.mean() / x.std(ddof=1) * np.sqrt(365))])
def test_bca_is_that_of_arch_on_the_same_draws(name, ours, theirs):
    x = np.random.default_rng(3).exponential(1, 120) - 0.8
    machine = StationaryBootstrap(4, x, seed=np.random.default_rng(7))
    wanted = machine.conf_int(theirs, 1000, method="bca", size=0.9).ravel()
    machine.reset()
    draws = machine.apply(theirs, 1000).ravel()
    without = np.concatenate([ours(x[None][:, at]) for at in left_out(120)])
    assert bca(draws, float(theirs(x)), without, 0.9) == pytest.approx(tuple(wanted), rel=1e-9)


def test_intervals_of_own_draws_agree_with_those_of_arch():
    x = echoing(250, 0.4) + 0.2
    block = block_length(x)
    found = estimates(np.stack([x, np.ones(250)]), dict(mean=expectancy))["mean"]
    assert found.block == block and found.percentile == mean_interval(x)
    for method, own in (("percentile", found.percentile), ("bca", found.bca)):
        theirs = StationaryBootstrap(block, x, seed=np.random.default_rng(5)).conf_int(np.mean, 5000, method=method).ravel()
        assert own == pytest.approx(tuple(theirs), abs=0.06 * np.ptp(theirs))


def test_leaving_one_out_leaves_each_out_once():
    rows = np.concatenate(list(left_out(6)))
    assert [sorted(set(range(6)) - set(row)) for row in rows.tolist()] == [[k] for k in range(6)] and rows.shape == (6, 5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=30, max_size=60))
def test_daily_figures_are_those_of_the_report(r):
    r = np.array(r)
    curve = Daily(day_ends(0, len(r) * 86_400_000 - 1), 100.0 * np.cumprod(1 + r), 100.0)
    ratio, fall = yearly_sharpe(r[None, None])[0], deepest(r[None, None])[0]
    assert fall == pytest.approx(drawdown(curve).depth, abs=1e-12)
    if r.std() > 1e-6: assert ratio == pytest.approx(sharpe(r), rel=1e-9)


def test_the_true_mean_is_covered_as_often_as_promised():
    held = {name: 0 for name in ("percentile", "bca")}
    for seed in range(150):
        x = np.random.default_rng(seed).exponential(1.0, 80)
        it = estimates(np.stack([x, np.ones(80)]), dict(mean=expectancy), draws=600, level=0.9, seed=seed)["mean"]
        for name in held: held[name] += getattr(it, name).low < 1.0 < getattr(it, name).high
    assert all(0.80 <= n / 150 <= 0.97 for n in held.values())


def test_trades_of_a_day_and_symbol_are_drawn_together():
    alone = np.random.default_rng(1).normal(0.1, 1, 40)
    x, labels = np.repeat(alone, 10), np.repeat(np.arange(40), 10)
    assert mean_interval(x, clusters=labels, block=1) == pytest.approx(mean_interval(alone, block=1))
    assert factor_interval(x, clusters=labels, block=1)[0] == pytest.approx(factor_interval(alone, block=1)[0])
    assert np.ptp(mean_interval(x, clusters=labels)) > 2 * np.ptp(mean_interval(x, block=1))
    shuffled = np.random.default_rng(2).permutation(400)
    sums = clustered(np.stack([x[shuffled], np.ones(400)]), labels[shuffled])
    assert sorted(sums[0]) == pytest.approx(sorted(10 * alone)) and (sums[1] == 10).all()
    with pytest.raises(ValueError, match="3 cluster labels for 400 trades"): mean_interval(x, clusters=[1, 2, 3])


def test_few_units_have_no_interval_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(map(isnan, mean_interval(np.arange(50.0), clusters=[0] * 50)))
        for n in (0, 1, 9):
            it = estimates(np.ones((2, n)), dict(mean=expectancy))["mean"]
            assert all(map(isnan, (*it.percentile, *it.bca))) and it.units == n and isnan(it.value) == (n == 0)
        won = estimates(np.stack([np.ones(20), np.zeros(20)]), dict(factor=factor))["factor"]
        assert won.value == inf and won.percentile == (inf, inf) and all(map(isnan, won.bca))
        flat = estimates(np.zeros((1, 60)), dict(sharpe=yearly_sharpe, fall=deepest))
        assert isnan(flat["sharpe"].value) and all(map(isnan, flat["sharpe"].percentile)) and flat["fall"].percentile == (0, 0)
        constant = yearly_sharpe(np.full((1, 1, 60), 0.001))
        assert isnan(constant[0])


def test_a_report_has_four_intervals():
    run = backtest(EmaScalper(), {s: sample_bars(s) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")})
    page = report(run)
    it = bootstrap(page, draws=1000)
    assert it.expectancy.value == pytest.approx(page.trades.expectancy)
    assert it.profit_factor.value == pytest.approx(page.trades.profit_factor)
    assert it.sharpe.value == pytest.approx(page.equity.sharpe) and it.drawdown.value == pytest.approx(page.equity.drawdown.depth)
    assert it.expectancy.units == len(set(clusters_of(page.records))) and it.sharpe.units == page.equity.days
    assert "percentile" in table(it) and it == bootstrap(page, draws=1000) != bootstrap(page, draws=1000, seed=2)


def test_a_report_without_trades_has_none():
    quiet = report(backtest(EmaScalper(), sample_bars("BTCUSDT")[:600]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        it = bootstrap(quiet)
        assert isnan(it.expectancy.value) and isnan(it.profit_factor.value) and isnan(it.sharpe.value) and it.drawdown.value == 0.0
        empty = report(Result([], [], {"X": Bars.from_columns("X", 15, np.arange(0) * QUARTER, *[np.empty(0)] * 5)}, Rules(), {}))
        assert isnan(bootstrap(empty).drawdown.value) and "nan" in table(bootstrap(empty))


def test_records_of_one_day_and_symbol_are_a_cluster():
    run = backtest(EmaScalper(), sample_bars("BTCUSDT"))
    one = report(run).records[0]
    later = one.outcome._replace(entry_time=one.outcome.entry_time // 86_400_000 * 86_400_000 + 86_399_999)
    records = [one, Record("other", one.symbol, later, 1.0), one._replace(symbol="ELSE")]
    first, same, elsewhere = clusters_of(records)
    assert first == same != elsewhere


def test_another_order_changes_the_drawdown_only():
    r = np.random.default_rng(0).normal(0.1, 1, 200)
    falls = reshuffled(r)
    assert list(falls.values()) == sorted(falls.values()) and falls == reshuffled(r) != reshuffled(r, seed=1)
    rng = np.random.default_rng(9)
    slow = []
    for _ in range(2000):
        value = np.concatenate([[1.0], 1 + 0.01 * np.cumsum(rng.permutation(r))])
        slow.append((1 - value / np.maximum.accumulate(value)).max())
    assert falls[0.5] == pytest.approx(np.median(slow), rel=0.03) and falls[0.95] == pytest.approx(np.quantile(slow, 0.95), rel=0.05)
    assert all(map(isnan, reshuffled([]).values())) and list(reshuffled([1.0, 2.0]).values()) == [0.0] * 4
    assert profit_factor(r) == pytest.approx(profit_factor(rng.permutation(r)))
