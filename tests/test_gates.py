"The gates: what each lets pass and what it refuses, in which order, with which reason; and that the order of arrival changes nothing."

from itertools import permutations
from math import nan
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.clock import DAY, HOUR, MINUTE, parse_time
from perps_kit.core.signal import TRIPLE, Candidate, Signal
from perps_kit.scoring.gates import GATES, Asked, Book, Held, Pipeline, final_score, judge, judge_all

NOON = parse_time("2026-10-30T12:00")
QUARTER = 15 * MINUTE


class Surge(NamedTuple):
    "A strategy of two filters and a spacing."

    least: float = 1.2
    filters, modes, trends = ("volume", "room"), ("CROSS", "PULLBACK"), ("h1.dir", "h4.dir")
    spacing, asks = {0: 10}, dict(volume="{volume:.1f} times, {least:g} asked for", room="{zones_room:.1f} R at {hour_of_day}")


class Calm(NamedTuple):
    "A strategy that only speaks."

    filters, modes, spacing = (), ("CROSS",), {}


STRATEGIES = dict(surge=Surge(), calm=Calm())


def candidate(time=NOON, side=1, entry=100.0, raw=7.0, failed=0, symbol="BTCUSDT", strategy="surge", atr=2.0,
              synthetic=False, warm=True, **more):
    signal = Signal(side, 0, entry, entry - side * 3.0, TRIPLE, nan, nan, nan, atr, raw, failed, ())
    bar = Bar(time - QUARTER, time, entry, entry + 1, entry - 1, entry, 10.0, synthetic=synthetic)
    features = {"volume": 1.5, "zones.room": 0.7, "h1.dir": 0.0, "h4.dir": 0.0} | more
    return Candidate(strategy, symbol, 15, time, signal, bar, warm, 0, features)


def asked(c, book=None, late="", **settings):
    pipeline = Pipeline(**settings)
    return Asked(STRATEGIES[c.strategy], pipeline, book or Book(), final_score(c, STRATEGIES[c.strategy], pipeline), late)


def judged(c, book=None, late="", explain=False, **settings):
    return judge(c, asked(c, book, late, **settings), explain=explain)


def held(side=1, time=NOON - HOUR, entry=90.0, symbol="BTCUSDT", strategy="surge", id="f" * 32, **more):
    return Held(id, strategy, symbol, side, time, entry, **more)


HOURS = ((8 * 60, 21 * 60),)
REFUSALS = {
    "data": [
        (dict(synthetic=True), {}, [], "stands in for a missing one"),
        (dict(), dict(late="it came too late to act on"), [], "too late"),
    ],
    "enabled": [
        (dict(), dict(muted=frozenset({"BTCUSDT"})), [], "BTCUSDT is muted"),
        (dict(), dict(disabled=frozenset({"surge"})), [], "surge is switched off"),
    ],
    "session": [
        (dict(time=parse_time("2026-10-30T21:00")), dict(sessions=HOURS), [], "outside the hours"),
        (dict(time=parse_time("2026-10-30T07:45")), dict(sessions=HOURS), [], "outside the hours"),
    ],
    "volume": [(dict(failed=1), {}, [], "'volume' said no")],
    "room": [(dict(failed=2), {}, [], "'room' said no")],
    "spacing": [(dict(failed=4), {}, [], "'spacing' said no")],
    "minimum": [
        (dict(raw=5.9), {}, [], "score 59.0 is below 60"),
        (dict(raw=7.0, **{"h1.dir": -1.0, "h4.dir": -1.0}), {}, [], "score 59.5 is below 60"),
    ],
    "conflict": [(dict(), {}, [held(side=-1, strategy="calm")], "calm holds the other side since 2026-10-30 11:00")],
    "lock": [(dict(), {}, [held()], "its signal of 2026-10-30 11:00 is still open")],
    "duplicate": [(dict(), {}, [held(entry=100.5, free_at=NOON - QUARTER)], "nearly the same as the signal of 2026-10-30 11:00")],
}
PASSES = {
    "a clean one": (dict(), {}, []),
    "young averages are told, not refused": (dict(warm=False), {}, []),
    "another symbol is muted": (dict(), dict(muted=frozenset({"ETHUSDT"}), disabled=frozenset({"calm"})), []),
    "the first minute of the session": (dict(time=parse_time("2026-10-30T08:00")), dict(sessions=HOURS), []),
    "the last close of the session": (dict(time=parse_time("2026-10-30T20:45")), dict(sessions=HOURS), []),
    "a score at the minimum": (dict(raw=6.0), {}, []),
    "one higher timeframe against it": (dict(raw=6.0, **{"h1.dir": -1.0, "h4.dir": 1.0}), {}, []),
    "the other side of another symbol": (dict(), {}, [held(side=-1, symbol="ETHUSDT")]),
    "the other side left at this close": (dict(), {}, [held(side=-1, clear_at=NOON)]),
    "another strategy on the same side": (dict(), {}, [held(strategy="calm")]),
    "its own signal ended at this close": (dict(), {}, [held(free_at=NOON)]),
    "its own signal after seven days": (dict(), {}, [held(time=NOON - 7 * DAY)]),
    "half an ATR away": (dict(), {}, [held(entry=101.0, free_at=NOON - QUARTER)]),
    "more than four hours ago": (dict(), {}, [held(time=NOON - 4 * HOUR - QUARTER, entry=100.0, free_at=NOON - QUARTER)]),
}


