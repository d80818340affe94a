"Support and resistance: by hand, and against a slow and literal second writing."
from math import exp, inf, isnan, nan

import numpy as np
import pytest
from fixtures.candles import candle, real, walk
from fixtures.slow_zones import edges, slow_zones
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.data.look import look
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.swings import Swings
from perps_kit.indicators.volume_ratio import VolumeRatio
from perps_kit.indicators.zones import Zones, ZonesAt, ZoneView, zones_of

ORDER = {1.0: ("high",), -1.0: ("low",), 2.0: ("high", "low"), -2.0: ("low", "high")}


def inputs_of(bars, n=5) -> list[tuple]:
    "The arguments of `Zones.update` for every bar."
    swings = fold(Swings.of(n), bars)[1]
    return [(bar, atr, vr, s.kind, s.high, s.low) for bar, atr, vr, s in
            zip(bars, fold(ATR.of(14), bars)[1], fold(VolumeRatio.of(20), bars)[1], swings, strict=True)]


def slow_inputs(inputs):
    bars, atrs, ratios, *swings = zip(*inputs, strict=True)
    found = [[("resistance", high) if side == "high" else ("support", low) for side in ORDER.get(kind, ())]
             for kind, high, low in zip(*swings, strict=True)]
    return bars, atrs, ratios, found


def compare(inputs, **choices):
    unit, ours = fold(Zones.of(**choices), inputs)
    rows, zones = slow_zones(*slow_inputs(inputs), **choices)
    for i, (x, y) in enumerate(zip(ours, rows, strict=True)):
        if isnan(inputs[i][1]) or isnan(inputs[i][3]): assert all(map(isnan, x))
        else: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, err_msg=f"bar {i}")
    mine = zones_of(unit)
    assert len(mine) == len(zones)
    for a, b in zip(mine, zones, strict=True):
        low, _, high = edges(b)
        np.testing.assert_allclose((a.lower, a.upper), (low, high), rtol=1e-12)
        assert (a.role == 1) == (b["role"] == "resistance") and a.flipped == b["broken"] and a.members == len(b["members"])
        assert a.touches == len(b["touches"]) and a.rejections == sum(t["rejection"] for t in b["touches"])
        assert a.born == len(inputs) - 1 - b["born"]
    return ours


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_as_the_slow_writing_on_walks(seed):
    ours = compare(inputs_of(walk(seed, 1200)))
    assert any(x.resistance < inf for x in ours) and any(x.support > -inf for x in ours) and any(x.resistance == inf for x in ours)


@pytest.mark.parametrize("symbol, start", [("BTC", 28_000), ("SOL", 60_000)])
def test_as_the_slow_writing_on_recorded_candles(symbol, start): compare(inputs_of(real(symbol, start, 2500)))


@pytest.mark.parametrize("choices", [dict(tolerance=1.5), dict(expiry=20), dict(minimum=0.0), dict(expiry=1000, minimum=60.0)], ids=str)
def test_as_the_slow_writing_with_other_parameters(choices): compare(inputs_of(walk(5, 900), 3), **choices)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(100, 130), st.integers(0, 4), st.integers(0, 4), st.integers(0, 8),
                          st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.sampled_from([0.0] * 6 + [1.0, -1.0, 2.0, -2.0])),
                min_size=5, max_size=120))
def test_as_the_slow_writing_on_anything(cells):
    "Grid prices, so that touches at the very edge, equal distances and closes at the limit occur."
    inputs = []
    for i, (low, body, first, wick, vr, kind) in enumerate(cells):
        o, c = low + first, low + body
        high = max(o, c) + wick
        inputs.append((candle(i, o, high, low, c), 2.0, vr or nan, kind, float(high), float(low)))
    compare(inputs, expiry=40, minimum=20.0)


class Chart:
    "A hand-driven chart: ATR 1, zones of half-width 0.25, quiet bars at a price."

    def __init__(self, **choices): self.unit, self.i, self.seen = Zones.of(**choices), 0, None

    def bar(self, open, high, low, close, vr=nan, kind=0.0, pivot=nan) -> ZoneView:
        pivots = (pivot, nan) if kind > 0 else (nan, pivot)
        self.unit, self.seen = self.unit.update(candle(self.i, open, high, low, close), 1.0, vr, kind, *pivots)
        self.i += 1
        return self.seen

    def quiet(self, price, n=1):
        for _ in range(n): self.bar(price, price + 0.1, price - 0.1, price)

    def high(self, pivot, at): return self.bar(at, at + 0.1, at - 0.1, at, kind=1.0, pivot=pivot)

    def low(self, pivot, at): return self.bar(at, at + 0.1, at - 0.1, at, kind=-1.0, pivot=pivot)

    @property
    def zones(self): return zones_of(self.unit)


