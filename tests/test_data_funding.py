"Settlements: checked at the door, joined to bars at the instant, flagged where they are missing."
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import Bars, DataError
from perps_kit.core.clock import HOUR, MINUTE
from perps_kit.data.funding import Funding, missing_settlements, settlements
from perps_kit.data.sample import sample_bars, sample_funding

MIDNIGHT = 1_790_035_200_000


def bars_of(minutes: int, n: int, start: int = MIDNIGHT) -> Bars:
    price = 100.0 + np.arange(n)
    return Bars.from_columns("BTCUSDT", minutes, start + minutes * MINUTE * np.arange(n), price, price + 1, price - 1, price, np.ones(n))


@pytest.mark.parametrize(("time", "rate", "mark"), [([0, 0], [0.1, 0.1], [1, 1]), ([8, 0], [0.0, 0.0], [1, 1]), ([0], [np.nan], [1]),
                                                    ([0], [0.5], [1]), ([0], [0.0], [0])])
def test_unbelievable_settlements_are_refused(time: list, rate: list, mark: list) -> None:
    with pytest.raises(DataError, match="funding"): Funding.of("BTCUSDT", MIDNIGHT + HOUR * np.array(time), rate, mark)


def test_late_stamps_are_rounded_to_the_minute() -> None:
    assert Funding.of("BTCUSDT", [MIDNIGHT + 41, MIDNIGHT + 8 * HOUR - 3], [0.0, 0.0]).time.tolist() == [MIDNIGHT, MIDNIGHT + 8 * HOUR]


@given(st.sampled_from([15, 60, 240, 480, 1440]), st.integers(0, 95))
def test_what_is_paid_is_the_same_on_every_timeframe(minutes: int, shift: int) -> None:
    start = MIDNIGHT + shift * 15 * MINUTE // (minutes * MINUTE) * minutes * MINUTE
    n = 3 * 1440 // minutes
    grid = np.arange(MIDNIGHT, MIDNIGHT + 8 * 24 * HOUR, 8 * HOUR)
    funding = Funding.of("BTCUSDT", grid, np.arange(len(grid)) * 1e-5, 100.0 + np.arange(len(grid)))
    paid = settlements(bars_of(minutes, n, start), funding)
    held = (funding.time >= start) & (funding.time < start + n * minutes * MINUTE)
    assert np.isclose(paid.at_open.sum() + paid.inside.sum(), (funding.rate * funding.mark)[held].sum(), rtol=1e-12)
    assert not paid.missing.any() and (minutes > 480 or not paid.inside.any())


def test_missing_settlements_are_flagged_and_cost_nothing() -> None:
    funding = sample_funding("BTCUSDT")
    bars = sample_bars("BTCUSDT")
    holed = funding[np.arange(len(funding)) != 7]
    paid = settlements(bars, holed)
    assert missing_settlements(holed, int(bars.open_time[0]), int(bars.close_time[-1])).tolist() == [funding.time[7]]
    assert np.flatnonzero(paid.missing).tolist() == [7 * 32] and paid.at_open[7 * 32] == 0
    assert int(settlements(bars, None).missing.sum()) == 600


def test_an_unknown_mark_is_the_bars_open() -> None:
    paid = settlements(bars_of(15, 40), Funding.of("BTCUSDT", [MIDNIGHT, MIDNIGHT + 8 * HOUR], [0.001, 0.001]))
    assert paid.at_open[0] == 100.0 * 0.001 and paid.at_open[32] == 132.0 * 0.001


def test_bars_across_a_hole_take_no_settlement_of_the_hole() -> None:
    bars = bars_of(15, 64)
    holed = bars[np.r_[0:30, 40:64]]
    paid = settlements(holed, Funding.of("BTCUSDT", [MIDNIGHT, MIDNIGHT + 8 * HOUR], [0.001, 0.001]))
    assert np.count_nonzero(paid.at_open) == 1 and not paid.inside.any()
