"The portfolio backtest: an account stepped by hand, the service's way, and every past that a later future must not change."

from dataclasses import replace
from math import inf, nan
from typing import Any

import account_kit as kit
import numpy as np
import pytest
from account_kit import BINDS, GRIDS, LIVELY, QUICK, ROOMY, TWO, random_market, told
from fixtures.candles import QUARTER
from told import BUY, FREELY, QUIET, SELL, Told

from perps_kit.backtest.lanes import Lane, lanes
from perps_kit.backtest.portfolio import Portfolio, invested, most_traded, portfolio
from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, HOUR, iso
from perps_kit.core.registry import strategy
from perps_kit.core.signal import trait
from perps_kit.core.unit import same_bits
from perps_kit.data.funding import Funding
from perps_kit.data.sample import sample_bars, sample_funding, sample_markets
from perps_kit.data.series import fill_holes
from perps_kit.engine.follow import FOLLOWED
from perps_kit.risk.account import Terms
from perps_kit.risk.memory import Policy
from perps_kit.risk.order import Grid
from perps_kit.scoring.book import Pipeline
from perps_kit.trackers.plan import Rules

pytestmark = pytest.mark.filterwarnings("error")

NAMES = ("BTCUSDT", "DOGEUSDT", "SOLUSDT")
STRATEGIES = ("action_price", "continuation", "ema_scalper")
ALL = Policy(strategies=STRATEGIES)
HARD = Terms(drawdown=1.0, adaptive=True, reward=True, most_positions=1, trades_a_day=3)
MODES = ("reject", "close", "flip")
FREE = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0, fee=0.0, target_fee=0.0, patience=0)


@pytest.fixture(scope="module")
def market():
    "Three sample coins, one with holes: candles, funding, what the venue takes, three strategies, one of half hours."
    bars = {s: sample_bars(s) for s in NAMES}
    gone = np.isin(np.arange(len(bars["SOLUSDT"])), np.r_[9000:9040, 14_000:14_100])
    bars["SOLUSDT"] = bars["SOLUSDT"][~gone]
    grids = {s: Grid(m.tick, m.step, m.min_qty, 0.0, m.min_notional) for s, m in sample_markets().items() if s in NAMES}
    return bars, {s: sample_funding(s) for s in NAMES}, grids, {name: strategy(name) for name in STRATEGIES}


@pytest.fixture(scope="module")
def found(market) -> list[Lane]:
    return lanes(market[3], market[0], market[1])


@pytest.fixture(scope="module")
def stepped(market, found) -> kit.Candles:
    return kit.candles_of(found, market[1])


def asked(mode: str) -> Pipeline:
    "Gates that let much pass where signals against open ones are the point."
    return Pipeline(enabled=frozenset(STRATEGIES), weigh=mode == "reject", minimum=30.0, on_opposite=mode)


def ends(run: Portfolio) -> list[Any]:
    "Outcomes of what the account entered."
    return [t.outcome for t in run.trades if t.outcome]


def ladders(run: Portfolio) -> dict: return {t.id: t.ladder for t in run.trades}


def alike(run: Portfolio, hand) -> None:
    "An account by hand came to the same: answers, quantities, ladders, equity at each of its closes, to the bit."
    assert [repr(f) for f in run.follows] == [repr(f) for f in hand.follows]
    assert ladders(run).keys() == hand.ladders.keys()
    for id, ladder in ladders(run).items(): assert same_bits(ladder, hand.ladders[id]), (ladder, hand.ladders[id])
    worth = dict(zip(run.times.tolist(), run.equity.tolist(), strict=True))
    assert {t: worth[t] for t in hand.equity} == hand.equity


def until(run: Portfolio, time: int) -> tuple:
    "What a run says of everything up to a close."
    worth = {t: e for t, e in zip(run.times.tolist(), run.equity.tolist(), strict=True) if t <= time}
    return [repr(d) for d in run.reference.decisions if d.time <= time], [repr(f) for f in run.follows if f.time <= time], worth


def cut(bars: dict[str, Bars], time: int) -> dict[str, Bars]:
    "What was there of the candles at a close."
    return {s: b[b.close_time <= time] for s, b in bars.items()}


def agree(whole: Portfolio, part: Portfolio, time: int) -> None:
    "Up to a close a run that knows no more says the same; where it has no close of its own it says nothing of the equity."
    (decisions, follows, worth), (d, f, e) = until(whole, time), until(part, time)
    assert d == decisions and f == follows and e == {t: worth[t] for t in e}, iso(time)


