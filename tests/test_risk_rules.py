"The rules of an account: sizes, caps and limits at their exact boundaries, and what must hold of whatever an account takes."

from itertools import pairwise
from math import inf, isnan, log, nan
from types import SimpleNamespace as Row

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.clock import DAY, HOUR, MINUTE, parse_time
from perps_kit.indicators.regime import EXPANSION_DOWN, EXPANSION_UP, RANGE, SQUEEZE, TREND_DOWN, TREND_UP, UNDEFINED
from perps_kit.risk.account import Account, Holding, Terms, checked
from perps_kit.risk.liquidation import TYPICAL, tiers
from perps_kit.risk.memory import OFF, Memory
from perps_kit.risk.order import Grid, Order, Scene
from perps_kit.risk.reward import reward_factor, stretched
from perps_kit.risk.rules import RULES, taken
from perps_kit.risk.sizing import quantity_for, size_multiple
from perps_kit.scoring.context import Context

NOON = parse_time("2026-10-30T12:00")
TODAY = NOON // DAY
RICH = Account.of(10_000.0)._replace(day=TODAY, day_open=10_000.0)
WISH = Order("a" * 32, "reversal", "SOLUSDT", 1, NOON, 100.0, 98.5, 72.0, (1.0, 2.0, nan))


def held(symbol="XYZUSDT", side=1, quantity=1.0, entry=100.0, risk=1.0, leverage=10, leaving=False, strategy="continuation", id="b" * 32):
    return Holding(id, strategy, symbol, side, quantity, entry, risk, leverage, leaving)


def asked(account=RICH, terms=Terms(), wish=WISH, explain=False, **scene):
    return taken(wish, Scene(account, terms, **scene), explain)


def verdict(order, gate):
    (said,) = [v for v in order.verdicts if v.gate == gate]
    return said


# --- the size


def test_the_vectors_of_the_size():
    assert round(quantity_for(100.0, 100.0, 98.5), 4) == 66.6667 and round(quantity_for(100.0, 100.0, 98.5, 0.0005), 4) == 62.5293
    assert round(asked(terms=Terms(with_fees=False)).quantity, 4) == 66.6667 and round(asked().quantity, 4) == 62.5293
    short = WISH._replace(side=-1, stop=101.5)
    assert asked(wish=short).quantity == pytest.approx(100.0 / (1.5 + 0.0005 * 201.5), rel=1e-12)
    assert asked().risk == 0.01 and asked().leverage == 10


@pytest.mark.parametrize(("entry", "stop"), [(100.0, 100.0), (0.0, 0.0), (nan, 98.0), (0.0, 1.0)])
def test_no_distance_is_no_size(entry, stop):
    with pytest.raises(ValueError, match="no distance apart"): quantity_for(100.0, entry, stop)


def test_the_caps_lower_and_say_from_what():
    tight = WISH._replace(stop=99.99)                                   # 100 / (0.01 + 0.099995): 909.13 units
    by_value, by_margin = asked(terms=Terms(most_notional=0.2, most_margin=1.0), wish=tight), asked(wish=tight)
    assert by_value.quantity == pytest.approx(200.0) and "lowered from 909.1" in verdict(by_value, "notional").reason
    assert by_margin.quantity == pytest.approx(250.0) and "lowered from 909.1" in verdict(by_margin, "margin").reason
    bound = asked(RICH._replace(holdings=(held(quantity=600.0, risk=0.01),)), wish=tight)
    assert bound.quantity == pytest.approx(0.25 * (10_000.0 - 6_000.0) * 10 / 100)      # margins that are bound already are not free
    assert not verdict(asked(), "margin").reason and not verdict(asked(), "notional").reason


def test_a_share_of_the_equity_as_margin():
    assert asked(terms=Terms(sizing="percent")).quantity == pytest.approx(0.05 * 10_000 * 10 / 100)
    near = WISH._replace(stop=99.9)
    assert asked(terms=Terms(sizing="percent", share=0.5), wish=near).quantity == pytest.approx(250.0)      # the margin cap holds here, too
    assert asked(terms=Terms(sizing="percent", share=0.5, most_notional=0.1), wish=near).quantity == pytest.approx(100.0)


GOOD, BAD = [dict(leverage=1), dict(leverage=20), dict(sizing="percent"), dict(risk=1.0), dict(open_risk=1e-9)], [
    (dict(leverage=0), "leverage 0"), (dict(leverage=21), "leverage 21"), (dict(leverage=-1), "leverage -1"),
    (dict(leverage=nan), "leverage"), (dict(sizing="kelly"), "'kelly'"), (dict(risk=0.0), "risk 0.0"), (dict(risk=1.01), "risk 1.01"),
    (dict(most_risk=nan), "most_risk nan"), (dict(share=-0.1), "share"), (dict(most_margin=1.5), "most_margin"),
    (dict(daily_loss=0.0), "daily_loss"), (dict(drawdown=2.0), "drawdown"), (dict(open_risk=0.0), "open_risk")]