@pytest.mark.parametrize(("gate", "case"), [(gate, case) for gate, cases in REFUSALS.items() for case in cases])
def test_what_a_gate_refuses_it_refuses_by_name_and_with_a_reason(gate, case):
    given_, settings, before, reason = case
    book = Book(tuple(before))
    decision = judged(candidate(**given_), book, **settings)
    assert decision.reason == gate and decision.signal_id == "" and decision.outcome == ("late" if "late" in settings else "rejected")
    (refused,) = [v for v in decision.verdicts if not v.passed]
    assert refused.gate == gate and reason in refused.reason
    rest = decision.verdicts[decision.verdicts.index(refused) + 1 :]
    assert {v.gate for v in rest} <= {"room", "spacing"}  # a strategy's filters are one gate
    assert len(book.of("BTCUSDT", NOON, HOUR)) == len(before)  # what is refused leaves nothing behind


@pytest.mark.parametrize("name", PASSES)
def test_what_the_gates_let_pass(name):
    given_, settings, before = PASSES[name]
    decision = judged(candidate(**given_), Book(tuple(before)), **settings)
    assert decision.outcome == "published" and not decision.reason and len(decision.signal_id) == 32
    assert " ".join(v.gate for v in decision.verdicts) == "data enabled session volume room spacing minimum conflict lock duplicate"


def test_a_filter_says_what_it_saw():
    verdicts = {v.gate: v for v in judged(candidate(failed=1), explain=True).verdicts}
    assert verdicts["volume"].value == "1.5 times, 1.2 asked for" and verdicts["room"].value == "0.7 R at 12:00"
    assert verdicts["spacing"].value == "" and verdicts["room"].passed and not verdicts["volume"].passed


def test_the_first_failure_is_the_reason_and_explaining_walks_on():
    wrong = candidate(raw=1.0, failed=3)
    book = Book((held(side=-1, strategy="calm"),))
    short, long = judged(wrong, book, muted=frozenset({"BTCUSDT"})), judged(wrong, book, muted=frozenset({"BTCUSDT"}), explain=True)
    assert short.reason == long.reason == "enabled" and [v.gate for v in short.verdicts] == ["data", "enabled"]
    assert [v.gate for v in long.verdicts if not v.passed] == ["enabled", "volume", "room", "minimum", "conflict"]
    assert len(long.verdicts) == 10


def test_explaining_publishes_nothing():
    book = Book()
    assert judged(candidate(), book, explain=True).outcome == "published"
    assert not book.of("BTCUSDT", NOON, HOUR)
    assert judged(candidate(), book).outcome == "published" and len(book.of("BTCUSDT", NOON, HOUR)) == 1


def test_all_of_a_strategys_failed_filters_are_told_at_once():
    assert [v.gate for v in judged(candidate(failed=3)).verdicts if not v.passed] == ["volume", "room"]


@pytest.mark.parametrize(("after", "outcome"), [(7 * DAY - QUARTER, "lock"), (7 * DAY, "")])
def test_a_lock_is_given_back_after_seven_days(after, outcome):
    book = Book((held(time=NOON, entry=100.0),))
    assert judged(candidate(time=NOON + after), book).reason == outcome


