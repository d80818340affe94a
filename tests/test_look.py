"Any unit over any candles: bad candles are refused with their row, one pass gives what many give, a wrong wish is named."
from dataclasses import replace

import numpy as np
import pytest
from fixtures.candles import walk

from perps_kit.core.bar import DataError
from perps_kit.core.compiled import have_numba
from perps_kit.core.features import htf, on, prefixed
from perps_kit.core.registry import units, wiring
from perps_kit.core.unit import same_bits
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.atr import ATR
from perps_kit.indicators.ema import EMA

FED = [e for e in units() if e.kind == "indicator" and wiring(e.cls)]
order = np.arange(60)


def spoiled(**columns: tuple[int, float]):
    bars = walk(1, 60)
    changed = {name: getattr(bars, name).copy() for name in columns}
    for name, (row, value) in columns.items(): changed[name][row] = value
    return replace(bars, **changed)


@pytest.mark.parametrize(("bars", "words"), [
    (walk(1, 60)[np.where(order == 30, 31, np.where(order == 31, 30, order))], "order fault at row 31"),
    (walk(1, 60)[np.where(order == 30, 29, order)], "duplicate fault at row 30"),
    (spoiled(close=(12, np.nan)), "nan fault at row 12"), (spoiled(open=(3, np.inf)), "nan fault at row 3"),
    (spoiled(high=(20, 1.0)), "ohlc fault at row 20"), (spoiled(low=(20, 1e6)), "ohlc fault at row 20"),
    (spoiled(low=(7, -1.0)), "ohlc fault at row 7"), (spoiled(volume=(40, -0.1)), "volume fault at row 40"),
    (spoiled(open_time=(40, 5)), "order fault at row 40")])
def test_bad_candles_are_refused_whatever_is_asked(bars, words):
    for wish in (dict(ema=on(EMA.of(9), "close")), dict(atr=on(ATR.of(14)))):
        with pytest.raises(DataError, match=words): look(bars, **wish)


@pytest.mark.parametrize("entry", FED, ids=lambda e: e.name)
def test_one_pass_gives_the_same_bits(entry):
    bars, others = sample_bars("SOLUSDT")[:500], dict(ema=on(EMA.of(9), "close"), hour=htf(60, EMA.of(3), "close"))
    wishes = prefixed("a_", wiring(entry.cls)) | others
    one, many = (look(bars, False, fused, **wishes) for fused in (True, False))
    assert all(same_bits(np.array(a), np.array(b)) for a, b in zip(one, many, strict=True))


def test_one_pass_of_everything_compiles():
    if not have_numba(): pytest.skip("numba is not installed")
    bars, wishes = sample_bars("SOLUSDT")[:500], {}
    for e in FED[:12]: wishes |= prefixed(f"{e.name}_", wiring(e.cls))
    one, many = (look(bars, True, fused, **wishes) for fused in (True, False))
    assert all(same_bits(np.array(a), np.array(b)) for a, b in zip(one, many, strict=True))


def test_no_candles_give_no_values():
    seen = look(sample_bars("SOLUSDT")[:0], ema=on(EMA.of(9), "close"), atr=on(ATR.of(14)))
    assert len(seen.ema) == len(seen.atr) == 0


@pytest.mark.parametrize(("wish", "words"), [
    (dict(ema=on(EMA.of(9), "clsoe")), "'clsoe' is neither a bar field nor an earlier feature"),
    (dict(ema=htf(20, EMA.of(9), "close")), "asks for 20 minutes, which 15 minutes do not divide")])
def test_a_wrong_wish_is_named(wish, words):
    with pytest.raises(ValueError, match=words): look(sample_bars("SOLUSDT")[:50], **wish)
