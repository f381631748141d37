"""Approvals, one signed statement for each person, and the policy that says whose are needed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Count,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.core.eligibility import OpenIssues
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.vocabulary import ChangeTier, Function, Rung, Stage

POLICY_TARGET = "policy/approval-policy.json"

_Need = Annotated[int, Field(ge=1, le=20)]


class Meaning(StrEnum):
    """The meaning of a signature (21 CFR 11.50(a)(3))."""

    AUTHORED = "authored"
    REVIEWED = "reviewed"
    VERIFIED = "verified"
    APPROVED = "approved"
    RESPONSIBILITY = "responsibility"


MEANING_CODES = {
    Meaning.AUTHORED: "1.2.840.10065.1.12.1.1",
    Meaning.VERIFIED: "1.2.840.10065.1.12.1.5",
    Meaning.REVIEWED: "1.2.840.10065.1.12.1.13",
}
"""The purpose of a signature as ASTM E1762 codes it, for the meanings that it has."""


class Authentication(Document):
    """How the signer proved to be that person (21 CFR 11.200)."""

    factors: Annotated[int, Field(ge=1, le=5)]
    method: Text


class ApprovalScope(Document):
    """What the approval was given for."""

    stage: Stage
    change_tier: ChangeTier


class Approval(OpenDocument):
    """Printed name, function, meaning and time, as the signer saw them (21 CFR 11.50).

    A rejection or an abstention is a record; a device counts approvals only, because a
    rejection that is missing cannot be noticed there.
    """

    schema_version: SchemaVersion
    id: Urn
    function: Function
    person_id: Slug
    printed_name: Text
    meaning: Meaning
    decision: Literal["approve", "reject", "abstain"]
    signed_at: Time
    scope: ApprovalScope
    comment: Text = ""
    role_title: Text = ""
    authentication: Authentication | None = None
    conflicts_declared: Text = ""


class ApprovalStatement(Document):
    """An in-toto statement over the digest of an eligibility statement.

    The first subject is the eligibility statement; a second one, where it is there, the index
    of the dossier that the person read.
    """

    statement_type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[ResourceDescriptor, ...] = Field(min_length=1, max_length=2)
    predicate_type: Literal["urn:primum:approval:v0.1"]
    predicate: Approval


class PersonStatus(StrEnum):
    """Whether a person's key still counts."""

    ACTIVE = "active"
    LEFT = "left"
    COMPROMISED = "compromised"


class Person(Document):
    """One person, the one function held and the key that signs for it.

    ``honoured`` lists what stays good after the person has left, by the SHA-256 of the document
    that was signed or approved: an eligibility statement, or the payload of a safety notice's
    envelope.  Of a key whose owner has left nothing else counts, whenever it says it was signed.

    ``reapprove_by`` is the moment from which what a compromised key approved is taken away,
    unless enough others have approved it by then.
    """

    person_id: Slug
    printed_name: Text
    function: Function
    key: PublicKey
    status: PersonStatus
    honoured: tuple[DigestSet, ...] = Field(default=(), max_length=MAX_LIST)
    reapprove_by: Time | None = None

    @model_validator(mode="after")
    def _only_a_compromised_key_is_approved_again(self) -> Person:
        if self.reapprove_by is not None and self.status != PersonStatus.COMPROMISED:
            raise ValueError("reapproveBy stands with the status compromised, and only there")
        return self

    def counts_for(self, sha256: str) -> bool:
        """Whether what this person said of the document with this SHA-256 counts."""
        return self.status == PersonStatus.ACTIVE or (
            self.status == PersonStatus.LEFT
            and any(item.sha256 == sha256 for item in self.honoured)
        )


class Requirement(Document):
    """What a stage needs, for all tiers of change or for those listed.

    Distinct people of each function, evidence by the name of its role, and rungs of the ladder.
    """

    stage: Stage
    change_tiers: tuple[ChangeTier, ...] = Field(default=tuple(ChangeTier), min_length=1)
    functions: dict[Function, _Need] = Field(min_length=1)
    evidence: tuple[Name, ...] = Field(default=(), max_length=100)
    rungs: tuple[Rung, ...] = Field(default=(), max_length=4)


class ApprovalPolicy(OpenDocument):
    """Who may approve, and whose approvals each stage needs; signed by clinical's top role.

    ``open_issues`` is how many known anomalies of each severity a statement may leave open.

    ``min_statement_number`` and ``burned_statements`` end statements for good: neither replay
    nor a new listing with old approvals brings one back.
    """

    type: Literal["urn:primum:approval-policy:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    people: tuple[Person, ...] = Field(max_length=MAX_LIST)
    requirements: tuple[Requirement, ...] = Field(min_length=1, max_length=30)
    functions_to_hold: _Need
    functions_to_take_away: Annotated[int, Field(ge=2, le=6)]
    min_statement_number: Count = 0
    burned_statements: tuple[DigestSet, ...] = Field(default=(), max_length=MAX_LIST)
    open_issues: OpenIssues | None = None

    @model_validator(mode="after")
    def _one_person_one_function_one_key(self) -> ApprovalPolicy:
        for what, seen in (
            ("person", [person.person_id for person in self.people]),
            ("key", [person.key.public for person in self.people]),
            (
                "stage and tier",
                [(i.stage, tier) for i in self.requirements for tier in i.change_tiers],
            ),
        ):
            if len(set(seen)) != len(seen):
                raise ValueError(f"one {what} stands twice: one person, one function, one key")
        return self

    def needed_for(self, stage: Stage, tier: ChangeTier) -> Requirement | None:
        """What a change of this tier needs at this stage; None when the policy names no such."""
        return next(
            (i for i in self.requirements if i.stage == stage and tier in i.change_tiers), None
        )

    def approvers_of(self, statement: str) -> tuple[Person, ...]:
        """The people whose approval of a statement, by its SHA-256, counts."""
        return tuple(person for person in self.people if person.counts_for(statement))

    def active_people(self) -> tuple[Person, ...]:
        """The people whose keys count."""
        return tuple(person for person in self.people if person.status == PersonStatus.ACTIVE)
