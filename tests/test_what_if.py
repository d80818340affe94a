"What a record says another exit would have made is what the candles say, or holds it between its bounds."
import warnings
from functools import cache
from math import isnan

import numpy as np
import pytest
from fixtures.candles import real
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.backtest.bridge import Single
from perps_kit.backtest.lanes import Lane, lanes
from perps_kit.backtest.run import walk
from perps_kit.core.bar import Bar
from perps_kit.core.clock import HOUR
from perps_kit.core.signal import SINGLE
from perps_kit.data.sample import sample_bars
from perps_kit.strategies.atr_momentum import AtrMomentum
from perps_kit.strategies.pullback import Pullback
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import Outcome, result
from perps_kit.trackers.performance import Finished, finished
from perps_kit.trackers.plan import CLOSED, EXITS, OPPOSITE, Rules
from perps_kit.trackers.what_if import NEAR, Range, could_be, table, what_if

PLAIN = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0)


def row(exit_type: str, gross: float, last: float, mfe: float, mae: float) -> Finished:
    return Finished("toy", "X", "", "asia", exit_type, 1, 0, HOUR, 4, gross, gross - 0.1, last, mfe, mae, 10.0)


@pytest.mark.parametrize("trade, target, stop, expected", [
    (("SL", -1.0, -1.0, 0.7, 1.0), 0.5, 1.0, (0.5, 0.5)),           # within the MFE: came first
    (("SL", -1.0, -1.0, 0.7, 1.0), 1.0, 1.0, (-1.0, -1.0)),         # stopped alike
    (("SL", -1.4, -1.4, 0.7, 1.4), 1.0, 1.0, (-1.4, -1.4)),         # jumped alike
    (("SL", -1.0, -1.0, 0.7, 1.0), 0.5, 0.5, (-0.5, 0.5)),          # which came first is not recorded
    (("SL", -1.0, -1.0, 0.7, 1.0), 1.0, 0.5, (-0.5, -0.5)),
    (("SL", -1.4, -1.4, 0.7, 1.4), 1.0, 0.5, (-1.4, -0.5)),         # the open that jumped may have met the tighter stop as well
    (("TP1_BE", 0.3, 0.0, 1.3, 0.6), 1.2, 1.0, (1.2, 1.2)),
    (("TP1_BE", 0.3, 0.0, 1.3, 0.6), 2.0, 1.0, (-1.0, 2.0)),        # still open when the record ends
    (("TP1_BE", 0.3, 0.0, 1.3, 0.2), 1.2, 0.5, (1.2, 1.2)),
    (("TP2_TRAIL", 1.86, 2.5, 3.3, 0.1), 3.0, 1.0, (3.0, 3.0)),
    (("TP2_TIME", 1.7, 2.2, 2.4, 0.1), 3.0, 1.0, (-1.0, 3.0)),      # the timer is the runner's
    (("TIME", 0.1, 0.1, 0.4, 0.3), 1.0, 1.0, (0.1, 0.1)),           # decided alike
    (("TIME", 0.6, 0.6, 0.6, 0.3), 0.5, 1.0, (0.5, 0.6)),           # the open that it left at, or the target before
    (("OPPOSITE", 0.66, 0.4, 1.2, 0.3), 1.5, 1.0, (0.4, 0.4)),      # all of it at the last price
    (("OPPOSITE", -0.7, -0.7, 0.2, 0.7), 1.5, 0.5, (-0.7, -0.5)),
    (("LIQ", -1.3, -1.3, 0.2, 1.3), 1.5, 1.0, (-1.3, -1.3)),
    (("END", 0.5, 0.4, 1.1, 0.3), 2.0, 1.0, (0.4, 0.4)),
    (("TP3", 1.17, 1.5, 1.5, 0.0), 1.5, 1.0, (1.5, 1.5)),
    (("TP3", 1.17, 1.5, 1.5, 0.0), 2.0, 1.0, (-1.0, 2.0)),
    (("TP1", 1.0, 1.0, 1.0, 0.0), 0.5, 0.5, (-0.5, 0.5)),           # the low of the bar that sold is not recorded
])
def test_one_trade_by_hand(trade: tuple, target: float, stop: float, expected: tuple[float, float]) -> None:
    assert could_be(row(*trade), target, stop) == Range(*expected)


def test_a_stop_that_slips() -> None:
    slipped = row("SL", -1.05, -1.05, 0.2, 1.05)
    assert could_be(slipped, 1.0, 0.5, slip=0.05) == (-0.55, -0.5) and could_be(slipped, 1.0, 0.5) == (-1.05, -0.5)
    assert could_be(row("TP1_BE", 0.3, 0.0, 1.3, 0.6), 2.0, slip=0.05) == (-1.05, 2.0)


@pytest.mark.parametrize("target, stop, message", [
    (0.0, 1.0, "not above 0"), (float("nan"), 1.0, "not above 0"), (1.0, 1.5, "run the backtest again"),
    (1.0, 0.0, "run the backtest again")])
def test_questions_that_no_record_answers(target: float, stop: float, message: str) -> None:
    with pytest.raises(ValueError, match=message): what_if([row("SL", -1.0, -1.0, 0.7, 1.0)], [target], [stop])


