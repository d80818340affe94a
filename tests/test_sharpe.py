"The odds of a Sharpe ratio: the specification's vectors, quantstats, simulation, and how many trials there really were."
import warnings
from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from perps_kit.backtest.sharpe import deflated, independent, luck, probable


def test_the_vectors_of_the_specification():
    assert luck(1, 1.0) == 0.0 and luck(10, 1.0) == pytest.approx(1.57460, abs=1e-5) and luck(100, 1.0) == pytest.approx(2.53060, abs=1e-5)
    bar = luck(100, 0.5 / 250)
    assert bar == pytest.approx(0.113172, abs=1e-6)
    assert probable(2.5 / sqrt(250), bar, 1250, -3.0, 10.0) == pytest.approx(0.90040, abs=1e-5)
    assert isnan(probable(1.0, 0.0, 1)) and isnan(probable(3.0, 0.0, 100, skew=3.0, kurtosis=1.0))
    for trials, variance in ((0, 1.0), (-3, 1.0), (5, -0.1)):
        with pytest.raises(ValueError, match="at least one"): luck(trials, variance)


@pytest.mark.parametrize("trials", [10, 100])
def test_luck_is_what_the_best_of_many_shows(trials):
    best = np.random.default_rng(trials).normal(0, 0.3, (20_000, trials)).max(1)
    assert luck(trials, 0.09) == pytest.approx(best.mean(), rel=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_probable_is_that_of_quantstats(seed):
    import pandas as pd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantstats.stats as qs
    r = np.random.default_rng(seed).standard_t(5, 800) * 0.01 + 0.0005
    wanted = float(qs.probabilistic_sharpe_ratio(pd.Series(r)))
    skew, kurtosis = float(stats.skew(r, bias=False)), float(stats.kurtosis(r, fisher=False, bias=False))
    assert deflated(r) == pytest.approx(wanted, abs=3e-4)                                   # its moments are corrected for bias
    assert probable(r.mean() / r.std(ddof=1), 0.0, 800, skew, kurtosis) == pytest.approx(wanted, abs=3e-5)


def test_the_moments_are_those_of_scipy():
    r = np.random.default_rng(4).exponential(0.01, 500) - 0.009
    wanted = probable(r.mean() / r.std(ddof=1), 0.02, 500, float(stats.skew(r)), float(stats.kurtosis(r, fisher=False)))
    trials, variance = 2, (0.02 / luck(2, 1.0)) ** 2
    assert deflated(r, trials, variance) == pytest.approx(wanted, rel=1e-9)


def test_more_trials_ask_for_more():
    r = np.random.default_rng(1).normal(0.001, 0.01, 400)
    odds = [deflated(r, n, 0.01) for n in (1, 10, 1000)]
    assert odds == sorted(odds, reverse=True) and isnan(deflated(r[:29])) and isnan(deflated(np.zeros(100)))
    assert isnan(deflated(np.full(100, 0.1))) and isnan(deflated(np.empty(0)))


def test_worthless_ratios_are_seldom_sure():
    sure = sum(deflated(np.random.default_rng(k).normal(0, 0.01, 300)) >= 0.95 for k in range(400))
    assert 8 <= sure <= 36                                                                  # 5 % of 400, within four standard errors


@pytest.mark.parametrize("ideas, settings", [(1, 50), (5, 40), (12, 3), (30, 1)])
def test_settings_of_one_idea_are_one_trial(ideas, settings):
    rng = np.random.default_rng(ideas)
    own = rng.normal(size=(400, ideas))
    sets = np.repeat(own, settings, axis=1) + 0.5 * rng.normal(size=(400, ideas * settings))
    assert independent(sets) == ideas and independent(sets[:, rng.permutation(ideas * settings)]) == ideas


def test_a_chain_of_neighbours_is_more_than_one_trial():
    walk = np.cumsum(np.random.default_rng(0).normal(size=(400, 200)), axis=1)              # each like the one before, the ends strangers
    steps = walk[:, 20:] - walk[:, :-20]
    assert 3 <= independent(steps) < 40


def test_trials_that_did_nothing_are_one_and_few_days_prove_no_likeness():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(100, 4))
    assert independent(np.column_stack([x, np.zeros((100, 6))])) == 5 and independent(np.zeros((100, 6))) == 1
    assert independent(np.tile(x[:20, :1], 7)) == 7 and independent(x[:, :1]) == 1 and independent(np.tile(x[:, :1], 7)) == 1
    for bad, why in ((x[:, 0], "matrix"), (x[:, :0], "matrix"), (np.where(x > 2, np.nan, x), "fill days")):
        with pytest.raises(ValueError, match=why): independent(bad)
    with pytest.raises(ValueError, match="above 0"): independent(x, 0.0)
