"""The paired questions: does the candidate lose sensitivity or specificity against a baseline.

Co-primary in the whole, and in each cohort that is claimed; every one of them has to be met, which
needs no correction for asking several (an intersection-union test) and costs power instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Literal, get_args

import numpy as np

from primum_repo_tools.comparison_cases import (
    Arms,
    Group,
    bounds,
    counts_by,
    groups_of,
    patient_numbers,
    text,
)
from primum_repo_tools.protocol import Minimum, Protocol
from primum_repo_tools.statistics.arrays import Flags, Floats
from primum_repo_tools.statistics.beta import binomial_at_most
from primum_repo_tools.statistics.bootstrap import ClusterCounts, cluster_difference_interval
from primum_repo_tools.statistics.clustered import obuchowski_difference
from primum_repo_tools.statistics.delong import paired_auc_difference
from primum_repo_tools.statistics.exact_unconditional import MOST_PAIRS, exact_noninferiority
from primum_repo_tools.statistics.interval import Interval
from primum_repo_tools.statistics.mcnemar import mcnemar_test
from primum_repo_tools.statistics.multiplicity import benjamini_hochberg, holm
from primum_repo_tools.statistics.tango import tango_interval
from primum_verifier.change.comparison_analysis import (
    Criterion,
    HarmRow,
    Population,
    Superiority,
)
from primum_verifier.change.comparison_report import Endpoint
from primum_verifier.change.comparison_terms import WHOLE, Baseline, Decision, Role, Unit

Metric = Literal["sensitivity", "specificity"]

_METHODS = {
    Unit.PATIENT: "patient-level cluster bootstrap, {interval}, never narrower than Tango (1998)",
    Unit.BEAT: "Tango (1998) over beats as if independent: a demonstration, no claim",
}
_AREA_METHODS = {
    Unit.PATIENT: "DeLong (1988), variance between patients by Obuchowski (1997): shown, decides "
    "nothing",
    Unit.BEAT: "DeLong (1988) over cases as if independent: shown, decides nothing",
}
_FEWEST_PATIENTS = 2


@dataclass(frozen=True)
class Paired:
    """One paired question with its counts and its answer.

    Attributes:
        counts: by patient.
        interval: None where there is no case.
        margin: decimal text.
        decision: what came of it.
        why: in words.
    """

    group: Group
    metric: Metric
    versus: Baseline
    counts: ClusterCounts
    interval: Interval | None
    margin: str
    decision: Decision
    why: str

    @property
    def id(self) -> str:
        """What it is called in the report."""
        return f"{self.metric} vs {self.versus} in {self.group.name}"


def paired_questions(
    arms: Arms, protocol: Protocol, *, population: Population = "intention-to-diagnose"
) -> list[Paired]:
    """Every paired question of the protocol, asked of one population.

    Args:
        arms: candidate, last and original over the same cases.
        protocol: the frozen protocol.
        population: what becomes of cases without a decision.
    """
    reference = arms["candidate"].predictions
    return [
        _ask(arms, protocol, group, metric, versus, population)
        for group in groups_of(reference, protocol)
        for metric in get_args(Metric)
        for versus in get_args(Baseline)
    ]


def _ask(  # noqa: PLR0917 - the parts of one question, in the order of its name
    arms: Arms,
    protocol: Protocol,
    group: Group,
    metric: Metric,
    versus: Baseline,
    population: Population,
) -> Paired:
    reference = arms["candidate"].predictions
    wanted = metric == "sensitivity"
    cases = group.mask & (reference.label == wanted)
    right = arms["candidate"].right(label=wanted)
    baseline_right = arms[versus].right(label=wanted)
    if population == "as-decided":
        cases = cases & arms["candidate"].decided & arms[versus].decided
    if population == "worst-case":
        baseline_right = baseline_right | ~arms[versus].decided
    right, baseline_right = right[cases], baseline_right[cases]
    counts = counts_by(
        patient_numbers(reference.patient[cases]), right & ~baseline_right, baseline_right & ~right
    )
    n = int(counts.cases.sum())
    margin = group.margins.sensitivity if wanted else group.margins.specificity
    interval = _interval(counts, protocol) if n else None
    decision, why = _decide(interval, float(margin), group.minimum, counts)
    return Paired(group, metric, versus, counts, interval, margin, decision, why)


def _interval(counts: ClusterCounts, protocol: Protocol) -> Interval:
    confidence = float(protocol.confidence)
    if protocol.unit is Unit.PATIENT:
        return cluster_difference_interval(
            counts,
            seed=protocol.seed,
            replicates=protocol.replicates,
            confidence=confidence,
            method=protocol.interval,
        )
    gained, lost = int(counts.gained.sum()), int(counts.lost.sum())
    return tango_interval(gained, lost, int(counts.cases.sum()), confidence=confidence)


def _decide(
    interval: Interval | None, margin: float, minimum: Minimum, counts: ClusterCounts
) -> tuple[Decision, str]:
    patients, cases = len(counts.cases), int(counts.cases.sum())
    if interval is None or patients < minimum.patients or cases < minimum.cases:
        return Decision.NOT_EVALUABLE, (
            f"{patients} patients and {cases} cases, where {minimum.patients} and "
            f"{minimum.cases} are needed"
        )
    shown = f"difference {interval.estimate:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
    if interval.low <= -margin:
        return Decision.NOT_MET, f"{shown}, lower bound not above -{margin:g}"
    if patients == cases <= MOST_PAIRS:
        # So few independent pairs: the interval is an approximation, the exact test is none.
        p = exact_noninferiority(
            int(counts.gained.sum()), int(counts.lost.sum()), cases, margin=margin
        )
        level = (1.0 - interval.confidence) / 2.0
        shown += f", exact unconditional p {p:.4f}"
        if p > level:
            return Decision.NOT_MET, f"{shown}, above {level:g}"
    return Decision.MET, f"{shown}, lower bound above -{margin:g}"


def endpoints_of(questions: list[Paired], protocol: Protocol) -> Iterator[Endpoint]:
    """The questions as the report's endpoints."""
    for item in questions:
        yield Endpoint(
            id=item.id,
            metric=item.metric,
            versus=item.versus,
            cohort=item.group.name,
            role=item.group.role,
            method=_METHODS[protocol.unit].format(interval=protocol.interval),
            margin=item.margin,
            margin_rationale=item.group.margins.rationale,
            difference=bounds(item.interval),
            patients=len(item.counts.cases),
            cases=int(item.counts.cases.sum()),
            gained=int(item.counts.gained.sum()),
            lost=int(item.counts.lost.sum()),
            decision=item.decision,
            why=item.why,
        )


