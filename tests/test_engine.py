"The engine over candles made by hand: what is published, followed, cancelled, closed; and that a bar seen twice changes nothing."

from math import nan
from typing import NamedTuple

import pytest

from perps_kit.core.bar import Bar
from perps_kit.core.clock import MINUTE, parse_time
from perps_kit.core.features import on
from perps_kit.core.signal import TRIPLE, Signal
from perps_kit.core.stream import Stream
from perps_kit.core.unit import dumps, loads
from perps_kit.engine.engine import Engine, Tracked, stepped, target_prices, waiting
from perps_kit.indicators.sma import SMA
from perps_kit.scoring.book import Held, Pipeline
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import CANCELLED, CLOSED, EXITS, OPEN, OPPOSITE, PENDING, TP1, Rules

T0 = parse_time("2026-10-30T12:00")
SPAN = 15 * MINUTE


class Parts(NamedTuple):
    volume: float = 0.0


class Told(NamedTuple):
    "Says what the volume tells it to: 1001 buys, 1002 sells, 1003 asks longs to leave, 1004 shorts."

    score: float = 8.0
    filters, modes, spacing, parts, minutes = (), ("TOLD",), {}, Parts, 15

    def features(self):
        return dict(mean=on(SMA.of(1), "close"))

    def decide(self, now, was):
        side = {1001.0: 1, 1002.0: -1}.get(now.bar.volume, 0)
        close = now.bar.close
        return Signal(side, 0, close, close - side * 2.0, TRIPLE, nan, nan, nan, 1.0, self.score, 0, Parts(self.score))

    def leave(self, now, was):
        return {1003.0: 1, 1004.0: -1}.get(now.bar.volume, 0)


BUY, SELL, LEAVE_LONG, QUIET = 1001.0, 1002.0, 1003.0, 10.0


class Desk:
    "An engine with its streams, fed row by row (open, high, low, close, volume)."

    def __init__(self, symbols=("BTCUSDT",), names=("told",), pipeline=Pipeline(after_stop=0, after_close=0), rules=Rules(entry_bp=0.0,
        stop_bp=0.0, close_bp=0.0)):
        self.strategies = {name: Told(score) for name, score in zip(names, (8.0, 9.0))}
        self.engine = Engine(self.strategies, pipeline, rules, dict.fromkeys(symbols, 0.1))
        self.streams, self.time = {s: Stream(self.strategies, s, 15) for s in symbols}, T0
        self.close(**{s: (100, 100, 100, 100, QUIET) for s in symbols})

    def close(self, funding=None, late=None, **rows):
        self.bars = {s: Bar(self.time, self.time + SPAN, *map(float, row)) for s, row in rows.items()}
        self.time += SPAN
        self.steps = {s: self.streams[s].accept(bar) for s, bar in self.bars.items()}
        return self.engine.cycle(self.time, self.steps, funding, late)

    def btc(self, *row, **more):
        return self.close(BTCUSDT=row, **more)

    def held(self, symbol="BTCUSDT"):
        return [one.ladder for one in self.engine.tracked.get(symbol, {}).values()]


def test_a_signal_waits_for_the_next_open_and_is_entered_there():
    desk = Desk()
    (new,) = desk.btc(100, 101, 99, 100, BUY).published
    assert new.candidate.time == desk.time and new.final == 80.0 and new.ladder.state == PENDING
    assert new.targets == pytest.approx((101.6, 102.4, 103.0)) and new.ladder.plan.stop == 98.0
    (move,) = desk.btc(100.5, 101, 100, 100.8, QUIET).moves
    assert move.id == new.id and move.before == new.ladder and move.after.state == OPEN and move.after.fills.entry == 100.5


def test_targets_as_announced_are_measured_from_the_reference():
    ladder = waiting(Signal(-1, 0, 100.0, 102.0, TRIPLE, nan, nan, nan, 1.0, 8.0, 0, Parts()), T0, 0.1, Rules())
    assert target_prices(ladder) == pytest.approx((98.4, 97.6, 97.0))


