"What was touched first: minutes decide where they are whole, the policy where they are not, and the account lies between both readings."

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from account_kit import told
from fixtures.candles import QUARTER
from hypothesis import given, settings
from hypothesis import strategies as st
from told import BUY, FREELY, QUIET, SELL, Told

from perps_kit.backtest.portfolio import Portfolio, portfolio
from perps_kit.core.bar import Bars
from perps_kit.core.unit import same_bits
from perps_kit.trackers.plan import TARGET_FIRST, Rules

pytestmark = pytest.mark.filterwarnings("error")

FREE = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0, fee=0.0, target_fee=0.0, patience=0)
MINUTE = 60_000


def minutes_of(*quarters: Sequence[tuple[float, float, float]]) -> Bars:
    "1m candles of quarters that are each given as fifteen (high, low, close); a price goes on where the last one ended."
    rows = [row for quarter in quarters for row in quarter]
    close = np.array([c for _, _, c in rows])
    first = np.r_[100.0, close[:-1]]
    high, low = (np.array([row[k] for row in rows]) for k in (0, 1))
    return Bars.from_columns("AUSDT", 1, MINUTE * np.arange(len(rows)), first, np.maximum(high, first), np.minimum(low, first), close,
                             np.ones(len(rows)))


def quarters_of(minutes: Bars, words: dict[int, float]) -> Bars:
    "The quarter hours that these minutes make up, with told words for volumes."
    n = len(minutes) // 15
    high, low = minutes.high.reshape(n, 15).max(1), minutes.low.reshape(n, 15).min(1)
    volume = [words.get(i, QUIET) for i in range(n)]
    return Bars.from_columns("AUSDT", 15, QUARTER * np.arange(n), minutes.open[::15], high, low, minutes.close[14::15], volume)


CALM = [(100.1, 99.9, 100.0)] * 15


def touching(*levels: float) -> list[tuple[float, float, float]]:
    "A quarter that touches these prices one after the other, a minute each, and comes back to 100."
    touches = [(max(x, 100.0), min(x, 100.0), 100.0) for x in levels]
    return [CALM[0], *touches, *CALM][:15]


def ran(bars: Bars, rules: Rules = FREE, detail: Bars | None = None, compiled: bool = False) -> Portfolio:
    inside = None if detail is None else {"AUSDT": detail}
    return portfolio({"told": Told()}, bars, pipeline=FREELY, rules=rules, compiled=compiled, detail=inside)


def three(bars: Bars, minutes: Bars) -> list[Portfolio]:
    "The pessimistic reading, the minutes, the optimistic one."
    return [ran(bars), ran(bars, detail=minutes), ran(bars, FREE._replace(policy=TARGET_FIRST))]


def made(run: Portfolio) -> tuple[str, float]:
    "How the one trade ended, and its net R."
    (trade,) = run.trades
    assert trade.outcome
    return trade.outcome.exit_type, round(trade.outcome.net_r, 9)


# A long from 100 with its stop at 98: targets of 30 % at 101.6, 40 % at 102.4, 30 % at 103; the opposite for a short.
ALL_OF_THEM = 0.3 * 0.8 + 0.4 * 1.2 + 0.3 * 1.5


