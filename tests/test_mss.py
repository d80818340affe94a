"MSS: every edge of every item from both sides, the phases' marks, the cap, and sums against exact fractions."
import random
from fractions import Fraction as F
from math import inf, isnan, nan

import pytest

from perps_kit.core.bar import DataError
from perps_kit.core.registry import scorers
from perps_kit.strategies.mss import MOST, PHASES, Coin, Mss, items

MSS = Mss()
BEST = Coin(fdv=5e6, age_days=3.0, supply=50.0, altrank=50.0, galaxy=75.0, sentiment=80.0, social_change=200.0,
            buy_pressure=75.0, volume_ratio=1.5, interest_change=50.0, top_ratio=2.0, funding=0.03)
EDGES = dict(       # item: (fact, [(value, points), ...]); each edge at, just below and just above it
    fdv=("fdv", [(0.0, 12), (5e6, 12), (5e6 + 1, 10), (10e6, 10), (10e6 + 1, 8), (25e6, 8), (25e6 + 1, 5), (50e6, 5), (50e6 + 1, 0)]),
    age=("age_days", [(0.0, 10), (3.0, 10), (3.01, 8), (7.0, 8), (7.01, 5), (30.0, 5), (30.01, 2), (90.0, 2), (90.01, 0)]),
    supply=("supply", [(0.0, 2), (14.99, 2), (15.0, 5), (29.99, 5), (30.0, 8), (70.0, 8), (70.01, 5), (90.0, 5), (90.01, 4), (100.0, 4)]),
    altrank=("altrank", [(1.0, 10), (50.0, 10), (51.0, 8), (100.0, 8), (101.0, 5), (200.0, 5), (201.0, 2), (500.0, 2), (501.0, 0)]),
    galaxy=("galaxy", [(100.0, 8), (75.0, 8), (74.9, 6), (65.0, 6), (64.9, 3), (50.0, 3), (49.9, 0), (0.0, 0)]),
    sentiment=("sentiment", [(0.0, 0), (50.0, 0), (65.0, 2.5), (80.0, 5), (100.0, 5)]),
    social=("social_change", [(-50.0, 0), (0.0, 0), (100.0, 3.5), (200.0, 7), (900.0, 7)]),
    interest=("interest_change", [(-20.0, 0), (0.0, 0), (25.0, 6), (50.0, 12), (300.0, 12)]),
    top=("top_ratio", [(0.0, 0), (0.99, 0), (1.0, 4), (1.19, 4), (1.2, 7), (1.49, 7), (1.5, 10), (2.145, 10), (2.5, 10),
                       (2.51, 5), (9.0, 5)]),
    funding=("funding", [(-0.5, 2), (0.0, 2), (0.0001, 5), (0.03, 5), (0.0301, 3), (0.1, 3), (0.1001, 0)]))


@pytest.mark.parametrize(("item", "fact", "value", "points"), [(i, f, v, p) for i, (f, steps) in EDGES.items() for v, p in steps])
def test_each_edge_belongs_to_the_better_class_as_written(item, fact, value, points):
    assert items(Coin(**{fact: value}))[item] == pytest.approx(points, abs=1e-12)


@pytest.mark.parametrize(("pressure", "volume", "points"), [
    (60.0, 1.5, 0.0), (59.9, 9.0, 0.0), (67.5, 1.5, 2.5), (75.0, 1.5, 5.0), (90.0, 3.0, 5.0), (75.0, 1.49, 0.0), (75.0, 0.0, 0.0)])
def test_the_volume_spike_needs_volume_and_more_than_sixty_percent_of_buying(pressure, volume, points):
    assert items(Coin(buy_pressure=pressure, volume_ratio=volume))["spike"] == pytest.approx(points, abs=1e-12)


@pytest.mark.parametrize(("interest", "top", "pressure", "points"), [
    (0.1, 1.21, 60.1, 8), (0.0, 1.21, 60.1, 5), (-1.0, 1.21, 60.1, 5), (0.1, 1.2, 60.1, 6), (0.1, 1.21, 60.0, 5), (0.0, 1.2, 60.0, 0),
    (0.1, nan, nan, 3), (nan, 1.3, nan, 2), (nan, nan, 61.0, 3)])
def test_whales_are_three_strict_signs(interest, top, pressure, points):
    assert items(Coin(interest_change=interest, top_ratio=top, buy_pressure=pressure))["whale"] == points


def test_the_best_coin_has_a_hundred_points_in_thirty_and_twice_thirty_five():
    said = MSS.score(BEST)
    assert (said.label, said.side, said.score, said.coverage, said.failed) == ("STRONG", 1, 100.0, 1.0, ())
    assert (said.discovery, said.social, said.institutional) == (30.0, 35.0, 35.0) and said.components == MOST
    assert sum(MOST.values()) == 100.0 and [sum(MOST[n] for n in names) for names in PHASES.values()] == [30.0, 35.0, 35.0]