def test_an_open_beyond_the_stop_cancels_the_entry_and_frees_the_lock():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    cycle = desk.btc(97, 98, 96, 97.5, QUIET)
    (move,) = cycle.moves
    assert move.after.state == CANCELLED and not desk.held()
    (again,) = desk.btc(97.5, 98, 97, 97.5, BUY).published
    assert again.ladder.state == PENDING


def test_a_stop_ends_a_position_and_a_signal_at_that_close_finds_its_lock_free():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 100, 99, 99.5, QUIET)
    cycle = desk.btc(99.5, 99.6, 97, 97.2, BUY)
    (move,) = cycle.moves
    assert move.after.state == CLOSED and EXITS[move.after.reason] == "SL" and result(move.after).gross_r == pytest.approx(-1.0)
    assert len(cycle.published) == 1 and [ladder.state for ladder in desk.held()] == [PENDING]


def test_one_strategy_does_not_hold_two_and_says_why():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    cycle = desk.btc(100, 101, 99, 100, BUY)
    assert not cycle.published and [d.reason for _, d in cycle.decisions] == ["lock"] and len(desk.held()) == 1


def test_the_strategys_own_wish_closes_at_the_next_open():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 101, 99.5, 100.5, QUIET)
    (move,) = desk.btc(100.5, 101, 100, 100.9, LEAVE_LONG).moves
    assert move.after.leaving == OPPOSITE and move.after.state == OPEN
    (move,) = desk.btc(101.3, 101.4, 101, 101.2, QUIET).moves
    assert move.after.state == CLOSED and EXITS[move.after.reason] == "OPPOSITE" and move.after.fills.out == 101.3


def test_a_wish_about_the_other_side_or_of_another_strategy_changes_nothing():
    desk = Desk(names=("told", "other"))
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 101, 99.5, 100.5, QUIET)
    cycle = desk.btc(100.5, 101, 100, 100.9, 1004.0)
    assert len(cycle.moves) == 2 and not any(m.after.leaving for m in cycle.moves)
    step = desk.steps["BTCUSDT"][0]._replace(leaves={"other": 1})
    before = cycle.moves[0].before
    assert not stepped(before, "told", "BTCUSDT", 15, step, {}).leaving and stepped(before, "other", "BTCUSDT", 15, step,
        {}).leaving == OPPOSITE


def test_the_other_side_is_refused_while_it_is_held_and_allowed_at_the_close_that_decides_to_leave():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 101, 99.5, 100.5, QUIET)
    assert [d.reason for _, d in desk.btc(100.5, 101, 100, 100.9, SELL).decisions] == ["conflict"]

    class Turn(Told):
        def leave(self, now, was):
            return 1 if now.bar.volume == SELL else 0

    desk.strategies["told"] = Turn()
    desk.streams["BTCUSDT"].strategies = desk.engine.strategies = desk.strategies
    (new,) = desk.btc(100.9, 101, 100, 100.2, SELL).published
    assert new.candidate.signal.side == -1 and sorted(x.plan.side for x in desk.held()) == [-1, 1]
    desk.btc(100.2, 100.4, 99.9, 100, QUIET)
    assert [x.plan.side for x in desk.held()] == [-1]


def test_of_two_strategies_at_one_close_the_better_score_is_judged_first():
    desk = Desk(names=("weak", "strong"))
    cycle = desk.btc(100, 101, 99, 100, BUY)
    assert [c.strategy for c, _ in cycle.decisions] == ["strong", "weak"] and len(cycle.published) == 2


def test_a_bar_fed_twice_changes_nothing():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 101.7, 99.5, 101.5, QUIET)
    (before,) = desk.held()
    assert before.state == TP1
    quiet = {s: [step._replace(candidates=[]) for step in steps] for s, steps in desk.steps.items()}
    again = desk.engine.cycle(desk.time, quiet)
    assert again.moves == [] and desk.held() == [before] and desk.held()[0] is before
    with pytest.raises(ValueError, match="repeated or out of order"):
        desk.streams["BTCUSDT"].accept(desk.bars["BTCUSDT"])


