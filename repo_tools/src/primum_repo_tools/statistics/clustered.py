"""The difference of paired proportions where several cases come from one patient, in closed form.

N. A. Obuchowski, Statistics in Medicine 17 (1998) 1495-1507: the variance between patients of the
sums of what was gained and lost; and J. N. K. Rao and A. J. Scott, Biometrics 48 (1992) 577-585:
a proportion with as many independent cases as the cases are worth.  A cross-check of the
bootstrap, which decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from primum_repo_tools.statistics.arrays import Counts
from primum_repo_tools.statistics.bootstrap import ClusterCounts
from primum_repo_tools.statistics.interval import Interval, normal_quantile

_FEWEST_PATIENTS = 2


@dataclass(frozen=True)
class ClusteredDifference:
    """The difference, its interval, and how probable one so large would be were there none."""

    interval: Interval
    p_value: float


def obuchowski_difference(
    counts: ClusterCounts, *, confidence: float = 0.95
) -> ClusteredDifference:
    """(gained - lost) / cases with the variance that patients, not cases, give it.

    Args:
        counts: at least two patients.
        confidence: the two-sided level.

    Raises:
        ValueError: fewer than two patients.
    """
    net = counts.gained - counts.lost
    estimate = float(net.sum() / counts.cases.sum())
    error = sqrt(_ratio_variance(net, counts.cases))
    half = normal_quantile(confidence) * error
    interval = Interval(estimate, max(-1.0, estimate - half), min(1.0, estimate + half), confidence)
    if error == 0.0:
        return ClusteredDifference(interval, 1.0 if estimate == 0.0 else 0.0)
    # Under "no difference" the sums vary about nothing.
    null = sqrt(float((net**2).sum()) * len(net) / (len(net) - 1)) / float(counts.cases.sum())
    return ClusteredDifference(interval, erfc(abs(estimate) / null / sqrt(2.0)))


def _ratio_variance(net: Counts, cases: Counts) -> float:
    patients, total = len(cases), float(cases.sum())
    if patients < _FEWEST_PATIENTS:
        raise ValueError("a variance between patients needs two of them")
    residual = net - net.sum() / total * cases
    return float((residual**2).sum()) * patients / (patients - 1) / total**2


@dataclass(frozen=True)
class EffectiveCounts:
    """A proportion as independent cases would have shown it.

    Attributes:
        design_effect: how many cases are worth one; 1 where patients are no more alike.
        interval: Wilson's, over the effective counts.
    """

    design_effect: float
    interval: Interval


def rao_scott_interval(
    successes: Counts, cases: Counts, *, confidence: float = 0.95
) -> EffectiveCounts:
    """The interval of one proportion over patients with several cases each.

    Args:
        successes: [patients] how many of the cases of each.
        cases: [patients] above 0.
        confidence: the two-sided level.

    Raises:
        ValueError: fewer than two patients.
    """
    total = float(cases.sum())
    share = float(successes.sum()) / total
    binomial = share * (1.0 - share) / total
    variance = _ratio_variance(successes, cases)
    effect = max(1.0, variance / binomial) if binomial > 0.0 else 1.0
    n = total / effect
    z = normal_quantile(confidence)
    scale = 1.0 + z * z / n
    middle = (share + z * z / (2.0 * n)) / scale
    half = z / scale * sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    low, high = float(np.clip(middle - half, 0.0, share)), float(np.clip(middle + half, share, 1.0))
    return EffectiveCounts(effect, Interval(share, low, high, confidence))
