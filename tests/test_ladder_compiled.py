"The compiled ladder is the plain one, to the last bit."
from math import nan

import numpy as np
import pytest

from perps_kit.core.bar import Bar
from perps_kit.core.compiled import have_numba
from perps_kit.core.unit import same_bits
from perps_kit.trackers.ladder import Ladder, within
from perps_kit.trackers.plan import CLOSED, OPPOSITE, Rules

QUARTER = 15 * 60_000


@pytest.fixture(scope="module")
def step():
    if not have_numba(): pytest.skip("numba is not installed")
    from numba import njit

    @njit
    def step(ladder, bar, funding_open, funding_inside, side):
        after, code = ladder.update(bar, funding_open, funding_inside)
        return (after.leave(OPPOSITE) if side == ladder.plan.side else after), code
    return step


def test_compiled_and_plain_agree_on_every_bar_of_random_lives(step):
    rng, ends = np.random.default_rng(7), set()
    for _ in range(1500):
        side, risk = int(rng.choice([1, -1])), float(rng.uniform(0.5, 3))
        rules = Rules(policy=int(rng.integers(2)), be_offset=float(rng.choice([0, 0.001])), patience=6, hold=5 * QUARTER,
                      gap_fill_open=bool(rng.integers(2)), from_reference=bool(rng.integers(2)))
        quantity, step_size = (0.017, 0.001) if rng.random() < 0.3 else (1.0, 0.0)
        atr, preset, tick = float(rng.uniform(0.3, 2)), int(rng.integers(4)), float(rng.choice([0, 0.01, 0.1]))
        ladder = Ladder.of(side, 100.0, 100 - side * risk, atr, preset, tick, step_size, quantity, rules=rules,
                           liquidation=100 - side * risk * 1.1 if rng.random() < 0.3 else nan)
        price = 100.0
        for k in range(40):
            first = price + rng.normal() * rng.choice([0.0, 0.1, 1.0])
            price = first + rng.normal() * 0.8
            wicks = abs(rng.normal(size=2)) * 0.4
            bar = Bar(k * QUARTER, (k + 1) * QUARTER, first, max(first, price) + wicks[0], min(first, price) - wicks[1], price, 1.0)
            bar = bar._replace(open=float(bar.open), high=float(bar.high), low=float(bar.low), close=float(bar.close))
            paid, against = float(rng.normal() * 0.01), int(rng.choice([0, 0, 0, 0, 1, -1]))
            plain, code = ladder.update(bar, paid, -paid)
            if against == side: plain = plain.leave(OPPOSITE)
            fast, fast_code = step(ladder, bar, paid, -paid, against)
            assert same_bits(plain, fast) and code == fast_code, (ladder, bar)
            ladder, price = plain, bar.close
            if ladder.state >= CLOSED: break
        ends.add(ladder.reason)
    assert len(ends) >= 11      # nearly every way to end was met


def test_finer_bars_compile_too():
    if not have_numba(): pytest.skip("numba is not installed")
    from numba import njit

    @njit
    def run(ladder, bar, highs, lows): return within(ladder, bar, highs, lows, 0.0, 0.0)
    ladder, bar = Ladder.of(1, 100.0, 98.5, 1.0), Bar(0, QUARTER, 100.0, 101.6, 98.4, 100.0, 1.0)
    highs, lows = np.array([101.6, 100.5, 99.0]), np.array([99.9, 99.0, 98.4])
    assert same_bits(run(ladder, bar, highs, lows), ladder.within(bar, highs.tolist(), lows.tolist()))