def counted_otherwise(
    arms: Arms, protocol: Protocol, *, population: Population
) -> Iterator[Criterion]:
    """The same questions with undecided cases counted otherwise, beside the endpoints."""
    decides = population == "worst-case" and protocol.worst_case == "decides"
    for item in paired_questions(arms, protocol, population=population):
        role: Role = item.group.role if decides else "secondary"
        yield Criterion(
            id=f"{item.id} {population}",
            metric=item.metric,
            versus=item.versus,
            cohort=item.group.name,
            population=population,
            role=role,
            method=_METHODS[protocol.unit].format(interval=protocol.interval),
            at_least=f"-{item.margin}",
            rationale=item.group.margins.rationale,
            value=bounds(item.interval),
            patients=len(item.counts.cases),
            cases=int(item.counts.cases.sum()),
            decision=item.decision,
            why=item.why,
        )


def area_endpoint(arms: Arms, versus: Baseline, protocol: Protocol) -> Endpoint:
    """The difference of areas under the ROC curve: shown, decides nothing."""
    candidate, baseline = arms["candidate"], arms[versus]
    decided = candidate.decided & baseline.decided
    reference = candidate.predictions
    label = reference.label[decided]
    patient = patient_numbers(reference.patient[decided])
    interval = (
        paired_auc_difference(
            label,
            reference.score[decided],
            baseline.predictions.score[decided],
            confidence=float(protocol.confidence),
            patient=patient if protocol.unit is Unit.PATIENT else None,
        )
        if has_both(label)
        else None
    )
    return Endpoint(
        id=f"auc vs {versus} in {WHOLE}",
        metric="auc",
        versus=versus,
        cohort=WHOLE,
        role="secondary",
        method=_AREA_METHODS[protocol.unit],
        difference=bounds(interval),
        patients=len(np.unique(patient)),
        cases=len(label),
        gained=0,
        lost=0,
        decision=Decision.NOT_EVALUABLE,
        why="secondary: no threshold is set on it",
    )


def has_both(label: Flags) -> bool:
    """Whether both classes occur."""
    return bool(label.any() and not label.all())


def superiority_of(questions: list[Paired]) -> Iterator[Superiority]:
    """Whether the differences in the whole are more than chance, either way."""
    for item in questions:
        if item.group.name != WHOLE or item.interval is None:
            continue
        test = mcnemar_test(int(item.counts.gained.sum()), int(item.counts.lost.sum()))
        between = (
            text(obuchowski_difference(item.counts).p_value)
            if len(item.counts.cases) >= _FEWEST_PATIENTS
            else None
        )
        yield Superiority(
            id=item.id, exact=text(test.exact), mid_p=text(test.mid_p), between_patients=between
        )


def harm_screen(questions: list[Paired], protocol: Protocol) -> Iterator[HarmRow]:
    """How surely each cohort lost, adjusted for the number of cohorts that were looked at."""
    asked = [item for item in questions if item.group.name != WHOLE and item.interval is not None]
    p_values: Floats = np.array([_loss_by_chance(item.counts, protocol.unit) for item in asked])
    for item, *values in zip(
        asked, p_values, holm(p_values), benjamini_hochberg(p_values), strict=True
    ):
        p_value, by_holm, by_share = map(text, values)
        yield HarmRow(id=item.id, p_value=p_value, holm=by_holm, benjamini_hochberg=by_share)


def _loss_by_chance(counts: ClusterCounts, unit: Unit) -> float:
    """How probable a loss at least so large would be without any; one-sided."""
    gained, lost = int(counts.gained.sum()), int(counts.lost.sum())
    if unit is Unit.BEAT or len(counts.cases) < _FEWEST_PATIENTS:
        return binomial_at_most(gained, gained + lost, 0.5)
    net = (counts.gained - counts.lost).astype(np.float64)
    patients = len(net)
    error = sqrt(float((net**2).sum()) * patients / (patients - 1))
    return 1.0 if error == 0.0 else 0.5 * erfc(-float(net.sum()) / error / sqrt(2.0))
