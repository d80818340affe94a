"The balance of a book, and the view of it that units are fed with: windows, walls, edges, age."
from fractions import Fraction
from math import inf, isnan, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.unit import ParameterError, fold
from perps_kit.data.depth import BookView, depth_view
from perps_kit.data.order_book import Book, Snapshot
from perps_kit.indicators.book_imbalance import BookImbalance, Imbalance


def book_of(bids: dict, asks: dict, limit: int = 1000, time: int = 0, received: int = 0) -> Book:
    book = Book("BTCUSDT")
    book.load(Snapshot("BTCUSDT", 1, bids, asks, time, received, limit))
    return book


def ladder(levels: int, size: float = 1.0, step: float = 0.01) -> tuple[dict, dict]:
    "Levels on either side of 100, `step` apart, alike in size."
    return tuple({100 + sign * step * k: size for k in range(1, levels + 1)} for sign in (-1, 1))


def test_by_hand():
    view = depth_view(book_of({99.0: 2.0, 98.9: 1.0}, {101.0: 3.0, 101.5: 5.0}), 30, band=0.015)
    assert view == BookView(99.0, 101.0, 0.02, 2 * 99.0 + 98.9, 3 * 101.0 + 5 * 101.5, -inf, 0.0, inf, 0.0, 30.0)


def test_half_a_percent_reaches_up_to_its_edge_and_not_beyond():
    view = depth_view(book_of({99.9: 1.0, 99.5: 10.0, 99.499: 100.0}, {100.1: 1.0, 100.5: 10.0, 100.501: 100.0}), 0)
    assert view.bids == 99.9 + 995.0 and view.asks == 100.1 + 1005.0
    empty = depth_view(book_of({90.0: 1.0}, {110.0: 1.0}), 0)
    assert (empty.bid, empty.ask, empty.bids, empty.asks, empty.bid_wall, empty.ask_wall_size) == (90.0, 110.0, 0.0, 0.0, -inf, 0.0)


def test_twenty_levels_are_counted_and_no_more():
    for levels, counted in ((19, 19), (20, 20), (21, 20), (50, 20)):
        bids, asks = ladder(levels)
        view = depth_view(book_of(bids, asks), 0)
        assert view.bids == pytest.approx(sum(sorted(bids, reverse=True)[:counted]), rel=1e-14)
        assert view.asks == pytest.approx(sum(sorted(asks)[:counted]), rel=1e-14)
    assert depth_view(book_of(*ladder(50)), 0, levels=3).bids == pytest.approx(99.99 + 99.98 + 99.97)


def test_a_wall_is_more_than_five_times_the_mean_of_its_side():
    "Five times exactly is none. Powers of two as prices make the notionals exact."
    def bids(big: float) -> dict: return {2.0**-k: 2.0**k * (big if k == 4 else 1.0) for k in range(10)}
    five, more = (depth_view(book_of(bids(big), {1.25: 1.0}), 0, band=1.0) for big in (9.0, 9.000001))
    assert five.bids == 18.0 and (five.bid_wall, five.bid_wall_size) == (-inf, 0.0)
    assert (more.bid_wall, more.bid_wall_size) == (2.0**-4, 9.000001)
    assert depth_view(book_of(bids(9.0), {1.25: 1.0}), 0, band=1.0, wall=4.9).bid_wall == 2.0**-4


def test_of_five_levels_none_can_be_a_wall_and_of_six_one_can():
    for levels, found in ((5, inf), (6, 100.03)):
        bids, asks = ladder(levels)
        asks[100.03] = 1e6
        assert depth_view(book_of(bids, asks), 0).ask_wall == found


def test_the_nearest_wall_is_given_and_one_outside_the_window_is_not():
    bids, asks = ladder(40)
    near, far = 100 + 0.01 * 9, 100 + 0.01 * 15
    asks[near], asks[far] = 50.0, 60.0
    bids[100 - 0.01 * 21] = 1e6
    view = depth_view(book_of(bids, asks), 0)
    assert (view.ask_wall, view.ask_wall_size) == (near, near * 50.0) and view.bid_wall == -inf


def test_what_a_cut_off_snapshot_does_not_show_is_not_known():
    bids, asks = ladder(20)
    assert depth_view(book_of(bids, asks, limit=20), 0).bids > 0            # the 20 levels of the window are all there
    bids, asks = ladder(19)
    cut, whole = depth_view(book_of(bids, asks, limit=19), 0), depth_view(book_of(bids, asks, limit=20), 0)
    assert cut.bid == whole.bid and all(isnan(x) for x in cut[3:9]) and not any(isnan(x) for x in whole)
    wide = depth_view(book_of({99.9: 1.0, 99.0: 1.0}, {100.1: 1.0, 101.0: 1.0}, limit=2), 0)
    assert (wide.bids, wide.asks) == (99.9, 100.1)                          # the window ends before the edge


@pytest.mark.parametrize("now, sent, came, known, age", [
    (1000, 990, 1000, True, 10.0), (3000, 1000, 1000, True, 2000.0), (3001, 1000, 1000, False, 2001.0),
    (3001, 1000, 2990, False, 2001.0), (3001, 2990, 1000, False, 2001.0), (1000, 3200, 995, True, 5.0), (999, 990, 1000, False, 9.0)],
    ids=["fresh", "just fresh", "old", "late on the way", "long here", "our clock is behind", "from the future"])
