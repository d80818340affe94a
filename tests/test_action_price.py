"Action price: the trigger, every edge of the eleven components, the modes; and gluk, its legacy twin (quant_spec C8, C9)."

from math import inf, nan
from types import SimpleNamespace as Row

import pytest

from perps_kit.core.bar import Bar
from perps_kit.core.signal import SCALP, STANDARD, failed_filters
from perps_kit.data.sample import sample_bars
from perps_kit.strategies.action_price import ActionPrice, action_raw, action_score
from perps_kit.strategies.gluk import Gluk, LookaheadError, gluk_score, replayed

LINE = 100.0


def bar(open_, high, low, close):
    return Bar(0, 900_000, open_, high, low, close, 10.0)


def rows(side=1, first=(99.5, 100.6, 99.4, 100.5), second=(100.5, 101.0, 100.2, 100.5), ema13=99.0, ema5=99.0, ordered=0.0, spread=0.15,
         stuck=0.0, touches=0.0, dips=0.0, vr=1.0, vwaps=(nan, nan, nan), atr=1.0, slow=LINE, edge=inf, edge_touches=0.0, edge_stuck=0.0):
    "The two rows of a long, or mirrored around the line for a short; prices a distance from 100."
    def price(x): return x if side > 0 else 2 * LINE - x
    def candle(o, h, low, c): return bar(o, h, low, c) if side > 0 else bar(price(o), price(low), price(h), price(c))
    fan = Row(ema13=price(ema13), ema5=price(ema5), ema9=price(ema13), ema21=price(ema13), ema200=price(slow), ordered=side * ordered,
              spread=spread)
    day, low_line, busy = (Row(vwap=price(x)) for x in vwaps)
    sticky = Row(moving=stuck, level=edge_stuck, dips=dips if side > 0 else 0.0, peaks=dips if side < 0 else 0.0)
    beside = dict(support_touches=touches if side > 0 else 0.0, resistance_touches=touches if side < 0 else 0.0)
    crossing = Row(edge=edge if edge == inf else price(edge), touches=edge_touches, strength=60.0, **beside)
    common = dict(atr=atr, fan=fan, day=day, swing_low=low_line, swing_high=low_line, busy=busy, sticky=sticky, crossing=crossing)
    return Row(bar=candle(*second), volume=1.0, **common), Row(bar=candle(*first), volume=vr, **common)


def part(name, side=1, line=LINE, stuck=0.0, touches=0.0, **given):
    now, was = rows(side, stuck=stuck, touches=touches, **given)
    return getattr(action_score(side, now, was, line, stuck, touches), name)


CLOSE = [(100.5, 101.0, 100.2, c) for c in (100.29, 100.30 + 1e-9, 100.59, 100.60 + 1e-9, 100.99, 101.0 + 1e-9)]
TABLE = [
    ("initiator_size", dict(first=(99.9, 100.4, 99.8, 100.3)), 0.0), ("initiator_size", dict(first=(99.6, 100.8, 99.5, 100.7)), 1.5),
    ("initiator_size", dict(first=(99.5, 100.5, 99.4, 100.25)), 0.75),
    *[("confirm_depth", dict(second=c, slow=100.0), points) for c, points in zip(CLOSE, (2, 1, 1, 0, 0, -1), strict=True)],
    ("close_position", dict(ema13=100.5), 2), ("close_position", dict(ema13=100.49, ema5=100.5), 0),
    ("close_position", dict(ema13=99.0, ema5=100.0), -1), ("close_position", dict(ema13=99.0, ema5=99.99), -2),
    ("overextension_penalty", dict(slow=99.0), 0), ("overextension_penalty", dict(slow=98.5), -1), ("overextension_penalty",
        dict(slow=98.0), -2),
    ("ema_fan", dict(ordered=1.0, spread=0.099), 1.5), ("ema_fan", dict(ordered=1.0, spread=0.10), 0),
    ("ema_fan", dict(ordered=1.0, spread=0.199), 0), ("ema_fan", dict(ordered=1.0, spread=0.20), -1.5), ("ema_fan", dict(ordered=0.0,
        spread=0.049), 1.5),
    ("ema_fan", dict(ordered=0.0, spread=0.05), 0), ("ema_fan", dict(ordered=-1.0, spread=0.3), 0),
    *[("lipuchka_penalty", dict(stuck=float(n)), points) for n, points in ((2, 0), (3, -1), (4, -1), (5, -2))],
    *[("zone_touches", dict(touches=float(n)), points) for n, points in ((1, 0), (2, 0.5), (3, 1), (4, 1.5), (5, 1.5), (6, 0.5))],
    ("retest_tag", dict(dips=1.0), 1.5), ("retest_tag", dict(dips=0.0), 0),
    ("rejection_wick", dict(first=(99.5, 100.6, 99.4, 100.5)), 0), ("rejection_wick", dict(first=(99.5, 100.6, 99.1, 100.5)), 1.5),
    ("rejection_wick", dict(first=(99.5, 100.6, 99.25, 100.5)), 0.75),
    *[("volume_confirmation", dict(vr=vr), points) for vr,
      points in ((0.79, -1), (0.80, 0), (1.19, 0), (1.20, 1), (1.79, 1), (1.80, 2), (nan, 0))],
    ("avwap_confluence", dict(vwaps=(100.5 - 1e-9, nan, nan)), 0.75), ("avwap_confluence", dict(vwaps=(100.51, nan, nan)), 0),
    ("avwap_confluence", dict(vwaps=(99.5, 99.9, nan)), 1.5), ("avwap_confluence", dict(vwaps=(99.5, 99.9, 100.1)), 1.5),
    ("avwap_confluence", dict(vwaps=(99.49, nan, nan)), 0),
]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("name", "given", "points"), TABLE, ids=[f"{n}-{k}" for k, (n, _, _) in enumerate(TABLE)])
def test_every_edge_of_the_table_on_both_sides(side, name, given, points):
    assert part(name, side, **given) == pytest.approx(points, abs=1e-6)


