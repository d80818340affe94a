"Plans, higher timeframes, streams."
from math import isnan, nan
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from fixtures.candles import QUARTER, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar, Bars, DataError
from perps_kit.core.columns import Columns, leaves_of, signals_of
from perps_kit.core.features import Source, htf, on, plan_of
from perps_kit.core.resample import Resample
from perps_kit.core.signal import Signal, failed_filters, no_signal
from perps_kit.core.stream import BRIDGED, Stream, bridge
from perps_kit.core.unit import fold, same_bits
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.lag import Lag
from perps_kit.indicators.swings import Swings


def wish(**features): return type("Wish", (), dict(features=lambda self: features))()


@pytest.mark.parametrize("features, message", [
    (dict(a=on(EMA.of(3), "closs")), "'closs' is neither a bar field nor an earlier feature"),
    (dict(a=on(EMA.of(3), "b"), b=on(EMA.of(3), "close")), "neither a bar field nor an earlier feature"),
    (dict(a=htf(20, EMA.of(3), "close")), "which 15 minutes do not divide"),
    (dict(s=on(Swings.of(3)), a=on(EMA.of(3), "s")), "name one field of 's': kind, high"),
    (dict(s=on(Swings.of(3)), a=on(EMA.of(3), "s.hihg")), "name one field of 's'"),
    (dict(a=on(EMA.of(3), "close"), b=htf(60, EMA.of(3), "a")), "a 60 minute feature cannot be fed from 'a' of 15 minutes")])
def test_a_plan_that_cannot_be_is_explained(features, message):
    with pytest.raises(ValueError, match=message): plan_of({"it": wish(**features)}, 15)


def test_equal_wishes_meet_in_one_node():
    one = wish(fast=on(EMA.of(3), "close"), slow=on(EMA.of(9), "close"), hour=htf(60, EMA.of(3), "close"))
    two = wish(other=on(EMA.of(3), "close"), opened=on(EMA.of(3), "open"), later=on(EMA.of(3), "other"))
    plan = plan_of(dict(one=one, two=two), 15)
    assert len(plan.nodes) == 5 and plan.timeframes == [60] and plan.columns["two"][0].node == plan.columns["one"][0].node


def test_a_feature_named_like_a_bar_field_is_the_feature():
    plan = plan_of({"it": wish(volume=on(EMA.of(3), "close"), smooth=on(EMA.of(2), "volume"), raw=on(EMA.of(2), "close"))}, 15)
    assert plan.nodes[1].inputs == (Source(0, ""),) and plan.nodes[2].inputs == (Source(-1, "close"),)


def test_warm_up_adds_up_along_a_chain():
    plan = plan_of({"it": wish(a=on(EMA.of(9), "close"), b=on(Lag.of(3), "a"), c=htf(60, EMA.of(4), "close"))}, 15)
    assert plan.warmup("it") == 16 and plan.settled("it") == 64
    assert plan_of({"it": wish(a=on(EMA.of(9), "close"), b=on(Lag.of(3), "a"))}, 15).warmup("it") == 12
    optional = wish(a=on(EMA.of(9), "close"), s=on(Swings.of(30), optional=True))
    assert plan_of({"it": optional}, 15).warmup("it") == 9


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10_000), st.sampled_from([30, 60, 240]), st.integers(0, 40), st.dictionaries(st.integers(0, 290), st.integers(1, 9),
    max_size=6))
