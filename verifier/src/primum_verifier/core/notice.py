"""Safety notices: hold, restriction, withdrawal, field action. Hurry may only narrow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Country,
    DigestSet,
    Document,
    Name,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.vocabulary import NoticeAction, NoticeKind

NOTICES_TARGET = "safety/notices.jsonl"
SAFETY_ROLE = "safety"


class NoticeReason(Document):
    """Why, in a code, in words, and by the hazard it answers."""

    code: Slug
    text: Text
    hazard_ref: Name


class NoticeScope(Document):
    """For whom: everywhere, or in the jurisdictions listed."""

    mode: Literal["all", "jurisdictions"]
    jurisdictions: tuple[Country, ...] = Field(default=(), max_length=250)

    @model_validator(mode="after")
    def _list_means_list(self) -> NoticeScope:
        if (self.mode == "jurisdictions") != bool(self.jurisdictions):
            raise ValueError("jurisdictions stand with mode jurisdictions, and only there")
        return self

    def covers(self, jurisdiction: str) -> bool:
        """Whether a device supplied in ``jurisdiction`` is meant."""
        return self.mode == "all" or jurisdiction in self.jurisdictions


class Fallback(Document):
    """Which releases to go back to, best first; empty leaves it to the device's own record."""

    order: tuple[DigestSet, ...] = Field(default=(), max_length=50)


class SafetyNotice(Document):
    """The predicate of a notice."""

    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    kind: NoticeKind
    action: NoticeAction
    reason: NoticeReason
    scope: NoticeScope
    effective_at: Time
    grace_period_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)]
    fallback: Fallback
    user_notice: Text
    expires_at: Time | None = None

    @model_validator(mode="after")
    def _a_hold_ends(self) -> SafetyNotice:
        if self.kind == NoticeKind.HOLD and self.expires_at is None:
            raise ValueError("a hold has an expiresAt: it ends unless it is confirmed")
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
