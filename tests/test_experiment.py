"Experiment files: what they pin, what they refuse, and that a result comes back to the last bit."

import warnings
from dataclasses import replace

import numpy as np
import pytest
import yaml
from arch.bootstrap import StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.backtest.experiment import (
    SAMPLE,
    Days,
    ExperimentError,
    compare,
    experiment,
    facts,
    parsed,
    read,
    reproduce,
    result_hash,
    write,
)
from perps_kit.backtest.ledger import Trial, settings_of, trial_of
from perps_kit.backtest.report import report
from perps_kit.backtest.run import backtest
from perps_kit.core.clock import DAY
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.scoring.book import Pipeline
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.strategies.pullback import Pullback
from perps_kit.trackers.plan import Rules

BARS, PAID = {"SOLUSDT": sample_bars("SOLUSDT")}, {"SOLUSDT": sample_funding("SOLUSDT")}
IT, RULES = EmaScalper(surge=1.5), Rules(fee=0.0004)
FEW = {"SOLUSDT": BARS["SOLUSDT"][:50]}
GATES = Pipeline(muted=frozenset({"XRPUSDT"}), sessions=((480, 720),), hours=(("ema_scalper", ((0, 1440),)),), minimum=55.0, weigh=False)


@pytest.fixture(scope="module")
def made():
    run = backtest(IT, BARS, GATES, RULES, PAID, dict(SOLUSDT=0.01))
    return run, experiment(IT, BARS, PAID, dict(SOLUSDT=0.01, BTCUSDT=0.1), RULES, GATES, run, seed=7, note="as told: “ж”")


def test_a_file_holds_everything_and_comes_back_equal(made, tmp_path):
    run, it = made
    back = read(write(it, tmp_path / "deep" / "x.yaml"))
    assert back == it and back.pipeline == GATES and back.rules == RULES and back.strategies == {"ema_scalper": IT}
    assert back.ticks == dict(SOLUSDT=0.01) and back.data == SAMPLE and back.note == "as told: “ж”"
    plain = yaml.safe_load((tmp_path / "deep" / "x.yaml").read_text())
    assert plain["data"]["hash"] == it.data_hash and plain["rules"] == dict(fee=0.0004) and plain["result"]["trades"] == len(run.outcomes)


some = st.fixed_dictionaries
rules = some(dict(entry_bp=st.floats(0, 50), fee=st.floats(0), hold=st.integers(0, 10**9), policy=st.integers(0, 1),
                  gap_fill_open=st.booleans()))
gates = some(dict(muted=st.frozensets(st.text("ABC", min_size=1, max_size=4)), weigh=st.booleans(), minimum=st.floats(0, 100),
                  factors=st.integers(0, 6),
                  sessions=st.lists(st.tuples(st.integers(0, 600), st.integers(601, 1440)), max_size=2).map(tuple)))
mine = some(dict(fast=st.integers(2, 100), surge=st.floats(0, 10)))


@settings(max_examples=40, deadline=None)
@given(rules.map(lambda x: Rules(**x)), gates.map(lambda x: Pipeline(**x)), mine.map(lambda x: EmaScalper(**x)))
def test_any_settings_come_back_to_the_last_bit(rules, pipeline, it):
    whole = experiment({"ema_scalper": it, "pullback": Pullback()}, FEW, rules=rules, pipeline=pipeline)
    assert parsed(yaml.safe_load(yaml.safe_dump(facts(whole)))) == whole


def test_the_same_trades_come_back(made, tmp_path):
    run, it = made
    back = reproduce(read(write(it, tmp_path / "x.yaml")), BARS, PAID)
    assert back.same is True and result_hash(back.result) == result_hash(run) and len(run.outcomes) > 2
    assert back.page.trades.total_r == it.result["total_r"]
    assert reproduce(it._replace(result={}), BARS, PAID).same is None
    assert reproduce(it._replace(result=dict(trades_hash="0")), BARS, PAID).same is False
    assert reproduce(it._replace(rules=Rules(fee=0.0005)), BARS, PAID).same is False


def test_other_candles_are_refused(made):
    _, it = made
    bars = BARS["SOLUSDT"]
    close = bars.close.copy()
    close[500] = np.nextafter(close[500], 0)
    rate = PAID["SOLUSDT"].rate.copy()
    rate[100] += 1e-9
    for found, paid in (({"SOLUSDT": bars[:-1]}, PAID), ({"SOLUSDT": replace(bars, close=close)}, PAID), (BARS, None),
                        (BARS, {"SOLUSDT": replace(PAID["SOLUSDT"], rate=rate)})):
        with pytest.raises(ExperimentError, match="not those of the experiment: their hash is"): reproduce(it, found, paid)
    with pytest.raises(ExperimentError, match="no candles of SOLUSDT"): reproduce(it, {}, PAID)


def test_other_code_is_refused_unless_it_is_allowed(made):
    it = made[1]._replace(code="0123456789" * 2)
    with pytest.raises(ExperimentError, match="the code has changed"): reproduce(it, BARS, PAID)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert reproduce(it, BARS, PAID, any_code=True).same is True
    assert len(heard) == 1 and "the code has changed" in str(heard[0].message)
    assert reproduce(it._replace(code=""), BARS, PAID).same is True            # by hand, without a stamp


