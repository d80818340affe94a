"""What a peer is told and what it answers. Runs in the peers' environments, so it knows numpy alone.

The rules are those of benchmarks/cross.py. A peer gets candles and parameters in an .npz and prints one line of JSON.
"""
import json
import os
import sys
from resource import RUSAGE_SELF, getrusage
from time import process_time
from typing import Any

import numpy as np

os.environ.setdefault("TQDM_DISABLE", "1")
FIELDS = ("side", "entry_bar", "exit_bar", "entry", "exit")


def told() -> dict[str, Any]:
    "open_time, open, high, low, close, volume as arrays; the parameters as numbers; `sets`: an array (K, 2) of fast and slow, maybe empty."
    with np.load(sys.argv[1]) as file:
        return {name: file[name] if file[name].ndim else file[name].item() for name in file.files}


def answer(seconds: float, trades: list[tuple], **more: Any) -> None:
    "CPU seconds of a warm run, its trades as rows of FIELDS, and the most memory of the process in MB."
    memory = getrusage(RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps(dict(seconds=seconds, trades=trades, memory=memory, **more)))


def timed(work: Any, times: int = 1) -> tuple[float, Any]:
    "The least CPU time of some runs, and what the last one gave."
    spent, found = [], None
    for _ in range(times):
        begun = process_time()
        found = work()
        spent.append(process_time() - begun)
    return min(spent), found


def seeded(x: np.ndarray, n: int, alpha: float) -> np.ndarray:
    "An exponential average that begins with the mean of its first n values, by pandas."
    import pandas as pd
    began = np.concatenate([[x[:n].mean()], x[n:]])
    return np.concatenate([np.full(n - 1, np.nan), pd.Series(began).ewm(alpha=alpha, adjust=False).mean().to_numpy()])


def averages(t: dict[str, Any]) -> dict[str, np.ndarray]:
    "RSI, ATR and volume ratio the way of the house."
    import pandas as pd
    close, before = t["close"], t["close"][:-1]
    change, reach = np.diff(close), np.maximum(t["high"][1:], before) - np.minimum(t["low"][1:], before)
    gain, loss = (np.concatenate([[np.nan], seeded(np.maximum(s * change, 0.0), 14, 1 / 14)]) for s in (1, -1))
    volume = pd.Series(t["volume"])
    return dict(rsi=100 * gain / (gain + loss), atr=np.concatenate([[np.nan], seeded(reach, 14, 1 / 14)]),
                ratio=(volume / volume.shift(1).rolling(20).mean()).to_numpy())