def test_higher_timeframes_are_those_of_pandas_without_the_incomplete(seed, minutes, start, holes):
    bars = walk(seed, 300)
    keep = np.arange(len(bars)) >= start
    for at, length in holes.items(): keep[at:at + length] = False
    bars = bars[keep]
    ours = [y for y in fold(Resample(minutes, 15), bars)[1] if y.open_time >= 0]
    frame = pd.DataFrame({f: getattr(bars, f) for f in ("open", "high", "low", "close", "volume")}, index=pd.to_datetime(bars.open_time,
        unit="ms"))
    theirs = frame.resample(f"{minutes}min").agg(dict(open="first", high="max", low="min", close="last", volume="sum"))
    theirs = theirs[frame["open"].resample(f"{minutes}min").count() == minutes // 15]
    assert [y.open_time for y in ours] == [t.value // 1_000_000 for t in theirs.index]
    for f in ("open", "high", "low", "close"): assert [getattr(y, f) for y in ours] == theirs[f].tolist()
    np.testing.assert_allclose([y.volume for y in ours], theirs.volume, rtol=1e-12)
    assert all(y.close_time - y.open_time == minutes * 60_000 for y in ours)


class Loud(NamedTuple):
    "Speaks at each bar: longs in mode A when the close rose, shorts in mode B when it fell."
    least: float = 0.0
    minutes, modes, filters, spacing, parts = 15, ("A", "B"), ("odd",), {0: 3}, tuple

    def features(self): return dict(before=on(Lag.of(1), "close"), hour=htf(60, Lag.of(1), "close"))

    def decide(self, now, was):
        if now.bar.close == now.before: return no_signal(())
        side = 1 if now.bar.close > now.before else -1
        held = 1 if now.bar.volume < self.least else 0
        return Signal(side, 0 if side > 0 else 1, now.bar.close, now.bar.close - side, 0, nan, nan, nan, 1.0, 5.0, held, ())


def rising(n: int, volume=100.0) -> Bars:
    close = 100.0 + np.arange(n)
    return Bars.from_columns("UP", 15, QUARTER * np.arange(n), close, close + 1, close - 1, close, np.full(n, volume))


def test_spacing_holds_back_and_says_so():
    stream, said = Stream({"loud": Loud()}, "UP", 15), []
    for bar in rising(30): said += [(stream.count - 1, failed_filters(Loud(),
        c.signal)) for step in stream.accept(bar) for c in step.candidates]
    first = said[0][0]
    assert first == 8, "the hour before this one is known at the close of the eighth bar, and `was` needs it, too"
    assert [i - first for i, failed in said if not failed] == [0, 4, 8, 12, 16, 20]
    assert all(failed == ["spacing"] for i, failed in said if (i - first) % 4)
    columns = Columns(rising(30), compiled=False)
    assert signals_of(Loud(), columns).index.tolist() == [i for i, failed in said if not failed]
    assert not leaves_of(Loud(), columns).any(), "a strategy without `leave` never asks for an exit"


def test_what_a_filter_held_back_starts_no_spacing():
    stream, clean = Stream({"loud": Loud(least=50.0)}, "UP", 15), []
    for k, bar in enumerate(rising(30)):
        step = stream.accept(bar._replace(volume=10.0 if k < 14 else 100.0))[0]
        clean += [k for c in step.candidates if not c.signal.failed]
    assert clean == [14, 18, 22, 26]


def test_strategies_share_a_stream_and_keep_their_own_spacing():
    stream = Stream(dict(a=Loud(), b=Loud(least=50.0)), "UP", 15)
    assert len(stream.plan.nodes) == 2
    found = [(c.strategy, c.time) for bar in rising(14) for step in stream.accept(bar) for c in step.candidates if not c.signal.failed]
    assert [name for name, _ in found] == ["a", "b", "a", "b"] and len({time for _, time in found}) == 2


def test_a_bar_of_another_timeframe_is_refused():
    stream = Stream({"loud": Loud()}, "UP", 15)
    with pytest.raises(DataError, match="a bar of 60 minutes in a stream of 15"): stream.accept(Bar(0, 3_600_000, 1.0, 1.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize("taker", [nan, 40.0])
def test_a_bridge_is_flat_quiet_and_marked(taker):
    last, bar = (Bar(t * QUARTER, (t + 1) * QUARTER, 100.0, 102.0, 99.0, 101.0, 50.0, taker) for t in (4, 8))
    flat = bridge(last, bar)
    assert [b.open_time // QUARTER for b in flat] == [5, 6, 7] and len(flat) == BRIDGED
    for b in flat: assert b[2:7] == (101.0,) * 4 + (0.0,) and b.synthetic and (isnan(b.taker_buy) if isnan(taker) else b.taker_buy == 0.0)
    assert bridge(last, bar._replace(open_time=9 * QUARTER, close_time=10 * QUARTER)) is None
    assert bridge(last, bar._replace(open_time=5 * QUARTER, close_time=6 * QUARTER)) == []


def test_no_signal_on_a_bridged_bar_and_all_forgotten_after_a_long_hole():
    bars = rising(60)
    stream = Stream({"loud": Loud()}, "UP", 15)
    for bar in bars[:20]: stream.accept(bar)
    steps = stream.accept(bars[22])
    assert [step.bar.synthetic for step in steps] == [True, True, False] and not steps[0].candidates and not steps[1].candidates
    assert stream.origin == bars[0].open_time and stream.count == 23
    assert len(stream.accept(bars[30])) == 1 and stream.origin == bars[30].open_time and stream.count == 1 and isnan(stream.values[0])


def test_loading_into_other_strategies_is_noticed():
    a, b = Stream({"loud": Loud()}, "UP", 15), Stream({"wish": wish(x=on(EMA.of(3), "close"))}, "UP", 15)
    for bar in rising(5): a.accept(bar)
    assert a.stamp != b.stamp
    with pytest.raises(ValueError): b.load(a.save())


class Plainest(NamedTuple):
    "Two features, one of them of a higher timeframe, over fewer bars than that has."
    least: float = 0.0
    minutes, modes, filters, spacing, parts = 15, ("A",), (), {}, tuple

    def features(self): return dict(day=htf(1440, EMA.of(2), "close"), fast=on(EMA.of(2), "close"))

    def decide(self, now, was): return Signal(1, 0, 1.0, 0.5, 0, nan, nan, nan, 1.0, 5.0, 0, ())


@pytest.mark.parametrize("compiled", [False, None])
@pytest.mark.parametrize("n", [0, 1, 2, 50, 95, 96, 192, 193, 300])
def test_a_short_series_is_no_problem(n, compiled):
    bars = walk(3, 300)[:n]
    columns, stream = Columns(bars, compiled), Stream({"it": Plainest()}, "WALK", 15)
    said = [i for i, bar in enumerate(bars) for step in stream.accept(bar) if step.candidates]
    assert signals_of(Plainest(), columns).index.tolist() == said and columns.of(Plainest(), "day").shape == (n,)
    assert said == list(range(192, n)), "two days are known at the close of bar 191, and `was` is one later"


def test_many_signals_come_in_many_chunks():
    bars = walk(4, 2000)
    columns = Columns(bars, compiled=False)
    whole, parts = signals_of(Loud(), columns), signals_of(Loud(), columns, chunk=7)
    assert len(whole) > 500 and same_bits(whole.table, parts.table) and whole[len(whole) - 1].side in (1, -1)
