"Accumulation and distribution: both scores against exact fractions, the verdict's edges, coverage, and which coins are looked at."
import random
from fractions import Fraction as F
from itertools import permutations
from math import inf, isnan, nan

import pytest

from perps_kit.core.bar import DataError
from perps_kit.core.registry import scorers
from perps_kit.strategies.accumulation import POINTS, Accumulation, Holding, Listed, accumulating, chosen, distributing, total

SCAN = Accumulation()
BOUGHT = Holding(taker_buys=0.60, flow=2.0, week_return=0.0, interest_change=0.15, funding=0.0, bid_walls=0.7, social=0.0)
SOLD = Holding(taker_buys=0.40, flow=-2.0, week_return=0.0, interest_change=-0.15, funding=0.0005, bid_walls=0.3, social=2.0)
OWNER = dict(taker_buys="takers", flow="flow", week_return="flat", interest_change="interest", funding="funding", bid_walls="walls",
             social="attention")


def rise(x: F, a: str, b: str) -> F: return min(max((x - F(a)) / (F(b) - F(a)), F(0)), F(1))


def oracle(h: dict[str, F | None]) -> tuple[F, F, F]:
    "Accumulation, distribution and coverage by exact arithmetic; None is not known."
    def scored(parts) -> tuple[F, F]:
        known = {OWNER[name]: part(h[name]) for name, part in parts.items() if h[name] is not None}
        most = sum(int(POINTS[name]) for name in known)
        return (100 * sum(int(POINTS[name]) * F(x) for name, x in known.items()) / most if most else F(0)), F(most, 100)
    up, there = scored(dict(
        taker_buys=lambda x: rise(x, "0.5", "0.6"), flow=lambda x: rise(x, "0", "2"),
        week_return=lambda x: 1 - rise(abs(x), "0.05", "0.20"),
        interest_change=lambda x: rise(x, "0", "0.15"), funding=lambda x: x <= F("0.0001"), bid_walls=lambda x: rise(x, "0.5", "0.7"),
        social=lambda x: 1 - rise(x, "0", "2")))
    down, _ = scored(dict(
        taker_buys=lambda x: rise(1 - x, "0.5", "0.6"), flow=lambda x: rise(-x, "0", "2"),
        week_return=lambda x: 1 - rise(-x, "0.05", "0.20"),
        interest_change=lambda x: rise(-x, "0", "0.15"), funding=lambda x: x >= F("0.0005"), bid_walls=lambda x: rise(1 - x, "0.5", "0.7"),
        social=lambda x: rise(x, "0", "2")))
    return up, down, there


def made_up(rng: random.Random, lost: float) -> dict[str, F | None]:
    ranges = dict(taker_buys=(30, 70, 100), flow=(-30, 30, 10), week_return=(-30, 30, 100), interest_change=(-20, 20, 100),
                  funding=(-3, 8, 10000), bid_walls=(20, 80, 100), social=(-10, 30, 10))
    return {name: None if rng.random() < lost else F(rng.randint(low, high), unit) for name, (low, high, unit) in ranges.items()}


def verdict(up: F, down: F, there: F) -> int:
    return 0 if there < F(6, 10) or max(up, down) < 60 or abs(up - down) < 15 else 1 if up > down else -1


@pytest.mark.parametrize("lost", [0.0, 0.25])
@pytest.mark.parametrize("seed", range(300))
def test_both_scores_and_the_verdict_are_those_of_exact_arithmetic(seed, lost):
    h = made_up(random.Random(f"{seed} {lost}"), lost)
    up, down, there = oracle(h)
    said = SCAN.score(Holding(**{name: nan if x is None else float(x) for name, x in h.items()}))
    assert (said.accumulation, said.distribution) == pytest.approx((float(up), float(down)), abs=1e-9) and said.coverage == float(there)
    if max(up, down) != 60 and abs(up - down) != 15: assert said.side == verdict(up, down, there)       # on an edge: see the faults below


def test_the_points_are_a_hundred(): assert sum(POINTS.values()) == 100.0 and set(OWNER.values()) == set(POINTS)


def test_the_clearest_of_each_has_a_hundred():
    assert SCAN.score(BOUGHT)[:3] == ("ACCUMULATION", 1, 100.0)
    assert SCAN.score(BOUGHT).distribution == 15.0                                      # a flat price speaks for both
    assert SCAN.score(SOLD)[:3] == ("DISTRIBUTION", -1, 100.0) and SCAN.score(SOLD).accumulation == 15.0