@pytest.mark.parametrize("changes", GOOD)
def test_terms_that_hold(changes):
    assert checked(Terms(**changes)) == Terms(**changes)


@pytest.mark.parametrize(("changes", "told"), BAD)
def test_terms_that_do_not_hold_say_which(changes, told):
    with pytest.raises(ValueError, match=told): checked(Terms(**changes))


@pytest.mark.parametrize(("results", "size"), [
    ("", 1.0), ("W", 1.1), ("WW", 1.21), ("WWW", 1.25), ("WWWL", 1.0), ("L", 0.8), ("LL", 0.64), ("LLL", 0.512), ("LLLL", 0.5),
    ("LLLLW", 0.55), ("B", 1.0), ("WB", 1.1), ("LW", 0.88)])
def test_wins_raise_and_losses_lower_the_size_of_the_day(results, size):
    a, adaptive = RICH, Terms(adaptive=True)
    for r in results: a = a.closed(NOON - HOUR, 0.0, dict(W="WIN", L="LOSS", B="BREAKEVEN")[r])
    assert size_multiple(a, adaptive, NOON) == pytest.approx(size, rel=1e-12)
    assert size_multiple(a, adaptive, (TODAY + 1) * DAY) == 1.0 and size_multiple(a, adaptive, (TODAY + 1) * DAY - 1) == pytest.approx(size)
    assert size_multiple(a, Terms(), NOON) == 1.0
    assert asked(a, adaptive).risk == pytest.approx(0.01 * size) and asked(a, Terms()).risk == 0.01
    assert asked(a, adaptive._replace(risk=0.019)).risk == pytest.approx(min(0.019 * size, 0.02))


@pytest.mark.parametrize(("balance", "size"), [(9_700.0, 1.1), (9_699.99, 1.0), (10_000.0, 1.1)])
def test_in_a_drawdown_wins_do_not_raise_the_size(balance, size):
    a = RICH._replace(balance=balance, size=1.1, size_day=TODAY)
    assert size_multiple(a, Terms(adaptive=True), NOON) == size
    assert size_multiple(a._replace(size=0.8), Terms(adaptive=True), NOON) == 0.8


@pytest.mark.parametrize(("memory", "balance", "strategy", "risk"), [
    (9_200.0, 10_000.0, "reversal", 0.01), (9_199.9, 10_000.0, "reversal", 0.005), (9_199.9, 10_000.0, "ema_scalper", 0.01),
    (10_000.0, 9_200.0, "reversal", 0.01), (10_000.0, 9_199.9, "reversal", 0.005), (10_000.0, 9_199.9, "ema_scalper", 0.01)])
def test_a_deep_drawdown_of_the_signals_or_of_the_account_halves_the_risk_of_bound_strategies(memory, balance, strategy, risk):
    remembered, account = Memory.of()._replace(equity=memory), RICH._replace(balance=balance)
    assert asked(account, wish=WISH._replace(strategy=strategy), memory=remembered).risk == risk
    assert asked(account, Terms(risk=0.002), WISH._replace(strategy=strategy), memory=remembered).risk == 0.002     # it never raises
    assert asked(account, memory=Memory.of(OFF)._replace(equity=memory)).risk == 0.01 == asked(account).risk


# --- the grid


@pytest.mark.parametrize(("grid", "quantity"), [
    (Grid(step=0.001), 62.529), (Grid(step=0.1), 62.5), (Grid(step=1.0), 62.0), (Grid(step=10.0), 60.0),
    (Grid(step=1.0, max_quantity=50.0), 50.0), (Grid(step=1.0, max_quantity=50.5), 50.0),
    (Grid(step=1.0, min_quantity=62.0), 62.0), (Grid(step=1.0, min_notional=6_200.0), 62.0)])
def test_the_quantity_stands_on_the_step_below_what_was_asked_for(grid, quantity):
    order = asked(grid=grid)
    assert order.quantity == quantity and not order.refused


@pytest.mark.parametrize(("grid", "reason"), [
    (Grid(step=100.0), "nothing is left"), (Grid(step=1.0, min_quantity=63.0), "least quantity 63"),
    (Grid(min_quantity=62.6), "least quantity 62.6"), (Grid(step=1.0, min_notional=6_200.01), "worth 6200.00, below"),
    (Grid(step=1.0, max_quantity=0.5), "nothing is left"),
    (Grid(step=1.0, max_quantity=50.0, min_notional=5_001.0), "worth 5000.00")])
def test_what_the_venue_would_not_take_is_refused(grid, reason):
    order = asked(grid=grid)
    assert order.refused == "grid" and reason in verdict(order, "grid").reason and order.verdicts[-1].gate == "grid"


# --- the limits


def entered(*ages, symbol="XYZUSDT"):
    return RICH._replace(entries=tuple((NOON - age, symbol) for age in ages))


