"The account's page: its money adds up to the change of its equity, its answers to the signals, and what is missing says why."

import json
from dataclasses import replace
from math import isnan, nan

import account_kit as kit
import numpy as np
import pytest
from account_kit import told
from told import BUY, FREELY, QUIET, Told

from perps_kit.backtest.account_report import account_records, account_report, answers, facts, own
from perps_kit.backtest.evidence import evidence, undefined
from perps_kit.backtest.portfolio import Portfolio, portfolio
from perps_kit.backtest.report import breakdown
from perps_kit.core.clock import DAY
from perps_kit.core.registry import strategy
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.risk.account import Terms
from perps_kit.scoring.book import Pipeline
from perps_kit.trackers.plan import Rules
from runners.listing import clean

pytestmark = pytest.mark.filterwarnings("error")

NAMES = ("BTCUSDT", "SOLUSDT")
STRATEGIES = ("action_price", "atr_momentum", "ema_scalper", "pullback")


@pytest.fixture(scope="module")
def run() -> Portfolio:
    "Two coins, four strategies, 47 days and two hours, a position open where the candles end."
    bars = {s: sample_bars(s)[:4_520] for s in NAMES}
    pipeline = Pipeline(enabled=frozenset(STRATEGIES), weigh=False, minimum=30.0)
    return portfolio({n: strategy(n) for n in STRATEGIES}, bars, Terms(drawdown=0.5, most_positions=1), pipeline, policy=None,
                     funding={s: sample_funding(s) for s in NAMES}, balance=5_000.0)


def test_money_adds_up_to_the_change_of_the_equity(run):
    page, change = account_report(run), run.equity[-1] - run.balance
    made = [t.outcome for t in run.trades if t.outcome]
    assert page.trades.n == len(made) > 50 and any(o.marked for o in made) and not all(o.marked for o in made)
    assert sum(o.net for o in made) == pytest.approx(change) == page.trades.money
    assert sum(o.gross - o.fees + o.funding for o in made) == pytest.approx(change)
    assert run.account.balance - run.balance == pytest.approx(sum(o.net for o in made if not o.marked))
    assert (page.equity.start, page.equity.final) == (run.balance, run.equity[-1]) and page.capital == run.balance
    assert page.equity.total == pytest.approx(change / run.balance)
    for by in ("strategy", "symbol", "side", "exit", "month", "session"):
        groups = breakdown(page.records, by)
        assert sum(g.money for g in groups.values()) == pytest.approx(change) and sum(g.n for g in groups.values()) == len(made)


def test_each_trade_counts_in_the_money_that_it_risked(run):
    for r in account_records(run):
        assert r.cash == pytest.approx(r.outcome.quantity * r.outcome.risk) and r.cash * r.outcome.net_r == pytest.approx(r.outcome.net)
    page, made = account_report(run), [t.outcome for t in run.trades if t.outcome]
    for name, mean in (("fees", page.fees_r), ("funding", page.funding_r), ("slippage", page.slippage_r)):
        assert mean == pytest.approx(np.mean([getattr(o, name) / (o.quantity * o.risk) for o in made]))
    assert [r.outcome.exit_time for r in page.records] == sorted(o.exit_time for o in made)
    assert page.cancelled == len(run.trades) - len(made) and page.marked == sum(o.marked for o in made)


def test_days_end_with_the_last_equity_that_was_known(run):
    page = account_report(run)
    for day, value in zip(page.curve.time.tolist(), page.curve.equity.tolist()):
        known = [e for t, e in zip(run.times.tolist(), run.equity.tolist()) if t <= day]
        assert value == known[-1]
    assert len(page.curve.time) == page.equity.days == 48 and (page.curve.time % DAY == 0).all()


def test_exposure_is_counted_minute_by_minute(run):
    page, made = account_report(run), [t.outcome for t in run.trades if t.outcome]
    minutes = np.arange(page.begin, page.end, 900_000)
    inside = [(minutes >= o.entry_time) & (minutes < o.exit_time) for o in made]
    assert page.time_in_market == pytest.approx(np.any(inside, axis=0).mean())
    worth = sum(o.quantity * o.entry * held for o, held in zip(made, inside))
    assert page.leverage == pytest.approx(np.mean(worth) / run.balance)
    traded = sum(o.quantity * (o.entry + o.exit) for o in made)
    assert page.turnover == pytest.approx(traded / run.balance * 365 * DAY / (page.end - page.begin))


