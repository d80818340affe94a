"Statistics agree with their definitions (quant_spec G1) and with empyrical, quantstats, statsmodels and arch."
import warnings
from math import inf, isnan, nan

import numpy as np
import pytest

from perps_kit.backtest.equity import Daily, cagr, daily, day_ends, drawdown, equity_stats, newey_west_t, returns, sharpe, sortino
from perps_kit.backtest.statistics import (
    DRAWS,
    factor_interval,
    kelly,
    mean_interval,
    payoff,
    profit_factor,
    resampled_sums,
    sqn,
    trade_stats,
    wilson,
)
from perps_kit.core.clock import DAY, HOUR

VECTOR = [1, -1, 2, -1, .5, -1, 1.5, 3, -1, 0]
FIRST = 19_800 * DAY


def curve_of(r, start=10_000.0):
    return Daily(day_ends(FIRST, FIRST + len(r) * DAY - 1), start * np.cumprod(1 + np.asarray(r)), start)


@pytest.fixture(params=[0, 1, 2])
def r(request):
    rng = np.random.default_rng(request.param)
    noise = rng.normal(0.0005, 0.012, 500)
    return np.where(rng.random(500) < 0.2, 0.0, noise + 0.3 * np.roll(noise, 1))       # flat days, autocorrelation


def test_the_vector_of_the_specification():
    s = trade_stats(VECTOR)
    assert (s.n, s.wins, s.losses, s.breakevens) == (10, 5, 4, 1) and s.expectancy == pytest.approx(0.4) and s.profit_factor == 2.0
    assert s.sqn == pytest.approx(0.87287, abs=5e-6) == s.sqn_capped and s.win_rate == 0.5 and s.win_rate_decided == 5 / 9
    assert s.payoff == 1.6 and s.kelly == pytest.approx(5 / 9 - 4 / 9 / 1.6) and s.total_r == 4
    assert s.expectancy_interval.low < 0 < s.expectancy_interval.high       # ten trades are no evidence


@pytest.mark.parametrize("hits, n", [(12, 20), (0, 5), (5, 5), (1, 300), (480, 1000)])
def test_wilson_is_that_of_statsmodels(hits, n):
    from statsmodels.stats.proportion import proportion_confint
    assert wilson(hits, n) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)
    assert wilson(12, 20) == pytest.approx((0.387, 0.781), abs=5e-4) and all(map(isnan, wilson(0, 0)))


def test_trades_without_losers_winners_or_anything():
    assert profit_factor([1.0, 2.0]) == inf and isnan(profit_factor([])) and profit_factor([-1.0]) == 0 and isnan(profit_factor([0.0]))
    assert isnan(payoff([1.0])) and isnan(kelly([1.0])) and isnan(sqn([1.0, 1.0])) and isnan(sqn([1.0]))
    empty = trade_stats([])
    assert empty.n == 0 and all(map(isnan, (empty.win_rate, empty.expectancy, empty.profit_factor, *empty.expectancy_interval)))
    assert all(map(isnan, mean_interval([1.0] * 9))) and all(map(isnan, factor_interval([1.0, -1.0])))


def test_the_class_follows_gross_and_costs_have_their_own_rate():
    s = trade_stats([-0.02, 0.01, -1.1], gross_r=[0.05, 0.02, -1.0])
    assert (s.wins, s.breakevens, s.losses, s.net_win_rate) == (1, 1, 1, 1 / 3)
    assert trade_stats([1.0, -1.0], money=[50.0, -100.0]).profit_factor == 0.5
    with pytest.raises(ValueError, match="2 trades"): trade_stats([1.0, -1.0], money=[1.0])


def test_sqn_is_capped_at_a_hundred_trades():
    x = np.tile([1.0, -0.5], 200)
    assert sqn(x) == pytest.approx(2 * sqn(x, 100)) and sqn(x) == pytest.approx(np.sqrt(400) * x.mean() / x.std(ddof=1))


def test_the_bootstrap_is_seeded_and_near_that_of_arch():
    from arch.bootstrap import StationaryBootstrap
    x = np.random.default_rng(4).normal(0.1, 1.2, 300) + 0.3 * np.repeat(np.random.default_rng(5).normal(size=60), 5)
    ours = mean_interval(x, draws=4000, block=6)
    assert ours == mean_interval(x, draws=4000, block=6) != mean_interval(x, draws=4000, block=6, seed=1)
    theirs = StationaryBootstrap(6, x, seed=np.random.default_rng(9)).conf_int(np.mean, 4000, method="percentile").ravel()
    width = theirs[1] - theirs[0]
    assert ours.low == pytest.approx(theirs[0], abs=0.06 * width) and ours.high == pytest.approx(theirs[1], abs=0.06 * width)