MANY = tuple(held(f"{coin}USDT", side=-1) for coin in ("SOL1", "XYZ", "ABC", "QQQ"))
LIMITS = [
    ("halt", RICH._replace(halted=True), {}), ("", RICH._replace(peak=11_764.70, day_open=9_999.0), {}),
    ("halt", RICH._replace(peak=10_000.0, equity=8_500.0, day_open=8_500.0), {}),
    ("", RICH._replace(peak=10_000.0, equity=8_500.01, day_open=8_500.0), {}),
    ("halt", RICH._replace(peak=0.0, equity=0.0), {}), ("halt", RICH._replace(peak=-5.0, equity=-9.0), {}),
    ("halt", RICH._replace(equity=-1.0), {}), ("halt", RICH._replace(equity=0.0), {}),
    ("halt", RICH._replace(equity=9_900.0), dict(drawdown=0.01)),
    ("day", RICH._replace(equity=9_700.0), {}), ("", RICH._replace(equity=9_700.01), {}),
    ("", RICH._replace(equity=10_400.0), {}),
    ("day", RICH._replace(equity=9_990.0), dict(daily_loss=0.001)), ("", RICH._replace(equity=9_990.0), dict(daily_loss=0.00101)),
    ("", Account.of(50.0)._replace(day=TODAY, day_open=50.0), {}), ("balance", Account.of(49.99)._replace(day_open=49.99), {}),
    ("balance", RICH, dict(least_balance=10_000.01)), ("", RICH, dict(least_balance=10_000.0)),
    ("position", RICH._replace(holdings=(held("SOLUSDT"),)), {}),
    ("position", RICH._replace(holdings=(held("SOLUSDT", side=-1),)), {}),
    ("", RICH._replace(holdings=(held("SOLUSDT", side=-1, leaving=True),)), {}),
    ("", RICH._replace(holdings=MANY), {}), ("positions", RICH._replace(holdings=(*MANY, held("RRRUSDT"))), {}),
    ("", RICH._replace(holdings=(*MANY, held("RRRUSDT", leaving=True))), {}), ("positions", RICH, dict(most_positions=0)),
    ("", entered(*[HOUR] * 9), {}), ("day_pace", entered(*[HOUR] * 10), {}), ("day_pace", entered(*[12 * HOUR] * 10), {}),
    ("", entered(*[12 * HOUR + 1] * 10), {}), ("", entered(0, 0), {}), ("hour_pace", entered(0, 0, 0), {}),
    ("hour_pace", entered(*[HOUR - 1] * 3), {}), ("", entered(*[HOUR] * 3), {}),
    ("symbol_pace", entered(15 * MINUTE - 1, symbol="SOLUSDT"), {}), ("", entered(15 * MINUTE, symbol="SOLUSDT"), {}),
    ("", entered(0), {}), ("symbol_pace", entered(2 * HOUR, 10 * MINUTE, symbol="SOLUSDT"), {}),
    ("", RICH._replace(holdings=(held(quantity=400.0, entry=1.0),)), dict(with_fees=False)),
    ("open_risk", RICH._replace(holdings=(held(quantity=400.01, entry=1.0),)), dict(with_fees=False)),
    ("", RICH._replace(holdings=(held(quantity=900.0, entry=1.0, leaving=True),)), dict(with_fees=False)),
    ("open_risk", RICH, dict(open_risk=0.009)),
]


@pytest.mark.parametrize(("gate", "account", "terms"), LIMITS)
def test_a_limit_holds_to_its_last_unit(gate, account, terms):
    wish = WISH._replace(stop=98.4375) if account.open_risk >= 400.0 else WISH      # R of 1.5625: sixty-four units, 100 exactly
    order = asked(account, Terms(**terms), wish)
    assert order.refused == gate
    if gate:
        (said,) = [v for v in order.verdicts if not v.passed]
        assert said.gate == gate and said.reason and said.value
    assert asked(account, Terms(**terms), wish, explain=True).refused == gate


def test_a_refusal_tells_its_numbers():
    said = {gate: verdict(asked(account, Terms(**terms)), gate) for gate, account, terms in LIMITS if gate}
    assert said["day"].value == "-0.10 % today" and "00:00 UTC" in said["day"].reason
    assert said["positions"].value == "0 of 0" and said["day_pace"].value == "10 of 10 today"
    assert said["hour_pace"].value == "3 of 3 in an hour"
    assert said["symbol_pace"].value == "2026-10-30 12:05" and said["open_risk"].value == "93.79 of 90.00"
    same, other = (asked(RICH._replace(holdings=(held("SOLUSDT", side=side),))) for side in (1, -1))
    assert verdict(same, "position").reason == "confirms the open continuation" and "other side" in verdict(other, "position").reason


# --- what moves together, what is dangerous


