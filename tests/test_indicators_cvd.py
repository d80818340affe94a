"Cumulative volume delta (R56) against recorded trades, the venue's own candles, and exact sums."
import gzip
import json
import zipfile
from fractions import Fraction
from itertools import pairwise
from math import fsum, isnan, nan, ulp

import numpy as np
import pandas as pd
import pytest
from fixtures.candles import REAL, candle, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import Bar, DataError, check_bar
from perps_kit.core.features import on
from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.data.look import look
from perps_kit.indicators.cvd import CVD, CVDView, TradeCVD, plus

SHARED = REAL.parent
UNKNOWN = CVDView(nan, nan, nan, 0.0, 0.0)


def recorded(name: str):
    "A recorded file, or a skip where it is not at hand."
    path = SHARED / name
    if not path.exists(): pytest.skip(f"{name} of ../shared/data is not here")
    return path


def of(i: int, taker_buy: float, volume: float = 10.0, close: float = 1.0) -> Bar:
    return candle(i, 1.0, max(1.0, close), min(1.0, close), close, volume)._replace(taker_buy=taker_buy)


def rows(bars, **choices) -> list[CVDView]: return fold(CVD.of(**choices), bars)[1]


@pytest.fixture(scope="module")
def ape() -> pd.DataFrame:
    "A day of aggregated trades of a future as the archive gives them."
    with zipfile.ZipFile(recorded("binance_vision/futures-APEUSDT-aggTrades-2024-10-18.zip")) as box:
        return pd.read_csv(box.open(box.namelist()[0]))


def minutes_of(trades: pd.DataFrame) -> pd.DataFrame:
    "Volume and taker volume of each minute with a trade, by pandas."
    bought = trades.quantity.where(~trades.is_buyer_maker, 0.0)
    return pd.DataFrame(dict(volume=trades.quantity, taker_buy=bought)).groupby(trades.transact_time // 60_000).sum()


def test_a_day_of_recorded_trades_agrees_with_its_minutes(ape):
    """There are no candles of this contract among the recordings, so the minutes are gathered from its trades by pandas: this holds the two
    roads to each other, and the venue's own candles are held against its trades below."""
    table = minutes_of(ape)
    seen = rows([Bar(int(m) * 60_000, int(m + 1) * 60_000, 1.0, 1.0, 1.0, 1.0, v, b) for m, v, b in table.itertuples()])
    pairs = list(zip(ape.quantity.tolist(), ape.is_buyer_maker.astype(float).tolist(), strict=True))
    by_trade = pd.Series(fold(TradeCVD.of(), pairs)[1]).groupby(ape.transact_time // 60_000).last()
    assert len(table) > 1000 and len(ape) > 40_000
    np.testing.assert_allclose([row.cvd for row in seen], by_trade.to_numpy(), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose([row.delta for row in seen], np.diff(np.r_[0.0, by_trade.to_numpy()]), rtol=1e-12, atol=1e-9)
    exact = sum((-Fraction(str(q)) if maker else Fraction(str(q)) for q, maker in pairs), Fraction(0))
    assert abs(Fraction(seen[-1].cvd) - exact) < Fraction(1, 10**9)


def test_the_flag_means_what_the_venue_counts_in_its_own_candles():
    "Between two updates of a forming candle whose trades were all recorded, taker volume grows by what the flag says, to the last digit."
    candles, trades, compared = {}, {}, 0
    with gzip.open(recorded("exchange_captures/BINANCE_FUTURES.ws.1.0.gz"), "rt") as lines:
        for text in lines:
            said = json.loads(text[text.index('{"stream'):])["data"] if '{"stream' in text else {}
            if said.get("e") == "aggTrade": trades.setdefault(said["s"], []).append(said)
            if said.get("e") == "kline": candles.setdefault(said["s"], []).append(said["k"])
    for symbol, updates in candles.items():
        for a, b in pairwise(updates):
            between = [t for t in trades[symbol] if t["f"] > a["L"] and t["l"] <= b["L"]]
            if a["t"] != b["t"] or sum(t["l"] - t["f"] + 1 for t in between) != b["L"] - a["L"]: continue
            volume, bought = (Fraction(b[key]) - Fraction(a[key]) for key in ("v", "V"))
            assert 2 * bought - volume == sum((-Fraction(t["q"]) if t["m"] else Fraction(t["q"]) for t in between), Fraction(0))
            flow = fold(TradeCVD.of(), [(float(t["q"]), float(t["m"])) for t in between])[1]
            row = rows([of(0, float(bought), float(volume))])[0]
            assert abs(row.delta - (flow[-1] if flow else 0.0)) <= 1e-9
            compared += len(between) > 0
    assert compared >= 30


def test_each_row_by_pandas():
    bars = walk(1)
    taker = bars.volume * np.random.default_rng(1).random(len(bars))
    seen = rows([bar._replace(taker_buy=t) for bar, t in zip(bars, taker.tolist(), strict=True)])
    delta = pd.Series(2 * taker - bars.volume)
    for name, expected in (("delta", delta), ("cvd", delta.cumsum()), ("usual", delta.abs().rolling(20).mean())):
        np.testing.assert_allclose([getattr(row, name) for row in seen], expected, rtol=1e-12, atol=1e-9, err_msg=name)
    assert [row.since for row in seen] == list(range(1, len(bars) + 1)) and {row.proxied for row in seen} == {0.0}


def test_the_sum_does_not_drift():
    "Two hundred thousand quantities from dust to whales: right to the last place, where a plain sum is off by hundreds of them."
    rng = np.random.default_rng(2)
    quantities, makers = rng.lognormal(0.0, 6.0, 200_000).tolist(), (rng.random(200_000) < 0.5).astype(float).tolist()
    unit, out = fold(TradeCVD.of(), list(zip(quantities, makers, strict=True)))
    signed = [-q if m else q for q, m in zip(quantities, makers, strict=True)]
    exact, plain = fsum(signed), float(np.cumsum(signed)[-1])
    assert abs(out[-1] - exact) <= ulp(exact) < abs(plain - exact)
    back = fold(unit, [(-q, m) for q, m in zip(quantities, makers, strict=True)])[1][-1]
    assert abs(back) <= ulp(exact), "what is taken out again leaves nothing behind"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.floats(-1e12, 1e12), st.sampled_from([1e16, -1e16, 0.1, -0.0])), max_size=60))
