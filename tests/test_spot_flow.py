"Spot flow: weights that no exchange rules, flow, agreement and conviction against fractions, who is live, alerts and their persistence."

from fractions import Fraction
from itertools import pairwise, permutations
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import DataError
from perps_kit.core.clock import MINUTE
from perps_kit.core.registry import scorers
from perps_kit.strategies.spot_flow import EXCHANGES, Persistence, SpotFlow, SpotState, capped, flow_of, live


def state(obi=0.8, flow=0.8, change=0.01, ratio=3.0, volume=100.0, **more):
    return SpotState(obi, flow, change, ratio, volume, **more)


def all_of(**changed):
    return {name: state(**changed) for name in EXCHANGES}


def test_it_is_found_as_a_scorer():
    assert scorers()["spot_flow"] is SpotFlow and SpotFlow.cooldown == 30 * MINUTE
    assert sorted(EXCHANGES) == ["binance", "bybit", "coinbase", "kraken", "okx"]


@pytest.mark.parametrize(
    ("s", "flow"),
    [
        (state(0.5, 0.25, 0.01, 1.5), 0.4),
        (state(0.5, 0.25, 0.0, 1.5), 0.3),
        (state(0.5, 0.25, -0.01, 1.5), 0.2),
        (state(0.0, 0.0, 0.01, 3.0), 0.2),
        (state(0.0, 0.0, 0.01, 30.0), 0.2),
        (state(0.0, 0.0, 0.01, 0.0), 0.0),
        (state(1.0, 1.0, 0.01, 3.0), 1.0),
        (state(-1.0, -1.0, -0.01, 9.0), -1.0),
    ],
)
def test_the_flow_of_an_exchange_by_hand(s, flow):
    assert flow_of(s) == pytest.approx(flow, abs=1e-15) and flow_of(s._replace(obi=-s.obi, flow=-s.flow, change=-s.change)) == -flow_of(s)


def oracle_weights(shares, cap=Fraction(2, 5)):
    "Excess goes to those below the cap in proportion, until none exceeds it."
    total = sum(shares.values())
    w = {k: Fraction(x) / total for k, x in shares.items()}
    if len(w) * cap < 1:
        return w
    held = set()
    while over := {k for k in w if k not in held and w[k] > cap}:
        held |= over
        rest = sum(w[k] for k in w if k not in held)
        w = {k: cap if k in held else w[k] * (1 - cap * len(held)) / rest for k in w}
    return w


@pytest.mark.parametrize(
    ("shares", "weights"),
    [
        ((1, 1, 1, 1, 1), (0.2,) * 5),
        ((40, 15, 15, 15, 15), (0.4, 0.15, 0.15, 0.15, 0.15)),
        ((60, 10, 10, 10, 10), (0.4, 0.15, 0.15, 0.15, 0.15)),
        ((80, 10, 10), (0.4, 0.3, 0.3)),
        ((60, 30, 5, 5), (0.4, 0.4, 0.1, 0.1)),  # 30 of 100 becomes 0.45 in the first round: it is held in the second
        ((1, 1), (0.5, 0.5)),
        ((9, 1), (0.9, 0.1)),
        ((7,), (1.0,)),
    ],
)  # too few to hold a cap: shares as they are
def test_weights_by_hand(shares, weights):
    names = dict(zip("abcde", shares, strict=False))
    assert tuple(capped(names).values()) == pytest.approx(weights, abs=1e-12)


@given(st.dictionaries(st.sampled_from(EXCHANGES), st.integers(1, 10_000), min_size=1))
def test_weights_are_those_of_fractions_and_hold_the_cap(shares):
    w, exact = capped({k: float(v) for k, v in shares.items()}), oracle_weights(shares)
    assert w == pytest.approx({k: float(v) for k, v in exact.items()}, abs=1e-9) and sum(w.values()) == pytest.approx(1.0, abs=1e-9)
    if len(shares) >= 3:
        assert max(w.values()) <= 0.4 + 1e-9
    order = sorted(shares, key=shares.get)
    assert all(w[a] <= w[b] + 1e-9 for a, b in pairwise(order))  # a larger share never weighs less


def test_no_volume_has_no_weights():
    assert capped({}) == {} and capped({"a": 0.0}) == {}


