"The exit ladder does what quant_spec E says: its table row by row, and each rule by an example."
import itertools
from math import isnan, nan

import pytest

from perps_kit.core.bar import Bar
from perps_kit.core.clock import HOUR
from perps_kit.core.signal import SCALP, SINGLE, STANDARD, TRIPLE
from perps_kit.core.unit import dumps, loads, same_bits
from perps_kit.trackers.ladder import CALLED_OFF, ENTERED, EXITED, FUNDED, LEAVING, SOLD, STOP_MOVED, Ladder, break_even, held
from perps_kit.trackers.outcome import changes, legs, result, result_class
from perps_kit.trackers.plan import (
    CANCELLED,
    CLOSED,
    EXITS,
    MANUAL,
    OPEN,
    OPPOSITE,
    RUNNER,
    STATES,
    TARGET_FIRST,
    TP1,
    TP2,
    Rules,
    make_plan,
    weights,
)

QUARTER = HOUR // 4
FREE = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0)


def bars(*rows, length=QUARTER, start=0):
    return [Bar(start + k * length, start + (k + 1) * length, *map(float, row), 1.0) for k, row in enumerate(rows)]


def walk(ladder, path):
    "Every ladder on the way, the first included."
    story = [ladder]
    for bar in path: story.append(story[-1].update(bar, 0.0, 0.0)[0])
    return story


def long(preset=STANDARD, rules=FREE, **more): return Ladder.of(1, 100, 98.5, 1.0, preset, rules=rules, **more)


ROW_3 = ((100, 101.6, 99.9, 101.5), (101.5, 103.2, 101.4, 103.1), (103.1, 105, 102.9, 104.6), (104.6, 104.7, 103.7, 103.9))
ROW_4 = ((100, 101.6, 99.9, 101.5), (101.5, 102.4, 101.4, 102.3), (102.3, 103, 102.1, 102.8), (102.8, 102.9, 101.7, 101.9))
ROW_5 = ((2000, 2005, 1968, 1970), (1970, 1972, 1938, 1940), (1940, 1942, 1900, 1905), (1905, 1925, 1904, 1920))
UP = ((100, 101.6, 99.9, 101.5), (101.5, 103.2, 101.4, 103.1))      # first and second target
DAY = 24 * HOUR

# row of E5: ladder, bars, length of a bar, legs, gross %, R, net %, exit_type, result
E5 = {
    "1": (long(), ((100, 100.5, 98.4, 98.6),), QUARTER, [(1, 98.5)], -1.5, -1, -1.59925, "SL", "LOSS"),
    "2": (long(), ((100, 101.6, 99.9, 101.2), (101.2, 101.3, 99.9, 100.1)), QUARTER,
          [(.3, 101.5), (.7, 100)], .45, .3, .349775, "TP1_BE", "WIN"),
    "3": (long(), ROW_3, QUARTER, [(.3, 101.5), (.4, 103), (.3, 103.8)], 2.79, 1.86, 2.688605, "TP2_TRAIL", "WIN"),
    "4": (long(SCALP), ROW_4, QUARTER, [(.3, 101.5), (.4, 102.25), (.3, 101.8)], 1.89, 1.26, 1.789055, "TP2_TRAIL", "WIN"),
    "5": (Ladder.of(-1, 2000, 2030, 20, rules=FREE), ROW_5, QUARTER,
          [(.3, 1970), (.4, 1940), (.3, 1924)], 2.79, 1.86, 2.691395, "TP2_TRAIL", "WIN"),
    "6": (long(), ((100, 101.6, 98.4, 100),), QUARTER, [(1, 98.5)], -1.5, -1, -1.59925, "SL", "LOSS"),
    "7": (long(), ((100, 100.5, 99.5, 99.6), (97, 97.5, 96.5, 97.2)), QUARTER, [(1, 97)], -3, -2, -3.0985, "SL", "LOSS"),
    "8": (long(rules=FREE._replace(trail=0.0)), (*UP, (103.1, 103.2, 99.8, 100.2)), QUARTER,
          [(.3, 101.5), (.4, 103), (.3, 100)], 1.65, 1.1, 1.549175, "TP2_BE", "WIN"),
    "9": (long(), (*UP, *[(103.1, 103.2, 102.6, 103.1)] * 3, (103.4, 104, 103, 103.5)), DAY,
          [(.3, 101.5), (.4, 103), (.3, 103.4)], 2.67, 1.78, 2.568665, "TP2_TIME", "WIN"),
    "10": (long(TRIPLE), ((100, 102.3, 99.9, 102),), QUARTER,
           [(.3, 101.2), (.4, 101.8), (.3, 102.25)], 1.755, 1.17, 1.6541225, "TP3", "WIN"),
    "11": (long().update(bars((100, 101, 99.9, 100.9))[0])[0].protect(100.0), ((100, 101, 99.9, 100.9), (100.9, 101, 99.9, 100.2)), QUARTER,
           [(1, 100)], 0, 0, -0.1, "BREAKEVEN", "BREAKEVEN"),
    "12": (long(), ((100, 101.6, 99.9, 101.2), (99.6, 99.8, 99.2, 99.5)), QUARTER,
           [(.3, 101.5), (.7, 99.6)], .17, .11333333, .069915, "TP1_BE", "WIN"),
    "13": (long(rules=Rules()), ((100, 100.5, 98.4, 98.6),), QUARTER, [(1, 98.45075)], -1.568936, -1.0324, -1.668152, "SL", "LOSS"),
}


