"""Comparative validation: the candidate against the last and the original release, paired.

Co-primary and each decided on a bound of its interval: non-inferiority of sensitivity *and* of
specificity, against the last *and* the original release, so that a gain in one cannot hide a
loss in another, and small losses cannot add up release by release; and whatever else the protocol
says has to be met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import get_args

import numpy as np

from primum_repo_tools.comparison_arms import alone, analysed
from primum_repo_tools.comparison_cases import ArmName, Arms, ComparedArm
from primum_repo_tools.comparison_criteria import answered
from primum_repo_tools.comparison_endpoints import (
    area_endpoint,
    counted_otherwise,
    endpoints_of,
    harm_screen,
    paired_questions,
    superiority_of,
)
from primum_repo_tools.predictions import Predictions
from primum_repo_tools.protocol import Protocol
from primum_verifier.change.comparison_analysis import Analysis, Criterion, LockedSetUse
from primum_verifier.change.comparison_report import (
    Accounting,
    ComparisonReport,
    Endpoint,
    ProtocolRef,
)
from primum_verifier.change.comparison_terms import Baseline, Decision, worst
from primum_verifier.core.document import DigestSet
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason

__all__ = ["ArmName", "ComparedArm", "Run", "check_accounting", "compare", "require_met"]

_MULTIPLICITY = (
    "every co-primary endpoint and every claimed cohort has to be met (intersection-union): no "
    "correction of the level, at the price of power; the screen for harm shows Holm and "
    "Benjamini-Hochberg"
)
_SHOWN = 5


def _silent(_: str) -> None:
    """Nobody waits."""


@dataclass(frozen=True)
class Run:
    """What belongs to one run and not to its protocol.

    Attributes:
        protocol_sha256: the digest of the protocol's file.
        test_set: which use of the locked set it is; None where none is bound.
        deviations: from the protocol, each justified.
        told: is told what is at work.
    """

    protocol_sha256: str
    test_set: LockedSetUse | None = None
    deviations: tuple[str, ...] = ()
    told: Callable[[str], None] = field(default=_silent)


def compare(arms: Arms, *, protocol: Protocol, run: Run) -> ComparisonReport:
    """Compare three aligned arms by a frozen protocol.

    Args:
        arms: candidate, last and original, row for row about the same cases.
        protocol: the frozen protocol.
        run: what belongs to this run.

    Returns:
        The report; it is met only when every co-primary endpoint and every claimed cohort is.

    Raises:
        UsageError: what was enrolled is not what was excluded and analysed.
    """
    reference = arms["candidate"].predictions
    check_accounting(reference, protocol)
    run.told("paired endpoints")
    questions = paired_questions(arms, protocol)
    endpoints = list(endpoints_of(questions, protocol))
    endpoints += [area_endpoint(arms, versus, protocol) for versus in get_args(Baseline)]
    run.told("each arm by itself")
    analysis = Analysis(
        interval=protocol.interval.value,
        agreement=protocol.reference_standard == "none",
        test_set=run.test_set,
        deviations=run.deviations,
        excluded=protocol.excluded,
        arms={name: analysed(arm, protocol) for name, arm in arms.items()},
        criteria=tuple(
            chain(
                answered(arms, protocol, told=run.told),
                counted_otherwise(arms, protocol, population="as-decided"),
                counted_otherwise(arms, protocol, population="worst-case"),
            )
        ),
        superiority=tuple(superiority_of(questions)),
        harm=tuple(harm_screen(questions, protocol)),
        multiplicity=_MULTIPLICITY,
    )
    deciding: list[Endpoint | Criterion] = [item for item in endpoints if item.decides]
    deciding += analysis.deciding()
    return ComparisonReport(
        type="urn:primum:comparison-report:v0.1",
        schema_version="0.1",
        # Whoever does not know the further criteria must not take the rest for the whole.
        crit=("analysis",) if any(analysis.deciding()) else (),
        protocol=ProtocolRef(
            id=protocol.id,
            digest=DigestSet(sha256=run.protocol_sha256),
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
        arms={name: alone(arm, float(protocol.confidence)) for name, arm in arms.items()},
        endpoints=tuple(endpoints),
        overall=worst(item.decision for item in deciding),
        software=f"primum-repo 0.1.0, numpy {np.__version__}",
        analysis=analysis,
    )


def check_accounting(reference: Predictions, protocol: Protocol) -> None:
    """See to it that every case that was enrolled is excluded with a reason, or analysed.

    Raises:
        UsageError: they do not add up.
    """
    if protocol.enrolled is None:
        return
    patients = len(np.unique(reference.patient)) + sum(one.patients for one in protocol.excluded)
    cases = len(reference.label) + sum(one.cases for one in protocol.excluded)
    if (patients, cases) != (protocol.enrolled.patients, protocol.enrolled.cases):
        raise UsageError(
            "What was enrolled is not what was excluded and analysed.",
            reason=Reason.USAGE,
            where=protocol.id,
            found=f"{patients} patients and {cases} cases excluded or analysed",
            expected=f"{protocol.enrolled.patients} patients and {protocol.enrolled.cases} cases",
            remedy="Account for every case: enrolled, excluded with its reason, or analysed.",
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
        found="; ".join(f"{item.id}: {item.decision}, {item.why}" for item in failed[:_SHOWN]),
        expected="every co-primary endpoint and every claimed cohort met",
        remedy="Keep this report: it is a record. A new candidate needs a new comparison.",
    )


def _standing_in_the_way(report: ComparisonReport) -> list[Endpoint | Criterion]:
    """The deciding endpoints that were not met, failures first."""
    deciding = list(report.deciding())
    ordered = (Decision.NOT_MET, Decision.NOT_EVALUABLE)
    return [item for wanted in ordered for item in deciding if item.decision == wanted]
