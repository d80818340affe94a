"Whether what came lately is drawn from what came before: how far apart two samples are, and how often chance alone parts them as far."

from typing import NamedTuple

import numpy as np

LEAST = 20  # values that each side needs
DRAWS, SEED = 2000, 20_240_101


class Drift(NamedTuple):
    "Two samples compared; nan where one is too small."

    recent: int
    past: int
    ks: float  # largest distance of the two distribution functions
    psi: float  # population stability index over tenths of the past
    ks_chance: float  # share of random divisions that are as far apart: a p-value
    psi_chance: float


def edges_of(past: np.ndarray, bins: int = 10) -> np.ndarray:
    "The inner edges, (at most bins - 1,), between parts of the past that hold about as many values each."
    return np.unique(np.quantile(past, np.arange(1, bins) / bins))


def psi(recent: np.ndarray, past: np.ndarray, edges: np.ndarray) -> float:
    "Population stability index between shares in bins; half a value is added to each, so that an empty one counts without being infinite."
    n = len(edges) + 1
    a, b = (np.bincount(np.searchsorted(edges, x, side="left"), minlength=n) + 0.5 for x in (recent, past))
    a, b = a / a.sum(), b / b.sum()
    return float(((a - b) * np.log(a / b)).sum())


def ks(recent: np.ndarray, past: np.ndarray) -> float:
    "Largest distance between the empirical distribution functions (Kolmogorov and Smirnov)."
    at = np.concatenate([recent, past])
    a, b = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (recent, past))
    return float(np.abs(a - b).max())


def drift(recent: np.ndarray, past: np.ndarray, least: int = LEAST, draws: int = DRAWS, seed: int = SEED) -> Drift:
    "Compare; the shares of chance are those of `draws` random divisions of all values, so ties and small samples are no matter."
    x, y = np.asarray(recent, float), np.asarray(past, float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("drift is told of finite numbers only: leave out what is nan")
    if min(len(x), len(y)) < least:
        return Drift(len(x), len(y), np.nan, np.nan, np.nan, np.nan)
    both, rng, hits = np.concatenate([x, y]), np.random.default_rng(seed), np.zeros(2)
    far, wide = ks(x, y), psi(x, y, edges_of(y))
    for _ in range(draws):
        drawn = rng.permutation(both)
        one, other = drawn[: len(x)], drawn[len(x) :]
        hits += ks(one, other) >= far - 1e-12, psi(one, other, edges_of(other)) >= wide - 1e-12
    ks_chance, psi_chance = (hits + 1) / (draws + 1)
    return Drift(len(x), len(y), far, wide, float(ks_chance), float(psi_chance))
