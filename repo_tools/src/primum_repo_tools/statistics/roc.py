"""The ROC curve, its whole and partial area, and the sensitivity at a fixed specificity.

Partial area in the standard form of D. K. McClish, Medical Decision Making 9 (1989) 190-195: 0.5
for chance, 1 for a perfect method.  Intervals draw patients, each with all its cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from primum_repo_tools.statistics.arrays import Counts, Flags, Floats
from primum_repo_tools.statistics.bootstrap import Draws, interval_of_draws
from primum_repo_tools.statistics.interval import Interval

CurveValue: TypeAlias = Callable[["Curves"], Floats]
"""From curves [draws, points] to a value for each draw."""

_MOST_WEIGHTS = 2_000_000
"""Weights of cases held at once, 16 MB."""


@dataclass(frozen=True)
class Curves:
    """ROC curves, one for each row of weights; from (0, 0) to (1, 1).

    Attributes:
        false_positive: [draws, points] rising; NaN where a draw holds no negative case.
        true_positive: [draws, points] rising; NaN where it holds no positive case.
    """

    false_positive: Floats
    true_positive: Floats


def roc_curves(labels: Flags, scores: Floats, weights: Floats) -> Curves:
    """The curves of the same cases under different weights.

    Args:
        labels: [cases] true where positive.
        scores: [cases] higher means more positive; equal ones are one point.
        weights: [draws, cases] how often each case counts.
    """
    ranked = _ranked(labels, scores)
    return _curves(ranked, weights[:, ranked.order])


@dataclass(frozen=True)
class _Ranked:
    """Cases from the most positive down.

    Attributes:
        order: [cases] where each of them stands in what was given.
        labels: [cases] in that order.
        ends: [points] the last case of each score.
    """

    order: Counts
    labels: Flags
    ends: Counts


def _ranked(labels: Flags, scores: Floats) -> _Ranked:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return _Ranked(order, labels[order], ends)


def _curves(ranked: _Ranked, weights: Floats) -> Curves:
    """The curves under weights that are ranked like the cases."""
    everybody = np.cumsum(weights, axis=1)
    positive = np.cumsum(weights * ranked.labels, axis=1)
    start = np.zeros((len(weights), 1))

    def share(reached: Floats) -> Floats:
        reached = reached[:, ranked.ends]
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.hstack([start, reached / reached[:, -1:]])
        return found

    return Curves(false_positive=share(everybody - positive), true_positive=share(positive))


def area(curves: Curves) -> Floats:
    """The area below each curve."""
    x, y = curves.false_positive, curves.true_positive
    total: Floats = (np.diff(x, axis=1) * (y[:, 1:] + y[:, :-1]) / 2.0).sum(axis=1)
    return total


def partial_area(most: float) -> CurveValue:
    """The area at specificities of at least ``1 - most``, between 0.5 (chance) and 1.

    Args:
        most: the largest false-positive rate that counts, above 0 and at most 1.
    """

    def value(curves: Curves) -> Floats:
        x0, x1 = curves.false_positive[:, :-1], curves.false_positive[:, 1:]
        y0, y1 = curves.true_positive[:, :-1], curves.true_positive[:, 1:]
        wide = np.where(x1 > x0, x1 - x0, 1.0)
        end = np.clip(x1, None, most)
        inside = np.maximum(end - x0, 0.0)
        height = y0 + (y1 - y0) * inside / wide
        found = (inside * (y0 + height) / 2.0).sum(axis=1)
        least = most**2 / 2.0
        standard: Floats = (1.0 + (found - least) / (most - least)) / 2.0
        return standard

    return value


def sensitivity_at(specificity: float) -> CurveValue:
    """The best sensitivity of any threshold whose specificity is at least this."""

    def value(curves: Curves) -> Floats:
        allowed = curves.false_positive <= 1.0 - specificity + 1e-12
        best: Floats = np.where(allowed, curves.true_positive, 0.0).max(axis=1)
        undefined = np.isnan(curves.false_positive[:, -1]) | np.isnan(curves.true_positive[:, -1])
        return np.where(undefined, np.nan, best)

    return value


@dataclass(frozen=True)
class ScoredCases:
    """The same cases as one or two methods scored them.

    Attributes:
        labels: [cases] true where positive.
        patient: [cases] the number of the patient, from 0.
        first: [cases] scores; higher means more positive.
        second: [cases] likewise of the other method; None where there is one alone.
    """

    labels: Flags
    patient: Counts
    first: Floats
    second: Floats | None = None


def curve_interval(cases: ScoredCases, value: CurveValue, draws: Draws) -> Interval | None:
    """The interval of a value of the curve, or of its difference, first less second.

    Returns:
        None where a class is missing, or in so many draws that a bound would be without end.
    """
    if not len(cases.labels) or cases.labels.all() or not cases.labels.any():
        return None
    patients = int(cases.patient.max()) + 1

    arms = [_ranked(cases.labels, cases.first)]
    if cases.second is not None:
        arms.append(_ranked(cases.labels, cases.second))

    def values(weights: Floats) -> Floats:
        found = [np.zeros(0)]
        step = max(1, _MOST_WEIGHTS // len(cases.labels))
        for start in range(0, len(weights), step):
            part = weights[start : start + step]
            each = [value(_curves(one, part[:, cases.patient[one.order]])) for one in arms]
            found.append(each[0] - each[1] if len(each) > 1 else each[0])
        return np.concatenate(found)

    estimate = float(values(np.ones((1, patients)))[0])
    drawn = np.concatenate([values(weights) for weights in draws.weights(patients)])
    left_out = values(draws.left_out(patients))
    return interval_of_draws(estimate, drawn, left_out, draws)