# Every phase passes; sentiment makes the last points: 56 gives 1.0, 55.4 gives 0.9
FULL = Coin(fdv=1e6, age_days=1.0, supply=50.0, altrank=1.0, galaxy=80.0, sentiment=56.0, social_change=0.0,
            buy_pressure=50.0, volume_ratio=1.0, interest_change=25.0, top_ratio=2.0, funding=0.01)     # 30, 19, 26
LEAN = FULL._replace(fdv=50e6, age_days=90.0)                                           # 15, 19, 26
FAINT = LEAN._replace(sentiment=68.0, interest_change=0.0, top_ratio=1.0)      # 15, 21, 9: the last phase fails


@pytest.mark.parametrize(("coin", "score", "label", "failed"), [
    (FULL, 75.0, "STRONG", ()), (FULL._replace(sentiment=55.4), 74.9, "CANDIDATE", ()),
    (LEAN, 60.0, "CANDIDATE", ()), (LEAN._replace(sentiment=55.4), 59.9, "WATCH", ()),
    (FAINT, 45.0, "WATCH", ("institutional",)), (FAINT._replace(sentiment=67.4), 44.9, "NONE", ("institutional",))])
def test_labels_at_their_edges(coin, score, label, failed):
    said = MSS.score(coin)
    assert said.score == pytest.approx(score, abs=1e-9) and (said.label, said.failed) == (label, failed)
    assert said.side == (1 if label in ("STRONG", "CANDIDATE") else 0)


HALF = BEST._replace(interest_change=12.5, top_ratio=1.0)           # 3 of open interest, 4, 3 + 3 of whales, 5


@pytest.mark.parametrize(("coin", "phase", "points", "passes"), [
    (BEST._replace(fdv=50e6, age_days=90.0), "discovery", 15.0, True), (BEST._replace(age_days=90.0, supply=nan), "discovery", 14.0, False),
    (BEST._replace(galaxy=75.0, sentiment=50.0, social_change=0.0, buy_pressure=60.0), "social", 18.0, True),
    (BEST._replace(galaxy=0.0, sentiment=50.0, buy_pressure=60.0), "social", 17.0, False),
    (HALF, "institutional", 18.0, True), (HALF._replace(interest_change=12.0), "institutional", 17.88, False)])
def test_pass_marks_are_fifteen_eighteen_and_eighteen(coin, phase, points, passes):
    said = MSS.score(coin)
    assert getattr(said, phase) == pytest.approx(points, abs=1e-9) and said.failed == (() if passes else (phase,))


@pytest.mark.parametrize(("coin", "failed"), [
    (BEST._replace(age_days=90.0, supply=nan), "discovery"), (BEST._replace(galaxy=0.0, sentiment=50.0, buy_pressure=60.0), "social"),
    (BEST._replace(interest_change=0.0, top_ratio=1.0), "institutional")])
def test_a_failed_phase_caps_the_label_at_watch_and_keeps_the_points_of_the_others(coin, failed):
    said = MSS.score(coin)
    assert said.score > 75.0 and (said.label, said.side, said.failed) == ("WATCH", 0, (failed,))
    assert said.score == pytest.approx(said.discovery + said.social + said.institutional)


def test_the_cap_lifts_nothing():
    assert MSS.score(Coin()).label == "NONE" and MSS.score(Coin()).failed == tuple(PHASES)


def test_pass_marks_are_parameters():
    assert MSS.score(HALF._replace(interest_change=12.0)).label == "WATCH"
    assert Mss(institutional=17.0).score(HALF._replace(interest_change=12.0)).label == "STRONG"


@pytest.mark.parametrize(("fact", "lost"), [
    ("fdv", ["fdv"]), ("age_days", ["age"]), ("supply", ["supply"]), ("altrank", ["altrank"]), ("galaxy", ["galaxy"]),
    ("sentiment", ["sentiment"]), ("social_change", ["social"]), ("volume_ratio", ["spike"]), ("funding", ["funding"]),
    ("interest_change", ["interest"]), ("top_ratio", ["top"]), ("buy_pressure", ["spike"])])
def test_a_missing_fact_scores_nothing_and_lowers_the_coverage(fact, lost):
    said = MSS.score(BEST._replace(**{fact: nan}))
    assert [name for name, points in said.components.items() if isnan(points)] == lost
    points = sum(MOST[name] for name in lost)
    assert said.coverage == pytest.approx(1.0 - points / 100.0) and said.score <= 100.0 - points


def test_nothing_known_is_no_coverage_and_no_error():
    said = MSS.score(Coin())
    assert (said.label, said.side, said.score, said.coverage) == ("NONE", 0, 0.0, 0.0)