def test_swings_within_half_an_atr_share_a_zone():
    chart = Chart()
    chart.high(100.0, 95)
    chart.high(100.5, 95)                       # exactly 0.5 ATR from the centre: joins, centre 100.25
    chart.high(100.8, 95)                       # 0.55 from the new centre: another zone
    assert [(z.members, z.upper, z.lower) for z in chart.zones] == [(2, 100.5, 100.0), (1, pytest.approx(101.05), pytest.approx(100.55))]
    chart.low(100.6, 95)                        # 0.35 from the first, 0.2 from the second: the nearest, whatever its role
    assert [(z.members, z.role) for z in chart.zones] == [(2, 1), (2, 1)]


def test_width_grows_with_the_members_up_to_a_cap():
    chart = Chart(tolerance=3.0)
    chart.high(100.0, 95)
    assert (chart.zones[0].upper, chart.zones[0].lower) == (100.25, 99.75)
    chart.high(101.0, 95)
    assert (chart.zones[0].upper, chart.zones[0].lower) == (101.0, 100.0)
    chart.high(103.0, 95)                       # range 3, half 1.5, capped at 0.75
    centre = (100 + 101 + 103) / 3
    assert chart.zones[0].upper == pytest.approx(centre + 0.75) and chart.zones[0].lower == pytest.approx(centre - 0.75)


def test_a_touch_needs_three_bars_outside():
    chart = Chart()
    chart.high(100.0, 98)                       # zone 99.75 to 100.25; the bar that made it does not count
    chart.quiet(98, 2)
    chart.bar(99, 99.75, 98.9, 99)              # at the edge, after two bars outside
    assert chart.zones[0].touches == 0
    chart.quiet(98, 3)
    chart.bar(99, 99.75, 98.9, 99)
    assert chart.zones[0].touches == 1 and chart.zones[0].touched == 0
    chart.bar(99, 100, 98.9, 99)                # still there: not another one
    assert chart.zones[0].touches == 1 and chart.zones[0].touched == 1


@pytest.mark.parametrize("open, high, low, close, rejected", [
    (99.0, 99.75, 98.5, 99.25, True),           # from below to the very edge, wick 0.5 of 1.25, closes below
    (99.0, 99.75, 98.5, 99.26, False),          # wick too short
    (99.0, 101.0, 98.8, 99.75, False),          # long wick, but closes on the edge: not back
    (99.0, 101.0, 98.8, 99.7, True)])
def test_a_rejection_closes_back_with_a_wick(open, high, low, close, rejected):
    chart = Chart()
    chart.high(100.0, 98)
    chart.quiet(98, 3)
    chart.bar(open, high, low, close)
    assert chart.zones[0].touches == 1 and chart.zones[0].rejections == rejected
    mirror = Chart()
    mirror.low(100.0, 102)
    mirror.quiet(102, 3)
    mirror.bar(200 - open, 200 - low, 200 - high, 200 - close)
    assert mirror.zones[0].touches == 1 and mirror.zones[0].rejections == rejected


def test_strength_by_hand():
    chart = Chart()
    chart.high(100.0, 98)
    assert chart.zones[0].strength == 20.0 and chart.seen.resistance == inf
    chart.quiet(98, 3)
    assert chart.zones[0].strength == pytest.approx(20 * exp(-3 / 150))
    seen = chart.bar(98, 99.9, 97.9, 98.1, vr=1.4)               # a touch and a rejection at a ratio of 1.4
    expected = 8 + 25 / 3 + 20 + 15 * 0.5
    assert seen.resistance_strength == pytest.approx(expected) and (seen.resistance, seen.resistance_far) == (99.75, 100.25)
    chart.quiet(98, 3)
    seen = chart.bar(98, 99.9, 97.9, 99.3)                       # a touch without rejection, its ratio unknown: the mean stays 1.4
    assert seen.resistance_strength == pytest.approx(16 + 25 / 3 + 20 + 7.5)
    for _ in range(8):
        chart.quiet(98, 3)
        chart.bar(98, 99.9, 97.9, 98.1, vr=5.0)
    assert chart.zones[0].touches == 10 and chart.seen.resistance_strength == 100.0


