"""Patient-level cluster bootstrap: whole patients are drawn, each with all its cases.

C. A. Field and A. H. Welsh, J. R. Statist. Soc. B 69 (2007) 369-390.  Intervals are percentiles
(B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13) or corrected
for bias and acceleration (B. Efron, JASA 82 (1987) 171-185), the acceleration from leaving out one
patient at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.statistics.arrays import Counts, Floats
from primum_repo_tools.statistics.interval import Interval, hull
from primum_repo_tools.statistics.tango import tango_interval

Statistic: TypeAlias = Callable[[Floats], Floats]
"""From sums [..., columns] to values [...]; NaN where the sums give none."""

_CHUNK = 256
"""Replicates drawn at once: bounds the memory to this many times the number of patients."""

MOST_LEFT_OUT = 200
"""Groups of patients of which one is left out at a time; each costs as much as a draw."""

_NORMAL = NormalDist()


class Method(StrEnum):
    """How an interval is read from the draws."""

    PERCENTILE = "percentile"
    BCA = "bca"


@dataclass(frozen=True)
class ClusterCounts:
    """What each patient contributes; each array has shape [patients].

    Attributes:
        cases: cases of the patient, above 0.
        gained: cases in which only the first method is right.
        lost: cases in which only the second method is right.
    """

    cases: Counts
    gained: Counts
    lost: Counts


@dataclass(frozen=True)
class Draws:
    """How patients are drawn.

    Attributes:
        seed: of the generator (PCG64); the same seed gives the same intervals.
        replicates: how often, 1000 or more in earnest.
        method: how the interval is read.
        confidence: the two-sided level.
    """

    seed: int
    replicates: int
    method: Method = Method.PERCENTILE
    confidence: float = 0.95

    def left_out(self, patients: int) -> Floats:
        """Weights that leave out one patient at a time, or one group of many; [groups, patients].

        The sums over groups have the skewness that those over patients have, so a few hundred are
        enough (J. Shao and D. Tu, The Jackknife and Bootstrap (1995), 2.3); without BCa none.
        """
        groups = min(patients, MOST_LEFT_OUT) if self.method is Method.BCA else 0
        if groups <= 1:
            return np.zeros((0, patients))
        group = np.arange(patients) * groups // patients
        kept: Floats = (group != np.arange(groups)[:, None]).astype(np.float64)
        return kept

    def patients(self, count: int) -> Iterator[NDArray[np.int64]]:
        """Which patients each replicate draws, [chunk, count] at a time."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        for start in range(0, self.replicates, _CHUNK):
            size = (min(_CHUNK, self.replicates - start), count)
            yield generator.integers(0, count, size=size)

    def weights(self, count: int) -> Iterator[Floats]:
        """How often each replicate draws each patient, [chunk, count] at a time."""
        for chosen in self.patients(count):
            rows = np.arange(len(chosen))[:, None] * count
            drawn = np.bincount((chosen + rows).ravel(), minlength=len(chosen) * count)
            yield drawn.reshape(len(chosen), count).astype(np.float64)


def ratio(sums: Floats) -> Floats:
    """The first column over the second; NaN where the second is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums[..., 0] / sums[..., 1]
    return np.where(sums[..., 1] == 0.0, np.nan, found)


def cluster_interval(sums: Floats, statistic: Statistic, draws: Draws) -> Interval | None:
    """The interval of a statistic of sums over patients.

    Args:
        sums: [patients, columns] what each patient contributes.
        statistic: of the summed columns.
        draws: how patients are drawn.

    Returns:
        The interval; None where the statistic has no value, or so many draws have none that a
        bound would be without end.
    """
    estimate = float(statistic(sums.sum(axis=0)[None, :])[0])
    if not isfinite(estimate):
        return None
    drawn = np.concatenate(
        [statistic(sums[chosen].sum(axis=1)) for chosen in draws.patients(len(sums))]
    )
    left_out = statistic(draws.left_out(len(sums)) @ sums)
    return interval_of_draws(estimate, drawn, left_out, draws)


def interval_of_draws(
    estimate: float, drawn: Floats, left_out: Floats, draws: Draws
) -> Interval | None:
    """The interval that draws give.

    Args:
        estimate: the value over all patients.
        drawn: [replicates]; a draw without a value (NaN) counts as beyond either bound.
        left_out: [patients] the value without each of them; only BCa asks for it.
        draws: the method and level.
    """
    tail = (1.0 - draws.confidence) / 2.0
    tails = (tail, 1.0 - tail)
    if draws.method is Method.BCA:
        tails = _corrected(estimate, drawn, left_out, tail)
    with np.errstate(invalid="ignore"):
        low = float(np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), tails[0]))
        high = float(np.quantile(np.where(np.isnan(drawn), np.inf, drawn), tails[1]))
    if not (isfinite(low) and isfinite(high)):
        return None
    return Interval(estimate, min(low, estimate), max(high, estimate), draws.confidence)


def _corrected(
    estimate: float, drawn: Floats, left_out: Floats, tail: float
) -> tuple[float, float]:
    """The tails that BCa reads instead; the plain ones where all draws lie on one side."""
    valid = drawn[~np.isnan(drawn)]
    below = float(((valid < estimate).mean() + (valid <= estimate).mean()) / 2.0)
    if not 0.0 < below < 1.0:
        return tail, 1.0 - tail
    bias = _NORMAL.inv_cdf(below)
    steps = left_out[np.isfinite(left_out)]
    away = (steps.mean() - steps) if len(steps) else steps
    spread = float((away**2).sum()) ** 1.5
    acceleration = float((away**3).sum()) / (6.0 * spread) if spread > 0.0 else 0.0

    def moved(z: float) -> float:
        return _NORMAL.cdf(bias + (bias + z) / (1.0 - acceleration * (bias + z)))

    z = _NORMAL.inv_cdf(tail)
    return moved(z), moved(-z)


def cluster_difference_interval(
    counts: ClusterCounts,
    *,
    seed: int,
    replicates: int,
    confidence: float = 0.95,
    method: Method = Method.PERCENTILE,
) -> Interval:
    """The interval of (gained - lost) / cases, over patients drawn with replacement.

    It is never narrower than Tango's interval, which takes the cases as independent: with few
    patients, or with nothing discordant, the bootstrap alone would be too sure of itself.

    Args:
        counts: the patients; at least one.
        seed: of the generator (PCG64); the same seed gives the same interval.
        replicates: how often patients are drawn, 1000 or more in earnest.
        confidence: the two-sided level.
        method: how the interval is read from the draws.

    Raises:
        ValueError: no patients, or a patient without cases.
    """
    patients = len(counts.cases)
    if patients == 0 or bool(np.any(counts.cases < 1)):
        raise ValueError("every patient must have a case")
    draws = Draws(seed=seed, replicates=replicates, method=method, confidence=confidence)
    sums = np.column_stack([counts.gained - counts.lost, counts.cases]).astype(np.float64)
    total = int(counts.cases.sum())
    pooled = tango_interval(
        int(counts.gained.sum()), int(counts.lost.sum()), total, confidence=confidence
    )
    drawn = cluster_interval(sums, ratio, draws)
    return pooled if drawn is None else hull(drawn, pooled)
