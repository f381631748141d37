"""Was the change shown as the plan says: by its methods, and on the bound of every interval?

An answer is read off an interval's bound, never off an estimate, and against both baselines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal as Number

from primum_verifier.change.answer import (
    ChangeQuestion,
    Consistency,
    Finding,
    Findings,
    Read,
    finding,
    listed,
)
from primum_verifier.change.comparison_report import ComparisonReport, Endpoint, Methods
from primum_verifier.change.comparison_terms import Baseline, Decision, Unit
from primum_verifier.change.plan import Criterion, CumulativeCriterion
from primum_verifier.core.rules import told
from primum_verifier.core.vocabulary import Rung

LEAST_CONFIDENCE = Number("0.95")
"""Two-sided; a narrower interval says more than the data do."""

_PERFORMANCE = "FDA PCCP guidance (2025) VII.B(3)"
_PARTS = ("data_management", "retraining", "performance_evaluation", "update_procedures")


def comparisons(question: ChangeQuestion) -> Findings:
    """There are reports; each compares these releases, by patients, and was met."""
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "reports",
        holds=bool(question.reports),
        found=f"{len(question.reports)} comparison reports",
        expected="at least one",
        source=question.change.source,
        clause=_PERFORMANCE,
    )
    arms = {
        "candidate": question.candidate.sha256,
        "last": question.base.sha256,
        "original": question.original.sha256,
    }
    for report in question.reports:
        compared = {
            name: arm.release.sha256 if arm.release is not None else "none"
            for name, arm in report.document.arms.items()
        }
        yield _of_report(
            report,
            "releases",
            holds=dict(compared) == arms,
            found=", ".join(f"{name} {sha256[:16]}" for name, sha256 in sorted(compared.items())),
            expected=", ".join(f"{name} {sha256[:16]}" for name, sha256 in sorted(arms.items())),
        )
        yield _of_report(
            report,
            "unit",
            holds=report.document.unit == Unit.PATIENT,
            found=report.document.unit,
            expected=Unit.PATIENT,
        )
        # Whoever has seen how a candidate does can choose the protocol that it passes.
        frozen, made = report.document.protocol.frozen_at, question.candidate.document.issued_at
        yield _of_report(
            report,
            "frozen",
            holds=frozen <= made,
            found=told(frozen),
            expected=f"by {told(made)}, when there was a candidate",
        )
        yield _of_report(
            report,
            "overall",
            holds=_answer_of(report.document.overall),
            found=report.document.overall,
            expected=Decision.MET,
        )


def methods(question: ChangeQuestion) -> Findings:
    """Each modification was shown by its own methods, and no report by others."""
    planned = [item.protocol for item in question.claimed]
    for report in question.reports:
        stated = report.document.methods
        yield _of_report(
            report,
            "methods",
            holds=None if stated is None else stated in planned,
            found=_told_methods(stated),
            expected=" or ".join(_told_methods(item) for item in planned) or "none claimed",
        )
    for item in question.claimed:
        found = _reports_by(item.protocol, question.reports)
        yield finding(
            Consistency.PROTOCOL_NOT_FOLLOWED,
            f"methods:{item.id}",
            holds=bool(found),
            found=listed((report.where for report in found), none="no report by these methods"),
            expected=_told_methods(item.protocol),
            source=question.plan.source,
            clause="FDA PCCP guidance (2025) VII.B",
        )


def acceptance(question: ChangeQuestion) -> Findings:
    """Every criterion of each claimed modification is met, on the bound, by its own reports."""
    for item in question.claimed:
        reports = _reports_by(item.protocol, question.reports)
        for criterion in item.acceptance:
            yield _criterion(
                f"acceptance:{item.id}", criterion, criterion.versus, reports, item.rungs
            )


def cumulative(question: ChangeQuestion) -> Findings:
    """What was lost in all since the original device stays inside the plan's bound."""
    rungs = {rung for item in question.claimed for rung in item.rungs}
    for criterion in question.plan.document.cumulative.acceptance:
        yield _criterion("cumulative", criterion, "original", question.reports, rungs)


def _of_report(
    report: Read[ComparisonReport], name: str, *, holds: bool | None, found: str, expected: str
) -> Finding:
    return finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        f"report-{name}:{report.where}",
        holds=holds,
        found=found,
        expected=expected,
        source=report.source,
        clause=_PERFORMANCE,
    )


def _told_methods(stated: Methods | None) -> str:
    if stated is None:
        return "not stated"
    parts = [getattr(stated, name) for name in _PARTS]
    return "; ".join(f"{part.method_id} {part.document_digest.sha256[:16]}" for part in parts)


def _reports_by(
    protocol: Methods, reports: Iterable[Read[ComparisonReport]]
) -> tuple[Read[ComparisonReport], ...]:
    return tuple(report for report in reports if report.document.methods == protocol)


def _criterion(
    name: str,
    criterion: Criterion | CumulativeCriterion,
    versus: Baseline,
    reports: Iterable[Read[ComparisonReport]],
    rungs: Collection[Rung],
) -> Finding:
    asked = (criterion.metric, criterion.cohort, versus)
    endpoints = [
        (report, endpoint)
        for report in reports
        for endpoint in report.document.endpoints
        if (endpoint.metric, endpoint.cohort, endpoint.versus) == asked and endpoint.decides
    ]
    answers = {_met(endpoint, criterion.margin) for _, endpoint in endpoints}
    # A rung that does not answer this very question leaves it open, whatever else it holds.
    shown = {report.document.protocol.rung for report, _ in endpoints}
    if not answers or not shown.issuperset(rungs):
        answers.add(None)
    # Several reports may hold it, of several rungs: each must be met, and the worst counts.
    worst = next((answer for answer in (False, None) if answer in answers), True)
    return finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        f"{name}:{criterion.metric}:{criterion.cohort}:{versus}",
        holds=worst,
        found=listed(
            (
                f"{report.where}, {report.document.protocol.rung}: {_told_endpoint(endpoint)}"
                for report, endpoint in endpoints
            ),
            none="no report answers it",
        ),
        expected=f"met; lower bound above -{criterion.margin}, "
        f"at a confidence of {LEAST_CONFIDENCE} or more, in no secondary endpoint, "
        f"on: {listed(rungs)}",
        source=listed((report.source for report, _ in endpoints), none="no report"),
        clause=_PERFORMANCE,
    )


def _met(endpoint: Endpoint, margin: str) -> bool | None:
    """Whether an endpoint is met; None where it could not be evaluated, which is never yes."""
    bounds = endpoint.difference
    if bounds is None or endpoint.decision == Decision.NOT_EVALUABLE:
        return None
    return (
        endpoint.decision == Decision.MET
        and Number(bounds.confidence) >= LEAST_CONFIDENCE
        and Number(bounds.low) > -Number(margin)
    )


def _told_endpoint(endpoint: Endpoint) -> str:
    bounds = endpoint.difference
    if bounds is None:
        return endpoint.decision
    return (
        f"{endpoint.decision}, {bounds.estimate} ({bounds.low} to {bounds.high}) "
        f"at {bounds.confidence}, {endpoint.patients} patients"
    )


def _answer_of(decision: Decision) -> bool | None:
    return None if decision == Decision.NOT_EVALUABLE else decision == Decision.MET


SHOWN_RULES = (comparisons, methods, acceptance, cumulative)
"""Every rule of this file, in the order in which people are told."""
