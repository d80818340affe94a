"Finished trades, told one by one in any order, are counted as if they had come at once, and as others count them."
import itertools
import random
import warnings
from math import inf, isnan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.backtest.report import breakdown, records, report
from perps_kit.backtest.run import Result, backtest
from perps_kit.backtest.statistics import trade_stats
from perps_kit.core.bar import Bar
from perps_kit.core.clock import DAY, HOUR, parse_time
from perps_kit.core.decision import Verdict
from perps_kit.core.unit import same_bits
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.regime import NAMES
from perps_kit.scoring.book import Pipeline
from perps_kit.strategies.pullback import Pullback
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.performance import (
    BY,
    PERIODS,
    Figures,
    Finished,
    Performance,
    day_start,
    finished,
    month_start,
    performance,
    place,
    regime_of,
    session_of,
    week_start,
)
from perps_kit.trackers.plan import Rules

MONDAY = parse_time("2026-10-26")
EXITS = ("SL", "TP1_BE", "TP2_TRAIL", "TIME")


def some(seed: int, n: int, even: bool = True) -> list[Finished]:
    "Made-up trades in the order of their exits, some of them break-even, several with the same exit."
    rng, rows = np.random.default_rng(seed), []
    for k in range(n):
        gross = 0.0 if even and rng.random() < 0.15 else float(rng.normal()) + 0.03 * (1 if rng.random() < 0.5 else -1)
        entry = MONDAY + int(rng.integers(0, 40 * 24)) * HOUR
        regime = ("", "RANGE", "TREND_UP")[rng.integers(3)]
        row = Finished(
            f"s{rng.integers(3)}", f"C{rng.integers(4)}", regime, session_of(entry), EXITS[rng.integers(4)],
            int(rng.choice([-1, 1])), entry, entry + int(rng.integers(1, 5)) * DAY + k % 2, int(rng.integers(1, 90)), gross, gross - 0.1,
            gross, abs(gross), 0.5, 33.0 * (gross - 0.1))
        rows.append(row)
    return sorted({place(t): t for t in rows}.values(), key=place)