@pytest.mark.parametrize(("after", "away", "refused"), [
    (4 * HOUR, 0.0, True), (4 * HOUR + QUARTER, 0.0, False),
    (4 * HOUR, 0.999, True), (4 * HOUR, 1.0, False), (QUARTER, -0.999, True), (QUARTER, -1.0, False),
])
def test_nearly_the_same_is_within_four_hours_and_less_than_half_an_atr(after, away, refused):
    book = Book((held(time=NOON, entry=100.0, free_at=NOON),))
    decision = judged(candidate(time=NOON + after, entry=100.0 + away, atr=2.0), book)
    assert (decision.reason == "duplicate") == refused and (decision.outcome == "published") != refused


def test_a_position_that_leaves_no_longer_stands_against_the_other_side():
    book = Book((held(side=-1, time=NOON - HOUR, id="a" * 32),))
    assert judged(candidate(), book).reason == "conflict"
    book.end("BTCUSDT", "a" * 32, clear_at=NOON)
    assert judged(candidate(time=NOON - QUARTER), book).reason == "conflict"  # the close before the exit was decided
    assert judged(candidate(side=-1), book).reason == "lock"  # but its own lock stands until it is out
    assert judged(candidate(), book).outcome == "published"


def test_an_end_is_told_once_and_only_of_what_is_held():
    book = Book((held(id="a" * 32),))
    book.end("BTCUSDT", "b" * 32, free_at=NOON)
    book.end("ETHUSDT", "a" * 32, free_at=NOON)
    book.end("BTCUSDT", "a" * 32, clear_at=NOON)
    book.end("BTCUSDT", "a" * 32, free_at=NOON + QUARTER)
    (one,) = book.of("BTCUSDT", NOON, HOUR)
    assert (one.free_at, one.clear_at) == (NOON + QUARTER, NOON)


def test_the_book_forgets_what_can_no_longer_matter():
    book = Book((held(id="a" * 32, free_at=NOON), held(id="b" * 32), held(id="c" * 32, time=NOON + HOUR, free_at=NOON + 2 * HOUR)))
    assert {h.id[0] for h in book.of("BTCUSDT", NOON + 4 * HOUR, 4 * HOUR)} == {"b", "c"}
    assert {h.id[0] for h in book.of("BTCUSDT", NOON + 5 * HOUR + 1, 4 * HOUR)} == {"b"}


def test_the_same_candidate_has_the_same_name_for_ever():
    one, other = judged(candidate()), judged(candidate())
    assert one.signal_id == other.signal_id != judged(candidate(side=-1)).signal_id


many = st.lists(
    st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.sampled_from(["surge", "calm"]), st.sampled_from([-1, 1]),
              st.sampled_from([5.0, 6.0, 6.5, 7.0, 9.9]), st.sampled_from([0, 0, 1]), st.sampled_from([100.0, 100.9, 103.0])),
    min_size=1, max_size=4, unique_by=lambda t: t[:2],
)
remembered = st.lists(
    st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.sampled_from(["surge", "calm"]), st.sampled_from([-1, 1]),
              st.sampled_from([100.0, 104.0])),
    max_size=2, unique=True,
)


@given(many, remembered)
def test_the_order_of_arrival_changes_nothing(rows, before):
    candidates = [candidate(symbol=s, strategy=n, side=side, raw=raw, failed=failed if n == "surge" else 0, entry=entry)
                  for s, n, side, raw, failed, entry in rows]

    def outcome(order):
        book = Book(tuple(held(symbol=s, strategy=n, side=side, entry=e, id=f"{k:032x}") for k, (s, n, side, e) in enumerate(before)))
        return [d for _, d in judge_all(list(order), STRATEGIES, Pipeline(), book)]

    first, *others = map(outcome, permutations(candidates))
    assert all(other == first for other in others)
    scores = [d.score for d in first]
    assert scores == sorted(scores, reverse=True)
    published = [(d.symbol, d.side) for d in first if d.signal_id]
    assert not any((symbol, -side) in published for symbol, side in published)  # never both sides of a symbol


def test_every_gate_is_in_the_list_once():
    assert len(set(GATES)) == len(GATES) == 8
