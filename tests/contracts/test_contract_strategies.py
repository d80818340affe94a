"What every registered strategy promises: research and service compute the same, and nothing reads what was not known."
from dataclasses import replace

import numpy as np
import pytest
from cases import SERIES, base_of, candles_for, chosen, lived, plan

from perps_kit.core.bar import DataError
from perps_kit.core.columns import Columns, leaves_of, signals_of
from perps_kit.core.compiled import have_numba
from perps_kit.core.features import known
from perps_kit.core.registry import strategies
from perps_kit.core.stream import Stream
from perps_kit.core.unit import same_bits

over_strategies = pytest.mark.parametrize("name", strategies())
over_series = pytest.mark.parametrize("series", SERIES)


def clean(name, steps) -> list[tuple]:
    "Bar index and signal of every clean candidate."
    return [(i, c.signal) for i, step in enumerate(steps) for c in step.candidates if not c.signal.failed]


def research(name, bars, compiled=None):
    "Columns of all nodes, signals and leaves."
    columns = Columns(bars, compiled)
    found, leaves = signals_of(chosen(name), columns), np.zeros(len(bars), np.int8)
    places = columns.places(columns.own(chosen(name)).minutes)
    leaves[places] = leaves_of(chosen(name), columns)
    nodes = [columns.held(plan(name), i) for i in range(len(plan(name).nodes))]
    return nodes, [(int(places[i]), found[k]) for k, i in enumerate(found.index.tolist())], leaves


def test_there_are_strategies(): assert strategies()


@over_series
@over_strategies
def test_columns_are_what_the_stream_computes(name, series):
    live = lived(name, series)
    assert any(step.candidates for step in live.steps), "a series on which the strategy never comes near a signal proves nothing"
    for compiled in (False, True) if have_numba() else (False,):
        nodes, signals, leaves = research(name, candles_for(name, series), compiled)
        for node, column, values in zip(plan(name).nodes, nodes, live.values, strict=True):
            assert same_bits(column, values), f"{node.key}, {compiled=}"
        assert same_bits(signals, clean(name, live.steps)), f"{compiled=}"
        assert leaves.tolist() == [step.leaves.get(name, 0) for step in live.steps], f"{compiled=}"


@over_series
@over_strategies
def test_the_past_does_not_change_when_the_future_arrives(name, series):
    bars = candles_for(name, series)
    whole, rng = research(name, bars), np.random.default_rng(1)
    for k in (0, 1, 2, *rng.integers(3, len(bars), 4).tolist()):
        factor = np.where(np.arange(len(bars)) < k, 1.0, rng.uniform(0.5, 2.0, len(bars)))
        changed = replace(bars, **{f: getattr(bars, f) * factor for f in ("open", "high", "low", "close", "volume", "taker_buy")})
        for other in (bars[:k], changed):
            nodes, signals, leaves = research(name, other)
            for a, b in zip(whole[0], nodes, strict=True): assert same_bits(a[:, :k].copy(), b[:, :k].copy()), k
            assert same_bits([s for s in signals if s[0] < k], [s for s in whole[1] if s[0] < k]), k
            assert same_bits(leaves[:k], whole[2][:k]), k


@over_series
@over_strategies
def test_saving_and_loading_at_any_bar_changes_nothing(name, series):
    bars, steps, rng = candles_for(name, series), lived(name, series).steps, np.random.default_rng(2)
    spoken = [i for i, _ in clean(name, steps)[:20]]
    cuts = {0, 1, *rng.integers(2, len(bars), 40).tolist(), *spoken, *(i + 1 for i in spoken)}
    stream = Stream({name: chosen(name)}, "TEST", base_of(name))
    for k, bar in enumerate(bars):
        if k in cuts:
            text, stream = stream.save(), Stream({name: chosen(name)}, "TEST", base_of(name))
            stream.load(text)
            assert stream.save() == text
        assert same_bits(stream.accept(bar), [steps[k]]), k


@over_strategies
def test_warm_up_is_declared_and_true(name):
    minutes = base_of(name)
    bars, stream = candles_for(name, "sample"), Stream({name: chosen(name)}, "TEST", minutes)
    aligned = np.flatnonzero(bars.open_time % (max(stream.plan.timeframes, default=minutes) * 60_000) == 0)[0]
    declared = stream.plan.warmup(name)
    for bar in bars[aligned:]:
        stream.accept(bar)
        if known(stream.values, stream.plan.columns[name]): break
    assert stream.count == declared, f"all required features speak first at bar {stream.count}, and the plan declares {declared}"
    assert stream.plan.settled(name) >= declared


@over_strategies
def test_a_repeated_older_or_bad_bar_is_refused_and_leaves_no_trace(name):
    bars, stream = candles_for(name, "sample"), Stream({name: chosen(name)}, "TEST", base_of(name))
    nan, inf = float("nan"), float("inf")
    for bar in bars[:300]: stream.accept(bar)
    state, last, fine = stream.save(), bars[299], bars[300]
    wrong = [last, bars[298], bars[0], fine._replace(close_time=fine.close_time + 60_000 * bars.minutes),
             fine._replace(open_time=fine.open_time - 1),
             *(fine._replace(**{f: x}) for f in ("open", "high", "low", "close") for x in (nan, inf, -inf, 0.0, -1.0)),
             *(fine._replace(volume=x) for x in (nan, inf, -1.0)), fine._replace(taker_buy=-1.0), fine._replace(taker_buy=2 * fine.volume),
             fine._replace(high=max(fine.open, fine.close) - 1e-6), fine._replace(low=min(fine.open, fine.close) + 1e-6)]
    for bar in wrong:
        with pytest.raises(DataError): stream.accept(bar)
        assert stream.save() == state, bar
    stream.accept(fine)
