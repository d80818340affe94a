"Liquidation prices: the vectors of quant_spec E4 and what must hold for every position."
from math import isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.risk.liquidation import bankruptcy_price, liquidation_price, stop_is_inside, tiers, widest_stop

TABLE = tiers([(0, 0.004), (50_000, 0.005), (250_000, 0.01)], cap=1_000_000)


@pytest.mark.parametrize("side, quantity, price", [(1, 1, 45_180.72), (-1, 1, 54_776.12), (1, 10, 45_323.23)])
def test_vectors(side, quantity, price):
    assert liquidation_price(side, quantity, 50_000, quantity * 50_000 / 10, TABLE) == pytest.approx(price, abs=0.005)


def test_the_tier_is_the_one_at_liquidation():
    assert [t.cum for t in TABLE] == pytest.approx([0, 50, 1300])
    assert liquidation_price(-1, 1, 50_000, 5_000, tiers([(0, 0.004)])) == pytest.approx(54_780.88, abs=0.005)


def test_a_position_with_enough_margin_has_none():
    assert isnan(liquidation_price(1, 1, 50_000, 50_000, TABLE)) and isnan(bankruptcy_price(1, 1, 50_000, 60_000))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([1, -1]), st.floats(0.001, 15), st.floats(1.01, 60.0))
def test_at_that_price_the_margin_left_is_the_margin_required(side, quantity, leverage):
    entry = 50_000.0
    wallet = quantity * entry / leverage
    price = liquidation_price(side, quantity, entry, wallet, TABLE)
    if isnan(price): return
    tier = next((t for t in TABLE if quantity * price <= t.cap), TABLE[-1])
    assert wallet + side * quantity * (price - entry) == pytest.approx(tier.mmr * quantity * price - tier.cum, rel=1e-9, abs=1e-6)
    assert side * (entry - price) > 0 and side * (price - bankruptcy_price(side, quantity, entry, wallet)) > 0


@given(st.sampled_from([1, -1]), st.floats(0.01, 10), st.floats(2.0, 40.0))
def test_fees_and_funding_paid_from_the_wallet_bring_it_nearer(side, quantity, leverage):
    wallet = quantity * 50_000 / leverage
    near, far = (liquidation_price(side, quantity, 50_000, w, TABLE) for w in (0.99 * wallet, wallet))
    assert isnan(far) or side * (near - far) > 0


def test_a_stop_needs_a_fifth_of_the_way_to_spare():
    assert stop_is_inside(1, 100, 92.8, 91) and not stop_is_inside(1, 100, 92.79, 91)
    assert stop_is_inside(-1, 100, 107.2, 109) and not stop_is_inside(-1, 100, 107.3, 109) and stop_is_inside(1, 100, 1, nan)
    assert widest_stop(10, 0.004) == pytest.approx(0.0768) and widest_stop(300, 0.004) == 0


@pytest.mark.parametrize("rows", [[], [(5, 0.01)], [(0, 0.004), (0, 0.005)], [(0, 1.5)]])
def test_tiers_that_make_no_table_are_refused(rows):
    with pytest.raises(ValueError): tiers(rows)


def test_positions_beyond_the_table_are_refused():
    with pytest.raises(ValueError, match="last tier"): liquidation_price(1, 100, 50_000, 1e6, TABLE)
