"Calibration: reliability and Brier scores by scikit-learn, isotonic and logit by their authors, and nothing learned from the future."
import json
import sys
import warnings
from math import isnan
from subprocess import run as process

import numpy as np
import pytest
from evidence_kit import market
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss
from told import FREELY, Told

from perps_kit.backtest.calibration import Calibrator, Scored, calibration, calibrator, fitted, picture, reliability, scored
from perps_kit.backtest.run import backtest
from perps_kit.backtest.statistics import wilson
from perps_kit.trackers.plan import Rules


def sample(n=600, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.uniform(40, 100, n).round(1)
    return score, rng.random(n) < 0.1 + 0.6 * (score - 40) / 60


def in_time(score, won, hold=2):
    at = np.arange(len(score)) * 3_600_000
    return Scored(score, won, at, at + hold * 3_600_000)


def test_reliability_is_that_of_scikit_learn():
    score, won = sample()
    score -= 0.03                                                               # on an edge the two differ
    it = reliability(score / 100, won)
    share, forecast = calibration_curve(won, score / 100, n_bins=10)
    assert [b.share for b in it.bins] == pytest.approx(share) and [b.forecast for b in it.bins] == pytest.approx(forecast)
    assert it.brier == pytest.approx(brier_score_loss(won, score / 100))
    assert it.average == pytest.approx(brier_score_loss(won, np.full(600, won.mean())))
    assert sum(b.n for b in it.bins) == 600
    assert all(b.interval == wilson(round(b.n * b.share), b.n) for b in it.bins)


def test_a_score_on_an_edge_belongs_above_it():
    it = reliability(np.array([0.3, 0.6, 0.7, 1.0, 0.0]), np.ones(5, bool))     # 0.3 * 10 is 3 in one order of rounding and not in another
    assert [(b.n, b.forecast) for b in it.bins] == [(1, 0.0), (1, 0.3), (1, 0.6), (1, 0.7), (1, 1.0)]


def test_isotonic_is_that_of_scikit_learn_without_it():
    score, won = sample()
    it = fitted(score, won)
    theirs = IsotonicRegression(y_min=1 / 602, y_max=601 / 602, out_of_bounds="clip").fit(score, won)
    at = np.linspace(0, 100, 501)
    assert [it.probability(s) for s in at] == pytest.approx(theirs.predict(at).tolist(), abs=1e-12)
    assert calibrator(it.text()) == it


def test_logit_is_that_of_statsmodels_without_it():
    from statsmodels.api import Logit
    score, won = sample()
    it = fitted(score, won, "logit")
    theirs = Logit(won.astype(float), np.column_stack([np.ones(600), score])).fit(disp=0)
    assert it.y == pytest.approx(theirs.params.tolist(), rel=1e-5)
    assert it.probability(70) == pytest.approx(float(theirs.predict([[1, 70.0]])[0]), rel=1e-6)
    assert calibrator(it.text()) == it and 0 <= it.probability(-1e6) < 1e-9 and 1 - 1e-9 < it.probability(1e6) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["isotonic", "logit"]), st.lists(st.floats(0, 100), min_size=2, max_size=2))
def test_probabilities_are_probabilities_and_rise_by_steps(seed, kind, two):
    score, won = sample(120, seed)
    it = fitted(score, won, kind)
    low, high = (it.probability(s) for s in sorted(two))
    assert 0 < low < 1 and 0 < high < 1 and (kind == "logit" or low <= high)
    assert json.loads(it.text())["kind"] == kind