def test_blocks_keep_neighbours_together():
    x = np.repeat(np.random.default_rng(2).normal(size=40), 10)             # clusters of ten equal trades
    alone, together = (np.ptp(mean_interval(x, block=b)) for b in (1, 20))
    assert together > 1.8 * alone
    assert resampled_sums(np.ones((1, 50)))[0].tolist() == [50.0] * DRAWS


def test_the_profit_factor_interval_holds_the_factor():
    x = np.random.default_rng(8).normal(0.1, 1, 400)
    low, high = factor_interval(x)
    assert low < profit_factor(x) < high and factor_interval(np.ones(20)) == (inf, inf)


def test_ratios_are_those_of_empyrical_and_quantstats(r):
    import empyrical
    import pandas as pd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantstats.stats as qs
    series = pd.Series(r, pd.date_range("2024-03-18", periods=len(r)))
    assert sharpe(r) == pytest.approx(empyrical.sharpe_ratio(r, annualization=365), rel=1e-9)
    assert sharpe(r) == pytest.approx(float(qs.sharpe(series, periods=365)), rel=1e-9)
    assert sortino(r) == pytest.approx(empyrical.sortino_ratio(r, annualization=365), rel=1e-9)
    assert sortino(r) == pytest.approx(float(qs.sortino(series, periods=365)), rel=1e-9)
    curve = curve_of(r)
    assert returns(curve) == pytest.approx(r, abs=1e-12)
    assert drawdown(curve).depth == pytest.approx(-empyrical.max_drawdown(r), rel=1e-9)
    assert cagr(curve) == pytest.approx(empyrical.annual_return(r, annualization=365), rel=1e-9)
    assert equity_stats(curve).calmar == pytest.approx(empyrical.calmar_ratio(r, annualization=365), rel=1e-9)


def test_the_robust_t_is_that_of_statsmodels(r):
    import statsmodels.api as sm
    for lags in (0, 1, 5, 10):
        fit = sm.OLS(r, np.ones(len(r))).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
        assert newey_west_t(r, lags) == pytest.approx(float(fit.tvalues[0]), rel=1e-6)
    assert newey_west_t(r) == newey_west_t(r, int(4 * 5 ** (2 / 9)))


def test_few_days_and_flat_ones_have_no_ratio():
    for x in (np.zeros(100), np.full(100, 0.001), np.random.default_rng(0).normal(size=29)):
        assert isnan(sharpe(x)) and isnan(newey_west_t(x))
    assert isnan(sortino(np.full(100, 0.001))) and isnan(equity_stats(curve_of([0.01] * 40)).calmar)


def test_the_grid_counts_flat_days_and_starts_from_the_capital():
    times = [FIRST + 5 * HOUR, FIRST + 6 * HOUR, FIRST + DAY, FIRST + 3 * DAY + 1]
    curve = daily(times, [90.0, 101.0, 102.0, 80.0], 100.0, FIRST + HOUR, FIRST + 4 * DAY)
    assert curve.equity.tolist() == [102, 102, 102, 80] and (curve.time - FIRST).tolist() == [DAY, 2 * DAY, 3 * DAY, 4 * DAY]
    assert returns(curve) == pytest.approx([0.02, 0, 0, 80 / 102 - 1])
    assert daily([], [], 100.0, FIRST, FIRST + DAY).equity.tolist() == [100.0]
    with pytest.raises(ValueError, match="order"): daily([2, 1], [1.0, 1.0], 1.0, 0, 5)


def test_drawdown_begins_with_the_capital_and_knows_how_long():
    only_down = drawdown(Daily(day_ends(FIRST, FIRST + 3 * DAY - 1), np.array([99.0, 95.0, 97.0]), 100.0))
    assert only_down.depth == pytest.approx(0.05) and only_down.peak_time == 0 and (only_down.longest, only_down.under_water) == (3, 1.0)
    path = np.array([110, 105, 100, 108, 110, 111, 100, 120, 120, 119], float)
    fall = drawdown(Daily(day_ends(FIRST, FIRST + 10 * DAY - 1), path, 100.0))
    assert fall.depth == pytest.approx(11 / 111) and fall.trough_time == FIRST + 7 * DAY and fall.peak_time == FIRST + 6 * DAY
    assert fall.longest == 4 and fall.under_water == pytest.approx(0.5)
    assert drawdown(curve_of([0.01] * 5)) == (0.0, 0, 0, 0, 0.0)


def test_a_lost_account_has_lost_everything():
    broke = Daily(day_ends(FIRST, FIRST + 2 * DAY - 1), np.array([50.0, 0.0]), 100.0)
    assert cagr(broke) == -1.0 and drawdown(broke).depth == 1.0
    assert returns(broke).tolist() == [-0.5, -1.0] and isnan(cagr(Daily(np.array([], np.int64), np.array([]), nan)))


def test_no_days_have_no_returns():
    from perps_kit.backtest.equity import Daily, returns

    empty = np.empty(0)
    assert len(returns(Daily(empty.astype(np.int64), empty, 100.0))) == 0