@pytest.mark.parametrize("row", E5)
def test_the_table_of_the_specification(row):
    ladder, path, length, parts, gross, r, net, exit_type, label = E5[row]
    outcome = result(walk(ladder, bars(*path, length=length))[-1])
    assert [(leg.weight, round(leg.price, 9)) for leg in outcome.legs] == [(pytest.approx(w), pytest.approx(x, abs=1e-9)) for w, x in parts]
    assert outcome.gross_percent == pytest.approx(gross, abs=5e-7) and outcome.net_percent == pytest.approx(net, abs=5e-7)
    assert outcome.gross_r == pytest.approx(r, abs=5e-5) and outcome.roi(10) == pytest.approx(10 * gross, abs=5e-5)
    assert (outcome.exit_type, outcome.result, outcome.marked, outcome.state) == (exit_type, label, False, "CLOSED")


def test_the_stop_climbs_as_row_3_says():
    story = walk(long(), bars(*ROW_3))
    assert [s.levels.stop for s in story] == pytest.approx([98.5, 100, 102, 103.8, 103.8])
    assert [STATES[s.state] for s in story] == ["PENDING", "TP1", "RUNNER", "RUNNER", "CLOSED"]
    assert story[3].trailing_peak_price == 105 and story[2].times.tp2 == 2 * QUARTER


def test_mirrored_prices_mirror_the_stop():
    story = walk(Ladder.of(-1, 2000, 2030, 20, rules=FREE), bars(*ROW_5))
    assert [s.levels.stop for s in story] == pytest.approx([2030, 2000, 1962, 1924, 1924])


def test_an_entry_is_called_off_when_the_open_leaves_too_little_of_the_risk():
    ladder, code = long().update(bars((98.87, 101, 98.8, 100))[0], 0.0, 0.0)      # 0.37 left of 1.5: less than a quarter
    assert ladder.state == CANCELLED and code & CALLED_OFF and EXITS[ladder.reason] == "GAP_THROUGH_STOP" and held(ladder) == 0
    assert [(e.kind, e.detail) for e in changes(long(), ladder)] == [("cancelled", {"reason": "gap_through_stop"})]
    with pytest.raises(ValueError, match="never had an entry"): result(ladder)
    assert long().update(bars((98.88, 99.1, 98.8, 99))[0], 0.0, 0.0)[0].state == OPEN
    assert Ladder.of(-1, 100, 101.5, 1.0).update(bars((101.2, 101.3, 100, 100))[0], 0.0, 0.0)[0].state == CANCELLED


def test_the_entry_slips_and_lands_on_the_tick():
    ladder = Ladder.of(1, 100, 98.46, 1.0, tick=0.1).update(bars((100, 100.5, 99.9, 100.2))[0], 0.0, 0.0)[0]
    assert ladder.fills.entry == 100.1 and ladder.levels.stop == 98.4
    assert (ladder.levels.t1, ladder.levels.t2) == (101.8, 103.5)               # 100.1 + 1.7, + 3.4
    short = Ladder.of(-1, 100, 101.52, 1.0, tick=0.1).update(bars((100, 100.5, 99.9, 100.2))[0], 0.0, 0.0)[0]
    assert short.fills.entry == 99.9 and short.levels.stop == 101.6 and short.levels.t1 == 98.2