@pytest.mark.parametrize(("levels", "exits", "nets"), [
    ((103.1, 97.9), ("SL", "TP3", "TP3"), (-1.0, ALL_OF_THEM, ALL_OF_THEM)),
    ((97.9, 103.1), ("SL", "SL", "TP3"), (-1.0, -1.0, ALL_OF_THEM)),
    ((101.7, 97.9), ("SL", "SL", "SL"), (-1.0, 0.3 * 0.8 - 0.7, 0.3 * 0.8 - 0.7)),
    ((101.7, 97.9, 103.1), ("SL", "SL", "TP3"), (-1.0, 0.3 * 0.8 - 0.7, ALL_OF_THEM)),
    ((101.7, 102.5, 97.9, 103.1), ("SL", "SL", "TP3"), (-1.0, 0.3 * 0.8 + 0.4 * 1.2 - 0.3, ALL_OF_THEM)),
    ((103.1,), ("TP3", "TP3", "TP3"), (ALL_OF_THEM,) * 3),
    ((97.9,), ("SL", "SL", "SL"), (-1.0,) * 3),
])
@pytest.mark.parametrize("side", [1, -1])
def test_minutes_say_what_was_touched_first(levels, exits, nets, side):
    path = touching(*(100.0 + side * (x - 100.0) for x in levels))
    minutes = minutes_of(*[CALM] * 5, path, *[CALM] * 3)
    runs = three(quarters_of(minutes, {2: BUY if side > 0 else SELL}), minutes)
    found = [made(run) for run in runs]
    assert [net for _, net in found] == pytest.approx(nets) and tuple(how for how, _ in found) == exits
    for low, high in pairwise(runs):
        assert (low.equity[:5] == high.equity[:5]).all() and (low.equity[5:] <= high.equity[5:]).all()
    assert [run.equity[-1] for run in runs] == pytest.approx([10_000.0 * (1 + 0.01 * net) for net in nets])


def both_in_one_minute() -> list[tuple[float, float, float]]:
    return [*CALM[:7], (103.1, 97.9, 100.0), *CALM[8:]]


@pytest.mark.parametrize(("policy", "how"), [(0, "SL"), (1, "TP3")])
def test_within_a_minute_the_policy_decides(policy, how):
    minutes = minutes_of(*[CALM] * 5, both_in_one_minute(), *[CALM] * 3)
    bars = quarters_of(minutes, {2: BUY})
    assert made(ran(bars, FREE._replace(policy=policy), minutes))[0] == how


@pytest.mark.parametrize("gone", [[5 * 15 + 14], [5 * 15], [5 * 15 + 3], list(range(5 * 15, 6 * 15)), list(range(9 * 15))],
                         ids=["last", "first", "inner", "quarter", "all"])
@pytest.mark.parametrize(("levels", "policy", "how"), [((103.1, 97.9), 0, "SL"), ((97.9, 103.1), 1, "TP3")])
def test_where_a_minute_is_missing_the_policy_decides(gone, levels, policy, how):
    minutes = minutes_of(*[CALM] * 5, touching(*levels), *[CALM] * 3)
    bars, rules = quarters_of(minutes, {2: BUY}), FREE._replace(policy=policy)
    assert made(ran(bars, rules, minutes))[0] != how
    assert made(ran(bars, rules, minutes[~np.isin(np.arange(len(minutes)), gone)]))[0] == how == made(ran(bars, rules))[0]


@pytest.mark.parametrize("gone", [list(range(5 * 15)), list(range(6 * 15, 9 * 15)), [0, 4 * 15, 8 * 15 + 2]])
def test_minutes_that_are_missing_elsewhere_do_not_matter(gone):
    minutes = minutes_of(*[CALM] * 5, touching(103.1, 97.9), *[CALM] * 3)
    bars = quarters_of(minutes, {2: BUY})
    assert made(ran(bars, detail=minutes[~np.isin(np.arange(len(minutes)), gone)]))[0] == "TP3"


def test_a_break_even_stop_waits_for_the_next_quarter_whatever_the_minutes_say():
    "After the first target the stop goes to the entry, at the close of its bar: the minutes after it still meet the old one."
    minutes = minutes_of(*[CALM] * 5, touching(101.7, 98.5, 99.5), [(100.0, 99.9, 100.0)] * 15, *[CALM] * 2)
    bars = quarters_of(minutes, {2: BUY})
    how, net = made(ran(bars, detail=minutes))
    assert how == "TP1_BE" and net == pytest.approx(0.3 * 0.8)


