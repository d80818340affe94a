"Liquidity sweep by hand: which bar speaks, every filter and part at its edges, shorts as mirrors, and whole series (quant_spec C2)."
from dataclasses import replace
from math import inf, isnan, nan

import pytest
from fixtures.candles import candle, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar
from perps_kit.core.columns import Columns, signals_of
from perps_kit.core.features import row_type
from perps_kit.core.signal import STANDARD, failed_filters
from perps_kit.core.stream import Stream
from perps_kit.core.unit import ParameterError, make, same_bits
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.cvd import CVDView
from perps_kit.indicators.liquidity import EQUAL, OF_DAY, OF_WEEK, SINGLE
from perps_kit.indicators.structure import NO_BREAK, StructureView
from perps_kit.indicators.sweep import SweepView
from perps_kit.indicators.swings import Swing
from perps_kit.indicators.trend import TrendView
from perps_kit.indicators.zones import ZoneView
from perps_kit.strategies.liquidity_sweep import NO_SWEEP, LiquiditySweep, SweepScore, rejected, swept

Row = row_type(tuple(LiquiditySweep().features()))
NO_SWING, FREE = Swing(0.0, nan, nan, nan, nan, 0.0), ZoneView(inf, inf, 0.0, -inf, -inf, 0.0)


def bar(close=100.5, low=99.0, high=101.0, open=100.25, i=40) -> Bar: return candle(i, open, high, low, close)


def view(event=0.0, members=3.0, kind=EQUAL, above=inf, below=-inf, level=100.0) -> SweepView:
    "What the pools say: 1 a pool below was swept, -1 one above, 0 none."
    told = (level, 1.0, members, kind) if event else (inf, 0.0, 0.0, 0.0)
    return SweepView(event, *told, above, 3.0 if above < inf else 0.0, EQUAL if above < inf else 0.0,
                     below, 3.0 if below > -inf else 0.0, EQUAL if below > -inf else 0.0)


def row(bar=bar(), sweep=view(1.0), atr=2.5, volume=1.85, zones=FREE, hour=1.0, four_hours=1.0, up_ago=2.0, down_ago=inf,
        delta=1.0) -> Row:
    return Row(bar, atr, volume, NO_SWING, zones, TrendView(hour, 90.0), TrendView(four_hours, 90.0), NO_SWING, sweep,
               StructureView(NO_BREAK, 1.0, 99.0, 9.0, up_ago, down_ago, inf, -inf, 0.0, 0.0), CVDView(delta, 0.0, 1.0, 50.0, 0.0))


CALM = row(bar=bar(100.5, 100.25, 100.75, i=39), sweep=view())
DIPPED = row(bar=bar(i=39))                                             # its low is 99, its close 100.5, the pool at 100
RISEN = bar(101.0, 100.25, 101.25, 100.5)


def decide(strategy=None, was=CALM, **now): return (strategy or LiquiditySweep()).decide(row(**now), was)


def confirm(strategy=None, was=DIPPED, **now):
    "The bar after the sweep, which closes above the sweep's close."
    return decide(strategy, was, **dict(bar=RISEN, sweep=view()) | now)


def why(signal) -> list[str]: return failed_filters(LiquiditySweep(), signal)


# --- which bar speaks ---

def test_a_sweep_in_the_open():
    s = decide()
    assert (s.side, s.mode, s.entry, s.stop, s.preset, s.atr, s.failed) == (1, 0, 100.5, 98.75, STANDARD, 2.5, 0)
    assert s.parts == pytest.approx(SweepScore(pool=1.25, wick=2.0 * 0.125 / 0.3, volume=0.75, turn=1.5, trend=1.5, delta=1.0))
    assert s.raw == 6.8
    assert isnan(s.t1) and isnan(s.t2) and isnan(s.t3), "the preset's targets"


def test_the_bar_after_a_sweep_enters_at_its_own_close_with_the_stop_of_the_sweep():
    s = confirm()
    assert (s.side, s.entry, s.stop, s.preset, s.failed) == (1, 101.0, 98.75, STANDARD, 0)
    assert s.parts.wick == decide().parts.wick and s.parts.pool == decide().parts.pool, "wick and pool are those of the bar that swept"


def test_nothing_without_a_sweep():
    for now in (dict(sweep=view()), dict(sweep=view(), was=DIPPED, bar=bar(100.25))): assert same_bits(decide(**now), NO_SWEEP)