def test_targets_from_the_reference_do_not_move_with_the_fill():
    path = bars((100.4, 100.5, 100.1, 100.2))
    assert walk(long(rules=FREE._replace(from_reference=True)), path)[-1].levels.t1 == 101.5
    assert walk(long(), path)[-1].levels.t1 == pytest.approx(102.3)


def test_a_venue_may_fill_the_entry_before_the_bar_closes():
    ladder = long().filled(100.3, time=1234)
    assert (ladder.state, ladder.fills.entry, ladder.times.entry) == (OPEN, 100.3, 1234) and ladder.filled(99.0) is ladder
    after, code = ladder.update(bars((100, 102.2, 99.9, 102))[0], 5.0, 0.0)
    assert after.state == TP1 and code == SOLD | STOP_MOVED and after.tally.funding == 0     # the entry's own instant is not paid


@pytest.mark.parametrize("side, paid", [(1, -10.15), (-1, 10.15)])
def test_two_settlements_of_a_whole_coin(side, paid):
    ladder = Ladder.of(side, 50_000, 50_000 - side * 5_000, 100, rules=FREE)
    path = bars((50_000, 50_500, 49_800, 50_400), (50_400, 51_000, 50_300, 51_000), (51_000, 51_100, 50_900, 51_000))
    ladder, _ = ladder.update(path[0], 7.0, 0.0)                                # at the entry's own instant: not paid
    ladder, code = ladder.update(path[1], 50_500 * 0.0001, 0.0)
    ladder, _ = ladder.update(path[2], 0.0, 51_000 * 0.0001)
    assert ladder.tally.funding == pytest.approx(paid) and code == FUNDED
    assert result(ladder, 51_000).funding == pytest.approx(paid)


def test_funding_is_paid_on_what_is_held_at_the_instant():
    story = walk(long(), bars((100, 101.6, 99.9, 101.5)))
    after, _ = story[-1].update(bars((101.5, 101.6, 101, 101.2), start=QUARTER)[0], 1.0, 0.0)
    assert after.tally.funding == pytest.approx(-0.7)
    inside, _ = long().update(bars((100, 101, 99.9, 100.5))[0], 0.0, 2.0)       # on the entry's bar, but after the entry
    assert inside.tally.funding == -2.0
    gapped, _ = story[-1].update(bars((99, 99.5, 98, 99), start=QUARTER)[0], 1.0, 1.0)
    assert gapped.state == CLOSED and gapped.tally.funding == pytest.approx(-0.7)       # out at the open: nothing more


def test_leaving_is_decided_at_a_close_and_filled_at_the_next_open():
    ladder = walk(long(rules=Rules()), bars((100, 101, 99.9, 100.5)))[-1].leave(OPPOSITE)
    assert ladder.leaving == OPPOSITE and ladder.leave(MANUAL) is ladder and ladder.state == OPEN
    after, code = ladder.update(bars((101, 101, 97, 98), start=QUARTER)[0], 0.0, 0.0)
    assert code == EXITED and after.fills.out == pytest.approx(101 * (1 - 0.0005)) and result(after).exit_type == "OPPOSITE"
    assert after.times.exit == QUARTER and long().leave(OPPOSITE).state == CANCELLED
    assert [e.kind for e in changes(ladder, after)] == ["exit"]


def test_no_progress_is_judged_once_on_the_24th_bar():
    dull, lively = (100, 100.7, 99.5, 100), (100, 100.75, 99.5, 100)
    story = walk(long(), bars(*[dull] * 25))
    assert [bool(s.leaving) for s in story[22:25]] == [False, False, True] and result(story[25]).exit_type == "TIME"
    assert changes(story[23], story[24])[-1].kind == "leave"
    assert walk(long(), bars(*[dull] * 5, lively, *[dull] * 25))[-1].state == OPEN          # half an R is progress
    assert walk(long(), bars((100, 101.6, 100.1, 101), *[(101, 101.2, 100.2, 101)] * 30))[-1].state == TP1


def test_a_runner_ends_72_hours_after_its_second_target():
    still = (103.1, 103.2, 102.6, 103.1)
    story = walk(long(), bars(*UP, *[still] * 289))
    assert story[2].state == RUNNER and not story[2 + 287].leaving and story[2 + 288].leaving and story[2 + 289].state == CLOSED
    assert story[-1].times.exit - story[2].times.tp2 == 72 * HOUR


