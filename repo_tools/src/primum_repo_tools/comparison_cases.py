"""What a comparison is about: arms over the same cases, grouped, counted by what is independent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from primum_repo_tools.predictions import Predictions
from primum_repo_tools.protocol import Margins, Minimum, Protocol
from primum_repo_tools.statistics.arrays import Counts, Flags, Floats
from primum_repo_tools.statistics.bootstrap import ClusterCounts, Draws
from primum_repo_tools.statistics.interval import Interval
from primum_verifier.change.comparison_terms import WHOLE, Bounds, Role, Unit

ArmName = Literal["candidate", "last", "original"]


@dataclass(frozen=True)
class ComparedArm:
    """One arm as it enters the comparison.

    Attributes:
        predictions: what it said.
        threshold: its operating point, exact decimal text.
        release: SHA-256 of its manifest, or None when no release is named.
    """

    predictions: Predictions
    threshold: str
    release: str | None = None

    @property
    def decided(self) -> Flags:
        """Where it gave a decision; [cases]."""
        found: Flags = np.isfinite(self.predictions.score)
        return found

    @property
    def positive(self) -> Flags:
        """Where it decides "positive"; [cases]."""
        found: Flags = self.predictions.score >= float(self.threshold)
        return found

    def right(self, *, label: bool) -> Flags:
        """Where it decides ``label``; [cases]. No decision is never right: it counts against."""
        if label:
            return self.positive
        found: Flags = self.predictions.score < float(self.threshold)
        return found


Arms: TypeAlias = Mapping[ArmName, ComparedArm]


@dataclass(frozen=True)
class Group:
    """The cases that one set of endpoints is about."""

    name: str
    mask: Flags
    minimum: Minimum
    margins: Margins
    role: Role


def groups_of(reference: Predictions, protocol: Protocol) -> Iterator[Group]:
    """The whole, then each cohort of the protocol."""
    everyone = np.ones(len(reference.label), dtype=np.bool_)
    yield Group(WHOLE, everyone, protocol.minimum, protocol.margins, "co-primary")
    for cohort in protocol.cohorts:
        mask = reference.cohort == cohort.id
        role: Role = "cohort-claim" if cohort.claim else "secondary"
        yield Group(cohort.id, mask, cohort.minimum, cohort.margins, role)


def patient_numbers(patient: np.ndarray[tuple[int], np.dtype[np.str_]]) -> Counts:
    """Each case's patient by a number from 0."""
    found: Counts = np.unique(patient, return_inverse=True)[1].astype(np.int64)
    return found


def units_of(reference: Predictions, protocol: Protocol) -> Counts:
    """Each case's independent unit by a number from 0: its patient, or itself."""
    if protocol.unit is Unit.PATIENT:
        return patient_numbers(reference.patient)
    return np.arange(len(reference.label))


def draws_of(protocol: Protocol) -> Draws:
    """How units are drawn."""
    return Draws(
        seed=protocol.seed,
        replicates=protocol.replicates,
        method=protocol.interval,
        confidence=float(protocol.confidence),
    )


def counts_by(patient: Counts, gained: Flags, lost: Flags) -> ClusterCounts:
    """What each patient's cases come to; patients without a case are left out."""
    _, inverse = np.unique(patient, return_inverse=True)
    count = int(inverse.max()) + 1 if len(inverse) else 0

    def total(mask: Flags) -> Counts:
        return np.bincount(inverse[mask], minlength=count).astype(np.int64)

    everyone = np.ones(len(inverse), dtype=np.bool_)
    return ClusterCounts(cases=total(everyone), gained=total(gained), lost=total(lost))


def sums_by(unit: Counts, *columns: Floats | Flags) -> Floats:
    """The sums of some columns of cases by unit; [units, columns]."""
    return np.column_stack(
        [np.bincount(unit, weights=column.astype(np.float64)) for column in columns]
    )


def text(value: float) -> str:
    """A number as a report writes it; decisions were taken before it was rounded."""
    return f"{value:.6f}".replace("-0.000000", "0.000000")


def bounds(interval: Interval | None) -> Bounds | None:
    """An interval as a report writes it."""
    if interval is None:
        return None
    return Bounds(
        estimate=text(interval.estimate),
        low=text(interval.low),
        high=text(interval.high),
        confidence=f"{interval.confidence:g}",
    )