def test_a_late_bar_moves_positions_but_its_signals_reach_nobody():
    desk = Desk(symbols=("BTCUSDT", "ETHUSDT"))
    desk.close(BTCUSDT=(100, 101, 99, 100, BUY), ETHUSDT=(50, 50, 50, 50, QUIET))
    cycle = desk.close(late={"BTCUSDT": "too late"}, BTCUSDT=(100, 101, 99.5, 100.2, SELL), ETHUSDT=(50, 50, 50, 50, BUY))
    assert [(c.symbol, d.outcome) for c, d in cycle.decisions] == [("BTCUSDT", "late"), ("ETHUSDT", "published")]
    assert [m.after.state for m in cycle.moves] == [OPEN]


def test_a_bar_of_an_earlier_close_is_late_by_itself():
    desk = Desk()
    steps = desk.streams["BTCUSDT"].accept(Bar(desk.time, desk.time + SPAN, 100.0, 101.0, 99.0, 100.0, BUY))
    ((_, decision),) = desk.engine.cycle(desk.time + 2 * SPAN, {"BTCUSDT": steps}).decisions
    assert decision.outcome == "late" and "after the close" in decision.verdicts[0].reason


def test_funding_is_paid_by_what_is_held_at_that_bar():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 101, 99.5, 100.5, QUIET, funding={("BTCUSDT", desk.time, desk.time + 900_000): (0.5,
        0.0)})  # entered at this open: it does not pay
    desk.btc(100.5, 101, 100, 100.5, QUIET, funding={("BTCUSDT", desk.time, desk.time + 900_000): (0.25, 0.125), ("ETHUSDT", desk.time,
        desk.time + 900_000): (9.0, 9.0)})
    (ladder,) = desk.held()
    assert ladder.tally.funding == -0.375


def test_flat_bars_of_a_small_hole_step_positions_and_say_nothing():
    desk = Desk()
    desk.btc(100, 101, 99, 100, BUY)
    desk.btc(100, 101, 99.5, 100.5, QUIET)
    desk.time += 2 * SPAN
    cycle = desk.btc(100.5, 101, 100, 100.9, QUIET)
    assert [step.bar.synthetic for step in desk.steps["BTCUSDT"]] == [True, True, False] and len(cycle.moves) == 3
    assert desk.held()[0].tally.bars == 4


PATH = ((100, 101, 99, 100, BUY), (100, 101.7, 99.5, 101.5, QUIET), (101.5, 101.9, 100.8, 101, SELL), (101, 102.6, 100.9, 102.5, QUIET),
        (102.5, 102.6, 99.9, 100, BUY), (100, 100.4, 97.5, 98, SELL), (98, 99, 97, 98, QUIET), (98, 98.2, 95.5, 96, BUY))


@pytest.mark.parametrize("stop", range(len(PATH)))
def test_a_service_that_starts_again_goes_on_with_the_same_positions(stop):
    whole, parts = Desk(), Desk()
    for k, row in enumerate(PATH):
        a, b = whole.btc(*row), parts.btc(*row)
        assert repr(a) == repr(b)  # nan and all
        if k == stop:
            parts.engine = resumed(parts)
    assert repr(whole.held()) == repr(parts.held()) and whole.engine.book.held == parts.engine.book.held


def resumed(desk):
    "An engine with what a database would hold of the old one: ladders as text, and the book's signals."
    old = desk.engine
    new = Engine(old.strategies, old.pipeline, old.rules, old.ticks)
    pattern = Ladder.of(1, 100.0, 99.0, 1.0, rules=old.rules)
    for rows in old.book.held.values():
        for held in rows.values():
            tracked = old.tracked.get(held.symbol, {}).get(held.id)
            if tracked is None:
                new.book.add(held)
            else:
                new.follow(Tracked(*tracked[:5], loads(pattern, dumps(tracked.ladder))), Held(*held))
    return new
