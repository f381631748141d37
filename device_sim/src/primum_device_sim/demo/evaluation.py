"""Measures a classifier on beats of several patients, with intervals that respect the patients.

Beats of one patient resemble each other, so an interval over beats would be far too narrow. Here
whole patients are drawn with replacement; as there are few, every possible draw is taken, and no
random number is needed. With five patients even that interval is a rough one, and too narrow.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LOW_QUANTILE: Final = 0.025
HIGH_QUANTILE: Final = 0.975
_Z_95: Final = 1.959963984540054
_FEWEST_PATIENTS: Final = 3


@dataclass(frozen=True)
class Measure:
    """A share or an AUC with its 95 % interval; ``None`` where no interval can be given."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Figures:
    """What a model reaches at its threshold, on the beats it was shown.

    Attributes:
        patients: how many.
        pvc: how many premature beats.
        other: how many other beats.
        sensitivity: share of the premature beats that were called so.
        specificity: share of the other beats that were not.
        auc: area under the receiver operating characteristic; depends on no threshold.
    """

    patients: int
    pvc: int
    other: int
    sensitivity: Measure
    specificity: Measure
    auc: Measure


@dataclass(frozen=True)
class Answers:
    """A model's scores, float32 [n], and the threshold it works at."""

    scores: NDArray[np.float32]
    threshold: float


@dataclass(frozen=True)
class _Drawn:
    """Sensitivity, specificity, AUC: float64 [3], and of every draw of patients [3, draws]."""

    values: NDArray[np.float64]
    of_draws: NDArray[np.float64]


def evaluate(
    scores: NDArray[np.float32],
    labels: NDArray[np.uint8],
    patients: NDArray[np.str_],
    *,
    threshold: float,
) -> Figures:
    """Sensitivity, specificity and AUC with intervals by patient.

    Args:
        scores: float32 [n], finite.
        labels: uint8 [n], 1 for premature.
        patients: str [n].
        threshold: a score at or above it is called premature.

    Raises:
        RuntimeError: a score is not finite, or a patient has beats of one kind only.
    """
    drawn = _drawn(scores, labels, patients, threshold)
    count = int(np.unique(patients).size)
    sensitivity, specificity, auc = (
        _measure(drawn.values[index], drawn.of_draws[index], count) for index in range(3)
    )
    return Figures(
        patients=count,
        pvc=int(np.count_nonzero(labels == 1)),
        other=int(np.count_nonzero(labels == 0)),
        sensitivity=sensitivity,
        specificity=specificity,
        auc=auc,
    )


@dataclass(frozen=True)
class Difference:
    """Candidate less predecessor on the same beats of the same patients, intervals by patient."""

    sensitivity: Measure
    specificity: Measure
    auc: Measure


def paired_difference(
    candidate: Answers, predecessor: Answers, labels: NDArray[np.uint8], patients: NDArray[np.str_]
) -> Difference:
    """How much better the candidate is; both saw the same beats.

    Args:
        candidate: its scores and threshold.
        predecessor: its scores and threshold.
        labels: uint8 [n], 1 for premature.
        patients: str [n].
    """
    new = _drawn(candidate.scores, labels, patients, candidate.threshold)
    old = _drawn(predecessor.scores, labels, patients, predecessor.threshold)
    count = int(np.unique(patients).size)
    sensitivity, specificity, auc = (
        _measure(
            new.values[index] - old.values[index],
            new.of_draws[index] - old.of_draws[index],
            count,
        )
        for index in range(3)
    )
    return Difference(sensitivity=sensitivity, specificity=specificity, auc=auc)


def wilson(hits: int, of: int) -> Measure:
    """A share with Wilson's 95 % interval, as if every beat were another patient's (it is not)."""
    share = hits / of
    square = _Z_95 * _Z_95
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z_95 * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return Measure(value=share, low=max(middle - half, 0.0), high=min(middle + half, 1.0))


def _drawn(
    scores: NDArray[np.float32],
    labels: NDArray[np.uint8],
    patients: NDArray[np.str_],
    threshold: float,
) -> _Drawn:
    if not np.isfinite(scores).all():
        raise RuntimeError("no decision is counted apart, not measured")
    names = np.unique(patients)
    pvc = [scores[(patients == name) & (labels == 1)] for name in names]
    other = [scores[(patients == name) & (labels == 0)] for name in names]
    if not all(part.size for part in (*pvc, *other)):
        raise RuntimeError("every patient needs beats of both kinds")
    pvc_counts = np.array([part.size for part in pvc], dtype=np.float64)
    other_counts = np.array([part.size for part in other], dtype=np.float64)
    # As the model's output is float32, so is the comparison: the device does the same.
    limit = np.float32(threshold)
    found = np.array([np.count_nonzero(part >= limit) for part in pvc], dtype=np.float64)
    spared = np.array([np.count_nonzero(part < limit) for part in other], dtype=np.float64)
    wins = np.array([[_wins(mine, theirs) for theirs in other] for mine in pvc])
    draws = _draws(len(names))
    of_pvc, of_other = draws @ pvc_counts, draws @ other_counts
    all_pvc, all_other = pvc_counts.sum(), other_counts.sum()
    won = np.einsum("di,ij,dj->d", draws, wins, draws)
    return _Drawn(
        values=np.array(
            [found.sum() / all_pvc, spared.sum() / all_other, wins.sum() / (all_pvc * all_other)]
        ),
        of_draws=np.array(
            [draws @ found / of_pvc, draws @ spared / of_other, won / (of_pvc * of_other)]
        ),
    )


def _wins(pvc: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pairs in which the premature beat scores higher, ties counting half."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, pvc, side="left").sum()
    not_above = np.searchsorted(ordered, pvc, side="right").sum()
    return float(below + not_above) / 2


def _draws(patients: int) -> NDArray[np.float64]:
    """Every way to draw that many patients with replacement: how often each was drawn."""
    return np.array(
        [
            np.bincount(draw, minlength=patients)
            for draw in itertools.product(range(patients), repeat=patients)
        ],
        dtype=np.float64,
    )


def _measure(value: float, drawn: NDArray[np.float64], patients: int) -> Measure:
    if patients < _FEWEST_PATIENTS:
        return Measure(value=float(value), low=None, high=None)
    # The wider of two neighbouring values, so that rounding never narrows the interval.
    low = float(np.quantile(drawn, LOW_QUANTILE, method="lower"))
    high = float(np.quantile(drawn, HIGH_QUANTILE, method="higher"))
    return Measure(value=float(value), low=low, high=high)
