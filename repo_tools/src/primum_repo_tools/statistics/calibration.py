"""Whether predicted probabilities are the shares that come true.

Slope and calibration-in-the-large by logistic recalibration (D. R. Cox, Biometrika 45 (1958)
562-565; B. Van Calster et al., BMC Medicine 17 (2019) 230), with the variance between patients
(K.-Y. Liang and S. L. Zeger, Biometrika 73 (1986) 13-22).  The Brier score (G. W. Brier, Monthly
Weather Review 78 (1950) 1-3) in the parts of A. H. Murphy, J. Applied Meteorology 12 (1973)
595-600, with what varies within bins (D. B. Stephenson et al., Weather and Forecasting 23 (2008)
752-757).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from primum_repo_tools.statistics.arrays import Counts, Flags, Floats
from primum_repo_tools.statistics.interval import Interval, normal_quantile

EDGE = 1e-6
"""Probabilities nearer to 0 or 1 than this are taken as this: their logit has no end."""

_STEPS, _SETTLED = 200, 1e-12
_LARGEST_STEP = 5.0
_FEWEST_PATIENTS = 2


@dataclass(frozen=True)
class Recalibration:
    """How outcomes follow from predicted log-odds.

    Attributes:
        slope: 1 when spread is right; below 1 where predictions are too extreme.
        in_the_large: the intercept with the slope held at 1; 0 when the mean is right.
    """

    slope: Interval
    in_the_large: Interval


def recalibrate(
    labels: Flags, probabilities: Floats, patient: Counts, *, confidence: float = 0.95
) -> Recalibration | None:
    """Fit the recalibration, patients as the unit.

    Args:
        labels: [cases] true where positive.
        probabilities: [cases] between 0 and 1.
        patient: [cases] the number of the patient, from 0.
        confidence: the two-sided level.

    Returns:
        None where there is no answer: a class or a second patient is missing, all predictions are
        the same, or they separate the classes without one error.
    """
    if not len(labels) or labels.all() or not labels.any() or patient.max() < 1:
        return None
    clipped = np.clip(probabilities, EDGE, 1.0 - EDGE)
    logit = np.log(clipped) - np.log1p(-clipped)
    if float(np.ptp(logit)) < _SETTLED or _separates(labels, logit):
        return None
    ones = np.ones_like(logit)
    both = _fit(np.column_stack([ones, logit]), labels, np.zeros_like(logit), patient)
    large = _fit(ones[:, None], labels, logit, patient)
    if both is None or large is None:
        return None
    z = normal_quantile(confidence)

    def interval(found: tuple[Floats, Floats], place: int) -> Interval:
        estimate, half = float(found[0][place]), z * sqrt(float(found[1][place, place]))
        return Interval(estimate, estimate - half, estimate + half, confidence)

    return Recalibration(slope=interval(both, 1), in_the_large=interval(large, 0))


def _separates(labels: Flags, logit: Floats) -> bool:
    positive, negative = logit[labels], logit[~labels]
    return bool(positive.min() >= negative.max() or positive.max() <= negative.min())


def _fit(
    design: Floats, labels: Flags, offset: Floats, patient: Counts
) -> tuple[Floats, Floats] | None:
    """Coefficients [k] and their variance between patients [k, k], by Newton's method."""
    beta = np.zeros(design.shape[1])
    outcome = labels.astype(np.float64)
    for _ in range(_STEPS):
        fitted = _logistic(design @ beta + offset)
        information = (design * (fitted * (1.0 - fitted))[:, None]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (outcome - fitted))
        except np.linalg.LinAlgError:
            return None
        beta = beta + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        if float(np.abs(step).max()) < _SETTLED:
            break
    else:
        return None
    fitted = _logistic(design @ beta + offset)
    information = (design * (fitted * (1.0 - fitted))[:, None]).T @ design
    scores = np.zeros((int(patient.max()) + 1, design.shape[1]))
    np.add.at(scores, patient, design * (outcome - fitted)[:, None])
    patients = len(np.unique(patient))
    bread = np.linalg.inv(information)
    variance = bread @ (scores.T @ scores) @ bread * patients / (patients - 1)
    return beta, variance


def _logistic(value: Floats) -> Floats:
    result: Floats = 0.5 * (1.0 + np.tanh(value / 2.0))
    return result


@dataclass(frozen=True)
class ReliabilityBin:
    """Cases with nearly the same prediction.

    Attributes:
        cases: how many.
        predicted: their mean prediction.
        observed: how many of them are positive.
    """

    cases: int
    predicted: float
    observed: int


def reliability_table(
    labels: Flags, probabilities: Floats, *, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Bins of equally many cases by rank, equal predictions never parted; at most ``bins``."""
    return tuple(
        ReliabilityBin(len(part), float(probabilities[part].mean()), int(labels[part].sum()))
        for part in _parts(probabilities, bins)
    )


def _parts(probabilities: Floats, bins: int) -> list[Counts]:
    order = np.argsort(probabilities, kind="stable")
    ordered = probabilities[order]
    wanted = np.linspace(0, len(order), bins + 1)[1:-1].astype(np.int64)
    # A border inside equal predictions moves up behind the last of them.
    borders = np.unique(np.searchsorted(ordered, ordered[np.clip(wanted - 1, 0, None)], "right"))
    return [part for part in np.split(order, borders) if len(part)]


@dataclass(frozen=True)
class BrierParts:
    """The mean squared error of probabilities, and its parts.

    ``score`` is ``reliability - resolution + uncertainty + within_bins``, exactly.

    Attributes:
        score: 0 is perfect.
        reliability: how far the bins lie from the shares that came true; 0 is perfect.
        resolution: how far these shares lie from the mean; more is better.
        uncertainty: of the outcome itself.
        within_bins: what varies inside the bins.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float


def brier_parts(labels: Flags, probabilities: Floats, *, bins: int = 10) -> BrierParts:
    """The Brier score over the bins of :func:`reliability_table`.

    Raises:
        ValueError: no case.
    """
    if not len(labels):
        raise ValueError("no case, no score")
    outcome = labels.astype(np.float64)
    mean, n = float(outcome.mean()), len(outcome)
    score = float(((probabilities - outcome) ** 2).mean())
    table = reliability_table(labels, probabilities, bins=bins)
    off = sum(b.cases * (b.predicted - b.observed / b.cases) ** 2 for b in table) / n
    apart = sum(b.cases * (b.observed / b.cases - mean) ** 2 for b in table) / n
    uncertainty = mean * (1.0 - mean)
    return BrierParts(score, off, apart, uncertainty, score - (off - apart + uncertainty))


def expected_calibration_error(table: tuple[ReliabilityBin, ...]) -> float:
    """The mean distance of bins from their shares: a value to show, moved by the rule of bins."""
    cases = sum(b.cases for b in table)
    return sum(b.cases * abs(b.predicted - b.observed / b.cases) for b in table) / cases