def test_the_components_have_the_names_of_the_table_and_their_sum_is_rounded_to_a_tenth():
    now, was = rows()
    s = action_score(1, now, was, LINE, 0.0, 0.0)
    assert s._fields == tuple(dict.fromkeys(n for n, _, _ in TABLE)) and action_raw(s) == pytest.approx(sum(s), abs=0.0501)


@pytest.mark.parametrize(("body", "raw", "mode", "failed"), [(0.6987, 5.9, 0, 0), (0.7060, 6.0, 1, 0), (0.51, 5.5, 0, 0)])
def test_a_sum_of_595_is_a_standard_trade_and_594_is_a_scalp(body, raw, mode, failed):
    "Depth 1, position 2, volume 2 and a wick of 0.3 make 5.3; the body adds the rest, and decides the hundredths."
    now, was = rows(first=(100.5 - body, 100.6, 100.5 - body - 0.16, 100.5), vr=1.8, ema13=100.5)
    total, signal = sum(action_score(1, now, was, LINE, 0.0, 0.0)), ActionPrice().decide(now, was)
    assert abs(total - raw) <= 0.0501 and (signal.raw, signal.mode, signal.failed) == (raw, mode, failed), total


def test_scalps_and_standard_trades_have_their_exits_and_a_weak_score_is_refused():
    strong, weak = rows(vr=1.8, dips=1.0, ema13=100.5, first=(99.3, 100.6, 98.9, 100.5)), rows(vr=0.7, stuck=5.0,
        second=(100.9, 101.9, 100.6, 101.5))
    it = ActionPrice()
    good, bad = it.decide(*strong), it.decide(*weak)
    assert good.failed == 0 and good.raw >= 6.0 and good.preset == STANDARD and good.mode == 1
    assert failed_filters(it, bad) == ["score"] and bad.raw < 3.0
    scalp = ActionPrice(standard=15.0).decide(*strong)
    assert scalp.preset == SCALP and scalp.mode == 0


@pytest.mark.parametrize(("changes", "side"), [
    ({}, 1), (dict(first=(100.0, 100.6, 99.4, 100.5)), 0), (dict(first=(99.5, 100.6, 99.4, 100.0)), 0),
    (dict(second=(100.5, 101.0, 100.0, 100.5)), 0), (dict(second=(100.5, 100.6, 99.9, 100.0)), 0)])
def test_equalities_fail_and_both_sides_mirror(changes, side):
    it = ActionPrice(least=-9.5)
    assert it.decide(*rows(1, **changes)).side == side and it.decide(*rows(-1, **changes)).side == -side


def test_the_best_line_wins_and_the_average_in_a_tie():
    it = ActionPrice(least=-9.5)
    tie = it.decide(*rows(edge=100.0))
    better = it.decide(*rows(edge=100.0, edge_touches=4.0))
    worse = it.decide(*rows(edge=100.0, touches=4.0))
    assert [s.parts.zone_touches for s in (tie, better, worse)] == [0.0, 1.5, 1.5] and worse.raw >= better.raw
    only = it.decide(*rows(slow=90.0, edge=100.0, edge_stuck=3.0))
    assert only.side == 1 and only.parts.lipuchka_penalty == -1.0


def test_the_stop_lies_beyond_the_initiator_and_at_least_eight_tenths_away():
    it = ActionPrice(least=-9.5)
    assert it.decide(*rows()).stop == pytest.approx(99.4 - 0.1)
    assert it.decide(*rows(first=(99.95, 100.6, 99.9, 100.5))).stop == pytest.approx(100.5 - 0.8)


def test_gluk_weighs_the_same_trigger_the_other_way():
    now, was = rows(second=(100.5, 101.0, 100.2, 100.6), spread=0.25, stuck=3.0, dips=1.0, first=(99.4, 100.6, 98.9, 100.5))
    s = gluk_score(1, now, was)
    assert s == pytest.approx((2.0, 2.0, 1.0, 1.0, -1.0, 1.0, 1.0))
    assert gluk_score(1, *rows(spread=0.19)).wide_fan == 0.0 and gluk_score(1, *rows(stuck=2.0)).sticky == 0.0
    assert not Gluk.enabled and Gluk.quarantined
    signal = Gluk().decide(now, was)
    assert signal.raw == 7.0 and signal.preset == STANDARD and Gluk(standard=8.0).decide(now, was).preset == SCALP


def test_a_forming_bar_is_only_judged_from_minutes():
    with pytest.raises(LookaheadError, match="replayed"):
        Gluk(intrabar=1).features()
    with pytest.raises(LookaheadError, match="minutes"):
        replayed(Gluk(intrabar=1), sample_bars("SOLUSDT")[:100])
    told = replayed(Gluk(intrabar=1), sample_bars("SOLUSDT", "1m"))
    assert told and all(isinstance(kept, bool) for _, _, kept in told)
