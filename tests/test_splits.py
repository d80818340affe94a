"Splits that leak nothing: walk-forward folds, purged and combined folds against skfolio and by their properties, and the leak canary."
from itertools import pairwise
from math import comb, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV

from perps_kit.backtest.splits import Fold, combined, efficiency, fold_of, folds, leaks, paths, purged, ranks, training
from perps_kit.core.clock import DAY


def test_folds_roll_by_the_month():
    year = folds(0, 365 * DAY)
    assert year[0] == Fold(0, 180 * DAY, 183 * DAY, 213 * DAY) and len(year) == 6
    assert all(b.begin - a.begin == 30 * DAY and b.test_begin == a.test_end for a, b in pairwise(year))
    assert folds(0, 213 * DAY) == year[:1] and year[-1].test_end <= 365 * DAY
    with pytest.raises(ValueError, match="212 days hold no fold"): folds(0, 212 * DAY)
    with pytest.raises(ValueError, match="count twice"): folds(0, 365 * DAY, step=10)
    for wrong in (dict(train=0), dict(test=-1), dict(embargo=-1), dict(step=0)):
        with pytest.raises(ValueError, match="positive"): folds(0, 365 * DAY, **wrong)


spans = st.lists(st.tuples(st.integers(0, 300 * DAY), st.integers(0, 6 * DAY)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(spans, st.integers(1, 60), st.integers(1, 20), st.integers(0, 10), st.integers(0, 5))
def test_every_trade_is_tested_once_by_its_entry_and_never_learned_from_while_open(trades, train, test, more, embargo):
    entry, length = np.array(trades).T
    exit = entry + length
    found = folds(0, 300 * DAY, train, test, test + more, embargo)
    at = fold_of(found, entry)
    for k, fold in enumerate(found):
        assert ((at == k) == ((entry >= fold.test_begin) & (entry < fold.test_end))).all()
        learned = training(fold, entry, exit)
        assert (exit[learned] < fold.test_begin).all() and not (learned & (at == k)).any()
        assert (entry[learned] >= fold.begin).all() and (entry[learned] < fold.end).all()


def test_efficiency_compares_years():
    assert efficiency(12.0, 180.0, 1.0, 30.0) == 0.5 and efficiency(12.0, 180.0, -1.0, 30.0) == -0.5
    assert isnan(efficiency(-1.0, 180.0, 5.0, 30.0)) and isnan(efficiency(0.0, 0.0, 1.0, 30.0)) and isnan(efficiency(1.0, 180.0, 1.0, 0.0))


labels = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 60)), min_size=6, max_size=80)


@settings(max_examples=100, deadline=None)
@given(labels, st.integers(2, 6), st.integers(1, 5), st.sampled_from([0.0, 0.01, 0.1]))
def test_nothing_learned_from_was_open_during_a_test_or_began_in_its_embargo(trades, groups, tests, embargo):
    entry, length = np.array(trades).T
    exit, tests = entry + length, min(tests, groups - 1)
    gap = embargo * (exit.max() - entry.min())
    splits = combined(entry, exit, groups, tests, embargo)
    assert len(splits) == comb(groups, tests)
    times_tested = np.zeros(len(entry), int)
    for train, parts in splits:
        tested = np.concatenate(parts)
        times_tested[tested] += 1
        assert not set(train) & set(tested)
        for k in tested:                                                        # label by label
            assert not ((entry[train] <= exit[k]) & (exit[train] >= entry[k])).any()
        for part in parts:
            end = exit[part].max()
            assert not ((entry[train] > end) & (entry[train] <= end + gap)).any()
            spoilt = (entry <= end + gap) & (exit >= entry[part].min())
            assert np.isin(np.flatnonzero(~spoilt), np.concatenate([train, tested, *(np.flatnonzero(
                (entry <= exit[p].max() + gap) & (exit >= entry[p].min())) for p in parts)])).all()     # nothing was dropped without need
    assert (times_tested == comb(groups - 1, tests - 1)).all()