def context(returns=None, range_rank=50.0, hour=0.0, four=0.0, regime=RANGE, turnover=1e6):
    row = Row(range_rank=range_rank, hour=Row(dir=hour), four_hours=Row(dir=four), h_regime=Row(state=regime), turnover=turnover)
    return Context(NOON, row, lambda: returns or {})


@pytest.mark.parametrize(("symbol", "side", "other", "its_side", "refused"), [
    ("BTCUSDT", 1, "ETHUSDT", 1, True), ("ETHUSDT", -1, "BTCUSDT", -1, True), ("BTCUSDT", 1, "ETHUSDT", -1, False),
    ("SOLUSDT", 1, "ADAUSDT", 1, True), ("SOLUSDT", 1, "ADAUSDT", -1, False), ("SOLUSDT", 1, "ARBUSDT", 1, False),
    ("1000PEPEUSDT", 1, "DOGEUSDT", 1, True), ("XYZUSDT", 1, "ABCUSDT", 1, False), ("BTCUSDT", 1, "SOLUSDT", 1, False)])
def test_one_position_a_group_and_side(symbol, side, other, its_side, refused):
    account = RICH._replace(holdings=(held(other, its_side),))
    wish = WISH._replace(symbol=symbol, side=side, stop=100.0 - 1.5 * side)
    order = asked(account, wish=wish)
    assert order.refused == ("correlation" if refused else "")
    assert not asked(account, Terms(correlation=False), wish).refused
    assert not asked(account._replace(holdings=(held(other, its_side, leaving=True),)), wish=wish).refused


def hourly(mix, n, seed=5):
    "Two series of n hours; mix: how much of the first is in the second."
    draw = np.random.default_rng(seed).normal(size=(2, n))
    times = [NOON - k * HOUR for k in range(n)]
    both = draw[0], mix * draw[0] + (1.0 - abs(mix)) * draw[1]
    return [dict(zip(times, map(float, one))) for one in both]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("its_side", [1, -1])
@pytest.mark.parametrize("mix", [0.9, 0.6, 0.5, 0.0, -0.5, -0.6, -0.9])
@pytest.mark.parametrize("n", [168, 100, 99])
def test_what_moves_with_it_is_not_held_beside_it(side, its_side, mix, n):
    pd = pytest.importorskip("pandas")
    a, b = hourly(mix, n)
    rho = pd.Series(a).corr(pd.Series(b), min_periods=100)
    together = (side == its_side and rho >= 0.8) or (side != its_side and rho <= -0.8)
    order = asked(RICH._replace(holdings=(held("XYZUSDT", its_side),)), wish=WISH._replace(side=side, stop=100.0 - 1.5 * side),
                  market=dict(SOLUSDT=context(a), XYZUSDT=context(b)))
    assert order.refused == ("correlation" if together else "")
    if together: assert verdict(order, "correlation").value == f"XYZUSDT {rho:+.2f}"


CLASSES = [
    ({}, 72.0, 1.5, 0), ({}, 69.9, 1.5, 1), ({}, 70.0, 1.5, 0), ({}, 85.0, 1.5, -1),
    ({}, 84.9, 1.5, 0), ({}, 72.0, 2.0, 0), ({}, 72.0, 2.01, 1), ({}, 72.0, 4.0, 1), ({}, 72.0, 4.01, 2),
    (dict(range_rank=80.0), 72.0, 1.5, 0), (dict(range_rank=80.1), 72.0, 1.5, 1), (dict(hour=-1.0, four=-1.0), 72.0, 1.5, 1),
    (dict(hour=1.0, four=1.0), 72.0, 1.5, 0), (dict(regime=EXPANSION_UP), 72.0, 1.5, 1),
    (dict(regime=EXPANSION_DOWN), 72.0, 1.5, 1), (dict(regime=TREND_DOWN), 72.0, 1.5, 0), (dict(turnover=20e6 / 96), 72.0, 1.5, 0),
    (dict(turnover=19.9e6 / 96), 72.0, 1.5, 1),
    (dict(turnover=nan, range_rank=nan, hour=nan, four=nan, regime=nan), 72.0, 1.5, 0),
    (dict(range_rank=90.0, hour=-1.0, four=-1.0, regime=EXPANSION_UP, turnover=1.0), 60.0, 5.0, 7)]


@pytest.mark.parametrize(("market", "final", "distance", "points"), CLASSES)
def test_the_risk_class_of_a_signal(market, final, distance, points):
    risk = "LOW" if points <= 1 else "MEDIUM" if points <= 3 else "HIGH"
    wish = WISH._replace(final=final, stop=100.0 - distance)
    known = dict(SOLUSDT=context(**market))
    said = verdict(asked(wish=wish, market=known), "risk_class")
    assert said.passed and said.value == f"{risk}, {points} points"
    others = tuple(c for c in ("LOW", "MEDIUM", "HIGH") if c != risk)
    assert asked(wish=wish, market=known, terms=Terms(classes=others)).refused == "risk_class"
    assert asked(wish=wish, market=known, terms=Terms(classes=(risk,))).refused == ""


