"What was known of a slow series at a time: the same from arrays and step by step, never early, never stale (quant_spec 0.2, A16)."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import DataError
from perps_kit.data.asof import AsOf, as_of

PERIOD = 10
times = st.lists(st.integers(0, 120), max_size=15, unique=True).map(sorted)


@settings(max_examples=300, deadline=None)
@given(times, st.lists(st.integers(0, 150), max_size=30).map(sorted), st.data())
def test_arrays_and_steps_agree_with_a_search_by_hand(known, asked, data):
    values = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(known), max_size=len(known)))
    by_array = as_of(np.array(known, np.int64), np.array(values), np.array(asked, np.int64), PERIOD)
    state, waiting, by_step = AsOf(PERIOD), list(zip(known, values)), []
    for time in asked:
        while waiting and waiting[0][0] <= time: state = state.told(*waiting.pop(0))
        by_step.append(state.at(time))
    newest_first = list(zip(known, values))[::-1]
    expected = np.array([next((v for k, v in newest_first if time - 2 * PERIOD <= k <= time), np.nan) for time in asked])
    assert np.array_equal(by_array, expected, equal_nan=True) and np.array_equal(np.array(by_step), expected, equal_nan=True)


@pytest.mark.parametrize("known", [[3, 3], [3, 2], [1, 5, 4]])
def test_disorder_is_refused_with_its_row(known):
    with pytest.raises(DataError, match=f"row {len(known) - 1}, known at .*out of order or repeated"):
        as_of(np.array(known), np.zeros(len(known)), np.array([9]), PERIOD)
    state = AsOf(PERIOD)
    with pytest.raises(DataError, match="out of order or repeated"):
        for time in known: state = state.told(time, 0.0)


def test_rows_of_different_number_are_refused():
    with pytest.raises(DataError, match="2 times and 3 values"): as_of(np.array([1, 2]), np.zeros(3), np.array([9]), PERIOD)


def test_a_value_cannot_be_asked_for_before_it_was_known():
    with pytest.raises(DataError, match="look ahead"): AsOf(PERIOD).told(50, 1.0).at(49)