@pytest.mark.parametrize("groups, tests, horizon, embargo", [(10, 8, 0, 0), (6, 2, 0, 0), (6, 2, 3, 0), (6, 3, 2, 5), (10, 2, 4, 6)])
def test_combined_splits_are_those_of_skfolio(groups, tests, horizon, embargo):
    n = 240
    other = CombinatorialPurgedCV(n_folds=groups, n_test_folds=tests, purged_size=horizon, embargo_size=embargo)
    entry = np.arange(n)
    exit = entry + horizon
    ours = combined(entry, exit, groups, tests, (embargo + 1e-9) / (exit[-1] - entry[0]))
    theirs = list(other.split(np.zeros((n, 1))))
    assert len(ours) == other.n_splits == len(theirs) and paths(groups, tests).shape == (other.n_test_paths, groups)
    for (train, parts), (wanted, wanted_parts) in zip(ours, theirs, strict=True):
        assert (train == wanted).all() and all((a == b).all() for a, b in zip(parts, wanted_parts, strict=True))
    assert (paths(groups, tests).T == other.recombined_paths).all()


def test_a_path_is_a_whole_history_tested_by_strangers():
    entry = np.arange(120)
    splits = combined(entry, entry + 1, 6, 2)
    for path in paths(6, 2):
        rows = [part for g, k in enumerate(path) for part in splits[k].tests if part[0] == 20 * g]
        assert (np.concatenate(rows) == entry).all()
    assert [tuple(map(len, s.tests)) for s in purged(entry, entry, 4)] == [(30,)] * 4


def test_bad_splits_say_what_to_do():
    entry = np.arange(20)
    cases = ((dict(exit=entry - 1), "exit that is not before"), (dict(exit=entry[:5]), "entry and an exit"), (dict(tests=10), "leave one"),
             (dict(tests=0), "at least one"), (dict(groups=30), "fewer groups"), (dict(embargo=1.5), "share of the time"))
    for given_, why in cases:
        with pytest.raises(ValueError, match=why): combined(**dict(entry=entry, exit=entry, groups=10, tests=2) | given_)
    with pytest.raises(ValueError, match="take fewer"): combined(np.arange(100), np.arange(100), 40, 20)


def market(seed, n=3000):
    rng = np.random.default_rng(seed)
    return rng.standard_t(4, n) * 0.01 * np.exp(0.5 * np.sin(np.arange(n) / 50))


def test_the_canary_is_caught_and_honest_features_are_not():
    for seed in range(5):
        r = market(seed)
        past = np.convolve(r, np.ones(20) / 20)[:len(r)]
        for k in (1, 4):
            it = leaks(np.roll(r, -k), r)
            assert it.found and it.ahead == k and it.correlation == pytest.approx(1.0, abs=0.01)
        tomorrow = np.roll(r, -1)
        for leaky in (np.convolve(r, np.ones(9) / 9, "same"), -tomorrow, np.sign(tomorrow), tomorrow + market(99 + seed)):
            assert leaks(leaky, r).found
        for honest in (r, np.roll(r, 1), past, np.abs(r), np.cumsum(r), market(seed + 1000)):
            assert not leaks(honest, r).found


def test_an_honest_edge_is_no_leak():
    rng, known = np.random.default_rng(0), 0
    for _ in range(12):
        signal = rng.normal(size=5000)
        r = np.roll(0.05 * signal, 1) + rng.normal(size=5000)                   # it ranks the next return by 0.05: a very good feature
        known += leaks(signal, r).found
    assert known == 0


def test_leaks_of_little_are_unknown():
    r = market(0)[:30]
    assert leaks(np.roll(r, -1), r) == (False, 0, pytest.approx(np.nan, nan_ok=True), pytest.approx(np.nan, nan_ok=True))
    r = market(0)
    gaps = np.where(np.arange(len(r)) % 3 == 0, np.nan, np.roll(r, -1))
    assert leaks(gaps, r).found and not leaks(np.ones(len(r)), r).found
    with pytest.raises(ValueError, match="one number each"): leaks(r[1:], r)
    with pytest.raises(ValueError, match="at least one"): leaks(r, r, ahead=0)


def test_ranks_share_ties():
    from scipy.stats import rankdata, spearmanr
    x = np.random.default_rng(0).integers(0, 5, 200)
    y = np.random.default_rng(1).normal(size=200)
    place = rankdata(x) - rankdata(x).mean()
    assert ranks(x) == pytest.approx(place / np.sqrt(place @ place)) and ranks(x) @ ranks(y) == pytest.approx(spearmanr(x, y).statistic)
