"Missing candles: up to three are bridged by flat ones, after more everything begins anew, in the service as in research (quant_spec 0.4)."
import numpy as np
import pytest
from cases import SERIES, Looker, candles, candles_for, chosen, fed, fed_from_candles
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import Quick

from perps_kit.backtest.lanes import lane
from perps_kit.core.registry import strategies
from perps_kit.core.stream import BRIDGED, Stream
from perps_kit.core.unit import same_bits
from perps_kit.data.look import look


def without(bars, holes: dict[int, int]):
    "The series without `length` bars from each index on."
    keep = np.ones(len(bars), bool)
    for at, length in holes.items(): keep[at:at + length] = False
    return bars[keep]


def compare(strategy, name: str, bars, compiled: bool | None) -> int:
    "Both roads over the same broken candles; how many clean signals there were."
    stream, live, leaves, times, flat = Stream({name: strategy}, bars.symbol, bars.minutes), [], [], [], []
    for bar in bars:
        for step in stream.accept(bar):
            live += [c for c in step.candidates if not c.signal.failed]
            leaves.append(step.leaves.get(name, 0))
            times.append(step.bar.open_time)
            flat.append(step.bar.synthetic)
    one = lane(name, strategy, bars, compiled=compiled)
    whole, places = one.ground.bars, [start + columns.places(one.bars.minutes) for start, columns in one.ground.stretches]
    assert whole.open_time.tolist() == times and whole.synthetic.tolist() == flat
    asked = np.zeros(len(whole), np.int8)
    asked[np.concatenate(places)] = one.leaves
    assert asked.tolist() == leaves
    assert not any(c.bar.synthetic for c in live)
    assert same_bits([one.candidate(k) for k in range(len(one.at))], live)
    return len(live)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("name", strategies())
def test_every_strategy_takes_holes_alike_in_stream_and_lane(name, series):
    bars, rng = candles_for(name, series), np.random.default_rng(3)
    short = {int(at): int(rng.integers(1, BRIDGED + 1)) for at in rng.choice(np.arange(200, len(bars) - 10, 7), 60, replace=False)}
    compare(chosen(name), name, without(bars, short | {100: BRIDGED + 1, 150: 40}), None)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("minutes", (0, 60), ids=("own", "hour"))
@pytest.mark.parametrize("entry", fed_from_candles(), ids=lambda e: e.name)
def test_every_indicator_takes_holes_alike_in_stream_and_look(entry, minutes, series):
    "Warm before the first hole and after the last; on its own bars and on those of an hour."
    features, bars = fed(entry, minutes), candles(series)[:2400 if minutes else 900]
    holes, rng = {600: BRIDGED + 1, 640: 40}, np.random.default_rng(len(entry.name))
    holes |= {int(at): int(rng.integers(1, BRIDGED + 1)) for at in rng.choice(np.arange(100, len(bars) - 10, 7), 20, replace=False)}
    bars, stream, live = without(bars, holes), Stream({"look": Looker(tuple(features.items()))}, "TEST", 15), []
    for bar in bars: live += [stream.values[-1] for step in [stream.accept(bar)[-1]] if not step.bar.synthetic]
    for compiled in (False, None):
        seen = look(bars, compiled, **features)[-1]
        table = np.array(live, float).reshape(len(bars), -1).T
        assert same_bits(np.ascontiguousarray(np.atleast_2d(np.array(seen))), np.ascontiguousarray(table)), f"{compiled=}"


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(1, 390), st.integers(1, 6), max_size=25), st.sampled_from(SERIES), st.integers(0, 3))
def test_any_holes_are_taken_alike(holes, series, start):
    compare(Quick(), "quick", without(candles(series)[start:start + 400], holes), False)


def test_the_quick_strategy_speaks_between_the_holes():
    assert compare(Quick(), "quick", without(candles("sample")[:400], {50: 2, 120: 3, 200: 4, 300: 9}), None) > 30


def test_three_are_bridged_and_four_are_not():
    bars = candles("sample")[:200]
    for missing, origin in ((BRIDGED, bars[0].open_time), (BRIDGED + 1, bars[100 + BRIDGED + 1].open_time)):
        stream = Stream({"quick": Quick()}, "TEST", 15)
        steps = [step for bar in without(bars, {100: missing}) for step in stream.accept(bar)]
        assert stream.origin == origin and sum(step.bar.synthetic for step in steps) == (missing if missing <= BRIDGED else 0)
        flat = [step.bar for step in steps if step.bar.synthetic]
        assert all(b.open == b.high == b.low == b.close == bars[99].close and b.volume == 0.0 for b in flat)
