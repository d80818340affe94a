"Gluk: every edge of its legacy weights, modes, stop and vetoes on both sides; when it refuses forming bars (quant_spec C9)."

from types import SimpleNamespace as Row

import pytest
from fixtures.candles import walk

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.signal import SCALP, STANDARD, failed_filters, trait
from perps_kit.data.sample import sample_bars
from perps_kit.strategies.gluk import NO_GLUK, Gluk, GlukScore, LookaheadError, gluk_score, legacy_depth, replayed

LINE = 128.0                # and all distances from it dyadic where an edge is tested, so that no rounding decides


def rows(side=1, first=(127.5, 129.1, 127.5, 129.0), second=(129.0, 129.5, 128.25, 129.0), averages=(120.0,) * 4, spread=0.15,
         stuck=0.0, dips=0.0, atr=1.0, before=LINE):
    "The confirmation and the initiator of a long, or mirrored at the line for a short."
    def flip(x): return x if side > 0 else 2.0 * LINE - x
    def candle(o, h, low, c):
        return Bar(0, 900_000, flip(o), flip(h if side > 0 else low), flip(low if side > 0 else h), flip(c), 10.0)
    five, nine, thirteen, twentyone = (flip(x) for x in averages)
    fan = dict(ema5=five, ema9=nine, ema13=thirteen, ema21=twentyone, ordered=0.0, spread=spread)
    sticky = Row(moving=stuck, dips=dips if side > 0 else 0.0, peaks=dips if side < 0 else 0.0)
    return (Row(bar=candle(*second), atr=atr, fan=Row(ema200=LINE, **fan), sticky=Row(moving=9.0, dips=9.0, peaks=9.0)),
            Row(bar=candle(*first), atr=atr, fan=Row(ema200=flip(before), **fan), sticky=sticky))


def body(x): return dict(first=(129.0 - x, 129.1, 129.0 - x, 129.0))
def depth(x): return dict(second=(129.0, 130.0, 128.01, 128.0 + x))
def wick(x): return dict(first=(127.5, 129.1, 127.5 - x, 129.0))


TABLE = [
    *[("initiator_size", body(x), points) for x, points in ((0.4, 0.0), (0.75, 1.0), (1.1, 2.0), (3.0, 2.0))],
    *[("confirm_depth", depth(x), points) for x,
      points in ((0.25, -1.0), (0.3125, 0.0), (0.34375, 0.0), (0.375, 1.0), (0.40625, 2.0), (5.0, 2.0))],
    *[("beyond_all", dict(averages=a), points) for a, points in (
        ((120.0,) * 4, 1.0), ((129.0, 120.0, 120.0, 120.0), 0.0), ((120.0, 120.0, 120.0, 129.5), 0.0), ((128.99,) * 4, 1.0))],
    *[("wide_fan", dict(spread=x), points) for x, points in ((0.19, 0.0), (0.20, 1.0), (0.5, 1.0))],
    *[("sticky", dict(stuck=float(n)), points) for n, points in ((0, 0.0), (2, 0.0), (3, -1.0), (15, -1.0))],
    *[("retest", dict(dips=float(n)), points) for n, points in ((0, 0.0), (1, 1.0), (5, 1.0))],
    *[("wick", wick(x), points) for x, points in ((0.0, 0.0), (0.1, 0.0), (0.25, 0.5), (0.4, 1.0), (2.0, 1.0))]]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("name", "given", "points"), TABLE, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(TABLE)])
def test_every_weight_at_its_edges_on_both_sides(side, name, given, points):
    assert getattr(gluk_score(side, *rows(side, **given)), name) == pytest.approx(points, abs=1e-9)


def test_the_edges_of_depth_belong_to_the_better_row():
    assert [legacy_depth(x) for x in (0.2999, 0.30, 0.3499, 0.35, 0.3999, 0.40)] == [-1.0, 0.0, 0.0, 1.0, 1.0, 2.0]