@pytest.mark.parametrize("levels", [(103.1, 97.9), (101.7, 97.9), (97.9,)])
def test_machine_code_reads_minutes_alike(levels):
    minutes = minutes_of(*[CALM] * 5, touching(*levels), *[CALM] * 3)
    fast, plain = (ran(quarters_of(minutes, {2: BUY}), Rules(), minutes, compiled) for compiled in (True, False))
    assert same_bits(fast.trades[0].ladder, plain.trades[0].ladder) and (fast.equity == plain.equity).all()


def test_published_positions_are_read_the_same_way():
    minutes = minutes_of(*[CALM] * 5, touching(103.1, 97.9), *[CALM] * 3)
    run = ran(quarters_of(minutes, {2: BUY}), detail=minutes)
    assert [t.outcome.exit_type for t in run.reference.trades if t.outcome] == ["TP3"]


@pytest.mark.parametrize("given", [told({}), replace(minutes_of(*[CALM] * 9), symbol="ZUSDT")], ids=["quarters", "another"])
def test_detail_that_is_none_is_refused(given):
    with pytest.raises(ValueError, match="1m|symbol"): ran(told({2: BUY}), detail=given)


@pytest.mark.parametrize("level", [97.9, 103.1])
def test_minutes_that_disagree_with_their_quarter_do_not_undo_it(level):
    calm = minutes_of(*[CALM] * 9)
    bars = quarters_of(minutes_of(*[CALM] * 5, touching(level), *[CALM] * 3), {2: BUY})
    assert made(ran(bars, detail=calm)) == made(ran(bars))


# --- any path


def by_hand(minutes: Bars, begin: int, side: int, order: str) -> float:
    "Net R of the position, walked minute by minute; `order`: minutes, or within a quarter stop or target first."
    entry = float(minutes.open[15 * begin])
    stop, r, rest = entry - side * 2.0, 0.0, {0.8: 0.3, 1.2: 0.4, 1.5: 0.3}
    for i in range(begin, len(minutes) // 15):
        rows = range(15 * i, 15 * i + 15)
        first = float(minutes.open[15 * i])
        if side * (first - stop) <= 0: return r + sum(rest.values()) * side * (first - entry) / 2.0
        spans = [(minutes.high[k], minutes.low[k]) for k in rows]
        if order != "minutes": spans = [(max(h for h, _ in spans), min(x for _, x in spans))]
        for high, low in spans:
            best, worst = (high, low) if side > 0 else (low, high)
            stopped = side * (worst - stop) <= 0
            if not stopped or order == "target":
                for m in [m for m in rest if side * (best - (entry + side * m * 2.0)) >= 0]: r += rest.pop(m) * m
            if not rest: return r
            if stopped: return r + sum(rest.values()) * side * (stop - entry) / 2.0
        if len(rest) < 3: stop = entry
    return r + sum(rest.values()) * side * (float(minutes.close[-1]) - entry) / 2.0


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([1, -1]))
def test_on_any_path_stop_first_is_the_least_and_target_first_the_most(seed, side):
    rng = np.random.default_rng(seed)
    close = 100.0 + np.cumsum(rng.integers(-3, 4, 15 * 9)) / 4.0        # quarters of a unit: levels are met exactly
    close[:45] = 100.0
    first = np.r_[100.0, close[:-1]]
    above, below = rng.integers(0, 3, (2, len(close))) / 4.0
    high, low = np.maximum(first, close) + above, np.minimum(first, close) - below
    minutes = Bars.from_columns("AUSDT", 1, MINUTE * np.arange(len(close)), first, high, low, close, np.ones(len(close)))
    runs = three(quarters_of(minutes, {2: BUY if side > 0 else SELL}), minutes)
    nets = [made(run)[1] for run in runs]
    assert nets == pytest.approx([by_hand(minutes, 3, side, order) for order in ("stop", "minutes", "target")])
    assert nets == sorted(nets)
