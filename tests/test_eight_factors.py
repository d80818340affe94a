"The eight-factor engine against exact fractions, and every edge from both sides."
import random
from fractions import Fraction as F
from math import inf, isnan, nan, sqrt, tanh

import pytest

from perps_kit.core.bar import DataError
from perps_kit.core.registry import scorers
from perps_kit.strategies.eight_factors import PRESETS, WEIGHTS, EightFactors, EightFacts, Factors, factors_of, momentum_of, weighed

ENGINE = EightFactors()
EVEN = Factors(*[50.0] * 8)
WHOLE = dict(long_liquidated="9000000", short_liquidated="3000000", liquidated_median="8000000", funding="0.0003", long_share="62",
             top_long_share="57", open_interest_24h="0.06", return_24h="0.02", social="70", fear_greed="22")


def clip(x, a, b): return min(max(x, a), b)


def oracle(facts: dict[str, str]) -> dict[str, F]:
    "The rational factors of the table, by exact arithmetic over the decimals as written."
    f = {name: F(text) for name, text in facts.items()}
    total = f["long_liquidated"] + f["short_liquidated"]
    unusual = clip((total / f["liquidated_median"] - F(1, 2)) / F(3, 2), 0, 1)
    r, g = (f["return_24h"] > 0) - (f["return_24h"] < 0), clip(abs(f["open_interest_24h"]) / F(1, 10), 0, 1)
    v = f["fear_greed"]
    return dict(
        liquidations=50 + 30 * (f["long_liquidated"] - f["short_liquidated"]) / total * unusual if total else F(50),
        funding=50 - 40 * clip(f["funding"] / F(1, 1000), -1, 1),
        long_short=50 - 40 * clip((f["long_share"] - 50) / 15, -1, 1),
        smart_money=50 + 40 * clip((f["top_long_share"] - 50) / 15, -1, 1),
        open_interest=50 + 30 * r * g if f["open_interest_24h"] > 0 else 50 - 10 * r * g,
        social=50 + F(6, 10) * (f["social"] - 50),
        fear_greed=50 + F(12, 10) * (25 - v) if v <= 25 else 50 - F(12, 10) * (v - 75) if v >= 75 else F(50))


def facts_from(texts: dict[str, str], **more: float) -> EightFacts:
    return EightFacts(**{name: float(text) for name, text in texts.items()})._replace(**more)


def made_up(rng: random.Random) -> dict[str, str]:
    "Decimals within and beyond every clip; ends are drawn on purpose."
    def pick(low: int, high: int, digits: int, *ends: str) -> str:
        return rng.choice(ends) if ends and rng.random() < 0.3 else f"{rng.randint(low, high) / 10 ** digits:.{digits}f}"
    return dict(
        long_liquidated=pick(0, 10 ** 7, 0, "0"), short_liquidated=pick(0, 10 ** 7, 0, "0"), liquidated_median=pick(1, 10 ** 7, 0),
        funding=pick(-20, 20, 4, "0.001", "-0.001", "0"),
        long_share=pick(0, 1000, 1, "35", "50", "65"), top_long_share=pick(0, 1000, 1, "35", "50", "65"),
        open_interest_24h=pick(-300, 300, 3, "0", "0.1", "-0.1"), return_24h=pick(-200, 200, 3, "0"), social=pick(0, 100, 0, "50"),
        fear_greed=pick(0, 100, 0, "25", "75"))


@pytest.mark.parametrize("seed", range(300))
def test_rational_factors_are_those_of_exact_arithmetic(seed):
    texts = made_up(random.Random(seed))
    exact, seen = oracle(texts), factors_of(facts_from(texts))
    for name, value in exact.items(): assert getattr(seen, name) == pytest.approx(float(value), abs=1e-11), name