def test_the_end_of_the_data_is_marked_and_says_so():
    ladder = walk(long(), bars((100, 101.6, 99.9, 101.5)))[-1]
    done = result(ladder.finish(101.0, 2 * QUARTER))
    assert done.marked and done.exit_type == "END" and done.gross_r == pytest.approx((0.3 * 1.5 + 0.7 * 1.0) / 1.5)
    assert result(ladder.leave(OPPOSITE).finish(101.0, 2 * QUARTER)).exit_type == "OPPOSITE"
    assert long().finish(101.0, QUARTER).state == CANCELLED
    with pytest.raises(ValueError, match="still open"): result(ladder)
    open_now = result(ladder, 101.0)
    assert open_now.marked and open_now.exit_type == "" and open_now.gross_r == pytest.approx(done.gross_r)


def test_a_jumped_target_fills_at_its_level_or_if_asked_at_the_open():
    path = bars((100, 101, 99.9, 100.9), (102, 102.5, 101.9, 102.2))
    assert walk(long(SINGLE), path)[-1].fills.x1 == 101.5
    assert walk(long(SINGLE, FREE._replace(gap_fill_open=True)), path)[-1].fills.x1 == 102
    touched = bars((100, 101, 99.9, 100.9), (101, 102.5, 100.9, 102.2))
    assert walk(long(SINGLE, FREE._replace(gap_fill_open=True)), touched)[-1].fills.x1 == 101.5


def test_one_bar_that_holds_both():
    both = bars((100, 101.6, 98.4, 100))
    assert result(walk(long(), both)[-1]).gross_r == pytest.approx(-1)
    better = result(walk(long(rules=FREE._replace(policy=TARGET_FIRST)), both)[-1])
    assert better.gross_r == pytest.approx(0.3 - 0.7) and better.exit_type == "SL"
    assert [leg.weight for leg in better.legs] == pytest.approx([.3, .7])
    up_first, _ = long().within(both[0], [101.6, 100.5, 99.0], [99.9, 99.0, 98.4], 0.0, 0.0)
    down_first, _ = long().within(both[0], [100.1, 101.6], [98.4, 98.6], 0.0, 0.0)
    assert result(up_first).gross_r == pytest.approx(-0.4) and result(down_first).gross_r == pytest.approx(-1)


def test_break_even_may_pay_the_fees():
    ladder = walk(long(rules=FREE._replace(be_offset=0.001)), bars((100, 101.6, 99.9, 101.2), (101.2, 101.3, 99.9, 100.1)))[-1]
    assert ladder.fills.out == pytest.approx(100.1) and result(ladder).exit_type == "TP1_BE"
    single = long(SINGLE, FREE._replace(be_offset=0.001)).filled(100.0).protect(100.1)
    flat = result(single.update(bars((100.5, 100.6, 99.9, 100))[0], 0.0, 0.0)[0])
    assert flat.net_percent == pytest.approx(0, abs=1e-4) and flat.exit_type == "BREAKEVEN"


def test_break_even_before_any_target_is_never_called_tp1():
    ladder = long().filled(100.0)
    ladder = ladder.protect(break_even(ladder))
    for opening in (100.5, 99.9):                                               # touched, and jumped
        done = result(ladder.update(bars((opening, 100.6, 99.8, 99.9))[0], 0.0, 0.0)[0])
        assert done.exit_type == "BREAKEVEN" and [leg[:3] for leg in done.legs] == [("out", 1.0, min(opening, 100.0))]


def test_a_stop_moved_by_hand_never_loosens():
    assert long().protect(98.0).levels.stop == 98.5 and long().protect(99.0).levels.stop == 99.0
    assert Ladder.of(-1, 100, 101.5, 1.0).protect(102.0).levels.stop == 101.5


@pytest.mark.parametrize("gross_r, label", [(0.0199, "BREAKEVEN"), (-0.0199, "BREAKEVEN"), (0.0201, "WIN"), (-0.0201, "LOSS")])
def test_within_a_fiftieth_of_r_is_break_even(gross_r, label):
    assert result_class(0.02) == result_class(-0.02) == "BREAKEVEN"
    ladder = long(rules=FREE._replace(close_bp=0.0)).filled(100.0).leave(MANUAL)
    assert result(ladder.update(bars((100 + 1.5 * gross_r, 102, 98, 100))[0], 0.0, 0.0)[0]).result == label


def test_liquidation_comes_before_everything_at_the_open():
    ladder = Ladder.of(1, 100, 92, 1.0, rules=FREE, liquidation=90.4, bankruptcy=90.0).filled(100.0)
    after, _ = ladder.leave(OPPOSITE).update(bars((89, 90, 88, 89))[0], 0.0, 0.0)
    assert result(after).exit_type == "LIQ" and after.fills.out == 90.0
    assert result(ladder.update(bars((90.5, 91, 88, 89))[0], 0.0, 0.0)[0]).exit_type == "SL"