def test_the_universe_is_fifty_million_and_below():
    assert MSS.wants(Coin(fdv=50e6)) and not MSS.wants(Coin(fdv=50e6 + 1)) and not MSS.wants(Coin())
    assert Mss(max_fdv=60e6).wants(Coin(fdv=6e7))


def clip(x: F, a: int, b: int) -> F: return min(max(F(x), F(a)), F(b))


STEPS = dict(       # the facts' decimals with the points that quant_spec C16 gives them
    fdv=[("4000000", 12), ("5000000", 12), ("9000000", 10), ("25000000", 8), ("50000000", 5), ("60000000", 0)],
    age_days=[("3", 10), ("5", 8), ("30", 5), ("90", 2), ("91", 0)],
    supply=[("14", 2), ("15", 5), ("30", 8), ("70", 8), ("90", 5), ("95", 4)],
    altrank=[("50", 10), ("100", 8), ("200", 5), ("500", 2), ("501", 0)], galaxy=[("75", 8), ("65", 6), ("50", 3), ("49", 0)],
    top_ratio=[("0.9", 0), ("1.0", 4), ("1.2", 7), ("1.3", 7), ("1.5", 10), ("2.5", 10), ("2.6", 5)],
    funding=[("0", 2), ("0.03", 5), ("0.1", 3), ("0.2", 0)])
LINES = dict(       # in tenths
    sentiment=(400, 900), social_change=(-500, 2500), buy_pressure=(500, 800), volume_ratio=(5, 30), interest_change=(-200, 700))


@pytest.mark.parametrize("seed", range(400))
def test_points_phases_and_label_are_those_of_exact_arithmetic(seed):
    rng = random.Random(seed)
    steps = {name: rng.choice(choices) for name, choices in STEPS.items()}
    x = {name: F(rng.randint(*tenths), 10) for name, tenths in LINES.items()}
    spike = 5 * clip((x["buy_pressure"] - 60) / 15, 0, 1) if x["volume_ratio"] >= F(3, 2) else F(0)
    whale = 3 * (x["interest_change"] > 0) + 2 * (F(steps["top_ratio"][0]) > F(12, 10)) + 3 * (x["buy_pressure"] > 60)
    first = F(sum(steps[name][1] for name in ("fdv", "age_days", "supply")))
    second = steps["altrank"][1] + steps["galaxy"][1] + spike
    second += 5 * clip((x["sentiment"] - 50) / 30, 0, 1) + 7 * clip(x["social_change"] / 200, 0, 1)
    third = 12 * clip(x["interest_change"] / 50, 0, 1) + steps["top_ratio"][1] + whale + steps["funding"][1]
    total = first + second + third
    label = "STRONG" if total >= 75 else "CANDIDATE" if total >= 60 else "WATCH" if total >= 45 else "NONE"
    failed = tuple(n for n, points, mark in zip(PHASES, (first, second, third), (15, 18, 18), strict=True) if points < mark)
    if failed and label in ("STRONG", "CANDIDATE"): label = "WATCH"
    said = MSS.score(Coin(**{n: float(text) for n, (text, _) in steps.items()}, **{n: float(v) for n, v in x.items()}))
    exact = (float(first), float(second), float(third), float(total))
    assert (said.discovery, said.social, said.institutional, said.score) == pytest.approx(exact, abs=1e-9)
    assert (said.label, said.failed, said.coverage) == (label, failed, 1.0)


@pytest.mark.parametrize(("fact", "value"), [
    ("fdv", -1.0), ("fdv", inf), ("age_days", -0.1), ("supply", 100.1), ("altrank", 0.0), ("galaxy", 101.0), ("sentiment", -1.0),
    ("buy_pressure", 100.1), ("volume_ratio", -1.0), ("top_ratio", -0.1), ("social_change", -101.0), ("interest_change", -101.0)])
def test_facts_that_cannot_be_are_refused_by_name(fact, value):
    with pytest.raises(DataError, match=fact): MSS.score(Coin(**{fact: value}))


def test_noise_in_the_last_digit_does_not_fail_a_phase():
    coin = BEST._replace(galaxy=50.0, sentiment=57.0, social_change=100.0, buy_pressure=61.0)
    assert 10 + 3 + 5 * F(7, 30) + 7 * F(1, 2) + 5 * F(1, 15) == 18
    assert MSS.score(coin).failed == ()


def test_infinite_funding_is_refused():
    with pytest.raises(DataError): MSS.score(Coin(funding=inf))


@pytest.mark.parametrize("value", [None, "5"])
def test_none_is_not_known_and_a_word_is_refused_by_name(value):
    if value is None: assert MSS.score(BEST._replace(fdv=None)).coverage == pytest.approx(0.88)
    else:
        with pytest.raises(DataError): MSS.score(BEST._replace(fdv=value))


def test_it_is_registered_and_deterministic():
    assert scorers()["mss"] is Mss and str(MSS.score(BEST)) == str(MSS.score(BEST))