def test_means_and_text() -> None:
    rows = [row("SL", -1.0, -1.0, 0.7, 1.0), row("TP1_BE", 0.3, 0.0, 1.3, 0.6)]
    first, second = what_if(rows, (0.5, 2.0))
    assert (first.n, first.sure, first.low, first.high) == (2, 2, 0.5, 0.5) and first.net_low == pytest.approx(0.4)
    assert (second.sure, second.low, second.high) == (1, -1.0, 0.5) and second.net_high == pytest.approx(0.4)
    assert table([first, second]).splitlines()[2].split() == "2.00 1.00 2 50% -1.000 .. +0.500 -1.100 .. +0.400".split()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = what_if([], (1.0,))[0]
        assert none.n == none.sure == 0 and isnan(none.low) and isnan(none.net_high) and "nan" in table([none])


# --- against lives on made-up prices, where an open never jumps ---

def market(seed: int, n: int = 400) -> list[Bar]:
    rng, price, rows = np.random.default_rng(seed), 100.0, []
    for k in range(n):
        first, price = price, price + float(rng.normal(0.0, 0.7))
        high, low = max(first, price) + float(rng.exponential(0.3)), min(first, price) - float(rng.exponential(0.3))
        rows.append(Bar(k * HOUR, (k + 1) * HOUR, first, high, low, price, 1.0))
    return rows


def lived(bars: list[Bar], at: int, side: int, preset: int, stop: float, rules: Rules, leaves: set[int],
          t1: float = float("nan")) -> Outcome:
    "A position entered at the open of bar `at`, told to leave at some closes."
    ladder = Ladder.of(side, bars[at].open, stop, 0.8, preset, t1=t1, time=bars[at].open_time, rules=rules)
    for bar in bars[at:]:
        ladder, _ = ladder.update(bar)
        if ladder.state >= CLOSED: return result(ladder)
        if bar.close_time in leaves: ladder = ladder.leave(OPPOSITE)
    return result(ladder.finish(bars[-1].close, bars[-1].close_time))


def held_against(seed: int, side: int, preset: int, target: float, tighter: float, patience: int) -> set[str]:
    "Ten positions and their other lives, each within its bounds; how the positions ended."
    bars, kinds = market(seed), set[str]()
    rng = np.random.default_rng(seed + 1)
    # another stop is another R, and the timer measures in it
    rules = PLAIN._replace(hold=4 * HOUR, patience=patience if tighter == 1.0 else 0)
    leaves = {bars[k].close_time for k in rng.choice(len(bars), 4, replace=False).tolist()}
    for at in range(36, 400, 40):
        entry, risk = bars[at].open, 1.2
        own = finished(lived(bars, at, side, preset, entry - side * risk, rules, leaves), "toy", "X")
        other = lived(bars, at, side, SINGLE, entry - side * tighter * risk, rules, leaves, target / tighter)
        made, might = other.gross_r * tighter, could_be(own, target, tighter)
        assert might.low <= might.high and might.low - NEAR <= made <= might.high + NEAR, (own, other, might)
        kinds.add(own.exit_type)
    return kinds


@given(seed=st.integers(0, 2_000), side=st.sampled_from([1, -1]), preset=st.integers(0, 4), target=st.floats(0.2, 4.0),
       tighter=st.sampled_from([1.0, 0.8, 0.5, 0.3]), patience=st.sampled_from([0, 6]))
@settings(max_examples=250, deadline=None)
def test_another_life_lies_within_the_bounds(seed: int, side: int, preset: int, target: float, tighter: float, patience: int) -> None:
    held_against(seed, side, preset, target, tighter, patience)


def test_those_lives_end_in_every_way() -> None:
    "In every way that prices without jumps and a strategy can end one."
    kinds = set[str]().union(*(held_against(seed, 1 - seed % 2 * 2, seed % 5, 1.5, 1.0, 6) for seed in range(60)))
    assert kinds == set(EXITS[1:]) - {"LIQ", "MANUAL", "GAP_THROUGH_STOP", "BREAKEVEN"}


# --- against the backtest ---

def both(found: list[Lane], target: float, rules: Rules) -> list[tuple[Finished, Outcome]]:
    "The trades that the strategy's own exits and one target have in common."
    own = {t.id: finished(t.outcome, t.candidate.strategy, t.symbol) for t in walk(found, rules=rules).trades if t.outcome}
    other = walk(found, rules=rules, exits=Single(target)).trades
    return [(own[t.id], t.outcome) for t in other if t.outcome and t.id in own]


@cache
def found(strategy: type) -> list[Lane]:
    return lanes(strategy(), {s: sample_bars(s) for s in ("BTCUSDT", "SOLUSDT", "ARBUSDT", "SANDUSDT")})


@pytest.mark.parametrize("strategy", [Pullback, AtrMomentum])
@pytest.mark.parametrize("target", [0.4, 1.0, 1.7, 3.0])
def test_a_backtest_again_lies_within_the_bounds(strategy: type, target: float) -> None:
    pairs = both(found(strategy), target, PLAIN)
    assert len(pairs) > (150 if strategy is Pullback else 40)
    for own, other in pairs:
        might = could_be(own, target)
        assert might.low - NEAR <= other.gross_r <= might.high + NEAR, (own, other, might)


@pytest.mark.parametrize("symbol", ["BTC", "SOL"])
def test_recorded_candles_lie_within_the_bounds(symbol: str) -> None:
    one = lanes(Pullback(), real(symbol, 0, 40_000))
    for target in (0.5, 1.0, 2.0):
        pairs = both(one, target, PLAIN)
        assert len(pairs) > 60
        for own, other in pairs:
            might = could_be(own, target, slip=0.02)            # recorded opens jump a tick or two over a stop
            assert might.low - NEAR <= other.gross_r <= might.high + 0.02, (own, other, might)
