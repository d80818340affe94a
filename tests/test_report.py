"The report of a backtest: open positions marked day by day, groups that add up, the two readings side by side."
from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from perps_kit.backtest.report import Record, bounds, breakdown, equity_curve, excursions, marked, report, session_of, table, time_in_market
from perps_kit.backtest.run import Result, Trade
from perps_kit.core.bar import Bar, Bars
from perps_kit.core.clock import DAY, HOUR
from perps_kit.core.signal import Candidate, no_signal
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import CANCELLED, CLOSED, TARGET_FIRST, Rules

BEGIN, FOUR = 19_800 * DAY, 4 * HOUR


def market(seed, n=120):
    rng, price, rows = np.random.default_rng(seed), 100.0, []
    for k in range(n):
        first, price = price, price + float(rng.normal()) * 0.6
        high, low = max(first, price) + abs(float(rng.normal())) * 0.3, min(first, price) - abs(float(rng.normal())) * 0.3
        rows.append(Bar(BEGIN + k * FOUR, BEGIN + (k + 1) * FOUR, first, high, low, price, 1.0))
    return rows


def lives(seed, rules=Rules()):
    "Ladders entered one after the other, each as its story; the bars."
    rows, stories, k = market(seed), [], 0
    rng = np.random.default_rng(seed + 100)
    while k < len(rows):
        side, close = int(rng.choice([1, -1])), rows[k].open
        story = [Ladder.of(side, close, close - side * 1.5, 1.0, int(rng.integers(4)), time=rows[k].open_time, rules=rules)]
        while k < len(rows) and story[-1].state < CLOSED:
            story.append(story[-1].update(rows[k], 0.0, 0.0)[0])
            k += 1
        stories.append([*story, story[-1].finish(rows[-1].close, rows[-1].close_time)])
    return stories, Bars.of("BTCUSDT", 240, rows)


def backtested(seed, rules=Rules()):
    stories, bars = lives(seed, rules)
    trades = [Trade(f"{k}", Candidate("toy", "BTCUSDT", 240, BEGIN, no_signal(()), bars[0], True, BEGIN, {}), 60.0, s[-1],
                    None if s[-1].state == CANCELLED else result(s[-1])) for k, s in enumerate(stories)]
    return Result(trades, [], {"BTCUSDT": bars}, rules, {})


@pytest.mark.parametrize("seed", range(5))
def test_a_trade_is_marked_as_its_ladder_stood(seed):
    stories, _ = lives(seed)
    closes = {bar.close_time: bar.close for bar in market(seed)}
    for story in stories:
        record = Record("toy", "BTCUSDT", result(story[-1]), 100.0)
        for ladder in story[1:-1]:
            price = closes[ladder.times.last]
            assert marked(record, ladder.times.last, price) == pytest.approx(result(ladder, price).net_r, abs=1e-9)


def test_the_curve_ends_where_the_trades_do_and_shows_open_losses():
    run = backtested(1)
    page = report(run)
    assert page.curve.equity[-1] == pytest.approx(10_000 * (1 + 0.01 * page.trades.total_r)) and page.equity.days == 20
    two = [(100, 100.2, 98.8, 99), (99, 101.8, 98.9, 101.7)]
    rows = [Bar(BEGIN + k * DAY, BEGIN + (k + 1) * DAY, *map(float, row), 1.0) for k, row in enumerate(two)]
    ladder = Ladder.of(1, 100, 98.5, 1.0, 3, rules=Rules(entry_bp=0.0, fee=0.0, target_fee=0.0), time=BEGIN)
    for bar in rows: ladder = ladder.update(bar, 0.0, 0.0)[0]
    curve = equity_curve([Record("toy", "X", result(ladder), 150.0)], {"X": Bars.of("X", 1440, rows)}, 1000.0)
    assert curve.equity == pytest.approx([900, 1150])


def test_groups_add_up():
    page = report(backtested(2))
    for by in ("side", "exit", "symbol", "strategy", "session", "month", lambda r: str(r.outcome.bars)):
        groups = breakdown(page.records, by)
        assert sum(s.n for s in groups.values()) == page.trades.n
        assert sum(s.total_r for s in groups.values()) == pytest.approx(page.trades.total_r)
    with pytest.raises(ValueError, match="cannot group by 'colour'"): breakdown(page.records, "colour")


def test_costs_are_what_lies_between_gross_and_net():
    page = report(backtested(3))
    assert page.trades.gross_r - page.trades.total_r == pytest.approx(page.trades.n * (page.fees_r - page.funding_r))
    free = report(backtested(3, Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0, fee=0.0, target_fee=0.0)))
    assert free.fees_r == free.slippage_r == 0 and free.trades.gross_r == free.trades.total_r


def test_exposure_counts_overlap_once():
    outcome = report(backtested(1)).records[0].outcome
    pair = [Record("a", "X", outcome._replace(entry_time=a, exit_time=b), 1.0) for a, b in ((10, 30), (20, 50), (70, 80))]
    assert time_in_market(pair, 0, 100) == 0.5 and isnan(time_in_market(pair, 5, 5))


@pytest.mark.parametrize("hour, name", [(0, "asia"), (7.99, "asia"), (8, "london"), (13, "overlap"), (16, "us"), (21, "late")])
def test_sessions(hour, name): assert session_of(BEGIN + int(hour * HOUR)) == name


def test_the_two_readings_stand_side_by_side():
    low = backtested(4)
    rules = Rules(policy=TARGET_FIRST)
    both = bounds(low, replace(low, rules=rules))
    assert both.ambiguous == 0 and both.total_r[0] == both.total_r[1] and both.trades == sum(t.outcome is not None for t in low.trades)
    with pytest.raises(ValueError, match="in one only"): bounds(low, replace(low, trades=low.trades[1:]))


def test_text_and_excursions_of_nothing_and_of_something():
    nothing = report(Result([], [], {"X": Bars.of("X", 240, market(0))}, Rules(), {}))
    assert "trades           0" in table(nothing) and isnan(nothing.trades.expectancy) and nothing.equity.total == 0
    some = excursions(report(backtested(2)).records)
    assert some["mfe_r wins"] == sorted(some["mfe_r wins"]) and all(isnan(x) for x in excursions([])["mae_r all"])
    assert "unproven" in table(report(backtested(2)))
