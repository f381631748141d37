"""Comparative validation: the candidate against the last and the original release, paired.

Co-primary and each decided on a bound of its interval: non-inferiority of sensitivity *and* of
specificity, against the last *and* the original release, so that a gain in one cannot hide a
loss in another, and small losses cannot add up release by release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.predictions import Predictions
from primum_repo_tools.protocol import Margins, Minimum, Protocol
from primum_repo_tools.statistics import (
    ClusterCounts,
    Interval,
    auc_with_interval,
    cluster_difference_interval,
    paired_auc_difference,
    tango_interval,
    wilson_interval,
)
from primum_verifier.change.comparison_report import (
    WHOLE,
    Accounting,
    Arm,
    Baseline,
    Bounds,
    ComparisonReport,
    Decision,
    Endpoint,
    ProtocolRef,
    Unit,
)
from primum_verifier.core.document import DigestSet
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

ArmName = Literal["candidate", "last", "original"]
Metric = Literal["sensitivity", "specificity"]
Mask = NDArray[np.bool_]

_METHODS = {
    Unit.PATIENT: "patient-level cluster bootstrap, percentile, never narrower than Tango (1998)",
    Unit.BEAT: "Tango (1998) over beats as if independent: a demonstration, no claim",
}


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

    def right(self, *, label: bool) -> Mask:
        """Where it decides ``label``; [cases]. No decision is never right: it counts against."""
        if label:
            return self.predictions.score >= float(self.threshold)
        return self.predictions.score < float(self.threshold)


@dataclass(frozen=True)
class _Group:
    """The cases that one set of endpoints is about."""

    name: str
    mask: Mask
    minimum: Minimum
    margins: Margins
    role: Literal["co-primary", "cohort-claim", "secondary"]


def compare(
    arms: Mapping[ArmName, ComparedArm], *, protocol: Protocol, protocol_sha256: str
) -> ComparisonReport:
    """Compare three aligned arms by a frozen protocol.

    Args:
        arms: candidate, last and original, row for row about the same cases.
        protocol: the frozen protocol.
        protocol_sha256: the digest of its file.

    Returns:
        The report; it is met only when every co-primary endpoint and every claimed cohort is.
    """
    reference = arms["candidate"].predictions
    endpoints = [
        _proportion(arms, group, metric, versus, protocol)
        for group in _groups(reference, protocol)
        for metric in get_args(Metric)
        for versus in get_args(Baseline)
    ]
    endpoints += [_area(arms, versus, protocol) for versus in get_args(Baseline)]
    return ComparisonReport(
        type="urn:primum:comparison-report:v0.1",
        schema_version="0.1",
        protocol=ProtocolRef(
            id=protocol.id,
            digest=DigestSet(sha256=protocol_sha256),
            frozen_at=protocol.frozen_at,
            author=protocol.author,
            rung=protocol.rung,
        ),
        methods=protocol.methods,
        unit=protocol.unit,
        unit_rationale=protocol.unit_rationale,
        seed=protocol.seed,
        replicates=protocol.replicates,
        accounting=Accounting(
            patients=len(np.unique(reference.patient)),
            cases=len(reference.label),
            positives=int(reference.label.sum()),
            negatives=int((~reference.label).sum()),
        ),
        arms={name: _alone(arm, float(protocol.confidence)) for name, arm in arms.items()},
        endpoints=tuple(endpoints),
        overall=_overall(endpoints),
        software=f"primum-repo 0.1.0, numpy {np.__version__}",
    )


def require_met(report: ComparisonReport, *, where: str) -> None:
    """Refuse unless the comparison was met, naming what stands in the way.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    if report.overall == Decision.MET:
        return
    failed = _standing_in_the_way(report)
    raise RefusedError(
        "The candidate was not shown to be as good as its baselines.",
        reason=Reason.VALIDATION_NOT_MET,
        where=where,
        found="; ".join(f"{item.id}: {item.decision}, {item.why}" for item in failed[:5]),
        expected="every co-primary endpoint and every claimed cohort met",
        remedy="Keep this report: it is a record. A new candidate needs a new comparison.",
    )


def _standing_in_the_way(report: ComparisonReport) -> list[Endpoint]:
    """The deciding endpoints that were not met, failures first."""
    deciding = [item for item in report.endpoints if item.role != "secondary"]
    ordered = (Decision.NOT_MET, Decision.NOT_EVALUABLE)
    return [item for wanted in ordered for item in deciding if item.decision == wanted]


def _groups(reference: Predictions, protocol: Protocol) -> Iterator[_Group]:
    everyone = np.ones(len(reference.label), dtype=np.bool_)
    yield _Group(WHOLE, everyone, protocol.minimum, protocol.margins, "co-primary")
    for cohort in protocol.cohorts:
        mask = reference.cohort == cohort.id
        role: Literal["cohort-claim", "secondary"] = "cohort-claim" if cohort.claim else "secondary"
        yield _Group(cohort.id, mask, cohort.minimum, cohort.margins, role)


