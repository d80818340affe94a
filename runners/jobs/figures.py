"The few figures of a report, each with how little it may mean."

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np


def wilson(wins: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    "The 95 % interval of a rate of `wins` out of `n` (Wilson 1927); nan where n is 0."
    if not n:
        return nan, nan
    rate, spread = wins / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float], draws: int = 5_000, seed: int = 7) -> tuple[float, float, float]:
    "The mean, and the 2.5 and 97.5 percentiles of the means of `draws` seeded resamplings; nan for the two below two values."
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2:
        return (float(sample[0]) if len(sample) else nan), nan, nan
    chosen = np.random.default_rng(seed).integers(0, len(sample), (draws, len(sample)))
    low, high = np.percentile(sample[chosen].mean(axis=1), [2.5, 97.5])
    return float(sample.mean()), float(low), float(high)