@pytest.mark.parametrize("seed", range(300))
def test_the_score_is_the_exact_weighted_sum_and_so_is_its_side(seed):
    rng = random.Random(seed)
    tenths = [rng.choice((None, rng.randint(100, 900))) if rng.random() < 0.4 else rng.randint(100, 900) for _ in WEIGHTS]
    exact = sum(F(w) * (50 if t is None else F(t, 10)) for w, t in zip(map(int, WEIGHTS), tenths, strict=True)) / 100
    known = F(sum(int(w) for w, t in zip(WEIGHTS, tenths, strict=True) if t is not None), 100)
    said = ENGINE.judged(Factors(*(nan if t is None else t / 10 for t in tenths)))
    side = 0 if tenths[2] is None or known < F(6, 10) else 1 if exact >= 58 else -1 if exact <= 42 else 0
    assert said.side == side and said.recommendation == {1: "LONG", -1: "SHORT", 0: "NEUTRAL"}[side]
    assert said.composite == float(exact) and said.coverage == float(known) and said.score == float(100 - exact if side < 0 else exact)
    assert said.confidence == pytest.approx(float(min(F(1), abs(exact - 50) / 25) * known), abs=1e-12)
    moved = [abs(int(w) * ((50 if t is None else F(t, 10)) - 50)) for w, t in zip(WEIGHTS, tenths, strict=True)]
    assert said.top == tuple(Factors._fields[i] for i in sorted(range(8), key=lambda i: (-moved[i], i))[:3])


def test_the_vector_of_the_specification():
    said = ENGINE.judged(EVEN._replace(momentum=90.0, funding=30.0))
    assert (said.score, said.recommendation, said.side, said.coverage) == (54.4, "NEUTRAL", 0, 1.0)
    assert said.confidence == pytest.approx(4.4 / 25) and said.top == ("momentum", "funding", "liquidations")


def test_the_vector_can_be_reached_from_facts():
    even = dict(long_liquidated="1", short_liquidated="1", long_share="50", top_long_share="50", open_interest_24h="0")
    even |= dict(social="50", fear_greed="50")
    rising = dict(return_15m=9.0, return_1h=9.0, return_4h=9.0, return_24h=9.0, hourly_sd=0.001)
    facts = facts_from(WHOLE | even | dict(funding="0.0005"), **rising)
    assert factors_of(facts) == EVEN._replace(momentum=90.0, funding=30.0) and ENGINE.score(facts).score == 54.4


def test_momentum_weighs_four_returns_in_standard_deviations():
    facts = EightFacts(return_15m=0.001, return_1h=-0.004, return_4h=0.011, return_24h=0.02, hourly_sd=0.006)
    z = [0.001 / 0.003, -0.004 / 0.006, 0.011 / 0.012, 0.02 / (0.006 * sqrt(24))]
    assert momentum_of(facts) == pytest.approx(50 + 40 * tanh(0.2 * z[0] + 0.3 * z[1] + 0.3 * z[2] + 0.2 * z[3]), abs=1e-12)
    assert momentum_of(facts._replace(return_15m=0.0, return_1h=0.0, return_4h=0.0, return_24h=0.0)) == 50.0


@pytest.mark.parametrize("field", ["return_15m", "return_1h", "return_4h", "return_24h", "hourly_sd"])
def test_momentum_needs_all_of_its_inputs(field):
    facts = EightFacts(return_15m=0.001, return_1h=0.001, return_4h=0.001, return_24h=0.001, hourly_sd=0.006)
    assert isnan(momentum_of(facts._replace(**{field: nan}))) and not isnan(momentum_of(facts))


def test_a_market_that_never_moved_has_no_momentum():
    assert isnan(momentum_of(EightFacts(return_15m=0.0, return_1h=0.0, return_4h=0.0, return_24h=0.0, hourly_sd=0.0)))


def test_momentum_mirrors():
    up = EightFacts(return_15m=0.002, return_1h=0.003, return_4h=-0.001, return_24h=0.02, hourly_sd=0.005)
    down = up._replace(return_15m=-0.002, return_1h=-0.003, return_4h=0.001, return_24h=-0.02)
    assert momentum_of(up) + momentum_of(down) == pytest.approx(100.0, abs=1e-12)


@pytest.mark.parametrize(("preset", "high", "low"), [("standard", 58, 42), ("strict", 62, 38), ("loose", 54, 46)])
def test_thresholds_belong_to_the_side_and_a_hair_inside_is_neutral(preset, high, low):
    engine = PRESETS[preset]
    for edge, side in ((high, 1), (low, -1)):
        momentum = 50.0 + 5.0 * (edge - 50)         # weight 20: five points of momentum are one of the score
        assert engine.judged(EVEN._replace(momentum=momentum)).composite == edge
        assert engine.judged(EVEN._replace(momentum=momentum)).side == side
        assert engine.judged(EVEN._replace(momentum=momentum - side * 0.001)).side == 0
        assert engine.judged(EVEN._replace(momentum=momentum + side * 0.001)).side == side


