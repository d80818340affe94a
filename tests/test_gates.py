"The gates: what each lets pass and what it refuses, in which order, with which reason; and that the order of arrival changes nothing."

from itertools import permutations
from math import nan
from types import SimpleNamespace as Row
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.clock import DAY, HOUR, MINUTE, parse_time
from perps_kit.core.signal import TRIPLE, Candidate, Signal
from perps_kit.indicators.regime import EXPANSION_DOWN, EXPANSION_UP, RANGE, SQUEEZE, TREND_DOWN, TREND_UP, UNDEFINED
from perps_kit.scoring.book import ENDED, OPEN, STOPPED, Book, Held, Pipeline
from perps_kit.scoring.context import Context
from perps_kit.scoring.gates import GATES, Rival, ask, judge, judge_all, winner
from perps_kit.scoring.score import WEIGHTS, regime_weight

NOON = parse_time("2026-10-30T12:00")
QUARTER = 15 * MINUTE


class Surge(NamedTuple):
    "A strategy of two filters and a spacing."

    least: float = 1.2
    filters, modes = ("volume", "room"), ("CROSS", "PULLBACK")
    spacing, asks = {0: 10}, dict(volume="{volume:.1f} times, {least:g} asked for", room="{zones_room:.1f} R at {hour_of_day}")


class Calm(NamedTuple):
    "A strategy that only speaks."

    filters, modes, spacing = (), ("CROSS",), {}


STRATEGIES = dict(surge=Surge(), calm=Calm())


def candidate(time=NOON, side=1, entry=100.0, raw=7.0, failed=0, symbol="BTCUSDT", strategy="surge", atr=2.0,
              synthetic=False, warm=True, **more):
    signal = Signal(side, 0, entry, entry - side * 3.0, TRIPLE, nan, nan, nan, atr, raw, failed, ())
    bar = Bar(time - QUARTER, time, entry, entry + 1, entry - 1, entry, 10.0, synthetic=synthetic)
    features = {"volume": 1.5, "zones.room": 0.7, "depth": 0.0} | more
    return Candidate(strategy, symbol, 15, time, signal, bar, warm, 0, features)


def asked(c, book=None, late="", **settings):
    return ask(c, STRATEGIES[c.strategy], Pipeline(**settings), book, late=late)


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
    "the other side of another symbol": (dict(), {}, [held(side=-1, symbol="ETHUSDT")]),
    "the other side left at this close": (dict(), {}, [held(side=-1, clear_at=NOON)]),
    "another strategy on the same side": (dict(), {}, [held(strategy="calm")]),
    "its own signal was called off at this close": (dict(), {}, [held(free_at=NOON)]),
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
    assert " ".join(v.gate for v in decision.verdicts) == (
        "data enabled session volume room spacing regime btc trend cvd factors minimum conflict lock duplicate cooldown memory")


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
    assert len(long.verdicts) == 17


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
    assert {h.id[0] for h in book.of("BTCUSDT", NOON + 4 * HOUR - 1, 4 * HOUR)} == {"a", "b", "c"}
    assert {h.id[0] for h in book.of("BTCUSDT", NOON + 4 * HOUR, 4 * HOUR)} == {"b", "c"}
    assert {h.id[0] for h in book.of("BTCUSDT", NOON + 6 * HOUR, 4 * HOUR)} == {"b"}


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


def test_the_gates_are_those_of_the_spec_in_its_order():
    names = [gate.__name__.removesuffix("_gate") for gate in GATES]
    assert names == ("data enabled session strategy regime btc trend cvd factors minimum conflict lock duplicate cooldown memory").split()


# What the market around a candidate does to it: B3, B4, D2, D3, D8.

NEUTRAL = dict(regime=RANGE, hour=0.0, four=0.0, move=0.0, divergence=0.0, h_divergence=0.0, volume=1.5, structure=1.0, momentum=1.0,
               flow=1.0, support=98.9)


