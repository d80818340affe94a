"The sweep: trade by trade what the plain ladder makes of the same signals, whoever shares what with whom."
import warnings
from dataclasses import replace
from itertools import product
from math import inf, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from crossing import Crossing, Halves
from fixtures.candles import walk

from perps_kit.backtest import sweep
from perps_kit.backtest.bridge import OPEN_GATES
from perps_kit.backtest.equity import Daily, day_ends, drawdown
from perps_kit.backtest.lanes import ground, lane
from perps_kit.backtest.run import backtest
from perps_kit.backtest.statistics import trade_stats
from perps_kit.backtest.sweep import FIGURES, ROW, Count, Curve, Sweep, neighbours, swept, to_forget, traded
from perps_kit.core.bar import Bars
from perps_kit.core.clock import HOUR
from perps_kit.core.columns import Columns, leaves_of, signals_of
from perps_kit.core.scan import Plans, Scan, live_nodes, width_of
from perps_kit.core.signal import SINGLE, STANDARD
from perps_kit.core.unit import ParameterError, make, same_bits
from perps_kit.data.funding import Funding, settlements
from perps_kit.data.sample import sample_bars
from perps_kit.engine.engine import waiting
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import CANCELLED, CLOSED, EXITS, OPPOSITE, Rules

SETS = [dict(fast=f, slow=s, preset=p) for f, s, p in product((3, 4, 6), (9, 14), (SINGLE, STANDARD))]
N = 2500
ANY_SCORE = OPEN_GATES._replace(minimum=0.0)


def holed(bars: Bars, *holes: tuple[int, int]) -> Bars:
    return bars[~np.isin(np.arange(len(bars)), [i + k for i, n in holes for k in range(n)])]


