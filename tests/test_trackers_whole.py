"Every way in which a position can end: one path of bars for each, short at 200 with a risk of 3, counted to the last figure."
from typing import NamedTuple

import pytest

from perps_kit.core.bar import Bar
from perps_kit.core.clock import DAY, HOUR
from perps_kit.core.signal import HALVES, SINGLE, STANDARD, TRIPLE
from perps_kit.trackers.ladder import CALLED_OFF, EXITED, Ladder
from perps_kit.trackers.outcome import STOPS, Outcome, changes, result
from perps_kit.trackers.performance import finished, performance
from perps_kit.trackers.plan import CANCELLED, CLOSED, EXITS, MANUAL, OPPOSITE, Rules

QUARTER = HOUR // 4
PLAIN = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0)      # fee 0.05 % a side


class Way(NamedTuple):
    "A path and what it must come to."
    rows: tuple                 # open, high, low, close
    legs: list                  # weight, price
    gross: float                # percent
    r: float
    net: float                  # percent
    called: str                 # WIN, LOSS, BREAKEVEN
    mfe: float                  # R
    mae: float
    preset: int = STANDARD
    length: int = QUARTER
    told: int = 0               # reason to leave, given after the first bar
    protect: float = 0.0        # stop moved by hand after the first bar
    stop: float = 203.0
    t1: float = float("nan")


CALM = (200, 200.5, 199, 199.5)
FIRST = (200, 200.5, 196.9, 197.5)                          # TP1 197
SECOND = (197, 197.2, 193.5, 194)                           # TP2 194
WAYS = {
    "SL": Way(((200, 203.1, 199, 202),), [(1, 203)], -1.5, -1.0, -1.60075, "LOSS", 0.0, 1.0),
    "BREAKEVEN": Way((CALM, (199.5, 200.2, 199, 200)), [(1, 200)], 0.0, 0.0, -0.1, "BREAKEVEN", 1 / 3, 1 / 6, protect=200.0),
    "TP1": Way(((200, 200.5, 196.3, 197),), [(1, 196.4)], 1.8, 1.2, 1.7009, "WIN", 1.2, 0.0, SINGLE, t1=1.2),
    "TP2": Way(((200, 200.5, 193.9, 195),), [(0.5, 197), (0.5, 194)], 2.25, 1.5, 2.151125, "WIN", 2.0, 0.0, HALVES),
    "TP3": Way(((200, 200.4, 195.4, 195.6),), [(0.3, 197.6), (0.4, 196.4), (0.3, 195.5)], 1.755, 1.17, 1.6558775, "WIN", 1.5, 0.0, TRIPLE),
    "TP1_BE": Way((FIRST, (197.5, 200.1, 197, 199.5)), [(0.3, 197), (0.7, 200)], 0.45, 0.3, 0.350225, "WIN", 3.1 / 3, 1 / 6),
    "TP2_BE": Way(((200, 200.5, 196.3, 196.5), (196.5, 200.1, 196, 199)), [(0.3, 197.6), (0.4, 196.4), (0.3, 200)], 1.08, 0.72, 0.98054,
                  "WIN", 3.7 / 3, 1 / 6, TRIPLE),
    "TP2_TRAIL": Way((FIRST, SECOND, (194, 194.2, 189, 189.5), (189.5, 191.5, 189.2, 191)), [(0.3, 197), (0.4, 194), (0.3, 191.4)],
                     2.94, 1.96, 2.84147, "WIN", 11 / 3, 1 / 6),
    "TP2_TIME": Way((FIRST, (197, 197.2, 193.8, 194), *[(194, 195, 193.9, 194.1)] * 3, (193.5, 194, 193, 193.5)),
                    [(0.3, 197), (0.4, 194), (0.3, 193.5)], 2.625, 1.75, 2.5263125, "WIN", 6.5 / 3, 1 / 6, length=DAY),
    "TIME": Way((*[(200, 200.6, 198.6, 200)] * 24, (200.4, 200.5, 200, 200.2)), [(1, 200.4)], -0.2, -0.4 / 3, -0.3001, "LOSS",
                1.4 / 3, 0.2),
    "OPPOSITE": Way(((200, 200.5, 198, 199), (198.2, 199, 190, 190)), [(1, 198.2)], 0.9, 0.6, 0.80045, "WIN", 2 / 3, 1 / 6, told=OPPOSITE),
    "MANUAL": Way((FIRST, (198, 199, 190, 190)), [(0.3, 197), (0.7, 198)], 1.15, 2.3 / 3, 1.050575, "WIN", 3.1 / 3, 1 / 6, told=MANUAL),
    "LIQ": Way(((200, 204, 199, 203), (221, 222, 190, 200)), [(1, 220)], -10.0, -1.25, -10.105, "LOSS", 1 / 16, 1.25, stop=216.0),
    "END": Way((FIRST,), [(0.3, 197), (0.7, 197.5)], 1.325, 2.65 / 3, 1.2256625, "WIN", 3.1 / 3, 1 / 6),
}


