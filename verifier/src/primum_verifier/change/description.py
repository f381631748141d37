"""What the manufacturer says of one change, and of those before it: claims, to be checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.change.plan import Factors, ModificationIds, Sections
from primum_verifier.core.document import (
    Decimal,
    DigestSet,
    Document,
    OpenDocument,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import MAX_LIST

CHANGE_TYPE = "urn:primum:change:v0.1"
HISTORY_TYPE = "urn:primum:modification-history:v0.1"


class GuardrailValue(Document):
    """The figure that a guardrail asks for, as measured or chosen for this change."""

    modification_id: Slug
    parameter: Slug
    value: Decimal


class ChangeDescription(OpenDocument):
    """One change: under which plan, which of its modifications it claims to be, and its figures."""

    type: Literal["urn:primum:change:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    plan: DigestSet
    release: DigestSet
    modification_ids: ModificationIds
    implementation: Literal["automatic", "manual"]
    scope: Literal["global", "local"]
    local_factors: Factors = ()
    guardrails: Annotated[tuple[GuardrailValue, ...], Field(max_length=MAX_LIST)]
    labelling_sections: Sections = ()
    deviations: Annotated[tuple[Slug, ...], Field(max_length=100)] = ()
    summary: Text

    @model_validator(mode="after")
    def _each_value_stands_once(self) -> ChangeDescription:
        keys = [(item.modification_id, item.parameter) for item in self.guardrails]
        if len(set(keys)) != len(keys):
            raise ValueError("the value of a guardrail stands twice")
        if len(set(self.modification_ids)) != len(self.modification_ids):
            raise ValueError("a modification is claimed twice")
        if (self.scope == "local") != bool(self.local_factors):
            raise ValueError("localFactors stand with the scope local, and only there")
        return self

    def value(self, modification: str, parameter: str) -> str | None:
        """What is stated for a guardrail, None when nothing is."""
        return next(
            (
                item.value
                for item in self.guardrails
                if (item.modification_id, item.parameter) == (modification, parameter)
            ),
            None,
        )


class EarlierModification(Document):
    """One earlier release that was made under the plan."""

    release: DigestSet
    version: Version
    modification_ids: ModificationIds
    implemented_at: Time


class ModificationHistory(OpenDocument):
    """Every release that was made under the plan so far; an empty list says that none was.

    ``original`` is the manifest of the device that was authorised first: a list of another
    device's changes, or of no device's, says nothing.
    """

    type: Literal["urn:primum:modification-history:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    original: DigestSet
    entries: Annotated[tuple[EarlierModification, ...], Field(max_length=MAX_LIST)]

    @model_validator(mode="after")
    def _entries_are_of_the_past(self) -> ModificationHistory:
        releases = [item.release.sha256 for item in self.entries]
        if len(set(releases)) != len(releases):
            raise ValueError("a release stands twice")
        if any(item.implemented_at > self.issued_at for item in self.entries):
            raise ValueError("an entry is younger than the list")
        return self

    def before(self, candidate: str) -> tuple[EarlierModification, ...]:
        """All but the candidate, which stands in the list itself once it was made."""
        return tuple(item for item in self.entries if item.release.sha256 != candidate)
