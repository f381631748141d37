"""A notice that contradicts itself is read by nobody, and who wrote it is told why."""

from __future__ import annotations

from typing import Any

import pytest

from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.notice import SafetyNotice

NOTICE: dict[str, Any] = {
    "schemaVersion": "0.1",
    "id": "urn:uuid:00000000-0000-4000-8000-000000000000",
    "issuedAt": "2026-06-01T12:00:00Z",
    "kind": "withdrawal",
    "action": "fall-back",
    "reason": {"code": "missed-beats", "text": "misses beats", "hazardRef": "HZ-2"},
    "scope": {"mode": "all"},
    "effectiveAt": "2026-06-01T12:00:00Z",
    "gracePeriodSeconds": 0,
    "fallback": {"order": []},
    "userNotice": "Withdrawn.",
}
NARROWER = {"jurisdictions": ["DE"]}
ENDS = "2026-06-03T12:00:00Z"

AGREES: dict[str, dict[str, Any]] = {
    "a withdrawal": {},
    "in one country": {"scope": {"mode": "jurisdictions", "jurisdictions": ["DE"]}},
    "a hold that ends": {"kind": "hold", "action": "no-new-activation", "expiresAt": ENDS},
    "a restriction": {"kind": "restriction", "action": "restrict", "restriction": NARROWER},
    "a field action that restricts": {
        "kind": "field-action",
        "action": "restrict",
        "restriction": NARROWER,
    },
}

TOGETHER = "document: Value error, the action restrict and a restriction stand together, in no hold"
NO_END = "document: Value error, a hold has an expiresAt: it ends unless it is confirmed"
LISTED = "scope: Value error, jurisdictions stand with mode jurisdictions, and only there"
CONTRADICTS: dict[str, tuple[dict[str, Any], str]] = {
    "a hold without an end": ({"kind": "hold", "action": "no-new-activation"}, NO_END),
    "restricts by nothing": ({"kind": "restriction", "action": "restrict"}, TOGETHER),
    "a restriction that another action passes over": (
        {"kind": "restriction", "action": "notify-only", "restriction": NARROWER},
        TOGETHER,
    ),
    "a hold that restricts": (
        {"kind": "hold", "action": "restrict", "restriction": NARROWER, "expiresAt": ENDS},
        TOGETHER,
    ),
    "everywhere, and in one country": (
        {"scope": {"mode": "all", "jurisdictions": ["DE"]}},
        LISTED,
    ),
    "in the countries listed, and none is": ({"scope": {"mode": "jurisdictions"}}, LISTED),
}


def parse(changes: dict[str, Any]) -> SafetyNotice:
    return parse_document(SafetyNotice, canonical_json({**NOTICE, **changes}), where="notice")


@pytest.mark.parametrize("case", AGREES, ids=str)
def test_what_agrees_with_itself_is_read(case: str) -> None:
    assert parse(AGREES[case]).id == NOTICE["id"]


@pytest.mark.parametrize("case", CONTRADICTS, ids=str)
def test_what_contradicts_itself_is_refused_and_told(case: str) -> None:
    """Danger: one device narrows by a notice that another takes for words."""
    changes, found = CONTRADICTS[case]
    with pytest.raises(RefusedError) as caught:
        parse(changes)
    assert caught.value.found == found