# --- the targets


@pytest.mark.parametrize(("side", "regime", "score", "factor"), [
    (1, TREND_UP, 70.0, 1.15), (-1, TREND_DOWN, 70.0, 1.15), (1, TREND_DOWN, 70.0, 1.0), (-1, TREND_UP, 70.0, 1.0),
    (1, EXPANSION_UP, 60.0, 1.05), (1, EXPANSION_DOWN, 60.0, 1.05), (1, RANGE, 0.0, 0.85), (1, SQUEEZE, 0.0, 1.0),
    (1, UNDEFINED, 0.0, 1.0), (1, nan, 0.0, 1.0),
    (1, SQUEEZE, 80.0, 1.05), (1, SQUEEZE, 90.0, 1.1), (1, SQUEEZE, 100.0, 1.1), (1, TREND_UP, 90.0, 1.265), (1, SQUEEZE, nan, 1.0)])
def test_regime_and_score_move_the_targets(side, regime, score, factor):
    assert reward_factor(side, regime, score) == pytest.approx(factor, rel=1e-12)
    wish = WISH._replace(side=side, stop=100.0 - 1.5 * side, final=score)
    order = asked(wish=wish, terms=Terms(reward=True), market=dict(SOLUSDT=context(regime=regime)))
    assert order.multiples[:2] == pytest.approx((max(factor, 0.8), 2.0 * factor)) and isnan(order.multiples[2])
    assert asked(wish=wish, market=dict(SOLUSDT=context(regime=regime))).multiples is WISH.multiples        # off by default


PRESETS = [(1.0, 2.0, nan), (1.0, 1.5, nan), (0.8, 1.2, 1.5), (1.0, nan, nan)]


@pytest.mark.parametrize("multiples", PRESETS)
@given(factor=st.floats(0.85, 1.265))
def test_presets_stay_within_their_bounds(multiples, factor):
    kept = [m for m in stretched(multiples, factor) if not isnan(m)]
    assert kept[0] >= 0.8 and kept[-1] <= 5.0 and all(a < b for a, b in pairwise(kept)) and len(kept) == sum(m == m for m in multiples)
    wanted = [m * factor for m in multiples if m == m]
    assert kept[1:] == wanted[1:] and kept[0] == max(wanted[0], 0.8)


@given(st.lists(st.floats(0.8, 5.0), min_size=1, max_size=3, unique=True), st.floats(0.5, 2.0))
def test_any_targets_stay_within_their_bounds(multiples, factor):
    first, second, third, *_ = (*sorted(multiples), nan, nan)
    whole = first, second, third
    kept = [m for m in stretched(whole, factor) if not isnan(m)]
    assert len(kept) == len(multiples) and kept[0] >= 0.8 and kept[-1] <= 5.0 and all(a < b for a, b in pairwise(kept))


def test_the_bounds_of_the_targets():
    assert stretched((0.8, 1.2, 1.5), 0.85)[0] == 0.8 and stretched((1.0, 4.5, nan), 1.265)[1] == 5.0
    assert stretched((1.0, 4.5, 4.9), 1.2) == (1.0, 4.5, 4.9)           # both would end at 5


# --- liquidation


TABLE = tiers(((0.0, 0.004), (50_000.0, 0.005), (250_000.0, 0.01)), 1_000_000.0)


def needed(table, value):
    tier = next((t for t in table if value <= t.cap), table[-1])
    return tier.mmr * value - tier.cum


def gone_at(side, quantity, entry, leverage, table=TABLE, fee=0.0):
    "Where an isolated position's margin equals what is required, found by halving; nan: nowhere."
    left = (lambda price: quantity * entry * (1 / leverage - fee) + side * quantity * (price - entry) - needed(table, quantity * price))
    safe, gone = entry, 1e-12 if side > 0 else 4.0 * entry
    if left(gone) > 0: return nan
    for _ in range(200):
        middle = 0.5 * (safe + gone)
        safe, gone = (middle, gone) if left(middle) > 0 else (safe, middle)
    return gone


@pytest.mark.parametrize(("side", "leverage", "widest"), [
    (1, 10, 7.7108), (-1, 10, 7.6494), (1, 20, 3.6948), (-1, 20, 3.6653), (1, 2, 39.8394)])
def test_the_stop_leaves_a_fifth_of_the_way_to_liquidation(side, leverage, widest):
    terms = Terms(leverage=leverage, risk=0.02, fee=0.0)
    def order(width): return asked(terms=terms, wish=WISH._replace(side=side, stop=100.0 - side * width), tiers=TABLE)
    assert 0.8 * abs(100.0 - gone_at(side, 1.0, 100.0, leverage)) == pytest.approx(widest, abs=1e-4)
    inside, outside = order(widest - 0.001), order(widest + 0.001)
    assert not inside.refused and inside.liquidation == pytest.approx(gone_at(side, inside.quantity, 100.0, leverage), rel=1e-9)
    assert inside.bankruptcy == pytest.approx(100.0 * (1 - side / leverage))
    assert outside.refused == "liquidation" and "less leverage" in verdict(outside, "liquidation").reason and isnan(outside.liquidation)