@pytest.mark.parametrize("close, side", [(100.49, 0), (100.5, 0), (100.51, 1)])
def test_a_late_entry_closes_above_the_close_of_the_sweep(close, side):
    assert confirm(bar=bar(close, 100.0, 101.5)).side == side


@pytest.mark.parametrize("close, side", [(100.99, 0), (101.0, 0), (101.01, 1)])
def test_a_late_entry_closes_above_the_pool(close, side):
    "A pool at 101, above the sweep's own close, tells the two conditions apart."
    assert confirm(was=row(bar=bar(i=39), sweep=view(1.0, level=101.0)), bar=bar(close, 100.0, 101.5)).side == side


@pytest.mark.parametrize("close, held", [(99.01, True), (99.0, True), (98.99, False)])
def test_a_close_below_the_low_of_the_sweep_ends_it(close, held):
    "A sweeping bar that closed at its very low, and a pool below, so that only the low decides; side is what `swept` tells."
    last = row(bar=Bar(39, 40, 100.0, 101.0, 99.0, 98.5, 1.0), sweep=view(1.0, level=98.0))
    assert swept(row(bar=bar(close, 98.0, 101.0), sweep=view()), last) == (1 if held else 0)


def test_a_dip_below_the_low_of_the_sweep_does_not_end_it(): assert confirm(bar=bar(101.0, 98.9, 101.5)).side == 1


def test_a_new_sweep_speaks_before_the_last_one():
    s = decide(was=row(bar=bar(i=39), sweep=view(1.0)), bar=bar(99.5, 99.25, 101.0, 99.75), sweep=view(-1.0))
    assert s.side == -1 and s.stop == 101.25


def test_only_the_bar_right_after_confirms(): assert confirm(was=row(bar=RISEN, sweep=view())).side == 0


def test_before_the_pools_are_known_the_last_bar_confirms_nothing():
    assert confirm(was=DIPPED._replace(sweep=SweepView(*[nan] * 11))).side == 0


@pytest.mark.parametrize("atr, side", [(0.0, 1), (nan, 0)])
def test_the_risk_is_positive(atr, side):
    assert decide(atr=atr).side == side
    if side: assert "volatility" in why(decide(atr=atr)), "no range is refused"


def test_no_risk_is_no_signal(): assert same_bits(decide(atr=0.0, bar=bar(99.0, 99.0, 101.0)), NO_SWEEP)


@pytest.mark.parametrize("side, share", [(1, 0.625), (-1, 0.25)])
def test_the_wick_is_a_share_of_the_range(side, share): assert rejected(side, bar()) == share


def test_a_bar_without_a_range_rejected_nothing():
    assert isnan(rejected(1, bar(100.0, 100.0, 100.0, 100.0))) and isnan(rejected(-1, bar(100.0, 100.0, 100.0, 100.0)))
    s = decide(bar=bar(100.0, 100.0, 100.0, 100.0))
    assert "wick" in why(s) and s.parts.wick == 0.0


# --- filters ---

SQUARE = dict(bar=bar(100.0, 99.0, 100.5, 100.0))       # a close of 100, so that percents are exact


@pytest.mark.parametrize("changes, failed", [
    (dict(bar=bar(100.5, 99.5, 101.5, 100.5)), []), (dict(bar=bar(100.5, 99.5, 101.51, 100.5)), ["wick"]),      # half of the range
    (dict(volume=1.2), []), (dict(volume=1.19), ["volume"]), (dict(volume=0.0), ["volume"]),
    (dict(hour=1.0, four_hours=-1.0), []), (dict(hour=0.0, four_hours=0.0), []),
    (dict(hour=0.0, four_hours=-1.0), ["alignment"]), (dict(hour=-1.0, four_hours=-1.0), ["alignment"]),
    (dict(zones=FREE._replace(resistance=101.75)), ["zone"]), (dict(zones=FREE._replace(resistance=101.76)), []),
    (dict(zones=FREE._replace(resistance=100.5)), ["zone"]), (dict(zones=FREE._replace(resistance=99.0)), ["zone"]),
    (dict(zones=FREE._replace(support=100.4, support_far=100.0)), []),                                          # behind, not in the way
    (dict(sweep=view(1.0, above=103.125)), []), (dict(sweep=view(1.0, above=103.12)), ["target"]),              # 1.5 times 1.75
    (dict(sweep=view(1.0, below=99.0)), []),
    (dict(SQUARE, atr=0.1), []), (dict(SQUARE, atr=0.099), ["volatility"]),
    (dict(SQUARE, atr=10.0), []), (dict(SQUARE, atr=10.01), ["volatility"])])