def test_fees_follow_the_order_type():
    rules = FREE._replace(fee=0.0005, target_fee=0.0002)
    done = result(walk(long(rules=rules, quantity=10), bars(*E5["2"][1]))[-1])
    assert done.fees == pytest.approx(10 * (0.0005 * 100 + 0.0002 * 0.3 * 101.5 + 0.0005 * 0.7 * 100))
    assert done.net == pytest.approx(done.gross - done.fees) and done.gross == pytest.approx(4.5)


@pytest.mark.parametrize("quantity, step, minimum, parts", [
    (1.0, 0.0, 0.0, (.3, .4, .3)), (0.017, 0.001, 0.001, (5 / 17, 6 / 17, 6 / 17)), (0.017, 0.001, 0.006, (0.0, 11 / 17, 6 / 17)),
    (0.004, 0.001, 0.002, (0.0, .5, .5)), (0.003, 0.001, 0.002, (0.0, 0.0, 1.0)), (0.01, 0.001, 0.004, (0.0, 1.0, 0.0)),
])
def test_parts_are_orders_that_a_venue_takes(quantity, step, minimum, parts):
    assert weights((.3, .4, .3), quantity, step, minimum) == pytest.approx(parts)


def test_a_level_whose_part_was_merged_still_moves_the_stop():
    ladder = long(quantity=0.017, step=0.001, min_quantity=0.006)
    story = walk(ladder, bars((100, 101.6, 99.9, 101.5), (101.5, 101.6, 99.9, 100)))
    assert story[1].state == TP1 and story[1].levels.stop == 100 and held(story[1]) == pytest.approx(1)
    assert result(story[-1]).exit_type == "BREAKEVEN" and len(legs(story[-1])) == 1


def test_a_triple_ladder_waits_for_its_third_target_at_break_even():
    story = walk(long(TRIPLE), bars((100, 101.9, 99.9, 101.8), (101.8, 102, 99.9, 100)))
    assert story[1].state == TP2 and isnan(story[1].trailing_peak_price) and result(story[-1]).exit_type == "TP2_BE"


def test_a_single_target_is_called_tp1():
    done = result(walk(long(SINGLE, t1=1.2), bars((100, 102, 99.9, 101.8)))[-1])
    assert done.exit_type == "TP1" and done.gross_r == pytest.approx(1.2)


def test_events_tell_the_story():
    story = walk(long(quantity=2.0), bars(*ROW_3))
    told = [(e.kind, e.price, round(e.weight, 9)) for a, b in itertools.pairwise(story) for e in changes(a, b)]
    assert told == [("entry", 100, 1), ("tp1", 101.5, .3), ("stop_moved", 100, .7), ("tp2", 103, .4), ("stop_moved", 102.0, .3),
                    ("stop_moved", 103.8, .3), ("stop", 103.8, .3)]
    last = changes(story[-2], story[-1])[-1]
    assert last.detail["exit_type"] == "TP2_TRAIL" and last.time == 4 * QUARTER and story[2].quantity_left == pytest.approx(0.6)
    done = walk(long(TRIPLE), bars((100, 102.3, 99.9, 102)))
    assert [(e.kind, e.detail.get("exit_type")) for e in changes(*done)][1:] == [("tp1", None), ("tp2", None), ("tp3", "TP3")]
    paid = story[1].update(bars((101.5, 101.6, 101.4, 101.5), start=QUARTER)[0], 1.0, 0.0)[0]
    assert changes(story[1], paid)[0].detail == pytest.approx({"per_unit": -0.7, "cash": -1.4})


def test_codes_name_what_happened():
    ladder, codes = long(), []
    for bar in bars(*ROW_3):
        ladder, code = ladder.update(bar, 0.0, 0.0)
        codes.append(code)
    assert codes == [ENTERED | SOLD | STOP_MOVED, SOLD | STOP_MOVED, STOP_MOVED, EXITED]
    story = walk(long(), bars(*[(100, 100.7, 99.5, 100)] * 23))
    assert story[-1].update(bars((100, 100.7, 99.5, 100), start=23 * QUARTER)[0], 0.0, 0.0)[1] == LEAVING


