"""Decisions of a self-test, counted by cohort: flips, rates against the labels, errors before.

It decides and counts with the functions that judged, so that a drawing cannot disagree with the
report.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from primum_verifier.proof.baselines import labelled
from primum_verifier.proof.fixtures import NO_DECISION, Fixtures
from primum_verifier.proof.observed import (
    MAX_DRAWN_COHORTS,
    MIN_FOR_INTERVAL,
    BaselineCounts,
    CohortCounts,
    CohortKind,
    ErrorCounts,
    Rate,
)
from primum_verifier.proof.proportion import wilson
from primum_verifier.proof.selftest_result import Baselines
from primum_verifier.proof.selftest_spec import Baseline

ALL_RECORDED = "all recorded"
"""What the row is called that counts every cohort but those of faults; no cohort has a space."""

_POSITIVE, _NEGATIVE = 1, 0

Decisions = Sequence[int | None]
"""What was decided in each case; None where there was no output."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One case as it was decided."""

    cohort: str
    label: int
    expected: int
    decision: int | None


def cohort_counts(
    fixtures: Fixtures, decisions: Decisions, *, faults: Collection[str]
) -> tuple[CohortCounts, ...]:
    """Every cohort in numbers, by name.

    Args:
        fixtures: the cases, with cohorts, labels and signed decisions.
        decisions: what was decided now.
        faults: the cohorts that a test of safety functions judges.
    """
    cases = defaultdict(list)
    for case in _cases(fixtures, decisions):
        cases[case.cohort].append(case)
    return tuple(
        _counts(name, CohortKind.FAULT if name in faults else CohortKind.RECORDED, cases[name])
        for name in sorted(cases)
    )


def all_recorded(
    fixtures: Fixtures, decisions: Decisions, *, faults: Collection[str]
) -> CohortCounts | None:
    """All cases but those of faults in numbers; None where there are none."""
    recorded = [case for case in _cases(fixtures, decisions) if case.cohort not in faults]
    return _counts(ALL_RECORDED, CohortKind.RECORDED, recorded) if recorded else None


def baseline_counts(
    fixtures: Fixtures,
    decisions: Decisions,
    *,
    faults: Collection[str],
    baselines: Baselines | None,
) -> Iterator[BaselineCounts]:
    """Errors against the labels beside those of each earlier release whose decisions are known.

    Args:
        fixtures: the cases, and what earlier releases decided.
        decisions: what was decided now.
        faults: the cohorts that a test of safety functions judges.
        baselines: which releases they are; None where nobody said.
    """
    places = labelled(fixtures, without=faults)
    for baseline in Baseline if baselines is not None else ():
        sha256 = baselines.of(baseline) if baselines is not None else None
        earlier = fixtures.baselines.get(sha256 or "")
        if sha256 is None or earlier is None or not places:
            continue
        cohorts = sorted({fixtures.cohorts[place] for place in places})
        now, before = (_errors(fixtures, one, places) for one in (decisions, earlier))
        yield BaselineCounts(
            baseline=baseline,
            release=sha256,
            cohorts=tuple(
                ErrorCounts(
                    cohort=cohort,
                    misses=now[cohort, _POSITIVE],
                    misses_before=before[cohort, _POSITIVE],
                    false_alarms=now[cohort, _NEGATIVE],
                    false_alarms_before=before[cohort, _NEGATIVE],
                )
                for cohort in cohorts[:MAX_DRAWN_COHORTS]
            ),
        )


def _errors(
    fixtures: Fixtures, decisions: Decisions, places: Sequence[int]
) -> Counter[tuple[str, int]]:
    """Cases decided otherwise than labelled, by cohort and label; no decision is an error."""
    return Counter(
        (fixtures.cohorts[place], fixtures.labels[place])
        for place in places
        if decisions[place] != fixtures.labels[place]
    )


def _cases(fixtures: Fixtures, decisions: Decisions) -> Iterator[_Case]:
    rows = zip(
        fixtures.cohorts, fixtures.labels, fixtures.expected_decisions, decisions, strict=True
    )
    return (_Case(*row) for row in rows)


def _counts(name: str, kind: CohortKind, cases: Sequence[_Case]) -> CohortCounts:
    positives = [case for case in cases if case.label == _POSITIVE]
    negatives = [case for case in cases if case.label == _NEGATIVE]
    recorded = kind is CohortKind.RECORDED
    return CohortCounts(
        cohort=name,
        kind=kind,
        cases=len(cases),
        positives=len(positives),
        negatives=len(negatives),
        flips=sum(case.decision != case.expected for case in cases),
        undecided=sum(case.decision in (None, NO_DECISION) for case in cases),
        sensitivity=_rate(positives) if recorded else None,
        specificity=_rate(negatives) if recorded else None,
    )


def _rate(cases: Sequence[_Case]) -> Rate | None:
    """How many of these labelled cases were decided as their label says."""
    if not cases:
        return None
    right = sum(case.decision == case.label for case in cases)
    low, high = (
        (f"{end:.3f}" for end in wilson(right, len(cases)))
        if len(cases) >= MIN_FOR_INTERVAL
        else (None, None)
    )
    return Rate(right=right, of=len(cases), share=f"{right / len(cases):.3f}", low=low, high=high)
