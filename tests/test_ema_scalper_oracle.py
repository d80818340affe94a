"""The EMA scalper written a second time, from quant_spec C1, in pandas and TA-Lib over whole columns: the same signals on recorded candles.

Only the zones are read from our column: they have no vectorised form, and a slow second writing of their own.
"""
import numpy as np
import pandas as pd
import pytest
from fixtures.candles import real
from talib import ATR, EMA, RSI

from perps_kit.core.bar import Bars
from perps_kit.core.columns import Columns, leaves_of, signals_of
from perps_kit.core.stream import Stream
from perps_kit.strategies.ema_scalper import EmaScalper

BITS = {name: 1 << i for i, name in enumerate((*EmaScalper().filters, "spacing"))}


def ramp(x, a, b): return ((x - a) / (b - a)).clip(0, 1)


def frame_of(bars: Bars) -> pd.DataFrame:
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.to_datetime(bars.open_time, unit="ms", utc=True))


def direction(frame: pd.DataFrame, hours: int) -> np.ndarray:
    "B2 at each close of the 15m bars: the last complete bar of the higher timeframe, once there are 250 of them."
    bars = frame.resample(f"{hours}h").agg(close=("close", "last"), count=("close", "count"))
    bars = bars[bars["count"] == hours * 4]
    close = bars["close"]
    slow, fast = EMA(close, 200), EMA(close, 50)
    up, down = (close > slow) & (fast > fast.shift(5)), (close < slow) & (fast < fast.shift(5))
    way = (up.astype(float) - down.astype(float)).where(np.arange(len(bars)) >= 249)
    known = pd.DataFrame(dict(known=bars.index + pd.Timedelta(hours=hours), way=way.to_numpy()))
    asked = pd.DataFrame(dict(known=frame.index + pd.Timedelta(minutes=15)))
    return pd.merge_asof(asked, known, on="known")["way"].to_numpy()


def oracle(bars: Bars, zones, p: EmaScalper) -> pd.DataFrame:
    "All candidates: index, side, mode, raw score, what held it back."
    f = frame_of(bars)
    f["fast"], f["slow"] = EMA(f.close, p.fast), EMA(f.close, p.slow)
    f["rsi"], f["atr"] = RSI(f.close, 14), ATR(f.high, f.low, f.close, 14)
    f["vr"] = f.volume / f.volume.shift(1).rolling(20).mean()
    f["h1"], f["h4"] = direction(f, 1), direction(f, 4)
    f["roof"], f["floor"] = zones.resistance, zones.support
    drift = f.slow - f.slow.shift(3)
    needed = f[["fast", "slow", "rsi", "atr", "vr", "h1", "h4", "roof", "floor"]].notna().all(axis=1) & drift.notna()
    ready = needed & needed.shift(1, fill_value=False) & (f.atr > 0)

    above, over = f.fast > f.slow, f.fast.shift(1) > f.slow.shift(1)
    below, under = f.fast < f.slow, f.fast.shift(1) < f.slow.shift(1)
    cross_up, cross_down = above & ~over & (f.close > f.slow), below & ~under & (f.close < f.slow)
    apart = (f.fast - f.slow) / f.slow
    dip = (apart >= p.separation) & (drift > 0) & (f.low <= f.fast) & (f.close > f.fast) & (f.close > f.open)
    peak = (apart <= -p.separation) & (drift < 0) & (f.high >= f.fast) & (f.close < f.fast) & (f.close < f.open)
    crossing = cross_up | cross_down
    f["side"] = np.select([ready & cross_up, ready & cross_down, ready & dip, ready & peak], [1, -1, 1, -1], 0)
    f["mode"] = np.where(crossing, 0, 1)

    risk, s = p.stop_atr * f.atr, f.side
    room = np.where(s > 0, f.roof - f.close, f.close - f.floor).clip(0) / risk
    align = (s * f.h1 + s * f.h4) / 2
    minute = (f.index + pd.Timedelta(minutes=15)).hour * 60 + (f.index + pd.Timedelta(minutes=15)).minute
    headroom = pd.Series(np.where(s > 0, p.rsi_high - f.rsi, f.rsi - p.rsi_low), f.index)
    momentum = np.where(crossing, ramp(drift.abs() / f.atr, 0, 0.5), ramp(s * apart, 0.008, 0.016))
    score = (2.5 * ramp(f.vr, 1.2, 2.5) + 2 * momentum + 2 * align.clip(0) + 1.5 * ramp(headroom, 0, 20)
             + ramp(room, 0.8, 2) + ((minute >= 780) & (minute < 960)))
    f["raw"] = score.round(1)
    held = dict(volume=f.vr < p.surge, rsi=(f.rsi < p.rsi_low) | (f.rsi > p.rsi_high), session=(minute < p.opens) | (minute >= p.closes),
                room=room < p.room, alignment=align < 0, volatility=(100 * f.atr / f.close < 0.1) | (100 * f.atr / f.close > 10),
                stop_width=risk / f.close > p.max_stop, score=f.raw < p.least)
    f["failed"] = sum(BITS[name] * np.asarray(no).astype(int) for name, no in held.items())
    f["leave"] = np.where(needed & needed.shift(1, fill_value=False), (below & ~under).astype(int) - (above & ~over).astype(int), 0)
    f["i"] = np.arange(len(f))
    return spaced(f)