def test_all_that_buy_alike_by_hand():
    s = SpotFlow().score(all_of(obi=0.5, flow=0.25, ratio=1.5))  # each flows 0.4, all agree: 100 (0.6 * 0.8 + 0.4)
    assert (s.side, s.alert, s.live) == (1, "HEAVY_BUYING", tuple(sorted(EXCHANGES)))
    assert (s.flow, s.agreement, s.score) == (pytest.approx(0.4), pytest.approx(1.0), pytest.approx(88.0)) and set(s.components) == set(
        EXCHANGES
    )


@given(
    st.lists(
        st.tuples(st.integers(-10, 10), st.integers(-10, 10), st.integers(-1, 1), st.integers(0, 60), st.integers(1, 50)),
        min_size=3,
        max_size=5,
    )
)
def test_fractions_say_the_same(rows):
    states = {
        name: state(o / 10, f / 10, float(c), r / 10, float(v)) for name, (o, f, c, r, v) in zip(sorted(EXCHANGES), rows, strict=False)
    }
    flows = {
        name: Fraction(4 * o + 4 * f, 100) + Fraction(2, 10) * c * min(Fraction(r, 30), 1)
        for name, (o, f, c, r, v) in zip(states, rows, strict=True)
    }
    flows = {k: max(Fraction(-1), min(Fraction(1), x)) for k, x in flows.items()}
    w = oracle_weights({name: row[4] for name, row in zip(states, rows, strict=True)})
    total = sum(w[k] * flows[k] for k in w)
    side = (total > 0) - (total < 0)
    agreed = sum((w[k] for k in w if flows[k] * side >= Fraction(1, 10)), Fraction(0))
    conviction = 100 * (Fraction(6, 10) * min(abs(total) * 2, Fraction(1)) + Fraction(4, 10) * agreed)
    near = (
        total == 0
        or any(abs(abs(x) - Fraction(1, 10)) < Fraction(1, 10**9) for x in flows.values())
        or abs(conviction - 70) < Fraction(1, 10**9)
    )
    s = SpotFlow().score(states)
    assert s.flow == pytest.approx(float(total), abs=1e-9)
    if not near:  # on the very edges floats may round either way
        assert s.score == pytest.approx(float(conviction), abs=1e-7) and s.side == (side if conviction >= 70 else 0)
        assert bool(s.alert) == bool(s.side) and bool(s.reason) == (not s.side)


@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-0.1, 0.1), st.floats(0, 9), st.floats(1, 1e9)), min_size=5, max_size=5
    )
)
def test_long_and_short_mirror_and_the_order_says_nothing(rows):
    states = {name: SpotState(*row) for name, row in zip(EXCHANGES, rows, strict=True)}
    s = SpotFlow().score(states)
    m = SpotFlow().score({k: x._replace(obi=-x.obi, flow=-x.flow, change=-x.change) for k, x in states.items()})
    assert (m.side, m.score, m.flow, m.agreement) == (-s.side, s.score, -s.flow, s.agreement) and 0.0 <= s.score <= 100.0 + 1e-9
    assert SpotFlow().score(dict(reversed(states.items()))) == s


def test_flows_below_a_tenth_and_against_the_sum_do_not_agree():
    states = {
        name: state(0.0, f, 0.0) for name, f in zip(EXCHANGES, (1.0, 1.0, 1.0, 0.26, 0.24), strict=True)
    }  # flows 0.4 0.4 0.4 0.104 0.096
    assert SpotFlow().score(states).agreement == pytest.approx(0.8)
    states["okx"] = state(0.0, -1.0, 0.0)
    assert SpotFlow().score(states).agreement == pytest.approx(0.8)


@pytest.mark.parametrize(("obi", "side"), [(0.63, 1), (0.62, 0)])
def test_seventy_is_asked_for(obi, side):  # flow 0.4 obi on all: 100 (1.2 * 0.4 obi + 0.4) is 70 at 0.625
    s = SpotFlow().score(all_of(obi=obi, flow=0.0, change=0.0))
    assert s.side == side and s.score == pytest.approx(48 * obi + 40) and (side or "conviction" in s.reason)


