"""The signature page: who signed what, in which function, and why one does not count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primum_verifier.core.approval import ApprovalPolicy, ApprovalScope
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_APPROVALS
from primum_verifier.core.vocabulary import ChangeTier, Stage
from primum_verifier.record.signatures import Signature, as_dict, signature_page


def page(world: Any, *, about: str | None = None) -> list[Signature]:
    digest = sha256_hex(world.statement_bytes())
    policy = parse_document(ApprovalPolicy, canonical_json(world.policy), where="policy")
    lines = world.approval_lines(digest)
    scope = ApprovalScope(stage=Stage.PRODUCTION, change_tier=ChangeTier.MINOR)
    return list(
        signature_page(
            lines, policy=policy, statement=about or digest, scope=scope, where="approvals"
        )
    )


def test_printed_name_function_meaning_and_time_stand_on_the_page(world: Any) -> None:
    """21 CFR 11.50(a): the printed name, the date and time, and the meaning of the signature."""
    world.approvals[0]["roleTitle"] = "Head of cardiology"
    world.approvals[0]["meaning"] = "reviewed"
    found = page(world)
    assert [item.function for item in found] == ["clinical", "quality", "regulatory"]
    assert all(item.counts and item.is_valid and item.key_id for item in found)
    told = as_dict(found[0])
    assert (told["printedName"], told["roleTitle"]) == ("Clinical", "Head of cardiology")
    assert (told["meaning"], told["meaningCode"]) == ("reviewed", "1.2.840.10065.1.12.1.13")
    assert told["signedAt"] == "2026-06-01T12:00:00Z"
    assert as_dict(found[1])["meaningCode"] == ""
    json.dumps(told)


def test_a_signature_moved_to_another_record_does_not_count(world: Any) -> None:
    """21 CFR 11.70: a signature cannot be transferred to falsify another record."""
    found = page(world, about="3" * 64)
    assert {item.why_not for item in found} == {"it is about another statement"}
    assert not any(item.is_valid for item in found)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"decision": "reject"}, "the decision is reject"),
        ({"decision": "abstain"}, "the decision is abstain"),
        (
            {"scope": {"stage": "limited-release", "changeTier": "minor"}},
            "it was given for limited-release, minor",
        ),
        ({"signer": "clinical"}, "signed with the key of p-clinical, clinical"),
        ({"personId": "p-regulatory"}, "signed with the key of p-quality, quality"),
    ],
)
def test_why_a_signature_does_not_count_is_said(
    world: Any, changes: dict[str, str], why: str
) -> None:
    world.approvals[1].update(changes)
    found = page(world)
    assert [item.why_not for item in found] == ["", why, ""]
    assert found[1].is_valid is ("decision" in changes)


@pytest.mark.parametrize("status", ["left", "compromised"])
def test_a_key_that_ended_is_named_with_its_status(world: Any, status: str) -> None:
    world.policy["people"][1]["status"] = status
    found = page(world)
    assert found[1].why_not == f"the signer's key does not count any more: {status}"
    assert not found[1].is_valid


def test_a_key_that_the_policy_never_named_signs_as_nobody(world: Any) -> None:
    del world.policy["people"][1]
    found = page(world)
    assert (found[1].key_id, found[1].why_not) == ("", "no key of the policy signed it")
    assert not found[1].counts


def test_a_line_that_cannot_be_read_hides_no_other(world: Any) -> None:
    """Attack: one line of junk, and the page of a release that devices accept is gone."""
    policy = parse_document(ApprovalPolicy, canonical_json(world.policy), where="policy")
    digest = sha256_hex(world.statement_bytes())
    found = list(
        signature_page(
            b"junk\n" + world.approval_lines(digest),
            policy=policy,
            statement=digest,
            scope=ApprovalScope(stage=Stage.PRODUCTION, change_tier=ChangeTier.MINOR),
            where="approvals",
            engineering_keys=frozenset({policy.people[0].key.public}),
        )
    )
    assert [item.counts for item in found] == [False, False, True, True]
    assert found[0].why_not.startswith("it cannot be read")
    assert as_dict(found[0])["signedAt"] == ""
    assert found[1].why_not.startswith("engineering uses the same key")


def test_a_flood_of_signatures_is_not_read(world: Any) -> None:
    """Ten thousand signatures would cost minutes."""
    world.approvals *= MAX_APPROVALS
    with pytest.raises(RefusedError, match="more envelopes"):
        page(world)