def lived(way: Way, side: int = -1) -> list[Ladder]:
    "Every ladder on the way; a long sees the prices mirrored at 200."
    def seen(price: float) -> float: return price if side < 0 else 400.0 - price
    story = [Ladder.of(side, 200.0, seen(way.stop), 2.0, way.preset, t1=way.t1, rules=PLAIN, liquidation=seen(219.0),
                       bankruptcy=seen(220.0))]
    for k, row in enumerate(way.rows):
        o, h, low, c = (seen(float(x)) for x in row)
        bar = Bar(k * way.length, (k + 1) * way.length, o, max(h, low), min(h, low), c, 1.0)
        story.append(story[-1].update(bar)[0])
        if k == 0 and way.told: story[-1] = story[-1].leave(way.told)
        if k == 0 and way.protect: story[-1] = story[-1].protect(seen(way.protect))
    if story[-1].state < CLOSED: story.append(story[-1].finish(seen(197.5), story[-1].times.last))
    return story


def outcome(name: str, side: int = -1) -> Outcome: return result(lived(WAYS[name], side)[-1])


@pytest.mark.parametrize("name", WAYS)
def test_each_end_to_the_last_figure(name: str) -> None:
    way, o = WAYS[name], outcome(name)
    assert (o.exit_type, o.result, o.state, o.marked) == (name, way.called, "CLOSED", name == "END")
    assert [(leg.weight, leg.price) for leg in o.legs] == [(pytest.approx(w), pytest.approx(x)) for w, x in way.legs]
    assert sum(leg.weight for leg in o.legs) == pytest.approx(1.0)
    assert (o.gross_percent, o.gross_r, o.net_percent) == (pytest.approx(way.gross), pytest.approx(way.r), pytest.approx(way.net))
    assert o.roi(10) == pytest.approx(10 * way.gross) and (o.mfe_r, o.mae_r) == pytest.approx((way.mfe, way.mae))
    assert o.bars == len(way.rows) and o.exit_time in (way.length * len(way.rows), way.length * (len(way.rows) - 1))


@pytest.mark.parametrize("name", WAYS)
def test_a_long_on_mirrored_prices_ends_alike(name: str) -> None:
    short, long = outcome(name), outcome(name, 1)
    assert (long.exit_type, long.result, long.bars, long.exit_time) == (short.exit_type, short.result, short.bars, short.exit_time)
    assert (long.gross_r, long.mfe_r, long.mae_r) == pytest.approx((short.gross_r, short.mfe_r, short.mae_r), abs=1e-9)


def test_the_ways_are_all_that_there_are() -> None:
    "An entry that a jump called off is the only other reason, and it never was a trade."
    assert set(WAYS) | {"GAP_THROUGH_STOP"} == set(EXITS[1:])
    off, code = Ladder.of(-1, 200.0, 203.0, 2.0, rules=PLAIN).update(Bar(0, QUARTER, 202.5, 202.6, 201.0, 202.0, 1.0))
    assert off.state == CANCELLED and EXITS[off.reason] == "GAP_THROUGH_STOP" and code == CALLED_OFF
    with pytest.raises(ValueError, match="never had an entry"): result(off)


@pytest.mark.parametrize("name", WAYS)
def test_the_stop_never_loosens_and_the_story_ends_once(name: str) -> None:
    story = lived(WAYS[name])
    stops = [x.levels.stop for x in story]
    assert stops == sorted(stops, reverse=True) and [x.state == CLOSED for x in story].index(True) == len(story) - 1
    told = changes(story[-2], story[-1])
    last = told[-1]
    kind = "stop" if name in STOPS else name.lower() if name in ("TP1", "TP2", "TP3") else "exit"
    assert last.kind == kind and last.detail["exit_type"] == name and last.price == pytest.approx(WAYS[name].legs[-1][1])
    if name != "END":
        bar = Bar(99 * DAY, 100 * DAY, 1.0, 900.0, 0.5, 1.0, 1.0)
        assert story[-1].update(bar, 5.0, 5.0) == (story[-1], 0)


def test_the_venue_is_asked_to_leave_one_close_ahead() -> None:
    for name in ("TIME", "TP2_TIME", "OPPOSITE", "MANUAL"):
        story = lived(WAYS[name])
        assert EXITS[story[-2].leaving] == name and story[-1].leaving == 0 and EXITS[story[-1].reason] == name


def test_each_end_is_counted_under_its_name() -> None:
    rows = [finished(outcome(name), "toy", f"C{k}") for k, name in enumerate(WAYS)]
    whole = performance(rows)
    assert {name: f.n for name, f in whole.by("exit").items()} == dict.fromkeys(sorted(WAYS), 1)
    f = whole.figures()
    assert (f.n, f.wins, f.losses, f.breakevens) == (14, 10, 3, 1) and f.trailing_stop_count == 1
    assert f.gross_r == pytest.approx(sum(way.r for way in WAYS.values())) and f.bars == sum(len(way.rows) for way in WAYS.values())


def test_the_last_bar_says_that_it_was_the_last() -> None:
    for name in set(WAYS) - {"END"}:
        way = WAYS[name]
        ladder = lived(way)[-2]
        o, h, low, c = map(float, way.rows[-1])
        k = len(way.rows) - 1
        assert ladder.update(Bar(k * way.length, (k + 1) * way.length, o, h, low, c, 1.0))[1] & EXITED, name