GOOD = """
data: {path: sample, symbols: [SOLUSDT], hash: abc}
strategies: {ema_scalper: {surge: 1.5}}
"""


@pytest.mark.parametrize(("text", "told"), [
    (GOOD + "rulez: {}", "unknown key 'rulez': did you mean 'rules'"),
    (GOOD + "rules: {fees: 1}", "rules has an unknown key 'fees': did you mean 'fee'"),
    (GOOD + "rules: {fee: much}", "rules.fee: 'much' is not a number"),
    (GOOD + "rules: {hold: 1.5}", "rules.hold: 1.5 is not a whole number"),
    (GOOD + "rules: {gap_fill_open: 1}", "rules.gap_fill_open: 1 is not yes or no"), (GOOD + "rules: {fee: true}", "not a number"),
    (GOOD + "rules: {fee: .nan}", "not a number"), (GOOD + "rules: [1]", "rules has to hold names and values"),
    (GOOD + "pipeline: {muted: XRPUSDT}", "pipeline.muted: 'XRPUSDT' is not a list"), (GOOD + "pipeline: {leader: 5}", "not a word"),
    (GOOD + "seed: 1.5", "seed: 1.5 is not a whole number"), (GOOD + "ticks: {SOLUSDT: x}", "ticks.SOLUSDT"),
    (GOOD.replace("surge", "surg"), "did you mean 'surge'"), (GOOD.replace("1.5", "99"), "outside 0.0 to 10.0"),
    (GOOD.replace("ema_scalper", "ema_scalpr"), "did you mean 'ema_scalper'"), ("strategies: {}", "data is missing"),
    (GOOD.replace("{ema_scalper: {surge: 1.5}}", "{}"), "name at least one"), (GOOD.replace("[SOLUSDT]", "SOLUSDT"), "at least one symbol"),
    (GOOD.replace(", hash: abc", ""), "data.hash is missing"), (GOOD.replace("path:", "paht:"), "did you mean 'path'"),
    (GOOD.replace("hash:", "start: yesterday, hash:"), "yesterday"), ("", "has to hold names and values"), ("- 1", "names and values"),
    ("a: [", "is no YAML"), ("a: !!python/object/apply:os.system ['true']", "is no YAML"),
])
def test_what_cannot_be_read_is_one_sentence(tmp_path, text, told):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ExperimentError) as said: read(tmp_path / "bad.yaml")
    assert told in str(said.value) and "bad.yaml" in str(said.value) and "\n" not in str(said.value)


def test_a_file_by_hand_may_be_short(tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD)
    it = read(tmp_path / "x.yaml")
    assert it.strategies == {"ema_scalper": EmaScalper(surge=1.5)} and it.rules == Rules() and it.start == it.code == "" and not it.result
    for name in ("none.yaml", "."):
        with pytest.raises(ExperimentError, match="cannot be read"): read(tmp_path / name)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ExperimentError, match="it is no text|no YAML"): read(tmp_path / "x.yaml")


def days(r: np.ndarray, begin: int = 0) -> Days: return Days((np.arange(len(r)) + 1 + begin) * DAY, r)


def test_the_interval_of_the_difference_is_that_of_arch():
    rng = np.random.default_rng(5)
    weather = rng.normal(0, 0.02, 400)
    a, b = weather + rng.normal(0.001, 0.004, 400), weather + rng.normal(0, 0.004, 400)
    found = compare(days(a), days(b), draws=4000)
    theirs = StationaryBootstrap(2, a - b, seed=1).conf_int(np.mean, 4000, method="percentile").ravel()
    assert found.difference == pytest.approx((a - b).mean()) and np.allclose(found.interval, theirs, atol=1.5e-4)
    assert found.interval.low > 0 and found.better > 0.99 and found.days == 400        # the weather that both had is gone
    turned = compare(days(b), days(a), draws=4000)
    assert turned.difference == -found.difference and turned.better == pytest.approx(1 - found.better)
    assert turned.interval.low == pytest.approx(-found.interval.high, abs=1e-12)


def test_only_common_days_count():
    r = np.random.default_rng(2).normal(0, 0.01, 100)
    found = compare(days(r), days(r[20:], 20))
    assert found.days == 80 and found.difference == 0.0 == found.interval.low == found.interval.high and found.better == 0.5
    short = compare(days(r[:20]), days(r[:20] + 0.01))
    assert short.days == 20 and np.isnan(short.interval.low) and np.isnan(short.better) and short.difference == pytest.approx(-0.01)
    with pytest.raises(ValueError, match="no day in common"): compare(days(r), days(r, 500))


def test_trials_and_reports_compare_alike(made):
    page = report(made[0])
    trial = trial_of(page, IT, BARS, PAID)
    assert compare(page, trial).difference == 0.0 and compare(page, trial).days == page.equity.days
    bare = Trial("backtest", {}, "", 0, DAY, (), "", settings_of(), {}, id=5)
    with pytest.raises(ValueError, match="trial 5 has kept no daily returns"): compare(page, bare)