BUYING = dict(      # fact: (value, points of its part)
    taker_buys=[(0.4, 0), (0.5, 0), (0.55, 12.5), (0.6, 25), (0.9, 25)],
    flow=[(-1.0, 0), (0.0, 0), (1.0, 7.5), (2.0, 15), (5.0, 15)],
    week_return=[(0.0, 15), (0.05, 15), (-0.05, 15), (0.125, 7.5), (-0.125, 7.5), (0.2, 0), (-0.2, 0), (1.0, 0)],
    interest_change=[(-0.1, 0), (0.0, 0), (0.075, 7.5), (0.15, 15), (1.0, 15)],
    funding=[(-0.01, 10), (0.0001, 10), (0.000101, 0), (0.01, 0)],
    bid_walls=[(0.4, 0), (0.5, 0), (0.6, 5), (0.7, 10), (1.0, 10)], social=[(-3.0, 10), (0.0, 10), (1.0, 5), (2.0, 0), (9.0, 0)])
SELLING = dict(
    taker_buys=[(0.6, 0), (0.5, 0), (0.45, 12.5), (0.4, 25), (0.1, 25)],
    flow=[(1.0, 0), (0.0, 0), (-1.0, 7.5), (-2.0, 15), (-5.0, 15)],
    week_return=[(0.0, 15), (-0.05, 15), (-0.125, 7.5), (-0.2, 0), (0.05, 15), (0.2, 15), (1.0, 15)],
    interest_change=[(0.1, 0), (0.0, 0), (-0.075, 7.5), (-0.15, 15), (-1.0, 15)],
    funding=[(0.0, 0), (0.000499, 0), (0.0005, 10), (0.01, 10)],
    bid_walls=[(0.6, 0), (0.5, 0), (0.4, 5), (0.3, 10), (0.0, 10)], social=[(-3.0, 0), (0.0, 0), (1.0, 5), (2.0, 10), (9.0, 10)])


@pytest.mark.parametrize(("fact", "value", "points"), [(f, v, p) for f, steps in BUYING.items() for v, p in steps])
def test_each_part_of_accumulation_at_its_ends_and_middle(fact, value, points):
    assert accumulating(Holding(**{fact: value}))[OWNER[fact]] == pytest.approx(points, abs=1e-9)


@pytest.mark.parametrize(("fact", "value", "points"), [(f, v, p) for f, steps in SELLING.items() for v, p in steps])
def test_each_part_of_distribution_at_its_ends_and_middle(fact, value, points):
    assert distributing(Holding(**{fact: value}))[OWNER[fact]] == pytest.approx(points, abs=1e-9)


SIXTY = Holding(taker_buys=0.6, flow=2.0, week_return=1.0, interest_change=0.0, funding=0.0, bid_walls=0.7,
                social=2.0)     # 25 15 0 0 10 10 0


def test_sixty_is_enough_and_a_hair_less_is_not():
    assert SCAN.score(SIXTY).accumulation == 60.0 and SCAN.score(SIXTY).side == 1
    less = SIXTY._replace(flow=1.99)
    assert SCAN.score(less).accumulation == pytest.approx(59.925) and SCAN.score(less)[:2] == ("NEUTRAL", 0)


@pytest.mark.parametrize(("least", "lead", "side"), [(60.0, 35.0, 1), (60.1, 15.0, 0), (60.0, 35.1, 0), (0.0, 0.0, 1)])
def test_the_lead_is_inclusive(least, lead, side):
    assert SCAN.score(SIXTY).distribution == 25.0                                       # against 60
    assert Accumulation(least=least, lead=lead).score(SIXTY).side == side


def test_the_lead_is_fifteen_on_both_sides():
    known = dict(taker_buys=nan, flow=nan, week_return=0.0, interest_change=nan, funding=0.0, social=nan)
    even = Accumulation(coverage=0.0)
    assert even.score(Holding(**known | dict(funding=nan)))[:2] == ("NEUTRAL", 0)                                           # 100 each
    assert even.score(Holding(**known)).accumulation == 100.0 and even.score(Holding(**known)).distribution == 60.0
    assert even.score(Holding(**known)).side == 1 and Accumulation(coverage=0.0, lead=40.1).score(Holding(**known)).side == 0


@pytest.mark.parametrize(("fact", "part"), OWNER.items())
def test_a_missing_part_is_rescaled_and_lowers_the_coverage(fact, part):
    for facts, side in ((BOUGHT, 1), (SOLD, -1)):
        said = SCAN.score(facts._replace(**{fact: nan}))
        assert said.score == pytest.approx(100.0, abs=1e-9) and said.side == side
        assert said.coverage == pytest.approx(1.0 - POINTS[part] / 100.0) and isnan(said.components[part])


def test_a_coverage_of_sixty_percent_is_enough_and_less_is_not():
    sixty = BOUGHT._replace(flow=nan, interest_change=nan, social=nan)                      # 25 15 10 10
    assert SCAN.score(sixty).coverage == 0.6 and SCAN.score(sixty).side == 1
    less = BOUGHT._replace(taker_buys=nan, week_return=nan, social=nan)                     # 50
    assert SCAN.score(less).coverage == 0.5 and SCAN.score(less)[:3] == ("NEUTRAL", 0, 100.0)


