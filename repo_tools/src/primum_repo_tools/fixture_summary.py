"""What stands in fixtures, counted; and in what two files of them differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from primum_repo_tools.given_cases import shown
from primum_verifier.proof.fixtures import FixtureArray, Fixtures

LABEL_WORDS = {1: "positive", 0: "negative", -1: "unlabelled"}
DECISION_WORDS = {1: "positive", 0: "negative", -1: "no decision"}


@dataclass(frozen=True, kw_only=True)
class CohortCount:
    """The cases of one cohort.

    Attributes:
        cohort: its name.
        cases: how many.
        labels: how many of each label.
        decisions: how many of each expected decision.
    """

    cohort: str
    cases: int
    labels: dict[int, int]
    decisions: dict[int, int]

    @property
    def as_data(self) -> dict[str, object]:
        """As ``--json`` tells it."""
        return {
            "cases": self.cases,
            "labels": {word: self.labels[sign] for sign, word in LABEL_WORDS.items()},
            "decisions": {word: self.decisions[sign] for sign, word in DECISION_WORDS.items()},
        }

    @property
    def as_row(self) -> tuple[object, ...]:
        """As a person reads it, in the columns :data:`COHORT_COLUMNS`."""
        labels = (self.labels[sign] for sign in LABEL_WORDS)
        return self.cohort, self.cases, *labels, *(self.decisions[sign] for sign in DECISION_WORDS)


COHORT_COLUMNS = (
    "cohort",
    "cases",
    "labelled positive",
    "negative",
    "unlabelled",
    "expected positive",
    "negative",
    "no decision",
)


def cohort_counts(fixtures: Fixtures) -> list[CohortCount]:
    """Each cohort, in the order of the cases."""
    counts = []
    for cohort in dict.fromkeys(fixtures.cohorts):
        places = [place for place, name in enumerate(fixtures.cohorts) if name == cohort]
        counts.append(
            CohortCount(
                cohort=cohort,
                cases=len(places),
                labels=Counter(fixtures.labels[place] for place in places),
                decisions=Counter(fixtures.expected_decisions[place] for place in places),
            )
        )
    return counts


def arrays_of(fixtures: Fixtures) -> list[tuple[str, str, list[int], int]]:
    """Each input and reference: name, element type, shape, bytes."""
    named = [
        *(("input", array) for array in fixtures.inputs),
        *(("reference", array) for array in fixtures.references.values()),
    ]
    return [
        (f"{family}.{array.name}", str(array.dtype), list(array.shape), len(array.data))
        for family, array in named
    ]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """In what two files of fixtures differ.

    Attributes:
        added: cases that only the second has.
        removed: cases that only the first has.
        changed: for each case that both have in another form, what is other.
        same: cases that both have.
        same_bytes: bytes of inputs and references of those.
        elsewhere: what differs besides the cases: order, arrays, earlier releases.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    same: tuple[str, ...]
    same_bytes: int
    elsewhere: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        """Whether a device would see no difference."""
        return not (self.added or self.removed or self.changed or self.elsewhere)

    @property
    def as_rows(self) -> list[tuple[str, int, str]]:
        """What differs, how often, and the first cases."""
        kinds = sorted({kind for kinds in self.changed.values() for kind in kinds})
        rows = [("added", self.added), ("removed", self.removed)]
        rows += [
            (f"other {kind}", tuple(case for case, held in self.changed.items() if kind in held))
            for kind in kinds
        ]
        rows.append(("same", self.same))
        return [(what, len(cases), shown(cases)) for what, cases in rows if cases]


def difference(one: Fixtures, other: Fixtures) -> Difference:
    """In what ``other`` differs from ``one``, case by case, by name."""
    first, second = _by_case(one), _by_case(other)
    both = [case for case in one.cases if case in second]
    changed = {
        case: tuple(
            part
            for part in dict.fromkeys((*first[case], *second[case]))
            if first[case].get(part) != second[case].get(part)
        )
        for case in both
    }
    changed = {case: parts for case, parts in changed.items() if parts}
    same = tuple(case for case in both if case not in changed)
    return Difference(
        added=tuple(case for case in other.cases if case not in first),
        removed=tuple(case for case in one.cases if case not in second),
        changed=changed,
        same=same,
        same_bytes=sum(
            len(value)
            for case in same
            for value in first[case].values()
            if isinstance(value, bytes)
        ),
        elsewhere=tuple(_elsewhere(one, other, both)),
    )


def _by_case(fixtures: Fixtures) -> dict[str, dict[str, object]]:
    """The parts of each case by name."""
    arrays: list[tuple[str, FixtureArray]] = [
        *((f"input {array.name}", array) for array in fixtures.inputs),
        *((f"reference {array.name}", array) for array in fixtures.references.values()),
    ]
    return {
        case: {
            "cohort": fixtures.cohorts[place],
            "label": fixtures.labels[place],
            "expected decision": fixtures.expected_decisions[place],
            **{name: array.of_case(place) for name, array in arrays},
            **{
                f"decision of {release[:12]}": decided[place]
                for release, decided in fixtures.baselines.items()
            },
        }
        for place, case in enumerate(fixtures.cases)
    }


def _elsewhere(one: Fixtures, other: Fixtures, both: list[str]) -> list[str]:
    told = []
    if [case for case in other.cases if case in set(both)] != both:
        told.append("the cases stand in another order")
    if [row[:2] for row in arrays_of(one)] != [row[:2] for row in arrays_of(other)]:
        told.append("inputs or references have other names, types or another order")
    for what, only in (
        ("only the second", set(other.baselines) - set(one.baselines)),
        ("only the first", set(one.baselines) - set(other.baselines)),
    ):
        if only:
            told.append(f"{what} has decisions of {shown(sorted(only))}")
    return told