def test_saving_and_loading_at_any_bar_changes_nothing():
    story = walk(long(time=0), bars(*ROW_3))
    for k, ladder in enumerate(story):
        back = loads(long(), dumps(ladder))
        assert same_bits(back, ladder) and same_bits(walk(back, bars(*ROW_3)[k:])[-1], story[-1])


def test_a_bar_seen_before_changes_nothing():
    for k, ladder in enumerate(walk(long(), bars(*ROW_3))):
        for old in bars(*ROW_3)[:k]: assert ladder.update(old, 9.0, 9.0) == (ladder, 0)
    assert long(time=QUARTER).update(bars((100, 101, 99, 100))[0], 0.0, 0.0)[1] == 0      # the bar that made the signal


@pytest.mark.parametrize("given, message", [
    (dict(side=0), "neither 1"), (dict(stop=100.0), "not below"), (dict(side=-1), "not above"), (dict(preset=9), "unknown"),
    (dict(t3=2.0), "no such target"), (dict(t1=3.0), "rising"), (dict(quantity=0), "not positive"), (dict(atr=nan), "ATR"),
    (dict(stop=nan), "not below"),
])
def test_a_plan_that_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message): Ladder.of(**(dict(side=1, entry_ref=100.0, stop=98.5, atr=1.0) | given))


def test_rules_take_whole_numbers():
    assert type(long(rules=Rules(trail=2, fee=0)).rules.trail) is float and make_plan(1, 100, 98, 1).stop == 98.0


def test_legs_know_when_they_were_sold_and_slippage_has_its_share():
    done = result(walk(long(rules=Rules()), bars(*ROW_3))[-1])
    assert [(leg.kind, leg.time // QUARTER) for leg in done.legs] == [("tp1", 1), ("tp2", 2), ("out", 4)]
    free = result(walk(long(), bars(*E5["1"][1]))[-1])
    slipped = result(walk(long(rules=Rules()), bars(*E5["1"][1]))[-1])
    assert free.slippage == 0 and slipped.slippage == pytest.approx(free.gross - slipped.gross, rel=1e-3)
    gapped = result(walk(long(rules=Rules()), bars(*E5["7"][1]))[-1])
    assert gapped.slippage == pytest.approx(0.02, rel=1e-3)


def test_a_venue_may_correct_the_price_of_a_fill():
    ladder = walk(long(), bars(*E5["1"][1]))[-1]
    assert result(ladder.executed("out", 98.4)).gross_r == pytest.approx(-1.6 / 1.5)
    with pytest.raises(ValueError, match="x1 is not filled"): ladder.executed("x1", 101.5)


def test_touching_is_enough():
    assert result(walk(long(), bars((100, 101, 98.5, 99)))[-1]).exit_type == "SL"
    assert walk(long(), bars((100, 101.5, 99, 101)))[-1].state == TP1
    assert walk(long(), bars((100, 101, 99, 99), (98.5, 99, 98.4, 98.6)))[-1].fills.out == 98.5     # opens on the stop: gets the open
    assert long().update(bars((98.875, 99, 98.8, 99))[0], 0.0, 0.0)[0].state == OPEN    # a quarter of the risk is enough


def test_break_even_does_not_undo_a_tighter_stop():
    ladder = long().filled(100.0).protect(100.8)
    assert ladder.update(bars((101, 101.6, 100.9, 101.5))[0], 0.0, 0.0)[0].levels.stop == 100.8


def test_a_wide_trail_leaves_the_stop_at_break_even_and_the_peak_stays():
    story = walk(Ladder.of(1, 100, 98.5, 4.0, rules=FREE), bars(*UP, (103.1, 103.15, 102.6, 102.8), (102.8, 102.9, 99.9, 100.5)))
    assert [s.levels.stop for s in story[1:4]] == [100, 100, 100] and story[3].trailing_peak_price == 103.2
    assert result(story[-1]).exit_type == "TP2_BE"


def test_excursions_count_what_was_surely_lived():
    open_yet = walk(long(), bars((100, 101, 99, 100.5)))[-1]
    assert (open_yet.tally.mfe, open_yet.tally.mae) == (1, 1)
    stopped = walk(open_yet, bars((100.5, 101.4, 98, 98.2), start=QUARTER))[-1]
    assert (stopped.tally.mfe, stopped.tally.mae) == (1, 1.5)           # the high of the last bar may have come after the stop
    done = result(walk(long(SINGLE), bars((100, 103, 99, 102)))[-1])
    assert done.mfe_r == pytest.approx(1) and done.mae_r == 0
