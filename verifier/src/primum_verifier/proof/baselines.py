"""Whether a release decides no worse than an earlier one on the very same labelled cases.

Both sides are counts on known cases: what this device computed now, and the decisions that the
release side signed for the earlier release.  There is no interval and no hypothesis here; those
belong to whoever signs the expectations.  Misses and false alarms are counted apart, in each
cohort, because a miss is not made up for by a false alarm less, nor one cohort by another.  A
case without a decision is an error, whatever its label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from primum_verifier.proof.fixtures import NO_DECISION, NO_LABEL, Fixtures
from primum_verifier.proof.selftest_result import CaseDeviation, TestStatus
from primum_verifier.proof.selftest_spec import Baseline
from primum_verifier.proof.trial import Finding, Trial, absent, not_evaluable

Kind = tuple[str, int]
"""A cohort and a label: one kind of error that can be made."""

_DECISION_WORDS = {1: "positive", 0: "negative", NO_DECISION: "no decision"}
_ERROR_WORDS = {1: "misses", 0: "false alarms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worse:
    """One kind of error that is made more often than by the earlier release.

    Attributes:
        cohort: where.
        label: of the cases: 1 for misses, 0 for false alarms.
        found: how many errors were made now.
        earlier: how many the earlier release made.
        cases: places of the cases that it decided rightly and that are decided wrongly now.
    """

    cohort: str
    label: int
    found: int
    earlier: int
    cases: tuple[int, ...]

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.found} {_ERROR_WORDS[self.label]} in {self.cohort}, {self.earlier} before"


def labelled(fixtures: Fixtures, *, without: Collection[str]) -> tuple[int, ...]:
    """The places of the cases that have a label, outside the cohorts ``without``."""
    return tuple(
        place
        for place, (cohort, label) in enumerate(zip(fixtures.cohorts, fixtures.labels, strict=True))
        if label != NO_LABEL and cohort not in without
    )


def worse_than(
    fixtures: Fixtures,
    decisions: tuple[int | None, ...],
    earlier: tuple[int, ...],
    *,
    places: tuple[int, ...],
) -> Iterator[Worse]:
    """Every kind of error that is made more often than before, in the order of the cases.

    Args:
        fixtures: the cases, with cohorts and labels.
        decisions: what was decided now; None where there was no output.
        earlier: what the earlier release decided on the same cases.
        places: the labelled cases that count.
    """
    found, before = (Counter(_errors(fixtures, one, places)) for one in (decisions, earlier))
    for kind, count in found.items():
        if count > before[kind]:
            cohort, label = kind
            yield Worse(
                cohort=cohort,
                label=label,
                found=count,
                earlier=before[kind],
                cases=tuple(
                    place
                    for place in places
                    if (fixtures.cohorts[place], fixtures.labels[place]) == kind
                    and decisions[place] != label
                    and earlier[place] == label
                ),
            )


def _errors(
    fixtures: Fixtures, decisions: tuple[int | None, ...], places: tuple[int, ...]
) -> Iterator[Kind]:
    for place in places:
        if decisions[place] != fixtures.labels[place]:
            yield fixtures.cohorts[place], fixtures.labels[place]


def held_against(
    baseline: Baseline, decisions: tuple[int | None, ...], fixtures: Fixtures, *, trial: Trial
) -> Finding:
    """The decisions held against those of one earlier release.

    What a comparison lacks says whose fault it is.  The decisions of the original release are
    *absent* on every device alike; those of the release that is active here may be there for
    another device, or after another update, so that the comparison is merely *not run*.
    """
    expected = f"no worse than the {baseline} release"
    lacking = absent if baseline is Baseline.ORIGINAL else not_evaluable
    if trial.baselines is None:
        return not_evaluable(f"not evaluable: nobody said which release is {baseline}", expected)
    sha256 = trial.baselines.of(baseline)
    if sha256 is None and baseline is Baseline.ACTIVE:
        return Finding(status=TestStatus.SUCCESS, found="no release is active", expected=expected)
    earlier = fixtures.baselines.get(sha256 or "")
    if earlier is None:
        whose = f"of the {baseline} release {sha256[:12] if sha256 else 'that nobody named'}"
        return lacking(f"not evaluable: no decisions {whose} in the fixtures", expected)
    places = labelled(fixtures, without=trial.safety_cohorts())
    if not places:
        return absent("not evaluable: no labelled case", expected)
    worse = list(worse_than(fixtures, decisions, earlier, places=places))
    told = ", ".join(one.told for one in worse) or f"on {len(places)} labelled cases"
    return Finding(
        status=TestStatus.FAIL if worse else TestStatus.SUCCESS,
        found=f"{'worse' if worse else 'no worse'} than the {baseline} release: {told}",
        expected=expected,
        cases=tuple(
            CaseDeviation(
                case=fixtures.cases[place],
                found=decision_word(decisions[place]),
                expected=decision_word(one.label),
                by=f"the {baseline} release decided rightly",
            )
            for one in worse
            for place in one.cases
        ),
    )


def decision_word(decision: int | None) -> str:
    """A decision as people read it; None where there was no output."""
    return "no output" if decision is None else _DECISION_WORDS[decision]
