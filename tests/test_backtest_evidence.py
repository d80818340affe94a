"What a backtest does not prove: each objection, and each reason for a missing figure."

import warnings
from math import isnan

from evidence_kit import market, of, paid

from perps_kit.backtest.evidence import CHECKS, Paper, evidence, halves, undefined
from perps_kit.backtest.report import table
from perps_kit.trackers.plan import Rules


def test_a_dull_sure_thing_is_proven_once_it_is_tested_elsewhere():
    bars = market(9000, 24, 3.5, 0.3)
    run, page = of(bars, funding=paid(bars))
    assert page.trades.n >= 200 and page.trades.expectancy > 0.5
    case = evidence(run, page, passed=tuple(CHECKS))
    assert case.label == "proven" and not case.objections and case.deflated > 0.99
    assert evidence(run, page).objections == tuple(CHECKS.values()) and evidence(run, page).label == "unproven"
    assert any("no funding series" in line for line in evidence(*of(bars), passed=tuple(CHECKS)).objections)


def test_each_objection_is_raised():
    bars = market(3600, 24, -3.5, 0.3)
    bare = of(bars)
    said = " | ".join(evidence(*bare).objections)
    for text in ("trades; 200", "lower 5 % begin at -", "not both halves", "doubled slippage", "be luck", "no funding series of BTCUSDT"):
        assert text in said
    few = evidence(*of(market(100, 24, 3.5))).objections
    assert "too few trades for an interval of the expectancy" in few and "too few days for a Sharpe ratio" in few
    lacking = paid(bars)["BTCUSDT"][1:]
    assert "1 settlements of BTCUSDT are missing and were not paid" in evidence(*of(bars, funding={"BTCUSDT": lacking})).objections


def test_figures_that_are_missing_have_their_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run, page = of(market(200, 1000, 0.0)[10:])
        assert not page.records and evidence(run, page).objections[0].startswith("no trades")
        why = undefined(page)
        assert why["expectancy"] == why["profit_factor"] == "no trades" and why["sharpe"] == "3 days; it needs 30" and "nan" in table(page)
        long = undefined(of(market(4000, 9000, 0.0)[10:])[1])
        assert long["sharpe"] == long["sortino"] == "no trades" and "cagr" not in long
        won = undefined(of(market(3600, 24, 3.5))[1])
        assert won["payoff"] == won["kelly"] == "no trade won or none lost"
        assert won["sortino"] == "no losing day" and won["calmar"] == "no drawdown"
        assert undefined(of(market(60, 24, 3.5))[1])["expectancy_interval"] == "3 trades; an interval needs 10"


def test_every_missing_figure_has_a_reason():
    kinds = (market(200, 1000, 0.0)[10:], market(200, 1000, 0.0), market(60, 24, 3.5), market(3600, 24, -3.5, 0.3), market(3600, 24, 3.5))
    for bars in kinds:
        page = of(bars)[1]
        values = page.trades._asdict() | page.equity._asdict()
        del values["drawdown"]
        assert {name for name, x in values.items() if isnan(getattr(x, "low", x))} == set(undefined(page))


def test_halves_of_nothing(): assert all(isnan(x) for x in halves([]))


def test_halves_are_those_of_the_time_and_not_of_the_count():
    bars = market(3600, 24, 3.5)
    run, page = of(bars, funding=paid(bars))
    late = page._replace(records=page.records[-20:])
    assert all(x > 0 for x in halves(page.records)) and isnan(halves(late.records, (page.begin + page.end) / 2)[0])
    assert any("not both halves" in line for line in evidence(run, late).objections)


def test_what_was_measured_takes_the_place_of_what_was_not():
    bars = market(9000, 24, 3.5, 0.3)
    run, page = of(bars, funding=paid(bars))
    dear = of(bars, funding=paid(bars), rules=Rules(patience=0, entry_bp=4.0, stop_bp=10.0, close_bp=10.0))[1]
    fine = dict(out_of_sample=page, pbo=0.1, doubled=dear, paper=Paper(31, 0))
    case = evidence(run, page, **fine)
    assert case.label == "proven" and not case.objections and case.overfitting == 0.1 and 0 < case.lower < page.trades.expectancy
    wrong = dict(pbo=0.25, paper=Paper(12, 0), out_of_sample=of(bars[:3000], funding=paid(bars))[1], doubled=of(market(9000, 24, -3.5))[1])
    said = dict(pbo="a probability of 25%", paper="12 days on paper", out_of_sample="trades; 200 are asked for",
                doubled="doubled slippage leaves no gain: -")
    for name, value in wrong.items():
        found = evidence(run, page, **fine | {name: value}).objections
        assert said[name] in found[0] and "about" not in found[0]
    assert "3 trades on paper differ" in evidence(run, page, **fine | dict(paper=Paper(40, 3))).objections[0]
    assert "cannot be told" in evidence(run, page, **fine | dict(pbo=float("nan"))).objections[0]
