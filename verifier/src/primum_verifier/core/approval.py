"""Approvals, one signed statement for each person, and the policy that says whose are needed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    DigestSet,
    Document,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.vocabulary import ChangeTier, Function, Stage

POLICY_TARGET = "policy/approval-policy.json"

_Need = Annotated[int, Field(ge=1, le=20)]


class Meaning(StrEnum):
    """The meaning of a signature (21 CFR 11.50(a)(3))."""

    AUTHORED = "authored"
    REVIEWED = "reviewed"
    VERIFIED = "verified"
    APPROVED = "approved"
    RESPONSIBILITY = "responsibility"


class ApprovalScope(Document):
    """What the approval was given for."""

    stage: Stage
    change_tier: ChangeTier


class Approval(Document):
    """Printed name, function, meaning and time, as the signer saw them (21 CFR 11.50)."""

    schema_version: SchemaVersion
    id: Urn
    function: Function
    person_id: Slug
    printed_name: Text
    meaning: Meaning
    decision: Literal["approve", "reject"]
    signed_at: Time
    scope: ApprovalScope
    comment: Text = ""


class ApprovalStatement(Document):
    """An in-toto statement over the digest of an eligibility statement."""

    statement_type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[ResourceDescriptor] = Field()
    predicate_type: Literal["urn:primum:approval:v0.1"]
    predicate: Approval


class PersonStatus(StrEnum):
    """Whether a person's key still counts."""

    ACTIVE = "active"
    LEFT = "left"
    COMPROMISED = "compromised"


class Person(Document):
    """One person, the one function held and the key that signs for it.

    ``honoured`` lists the statements whose approval stays good after the person has left.
    """

    person_id: Slug
    printed_name: Text
    function: Function
    key: PublicKey
    status: PersonStatus
    honoured: tuple[DigestSet, ...] = Field(default=(), max_length=MAX_LIST)


class Requirement(Document):
    """How many distinct people of each function a stage needs."""

    stage: Stage
    functions: dict[Function, _Need] = Field(min_length=1)


class ApprovalPolicy(Document):
    """Who may approve, and whose approvals each stage needs; signed by clinical's top role."""

    type: Literal["urn:primum:approval-policy:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    people: tuple[Person, ...] = Field(max_length=MAX_LIST)
    requirements: tuple[Requirement, ...] = Field(min_length=1, max_length=20)
    functions_to_hold: _Need
    functions_to_take_away: Annotated[int, Field(ge=2, le=6)]
    burned_statements: tuple[DigestSet, ...] = Field(default=(), max_length=MAX_LIST)

    @model_validator(mode="after")
    def _one_person_one_function_one_key(self) -> ApprovalPolicy:
        for what, seen in (
            ("person", [person.person_id for person in self.people]),
            ("key", [person.key.public for person in self.people]),
            ("stage", [str(item.stage) for item in self.requirements]),
        ):
            if len(set(seen)) != len(seen):
                raise ValueError(f"one {what} stands twice: one person, one function, one key")
        return self

    def needed_for(self, stage: Stage) -> dict[Function, int] | None:
        """How many of each function a stage needs; None when the policy names no such stage."""
        found = next((item for item in self.requirements if item.stage == stage), None)
        return None if found is None else dict(found.functions)

    def approvers_of(self, statement: str) -> tuple[Person, ...]:
        """The people whose approval of a statement, by its SHA-256, counts."""
        return tuple(
            person
            for person in self.people
            if person.status == PersonStatus.ACTIVE
            or (
                person.status == PersonStatus.LEFT
                and any(item.sha256 == statement for item in person.honoured)
            )
        )

    def notice_signers(self) -> tuple[Person, ...]:
        """The people whose signature under a safety notice counts.

        What somebody withdrew before leaving stays withdrawn; a compromised key counts nowhere.
        """
        return tuple(person for person in self.people if person.status != PersonStatus.COMPROMISED)

    def active_people(self) -> tuple[Person, ...]:
        """The people whose keys count."""
        return tuple(person for person in self.people if person.status == PersonStatus.ACTIVE)
