"""What a document says, row by row, for the people who are about to sign it.

Rows are drawn from the document itself: a part that this page has no words of its own for is
shown by its name, so that nothing that restricts is ever signed unseen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from primum_verifier.core.document import Document
from primum_verifier.core.eligibility import Eligibility, EligibilityStatement
from primum_verifier.core.manifest import ReleaseManifest

Row = tuple[str, str]

_ELSEWHERE = frozenset({"schemaVersion", "id", "issuedAt", "statementNumber", "stage", "answers"})
"""Members of a statement that stand in a row of their own, or tell a reader nothing."""


def statement_rows(
    statement: EligibilityStatement,
    manifest: ReleaseManifest,
    *,
    sha256: str,
    notices: Mapping[str, str],
) -> list[Row]:
    """What an eligibility statement says, every part that it has.

    Args:
        statement: what is approved.
        manifest: of the release.
        sha256: of the statement's bytes.
        notices: what the published notices are about, by id.
    """
    said = statement.predicate
    rows = [
        ("release", f"{manifest.name}  sha256 {statement.release}"),
        ("statement", f"number {said.statement_number}  sha256 {sha256}"),
        *(
            ("answers notice", f"{notice}: {notices.get(notice, 'no longer published')}")
            for notice in said.answers
        ),
        ("stage", str(said.stage)),
        ("what changed", manifest.labelling.summary),
        *component_rows(manifest),
    ]
    return [*rows, *_said(said)]


def component_rows(manifest: ReleaseManifest) -> list[Row]:
    """What of a device a set changes beside the model, in order, and what it leaves no way back to.

    A release of a model alone has no such rows.
    """
    rows = [
        (f"component {item.id}", f"{item.version}, installer {item.installer}")
        for item in manifest.components
    ]
    if manifest.rollback.data_floor_counter:
        floor = manifest.rollback.data_floor_counter
        rows.append(("way back", f"never below release counter {floor}: stored data change"))
    return rows


def _said(said: Eligibility) -> list[Row]:
    rows: list[Row] = []
    for name, value in plain(said).items():
        if name in _ELSEWHERE:
            continue
        if name in {"constraints", "validity", "exposure", "intendedUse"}:
            rows += [(in_words(member), text_of(part)) for member, part in value.items()]
        else:
            rows.append((in_words(name), text_of(value)))
    return rows


def document_rows(document: Document) -> list[Row]:
    """Every member of a document that says something, by its name."""
    return [
        (in_words(name), text_of(value))
        for name, value in plain(document).items()
        if name not in _ELSEWHERE
    ]


def plain(document: Document) -> dict[str, Any]:
    """A document as plain values, without members that say nothing."""
    content = document.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in content.items() if value not in ([], "", {})}


def in_words(name: str) -> str:
    """The name of a member as people read it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


def text_of(value: object) -> str:
    """A value of a document on one line; digests are cut, the document shows them in full."""
    if isinstance(value, Mapping):
        if set(value) == {"sha256"}:
            return f"sha256 {value['sha256'][:12]}"
        parts = ((in_words(name), item) for name, item in value.items() if item not in ([], "", {}))
        return ", ".join(f"{name} {text_of(item)}" for name, item in parts)
    if isinstance(value, list):
        nested = any(isinstance(item, Mapping) for item in value)
        return ("; " if nested else ", ").join(text_of(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
