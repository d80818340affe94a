"What the exit ladder promises for every path that a market can take (quant_spec E5, invariants)."
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.clock import HOUR
from perps_kit.core.unit import dumps, loads, same_bits
from perps_kit.trackers.ladder import Ladder, held
from perps_kit.trackers.outcome import changes, legs, result
from perps_kit.trackers.plan import CANCELLED, CLOSED, OPEN, STOP_FIRST, TARGET_FIRST, Rules

MINUTE, TICK = 60_000, 1 / 64
FEW = settings(max_examples=60, deadline=None)
FREE = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0)


@st.composite
def paths(draw, bars=st.integers(1, 24), parts=5, gaps=True):
    "Bars of 15 minutes, each with its sub-bars: a walk in steps of 1/64, which floats hold exactly, so that touches and ties are common."
    price, rows = 6_400, []
    step = st.integers(-60, 60)
    for k in range(draw(bars)):
        if gaps and k and draw(st.integers(0, 5)) == 0: price += draw(st.integers(-250, 250))
        inner = []
        for _ in range(parts):
            first, price = price, max(100, price + draw(step))
            above, below = draw(st.integers(0, 40)), draw(st.integers(0, 40))
            inner.append((first, max(first, price) + above, max(50, min(first, price) - below), price))
        first, high, low = inner[0][0], max(x[1] for x in inner), min(x[2] for x in inner)
        bar = Bar(k * 15 * MINUTE, (k + 1) * 15 * MINUTE, first / 64, high / 64, low / 64, price / 64, 1.0)
        rows.append((bar, [x[1] / 64 for x in inner], [x[2] / 64 for x in inner]))
    return rows


@st.composite
def ladders(draw, rules=FREE, tick=st.sampled_from([0.0, TICK, 0.1])):
    side, risk = draw(st.sampled_from([1, -1])), draw(st.integers(20, 200)) / 64
    trail, patience, hold = draw(st.sampled_from([0.0, 0.5, 1.25])), draw(st.sampled_from([0, 6])), draw(st.sampled_from([0, HOUR]))
    rules = rules._replace(trail=trail, patience=patience, hold=hold)
    quantity, step, least = draw(st.sampled_from([(1.0, 0.0, 0.0), (0.017, 0.001, 0.001), (0.017, 0.001, 0.006), (3.0, 1.0, 1.0)]))
    atr, preset = draw(st.integers(5, 100)) / 64, draw(st.integers(0, 3))
    return Ladder.of(side, 100.0, 100 - side * risk, atr, preset, draw(tick), step, quantity, least, rules=rules)


def walk(ladder, path, fine=False):
    story = [ladder]
    for bar, highs, lows in path:
        story.append((story[-1].within(bar, highs, lows, 0.0, 0.0) if fine else story[-1].update(bar, 0.0, 0.0))[0])
    return story


def with_rules(ladder, **rules): return ladder._replace(rules=ladder.rules._replace(**rules))


@FEW
@given(ladders(), paths())
def test_leg_weights_add_up_to_one_and_what_is_held_only_shrinks(ladder, path):
    story = walk(ladder, path)
    for a, b in itertools.pairwise(story):
        if b.state in (OPEN, CLOSED): assert sum(leg.weight for leg in legs(b, 100.0)) == pytest.approx(1, abs=1e-12)
        if a.state >= OPEN: assert held(b) <= held(a)
        assert b.state >= a.state


@FEW
@given(ladders(rules=Rules(policy=STOP_FIRST)), paths())
def test_the_stop_never_loosens(ladder, path):
    story = walk(ladder, path)
    assert all(ladder.plan.side * (b.levels.stop - a.levels.stop) >= 0 for a, b in itertools.pairwise(story))