@pytest.mark.parametrize(
    "broken",
    [
        dict(obi=nan),
        dict(flow=nan),
        dict(change=nan),
        dict(ratio=nan),
        dict(volume=nan),
        dict(volume=0.0),
        dict(basis=0.0101),
        dict(basis=-0.0101),
        dict(basis=nan),
    ],
    ids=str,
)
def test_an_exchange_that_lacks_a_reading_or_a_dollar_is_not_live(broken):
    assert not live(state(**broken))


@pytest.mark.parametrize("basis", [0.0, 0.01, -0.01])
def test_one_percent_of_basis_is_still_a_dollar(basis):
    assert live(state(basis=basis))


def test_three_live_exchanges_are_needed():
    states = all_of()
    usual = dict.fromkeys(EXCHANGES, 100.0)
    for n, side in ((5, 1), (4, 1), (3, 1), (2, 0), (0, 0)):
        for dead in list(permutations(EXCHANGES, 5 - n))[:6]:
            s = SpotFlow().score(states | {name: state(obi=nan) for name in dead}, usual)
            assert s.side == side and len(s.live) == n and (side or (s.alert == "" and "live" in s.reason))


@pytest.mark.parametrize(("rest", "side"), [(100.0, 1), (101.0, 0)])
def test_six_tenths_of_the_volume_are_needed(rest, side):
    states = {name: state(volume=100.0) for name in EXCHANGES[:3]} | {name: state(obi=nan, volume=rest) for name in EXCHANGES[3:]}
    assert SpotFlow().score(states).side == side  # 300 of 500, or of 502
    usual = {name: s.volume for name, s in states.items()}
    assert SpotFlow().score({name: states[name] for name in EXCHANGES[:3]}, usual).side == side


@pytest.mark.parametrize(
    ("ratio", "sign", "alert"),
    [(2.5, 1, "VOLUME_SPIKE_BUY"), (2.49, 1, "HEAVY_BUYING"), (2.5, -1, "VOLUME_SPIKE_SELL"), (2.49, -1, "HEAVY_SELLING")],
)
def test_the_kinds_of_alert(ratio, sign, alert):
    s = SpotFlow().score({n: state(sign * 0.8, sign * 0.8, sign * 0.01, ratio, volume=64.0) for n in EXCHANGES[:4]})  # quarters: exact sums
    assert (s.side, s.alert) == (sign, alert)


def test_silence_is_no_side():
    assert SpotFlow().score(all_of(obi=0.0, flow=0.0, change=0.0)).side == 0 and SpotFlow().score({}).side == 0


@pytest.mark.parametrize("wrong", [dict(obi=1.01), dict(obi=-1.01), dict(flow=1.01), dict(flow=-1.01)], ids=str)
def test_readings_that_cannot_be_are_refused_with_their_exchange(wrong):
    with pytest.raises(DataError, match="kraken"):
        SpotFlow().score(all_of() | {"kraken": state(**wrong)})


def rows_of(*sides, needed=2):
    p, said = Persistence(needed), []
    for side in sides:
        p, full = p.check(side)
        said.append(full)
    return said


def test_an_alert_needs_two_checks_in_a_row_and_comes_once():
    assert rows_of(1, 1, 1, 1) == [False, True, False, False] and rows_of(-1, -1) == [False, True]
    assert rows_of(1, 0, 1, 1) == [False, False, False, True] and rows_of(1, -1, 1, -1) == [False] * 4
    assert rows_of(1, -1, -1, 1, 1) == [False, False, True, False, True] and rows_of(0, 0, 0) == [False] * 3
    assert rows_of(1, 1, needed=1) == [True, False] and rows_of(1, 1, 1, needed=3) == [False, False, True]


def test_persistence_is_a_value():
    p, _ = Persistence().check(1)
    assert p.check(1) == p.check(1) and p == Persistence(2, 1, 1) and Persistence(*p).check(1)[1]


def test_seventy_and_a_tenth_belong_to_those_that_pass():
    quarters = EXCHANGES[:4]  # exact sums
    s = SpotFlow().score({name: state(0.625, 0.0, 0.0) for name in quarters})
    assert (s.score, s.side) == (70.0, 1)
    assert SpotFlow().score({name: state(0.25, 0.0, 0.0) for name in quarters}).agreement == 1.0
    assert SpotFlow().score({name: state(0.2499, 0.0, 0.0) for name in quarters}).agreement == 0.0
