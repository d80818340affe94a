"The probability of backtest overfitting: the specification's tests and a version that splits, slices and ranks the slow way."
import warnings
from itertools import combinations, pairwise
from math import comb, isnan, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, rankdata

from perps_kit.backtest.overfitting import halves_of, overfitting, picture


def slowly(x, blocks):
    "Everything by slicing: logits, choices, and the two ratios of each choice."
    edges, n = [len(x) * k // blocks for k in range(blocks + 1)], x.shape[1]
    parts = [np.arange(a, b) for a, b in pairwise(edges)]
    sharpe = lambda rows: x[rows].mean(0) / x[rows].std(0, ddof=1)
    found = []
    for some in combinations(range(blocks), blocks // 2):
        rows = np.concatenate([parts[k] for k in some])
        others = np.concatenate([parts[k] for k in range(blocks) if k not in some])
        inside, outside = sharpe(rows), sharpe(others)
        best = int(inside.argmax())
        w = rankdata(outside)[best] / (n + 1)
        found.append((log(w / (1 - w)), best, inside[best], outside[best]))
    return np.array(found)


@pytest.mark.parametrize("rows, columns, blocks", [(60, 8, 6), (61, 5, 6), (240, 20, 8), (37, 2, 4)])
def test_it_agrees_with_the_slow_way(rows, columns, blocks):
    x = np.random.default_rng(rows).normal(0.01, 1, (rows, columns))
    it, wanted = overfitting(x, blocks), slowly(x, blocks)
    assert len(it.logits) == comb(blocks, blocks // 2) == len(wanted)
    assert it.logits == pytest.approx(wanted[:, 0], abs=1e-9) and (it.chosen == wanted[:, 1]).all()
    assert it.inside == pytest.approx(wanted[:, 2], rel=1e-9) and it.outside == pytest.approx(wanted[:, 3], rel=1e-9)
    assert it.probability == (wanted[:, 0] <= 1e-9).mean() and it.loss == (wanted[:, 3] < 0).mean()
    assert it.slope == pytest.approx(linregress(wanted[:, 2], wanted[:, 3]).slope, rel=1e-9)


def test_noise_is_overfitted_about_half_of_the_time():
    found = [overfitting(np.random.default_rng(seed).normal(size=(512, 50))).probability for seed in range(30)]
    assert 0.4 <= np.mean(found) <= 0.6


def test_an_edge_is_chosen_and_holds():
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(512, 50))
        x[:, 7] += 0.3
        it = overfitting(x)
        assert it.probability < 0.05 and it.loss < 0.05 and (it.chosen == 7).mean() > 0.95 and len(it.logits) == 12_870


def test_a_copy_of_the_best_does_not_change_what_it_is_worth():
    x = np.random.default_rng(3).normal(size=(160, 6))
    same = overfitting(np.tile(x[:, :1], 6), 8)
    assert (same.logits == 0).all() and same.probability == 1.0                 # no choice is better than the middle


def test_halves_come_with_their_complements():
    for blocks in (2, 4, 6, 8):
        rows = halves_of(blocks)
        assert (rows.sum(1) == blocks // 2).all() and (rows + rows[::-1] == 1).all()
        assert len(np.unique(rows, axis=0)) == comb(blocks, blocks // 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 1e6), st.integers(2, 9))
def test_neither_units_nor_the_order_of_columns_matter(seed, unit, columns):
    rng = np.random.default_rng(seed)
    x, order = rng.normal(size=(48, columns)), rng.permutation(columns)
    it, other = overfitting(x, 6), overfitting(unit * x[:, order], 6)
    assert other.probability == it.probability and other.logits == pytest.approx(it.logits) and (order[other.chosen] == it.chosen).all()


def test_configurations_that_hardly_trade_do_no_harm():
    x = np.random.default_rng(1).normal(size=(320, 6))
    x[:, 2], x[:, 3] = 0.0, 0.001                                               # never traded; always the same gain
    x[:300, 4] = 0.0                                                            # traded at the very end only
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        it = overfitting(x)
        assert (it.chosen == 3).all() and it.probability == 0.0 and isnan(it.slope)
        it = overfitting(x[:, [0, 1, 2, 4, 5]])
        assert 0 <= it.probability <= 1 and np.isfinite(it.inside).all()
        assert it.inside[it.chosen == 2].size == 0 or (it.inside[it.chosen == 2] == 0).all()


def test_what_cannot_be_told_is_nan_and_bad_input_says_what_to_do():
    x = np.random.default_rng(0).normal(size=(100, 4))
    for some in (x[:, :1], x[:, :0], x[:31], np.zeros((100, 4))):
        it = overfitting(some)
        assert isnan(it.probability) and isnan(it.slope) and isnan(it.loss) and not len(it.logits)
    for blocks in (0, 3, 22, -2):
        with pytest.raises(ValueError, match="even number"): overfitting(x, blocks)
    with pytest.raises(ValueError, match="matrix"): overfitting(x[:, 0])
    with pytest.raises(ValueError, match="fill periods"): overfitting(np.where(x > 2, np.nan, x))


def test_the_picture_counts_every_half():
    it = overfitting(np.random.default_rng(0).normal(size=(128, 10)), 8)
    quads = picture(it).renderers[0].data_source.data
    assert sum(quads["top"]) == 70