@given(seed=st.integers(0, 10_000), n=st.integers(0, 60), data=st.data())
@settings(max_examples=60, deadline=None)
def test_told_one_by_one_in_any_order_is_the_same_to_the_last_bit(seed: int, n: int, data: st.DataObject) -> None:
    rows = some(seed, n)
    order = data.draw(st.permutations(rows))
    told = Performance()
    for t in order: told = told.update(t)
    whole = performance(order)
    assert told.trades == whole.trades == tuple(rows)
    assert same_bits(dict(sorted(told.groups.items())), dict(sorted(whole.groups.items())))
    for k in (0, n // 2): assert performance(rows[:k]).update(rows[k]) == performance(rows[:k + 1]) if k < len(rows) else True


def test_the_value_before_stays_as_it_was() -> None:
    rows = some(1, 30)
    before = performance(rows[:-1])
    kept = dict(before.groups)
    after = before.update(rows[-1])
    assert before.groups == kept and before.figures().n == len(rows) - 1 and after.figures().n == len(rows)


def test_told_twice_counts_once_as_it_was_told_last() -> None:
    rows = some(2, 20)
    whole = performance(rows)
    for t in (rows[0], rows[7], rows[-1]): assert whole.update(t) == whole
    better = rows[7]._replace(net_r=9.0, net=900.0)
    assert whole.update(better) == performance([*rows[:7], better, *rows[8:]]) and whole.update(better).figures().best == 9.0


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_the_report(seed: int) -> None:
    rows = some(seed, 200)
    for by, key in BY.items():
        groups = performance(rows).by(by)
        assert sum(f.n for f in groups.values()) == len(rows)
        for name, f in groups.items():
            mine = [t for t in rows if key(t) == name]
            s = trade_stats([t.net_r for t in mine], [t.net for t in mine], [t.gross_r for t in mine])
            assert (f.n, f.wins, f.losses, f.breakevens) == (s.n, s.wins, s.losses, s.breakevens)
            assert (f.win_rate, f.net_win_rate, f.best, f.worst) == (s.win_rate, s.net_win_rate, s.best, s.worst)
            assert (f.total_r, f.mean_r, f.net, f.profit_factor) == pytest.approx((s.total_r, s.expectancy, s.money, s.profit_factor))
            assert f.trailing_stop_count == sum(t.exit_type == "TP2_TRAIL" for t in mine)


def test_groups_are_those_of_pandas() -> None:
    rows = some(7, 300)
    frame = pd.DataFrame(rows)
    for by, column in (("strategy", "strategy"), ("symbol", "symbol"), ("session", "session"), ("exit", "exit_type")):
        theirs = frame.groupby(column).agg(n=("net_r", "size"), r=("net_r", "mean"), bars=("bars", "mean"), best=("net_r", "max"))
        mine = performance(rows).by(by)
        assert list(mine) == list(theirs.index)
        for name, row in theirs.iterrows():
            f = mine[str(name)]
            assert (f.n, f.mean_r, f.mean_bars, f.best) == pytest.approx((row.n, row.r, row.bars, row.best))


@pytest.mark.parametrize("seed", range(6))
def test_streaks_are_those_of_quantstats(seed: int) -> None:
    from quantstats.stats import consecutive_losses, consecutive_wins
    rows = [t for t in some(seed, 150, even=False) if abs(t.gross_r) > 0.02]
    returns = pd.Series([t.gross_r for t in rows], pd.date_range("2024-01-01", periods=len(rows)))
    f = performance(rows).figures()
    assert (f.longest_win, f.longest_loss) == (consecutive_wins(returns), consecutive_losses(returns)) and f.longest_win > 2
    run = [list(group) for _, group in itertools.groupby(rows, key=lambda t: t.gross_r > 0)][-1]
    assert f.streak == len(run) * (1 if run[0].gross_r > 0 else -1)


def test_a_break_even_trade_leaves_a_streak_as_it_is() -> None:
    f = Figures()
    base = some(0, 1)[0]
    seen = []
    for gross in (1.0, 0.02, 1.0, -1.0, -0.02, -1.0, -1.0, 2.0):
        f = f.add(base._replace(gross_r=gross))
        seen.append(f.streak)
    assert seen == [1, 1, 2, -1, -1, -2, -3, 1] and (f.longest_win, f.longest_loss, f.breakevens) == (2, 3, 2)


def test_of_nothing_one_and_only_wins_everything_is_defined() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = performance().figures()
        assert none == Figures() and all(map(isnan, (none.win_rate, none.net_win_rate, none.mean_r, none.mean_bars, none.profit_factor)))
        assert none.net == none.trailing_stop_count == 0 and performance().excursions().shape == (2, 0) and performance().by("exit") == {}
        row = some(3, 1)[0]._replace(gross_r=1.0, net_r=0.9, net=90.0)
        one = performance([row]).figures()
        assert one.profit_factor == inf and one.best == one.worst == one.mean_r == 0.9 and one.longest_loss == 0
        flat = performance([row._replace(net=0.0)]).figures()
        assert isnan(flat.profit_factor)


@given(time=st.integers(0, 4_000_000_000_000))
def test_periods_begin_where_pandas_begins_them(time: int) -> None:
    at = pd.Timestamp(time, unit="ms")
    begins = at.normalize(), at.to_period("W-SUN").start_time, at.to_period("M").start_time
    assert (day_start(time), week_start(time), month_start(time)) == tuple(t.value // 1_000_000 for t in begins)
    for begin in PERIODS.values(): assert begin(begin(time)) == begin(time) <= time


@pytest.mark.parametrize("hour", range(24))
def test_every_hour_has_its_session(hour: int) -> None:
    name = "asia" if hour < 8 else "london" if hour < 13 else "overlap" if hour < 16 else "us" if hour < 21 else "late"
    assert {session_of(MONDAY + hour * HOUR + x) for x in (0, 1, HOUR - 1)} == {name}


def test_a_period_ends_now() -> None:
    rows = some(11, 250)
    whole = performance(rows)
    for now in (rows[0].exit_time - 1, rows[40].exit_time, rows[120].exit_time + 5, rows[-1].exit_time):
        for name, begin in PERIODS.items():
            mine = [t for t in rows if begin(now) <= t.exit_time <= now]
            assert whole.during(name, now) == performance(mine)
    with pytest.raises(ValueError, match="no period 'year': take one of today, week, month"): whole.during("year", MONDAY)


def test_a_choice_of_trades_is_counted_anew() -> None:
    rows = some(12, 120)
    whole = performance(rows)
    assert whole.only(strategy="s1", side=-1) == performance([t for t in rows if t.strategy == "s1" and t.side == -1])
    assert whole.only(symbol="C2").figures() == whole.figures("symbol", "C2") and whole.figures("symbol", "nobody") == Figures()
    with pytest.raises(ValueError, match="has no 'colour'"): whole.only(colour="red")
    with pytest.raises(ValueError, match="cannot group by 'colour'"): whole.by("colour")
    with pytest.raises(ValueError, match="cannot group by 'colour'"): whole.figures("colour", "red")


def test_excursions_go_into_quantiles() -> None:
    rows = some(13, 80)
    seen = performance(random.Random(3).sample(rows, len(rows))).excursions()
    assert seen.tolist() == [[t.mfe_r for t in rows], [t.mae_r for t in rows]]


PLAIN = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0)
PATH = ((100, 101.6, 99.9, 101.5), (101.5, 103.2, 101.4, 103.1), (103.1, 105, 102.9, 104.6), (104.6, 104.7, 103.7, 103.9))


def lived(path: tuple = PATH, **more) -> Ladder:
    ladder = Ladder.of(1, 100, 98.5, 1.0, rules=PLAIN, time=MONDAY, **more)
    for k, (o, h, low, c) in enumerate(path):
        ladder, _ = ladder.update(Bar(MONDAY + k * HOUR, MONDAY + (k + 1) * HOUR, float(o), float(h), float(low), float(c), 1.0))
    return ladder


def test_a_row_says_what_its_outcome_says() -> None:
    o = result(lived(quantity=2.0))
    t = finished(o, "toy", "BTCUSDT", "RANGE")
    assert (t.exit_type, t.session, t.bars, t.entry_time, t.exit_time) == ("TP2_TRAIL", "asia", 4, MONDAY, MONDAY + 4 * HOUR)
    assert (t.gross_r, t.last_r, t.mfe_r) == pytest.approx((1.86, 3.8 / 1.5, 5 / 1.5)) and t.net == o.net and t.net_r == o.net_r
    assert finished(o, "toy", "BTCUSDT", cash=100.0).net == pytest.approx(100 * o.net_r)
    assert performance([t]).figures().trailing_stop_count == 1


def test_a_trade_that_is_open_is_not_finished() -> None:
    with pytest.raises(ValueError, match="toy on X is still RUNNER: wait"): finished(result(lived(PATH[:2]), 103.0), "toy", "X")
    done = finished(result(lived(PATH[:2]).finish(103.0, MONDAY + 2 * HOUR)), "toy", "X")
    assert done.exit_type == "END" and done.last_r == pytest.approx(2.0)


def test_a_fill_on_the_stop_itself_risked_nothing() -> None:
    ladder = Ladder.of(1, 100, 98.5, 1.0, rules=PLAIN).filled(98.5).finish(98.0, HOUR)
    t = finished(result(ladder), "toy", "X")
    f = performance([t]).figures()
    assert (t.gross_r, t.net_r, t.last_r, t.mfe_r, t.mae_r) == (0.0,) * 5 and t.net < 0 and f.breakevens == 1 and f.lost == -t.net
    assert not any(isinstance(x, float) and isnan(x) for x in f)


@pytest.fixture(scope="module")
def run() -> Result:
    return backtest({"pullback": Pullback()}, {s: sample_bars(s) for s in ("BTCUSDT", "SOLUSDT", "UNIUSDT")})


def test_regimes_are_what_the_gate_saw(run: Result) -> None:
    seen = [regime_of(d) for d in run.decisions if d.signal_id]
    assert len(seen) > 50 and set(seen) <= set(NAMES) and len(set(seen)) > 2
    page = report(run)
    groups = breakdown(page.records, "regime")
    assert sum(s.n for s in groups.values()) == page.trades.n and set(groups) <= set(NAMES)
    mine = performance(finished(r.outcome, r.strategy, r.symbol, r.regime, r.cash) for r in page.records)
    assert {name: f.n for name, f in mine.by("regime").items()} == {name: s.n for name, s in groups.items()}
    f, s = mine.figures(), page.trades
    assert (f.n, f.wins, f.net_win_rate) == (s.n, s.wins, s.net_win_rate)
    assert (f.total_r, f.net, f.profit_factor) == pytest.approx((s.total_r, s.money, s.profit_factor))


def test_where_nobody_looked_the_regime_is_unknown() -> None:
    alone = backtest(Pullback(), sample_bars("BTCUSDT"), Pipeline(weigh=False))
    assert {r.regime for r in records(alone)} == {""} and set(breakdown(records(alone), "regime")) == {"unknown"}

    def said(*verdicts: Verdict) -> str: return regime_of(alone.decisions[0]._replace(verdicts=verdicts))
    assert said() == said(Verdict("regime", True, "not known yet", "")) == said(Verdict("trend", True, "RANGE", "")) == ""
    assert said(Verdict("trend", True, "", ""), Verdict("regime", True, "SQUEEZE: score x 0.90", "")) == "SQUEEZE"
