"""Patient-level cluster bootstrap of the difference of two paired proportions.

Cases of one patient are alike, so patients are drawn, each with all its cases (C. A. Field and
A. H. Welsh, J. R. Statist. Soc. B 69 (2007) 369-390; percentile interval of B. Efron and
R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.statistics.interval import Interval, hull
from primum_repo_tools.statistics.tango import tango_interval

Counts: TypeAlias = NDArray[np.int64]

_CHUNK = 256
"""Replicates drawn at once: bounds the memory to this many times the number of patients."""


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


def cluster_difference_interval(
    counts: ClusterCounts, *, seed: int, replicates: int, confidence: float = 0.95
) -> Interval:
    """The interval of (gained - lost) / cases, over patients drawn with replacement.

    It is never narrower than Tango's interval, which takes the cases as independent: with few
    patients, or with nothing discordant, the bootstrap alone would be too sure of itself.

    Args:
        counts: the patients; at least one.
        seed: of the generator (PCG64); the same seed gives the same interval.
        replicates: how often patients are drawn, 1000 or more in earnest.
        confidence: the two-sided level.

    Raises:
        ValueError: no patients, or a patient without cases.
    """
    patients = len(counts.cases)
    if patients == 0 or bool(np.any(counts.cases < 1)):
        raise ValueError("every patient must have a case")
    net = counts.gained - counts.lost
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn: list[NDArray[np.float64]] = []
    for start in range(0, replicates, _CHUNK):
        size = (min(_CHUNK, replicates - start), patients)
        chosen = generator.integers(0, patients, size=size)
        drawn.append(net[chosen].sum(axis=1) / counts.cases[chosen].sum(axis=1))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(drawn), [tail, 1.0 - tail])
    total = int(counts.cases.sum())
    estimate = float(net.sum() / total)
    bootstrap = Interval(estimate, float(low), float(high), confidence)
    pooled = tango_interval(
        int(counts.gained.sum()), int(counts.lost.sum()), total, confidence=confidence
    )
    return hull(bootstrap, pooled)
