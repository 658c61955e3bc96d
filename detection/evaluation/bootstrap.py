"""Bootstrap intervals: windows of one tile look alike, so tiles are resampled, not windows.

Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 2026
_LEVEL = 0.95
# Resamples whose weights are held at once, so that memory stays flat with many observations.
_AT_ONCE = 500

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; None bounds where there are too few tiles to have one."""

    value: float
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """Its values, with four decimals."""
        values = {"value": self.value, "low": self.low, "high": self.high}
        return {key: None if v is None else round(v, 4) for key, v in values.items()}


def bootstrap(
    observations: _Floats,
    clusters: Sequence[Hashable],
    statistic: Callable[[_Floats], _Floats],
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """The statistic of summed observations, with the interval over resampled clusters.

    Args:
        observations: (n, k), such as the counts of a window.
        clusters: (n,) the tile of each.
        statistic: sums (r, k) -> values (r,), NaN where there is none.

    Returns:
        None where the statistic of all observations is NaN: there is nothing to evaluate.
    """
    groups, of_group = _groups(clusters)
    sums = np.zeros((groups, observations.shape[1]))
    np.add.at(sums, of_group, observations)
    value = float(statistic(sums.sum(0, keepdims=True))[0])
    if np.isnan(value):
        return None
    if groups < 2:
        return Estimate(value)
    weights = _weights(groups, resamples)
    return _interval(value, statistic(weights @ sums))


def bootstrap_weighted(
    clusters: Sequence[Hashable],
    statistic: Callable[[_Floats], _Floats],
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """As `bootstrap`, for a statistic that is not one of sums (a median, an average precision).

    Args:
        statistic: weights (r, n) of the n observations -> values (r,), NaN where there is none.
    """
    if not clusters:
        return None
    groups, of_group = _groups(clusters)
    value = float(statistic(np.ones((1, len(clusters))))[0])
    if np.isnan(value):
        return None
    if groups < 2:
        return Estimate(value)
    weights = _weights(groups, resamples)
    parts = [
        statistic(weights[start : start + _AT_ONCE][:, of_group])
        for start in range(0, resamples, _AT_ONCE)
    ]
    return _interval(value, np.concatenate(parts))


def weighted_quantile(values: _Floats, weights: _Floats, share: float) -> _Floats:
    """The quantile (r,) of values (n,) that occur weights (r, n) times; inverse of the CDF."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[:, order], axis=1)
    total = cumulative[:, -1:]
    index = (cumulative >= share * total - 1e-9).argmax(axis=1)
    return np.where(total[:, 0] > 0, values[order][index], np.nan)


def _groups(clusters: Sequence[Hashable]) -> tuple[int, NDArray[np.intp]]:
    number = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    return len(number), np.array([number[cluster] for cluster in clusters], dtype=np.intp)


@lru_cache(maxsize=16)
def _weights(groups: int, resamples: int) -> _Floats:
    """How often each cluster is in each resample (r, groups); the same for all rivals."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(groups, np.full(groups, 1 / groups), resamples).astype(float)


def _interval(value: float, resampled: _Floats) -> Estimate:
    known = resampled[~np.isnan(resampled)]
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Estimate(value, float(low), float(high))