def test_two_closes_beyond_break_a_zone_and_turn_it():
    chart = Chart(minimum=0.0)
    chart.high(100.0, 98)
    chart.quiet(98, 3)
    chart.bar(98, 99.9, 97.9, 98.1)                              # touch and rejection
    chart.bar(99, 100.6, 99, 100.5)                              # at the edge by exactly 0.25 ATR: not beyond
    chart.bar(100.5, 100.7, 100.4, 100.51)
    chart.bar(100.5, 100.7, 100.4, 100.5)                        # not in a row
    chart.bar(100.5, 100.7, 100.4, 100.6)
    assert chart.zones[0].role == 1 and chart.seen.resistance == inf, "its far edge lies below the close"
    seen = chart.bar(100.6, 100.9, 100.5, 100.8)
    zone = chart.zones[0]
    assert zone.role == -1 and zone.flipped and zone.strength == pytest.approx((8 + 25 / 3 + 20 * exp(-zone.touched / 150)) / 2)
    assert (seen.support, seen.support_far) == (100.25, 99.75)
    chart.quiet(102, 3)
    chart.bar(101, 101.1, 100.1, 100.6)                          # back from above: the touch makes it count whole
    assert not chart.zones[0].flipped and chart.zones[0].touches == 2
    chart.quiet(98, 1)
    assert chart.zones[0].role == -1
    chart.quiet(98, 1)
    assert chart.zones[0].role == 1 and chart.zones[0].flipped, "and back again"


def test_a_zone_expires_untouched():
    chart = Chart(expiry=10)
    chart.high(100.0, 98)
    chart.quiet(98, 9)
    assert len(chart.zones) == 1
    chart.quiet(98, 1)
    assert chart.zones == [] and not chart.unit.table.any()
    chart.high(100.0, 98)
    chart.quiet(98, 9)
    chart.bar(98, 99.9, 97.9, 98.1)                              # touched on the last of them
    chart.quiet(98, 9)
    assert len(chart.zones) == 1


def test_the_nearest_opposing_zone_strong_enough():
    chart = Chart()
    for pivot in (100.0, 102.0): chart.high(pivot, 95)
    chart.low(90.0, 95)
    chart.quiet(95, 3)
    chart.bar(95, 101.9, 94.9, 96, vr=2.0)                       # touches both above
    assert (chart.seen.resistance, chart.seen.resistance_far, chart.seen.support) == (99.75, 100.25, -inf)
    chart.quiet(95, 3)
    chart.bar(95, 95.1, 89.9, 94, vr=2.0)
    assert (chart.seen.support, chart.seen.support_far) == (90.25, 89.75)
    inside = chart.bar(95, 100.2, 95, 100.1)
    assert inside.resistance == 99.75, "inside a zone it is still the one in the way, and there is no room"
    above = chart.bar(100.1, 100.5, 100.0, 100.3)
    assert above.resistance == 101.75


def test_one_bar_may_bring_two_swings_in_their_order():
    for kind, roles in ((2.0, [1, -1]), (-2.0, [-1, 1])):
        unit, _ = Zones.of().update(candle(0, 100, 103, 97, 100), 1.0, nan, kind, 103.0, 97.0)
        assert [z.role for z in zones_of(unit)] == roles


def test_nothing_is_said_while_warming_up():
    bar = candle(0, 100, 101, 99, 100)
    unit, seen = Zones.of().update(bar, nan, nan, 1.0, 101.0, nan)
    assert all(map(isnan, seen)) and unit.live == 0, "a swing before the ATR is known opens nothing"
    unit, seen = unit.update(bar, 1.0, nan, nan, nan, nan)
    assert all(map(isnan, seen))
    unit, seen = unit.update(bar, 1.0, nan, 0.0, nan, nan)
    assert seen == ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)


def test_a_full_table_lets_go_of_the_zone_untouched_for_longest():
    chart = Chart(capacity=4)
    for pivot in (100.0, 110.0, 120.0, 130.0): chart.high(pivot, 95)
    chart.quiet(95, 3)
    chart.bar(95, 99.9, 94.9, 95)                                # the first one is touched
    chart.high(140.0, 95)
    assert [z.upper - 0.25 for z in chart.zones] == [100.0, 120.0, 130.0, 140.0]


def test_the_past_does_not_change_when_the_future_arrives():
    inputs = inputs_of(walk(9, 500))
    whole = fold(Zones.of(), inputs)[1]
    for k in (30, 177, 400): assert same_bits(fold(Zones.of(), inputs[:k])[1], whole[:k])


def test_stopping_anywhere_and_going_on_changes_nothing():
    inputs = inputs_of(walk(10, 400))
    whole = fold(Zones.of(), inputs)[1]
    for cut in (0, 12, 150, 333):
        half, _ = fold(Zones.of(), inputs[:cut])
        assert same_bits(fold(loads(Zones.of(), dumps(half)), inputs[cut:])[1], whole[cut:])