def test_nothing_known_is_neutral():
    assert SCAN.score(Holding())[:6] == ("NEUTRAL", 0, 0.0, 0.0, 0.0, 0.0) and total({}) == (0.0, 0.0)


def test_the_components_are_those_of_the_greater_side():
    assert SCAN.score(BOUGHT).components == accumulating(BOUGHT) and SCAN.score(SOLD).components == distributing(SOLD)


@pytest.mark.parametrize(("fact", "value"), [
    ("taker_buys", 1.01), ("taker_buys", -0.01), ("bid_walls", 1.01), ("bid_walls", inf), ("week_return", -1.01),
    ("interest_change", -1.01)])
def test_facts_that_cannot_be_are_refused_by_name(fact, value):
    with pytest.raises(DataError, match=fact): SCAN.score(Holding(**{fact: value}))


COINS = [Listed("AAA", 5e6, 0.10, 3e8), Listed("BBB", 9e6, -0.05, 1e8), Listed("CCC", 5e6, 0.10, 2e8), Listed("DDD", 1e6, 0.30),
         Listed("EEE", 9e6, -0.05, 1e8)]


@pytest.mark.parametrize(("criteria", "ranked"), [
    ("volume", ["BBB", "EEE", "AAA", "CCC", "DDD"]), ("gainers", ["DDD", "AAA", "CCC", "BBB", "EEE"]),
    ("losers", ["BBB", "EEE", "AAA", "CCC", "DDD"]), ("small_cap", ["BBB", "EEE", "CCC", "AAA"])])
def test_ranks_do_not_depend_on_the_order_of_the_list_and_ties_go_by_symbol(criteria, ranked):
    assert {tuple(chosen(coins, criteria)) for coins in permutations(COINS)} == {tuple(ranked)}


def test_the_universe_is_cut_by_volume_cap_and_number():
    assert chosen(COINS, min_volume=5e6) == ["BBB", "EEE", "AAA", "CCC"] and chosen(COINS, min_volume=5e6 + 1) == ["BBB", "EEE"]
    assert chosen(COINS, max_cap=2e8) == ["BBB", "EEE", "CCC"]                           # the cap of DDD is not known
    assert chosen(COINS, max_cap=2e8 - 1) == ["BBB", "EEE"]
    assert chosen(COINS, limit=2) == ["BBB", "EEE"] and chosen(COINS, limit=0) == [] and chosen([]) == []
    assert chosen([Listed("XXX", nan, 0.0)]) == []


def test_an_unknown_criterion_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="volume, gainers, losers, small_cap"): chosen(COINS, "luck")


def test_it_is_registered(): assert scorers()["accumulation"] is Accumulation


@pytest.mark.parametrize("h", [
    dict(taker_buys="0.57", flow="0.8", week_return="-0.13", interest_change="0.13", funding="0.0001", social="1.9"),   # 60, 18.3
    dict(taker_buys="0.41", flow="2", week_return="0.03", interest_change="0.12", funding="0.0001", social="1.1")])     # 62.8, 47.8
def test_noise_in_the_last_digit_does_not_take_a_verdict_away(h):
    up, down, there = oracle({name: F(h[name]) if name in h else None for name in OWNER})
    assert verdict(up, down, there) == 1 and (up == 60 or up - down == 15)
    assert SCAN.score(Holding(**{name: float(text) for name, text in h.items()})).side == 1


def test_equal_scores_are_no_verdict():
    flat = Holding(taker_buys=0.5, flow=0.0, week_return=0.0, interest_change=0.0, funding=0.0003, bid_walls=0.5, social=1.0)
    said = Accumulation(least=0.0, lead=0.0).score(flat)
    assert said.accumulation == said.distribution == 20.0
    assert said.side == 0


@pytest.mark.parametrize("criteria", ["gainers", "losers"])
def test_a_coin_whose_return_is_not_known_does_not_disturb_the_ranks(criteria):
    coins = [Listed("AAA", 1.0, nan), Listed("BBB", 1.0, 0.1), Listed("CCC", 1.0, 0.3), Listed("DDD", 1.0, nan), Listed("EEE", 1.0, 0.2)]
    assert len({tuple(chosen(some, criteria)) for some in permutations(coins)}) == 1


@pytest.mark.parametrize("fact", ["flow", "funding", "social"])
def test_infinite_facts_are_refused(fact):
    with pytest.raises(DataError): SCAN.score(Holding(**{fact: inf}))


@pytest.mark.parametrize("value", [None, "0.5"])
def test_none_is_not_known_and_a_word_is_refused_by_name(value):
    if value is None: assert SCAN.score(BOUGHT._replace(taker_buys=None)).coverage == 0.75
    else:
        with pytest.raises(DataError): SCAN.score(BOUGHT._replace(taker_buys=value))