def scene(time=NOON, returns=None, **now):
    "A context by its numbers."
    x = NEUTRAL | now
    row = Row(h_regime=Row(state=float(x["regime"])), hour=Row(dir=x["hour"]), four_hours=Row(dir=x["four"]), hour_move=x["move"],
              divergence=Row(state=x["divergence"]), h_divergence=Row(state=x["h_divergence"]), volume=x["volume"], momentum=x["momentum"],
              structure=Row(trend=x["structure"]), atr=1.0, bar=Row(close=100.0),
              zones=Row(support=x["support"], resistance=200.0 - x["support"]), cvd=Row(cvd=x["flow"]), flow_before=0.0)
    return Context(time, row, lambda: returns or {})


class Breakout(NamedTuple):
    "Of the family that likes trends."

    filters, modes, family = (), ("OUT",), "breakout"


def weighed(side=1, raw=8.0, symbol="ETHUSDT", strategy=Breakout(), mine=None, leader=None, explain=False, **settings):
    market = {"ETHUSDT": mine or scene()} | ({"BTCUSDT": leader} if leader else {})
    c = candidate(side=side, raw=raw, symbol=symbol, strategy="breakout")
    return judge(c, ask(c, strategy, Pipeline(**dict(leader="") | settings), market=market), explain=explain)


@pytest.mark.parametrize(("family", "weights"), WEIGHTS.items())
def test_the_regime_weighs_every_family_as_the_table_says(family, weights):
    along, against, flat, squeezed, wide = weights
    for side in (1, -1):
        up, down = (along, against) if side > 0 else (against, along)
        told = [regime_weight(family, state, side) for state in (TREND_UP, TREND_DOWN, RANGE, SQUEEZE, EXPANSION_UP, EXPANSION_DOWN)]
        assert told == [up, down, flat, squeezed, wide, wide]


def test_no_signal_while_the_kind_of_market_is_not_defined():
    for state in (nan, float(UNDEFINED)):
        assert weighed(mine=scene(regime=state)).reason == "regime"
    assert weighed(mine=scene(regime=TREND_UP)).score == 88.0


def test_the_score_is_the_product_and_the_bonus_and_no_more_than_a_hundred():
    both = scene(regime=TREND_UP, hour=-1.0, four=-1.0, divergence=1.0, h_divergence=1.0)
    assert weighed(raw=6.0, mine=both).score == pytest.approx(60 * 1.1 * 0.85 + 8.0)
    assert weighed(raw=6.0, mine=scene(regime=TREND_UP, hour=-1.0, four=0.0)).score == pytest.approx(60 * 1.1 * 0.85)    # -0.5 is enough
    assert weighed(raw=6.0, mine=scene(regime=TREND_UP, hour=-1.0, four=1.0)).score == pytest.approx(66.0)
    assert weighed(raw=9.9, mine=scene(regime=TREND_UP, divergence=1.0)).score == 100.0
    assert weighed(raw=7.0, mine=scene(divergence=-1.0)).score == pytest.approx(63.0)                  # against it: told, not weighed
    assert "cvd_conflict" in next(v.value for v in weighed(mine=scene(divergence=-1.0)).verdicts if v.gate == "cvd")


HOURLY = {k: float((k * 7919) % 13 - 6) for k in range(168)}
OTHERS = {k: float((k * 104729) % 11 - 5) for k in range(168)}


def led(side=1, returns=HOURLY, leader=None, raw=9.0, symbol="ETHUSDT", late=0):
    "A signal of a follower that has every other kind of evidence."
    mine = scene(returns=returns, structure=float(side), momentum=float(side), flow=float(side))
    market = {symbol: mine} | ({} if leader is None else {"BTCUSDT": leader})
    c = candidate(side=side, raw=raw, symbol=symbol, strategy="breakout")
    return judge(c, ask(c, Breakout(), market=market))


