"""The eligibility statement and the index: what clinical signs as usable, here and now."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Count,
    Country,
    Decimal,
    DigestSet,
    Document,
    Name,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.vocabulary import (
    ChangeTier,
    Decision,
    IndexStatus,
    NoticeAction,
    Stage,
)

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
INDEX_TARGET = "eligibility/index.json"
ELIGIBILITY_ROLE = "eligibility"

_MODES = {
    Decision.ELIGIBLE: "clinical",
    Decision.ELIGIBLE_WITH_CONDITIONS: "clinical",
    Decision.INVESTIGATIONAL: "investigational",
    Decision.SHADOW_ONLY: "shadow",
}
_Countries = Annotated[tuple[Country, ...], Field(min_length=1, max_length=250)]
_Hardware = Annotated[tuple[Slug, ...], Field(min_length=1, max_length=100)]
_Hours = Annotated[int, Field(ge=0, le=24 * 366)]


class Sites(Document):
    """Where it may be used; a list names each site, and an empty list is no list."""

    mode: Literal["all", "list"]
    ids: tuple[Slug, ...] = Field(default=(), max_length=MAX_LIST)

    @model_validator(mode="after")
    def _list_means_list(self) -> Sites:
        if (self.mode == "list") != bool(self.ids):
            raise ValueError("ids stand with mode list, and only there")
        return self


class Constraints(Document):
    """What a device must be for the release to be eligible on it; each is judged at activation."""

    jurisdictions: _Countries
    hardware: _Hardware
    sites: Sites


class Use(Document):
    """How it may be used."""

    mode: Literal["clinical", "shadow", "investigational"]


class IntendedUse(Document):
    """The intended use in words, and the digest by which the manifest names the same one."""

    digest: DigestSet
    text: Text
    significance: Literal["treat-or-diagnose", "drive", "inform"]
    decision_role: Literal[
        "autonomous", "second-reader", "triage", "decision-support", "monitoring"
    ]


class OperatingPoint(Document):
    """The threshold at which the evidence was gathered; a device runs at no other."""

    output: Slug | Name
    threshold: Decimal


class Validity(Document):
    """From when until when, and how old the index may grow while the device is cut off."""

    not_before: Time
    not_after: Time
    max_index_age_hours: _Hours
    offline_grace_hours: _Hours

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Validity:
        if self.not_after <= self.not_before:
            raise ValueError("notAfter is not later than notBefore")
        return self


class ActionOrdered(Document):
    """What the device does on expiry or withdrawal, and the hazard that decided it."""

    action: NoticeAction
    hazard_ref: Name


class FailSafe(Document):
    """What is left when no eligible release is: the declared safe mode."""

    mode: Literal["ai-function-off"]
    user_notice: Text
    hazard_ref: Name


class Baselines(Document):
    """The releases this one was compared with: the original authorised and the last modified."""

    original_authorised: DigestSet
    last_modified: DigestSet


class Exposure(Document):
    """The ceiling that clinical sets for every rollout plan."""

    max_percentage: Annotated[int, Field(ge=1, le=100)]


class Eligibility(Document):
    """The predicate: every member that a device enforces before or while the release runs.

    ``answers`` names the safety notices that this statement answers: what was withdrawn comes
    back only by a new statement with every approval, which says of what it was cleared.
    """

    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    statement_number: Positive
    decision: Decision
    stage: Stage
    use: Use
    change_tier: ChangeTier
    intended_use: IntendedUse
    constraints: Constraints
    operating_point: OperatingPoint
    validity: Validity
    exposure: Exposure
    on_expiry: ActionOrdered
    on_withdrawal: ActionOrdered
    fail_safe: FailSafe
    evidence: tuple[ResourceDescriptor, ...] = Field(default=(), max_length=MAX_LIST)
    baselines: Baselines | None = None
    answers: tuple[Urn, ...] = Field(default=(), max_length=MAX_LIST)

    @model_validator(mode="after")
    def _decision_and_mode_agree(self) -> Eligibility:
        if _MODES[self.decision] != self.use.mode:
            raise ValueError("decision and use.mode contradict each other")
        return self


class EligibilityStatement(Document):
    """An in-toto statement that one release manifest, by digest, may be used."""

    statement_type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[ResourceDescriptor] = Field()
    predicate_type: Literal["urn:primum:eligibility:v0.1"]
    predicate: Eligibility

    @property
    def release(self) -> str:
        """SHA-256 of the manifest that the statement is about."""
        return self.subject[0].digest.sha256


class IndexEntry(Document):
    """One release on the allow-list."""

    component: Slug
    version: Version
    release: DigestSet
    statement: DigestSet
    status: IndexStatus
    effective_at: Time


class EligibilityIndex(Document):
    """The allow-list: what is eligible now. Absence is never permission."""

    type: Literal["urn:primum:eligibility-index:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    min_statement_number: Count
    entries: tuple[IndexEntry, ...] = Field(max_length=MAX_LIST)

    @model_validator(mode="after")
    def _one_entry_each(self) -> EligibilityIndex:
        releases = [entry.release.sha256 for entry in self.entries]
        if len(set(releases)) != len(releases):
            raise ValueError("one release stands twice on the list")
        return self

    def entry_for(self, release: str) -> IndexEntry | None:
        """The entry of a release by its manifest's SHA-256, or None: not listed."""
        return next((item for item in self.entries if item.release.sha256 == release), None)


def statement_target(statement: str) -> str:
    """The name of a statement in the clinical repository, by its SHA-256."""
    return f"eligibility/{statement}/statement.json"


def approvals_target(statement: str) -> str:
    """The name of the approvals of a statement, by the statement's SHA-256."""
    return f"eligibility/{statement}/approvals.jsonl"
