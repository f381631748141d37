"""The question to a change-control plan and its answer: rule by rule, and always as advice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Generic, TypeVar

from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.description import ChangeDescription, ModificationHistory
from primum_verifier.change.differences import ReleaseDifference, differences
from primum_verifier.change.plan import ChangeControlPlan, Modification, PlanAuthorisation
from primum_verifier.core.document import Document, parse_document, sha256_hex
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import Check
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Outcome

ADVICE = (
    "This is advice to a person. It decides nothing about a submission, an authorisation or the "
    "use of a release."
)

_OUTCOMES = {None: Outcome.UNKNOWN, True: Outcome.SATISFIED, False: Outcome.REFUSED}

AnyDocument = TypeVar("AnyDocument", bound=Document)


class Consistency(StrEnum):
    """How a change stands to its plan."""

    CONSISTENT = "consistent"
    NOT_LISTED = "not-listed"
    PROTOCOL_NOT_FOLLOWED = "protocol-not-followed"


@dataclass(frozen=True)
class Read(Generic[AnyDocument]):
    """A document together with the digest of the very bytes it was read from.

    Attributes:
        document: the parsed document.
        sha256: of its bytes.
        where: the name a person knows it by.
    """

    document: AnyDocument
    sha256: str
    where: str

    @property
    def source(self) -> str:
        """The document as evidence names it."""
        return f"{self.where}, sha256 {self.sha256[:16]}"


def read(model: type[AnyDocument], data: bytes, *, where: str) -> Read[AnyDocument]:
    """Parse a document and keep its digest.

    Raises:
        RefusedError: it is none; see :func:`parse_document`.
    """
    return Read(parse_document(model, data, where=where), sha256_hex(data), where)


@dataclass(frozen=True, kw_only=True)
class ChangeQuestion:
    """Is this change one that the plan foresaw, and was it made as the plan says?

    Attributes:
        plan: the authorised plan.
        base: the release that the change starts from: the last modified version.
        original: the release that was authorised first.
        candidate: the release that the change makes.
        change: what the manufacturer claims.
        reports: comparisons of the candidate with both baselines.
        history: the modifications before this one, None when no such list was handed in.
        now: the moment of asking.
        jurisdiction: the country that is asked about, ISO 3166-1 alpha-2.
    """

    plan: Read[ChangeControlPlan]
    base: Read[ReleaseManifest]
    original: Read[ReleaseManifest]
    candidate: Read[ReleaseManifest]
    change: Read[ChangeDescription]
    reports: tuple[Read[ComparisonReport], ...]
    history: Read[ModificationHistory] | None
    now: datetime
    jurisdiction: str

    @cached_property
    def claimed(self) -> tuple[Modification, ...]:
        """The modifications of the plan that the change claims to be."""
        wanted = self.change.document.modification_ids
        return tuple(item for item in self.plan.document.modifications if item.id in wanted)

    def letters_of(self, modification: str) -> tuple[PlanAuthorisation, ...]:
        """Who allowed a modification in the country that is asked about, whenever it was."""
        return self.plan.document.authorisations_of(modification, jurisdiction=self.jurisdiction)

    @cached_property
    def since_base(self) -> ReleaseDifference:
        """What this change changes."""
        return differences(self.base.document, self.candidate.document)

    @cached_property
    def since_original(self) -> ReleaseDifference:
        """What all changes together changed."""
        return differences(self.original.document, self.candidate.document)


@dataclass(frozen=True)
class Finding:
    """One check, and what the answer is where it stands in the way."""

    check: Check
    otherwise: Consistency


Findings = Iterator[Finding]


def finding(
    otherwise: Consistency,
    name: str,
    *,
    holds: bool | None,
    found: str,
    expected: str,
    source: str,
    clause: str,
) -> Finding:
    """A finding from the answer to "does it hold?"; None means that nobody can say."""
    check = Check(
        name=name,
        outcome=_OUTCOMES[holds],
        reason=None if holds else Reason.PCCP_INCONSISTENT,
        found=found,
        expected=expected,
        source=source,
        clause=clause,
    )
    return Finding(check, otherwise)


@dataclass(frozen=True)
class PlanAnswer:
    """The answer, and every rule that was asked.

    Attributes:
        answer: consistent, not listed, or the protocol was not followed.
        findings: every rule with its evidence, in the order it was judged.
        floor: the least tier that a change like this has.
        advice: the sentence that says what the answer is not.
    """

    answer: Consistency
    findings: tuple[Finding, ...]
    floor: str
    advice: str = ADVICE

    @property
    def checks(self) -> tuple[Check, ...]:
        """The rules alone."""
        return tuple(item.check for item in self.findings)

    @property
    def in_the_way(self) -> tuple[Check, ...]:
        """The checks that stand in the way, in order."""
        return tuple(check for check in self.checks if check.stands_in_the_way)

    def as_dict(self) -> dict[str, object]:
        """The answer as JSON shows it; every rule is in it."""
        return {
            "answer": str(self.answer),
            "primary": str(Reason.PCCP_INCONSISTENT) if self.in_the_way else None,
            "tierFloor": self.floor,
            "advice": self.advice,
            "checks": [
                {
                    "name": item.check.name,
                    "outcome": str(item.check.outcome),
                    "otherwise": str(item.otherwise),
                    "found": item.check.found,
                    "expected": item.check.expected,
                    "source": item.check.source,
                    "clause": item.check.clause,
                }
                for item in self.findings
            ],
        }


def listed(values: Iterable[object], *, none: str = "none") -> str:
    """Names as people read them, in one order whatever order they were written in."""
    return ", ".join(sorted({str(value) for value in values})) or none