@pytest.mark.parametrize(("side", "move", "blocked"),
                         [(1, -1.5, True), (1, -1.49, False), (-1, 1.5, True), (-1, 1.49, False), (1, 1.6, False)])
def test_the_leaders_leap_stops_what_goes_against_it(side, move, blocked):
    d = led(side, leader=scene(move=move, returns=HOURLY))
    assert (d.reason == "btc") == blocked and ("moved" in d.verdicts[-1].reason) == blocked


@pytest.mark.parametrize(("state", "side", "factor"), [
    (TREND_UP, 1, 1.1), (TREND_UP, -1, 0.8), (TREND_DOWN, -1, 1.1), (RANGE, 1, 1.0), (EXPANSION_DOWN, 1, 1.0)])
def test_the_leaders_trend_strengthens_and_weakens(state, side, factor):
    assert led(side, leader=scene(regime=state, returns=HOURLY)).score == pytest.approx(90 * 0.9 * factor)


def test_who_goes_its_own_way_is_not_held_against_the_leader():
    assert led(returns=OTHERS, leader=scene(move=-5.0, regime=TREND_DOWN, returns=HOURLY)).score == pytest.approx(81.0)
    few = {k: HOURLY[k] for k in range(99)}     # too few hours to know: the filter stands
    assert led(returns=few, leader=scene(move=-5.0, returns=HOURLY)).reason == "btc"


def test_without_the_leaders_candles_nothing_is_published():
    assert led().verdicts[-1].reason == "btc_unavailable"
    for behind, reason in ((2 * QUARTER, ""), (2 * QUARTER + 1, "btc")):
        assert led(leader=scene(time=NOON - behind, returns=HOURLY)).reason == reason
    assert led(leader=scene(move=nan, returns=HOURLY)).reason == "btc" and led(symbol="BTCUSDT").reason == ""


def test_three_of_six_kinds_of_evidence_are_needed():
    names = dict(hour=1.0, volume=1.2, structure=1.0, momentum=0.1, flow=0.1)
    none = dict(hour=0.0, volume=1.19, structure=-1.0, momentum=0.0, flow=nan)
    for k in range(6):
        chosen = dict(list(names.items())[:k])
        assert (weighed(mine=scene(**none | chosen)).reason == "factors") == (k < 3), k
    beside = none | dict(hour=1.0, volume=1.2, support=99.0)     # a zone within an ATR stands for structure
    assert weighed(mine=scene(**beside)).reason == "" and weighed(mine=scene(**beside | dict(support=98.9))).reason == "factors"


def sides(*rows): return winner(tuple(Rival(*row) for row in rows))


def test_the_heavier_side_wins_by_a_quarter_and_five_points():
    assert sides((1, "a", 75.0), (-1, "b", 60.0)) == 1 and sides((1, "a", 74.9), (-1, "b", 60.0)) == 0
    assert sides((1, "a", 65.0), (1, "c", 60.0), (-1, "b", 60.0)) == 1 and sides((1, "a", 64.9), (1, "c", 64.9), (-1, "b", 60.0)) == 0
    assert sides((1, "a", 80.0), (1, "a", 79.0), (-1, "b", 70.0)) == 0, "one strategy counts once"
    assert sides((1, "a", 70.0), (-1, "b", 70.0)) == 0 and sides((-1, "a", 70.0)) == -1 and sides() == 0


rivals = st.lists(st.tuples(st.sampled_from([1, -1]), st.sampled_from("abc"), st.sampled_from([60.0, 61.3, 75.1, 80.7, 99.9])), max_size=5)


