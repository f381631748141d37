"""Safety notices: hold, restriction, withdrawal, field action. Hurry may only narrow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Country,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.core.eligibility import (
    Categories,
    Countries,
    DeviceScope,
    Population,
    Sites,
    Slugs,
)
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.vocabulary import EpisodeRule, NoticeAction, NoticeKind

NOTICES_TARGET = "safety/notices.jsonl"
SAFETY_ROLE = "safety"

_Seconds = Annotated[int, Field(ge=0, le=30 * 86_400)]


class NoticeReason(Document):
    """Why, in a code, in words, and by the hazard it answers."""

    code: Slug
    text: Text
    hazard_ref: Name


class NoticeScope(Document):
    """For whom: everywhere, or in the jurisdictions listed; narrower still by site or device."""

    mode: Literal["all", "jurisdictions"]
    jurisdictions: tuple[Country, ...] = Field(default=(), max_length=250)
    sites: Sites | None = None
    devices: DeviceScope | None = None

    @model_validator(mode="after")
    def _list_means_list(self) -> NoticeScope:
        if (self.mode == "jurisdictions") != bool(self.jurisdictions):
            raise ValueError("jurisdictions stand with mode jurisdictions, and only there")
        return self


class Fallback(Document):
    """Which releases to go back to, best first; empty leaves it to the device's own record.

    ``explicit_downgrade`` lets a device go back below its floor, to these digests alone.
    """

    order: tuple[DigestSet, ...] = Field(default=(), max_length=50)
    explicit_downgrade: bool = False


class Restriction(Document):
    """What narrows: each member restricts further, none gives back what the statement withheld."""

    jurisdictions: Countries | None = None
    sites: Sites | None = None
    care_settings: Slugs | None = None
    patient_categories: Categories | None = None
    population: Population | None = None
    operating_point: Slug | None = None


class FieldAction(Document):
    """The regulator's file about it (21 CFR 806; MDR 2017/745 Art. 87-89)."""

    authority: Name
    number: Name
    type: Literal["correction", "removal", "fsca"]


class SafetyNotice(OpenDocument):
    """The predicate of a notice.

    A ``drill`` exercises the whole way on devices that were provisioned to take part, and
    counts nowhere else.
    """

    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    kind: NoticeKind
    action: NoticeAction
    reason: NoticeReason
    scope: NoticeScope
    effective_at: Time
    grace_period_seconds: _Seconds
    fallback: Fallback
    user_notice: Text
    expires_at: Time | None = None
    running_episode: EpisodeRule = EpisodeRule.FINISH_EPISODE
    max_use_seconds: _Seconds | None = None
    restriction: Restriction | None = None
    preserve_evidence: bool = False
    look_back_from: Time | None = None
    field_action: FieldAction | None = None
    supersedes: tuple[Urn, ...] = Field(default=(), max_length=MAX_LIST)
    drill: bool = False

    @model_validator(mode="after")
    def _kind_and_action_agree(self) -> SafetyNotice:
        if self.kind == NoticeKind.HOLD and self.expires_at is None:
            raise ValueError("a hold has an expiresAt: it ends unless it is confirmed")
        restricts = self.action == NoticeAction.RESTRICT
        if restricts != (self.restriction is not None) or (
            restricts and self.kind == NoticeKind.HOLD
        ):
            raise ValueError("the action restrict and a restriction stand together, in no hold")
        return self


class SafetyNoticeStatement(Document):
    """An in-toto statement about the manifests of the releases that the notice is for."""

    statement_type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[ResourceDescriptor, ...] = Field(min_length=1, max_length=MAX_LIST)
    predicate_type: Literal["urn:primum:safety-notice:v0.1"]
    predicate: SafetyNotice

    def names(self, release: str) -> bool:
        """Whether the release with this manifest digest is meant."""
        return any(item.digest.sha256 == release for item in self.subject)

    def leads_back_to(self, release: str) -> bool:
        """Whether the notice orders devices to go back to this release, below their floor."""
        fallback = self.predicate.fallback
        return fallback.explicit_downgrade and any(
            item.sha256 == release for item in fallback.order
        )