def test_every_filter_at_its_edge(changes, failed): assert why(decide(LiquiditySweep(least=0.0), **changes)) == failed


@pytest.mark.parametrize("most, failed", [(0.025, []), (0.0249, ["stop_width"])])
def test_the_stop_may_be_as_wide_as_allowed(most, failed):
    "Entry 100, stop 97.5: exactly one part in forty."
    s = decide(LiquiditySweep(max_stop=most), bar=bar(100.0, 97.75, 101.0, 100.5), atr=2.5)
    assert (s.entry, s.stop) == (100.0, 97.5) and why(s) == failed


@pytest.mark.parametrize("least, failed", [(6.8, []), (6.9, ["score"])])
def test_the_score_is_compared_after_rounding(least, failed):
    "The parts sum to 6.8333."
    assert why(decide(LiquiditySweep(least=least))) == failed


def test_the_least_score_is_five(): assert LiquiditySweep().least == 5.0 and why(decide(up_ago=inf, delta=0.0)) == ["score"]


def test_where_all_fail_all_are_named():
    now = dict(bar=bar(100.5, 99.0, 104.0), sweep=view(1.0, above=100.75), volume=0.1, atr=20.0, hour=-1.0, four_hours=-1.0, delta=-1.0,
               zones=FREE._replace(resistance=100.6), up_ago=inf)
    assert why(decide(LiquiditySweep(max_stop=0.001), **now)) == list(LiquiditySweep.filters)


def test_a_late_entry_is_filtered_too():
    strict = LiquiditySweep(least=0.0)
    assert why(confirm(strict, volume=1.0)) == ["volume"] and why(confirm(strict, zones=FREE._replace(resistance=101.5))) == ["zone"]
    assert why(confirm(strict, was=row(bar=bar(100.5, 99.0, 104.0, i=39)))) == ["wick"], "the wick of the sweep"
    assert why(confirm(strict, bar=bar(101.0, 100.9, 110.0))) == [], "and not its own"
    assert why(confirm(strict, sweep=view(above=104.375))) == [] and why(confirm(strict, sweep=view(above=104.37))) == ["target"]


# --- the score ---

@pytest.mark.parametrize("part, changes, points", [
    ("pool", dict(sweep=view(1.0, members=2.0)), 0.0), ("pool", dict(sweep=view(1.0, members=4.0)), 2.5),
    ("pool", dict(sweep=view(1.0, members=9.0)), 2.5), ("pool", dict(sweep=view(1.0, 1.0, SINGLE)), 0.0),
    ("pool", dict(sweep=view(1.0, 1.0, OF_DAY)), 2.5), ("pool", dict(sweep=view(1.0, 1.0, OF_WEEK)), 2.5),
    ("wick", dict(bar=bar(100.5, 99.5, 101.5, 100.5)), 0.0), ("wick", dict(bar=bar(100.5, 99.0, 101.5, 100.25)), 0.0),
    ("wick", dict(bar=bar(101.0, 99.0, 101.0, 100.625)), 2.0), ("wick", dict(bar=bar(101.0, 99.0, 101.0, 101.0)), 2.0),
    ("volume", dict(volume=1.2), 0.0), ("volume", dict(volume=2.5), 1.5), ("volume", dict(volume=9.0), 1.5),
    ("volume", dict(volume=0.1), 0.0),
    ("turn", dict(up_ago=0.0), 1.5), ("turn", dict(up_ago=3.0), 1.5), ("turn", dict(up_ago=4.0), 0.0),
    ("turn", dict(up_ago=inf, down_ago=0.0), 0.0),
    ("trend", dict(four_hours=0.0), 0.75), ("trend", dict(four_hours=-1.0), 0.0), ("trend", dict(hour=-1.0, four_hours=-1.0), 0.0),
    ("delta", dict(delta=0.01), 1.0), ("delta", dict(delta=0.0), 0.0), ("delta", dict(delta=-1.0), 0.0), ("delta", dict(delta=nan), 0.0)])
def test_points_of_each_part(part, changes, points): assert getattr(decide(**changes).parts, part) == pytest.approx(points, abs=1e-12)


def test_ten_points_are_the_most():
    s = decide(bar=bar(101.0, 99.0, 101.0, 101.0), sweep=view(1.0, 1.0, OF_WEEK), volume=3.0)
    assert s.raw == 10.0 == sum(s.parts)