def test_the_carried_sum_is_nearly_exact(xs):
    total, carry = 0.0, 0.0
    for x in xs: total, carry = plus(total, carry, x)
    error = abs(Fraction(total) + Fraction(carry) - sum(map(Fraction, xs), Fraction(0)))
    assert error <= Fraction(2) ** -104 * len(xs) ** 2 * sum((abs(Fraction(x)) for x in xs), Fraction(0))


def test_an_unknown_bar_begins_the_count_anew():
    seen = rows([of(0, 6.0), of(1, 7.0), of(2, nan), of(3, nan), of(4, 3.0), of(5, 10.0), of(6, 4.0)], n=2)
    assert same_bits(seen[2:4], [UNKNOWN] * 2)
    assert [row.since for row in seen] == [1, 2, 0, 0, 1, 2, 3]
    assert same_bits(seen[4:], rows([of(0, 3.0), of(1, 10.0), of(2, 4.0)], n=2)), "behind it all is as at a first bar"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.just(nan), st.floats(0, 10)), max_size=60), st.integers(1, 5))
def test_since_tells_which_differences_are_sound(takers, k):
    "A change over k bars is asked for only where since > k; there it is the sum of k known deltas."
    seen = rows([of(i, t) for i, t in enumerate(takers)], n=3)
    for t, row in enumerate(seen):
        known = t >= k and not any(isnan(x) for x in takers[t - k:t + 1])
        assert known == (row.since > k)
        if known: assert abs(row.cvd - seen[t - k].cvd - sum(r.delta for r in seen[t - k + 1:t + 1])) < 1e-9
        assert isnan(row.usual) == (row.since < 3)


def test_candle_colour_only_where_asked_for_and_flagged():
    bars = [of(0, 6.0), of(1, nan, close=1.5), of(2, nan, close=0.5), of(3, nan, close=1.0), of(4, 1.0), of(5, nan, close=2.0)]
    seen = rows(bars, proxy=1, n=1)
    assert [(row.delta, row.cvd, row.since, row.proxied) for row in seen] == [
        (2, 2, 1, 0), (10, 10, 1, 1), (-10, 0, 2, 1), (0, 0, 3, 1), (-8, -8, 1, 0), (10, 10, 1, 1)]
    assert [row.usual for row in seen] == [2, 10, 10, 0, 8, 10]
    assert same_bits(rows(bars)[1], UNKNOWN)


def test_without_taker_volume_there_is_no_cvd():
    seen = look(walk(3, 100), cvd=on(CVD.of())).cvd
    assert np.isnan([seen.delta, seen.cvd, seen.usual]).all() and not seen.since.any()


def test_empty_bars_and_the_ends_of_the_range():
    seen = rows([of(0, 0.0), of(1, 10.0), of(2, 0.0, volume=0.0), of(3, 5.0)], n=2)
    assert [row.delta for row in seen] == [-10, 10, 0, 0] and [row.usual for row in seen[1:]] == [10, 5, 0]


@pytest.mark.parametrize("taker", [-0.001, 10.001, float("inf")])
def test_taker_volume_out_of_range_is_refused_at_the_door(taker):
    with pytest.raises(DataError, match="taker volume"): check_bar(of(0, taker))
    bars = walk(4, 30)
    bars.taker_buy[:] = 0.5 * bars.volume
    bars.taker_buy[7] = bars.volume[7] + 1.0
    with pytest.raises(DataError, match="volume fault at row 7"): look(bars, cvd=on(CVD.of()))


def test_a_trade_of_unknown_size_or_side_is_not_counted():
    seen = fold(TradeCVD.of(), [(1.0, 0.0), (nan, 0.0), (2.0, nan), (0.25, 1.0)])[1]
    assert seen[0] == 1.0 and isnan(seen[1]) and isnan(seen[2]) and seen[3] == 0.75


def test_stopping_anywhere_and_going_on_changes_nothing():
    bars = [of(i, nan if i == 9 else float(i % 11)) for i in range(40)]
    whole = rows(bars, n=5)
    for cut in (0, 8, 9, 10, 25):
        half, _ = fold(CVD.of(n=5), bars[:cut])
        assert same_bits(fold(loads(CVD.of(n=5), dumps(half)), bars[cut:])[1], whole[cut:])


@pytest.mark.parametrize("name, value", [("n", 0), ("n", -5), ("proxy", 2), ("proxy", -1), ("n", 2.5)])
def test_nonsense_is_refused(name, value):
    with pytest.raises(ParameterError, match=f"CVD: {name} = {value} "): CVD.of(**{name: value})