def moved(bars: Bars, after: int, seed: int = 0) -> Bars:
    "The same candles with another future: prices and volumes after a close are drawn anew around the old ones."
    rng, later = np.random.default_rng(seed), bars.close_time > after
    up, down = (np.where(later, rng.uniform(*x, len(bars)), 1.0) for x in ((1.0, 1.01), (0.99, 1.0)))
    volume = np.where(later, rng.uniform(0.5, 2.0, len(bars)), 1.0)
    return replace(bars, high=bars.high * up, low=bars.low * down, volume=bars.volume * volume, taker_buy=bars.taker_buy * volume,
                   quote_volume=bars.quote_volume * volume)


# --- the account by hand


@pytest.mark.parametrize("mode", MODES)
def test_an_account_stepped_candle_by_candle_comes_to_the_same(market, found, stepped, mode):
    grids = market[2]
    run = invested(found, HARD, asked(mode), grids=grids, policy=ALL)
    alike(run, kit.by_hand(run, stepped, Rules(), grids, ALL))
    taken = {(t.candidate.strategy, t.outcome.exit_type) for t in run.trades if t.outcome}
    assert {name for name, _ in taken} == set(STRATEGIES) and len(run.trades) > 50
    assert {f.reason for f in run.follows} >= {"", "positions", "correlation"} and not {f.outcome for f in run.follows} - {
        "followed", "confirms", "refused"}
    assert ("OPPOSITE" in {how for _, how in taken}) == any(d.closes for d in run.reference.decisions) == (mode != "reject")


@pytest.mark.parametrize("terms", [
    Terms(), Terms(sizing="percent", share=0.2, adaptive=True, drawdown=0.03), Terms(risk=0.05, most_risk=0.05, open_risk=1.0, between=0),
    Terms(with_fees=False, leverage=20, classes=("LOW", "MEDIUM"), most_positions=5, trades_a_day=2, correlation=False)],
    ids=["usual", "percent", "bold", "busy"])
def test_the_same_under_other_terms(market, found, stepped, terms):
    grids = market[2]
    run = invested(found, terms, asked("reject"), grids=grids, policy=None, balance=777.0)
    alike(run, kit.by_hand(run, stepped, Rules(), grids, None))
    assert run.trades and {f.outcome for f in run.follows} >= {"followed", "refused"}


@pytest.mark.parametrize(("seed", "mode"), [(seed, mode) for seed in (0, 6, 7) for mode in MODES])
def test_a_service_without_a_database_does_the_same(seed, mode):
    (bars, funding), pipeline = random_market(seed, large=seed % 2 == 0), LIVELY._replace(on_opposite=mode)
    strategies = TWO if seed % 3 else QUICK
    run = portfolio(strategies, bars, ROOMY, pipeline, Rules(), funding, GRIDS, compiled=False, policy=BINDS)
    hand, decisions, memories = kit.served(strategies, bars, ROOMY, pipeline, Rules(), funding, GRIDS, BINDS, run.balance)
    assert [repr(d) for d in run.reference.decisions] == [repr(d) for d in decisions]
    alike(run, hand)
    assert run.memory == memories[-1][1] and len(run.trades) > 12
    assert any(d.closes for d in decisions) == (mode != "reject")


@pytest.mark.parametrize("seed", [4, 7])
def test_a_service_that_waits_through_small_holes_does_the_same(seed):
    bars, funding = random_market(seed, small=True, large=seed % 2 == 0)
    strategies = TWO if seed % 2 else QUICK
    run = portfolio(strategies, bars, ROOMY, LIVELY, Rules(), funding, GRIDS, compiled=False, policy=BINDS)
    alike(run, kit.served(strategies, bars, ROOMY, LIVELY, Rules(), funding, GRIDS, BINDS, run.balance)[0])


def test_a_signal_may_close_a_position_that_its_stop_ends_anyway():
    bars = {"AUSDT": told({2: BUY}, b4=-3.0), "BUSDT": told({3: BUY, 8: SELL}, symbol="BUSDT", b9=-3.0)}
    run = portfolio({"told": Told()}, bars, pipeline=FREELY._replace(on_opposite="close"), compiled=False)
    assert [o.exit_type for o in ends(run)] == ["SL", "OPPOSITE"]


# --- the memory


def memory_verdicts(d) -> list:
    "What the memory said in a decision."
    return [v for v in d.verdicts if v.gate in ("memory", "pause", "strategy_rest", "symbol_rest", "quota", "threshold")]