# --- mirrors ---

def mirrored(r, level=100.0):
    "The row of prices reflected at a level, volumes kept."
    m, z, w, t = lambda x: 2 * level - x, r.zones, r.sweep, r.structure
    b = r.bar._replace(open=m(r.bar.open), high=m(r.bar.low), low=m(r.bar.high), close=m(r.bar.close))
    return r._replace(bar=b, hour=TrendView(-r.hour.dir, 0.0), four_hours=TrendView(-r.four_hours.dir, 0.0),
                      cvd=r.cvd._replace(delta=-r.cvd.delta),
                      zones=ZoneView(m(z.support), m(z.support_far), z.support_strength, m(z.resistance), m(z.resistance_far),
                                     z.resistance_strength),
                      structure=t._replace(choch_up_ago=t.choch_down_ago, choch_down_ago=t.choch_up_ago),
                      sweep=SweepView(0.0 - w.event, m(w.level) if w.event else inf, w.depth, w.members, w.kind,
                                      m(w.below), w.below_members, w.below_kind, m(w.above), w.above_members, w.above_kind))


@st.composite
def rows(draw, i=40):
    "Rows of numbers on a grid that floats hold exactly."
    grid = lambda low, high: draw(st.integers(int(low * 16), int(high * 16))) / 16
    low, a, b, high = sorted(grid(96, 104) for _ in range(4))
    open_, close = draw(st.permutations([a, b]))
    pools = view(draw(st.sampled_from([-1.0, 0.0, 1.0])), float(draw(st.integers(1, 5))),
                 draw(st.sampled_from([SINGLE, EQUAL, OF_DAY])),
                 draw(st.sampled_from([inf, close + 1.5, close + 4.0])), draw(st.sampled_from([-inf, close - 1.5, close - 4.0])),
                 grid(97, 103))
    zones = ZoneView(draw(st.sampled_from([inf, close + 1.0])), inf, 50.0, draw(st.sampled_from([-inf, close - 1.0])), -inf, 50.0)
    way, ago = st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from([0.0, 3.0, 4.0, inf])
    return row(bar(close, low, high, open_, i), pools, grid(0.5, 3), grid(0.5, 3), zones, draw(way), draw(way), draw(ago),
               draw(ago), draw(way))


@settings(max_examples=400, deadline=None)
@given(rows(), rows(39))
def test_longs_are_mirrored_shorts(now, was):
    strategy = LiquiditySweep(max_stop=0.5)
    long, short = strategy.decide(now, was), strategy.decide(mirrored(now), mirrored(was))
    assert short.side == -long.side
    if long.side:
        alike = lambda s: (s.mode, s.failed, s.raw, s.parts)
        assert same_bits(alike(short), alike(long))
        assert short.entry - 100.0 == 100.0 - long.entry and short.stop - 100.0 == pytest.approx(100.0 - long.stop, abs=1e-12)
        assert long.side * (long.entry - long.stop) > 0.0 and 0.0 <= sum(long.parts) <= 10.0


@pytest.mark.parametrize("wrong, hint", [
    (dict(wik=0.5), "did you mean 'wick'"), (dict(reward=-1.0), "outside"), (dict(surge=nan), "not a number")])
def test_senseless_parameters_are_refused(wrong, hint):
    with pytest.raises(ParameterError, match=hint): make(LiquiditySweep, **wrong)


# --- whole series ---

@pytest.fixture(scope="module")
def found():
    "Candidates, refused ones too, on made-up candles."
    stream, told = Stream({"liquidity_sweep": LiquiditySweep()}, "TEST", 15), []
    for b in sample_bars("SOLUSDT")[:12000]: told += [c for step in stream.accept(b) for c in step.candidates]
    return told


def test_both_sides_and_both_entries_come_up_on_the_sample(found):
    assert {(c.signal.side, c.features["sweep.event"] != 0.0) for c in found} == {(s, fresh) for s in (1, -1) for fresh in (True, False)}
    assert any(not c.signal.failed for c in found)