@FEW
@given(ladders(tick=st.sampled_from([0.0, TICK])), paths(), st.sampled_from([STOP_FIRST, TARGET_FIRST]))
def test_without_slippage_every_fill_lies_in_its_bar_unless_the_open_jumped(ladder, path, policy):
    story = walk(with_rules(ladder, policy=policy), path)
    for (bar, _, _), a, b in zip(path, story, story[1:], strict=False):
        for event in changes(a, b):
            if event.kind in ("entry", "stop", "exit"): assert bar.low - 1e-9 <= event.price <= bar.high + 1e-9
            if event.kind[:2] == "tp":      # a resting limit fills at its level even when the market jumped over it
                jumped = ladder.plan.side * (bar.open - event.price) > 0
                assert jumped or bar.low <= event.price <= bar.high


@FEW
@given(ladders(), paths(gaps=False))
def test_finer_bars_lie_between_the_worst_and_the_best_reading(ladder, path):
    last = path[-1][0].close
    readings = (STOP_FIRST, False), (STOP_FIRST, True), (TARGET_FIRST, False)
    low, mid, high = (walk(with_rules(ladder, policy=policy), path, fine)[-1] for policy, fine in readings)
    if low.state == CANCELLED: return
    low, mid, high = (result(x, last).gross for x in (low, mid, high))
    assert low <= mid + 1e-12 and mid <= high + 1e-12


@FEW
@given(ladders(tick=st.sampled_from([0.0, TICK])), paths())
def test_a_short_on_reflected_prices_is_the_same_trade(ladder, path):
    plan = ladder.plan
    mirror = ladder._replace(plan=plan._replace(side=-plan.side, stop=200 - plan.stop), levels=ladder.levels._replace(stop=200 - plan.stop))
    reflected = [(b._replace(open=200 - b.open, high=200 - b.low, low=200 - b.high, close=200 - b.close), [], []) for b, _, _ in path]
    a, b = walk(ladder, path)[-1], walk(mirror, reflected)[-1]
    assert a.state == b.state and a.reason == b.reason
    if a.state != CANCELLED: assert result(a, path[-1][0].close).gross == pytest.approx(result(b, reflected[-1][0].close).gross, abs=1e-9)


@FEW
@given(ladders(rules=Rules()), paths(), st.integers(0, 23))
def test_stored_and_loaded_at_any_bar_it_goes_on_the_same(ladder, path, k):
    story = walk(ladder, path)
    k = min(k, len(path))
    back = loads(ladder, dumps(story[k]))
    assert same_bits(back, story[k]) and all(map(same_bits, walk(back, path[k:]), story[k:]))


@FEW
@given(ladders(rules=Rules()), paths(), st.integers(0, 23))
def test_bars_seen_again_after_a_restart_change_nothing(ladder, path, k):
    story = walk(ladder, path)
    again = walk(story[min(k, len(path))], path)
    assert same_bits(again[-1], story[-1])


@FEW
@given(ladders(rules=Rules()), paths(bars=st.integers(3, 24)), st.integers(1, 23))
def test_the_future_does_not_change_the_past(ladder, path, k):
    assert all(map(same_bits, walk(ladder, path[:k]), walk(ladder, path)))


@FEW
@given(ladders(rules=Rules()), paths())
def test_events_carry_the_whole_result(ladder, path):
    "Whoever has only the stored events can compute what the ladder made."
    story = walk(ladder, path)
    events = [e for a, b in itertools.pairwise(story) for e in changes(a, b)]
    assert len({(e.time, e.kind) for e in events}) == len(events)
    if story[-1].state != CLOSED: return
    entry = next(e.price for e in events if e.kind == "entry")
    sold = [e for e in events if e.kind in ("tp1", "tp2", "tp3", "stop", "exit")]
    made = sum(e.weight * ladder.plan.side * (e.price - entry) for e in sold)
    assert made * ladder.plan.quantity == pytest.approx(result(story[-1]).gross, abs=1e-9)
    assert sum("exit_type" in e.detail and e.kind != "leave" for e in events) == 1