@pytest.mark.parametrize("mode", MODES)
def test_the_memory_is_a_plain_fold_over_what_had_ended_by_then(market, found, mode):
    pipeline = asked(mode)._replace(minimum=60.0)
    run, heard = invested(found, HARD, pipeline, grids=market[2], policy=ALL), 0
    for d, (_, memory) in zip(run.reference.decisions, kit.taught_by_hand(run, ALL), strict=True):
        said = memory_verdicts(d)
        if not said: continue
        own = trait(market[3][d.strategy], "minimum")
        assert memory and said == memory.verdicts(d.strategy, d.symbol, d.time, d.score, pipeline.minimum if own is None else own)
        heard += not all(v.passed for v in said)
    assert heard > 100 and {d.reason for d in run.reference.decisions} >= {"pause", "symbol_rest", "quota"}


def test_without_a_policy_nothing_is_remembered_and_an_unbinding_one_says_so(market, found):
    none, off = (invested(found, HARD, asked("reject"), grids=market[2], policy=p) for p in (None, Policy(strategies=())))
    assert none.memory is None and off.memory and off.memory.outcomes == () and [f.id for f in none.follows] == [f.id for f in off.follows]
    assert {v for d in off.reference.decisions for v in memory_verdicts(d)} == {("memory", True, "", "")}


# --- the past


@pytest.mark.parametrize("mode", MODES)
def test_cutting_the_candles_changes_nothing_before_the_cut(market, mode):
    bars, funding, grids, strategies = market
    more: dict[str, Any] = dict(terms=HARD, pipeline=asked(mode), funding=funding, grids=grids, policy=ALL)
    whole = portfolio(strategies, bars, universe=most_traded(bars, 2), **more)
    for time in np.random.default_rng(MODES.index(mode)).choice(whole.times[5000:], 4).tolist():
        known = cut(bars, time)
        agree(whole, portfolio(strategies, known, universe=most_traded(known, 2), **more), time)
    assert len(whole.trades) > 30


@pytest.mark.parametrize(("seed", "mode"), [(seed, mode) for seed in (0, 6, 7) for mode in MODES])
def test_nor_where_signals_come_thick_and_fast(seed, mode):
    bars, funding = random_market(seed, large=True)
    strategies, pipeline = TWO if seed % 3 else QUICK, LIVELY._replace(on_opposite=mode)
    more: dict[str, Any] = dict(terms=ROOMY, pipeline=pipeline, funding=funding, grids=GRIDS, compiled=False, policy=BINDS)
    whole = portfolio(strategies, bars, **more)
    for time in np.random.default_rng(seed).choice(whole.times[40:], 4).tolist():
        agree(whole, portfolio(strategies, cut(bars, time), **more), time)
    assert len(whole.trades) > 12


def test_another_future_leaves_the_past_alone(market):
    bars, funding, grids, strategies = market
    more: dict[str, Any] = dict(terms=HARD, pipeline=asked("flip"), funding=funding, grids=grids, policy=ALL)
    whole = portfolio(strategies, bars, **more)
    for seed, time in enumerate(np.random.default_rng(9).choice(whole.times[6000:16_000], 3).tolist()):
        other = portfolio(strategies, {s: moved(b, time, seed) for s, b in bars.items()}, **more)
        assert until(whole, time) == until(other, time) and whole.equity[-1] != other.equity[-1]


def test_nor_does_the_end_of_a_small_hole_change_what_was_before_it():
    bars, funding = random_market(12, n=260, small=True)
    more: dict[str, Any] = dict(terms=ROOMY, pipeline=LIVELY, rules=Rules(), funding=funding, grids=GRIDS, compiled=False, policy=BINDS)
    whole = portfolio(QUICK, bars, **more)
    for b in map(fill_holes, bars.values()):
        for time in b.close_time[b.synthetic].tolist(): agree(whole, portfolio(QUICK, cut(bars, time), **more), time)


def test_an_account_waits_for_an_entry_whose_candle_is_not_there_yet():
    "At the very last close the entry is still to come; it binds margin at the reference price and nothing else."
    bars = {"AUSDT": told({19: BUY}, n=21), "BUSDT": told({20: BUY}, symbol="BUSDT")}
    run = portfolio({"told": Told()}, bars, pipeline=FREELY, compiled=False)
    assert [f.outcome for f in run.follows] == [FOLLOWED] * 2 and run.follows[1].quantity > 0