def levels_and_clusters(bars, rng):
    """Centres of the zones of several swings alive at the end, of scikit-learn's clusters of several swings of the last 300 bars,
    as many random levels as there are zones, and the ATR."""
    inputs = inputs_of(bars)
    unit, _ = fold(Zones.of(), inputs)
    pivots = np.array([high if side == "high" else low for *_, kind, high, low in inputs[-300:] for side in ORDER.get(kind, ())])
    atr = inputs[-1][1]
    labels = AgglomerativeClustering(n_clusters=None, distance_threshold=atr, linkage="average").fit_predict(pivots[:, None])
    clusters = np.array([pivots[labels == k].mean() for k in set(labels) if (labels == k).sum() > 1])
    ours = np.array([(z.upper + z.lower) / 2 for z in zones_of(unit) if z.members > 1])
    return ours, clusters, rng.uniform(pivots.min(), pivots.max(), (50, len(ours))), atr


def test_levels_resemble_those_of_a_clustering_with_hindsight(capsys):
    "No exact oracle: nearly every cluster that is seen in hindsight has one of our zones within half an ATR, far oftener than by chance."
    rng, seen, chance = np.random.default_rng(0), [], []
    for seed in range(11, 19):
        ours, clusters, random, atr = levels_and_clusters(walk(seed, 1500), rng)
        seen += [np.abs(ours - c).min() <= 0.5 * atr for c in clusters]
        chance += [np.abs(levels - c).min() <= 0.5 * atr for c in clusters for levels in random]
    met = f" clusters of hindsight met by a zone: {np.mean(seen):.0%} of {len(seen)}; by as many random levels: {np.mean(chance):.0%}"
    with capsys.disabled(): print(met)
    assert len(seen) >= 50 and np.mean(seen) >= 0.85 and np.mean(seen) - np.mean(chance) >= 0.2


@pytest.mark.parametrize("wrong", [dict(tolerance=0), dict(expiry=5000), dict(minimum=101), dict(capacity=2)], ids=str)
def test_senseless_parameters_are_refused_by_name(wrong):
    (name, value), = wrong.items()
    with pytest.raises(ParameterError, match=f"Zones: {name} = {value} is outside"): Zones.of(**wrong)


@pytest.mark.parametrize("price, support, resistance", [
    (100.0, 1, 0), (100.75, 1, 0), (100.75001, 0, 0), (99.25, 1, 0), (99.24999, 0, 0),      # zone 99.75 to 100.25, reach 0.5
    (104.0, 0, 0), (104.25, 0, 2), (105.75, 0, 2), (105.7501, 0, 0)])                       # zone 104.75 to 105.25
def test_zones_near_a_price(price, support, resistance):
    unit, i = ZonesAt.of(), 0

    def bar(prices, kind=0.0, pivot=nan, reference=50.0):
        nonlocal unit, i
        unit, y = unit.update(candle(i, *prices), 1.0, 1.0, kind, pivot, pivot, reference)
        i += 1
        return y

    bar((102, 102.1, 101.9, 102), -1.0, 100.0), bar((102, 102.1, 101.9, 102), 1.0, 105.0)
    for prices in ((102, 102.1, 100.2, 102), (102, 104.8, 101.9, 102), (102, 104.8, 101.9, 102)):
        for _ in range(3): bar((102, 102.1, 101.9, 102))
        bar(prices)
    y = bar((102, 102.1, 101.9, 102), reference=price)
    assert (y.support_touches, y.resistance_touches) == (support, resistance)
    assert (y.support, y.resistance) == (100.25 if support else -inf, 104.75 if resistance else inf)
    held = {z.role: z.strength for z in zones_of(unit.zones)}
    assert (y.support_strength, y.resistance_strength) == (held[-1] if support else 0.0, held[1] if resistance else 0.0)


def test_zones_near_a_price_wait_for_it():
    unit, y = ZonesAt.of().update(candle(0, 100, 101, 99, 100), 1.0, 1.0, 0.0, nan, nan, nan)
    assert all(map(isnan, y)) and unit.update(candle(1, 100, 101, 99, 100), 1.0, 1.0, 0.0, nan, nan, 100.0)[1].support == -inf
    with pytest.raises(ParameterError, match="ZonesAt: reach = -1 is outside"): ZonesAt.of(reach=-1)


def test_wired_over_candles_and_over_hours():
    bars = walk(6, 3000)
    by_hand = fold(Zones.of(), inputs_of(bars))[1]
    seen = look(bars, **Zones.wired()).zones
    np.testing.assert_array_equal(seen.resistance, [y.resistance for y in by_hand])
    assert Zones.wired()["swings"].unit.n == 5 and Zones.wired(60)["swings"].unit.n == 3
    assert np.isfinite(look(bars, **Zones.wired(60)).zones.support).any()