def _proportion(
    arms: Mapping[ArmName, ComparedArm],
    group: _Group,
    metric: Metric,
    versus: Baseline,
    protocol: Protocol,
) -> Endpoint:
    reference = arms["candidate"].predictions
    truth = reference.label if metric == "sensitivity" else ~reference.label
    cases = group.mask & truth
    wanted = metric == "sensitivity"
    right = arms["candidate"].right(label=wanted)[cases]
    baseline_right = arms[versus].right(label=wanted)[cases]
    counts = _by_patient(reference.patient[cases], right & ~baseline_right, baseline_right & ~right)
    patients, n = len(counts.cases), int(counts.cases.sum())
    margin = group.margins.sensitivity if wanted else group.margins.specificity
    interval = _interval(counts, protocol) if n else None
    decision, why = _decide(interval, float(margin), group.minimum, patients=patients, cases=n)
    return Endpoint(
        id=f"{metric} vs {versus} in {group.name}",
        metric=metric,
        versus=versus,
        cohort=group.name,
        role=group.role,
        method=_METHODS[protocol.unit],
        margin=margin,
        margin_rationale=group.margins.rationale,
        difference=None if interval is None else _bounds(interval),
        patients=patients,
        cases=n,
        gained=int(counts.gained.sum()),
        lost=int(counts.lost.sum()),
        decision=decision,
        why=why,
    )


def _by_patient(patient: NDArray[np.str_], gained: Mask, lost: Mask) -> ClusterCounts:
    _, inverse = np.unique(patient, return_inverse=True)
    count = int(inverse.max()) + 1 if len(inverse) else 0

    def total(mask: Mask) -> NDArray[np.int64]:
        return np.bincount(inverse[mask], minlength=count).astype(np.int64)

    everyone = np.ones(len(inverse), dtype=np.bool_)
    return ClusterCounts(cases=total(everyone), gained=total(gained), lost=total(lost))


def _interval(counts: ClusterCounts, protocol: Protocol) -> Interval:
    confidence = float(protocol.confidence)
    if protocol.unit == Unit.PATIENT:
        return cluster_difference_interval(
            counts, seed=protocol.seed, replicates=protocol.replicates, confidence=confidence
        )
    return tango_interval(
        int(counts.gained.sum()),
        int(counts.lost.sum()),
        int(counts.cases.sum()),
        confidence=confidence,
    )


def _decide(
    interval: Interval | None, margin: float, minimum: Minimum, *, patients: int, cases: int
) -> tuple[Decision, str]:
    if interval is None or patients < minimum.patients or cases < minimum.cases:
        return Decision.NOT_EVALUABLE, (
            f"{patients} patients and {cases} cases, where {minimum.patients} and "
            f"{minimum.cases} are needed"
        )
    shown = f"difference {interval.estimate:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
    if interval.low > -margin:
        return Decision.MET, f"{shown}, lower bound above -{margin:g}"
    return Decision.NOT_MET, f"{shown}, lower bound not above -{margin:g}"


def _area(arms: Mapping[ArmName, ComparedArm], versus: Baseline, protocol: Protocol) -> Endpoint:
    reference = arms["candidate"].predictions
    baseline = arms[versus].predictions
    decided = np.isfinite(reference.score) & np.isfinite(baseline.score)
    label = reference.label[decided]
    interval = (
        paired_auc_difference(
            label,
            reference.score[decided],
            baseline.score[decided],
            confidence=float(protocol.confidence),
        )
        if _has_both(label)
        else None
    )
    return Endpoint(
        id=f"auc vs {versus} in {WHOLE}",
        metric="auc",
        versus=versus,
        cohort=WHOLE,
        role="secondary",
        method="DeLong (1988) over cases as if independent: shown, decides nothing",
        difference=None if interval is None else _bounds(interval),
        patients=len(np.unique(reference.patient[decided])),
        cases=len(label),
        gained=0,
        lost=0,
        decision=Decision.NOT_EVALUABLE,
        why="secondary: no threshold is set on it",
    )


def _alone(arm: ComparedArm, confidence: float) -> Arm:
    label = arm.predictions.label
    decided = np.isfinite(arm.predictions.score)

    def proportion(truth: Mask, right: Mask) -> Bounds | None:
        n = int(truth.sum())
        if n == 0:
            return None
        return _bounds(wilson_interval(int((truth & right).sum()), n, confidence=confidence))

    area = (
        auc_with_interval(label[decided], arm.predictions.score[decided], confidence=confidence)[1]
        if _has_both(label[decided])
        else None
    )
    return Arm(
        predictions=DigestSet(sha256=arm.predictions.sha256),
        release=None if arm.release is None else DigestSet(sha256=arm.release),
        threshold=arm.threshold,
        no_decision=int((~decided).sum()),
        sensitivity=proportion(label, arm.right(label=True)),
        specificity=proportion(~label, arm.right(label=False)),
        auc=None if area is None else _bounds(area),
    )


def _has_both(label: Mask) -> bool:
    return bool(label.any() and not label.all())


def _bounds(interval: Interval) -> Bounds:
    def text(value: float) -> str:
        # Rounded outwards nowhere: decisions were taken on the unrounded numbers.
        return f"{value:.6f}".replace("-0.000000", "0.000000")

    return Bounds(
        estimate=text(interval.estimate),
        low=text(interval.low),
        high=text(interval.high),
        confidence=f"{interval.confidence:g}",
    )


def _overall(endpoints: list[Endpoint]) -> Decision:
    decisions = {item.decision for item in endpoints if item.role != "secondary"}
    for worst in (Decision.NOT_MET, Decision.NOT_EVALUABLE):
        if worst in decisions:
            return worst
    return Decision.MET