def test_a_position_beyond_the_last_tier_is_refused_and_without_leverage_there_is_no_liquidation():
    small = tiers(((0.0, 0.004),), 5_000.0)
    assert asked(tiers=small).refused == "liquidation" and not asked(tiers=small, grid=Grid(step=50.0)).refused
    alone = asked(terms=Terms(leverage=1, most_margin=1.0, fee=0.0), tiers=TABLE, wish=WISH._replace(stop=50.0))
    assert not alone.refused and isnan(alone.liquidation) and verdict(alone, "liquidation").value == "none"
    assert isnan(asked().liquidation)                                   # no tiers: not worked out


# --- whatever an account takes


COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "XYZUSDT", "DOGEUSDT", "PEPEUSDT")
GROUPS = dict(BTCUSDT="big", ETHUSDT="big", SOLUSDT="one", ADAUSDT="one", DOGEUSDT="fun", PEPEUSDT="fun")
PRICES = st.floats(log(1e-6), log(1e6)).map(lambda x: float(f"{np.exp(x):.6g}"))
WIDTHS = st.sampled_from([1e-4, 0.002, 0.01, 0.0768, 0.1]) | st.floats(1e-4, 0.3)
MONEY = st.sampled_from([10_000.0, 10_000.0, 9_700.0, 50.0, 49.99, 0.0, -250.0]) | st.floats(-1_000.0, 1e7).map(lambda x: round(x, 2))
STEPS = st.sampled_from([0.0, 1e-8, 1e-6, 0.001, 0.01, 0.5, 1.0, 10.0, 1000.0])


@st.composite
def holdings(draw, price, equity):
    symbols = draw(st.lists(st.sampled_from(COINS), max_size=7, unique=True))
    sides, worth = st.sampled_from([1, -1]), st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0.0, 2.0)
    return tuple(held(s, draw(sides), draw(worth) * abs(equity) / price, price, draw(WIDTHS) * price / 10, draw(st.integers(1, 20)),
                      draw(st.booleans())) for s in symbols)


@st.composite
def accounts(draw, price):
    "Mostly an account at ease; else one that has lost, or is busy, or full."
    rich = st.floats(100.0, 1e7).map(lambda x: round(x, 2))
    ease = draw(st.sampled_from(["yes", "yes", "lost", "poor", "busy", "full", "all"]))
    equity = draw(MONEY if ease in ("poor", "all") else rich)
    lost, busy, full = (ease in (one, "all") for one in ("lost", "busy", "full"))
    day_open = draw(st.sampled_from([equity, equity * 1.02, equity * 1.03, equity * 1.031, 0.0, 10_000.0])) if lost else equity
    peak = max(equity, draw(st.sampled_from([equity, equity * 1.1, equity * 1.17, equity * 1.2]))) if lost else equity
    balance = equity * draw(st.sampled_from([1.0, 1.0, 0.97, 0.965, 0.92, 0.91]))
    times = st.sampled_from([0, 15 * MINUTE, HOUR, 12 * HOUR]) | st.integers(0, 14 * HOUR)
    ages = st.lists(st.tuples(times.map(lambda age: NOON - age), st.sampled_from(COINS)), max_size=12 if busy else 2)
    positions = draw(holdings(price, equity)) if full or draw(st.booleans()) else ()
    return Account(balance, equity, peak, max(balance, equity), TODAY, day_open, draw(st.floats(0.5, 1.25)), TODAY,
                   tuple(sorted(draw(ages))), lost and draw(st.booleans()), positions)


@st.composite
def scenes(draw, sizing=("risk",)):
    "An order and where it is judged."
    price, side, width = draw(PRICES), draw(st.sampled_from([1, -1])), draw(WIDTHS)
    order = WISH._replace(symbol=draw(st.sampled_from(COINS)), side=side, entry=price, stop=price * (1.0 - side * width),
                          strategy=draw(st.sampled_from(["reversal", "ema_scalper"])), final=draw(st.floats(0.0, 100.0)),
                          multiples=draw(st.sampled_from(PRESETS)))
    shares = st.sampled_from([0.01, 0.05, 0.25, 1.0])
    terms = checked(Terms(
        risk=draw(st.sampled_from([0.001, 0.01, 0.02]) | st.floats(1e-4, 0.05)), most_risk=draw(st.sampled_from([0.005, 0.02])),
        sizing=draw(st.sampled_from(sizing)), share=draw(shares), with_fees=draw(st.booleans()), leverage=draw(st.integers(1, 20)),
        most_notional=draw(shares), most_margin=draw(shares), adaptive=draw(st.booleans()), reward=draw(st.booleans()),
        least_balance=draw(st.sampled_from([50.0, 0.0])), correlation=draw(st.booleans())))
    step = draw(STEPS)
    grid = Grid(0.0, step, draw(st.sampled_from([0.0, step, 5 * step])), draw(st.sampled_from([0.0, 0.0, 100.0])),
                draw(st.sampled_from([0.0, 5.0, 100.0])))
    memory = draw(st.sampled_from([None, Memory.of(), Memory.of()._replace(equity=9_000.0), Memory.of(OFF)._replace(equity=1.0)]))
    return order, Scene(draw(accounts(price)), terms, grid, draw(st.sampled_from([(), TABLE, TYPICAL])), {}, memory)