@pytest.mark.parametrize("later", [20, 25])
def test_and_when_that_candle_never_comes_others_are_still_entered(later):
    bars = {"AUSDT": told({19: BUY}, n=20), "BUSDT": told({later: BUY}, symbol="BUSDT")}
    run = portfolio({"told": Told()}, bars, pipeline=FREELY, compiled=False)
    assert [f.outcome for f in run.follows] == [FOLLOWED] * 2


# --- the universe


@pytest.fixture(scope="module")
def wide():
    "Five coins whose turnovers change places."
    rng, found = np.random.default_rng(4), {}
    for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"):
        b = sample_bars(s)[:96 * 120]
        level = rng.uniform(0.2, 5.0, 8)[(b.open_time - b.open_time[0]) // (17 * DAY)]
        found[s] = replace(b, quote_volume=level * b.quote_volume / b.quote_volume.mean())
    return found


def test_the_universe_of_a_day_is_the_largest_turnover_of_the_thirty_before_it(wide):
    got, first = most_traded(wide, 2), min(int(b.open_time[0]) for b in wide.values())
    assert got[0][0] == first // DAY * DAY + 30 * DAY and len(got) == 91 and len({names for _, names in got}) > 5
    for since, names in got[::9]:
        sums = {s: sum(q for t, q in zip(b.close_time.tolist(), b.quote_volume.tolist()) if since - 30 * DAY < t <= since)
                for s, b in wide.items()}
        assert names == set(sorted(sums, key=lambda s: -sums[s])[:2])


def test_it_knows_nothing_of_the_future(wide):
    whole = most_traded(wide, 2)
    for day in (35, 36, 60, 99):
        time = int(wide["BTCUSDT"].open_time[0]) // DAY * DAY + day * DAY
        past = [row for row in whole if row[0] <= time]
        assert most_traded(cut(wide, time), 2) == past
        other = {s: replace(b, quote_volume=b.quote_volume * np.where(b.close_time > time, 30.0 * k, 1.0))
                 for k, (s, b) in enumerate(wide.items())}
        assert [row for row in most_traded(other, 2) if row[0] <= time] == past
        assert most_traded(other, 2) != whole


def test_who_is_young_or_silent_at_midnight_is_not_in_it(wide):
    b, five = wide["BTCUSDT"], 5
    day = int(b.open_time[0]) // DAY * DAY + 40 * DAY
    names = dict(most_traded(wide, five))[day]
    assert names == set(wide)
    assert dict(most_traded(wide | {"BTCUSDT": b[b.open_time >= day - 30 * DAY]}, five))[day] == names
    for some in (b[b.open_time >= day - 30 * DAY + QUARTER], b[b.close_time != day], b[b.open_time >= day]):
        assert dict(most_traded(wide | {"BTCUSDT": some}, five))[day] == names - {"BTCUSDT"}


def test_what_is_outside_is_refused_with_a_reason_and_what_is_open_runs_on(market, found):
    bars, _, grids, _ = market
    before, after = frozenset(("DOGEUSDT", "SOLUSDT")), frozenset(("BTCUSDT",))
    first = invested(found, HARD, asked("reject"), grids=grids, policy=ALL, universe=[(0, before)])
    late = bars["BTCUSDT"].close_time[9_000]
    one, made = next((t, o) for t in first.trades if (o := t.outcome) and o.entry_time > late and o.bars > 3)
    middle = made.entry_time + 2 * QUARTER
    run = invested(found, HARD, asked("reject"), grids=grids, policy=ALL, universe=[(0, before), (middle, after)])
    for d in run.reference.decisions:
        inside = d.symbol in (before if d.time < middle else after)
        assert inside == (d.reason != "enabled")
        if inside: continue
        assert [v.reason for v in d.verdicts if not v.passed] == [f"{d.symbol} is muted"] and not d.signal_id and not d.closes
    assert {t.symbol for t in run.trades} == set(NAMES) and {t.symbol for t in first.trades} == before
    assert same_bits(ladders(run)[one.id], one.ladder) and made.exit_time > middle
    whole = invested(found, HARD, asked("close"), grids=grids, policy=ALL, universe=[(0, frozenset(NAMES))])
    free = invested(found, HARD, asked("close"), grids=grids, policy=ALL)
    assert until(whole, 1 << 62) == until(free, 1 << 62)


# --- funding


def test_what_was_not_paid_is_counted(market):
    bars, funding, grids, strategies = market
    some = dict(funding) | {"SOLUSDT": funding["SOLUSDT"][np.arange(len(funding["SOLUSDT"])) % 7 != 3]}
    del some["DOGEUSDT"]
    unpaid = portfolio(strategies, bars, HARD, asked("reject"), funding=some, grids=grids).reference.unpaid
    series, b = some["SOLUSDT"], fill_holes(bars["SOLUSDT"])
    due = [t for t in range(-(-int(b.open_time[0]) // (8 * HOUR)) * 8 * HOUR, int(b.close_time[-1]), 8 * HOUR)
           if t not in set(series.time.tolist()) and ((b.open_time <= t) & (t < b.close_time)).any()]
    inside = (lambda b, t: ((b.open_time <= t) & (t < b.close_time)).any())
    lost = {s: sum(int(b.open_time[0]) <= t < int(b.close_time[-1]) and not inside(b, t) for t in some[s].time.tolist())
            for s, b in ((s, fill_holes(bars[s])) for s in some)}      # settled in a hole of the candles
    assert unpaid == {"BTCUSDT": lost["BTCUSDT"], "DOGEUSDT": -1, "SOLUSDT": len(due) + lost["SOLUSDT"]} and len(due) > 80


def test_a_position_pays_what_it_held_and_a_gap_in_the_series_pays_nothing_but_is_told():
    full = Funding.of("AUSDT", [0, 8 * HOUR, 16 * HOUR, 24 * HOUR], [9e-3, 1e-3, 2e-3, -1e-3], [100.0, 100.0, 100.0, 200.0])
    for series, cash, missing in ((full, 0.1 + 0.2 - 0.2, 0), (full[np.array([True, True, False, True])], 0.1 - 0.2, 1)):
        run = portfolio({"told": Told()}, told({2: BUY}, n=100), pipeline=FREELY, rules=FREE, funding={"AUSDT": series}, compiled=False)
        (made,) = ends(run)
        assert made.funding == pytest.approx(-cash * made.quantity) and run.reference.unpaid == {"AUSDT": missing}
        assert run.equity[-1] == pytest.approx(10_000.0 - cash * made.quantity)


def test_of_two_timeframes_the_larger_count_is_told():
    run = portfolio(TWO, told({2: BUY}, n=33), pipeline=FREELY, funding={"AUSDT": Funding.of("AUSDT", [0], [0.0])}, compiled=False)
    assert run.reference.unpaid == {"AUSDT": 1}      # due at 8:00, in a candle whose half hour is not whole


def test_what_falls_into_a_hole_of_the_candles_is_counted_where_it_is_not_paid():
    bars = told({2: BUY}, n=60)
    series = Funding.of("AUSDT", [0, 8 * HOUR], [0.0, 1e-3], [100.0, 100.0])
    run = portfolio({"told": Told()}, bars[~np.isin(np.arange(60), np.arange(28, 37))], pipeline=FREELY, rules=FREE, compiled=False,
                    funding={"AUSDT": series})
    assert ends(run)[0].funding != 0.0 or run.reference.unpaid == {"AUSDT": 1}


# --- nothing, little, and what cannot be


def alone(bars, **more: Any) -> Portfolio:
    usual: dict[str, Any] = dict(pipeline=FREELY, rules=FREE, compiled=False)
    return portfolio({"told": Told()}, bars, **(usual | more))


@pytest.mark.parametrize(("bars", "closes"), [
    ({}, 0), ({"AUSDT": told({})[:0]}, 0), ({"AUSDT": told({0: BUY})[:1]}, 1), ({"AUSDT": told({})}, 40),
    ({"AUSDT": told({})[:0], "BUSDT": told({}, symbol="BUSDT")}, 40)], ids=["none", "empty", "one", "silent", "half"])
def test_no_candles_and_no_signals_are_an_account_that_stays_as_it_was(bars, closes):
    run = alone(bars)
    assert run.trades == run.follows == run.reference.decisions == [] and len(run.times) == closes
    assert run.equity.tolist() == [10_000.0] * closes and run.account.balance == 10_000.0


def test_one_trade():
    run = alone(told({2: BUY}, b5=2.2), exits=lambda s: s._replace(preset=3, t1=1.0))
    (made,), (said,) = ends(run), run.follows
    assert said.quantity == pytest.approx(50.0) and made.exit_type == "TP1" and made.gross_r == pytest.approx(1.0)
    assert run.equity.tolist()[:5] == [10_000.0] * 5 and run.equity[-1] == pytest.approx(10_100.0) == run.account.balance


def test_the_last_close_may_speak_but_nothing_is_entered():
    run = alone(told({39: BUY}))
    assert [f.outcome for f in run.follows] == [FOLLOWED] and run.trades[0].outcome is None and run.equity[-1] == 10_000.0


@pytest.mark.parametrize("balance", [0.0, -5.0, nan])
def test_an_account_needs_money(balance):
    with pytest.raises(ValueError, match="balance.*above 0"): alone(told({2: BUY}), balance=balance)


def test_money_without_end_is_no_balance():
    with pytest.raises(ValueError, match="balance"): alone(told({2: BUY}), balance=inf)


def test_an_account_below_the_least_balance_follows_nothing():
    run = alone(told({2: BUY}), balance=49.0)
    assert [(f.outcome, f.reason) for f in run.follows] == [("refused", "balance")] and run.trades == [] and run.equity[-1] == 49.0


@pytest.mark.parametrize("wrong", [
    dict(leverage=0), dict(leverage=21), dict(leverage=2.5), dict(leverage=nan), dict(risk=0.0), dict(risk=1.5), dict(risk=nan),
    dict(sizing="all"), dict(share=0.0), dict(most_margin=2.0), dict(most_notional=nan), dict(daily_loss=0.0), dict(drawdown=-1.0),
    dict(open_risk=0.0), dict(room=2.0), dict(most_positions=-1), dict(between=-1), dict(between=nan), dict(classes=("low",)),
    dict(least_balance=-1.0), dict(least_balance=nan)], ids=str)
def test_terms_out_of_range_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match="positions or entries" if name == "most_positions" else name):
        alone(told({2: BUY}), terms=Terms()._replace(**wrong))


def test_names_that_no_candle_has_change_nothing():
    bars, other = told({2: BUY, 20: SELL}, b5=2.0), told({}, symbol="ZUSDT")
    usual = until(alone(bars), 1 << 62)
    for more in (dict(grids={"ZUSDT": Grid(0.1)}), dict(detail={"ZUSDT": other}), dict(tiers={"ZUSDT": ()}),
                 dict(funding={"ZUSDT": Funding.of("ZUSDT", [], [])}), dict(universe=[(0, frozenset(("AUSDT", "ZUSDT")))]),
                 dict(pipeline=FREELY._replace(leader="ZUSDT"))):
        assert until(alone(bars, **more), 1 << 62) == usual


@pytest.mark.parametrize("universe", [[], [(0, frozenset(("ZUSDT",)))], [(1 << 50, frozenset(("AUSDT",)))]])
def test_a_universe_without_the_symbols_trades_nothing_and_says_why(universe):
    run = alone(told({2: BUY, 20: SELL}), universe=universe)
    assert run.trades == run.follows == [] and [d.reason for d in run.reference.decisions] == ["enabled"] * 2


@pytest.mark.parametrize(("count", "days"), [(0, 30), (-1, 30), (2, 0)])
def test_a_universe_of_nothing_is_refused(count, days):
    with pytest.raises(ValueError, match="at least 1"): most_traded({"AUSDT": told({})}, count, days)


def test_a_universe_needs_its_days():
    assert most_traded({"AUSDT": told({})}, 1) == []


@pytest.mark.parametrize("bars", [{}, {"AUSDT": told({})[:0]}], ids=["none", "empty"])
def test_without_candles_there_is_no_universe(bars): assert most_traded(bars, 1) == []


# --- machine code


def test_compiled_or_not_the_account_is_the_same_to_the_bit(market):
    bars, funding, grids, strategies = market
    short = {s: bars[s][:5000] for s in ("BTCUSDT", "SOLUSDT")}
    more: dict[str, Any] = dict(terms=ROOMY, pipeline=asked("flip"), funding=funding, grids=grids, policy=ALL)
    fast, plain = (portfolio(strategies, short, compiled=compiled, **more) for compiled in (True, False))
    assert until(fast, 1 << 62) == until(plain, 1 << 62) and len(fast.trades) > 50
    assert all(same_bits(ladder, ladders(plain)[id]) for id, ladder in ladders(fast).items())
    assert fast.memory == plain.memory and repr(fast.account) == repr(plain.account)


def test_a_stretch_too_short_for_a_bar_changes_no_id():
    bars = told({5: BUY})[~np.isin(np.arange(40), [*range(20, 30), *range(31, 40)])]
    one, two = (portfolio({"slow": kit.Slow(8.0, QUIET)}, bars, pipeline=FREELY, compiled=compiled) for compiled in (True, False))
    assert [f.id for f in one.follows] == [f.id for f in two.follows]