def test_the_table_covers_every_part_and_the_best_row_of_each_makes_eight():
    assert {name for name, _, _ in TABLE} == set(GlukScore._fields)
    best = {name: max(points for other, _, points in TABLE if other == name) for name in GlukScore._fields}
    assert sum(best.values()) == trait(Gluk, "scale") == 8.0


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("changes", [
    dict(first=(128.0, 129.1, 127.5, 129.0)), dict(first=(127.5, 129.1, 127.5, 128.0)), dict(second=(129.0, 129.5, 128.0, 129.0)),
    dict(second=(129.0, 129.5, 127.9, 128.0)), dict(before=127.5), dict(before=129.0), dict(atr=0.0)])
def test_an_equality_anywhere_in_the_trigger_and_no_range_are_nothing(side, changes):
    assert Gluk(least=-2.0).decide(*rows(side, **changes)) is NO_GLUK
    assert Gluk(least=-2.0).decide(*rows(side)).side == side


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("size", "raw", "mode", "preset"), [(0.734, 3.0, 1, STANDARD), (0.731, 2.9, 0, SCALP)])
def test_three_after_rounding_is_a_standard_trade(side, size, raw, mode, preset):
    "Depth 2 and a body that adds 0.954 or 0.946: the sums 2.954 and 2.946 lie on either side of 2.95."
    first, second = (127.99, 129.1, 127.99, 127.99 + size), (128.6, 129.0, 128.2, 128.5)
    signal = Gluk().decide(*rows(side, averages=(140.0,) * 4, first=first, second=second))
    assert (signal.side, signal.raw, signal.mode, signal.preset, signal.failed) == (side, raw, mode, preset, 0)


@pytest.mark.parametrize("side", [1, -1])
def test_below_one_point_the_score_alone_refuses(side):
    "Depth 0 or worse, no fan, every average in the way: only the body is left."
    near = dict(averages=(140.0,) * 4, second=(128.6, 129.0, 128.2, 128.3125))
    low, enough = (Gluk().decide(*rows(side, first=(127.99, 129.1, 127.99, 127.99 + x), **near)) for x in (0.730, 0.735))
    assert (low.raw, failed_filters(Gluk(), low)) == (0.9, ["score"]) and (enough.raw, enough.failed) == (1.0, 0)


@pytest.mark.parametrize("side", [1, -1])
def test_the_stop_lies_a_tenth_beyond_the_initiator_and_never_nearer_than_eight_tenths(side):
    far = Gluk().decide(*rows(side))
    near = Gluk().decide(*rows(side, first=(127.99, 129.0, 127.95, 128.9), second=(128.5, 129.0, 128.1, 128.2)))
    assert side * (far.entry - far.stop) == pytest.approx(1.6) and side * (near.entry - near.stop) == pytest.approx(0.8)


def test_each_of_the_other_vetoes_alone_sets_its_own_bit():
    assert failed_filters(Gluk(), Gluk(max_stop=0.001).decide(*rows())) == ["stop_width"]
    still = dict(atr=0.0625, first=(127.9375, 128.1, 127.9375, 128.0625), second=(128.07, 128.1, 128.01, 128.0625))
    assert failed_filters(Gluk(), Gluk().decide(*rows(**still))) == ["volatility"]


def test_it_is_off_and_outside_of_every_sum():
    assert trait(Gluk, "enabled") is False and trait(Gluk, "quarantined") is True and "experimental" in trait(Gluk, "tags")
    assert trait(Gluk, "minimum") == 0.0 and trait(Gluk, "modes") == ("SCALP", "STANDARD") and Gluk().intrabar == 0


@pytest.mark.parametrize("minutes", [3, 5, 15, 60])
def test_forming_bars_are_not_replayed_from_anything_but_minutes(minutes):
    bars = Bars("WALK", minutes, *walk(1).columns())
    with pytest.raises(LookaheadError, match=str(minutes)):
        replayed(Gluk(intrabar=1), bars)
    assert issubclass(LookaheadError, ValueError)


def test_what_a_replay_says_up_to_a_minute_does_not_change_with_later_minutes():
    minutes = sample_bars("SOLUSDT", "1m")
    whole = replayed(Gluk(intrabar=1), minutes)
    assert whole
    cut = (whole[0][0] - int(minutes.open_time[0])) // 900_000 * 15 + 15        # the end of the first one's quarter
    assert replayed(Gluk(intrabar=1), minutes[:cut]) == whole[:1]