def wanted(order, scene):
    "Risk and unrounded quantity as quant_spec F2 says them."
    a, terms = scene.account, scene.terms
    multiple = 1.0
    if terms.adaptive: multiple = a.size if a.best <= 0 or round((a.best - a.balance) / a.best, 12) <= 0.03 else min(a.size, 1.0)
    risk = min(terms.risk * multiple, terms.most_risk)
    m = scene.memory
    if m is not None and order.strategy in m.policy.strategies:
        falls = [(best - now) / best for best, now in ((m.peak, m.equity), (a.best, a.balance)) if best > 0]
        if any(round(fall, 12) > 0.08 for fall in falls): risk = min(risk, 0.005)
    distance, fees = abs(order.entry - order.stop), (terms.fee * (order.entry + order.stop) if terms.with_fees else 0.0)
    quantity = a.equity * risk / (distance + fees)
    bound_margin = sum(h.quantity * h.entry / h.leverage for h in a.holdings)
    worth = min(terms.most_notional * a.equity, terms.most_margin * max(0.0, min(a.balance, a.equity) - bound_margin)) * terms.leverage
    return risk, max(0.0, min(quantity, worth / order.entry, scene.grid.max_quantity or inf))


def refusals(order, scene, quantity):
    "Every gate that must say no of that quantity, in the order in which they are asked; near: values too close to a limit for floats."
    a, terms, t = scene.account, scene.terms, order.time
    mine = [h for h in a.holdings if not h.leaving]
    fall = (a.peak - a.equity) / a.peak if a.peak > 0 else 1.0
    day = (a.equity - a.day_open) / a.day_open if a.day_open > 0 else 0.0
    risk, most = sum(h.quantity * h.risk for h in mine) + quantity * abs(order.entry - order.stop), 0.05 * a.equity
    near = abs(fall - 0.15) < 1e-9 or abs(day + 0.03) < 1e-9 or 0 < abs(risk - most) < 1e-9 * risk
    group = GROUPS.get(order.symbol)
    same = [h for h in mine if group and h.symbol != order.symbol and h.side == order.side and GROUPS.get(h.symbol) == group]
    no = dict(halt=a.halted or fall >= 0.15, correlation=terms.correlation and bool(same), day=day <= -0.03,
              balance=a.equity < terms.least_balance,
              position=order.symbol in [h.symbol for h in mine], positions=len(mine) >= 5,
              day_pace=len([1 for time, _ in a.entries if time // DAY == TODAY]) >= 10,
              hour_pace=len([1 for time, _ in a.entries if t - time < HOUR]) >= 3,
              symbol_pace=any(t - time < 15 * MINUTE for time, s in a.entries if s == order.symbol))
    g, value = scene.grid, quantity * order.entry
    no["grid"] = quantity <= 0 or quantity < g.min_quantity or value < g.min_notional
    no["open_risk"] = risk > most
    if scene.tiers and not no["grid"]:
        cap = scene.tiers[-1].cap
        at = gone_at(order.side, quantity, order.entry, terms.leverage, scene.tiers, terms.fee) if value <= cap else nan
        way, left = abs(order.entry - at), order.side * (order.stop - at)
        no["liquidation"] = value > cap or left < 0.2 * way
        near = near or abs(left - 0.2 * way) < 2e-9 * order.entry or abs(value - cap) < 1e-6 * cap
    return [gate for gate, says in no.items() if says], near


@settings(max_examples=500, deadline=None)
@given(scenes())
def test_the_rules_agree_with_a_second_reading_of_the_specification(given_):
    order, scene = given_
    done, (risk, most) = taken(order, scene), wanted(order, scene)
    step, slack = scene.grid.step, 1e-11 * most
    sized = [v for v in done.verdicts if v.gate == "grid"]
    if sized and done.refused != "grid":
        assert done.risk == pytest.approx(risk, rel=1e-12) and done.leverage == scene.terms.leverage
        assert done.quantity <= most + 1e-6 * step + slack and done.quantity > most - step - slack - 1e-12 * step
        if step: assert done.quantity == pytest.approx(round(done.quantity / step) * step, rel=1e-12)
    quantity = done.quantity if sized and done.refused != "grid" else np.floor(most / step + 1e-6) * step if step else most
    gates, near = refusals(order, scene, quantity)
    edges = (scene.grid.min_quantity, scene.grid.min_notional / order.entry)
    near = near or any(0 < abs(quantity - edge) <= 1e-9 * edge for edge in edges)
    if near or (step and abs(most / step - round(most / step)) < 3e-6): return
    assert done.refused == (gates[0] if gates else "")


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_no_position_ever_breaks_a_cap(given_):
    order, scene = given_
    done, a, terms = taken(order, scene), scene.account, scene.terms
    if done.refused: return
    q, over = done.quantity, 1.0 + 1e-9
    more = 1e-6 * scene.grid.step * order.entry                         # what flooring forgives (quant_spec 0.10)
    assert q > 0.0 and done.risk <= min(terms.most_risk, 1.25 * terms.risk)
    assert q * order.entry <= terms.most_notional * a.equity * terms.leverage * over + more
    assert q * order.entry / terms.leverage <= terms.most_margin * a.free * over + more
    fees = terms.fee * (order.entry + order.stop) if terms.with_fees else 0.0
    assert q * (abs(order.entry - order.stop) + fees) <= done.risk * a.equity * over + more
    assert a.open_risk + q * abs(order.entry - order.stop) <= terms.open_risk * a.equity * over
    assert a.equity >= terms.least_balance and not a.halted and len(a.held) < terms.most_positions
    if not isnan(done.liquidation):
        assert order.side * (order.stop - done.liquidation) > 0.0 and order.side * (done.liquidation - done.bankruptcy) > 0.0


@settings(max_examples=300, deadline=None)
@given(scenes(("risk", "percent")))
def test_a_rule_only_sizes_and_judges_and_each_verdict_is_told(given_):
    order, scene = given_
    done, explained = taken(order, scene), taken(order, scene, explain=True)
    kept = ("id", "strategy", "symbol", "side", "time", "entry", "stop", "final")
    for one in (done, explained): assert all(getattr(one, name) == getattr(order, name) for name in kept)
    if not scene.terms.reward: assert done.multiples is order.multiples
    no = [v for v in done.verdicts if not v.passed]
    assert bool(no) == bool(done.refused) and all(v.gate and v.reason and v.value for v in no)
    if no:
        assert no[0].gate == done.refused
        rest = done.verdicts[done.verdicts.index(no[0]) + 1 :]          # the three paces are one rule
        assert {v.gate for v in rest} <= {"hour_pace", "symbol_pace"} and (not rest or "pace" in done.refused)
        if done.refused not in ("grid", "open_risk", "liquidation"): assert isnan(done.quantity) and isnan(done.risk)
        assert isnan(done.liquidation)
    else: assert [v.gate for v in done.verdicts][-1 - scene.terms.reward :][0] == "liquidation"
    assert explained.verdicts[: len(done.verdicts)] == done.verdicts and explained.refused == done.refused


@settings(max_examples=300, deadline=None)
@given(scenes(), st.floats(1.0, 20.0))
def test_more_risk_never_gives_a_smaller_position(given_, times):
    order, scene = given_
    bolder = scene._replace(terms=scene.terms._replace(risk=min(1.0, scene.terms.risk * times)))
    less, more = taken(order, scene), taken(order, bolder)
    if less.refused:
        assert more.refused == less.refused or less.refused == "grid"
    elif more.refused: assert more.refused in ("open_risk", "liquidation")      # too much is refused, not trimmed
    else: assert more.quantity >= less.quantity


@settings(max_examples=200, deadline=None)
@given(scenes(), st.floats(0.5, 1.0))
def test_less_money_or_a_wider_stop_never_gives_a_larger_position(given_, part):
    order, scene = given_
    a = scene.account
    poorer = scene._replace(account=a._replace(equity=part * a.equity))
    wider = order._replace(stop=order.entry + (order.stop - order.entry) / part)
    before = taken(order, scene)
    for after in (taken(order, poorer), taken(wider, scene)):
        if not before.refused and not after.refused and a.equity > 0: assert after.quantity <= before.quantity


def test_the_order_of_the_rules():
    names = [rule.__name__ for rule in RULES]
    assert names[0] == "halt_rule" and len(set(names)) == len(names) == 16
    sized = [names.index(f"{n}_rule") for n in ("risk", "size", "notional", "margin", "grid", "open_risk", "room")]
    assert sized == sorted(sized)


def test_a_hair_above_a_limit_is_above_it():
    for limit, account in ((8_500.0, RICH._replace(day_open=8_000.0)), (9_700.0, RICH)):
        assert asked(account._replace(equity=limit)).refused and not asked(account._replace(equity=limit + 1e-6)).refused