def test_signals_of_a_series_keep_the_rules(found):
    "The rules told once more, from the candles alone where they can be."
    bars = list(sample_bars("SOLUSDT")[:12000])
    at = {b.close_time: i for i, b in enumerate(bars)}
    for c in found:
        s, f, i = c.signal, c.features, at[c.bar.close_time]
        fresh = f["sweep.event"] != 0.0
        b = bars[i] if fresh else bars[i - 1]
        end = b.low if s.side > 0 else b.high
        assert s.entry == bars[i].close and s.stop == end - s.side * 0.1 * f["atr"] and s.side * (s.entry - s.stop) > 0.0
        if fresh: assert s.side * (b.close - f["sweep.level"]) > 0.0 and s.side * (f["sweep.level"] - end) > 0.0, "beyond and back"
        assert fresh or s.side * (bars[i].close - b.close) > 0.0
        wick = (min(b.open, b.close) - b.low if s.side > 0 else b.high - max(b.open, b.close)) / (b.high - b.low)
        mean = sum(x.volume for x in bars[i - 20:i]) / 20
        if abs(wick - 0.5) > 1e-9: assert ("wick" in why(s)) == (wick < 0.5)
        assert f["volume"] == pytest.approx(bars[i].volume / mean)
        if abs(f["volume"] - 1.2) > 1e-9: assert ("volume" in why(s)) == (bars[i].volume / mean < 1.2)


def after(n, steps):
    "Candidates of hand-made bars after n of the sample: (low, close, times the usual volume), prices in ATR from the last close."
    stream, bars = Stream({"liquidity_sweep": LiquiditySweep()}, "TEST", 15), list(sample_bars("SOLUSDT")[:n])
    for b in bars: stream.accept(b)
    base, atr = bars[-1].close, sum(b.high - b.low for b in bars[-14:]) / 14
    usual, last, told = sum(b.volume for b in bars[-20:]) / 20, base, []
    for k, (low, close, times) in enumerate(steps):
        low, close, t = base + low * atr, base + close * atr, bars[-1].close_time + k * 900_000
        b = Bar(t, t + 900_000, last, max(last, close) + 0.05 * atr, min(low, last, close), close, times * usual, 0.5 * times * usual)
        told.append([c for step in stream.accept(b) for c in step.candidates])
        last = close
    return told, base, atr


REST, DIP, PEAK, HUNT = (-0.2, 0.0, 1.0), (-2.0, 0.0, 1.0), (-0.2, 1.0, 1.0), (-2.5, 0.0, 2.0)
TWO_LOWS = (*[REST] * 6, DIP, *[REST] * 6, PEAK, *[REST] * 6, DIP, *[REST] * 6)      # a high between them, since swings alternate


def pools_at(c, base, atr): return (c.features["sweep.level"] - base) / atr


def test_equal_lows_made_by_hand_are_swept_at_once_and_confirmed_at_the_next_bar():
    "The units themselves, not rows by hand: two swing lows at one level, then a bar below both that closes back."
    told, base, atr = after(6000, [*TWO_LOWS, HUNT, (0.0, 0.3, 1.0), REST])
    now, late, over = told[-3:]
    assert len(now) == 1 and now[0].signal.side == 1 and pools_at(now[0], base, atr) == pytest.approx(-2.0)
    assert now[0].features["sweep.members"] == 2.0 and now[0].features["sweep.kind"] == EQUAL
    assert len(late) == 1 and late[0].signal.side == 1 and late[0].features["sweep.event"] == 0.0
    assert (late[0].signal.entry - base) / atr == pytest.approx(0.3) and not over


def test_a_bar_that_stays_below_the_equal_lows_is_no_sweep():
    told, *_ = after(6000, [*TWO_LOWS, (-2.5, -2.1, 2.0)])
    assert not told[-1]


def test_every_signal_of_the_sample_follows_an_event_of_its_side():
    columns = Columns(sample_bars("SOLUSDT")[:12000])
    signals, pools = signals_of(LiquiditySweep(), columns), columns.of(LiquiditySweep(), "sweep")
    assert len(signals) > 0
    for k, i in enumerate(signals.index.tolist()):
        assert pools.event[i] == signals[k].side or (pools.event[i] == 0.0 and pools.event[i - 1] == signals[k].side)


@pytest.mark.parametrize("seed", [21, 22])
def test_compiled_and_plain_agree(seed):
    bars = walk(seed, 6000, step=0.25)
    bars = replace(bars, taker_buy=0.5 * bars.volume)
    loose = LiquiditySweep(least=0.0, surge=0.0, wick=0.0, reward=0.0)
    one, two = (signals_of(loose, Columns(bars, compiled)) for compiled in (True, False))
    assert len(one) > 0 and one.index.tolist() == two.index.tolist()
    assert same_bits([one[k] for k in range(len(one))], [two[k] for k in range(len(two))])