def paid(bars: Bars, seed: int = 3) -> Funding:
    "A settlement each hour, so that many positions meet one."
    times = np.arange(int(bars.open_time[0]) // HOUR + 1, int(bars.open_time[-1]) // HOUR) * HOUR
    return Funding.of(bars.symbol, times, np.random.default_rng(seed).normal(0.0, 0.001, len(times)), every=HOUR)


@pytest.fixture(scope="module")
def bars() -> Bars: return walk(5, N)


def reference(strategy, bars, rules=Rules(), funding=None, tick=0.0, exits=None) -> list[tuple]:
    "Signals of the ordinary road, each lived bar by bar by a plain `Ladder`; (signal's bar, last bar, ladder) of what was entered."
    one, found, n = lane("it", strategy, ground(bars, None, False), compiled=False), [], 0
    own, at = one.bars, settlements(one.bars, funding)
    rows, n = list(own), len(own)
    free, clear, held = 0, 0, 0
    for k, i in enumerate(one.at.tolist()):
        signal = one.candidate(k).signal
        if exits: signal = exits(signal)
        if i + 1 == n or i < (clear if signal.side == -held else free): continue
        ladder, last, decided = waiting(signal, int(own.close_time[i]), tick, rules), n, n
        for j in range(i + 1, n):
            ladder, _ = ladder.update(rows[j], float(at.at_open[j]), float(at.inside[j]))
            if ladder.state >= CLOSED:
                last = j
                break
            if one.leaves[j] == signal.side: ladder = ladder.leave(OPPOSITE)
            if ladder.reason and decided == n: decided = j
        ladder = ladder.finish(rows[-1].close, rows[-1].close_time)
        free, clear, held = last, min(last, decided), signal.side
        if ladder.state != CANCELLED: found.append((i, last, ladder))
    return found


def alike(rows: np.ndarray, lived: list[tuple]) -> None:
    assert len(rows) == len(lived)
    for row, (i, last, ladder) in zip(rows, lived, strict=True):
        o = result(ladder)
        want = (i, last, o.side, EXITS.index(o.exit_type), o.marked, o.entry_time, o.exit_time, o.entry, o.exit, o.gross, o.fees, o.funding,
                o.risk, o.gross_r, o.net_r)
        assert dict(zip(ROW, row.tolist(), strict=True)) == dict(zip(ROW, map(float, want), strict=True))


def same(a: Sweep, b: Sweep) -> None:
    for name in (*FIGURES, "days"): assert same_bits(getattr(a, name), getattr(b, name)), name


# trade by trade

def some_rules(seed: int) -> Rules:
    rng = np.random.default_rng(seed)
    return Rules(patience=int(rng.choice([0, 3, 24])), progress=float(rng.uniform(0.1, 1.5)), hold=int(rng.choice([0, HOUR, 6 * HOUR])),
                 trail=float(rng.choice([0.0, 0.6, 1.2])), policy=int(rng.integers(2)), be_offset=float(rng.choice([0.0, 0.001])),
                 gap_fill_open=bool(rng.integers(2)), from_reference=bool(rng.integers(2)), veto=float(rng.choice([0.0, 0.25])),
                 target_fee=float(rng.choice([0.0002, 0.0005])))


@pytest.mark.parametrize("seed", range(20))
def test_every_trade_is_the_plain_ladders(bars, seed):
    rng = np.random.default_rng(100 + seed)
    it = Crossing(fast=int(rng.integers(2, 6)), slow=int(rng.integers(7, 15)), wide=float(rng.choice([0.5, 1.5, 3.0])),
                  preset=seed % 5, quick=bool(rng.integers(2)))
    rules, tick, money = some_rules(seed), float(rng.choice([0.0, 0.01])), paid(bars) if rng.random() < 0.5 else None
    some = walk(seed, 900, tick=0.2) if seed % 3 == 0 else bars[:900]       # a coarse grid: orders are touched to the tick
    lived = reference(it, some, rules, money, 0.2 if seed % 3 == 0 else tick)
    assert len(lived) > 10
    for compiled in (True, False) if seed % 4 == 0 else (True,):
        alike(traded(it, some, rules, money, 0.2 if seed % 3 == 0 else tick, compiled=compiled), lived)


def test_every_way_to_end_is_met(bars):
    "What the test above claims would be little if half of the exits never came."
    ends = {EXITS[int(row[3])] for seed in range(10) for row in traded(Crossing(preset=seed % 5), bars, some_rules(seed))}
    assert ends >= {"SL", "TP1", "TP2", "TP3", "TP1_BE", "TP2_TRAIL", "TP2_TIME", "TIME", "OPPOSITE", "END"}, ends


def test_holes_and_bridged_bars_are_walked_as_everywhere(bars):
    gappy = holed(bars[:1500], (200, 2), (400, 1), (600, 30), (1100, 3))
    for it in (Crossing(), Crossing(preset=STANDARD, quick=False), Halves()):
        for compiled in (True, False): alike(traded(it, gappy, compiled=compiled), reference(it, gappy))


def test_a_timeframe_of_its_own(bars):
    lived = reference(Halves(), bars, funding=paid(bars))
    assert len(lived) > 50
    alike(traded(Halves(), bars, funding=paid(bars)), lived)


def test_another_exit_for_every_signal(bars):
    def exits(signal): return signal._replace(preset=SINGLE, t1=0.4 if signal.parts.apart > 0 else 1.1)
    alike(traded(Crossing(preset=STANDARD), bars, exits=exits), reference(Crossing(preset=STANDARD), bars, exits=exits))


def test_the_gates_that_know_one_rule_only_publish_the_same_trades():
    bars = sample_bars("SOLUSDT")
    for it in (EmaScalper(least=0.0, surge=0.5, opens=0, closes=1440), Crossing(quick=True), Crossing(quick=False, preset=STANDARD)):
        rows, theirs = traded(it, bars), [o.net_r for o in backtest(it, bars, ANY_SCORE).outcomes]
        assert len(rows) > 30 and rows[:, ROW.index("net_r")].tolist() == theirs


# one set, many sets, one symbol, many symbols

def test_many_sets_at_once_are_as_many_calls(bars):
    both = swept(Crossing, SETS, bars, funding={"WALK": paid(bars)}, daily=True)
    for k, given in enumerate(SETS):
        one = swept(Crossing, [given], bars, funding={"WALK": paid(bars)}, daily=True)
        for name in FIGURES: assert same_bits(getattr(one, name), getattr(both, name)[k:k + 1]), (name, given)
        assert same_bits(one.daily_r[:, 0].copy(), both.daily_r[:, k].copy())


def test_machine_code_and_plain_loops_agree(bars):
    few, some = SETS[::3], bars[:700]
    same(swept(Crossing, few, some, compiled=True), swept(Crossing, few, some, compiled=False))


def test_order_and_company_of_the_sets_do_not_matter(bars):
    order = np.random.default_rng(1).permutation(len(SETS))
    a, b = swept(Crossing, SETS, bars), swept(Crossing, [SETS[i] for i in order] + SETS[:2], bars)
    for name in FIGURES: assert same_bits(getattr(a, name)[order], getattr(b, name)[:len(SETS)])


def test_symbols_are_traded_apart_and_added_up(bars):
    two = {"B": replace(walk(8, 900), symbol="B"), "A": replace(bars, symbol="A")}
    both = swept(Crossing, SETS[:3], two, daily=True)
    apart = {s: swept(Crossing, SETS[:3], b, daily=True) for s, b in two.items()}
    assert (both.trades == apart["A"].trades + apart["B"].trades).all()
    assert np.allclose(both.total_r, apart["A"].total_r + apart["B"].total_r, rtol=1e-12)
    assert (both.worst_r == np.minimum(apart["A"].worst_r, apart["B"].worst_r)).all()
    long, short = apart["A"].daily_r, apart["B"].daily_r
    assert np.array_equal(both.days, apart["A"].days)
    assert np.allclose(both.daily_r, long + np.pad(short, ((0, len(long) - len(short)), (0, 0))), rtol=1e-12)


def test_nothing_is_folded_twice(bars, monkeypatch):
    made, begun = [], Columns.__init__
    monkeypatch.setattr(Columns, "__init__", lambda self, *a: (begun(self, *a), made.append(self))[0])
    swept(Crossing, SETS, bars)
    nodes = {n.key for given in SETS for n in Plans(15).of(make(Crossing, **given)).nodes}
    assert len(made) == 1 and made[0].folds == len(nodes) < len(SETS) * 6
    made.clear()
    swept(Crossing, SETS[:1], bars)
    assert made[0].folds == 1       # the hour; all else is stepped along


def test_less_room_costs_time_and_nothing_else(bars, monkeypatch):
    usual = swept(Crossing, SETS, bars)
    made, begun = [], Columns.__init__
    monkeypatch.setattr(Columns, "__init__", lambda self, *a: (begun(self, *a), made.append(self))[0])
    monkeypatch.setattr(sweep, "ROOM", 8 * N * 5)
    same(swept(Crossing, SETS, bars), usual)
    nodes = {n.key for given in SETS for n in Plans(15).of(make(Crossing, **given)).nodes}
    assert made[0].folds > len(nodes) and sum(made[0].nbytes.values()) <= 8 * N * 5
    monkeypatch.setattr(sweep, "BATCH", 5)
    same(swept(Crossing, SETS, bars), usual)


def test_the_column_that_is_asked_for_last_goes_first():
    taken, uses = dict(a=10, b=10, c=10, d=10), dict(a=[0, 9], b=[0, 3], c=[0])
    assert to_forget(taken, uses, 0, 40) == set()
    assert to_forget(taken, uses, 0, 30) == {"c"}
    assert to_forget(taken, uses, 0, 15) == {"a", "b", "c"}     # d was not announced, so somebody else may want it
    assert to_forget(taken, uses, 4, 20) == {"b", "c"}


def test_neighbours_is_an_order():
    plans = [Plans(15).of(make(Crossing, **given)) for given in SETS]
    assert sorted(neighbours(plans)) == list(range(len(SETS)))


# the gates

def test_with_a_pipeline_the_gates_decide(bars):
    grounds = {"A": replace(bars, symbol="A"), "B": replace(walk(9, N), symbol="B")}
    pipeline, sets = OPEN_GATES._replace(lock=8 * HOUR), SETS[:3]
    found = swept(Crossing, sets, grounds, pipeline=pipeline, daily=True)
    for k, given in enumerate(sets):
        outcomes = backtest(make(Crossing, **given), grounds, pipeline).outcomes
        assert found.trades[k] == len(outcomes) > 20
        assert found.total_r[k] == sum(o.net_r for o in outcomes) == pytest.approx(found.daily_r[:, k].sum())
        assert found.wins[k] == sum(o.result == "WIN" for o in outcomes)


# figures

def test_figures_are_those_of_pandas_and_of_the_reports(bars):
    found = swept(Crossing, SETS, bars, daily=True)
    for k, given in enumerate(SETS):
        rows = pd.DataFrame(traded(make(Crossing, **given), bars), columns=ROW)
        r, stats = rows.net_r, trade_stats(rows.net_r, gross_r=rows.gross_r)
        assert (found.trades[k], found.wins[k], found.losses[k]) == (stats.n, stats.wins, stats.losses)
        want = (r.sum(), rows.gross_r.sum(), r.mean(), r.sem(), stats.profit_factor, r.max(), r.min())
        names = ("total_r", "gross_r", "expectancy", "expectancy_se", "profit_factor", "best_r", "worst_r")
        assert [getattr(found, name)[k] for name in names] == pytest.approx(want, rel=1e-10)
        ends = pd.to_datetime(rows.exit_time - 1, unit="ms").dt.floor("D")      # an exit at midnight belongs to the day that ends there
        days = r.groupby(ends).sum().reindex(pd.to_datetime(found.days, unit="ms") - pd.Timedelta("1D"), fill_value=0.0)
        assert np.allclose(found.daily_r[:, k], days, atol=1e-12)
        if len(days) >= 30: assert found.sharpe[k] == pytest.approx(days.mean() / days.std() * sqrt(365), rel=1e-9)
        curve = Daily(found.days, (1 + 0.01 * days.cumsum()).to_numpy(), 1.0)
        assert found.drawdown[k] == pytest.approx(drawdown(curve).depth, rel=1e-9)
    assert np.array_equal(found.days, day_ends(int(bars.open_time[0]), int(bars.close_time[-1])))


def test_one_pass_figures_stand_beside_two_passes():
    rng, count, curve, r = np.random.default_rng(4), Count(), Curve(), []
    ladder = Ladder.of(1, 100.0, 98.5, 1.0, SINGLE).filled(100.0)
    for x in rng.normal(0.3, 1.1, 500):
        done = ladder._replace(state=CLOSED, fills=ladder.fills._replace(out=100.0 + 1.5 * float(x)))
        count, made = count.update(done)
        assert same_bits((made.gross, made.fees, made.gross_r, made.net_r, made.exit),
                         tuple(getattr(result(done), name) for name in ("gross", "fees", "gross_r", "net_r", "exit")))
        curve, capital = curve.update(made.net_r)
        r.append(made.net_r)
    assert count.squares / 499 == pytest.approx(np.var(r, ddof=1), rel=1e-12) and count.mean == pytest.approx(np.mean(r), rel=1e-12)
    assert capital == pytest.approx(1 + 0.01 * sum(r)) and curve.sharpe == pytest.approx(np.mean(r) / np.std(r, ddof=1) * sqrt(365))


def test_no_trades_one_trade_and_only_gains_are_defined(bars):
    flat = replace(bars, **{name: np.full(N, 100.0) for name in ("open", "high", "low", "close")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for compiled in (True, False):
            none = swept(Crossing, [{}], flat[:400], compiled=compiled)
            assert (none.trades[0], none.total_r[0], none.drawdown[0]) == (0, 0.0, 0.0)
            undefined = ("expectancy", "expectancy_se", "profit_factor", "sharpe", "best_r", "worst_r")
            assert all(np.isnan(getattr(none, name)[0]) for name in undefined)
        rise = 100 * 1.01 ** np.arange(N)
        up = replace(bars, open=rise, close=rise * 1.008, high=rise * 1.009, low=rise * 0.9999)
        one = swept(Crossing, [dict(preset=STANDARD, quick=False)], up[:400])
        assert one.trades[0] >= 1 and one.losses[0] == 0 and one.profit_factor[0] == inf
    assert none.best() is None and none.table().loc[0, "trades"] == 0
    assert len(swept(Crossing, [], bars[:200])) == 0


def test_the_best_needs_enough_trades(bars):
    found = swept(Crossing, SETS, bars)
    k = found.best("total_r", least=1)
    assert k is not None and found.total_r[k] == found.total_r.max() and found.best(least=10**6) is None
    most = int(found.trades.max())
    assert found.trades[found.best("total_r", least=most)] == most
    table = found.table()
    assert len(table) == len(SETS) and list(table.columns) == ["fast", "slow", "preset", *FIGURES]
    with pytest.raises(ValueError, match="take one of trades, wins"): found.best("luck")


# what is refused

def test_bad_input_is_refused_in_a_sentence(bars):
    for wrong in (dict(side=0), dict(preset=9), dict(preset=-1)):
        with pytest.raises(ValueError, match="side 0 is neither|exit preset .* is unknown"):
            swept(Crossing, [{}], bars[:300], exits=lambda s, w=wrong: s._replace(**w))
    with pytest.raises(ParameterError, match="has no parameter 'fats': did you mean 'fast'"): swept(Crossing, [dict(fats=3)], bars)
    with pytest.raises(ValueError, match="no candles to sweep over of X: leave it out"): swept(Crossing, [{}], {"X": bars[:0], "Y": bars})
    with pytest.raises(ValueError, match="no candles"): swept(Crossing, [{}], {})
    for compiled in (True, False):
        with pytest.raises(ValueError, match="stop .* is not below the price|stop .* is not above the price"):
            swept(Crossing, [dict(wide=-1.0)], bars[:300], compiled=compiled)
        for t1, t2 in ((-1.0, nan), (1.0, 2.0)):
            with pytest.raises(ValueError, match="multiple"):
                swept(Crossing, [{}], bars[:300], exits=lambda s, a=t1, b=t2: s._replace(preset=SINGLE, t1=a, t2=b), compiled=compiled)
        with pytest.raises(ValueError, match="not positive and rising"):
            swept(Crossing, [{}], bars[:300], exits=lambda s: s._replace(preset=STANDARD, t1=2.5), compiled=compiled)


def test_turns_pass_through_the_callers_hands(bars):
    seen = []
    def over(turns):
        for turn in turns:
            seen.append(turn)
            yield turn
    swept(Crossing, SETS[:3], bars[:300], over=over)
    assert len(seen) == 3


# the scan alone

@pytest.mark.parametrize("it", [Crossing(), Crossing(fast=9, slow=9), Halves(), EmaScalper(least=0.0)], ids=lambda it: type(it).__name__)
def test_the_scan_finds_the_signals_of_the_ordinary_road(it):
    bars = sample_bars("XRPUSDT")[:6000]
    bars = replace(bars, synthetic=np.random.default_rng(0).random(len(bars)) < 0.02)
    columns = Columns(bars)
    plan, usual, leaves = columns.plan(it), signals_of(it, columns).table, leaves_of(it, columns)
    for live in ({}, live_nodes(plan)):
        out, said = np.empty((len(bars), width_of(it))), np.zeros(len(leaves), np.int8)
        found = Scan(columns).run(it, plan, live, out, said)
        assert same_bits(out[:found].copy(), usual)
        if hasattr(it, "leave"): assert same_bits(said, leaves)


def test_columns_with_holes_in_them_are_known_where_they_are(bars):
    "Volume that is missing now and then makes the ratio to it nan."
    from benchmarks.cross import Cross
    thin = replace(bars, volume=np.where((np.arange(N) // 30) % 3 == 0, 0.0, bars.volume))
    it, columns = Cross(surge=0.0), Columns(thin)
    plan, usual = columns.plan(it), signals_of(it, columns).table
    assert np.isnan(columns.of(it, "volume")[100:]).any() and len(usual) > 5
    for live in ({}, live_nodes(plan)):
        out = np.empty((N, width_of(it)))
        assert same_bits(out[:Scan(columns).run(it, plan, live, out, np.zeros(1, np.int8))].copy(), usual)
