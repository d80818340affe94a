"VWAP of days, weeks and sessions, and from anchors, against pandas and against sums from nothing at every bar (A7, R57, R58)."
from fractions import Fraction
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fixtures.candles import QUARTER, candle, real, walk

from perps_kit.core.bar import Bars
from perps_kit.core.features import on, prefixed
from perps_kit.core.unit import ParameterError, fold, same_bits
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars
from perps_kit.indicators.anchored_vwap import HIGH_VOLUME, SWING_HIGH, SWING_LOW, AnchoredVWAP
from perps_kit.indicators.swings import Swings
from perps_kit.indicators.vwap import DAILY, LONDON, US, VWAP, WEEKLY, Sums, added, opened, read

SERIES = {"sample": lambda: sample_bars("SOLUSDT")[:1500], "silent": lambda: silent(), "bitcoin": lambda: real("BTC", 30_000, 1500)}
HOUR = 3_600_000


def silent() -> Bars:
    "A walk with long stretches without volume, and volumes that tie."
    bars = walk(3, 1500)
    volume = np.round(bars.volume / 20) * 20
    volume[96:140] = volume[400:520] = volume[700:701] = 0.0
    return Bars.from_columns("SILENT", 15, bars.open_time, bars.open, bars.high, bars.low, bars.close, volume)


@pytest.fixture(params=SERIES)
def bars(request):
    return SERIES[request.param]()


def from_nothing(bars: Bars, begin: int, end: int, width: float) -> tuple[float, ...]:
    "VWAP, bands and deviation over bars begin to end, both included."
    part = bars[begin:end + 1]
    price = (part.high + part.low + part.close) / 3
    if not part.volume.sum() > 0: return price[0], price[0], price[0], 0.0
    mean = np.average(price, weights=part.volume)
    spread = np.sqrt(np.average((price - mean) ** 2, weights=part.volume))
    return mean, mean + width * spread, mean - width * spread, spread


def close_to(ours: tuple, theirs: tuple, where: object) -> None:
    np.testing.assert_allclose(ours[:3], theirs[:3], rtol=1e-9, err_msg=str(where))
    np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-9, atol=1e-12 * theirs[0], err_msg=str(where))


PERIODS = {DAILY: lambda t: t.floor("D"), WEEKLY: lambda t: (t - pd.to_timedelta(t.day_of_week, "D")).floor("D"),
           LONDON: lambda t: t.floor("D").where((t.hour >= 8) & (t.hour < 16)),
           US: lambda t: t.floor("D").where((t.hour >= 13) & (t.hour < 21))}


@pytest.mark.parametrize("kind", PERIODS)
def test_vwap_agrees_with_a_cumulative_sum_by_pandas(bars, kind):
    time = pd.to_datetime(bars.open_time, unit="ms")
    frame = pd.DataFrame(dict(period=PERIODS[kind](time), time=bars.open_time, p=(bars.high + bars.low + bars.close) / 3, v=bars.volume))
    frame["pv"] = frame.p * frame.v
    group = frame.groupby("period", dropna=True)
    sums, first = group[["pv", "v"]].cumsum(), group["p"].transform("first")
    expected = (sums.pv / sums.v).where(sums.v > 0, first)
    begun = group["time"].transform("first")
    whole = frame.period.notna() & (begun == [opened(kind, x) for x in frame.time])
    seen = look(bars, vwap=on(VWAP.of(kind))).vwap
    np.testing.assert_allclose(seen.vwap, expected.where(whole), rtol=1e-9)
    assert np.isfinite(seen.vwap).sum() > 200


@pytest.mark.parametrize("kind", [DAILY, WEEKLY])
def test_bands_are_those_of_the_bars_since_the_anchor(bars, kind):
    start = -1
    for i, (bar, y) in enumerate(zip(bars, fold(VWAP.of(kind, 1.5), bars)[1])):
        if opened(kind, bar.open_time) == bar.open_time: start = i
        if start < 0: assert np.isnan(y.vwap)
        elif i % 7 == 0: close_to(tuple(y), from_nothing(bars, start, i, 1.5), i)


def test_sessions_are_half_open_on_the_time_a_bar_opens():
    known = {kind: [i for i in range(96) if opened(kind, i * QUARTER) >= 0] for kind in (DAILY, LONDON, US)}
    assert known == {DAILY: list(range(96)), LONDON: list(range(32, 64)), US: list(range(52, 84))}
    assert opened(WEEKLY, 4 * 24 * HOUR) == 4 * 24 * HOUR and opened(WEEKLY, 4 * 24 * HOUR - 1) == -3 * 24 * HOUR
    assert pd.Timestamp(opened(WEEKLY, 1_760_000_000_000), unit="ms").weekday() == 0


def test_a_period_entered_in_the_middle_has_no_line_and_a_lost_opening_bar_takes_the_day():
    assert all(np.isnan(y.vwap) for y in fold(VWAP.of(), [candle(i, 5, 5, 5, 5) for i in range(40, 96)])[1])
    day = fold(VWAP.of(), [candle(i, 5, 5, 5, 5) for i in [*range(0, 96), *range(97, 200)]])[1]
    assert day[95].vwap == 5.0 and np.isnan(day[96].vwap) and np.isnan(day[190].vwap) and day[191].vwap == 5.0