def test_presets_nest():
    assert (PRESETS["standard"].high, PRESETS["standard"].low) == (58.0, 42.0) and PRESETS["standard"] == ENGINE


@pytest.mark.parametrize("tenths", [(549, 659, 609, 523, 526, 565, 630, 544), (533, 640, 634, 532, 581, 558, 506, 558)])
def test_noise_in_the_last_digit_does_not_move_a_score_off_its_threshold(tenths):
    assert sum(int(w) * t for w, t in zip(WEIGHTS, tenths, strict=True)) == 58000                       # exactly 58
    assert sum(w * (t / 10) for w, t in zip(WEIGHTS, tenths, strict=True)) / 100.0 < 58.0               # but not in plain floats
    said, mirrored = ENGINE.judged(Factors(*(t / 10 for t in tenths))), ENGINE.judged(Factors(*((1000 - t) / 10 for t in tenths)))
    assert (said.composite, said.side) == (58.0, 1) and (mirrored.composite, mirrored.side) == (42.0, -1)


def test_a_missing_factor_is_fifty_and_lowers_the_coverage():
    said = ENGINE.judged(EVEN._replace(momentum=90.0, social=nan, fear_greed=nan))
    assert (said.score, said.coverage, said.missing) == (58.0, 0.9, ("social", "fear_greed")) and said.side == 1
    assert said.factors.social == 50.0 and said.confidence == pytest.approx(8 / 25 * 0.9)


def test_coverage_of_sixty_percent_is_enough_and_less_is_not():
    known = Factors(90.0, nan, 90.0, 90.0, nan, 90.0, nan, nan)         # 20 + 20 + 12 + 8
    assert ENGINE.judged(known).coverage == 0.6 and ENGINE.judged(known).side == 1
    fewer = Factors(90.0, nan, 90.0, 90.0, nan, nan, 90.0, nan)         # 57
    assert ENGINE.judged(fewer).coverage == 0.57 and ENGINE.judged(fewer).score > 58.0 and ENGINE.judged(fewer).side == 0
    assert "57%" in ENGINE.judged(fewer).reasons[0]


def test_without_momentum_there_is_no_side():
    said = ENGINE.judged(Factors(*[90.0] * 8)._replace(momentum=nan))
    assert said.coverage == 0.8 and said.score > 58.0 and said.side == 0 and said.reasons[0] == "Momentum is not known."


def test_confidence_is_full_at_twenty_five_points_and_scaled_by_coverage():
    assert ENGINE.judged(Factors(*[75.0] * 8)).confidence == 1.0 and ENGINE.judged(Factors(*[90.0] * 8)).confidence == 1.0
    assert ENGINE.judged(Factors(*[25.0] * 8)).confidence == 1.0 and ENGINE.judged(EVEN).confidence == 0.0


def test_ties_of_the_top_three_go_by_the_order_of_the_table():
    assert ENGINE.judged(EVEN).top == ("liquidations", "funding", "momentum")
    assert ENGINE.judged(EVEN._replace(fear_greed=60.0, social=40.0)).top == ("social", "fear_greed", "liquidations")
    tied = EVEN._replace(smart_money=40.0, long_short=60.0, momentum=56.0)      # 1.2 points each
    assert ENGINE.judged(tied).top == ("momentum", "long_short", "smart_money")
    assert len(ENGINE.judged(EVEN).reasons) == 3