def spaced(f: pd.DataFrame) -> pd.DataFrame:
    "No pullback within eight bars of the last clean one of its side."
    last = {1: -99, -1: -99}
    for t in f.index[(f.side != 0) & (f["mode"] == 1) & (f.failed == 0)]:
        i, side = f.at[t, "i"], f.at[t, "side"]
        if i - last[side] <= 8: f.at[t, "failed"] = BITS["spacing"]
        else: last[side] = i
    return f


ALL = EmaScalper(surge=0.0, rsi_low=0.0, rsi_high=100.0, opens=0, closes=1440, room=0.0, max_stop=0.5, least=0.0)


@pytest.mark.parametrize("strategy, least", [(EmaScalper(), 40), (ALL, 1500)], ids=["as specified", "with open gates"])
@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
def test_the_same_signals_in_pandas(symbol, strategy, least):
    bars = real(symbol, n=100_000)
    columns = Columns(bars)
    ours, theirs = signals_of(strategy, columns), oracle(bars, columns.of(strategy, "zones"), strategy)
    clean = theirs[(theirs.side != 0) & (theirs.failed == 0)]
    assert len(ours) >= least and ours.index.tolist() == clean.i.tolist()
    side, mode, raw = (ours.table[:, ours.names.index(name)] for name in ("side", "mode", "raw"))
    assert (side == clean.side).all() and (mode == clean["mode"]).all() and np.allclose(raw, clean.raw, atol=1e-9)
    entry, stop = (ours.table[:, ours.names.index(name)] for name in ("entry", "stop"))
    np.testing.assert_allclose(stop, clean.close - clean.side * 1.5 * clean.atr, rtol=1e-9)
    assert (entry == clean.close).all() and (leaves_of(strategy, columns) == theirs["leave"]).all()


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
def test_the_same_candidates_and_the_same_reasons_to_hold_them_back(symbol):
    strategy, bars = EmaScalper(), real(symbol, start=20_000, n=9_000)
    theirs = oracle(bars, Columns(bars).of(strategy, "zones"), strategy)
    theirs = theirs[theirs.side != 0]
    stream = Stream({"it": strategy}, symbol, 15)
    ours = [c for bar in bars for step in stream.accept(bar) for c in step.candidates]
    assert len(ours) > 150
    assert [(c.bar.open_time, c.signal.side, c.signal.mode, c.signal.failed) for c in ours] == [
        (t.value // 1_000_000, r.side, r["mode"], r.failed) for t, r in theirs.iterrows()]
    np.testing.assert_allclose([c.signal.raw for c in ours], theirs.raw, atol=1e-9)
