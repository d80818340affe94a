"Funding, open interest, long share and mood: A16 against pandas and by hand, on recorded settlements where they are at hand."
from math import inf, isnan, log, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.unit import fold
from perps_kit.data.files import read_funding
from perps_kit.indicators.fear_greed import MOODS, FearGreed
from perps_kit.indicators.funding_rate import FundingRate
from perps_kit.indicators.long_short_ratio import LongShortRatio
from perps_kit.indicators.open_interest import OpenInterest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "binance_usdm_15m"
HOUR = 3_600_000


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
def test_funding_agrees_with_pandas_on_recorded_settlements(symbol):
    path = DATA / f"{symbol}_USDT_USDT-1h-funding_rate.feather"
    if not path.exists(): pytest.skip("recorded settlements are not here: binance_usdm_15m of ../shared/data")
    rates = pd.Series(read_funding(path).rate)
    seen = pd.DataFrame(fold(FundingRate.of(), [(rate, 8.0) for rate in rates.tolist()])[1])
    before = rates.shift(1).rolling(90)
    z = (rates - before.mean()) / before.std(ddof=0)
    np.testing.assert_allclose(seen.z, z.where(before.std(ddof=0) > 0), rtol=1e-6, atol=1e-6)
    assert (seen.extreme == np.sign(rates).where(rates.abs() >= 0.001, 0)).all() and (seen.eight == rates).all()


@pytest.mark.parametrize(("rate", "hours", "extreme"), [
    (0.001, 8.0, 1), (0.0009999999, 8.0, 0), (-0.001, 8.0, -1), (-0.0009999999, 8.0, 0), (0.000125, 1.0, 1), (0.000124, 1.0, 0),
    (0.0005, 4.0, 1), (0.002, 16.0, 1)])
def test_funding_is_extreme_from_a_tenth_of_a_percent_in_eight_hours(rate, hours, extreme):
    assert FundingRate.of().update(rate, hours)[1].extreme == extreme


def test_a_changed_interval_is_the_same_rent():
    seen = fold(FundingRate.of(3), [(0.0008, 8.0), (0.0001, 1.0), (0.0004, 4.0), (0.0008, 8.0)])[1]
    assert [y.eight for y in seen] == [0.0008] * 4 and seen[-1].z == 0.0


def test_unknown_settlements_are_not_remembered():
    unknown = [(nan, 8.0), (0.5, 0.0), (0.5, -8.0), (0.5, nan), (inf, 8.0), (-inf, 8.0), (0.5, inf)]
    one, other = ([(0.0001, 8.0), (0.0003, 8.0), *extra, (0.0002, 8.0)] for extra in ([], unknown))
    assert fold(FundingRate.of(2), one)[0].update(0.001, 8.0)[1] == fold(FundingRate.of(2), other)[0].update(0.001, 8.0)[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(1.0, 1e9)), min_size=1, max_size=60))
def test_open_interest_compares_in_time_whatever_is_missing(readings):
    unit, known, newest = OpenInterest.of(), {}, -1
    for hour, contracts in readings:
        unit, y = unit.update(float(hour * HOUR + 60_000), contracts)
        if hour <= newest:
            assert all(isnan(x) for x in y)
            continue
        newest = hour
        expected = 100 * (contracts / known[hour - 24] - 1) if hour - 24 in known else nan
        step = log(contracts / known[hour - 1]) if hour - 1 in known else nan
        np.testing.assert_allclose((y.day, y.hour), (expected, step), rtol=1e-12, atol=1e-14)
        known[hour] = contracts


def test_open_interest_z_agrees_with_pandas():
    contracts = pd.Series(1e5 * np.exp(np.random.default_rng(2).normal(0, 0.01, 600).cumsum()))
    seen = pd.DataFrame(fold(OpenInterest.of(), [(float(i * HOUR), x) for i, x in enumerate(contracts)])[1])
    change = np.log(contracts).diff()
    before = change.shift(1).rolling(168)
    np.testing.assert_allclose(seen.z, (change - before.mean()) / before.std(ddof=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(seen.day, 100 * contracts.pct_change(24), rtol=1e-9)


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 0.0), (0.25, 20.0), (1.0, 50.0), (3.0, 75.0), (-0.1, nan), (nan, nan), (inf, nan)])
def test_long_share(ratio, share):
    np.testing.assert_equal(LongShortRatio.of().update(ratio)[1].share, share)


@pytest.mark.parametrize(("value", "mood"), [(0, 0), (24, 0), (25, 1), (44, 1), (45, 2), (55, 2), (56, 3), (75, 3), (76, 4), (100, 4)])
def test_moods_at_their_edges(value, mood):
    assert FearGreed.of().update(float(value))[1].mood == mood and len(MOODS) == 5


@pytest.mark.parametrize("value", [-1.0, 101.0, 50.5, nan])
def test_what_is_no_index_has_no_mood_and_is_not_remembered(value):
    unit, y = FearGreed.of().update(40.0)[0].update(value)
    assert all(isnan(x) for x in y) and unit.update(45.0)[1].change == 5.0


def test_readings_stamped_around_the_hour_count_for_it():
    late = [0, HOUR - 10, 2 * HOUR + 5, 3 * HOUR - 1_000, 4 * HOUR + 90_000]
    seen = fold(OpenInterest.of(), [(float(time), 100.0 + i) for i, time in enumerate(late)])[1]
    assert [y.hour for y in seen[1:]] == [pytest.approx(log((101.0 + i) / (100.0 + i))) for i in range(4)]


@pytest.mark.parametrize("contracts", [inf, nan, 0.0, -1.0])
def test_a_reading_that_is_no_number_of_contracts_is_passed_over(contracts):
    unit, y = OpenInterest.of().update(0.0, 50.0)[0].update(float(HOUR), contracts)
    assert all(isnan(x) for x in y) and unit.last == 0