@pytest.mark.parametrize(("facts", "field", "value"), [
    (dict(long_liquidated=3.0, short_liquidated=1.0, liquidated_median=2.0), "liquidations", 65.0),     # 4 of 2: all of it
    (dict(long_liquidated=3.0, short_liquidated=1.0, liquidated_median=8.0), "liquidations", 50.0),     # half the median: none
    (dict(long_liquidated=0.0, short_liquidated=4.0, liquidated_median=1.0), "liquidations", 20.0),
    (dict(long_liquidated=0.0, short_liquidated=0.0, liquidated_median=1.0), "liquidations", 50.0),
    (dict(funding=0.001), "funding", 10.0), (dict(funding=0.002), "funding", 10.0),
    (dict(funding=-0.001), "funding", 90.0), (dict(funding=0.0), "funding", 50.0),
    (dict(long_share=65.0), "long_short", 10.0), (dict(long_share=100.0), "long_short", 10.0), (dict(long_share=35.0), "long_short", 90.0),
    (dict(top_long_share=65.0), "smart_money", 90.0), (dict(top_long_share=0.0), "smart_money", 10.0),
    (dict(open_interest_24h=0.1, return_24h=0.01), "open_interest", 80.0),
    (dict(open_interest_24h=0.1, return_24h=-0.01), "open_interest", 20.0),
    (dict(open_interest_24h=-0.1, return_24h=0.01), "open_interest", 40.0),
    (dict(open_interest_24h=-0.1, return_24h=-0.01), "open_interest", 60.0),
    (dict(open_interest_24h=0.5, return_24h=0.0), "open_interest", 50.0),
    (dict(open_interest_24h=0.0, return_24h=0.5), "open_interest", 50.0),
    (dict(social=0.0), "social", 20.0), (dict(social=100.0), "social", 80.0),
    (dict(fear_greed=0.0), "fear_greed", 80.0), (dict(fear_greed=24.0), "fear_greed", 51.2), (dict(fear_greed=25.0), "fear_greed", 50.0),
    (dict(fear_greed=26.0), "fear_greed", 50.0), (dict(fear_greed=74.0), "fear_greed", 50.0), (dict(fear_greed=75.0), "fear_greed", 50.0),
    (dict(fear_greed=76.0), "fear_greed", 48.8), (dict(fear_greed=100.0), "fear_greed", 20.0)])
def test_each_factor_at_its_ends_and_middle(facts, field, value):
    assert getattr(factors_of(EightFacts(**facts)), field) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("field", WHOLE)
def test_a_factor_needs_all_of_its_inputs(field):
    whole = facts_from(WHOLE)
    lost = [name for name in Factors._fields if isnan(getattr(factors_of(whole._replace(**{field: nan})), name)) and name != "momentum"]
    owner = dict(long_liquidated="liquidations", short_liquidated="liquidations", liquidated_median="liquidations", long_share="long_short",
                 top_long_share="smart_money", open_interest_24h="open_interest", return_24h="open_interest")
    assert lost == [owner.get(field, field)]


def test_a_median_of_zero_says_that_the_source_is_silent():
    assert isnan(factors_of(EightFacts(long_liquidated=1.0, short_liquidated=0.0, liquidated_median=0.0)).liquidations)


def test_nothing_known_is_neutral_at_fifty():
    said = ENGINE.score(EightFacts())
    assert said[:6] == ("NEUTRAL", 0, 50.0, 50.0, 0.0, 0.0) and said.missing == Factors._fields
    assert said.factors == EVEN and weighed(EVEN)[2] == Factors(*[0.0] * 8)


def test_none_is_not_known_and_whole_numbers_are_numbers():
    some = EightFacts(social=None, fear_greed=10, long_share=None)
    assert ENGINE.score(some) == ENGINE.score(EightFacts(fear_greed=10.0))


@pytest.mark.parametrize(("field", "value"), [
    ("long_share", 100.1), ("long_share", -0.1), ("funding", inf), ("funding", 1.5), ("long_liquidated", -1.0), ("return_1h", -1.1),
    ("hourly_sd", -0.1),
    ("fear_greed", 101), ("social", "70"), ("social", True), ("open_interest_24h", -inf), ("liquidated_median", inf)])
def test_facts_that_cannot_be_are_refused_by_name(field, value):
    with pytest.raises(DataError, match=field): ENGINE.score(EightFacts(**{field: value}))


def test_it_is_registered_and_deterministic():
    assert scorers()["eight_factors"] is EightFactors
    facts = facts_from(WHOLE, return_15m=0.001, return_1h=0.004, return_4h=0.011, hourly_sd=0.006)
    assert ENGINE.score(facts) == ENGINE.score(facts) and all(reason.endswith(".") for reason in ENGINE.score(facts).reasons)


def test_a_short_is_as_strong_as_the_long_it_mirrors():
    long, short = ENGINE.judged(Factors(*[72.3] * 8)), ENGINE.judged(Factors(*[27.7] * 8))
    assert (long.side, short.side) == (1, -1) and long.score == short.score == 72.3 and short.composite == 27.7
    assert long.confidence == pytest.approx(short.confidence, abs=1e-12)
