"""The delta list: which files of a release can be made of which older ones, and for how much.

It stands beside the manifest under its own name and is signed by the same role.  It may be signed
long after the manifest, when it is known from which releases devices come; it can only save bytes,
for what a delta makes is judged by the digests of the manifest and by nothing in here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Count,
    DigestSet,
    Document,
    OpenDocument,
    Positive,
    SchemaVersion,
    Time,
    Urn,
)
from primum_verifier.core.limits import MAX_ARTIFACT_BYTES
from primum_verifier.core.manifest import MANIFEST_ROLE

DELTA_LIST_TYPE = "urn:primum:delta-list:v0.1"
DELTA_LIST_ROLE = MANIFEST_ROLE

MAX_DELTAS = 500
"""Deltas of one release: a hundred files from five releases."""

_Length = Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]


class Delta(Document):
    """One delta; its bytes are fetched as ``artifacts/<sha256>``, like any file of a release.

    ``computed_bytes`` says how much of the new file is computed and not just copied.
    """

    result: DigestSet
    result_length: _Length
    base: DigestSet
    base_length: _Length
    length: _Length
    digest: DigestSet
    computed_bytes: Count

    @model_validator(mode="after")
    def _saves_bytes(self) -> Delta:
        if self.length >= self.result_length:
            raise ValueError("a delta that is no smaller than what it makes")
        if self.computed_bytes > self.result_length:
            raise ValueError("more bytes are computed than there are")
        if self.base == self.result:
            raise ValueError("a delta from a file to itself")
        return self


class DeltaList(OpenDocument):
    """The deltas that lead to the files of one release."""

    type: Literal["urn:primum:delta-list:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    release: DigestSet
    deltas: tuple[Delta, ...] = Field(max_length=MAX_DELTAS)

    @model_validator(mode="after")
    def _each_way_once(self) -> DeltaList:
        ways = {(delta.base.sha256, delta.result.sha256) for delta in self.deltas}
        if len(ways) != len(self.deltas):
            raise ValueError("two deltas lead from one file to one other")
        return self


def delta_list_target(component: str, version: str) -> str:
    """The name under which the delta list of a release stands in the engineering repository."""
    return f"releases/{component}/{version}/deltas.json"