def test_evaluating_needs_no_library_of_statistics(tmp_path):
    (tmp_path / "kept.json").write_text(fitted(*sample()).text())
    code = ("import sys; from pathlib import Path; from perps_kit.backtest.calibration import calibrator\n"
            f"it = calibrator(Path({str(tmp_path / 'kept.json')!r}).read_text()); assert 0 < it.probability(80.0) < 1\n"
            "heavy = {'sklearn', 'scipy', 'statsmodels', 'pandas', 'numba', 'bokeh'} & set(sys.modules); assert not heavy, heavy")
    done = process([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_few_trades_or_one_outcome_say_so():
    score, won = sample(99)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("isotonic", "logit"):
            few = fitted(score, won, kind)
            assert few.reason == "99 trades; a probability needs 100" and isnan(few.probability(70.0)) and calibrator(few.text()) == few
            assert "all 200 trades won" in fitted(np.full(200, 70.0), np.ones(200, bool), kind).reason
            assert "failed" in fitted(np.full(200, 70.0), np.zeros(200, bool), kind).reason
            assert fitted(np.empty(0), np.empty(0, bool), kind).reason.startswith("0 trades")
        parted = np.arange(200) >= 100
        for apart in (np.arange(200.0), np.full(200, 5.0)): assert "take isotonic" in fitted(apart, parted, "logit").reason
        assert fitted(np.arange(200.0), parted).probability(199) == pytest.approx(201 / 202)      # never sure
        assert fitted(np.full(200, 70.0), parted).probability(10.0) == 0.5
        nothing = reliability(np.empty(0), np.empty(0, bool))
        assert nothing.n == 0 and isnan(nothing.brier) and not nothing.bins
        empty = calibration(in_time(np.empty(0), np.empty(0, bool)))
        assert empty.calibrator.reason and isnan(empty.raw.brier) and isnan(empty.tested.brier)


def test_it_learns_from_what_was_over_and_is_tested_on_what_came_after():
    score, won = sample(1000)
    trades = in_time(score, won, hold=48)
    it = calibration(trades)
    assert it.until == trades.entry[700] and it.calibrator.trades == (trades.exit < it.until).sum() == 652
    changed = np.where(np.arange(1000) >= 652, ~won, won)                       # what came later may be anything
    assert calibration(in_time(score, changed, hold=48)).calibrator == it.calibrator
    assert it.tested.n == it.raw.n == 300 and it.tested.brier < it.raw.brier
    with pytest.raises(ValueError, match="sort them"): calibration(Scored(score, won, trades.entry[::-1], trades.exit[::-1]))
    with pytest.raises(ValueError, match="share"): calibration(trades, share=0.0)


def test_calibrated_probabilities_are_near_the_truth():
    score, won = sample(20_000)
    for kind in ("isotonic", "logit"):
        it = fitted(score, won, kind)
        for s in (50, 60, 75, 90): assert it.probability(s) == pytest.approx(0.1 + 0.6 * (s - 40) / 60, abs=0.05)


def test_scores_of_a_backtest():
    bars = market(3600, 24, 3.5, 2.0)
    run = backtest({"told": Told(), "more": Told(score=9.0, shift=5.0)}, bars, FREELY, rules=Rules(patience=0), compiled=False)
    it = scored(run.trades)
    done = [t for t in run.trades if t.outcome and not t.outcome.marked]
    assert list(it) == ["told"] and len(it["told"].score) == len(done) > 100 and (np.diff(it["told"].entry) >= 0).all()
    assert it["told"].won.sum() == sum(t.outcome.result == "WIN" for t in done) and set(it["told"].score) == {t.final for t in done}
    assert scored([]) == {}


def test_bad_input_says_what_to_do():
    with pytest.raises(ValueError, match="divide scores by 100"): reliability(np.array([70.0]), np.array([True]))
    with pytest.raises(ValueError, match="one each"): reliability(np.array([0.7]), np.array([True, False]))
    with pytest.raises(ValueError, match="isotonic, logit"): fitted(*sample(), "spline")
    with pytest.raises(ValueError, match="not a calibrator"): calibrator('{"kinds": 1}')
    with pytest.raises(ValueError, match="isotonic and logit"): calibrator('{"kind": "spline"}')


def test_the_picture_shows_every_curve():
    score, won = sample()
    p = picture({"raw": reliability(score / 100, won), "same": reliability(score / 100, won)})
    assert len(p.renderers) == 7 and isinstance(fitted(score, won), Calibrator)
