"""Area under the ROC curve with DeLong's variance, alone and paired.

E. R. DeLong et al., Biometrics 44 (1988) 837-845, in the fast form of X. Sun and W. Xu, IEEE
Signal Processing Letters 21 (2014) 1389-1393. Cases are taken as independent; where patients give
several cases each the interval is too narrow, and with their numbers the variance is that of N. A.
Obuchowski, Biometrics 53 (1997) 567-578, between patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from primum_repo_tools.statistics.arrays import Counts
from primum_repo_tools.statistics.arrays import Flags as Labels
from primum_repo_tools.statistics.arrays import Floats as Scores
from primum_repo_tools.statistics.interval import Interval, normal_quantile


@dataclass(frozen=True)
class Auc:
    """An area and the variance of its estimate."""

    area: float
    variance: float


def _midranks(values: Scores) -> Scores:
    """Ranks from 1, equal values sharing the mean of their ranks; shape [n] in, [n] out."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Scores = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def _placements(labels: Labels, scores: Scores) -> tuple[float, Scores, Scores]:
    """The area, and for each positive and each negative its share of the other class beaten."""
    positives, negatives = scores[labels], scores[~labels]
    m, n = len(positives), len(negatives)
    if m == 0 or n == 0:
        raise ValueError("an area needs positive and negative cases")
    ranks = _midranks(np.concatenate([positives, negatives]))
    of_positives = (ranks[:m] - _midranks(positives)) / n
    of_negatives = 1.0 - (ranks[m:] - _midranks(negatives)) / m
    return float(of_positives.mean()), of_positives, of_negatives


def _variance(of_positives: Scores, of_negatives: Scores) -> float:
    def part(values: Scores) -> float:
        return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0

    return part(of_positives) + part(of_negatives)


def _variance_between(
    of_positives: Scores, of_negatives: Scores, labels: Labels, patient: Counts
) -> float:
    """The variance with all that cases of one patient share (Obuchowski 1997, equation 4)."""
    patients = int(patient.max()) + 1

    def sums(values: Scores, members: Counts) -> Scores:
        centred = values - values.mean()
        return np.bincount(members, weights=centred, minlength=patients).astype(np.float64)

    def scale(members: Counts) -> float:
        holding = len(np.unique(members))
        return holding / (holding - 1) if holding > 1 else 0.0

    mine, others = patient[labels], patient[~labels]
    positive, negative = sums(of_positives, mine), sums(of_negatives, others)
    m, n, all_of_them = len(of_positives), len(of_negatives), len(np.unique(patient))
    shared = all_of_them / (all_of_them - 1) if all_of_them > 1 else 0.0
    # Each class with the freedom of the patients that hold it; what they share with that of all.
    found = (
        scale(mine) * float((positive**2).sum()) / m**2
        + scale(others) * float((negative**2).sum()) / n**2
        + 2.0 * shared * float((positive * negative).sum()) / (m * n)
    )
    return max(0.0, found)


def auc_with_interval(
    labels: Labels, scores: Scores, *, confidence: float = 0.95
) -> tuple[Auc, Interval]:
    """The area with its interval.

    Args:
        labels: [n] true where positive; both classes must occur.
        scores: [n] higher means more positive.
        confidence: the two-sided level.

    Raises:
        ValueError: a class is missing.
    """
    area, of_positives, of_negatives = _placements(labels, scores)
    variance = _variance(of_positives, of_negatives)
    half = normal_quantile(confidence) * sqrt(variance)
    interval = Interval(area, max(0.0, area - half), min(1.0, area + half), confidence)
    return Auc(area, variance), interval


def paired_auc_difference(
    labels: Labels,
    first: Scores,
    second: Scores,
    *,
    confidence: float = 0.95,
    patient: Counts | None = None,
) -> Interval:
    """The interval of area(first) - area(second) on the same cases.

    Args:
        labels: [n] true where positive.
        first: [n] scores of the first method.
        second: [n] scores of the second method.
        confidence: the two-sided level.
        patient: [n] the number of each case's patient, from 0; None where cases are independent.

    Raises:
        ValueError: a class is missing.
    """
    area_1, positives_1, negatives_1 = _placements(labels, first)
    area_2, positives_2, negatives_2 = _placements(labels, second)
    # The variance of a difference of means over the same cases is that of the differences.
    positives, negatives = positives_1 - positives_2, negatives_1 - negatives_2
    variance = (
        _variance(positives, negatives)
        if patient is None
        else _variance_between(positives, negatives, labels, patient)
    )
    estimate = area_1 - area_2
    half = normal_quantile(confidence) * sqrt(variance)
    return Interval(estimate, max(-1.0, estimate - half), min(1.0, estimate + half), confidence)
