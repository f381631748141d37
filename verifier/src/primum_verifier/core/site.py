"""The acceptance of a responsible organisation: a hospital may narrow, and nothing else.

It is the hospital's own decision under IEC 80001-1, signed in its own repository with its own
root.  Its silence or its end stops new activations only; holds, withdrawals and the way back
never wait for it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    DigestSet,
    Document,
    OpenDocument,
    Positive,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.core.eligibility import Condition
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.vocabulary import Enforcement

ACCEPTANCE_TARGET = "site/acceptance.json"


class Accepted(Document):
    """One eligibility statement that the organisation lets in, from when, until when, how.

    Its conditions bear on the activation, or are read by people; at each episode only what
    clinical signed is asked, or the organisation could take away.
    """

    statement: DigestSet
    accepted_from: Time
    accepted_until: Time | None = None
    conditions: tuple[Condition, ...] = Field(default=(), max_length=50)
    person: Text

    @model_validator(mode="after")
    def _asks_nothing_at_each_episode(self) -> Accepted:
        if any(item.enforce == Enforcement.INFERENCE for item in self.conditions):
            raise ValueError("a condition of acceptance is asked at activation, or on the label")
        return self


class SiteAcceptance(OpenDocument):
    """The whole list of what one organisation accepts; what is not on it waits."""

    type: Literal["urn:primum:site-acceptance:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    organisation: Text
    sites: tuple[Slug, ...] = Field(min_length=1, max_length=MAX_LIST)
    accepted: tuple[Accepted, ...] = Field(max_length=MAX_LIST)

    def of(self, statement: str) -> Accepted | None:
        """What was accepted about a statement by its SHA-256; None: nothing."""
        return next((item for item in self.accepted if item.statement.sha256 == statement), None)
