"""vectorbt, as its users write a sweep: columns of signals for all sets at once, stops as fractions of the entry.

Its stops are first looked at on the bar after the entry, whatever it is told; those exits come a bar or more late.
"""
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from told import answer, averages, seeded, timed, told

CHUNK = 100     # sets at once: all of them would take some gigabytes


def wishes(t: dict[str, Any], pairs: np.ndarray) -> tuple[np.ndarray, ...]:
    "Entries and short entries at the bars of their fills, stops and targets as fractions of the open; each (n, sets)."
    close, first, it = t["close"], t["open"], averages(t)
    kept = {n: seeded(close, int(n), 2 / (n + 1)) for n in np.unique(pairs)}
    fast, slow = (np.stack([kept[n] for n in pairs[:, k]], axis=1) for k in (0, 1))
    above, below = fast > slow, fast < slow
    with np.errstate(invalid="ignore"):
        calm = (it["rsi"] >= t["rsi_low"]) & (it["rsi"] <= t["rsi_high"]) & (it["ratio"] >= t["surge"])
    known = ~np.isnan(fast[:-1]) & ~np.isnan(slow[:-1]) & ~np.isnan(it["ratio"][:-1, None]) & calm[1:, None]
    up, down = known & ~above[:-1] & above[1:], known & ~below[:-1] & below[1:]
    risk = t["stop_atr"] * it["atr"]

    def at_fill(x: np.ndarray) -> np.ndarray: return np.concatenate([np.zeros((2, *x.shape[1:]), x.dtype), x[:-1]])
    shifted, base = (np.concatenate([[np.nan], x[:-1]]) for x in (risk, close))
    longs, shorts = at_fill(up), at_fill(down)
    with np.errstate(invalid="ignore"):
        longs, shorts = longs & (first > base - shifted)[:, None], shorts & (first < base + shifted)[:, None]
    way = np.where(longs, 1.0, -1.0)
    stop = way * (first[:, None] - (base[:, None] - way * shifted[:, None])) / first[:, None]
    target = way * (base[:, None] + way * t["multiple"] * shifted[:, None] - first[:, None]) / first[:, None]
    return longs, shorts, np.where(longs | shorts, stop, np.nan), np.where(longs | shorts, target, np.nan)


def simulated(t: dict[str, Any], pairs: np.ndarray) -> Any:
    longs, shorts, stop, target = wishes(t, pairs)
    index = pd.to_datetime(t["open_time"], unit="ms")
    close, first, high, low = (pd.Series(t[name], index=index) for name in ("close", "open", "high", "low"))
    return vbt.Portfolio.from_signals(close, entries=longs, exits=False, short_entries=shorts, short_exits=False, price=first, size=1.0,
                                      init_cash=1e9, fees=t["fee"], open=first, high=high, low=low, sl_stop=stop, tp_stop=target,
                                      stop_entry_price="FillPrice", upon_opposite_entry="Ignore", freq="15min")


def run(t: dict[str, Any], pairs: np.ndarray) -> list[np.ndarray]:
    "Trades, and of each set the number of trades and the mean return."
    found = []
    for k in range(0, len(pairs), CHUNK):
        trades = simulated(t, pairs[k:k + CHUNK]).trades
        trades.count(), trades.returns.mean()
        found.append(trades.records_arr)
    return found


def main() -> None:
    t = told()
    pairs = t["sets"] if len(t["sets"]) else np.array([[t["fast"], t["slow"]]])
    run({**t, **{k: t[k][:3000] for k in ("open_time", "open", "high", "low", "close", "volume")}}, pairs[:2])
    if len(pairs) == 1: run(t, pairs)
    seconds, found = timed(lambda: run(t, pairs), 3 if len(pairs) == 1 else 1)
    first = found[0][found[0]["col"] == 0]
    rows = [(1 if r["direction"] == 0 else -1, int(r["entry_idx"]), int(r["exit_idx"]), float(r["entry_price"]), float(r["exit_price"]))
            for r in first if r["status"] == 1]
    answer(seconds, rows, count=sum(map(len, found)))


main()