@given(rivals, st.randoms())
def test_no_side_wins_by_being_asked_first(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert sides(*rows) == sides(*shuffled) == -sides(*((-side, *rest) for side, *rest in rows))


def test_losers_of_a_close_are_told_so_and_an_even_match_publishes_nothing():
    both = [candidate(side=1, raw=8.0), candidate(side=-1, raw=6.2, strategy="calm")]
    assert [d.reason for _, d in judge_all(both, STRATEGIES, Pipeline(), Book())] == ["", "conflict"]
    both = [candidate(side=1, raw=7.0), candidate(side=-1, raw=6.8, strategy="calm")]
    assert [d.reason for _, d in judge_all(both, STRATEGIES, Pipeline(), Book())] == ["conflict", "conflict"]
    weak = [candidate(side=1, raw=8.0), candidate(side=-1, raw=5.0, strategy="calm")]     # below the minimum: no rival
    assert [d.reason for _, d in judge_all(weak, STRATEGIES, Pipeline(), Book())] == ["", "minimum"]


@pytest.mark.parametrize(("policy", "reason", "closes"), [("reject", "conflict", 0), ("close", "conflict", 1), ("flip", "", 1)])
def test_a_signal_against_an_open_one_is_refused_or_closes_it_or_turns(policy, reason, closes):
    book = Book((held(side=-1, strategy="calm", id="a" * 32),))
    ((_, d),) = judge_all([candidate()], STRATEGIES, Pipeline(on_opposite=policy), book)
    assert d.reason == reason and d.closes == ("a" * 32,) * closes
    assert bool(book.against("BTCUSDT", 1, NOON, HOUR)) == (closes == 0)


@pytest.mark.parametrize(("end", "side", "minutes", "quiet"), [
    (STOPPED, 1, 59, True), (STOPPED, 1, 60, False), (STOPPED, -1, 59, True), (ENDED, 1, 14, True), (ENDED, 1, 15, False), (ENDED, -1, 0,
        False),
    (OPEN, 1, 0, False)])
def test_after_a_stop_a_symbol_rests_an_hour_and_after_any_close_a_side_rests_a_quarter(end, side, minutes, quiet):
    over = NOON - minutes * MINUTE
    book = Book((held(strategy="calm", side=1, time=NOON - 9 * HOUR, free_at=over, clear_at=over, end=end),))
    d = judged(candidate(side=side), book)
    assert (d.reason == "cooldown") == quiet
    if quiet: assert "silence until" in d.verdicts[-1].reason


def test_a_strategy_may_ask_for_silence_of_its_own():
    class Slow(NamedTuple):
        filters, modes, cooldown = (), ("OUT",), 30 * MINUTE

    for minutes, reason in ((29, "cooldown"), (30, "")):
        book = Book((held(strategy="slow", entry=50.0, time=NOON - minutes * MINUTE, free_at=NOON, clear_at=NOON),))
        c = candidate(strategy="slow")
        assert judge(c, ask(c, Slow(), book=book)).reason == reason


def test_hours_of_one_strategy_stand_in_place_of_everybodys():
    late = candidate(time=parse_time("2026-10-30T22:00"))
    assert judged(late, sessions=HOURS).reason == "session" and judged(late, sessions=HOURS, hours=(("surge", ((0, 1440),)),)).reason == ""
    assert judged(late, hours=(("surge", HOURS),)).reason == "session" and judged(late, hours=(("calm", HOURS),)).reason == ""


def test_a_strategy_that_is_off_by_itself_runs_only_where_it_is_named():
    class Legacy(NamedTuple):
        filters, modes, enabled = (), ("OLD",), False

    c = candidate(strategy="legacy")
    assert judge(c, ask(c, Legacy())).reason == "enabled"
    assert judge(c, ask(c, Legacy(), Pipeline(enabled=frozenset({"legacy"})))).reason == ""


def test_a_strategy_with_a_scale_and_a_minimum_of_its_own():
    class Own(NamedTuple):
        filters, modes, scale, minimum = (), ("OWN",), 15.0, 20.0

    for raw, reason in ((3.0, ""), (2.9, "minimum")):
        c = candidate(raw=raw, strategy="own")
        d = judge(c, ask(c, Own()))
        assert d.reason == reason and d.score == pytest.approx(100 * raw / 15)