@pytest.fixture(scope="module")
def crowded() -> Portfolio:
    "Two strategies that often say the same of three coins."
    bars, funding = kit.random_market(3)
    return portfolio(kit.QUICK, bars, kit.ROOMY._replace(most_positions=2), kit.LIVELY, Rules(), funding, kit.GRIDS, compiled=False)


@pytest.mark.parametrize(("which", "reasons"), [("run", {"", "positions", "correlation"}), ("crowded", {"", "position", "positions"})])
def test_answers_add_up_to_the_signals(which, reasons, request):
    run = request.getfixturevalue(which)
    found, made = answers(run), {t.id: t.outcome.net_r for t in run.reference.trades if t.outcome}
    assert sum(a.count for a in found) == len(run.follows) == len(run.reference.trades)
    assert sum(a.count for a in found if a.outcome == "followed") == len(run.trades)
    assert {a.reason for a in found} >= reasons and ("confirms" in {a.outcome for a in found}) == ("position" in reasons)
    for a in found:
        some = [made[f.id] for f in run.follows if (f.outcome, f.reason) == (a.outcome, a.reason) and f.id in made]
        assert a.reference_r == pytest.approx(np.mean(some) if some else nan, nan_ok=True)
    assert [a.count for a in found] == sorted((a.count for a in found), reverse=True)


def test_facts_are_strict_json_and_complete(run):
    told = json.loads(json.dumps(clean(facts(run)), allow_nan=False))
    assert told["signals"] == len(run.reference.trades) and told["decisions"] == len(run.reference.decisions)
    assert told["account"]["balance"] == run.account.balance and told["memory"] is None
    assert told["unpaid_funding"] == {"BTCUSDT": 0, "SOLUSDT": 0}
    assert told["terms"]["most_positions"] == 1 and sum(a["count"] for a in told["answers"]) == len(run.follows)
    assert own(run).trades is run.trades and own(run).decisions is run.reference.decisions


def test_an_account_that_never_traded_says_so_of_every_figure():
    for bars in ({}, {"AUSDT": told({})[:0]}, {"AUSDT": told({}, n=96 * 40)}):
        run = portfolio({"told": Told()}, bars, pipeline=FREELY, compiled=False)
        page = account_report(run)
        why = undefined(page)
        values = page.trades._asdict() | page.equity._asdict()
        missing = {name for name, v in values.items() if isnan(getattr(v, "low", v if isinstance(v, float) else 0.0))}
        assert missing == why.keys() >= {"win_rate", "expectancy", "profit_factor", "sharpe", "calmar"} and all(why.values())
        assert page.trades.n == 0 and page.trades.money == 0.0 and page.equity.final == run.balance and answers(run) == []
        assert evidence(run.reference, page).label == "unproven" and json.dumps(clean(facts(run)), allow_nan=False)


def test_one_trade_has_figures_but_no_interval():
    run = portfolio({"told": Told()}, told({2: BUY}, b5=-3.0), pipeline=FREELY, compiled=False)
    page = account_report(run)
    (made,) = [t.outcome.net_r for t in run.trades if t.outcome]
    assert page.trades.n == 1 and page.trades.win_rate == 0.0 and page.trades.expectancy == made
    assert isnan(page.trades.expectancy_interval.low) and "interval" in undefined(page)["expectancy_interval"]


def test_a_cancelled_entry_is_no_trade():
    bars = told({2: BUY}, b2=0.0)
    at = np.arange(40) == 3
    run = portfolio({"told": Told()}, replace(bars, open=np.where(at, 97.0, bars.open), low=np.where(at, 96.9, bars.low)), pipeline=FREELY,
                    compiled=False)
    page = account_report(run)
    assert (page.trades.n, page.cancelled, run.equity[-1]) == (0, 1, run.balance) and answers(run)[0].count == 1
    assert isnan(answers(run)[0].reference_r)


def test_what_is_open_at_the_end_is_marked_where_the_equity_is():
    run = portfolio({"slow": kit.Slow(8.0, QUIET)}, told({5: BUY}, n=33, b31=0.5, b32=1.5), pipeline=FREELY, compiled=False)
    assert account_report(run).trades.money == pytest.approx(run.equity[-1] - run.balance)