def test_the_deviation_survives_a_high_price_over_a_week():
    rng = np.random.default_rng(8)
    close = 1e5 + rng.normal(0, 0.5, 672)
    bars = Bars.from_columns("HIGH", 15, QUARTER * (384 + np.arange(672)), close, close, close, close, rng.lognormal(3, 1, 672))
    np.testing.assert_allclose(fold(VWAP.of(WEEKLY), bars)[1][-1].deviation, from_nothing(bars, 0, 671, 1.0)[3], rtol=1e-9)


@pytest.mark.parametrize("kind", [DAILY, WEEKLY, SWING_HIGH, SWING_LOW, HIGH_VOLUME])
def test_anchored_lines_are_those_of_the_bars_since_their_anchor(bars, kind):
    swings = fold(Swings.of(5), bars)[1]
    seen = fold(AnchoredVWAP.of(kind, 1.5), [(bar, s.kind, s.high_ago, s.low_ago) for bar, s in zip(bars, swings)])[1]
    anchor = None
    for i, (bar, s, y) in enumerate(zip(bars, swings, seen)):
        if kind in (DAILY, WEEKLY): anchor = i if opened(kind, bar.open_time) == bar.open_time else anchor
        elif kind == SWING_HIGH: anchor = i - 5 if s.kind in (1, 2, -2) else anchor
        elif kind == SWING_LOW: anchor = i - 5 if s.kind in (-1, 2, -2) else anchor
        elif i >= 95: anchor = i - int(np.argmax(bars.volume[i - 95:i + 1][::-1]))
        if anchor is None: assert np.isnan(y.vwap) and np.isinf(y.ago)
        else:
            assert y.ago == i - anchor, i
            if i % 5 == 0: close_to(tuple(y), from_nothing(bars, anchor, i, 1.5), i)
    assert anchor is not None


def test_a_swing_that_replaces_another_moves_the_anchor():
    quiet = [(candle(i, 10, 10, 10, 10), 0.0, nan, nan) for i in range(4)]
    unit = fold(AnchoredVWAP.of(SWING_HIGH), [*quiet, (candle(4, 12, 12, 12, 12), 1.0, 2.0, nan)])[0]
    assert unit.anchor == 2 and unit.update(candle(5, 15, 15, 15, 15), 1.0, 1.0, nan)[0].anchor == 4


def test_a_price_that_moves_away_from_an_empty_anchor_and_then_stands_still_has_no_deviation():
    quiet = [candle(96, 1e5, 1e5, 1e5, 1e5, 0.0), *(candle(97 + i, 1.2e5, 1.2e5, 1.2e5, 1.2e5, 3.7) for i in range(50))]
    assert fold(VWAP.of(), quiet)[1][-1] == (1.2e5, 1.2e5, 1.2e5, 0.0, pytest.approx(50 * 3.7))
    nearly = [candle(96, 1e5, 1e5, 1e5, 1e5, 1e-9), *(candle(97 + i, *[1.2e5 + i % 2] * 4, 3.7) for i in range(50))]
    bars = Bars.of("FAR", 15, nearly)
    np.testing.assert_allclose(fold(VWAP.of(), bars)[1][-1].deviation, from_nothing(bars, 0, 50, 1.0)[3], rtol=1e-7)


def test_trades_in_the_place_of_bars_give_the_vwap_of_trades():
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "binance_vision" / "futures-APEUSDT-aggTrades-2024-10-18.zip"
    if not path.exists(): pytest.skip("recorded trades are not here: binance_vision of ../shared/data")
    trades = pd.read_csv(path)
    price, quantity = trades.price.tolist(), trades.quantity.tolist()
    sums, seen = Sums(0.0, price[0], 0.0), []
    for p, q in zip(price, quantity, strict=True):
        sums = added(sums, p, q)
        seen.append(sums)
    for i in (0, 10, 1000, len(price) - 1):
        exact = Fraction(0)
        for p, q in zip(price[:i + 1], quantity[:i + 1], strict=True): exact += Fraction(p) * Fraction(q)
        mean, y = float(exact / sum(map(Fraction, quantity[:i + 1]))), read(seen[i], 2.0)
        spread = np.sqrt(np.average((np.array(price[:i + 1]) - mean) ** 2, weights=quantity[:i + 1]))
        assert y.vwap == pytest.approx(mean, rel=1e-12) and y.deviation == pytest.approx(spread, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", [DAILY, WEEKLY, SWING_HIGH, SWING_LOW, HIGH_VOLUME])
def test_every_kind_compiles_to_the_same_bits(bars, kind):
    pytest.importorskip("numba")
    wishes = prefixed("line_", AnchoredVWAP.wired(kind=kind)) | dict(vwap=on(VWAP.of(kind % 4)))
    plain, compiled = (look(bars, compiled, **wishes) for compiled in (False, True))
    assert all(same_bits(np.array(a), np.array(b)) for a, b in ((plain[1], compiled[1]), (plain[2], compiled[2])))


@pytest.mark.parametrize("kind", [LONDON, US])
def test_a_session_is_no_anchor(kind):
    with pytest.raises(ParameterError, match=f"AnchoredVWAP: kind = {kind} is a session"): AnchoredVWAP.of(kind)


@pytest.mark.parametrize("ago", [nan, 51.0, 9.0, -1.0])
def test_a_distance_that_the_ring_does_not_hold_is_no_anchor(ago):
    unit = fold(AnchoredVWAP.of(SWING_HIGH), [(candle(i, 10, 10, 10, 10), 0.0, nan, nan) for i in range(4)])[0]
    assert unit.update(candle(4, 12, 12, 12, 12), 1.0, ago, nan)[0].anchor == -1
