"""Quantiles of a sample with bounds that hold for any continuous distribution.

The ranks between which a quantile lies follow from the binomial distribution (H. A. David and H.
N. Nagaraja, Order Statistics (2003), 7.1); the upper one is a tolerance bound (S. S. Wilks, Annals
of Mathematical Statistics 12 (1941) 91-96): 59 values are needed before the largest bounds a P95.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from primum_repo_tools.statistics.arrays import Counts, Floats
from primum_repo_tools.statistics.beta import binomial_at_most
from primum_repo_tools.statistics.bootstrap import Draws, interval_of_draws
from primum_repo_tools.statistics.interval import Interval


@dataclass(frozen=True)
class BoundedQuantile:
    """A quantile and its one-sided upper bound.

    Attributes:
        estimate: the quantile of the sample, by linear interpolation.
        upper: with the confidence asked for the true one is no larger; None where the sample is
            too small to say so.
    """

    estimate: float
    upper: float | None


def bounded_quantile(
    values: Floats, quantile: float, *, confidence: float = 0.95
) -> BoundedQuantile:
    """A quantile with the value that bounds it from above.

    Args:
        values: [n] at least one.
        quantile: such as 0.95.
        confidence: one-sided.

    Raises:
        ValueError: no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a quantile needs a value")
    rank = _upper_rank(n, quantile, confidence)
    ordered = np.sort(values)
    upper = None if rank is None else float(ordered[rank - 1])
    return BoundedQuantile(float(np.quantile(values, quantile)), upper)


def _upper_rank(n: int, quantile: float, confidence: float) -> int | None:
    """The lowest rank whose value is at least the quantile, as surely as asked."""
    if binomial_at_most(n - 1, n, quantile) < confidence:
        return None
    low, high = 1, n
    while low < high:
        middle = (low + high) // 2
        if binomial_at_most(middle - 1, n, quantile) >= confidence:
            high = middle
        else:
            low = middle + 1
    return low


def paired_quantile_difference(
    first: Floats, second: Floats, patient: Counts, *, quantile: float, draws: Draws
) -> Interval | None:
    """The interval of quantile(first) - quantile(second) over the same events, patients drawn.

    B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 8: what is
    paired stays paired in each draw.

    Args:
        first: [events] such as seconds to the decision.
        second: [events] likewise of the other method.
        patient: [events] the number of the patient, from 0, without gaps.
        quantile: such as 0.5.
        draws: how patients are drawn.
    """
    if not len(first):
        return None
    members = np.split(np.argsort(patient, kind="stable"), np.cumsum(np.bincount(patient))[:-1])

    def difference(chosen: Counts) -> float:
        rows = np.concatenate([members[number] for number in chosen])
        both = np.quantile(np.column_stack([first[rows], second[rows]]), quantile, axis=0)
        return float(both[0] - both[1])

    everyone = np.arange(len(members))
    drawn = [difference(one) for part in draws.patients(len(members)) for one in part]
    left_out = [difference(np.flatnonzero(kept)) for kept in draws.left_out(len(members))]
    return interval_of_draws(difference(everyone), np.array(drawn), np.array(left_out), draws)


def hodges_lehmann(differences: Floats) -> float:
    """The median of all pairwise means: a robust middle of differences.

    J. L. Hodges and E. L. Lehmann, Annals of Mathematical Statistics 34 (1963) 598-611.

    Args:
        differences: [n] one for each independent unit; memory is their number squared.
    """
    rows, columns = np.triu_indices(len(differences))
    return float(np.median((differences[rows] + differences[columns]) / 2.0))