def test_an_old_book_shows_nothing_but_its_age(now, sent, came, known, age):
    view = depth_view(book_of(*ladder(5), time=sent, received=came), now)
    assert view.age == age and all(isnan(x) is not known for x in view[:9])


def test_without_a_book_or_one_of_its_sides_nothing_is_known():
    one_sided = Book("BTCUSDT")
    one_sided.load(Snapshot("BTCUSDT", 1, {99.0: 1.0}, {}, 0, 0, 10))
    for view in (depth_view(None, 5), depth_view(Book("BTCUSDT"), 5), depth_view(one_sided, 5)): assert all(isnan(x) for x in view[:9])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.integers(1, 99), st.integers(1, 50), min_size=1, max_size=60),
       st.dictionaries(st.integers(101, 199), st.integers(1, 50), min_size=1, max_size=60),
       st.sampled_from([0.05, 0.2, 0.5]), st.sampled_from([1, 5, 20]), st.sampled_from([2.0, 5.0]))
def test_views_agree_with_fractions(bids, asks, band, levels, wall):
    view = depth_view(book_of({p: float(q) for p, q in bids.items()}, {p: float(q) for p, q in asks.items()}), 0, band, levels, wall)
    mid = Fraction(max(bids) + min(asks), 2)
    for side, rows, total, price in ((-1, bids, view.bids, view.bid_wall), (1, asks, view.asks, view.ask_wall)):
        window = [p for p in sorted(rows, reverse=side < 0) if abs(p - mid) <= Fraction(band) * mid][:levels]
        assert total == sum(p * rows[p] for p in window)
        walls = [p for p in window if p * rows[p] * len(window) > wall * total]
        assert price == (walls[0] if walls else side * inf)


def run(rows: list[tuple], n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    found = fold(BookImbalance.of(n), rows)[1]
    return np.array([y.obi for y in found]), np.array([y.smooth for y in found])


def test_the_average_is_that_of_ten_snapshots():
    rng = np.random.default_rng(1)
    bids, asks = rng.lognormal(0, 1, (2, 400))
    obi, smooth = run([(99.0, 101.0, b, a, 5.0) for b, a in zip(bids.tolist(), asks.tolist(), strict=True)])
    np.testing.assert_array_equal(obi, (bids - asks) / (bids + asks))
    assert np.isnan(smooth[:9]).all() and smooth[9] == pytest.approx(obi[:10].mean(), rel=1e-12)
    theirs = pd.Series(np.r_[smooth[9], obi[10:]]).ewm(span=10, adjust=False).mean()
    np.testing.assert_allclose(smooth[9:], theirs, rtol=0, atol=1e-12)


FRESH = dict(bid=99.0, ask=101.0, bids=1.0, asks=1.0, age=0.0)
WRONG = [("bid", nan), ("ask", nan), ("bids", nan), ("asks", nan), ("age", nan), ("age", 2000.5), ("age", -1.0), ("bid", 101.5),
         ("bid", 101.0), ("bids", -1.0), ("asks", inf)]
SILENT = [dict.fromkeys(FRESH, nan), *(dict([case]) for case in WRONG)]


@pytest.mark.parametrize("row", [tuple((FRESH | wrong).values()) for wrong in SILENT])
def test_a_book_that_says_nothing_gives_nan_and_does_not_move_the_average(row):
    good = (99.0, 101.0, 3.0, 1.0, 0.0)
    obi, smooth = run([good, good, row, row, good, (99.0, 101.0, 0.0, 1.0, 0.0)], 2)
    assert np.isnan(obi[2:4]).all() and np.isnan(smooth[2:4]).all()
    assert smooth[4] == 0.5 and smooth[5] == 0.5 + (-1.0 - 0.5) * 2 / 3


def test_after_more_than_three_missing_in_a_row_the_average_begins_anew():
    good, other, none = (99.0, 101.0, 3.0, 1.0, 0.0), (99.0, 101.0, 0.0, 1.0, 0.0), (nan,) * 5
    assert run([good, good, none, none, none, other], 2)[1][-1] == 0.5 - 1.5 * 2 / 3
    anew = run([good, good, none, none, none, none, other, other, good], 2)[1]
    assert isnan(anew[6]) and anew[7] == -1.0
    apart = run([good, good, none, none, good, none, none, good], 2)[1]
    assert apart[-1] == 0.5


def test_ends_and_balance():
    assert BookImbalance.of(1).update(99.0, 101.0, 0.0, 0.0, 0.0)[1] == Imbalance(0.0, 0.0)
    assert BookImbalance.of(1).update(99.0, 101.0, 7.0, 0.0, 0.0)[1] == Imbalance(1.0, 1.0)
    assert BookImbalance.of(1).update(99.0, 101.0, 0.0, 1e-300, 2000.0)[1] == Imbalance(-1.0, -1.0)


def test_parameters_out_of_range_are_refused_by_name_and_value():
    for wrong in (dict(n=0), dict(n=2.5), dict(stale=-1.0), dict(stale=nan)):
        (name, value), = wrong.items()
        with pytest.raises(ParameterError, match=f"BookImbalance: {name} = {value} is "): BookImbalance.of(**wrong)
