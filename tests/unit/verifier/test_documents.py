"""Parsers against hostile bytes: a value or a refusal, never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.approval import ApprovalPolicy, ApprovalStatement
from primum_verifier.core.device import DeviceContext, ProvisioningKeys, TrustMap
from primum_verifier.core.document import Document, canonical_json, parse_document, read_json
from primum_verifier.core.eligibility import EligibilityIndex, EligibilityStatement
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, envelope_lines, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.notice import SafetyNoticeStatement
from primum_verifier.core.reasons import Reason
from primum_verifier.core.share import share_of
from primum_verifier.keeping.rollout import RolloutPlan, assigned_release

MODELS: list[type[Document]] = [
    ReleaseManifest,
    RolloutPlan,
    EligibilityStatement,
    EligibilityIndex,
    ApprovalStatement,
    ApprovalPolicy,
    SafetyNoticeStatement,
    DeviceContext,
    ProvisioningKeys,
    TrustMap,
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(data=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_refusal_or_a_document(model: type[Document], data: bytes) -> None:
    refusal = None
    try:
        found = parse_document(model, data, where="test")
    except RefusedError as error:
        refusal = error
    if refusal is None:
        assert isinstance(found, model)
    else:
        assert (refusal.reason, refusal.where) == (Reason.DOCUMENT_INVALID, "test")


@given(data=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_no_envelope_that_anyone_signed(data: bytes) -> None:
    try:
        opened = open_envelope(data, payload_type=INTOTO_PAYLOAD_TYPE, keys=(), where="test")
    except RefusedError:
        return
    assert opened.signers == ()


@given(place=st.integers(0, 4000), flip=st.integers(1, 255))
def test_one_changed_byte_is_never_silently_read_as_the_same(place: int, flip: int) -> None:
    data = canonical_json(TRUST_MAP)
    changed = bytearray(data)
    changed[place % len(data)] ^= flip
    try:
        found = parse_document(TrustMap, bytes(changed), where="test")
    except RefusedError:
        return
    # What is read is what is written: white space is all that may differ unseen.
    assert found.to_bytes() != data or bytes(changed).split() == data.split()


TRUST_MAP: dict[str, Any] = {
    "type": "urn:primum:trust-map:v0.1",
    "schemaVersion": "0.1",
    "id": "urn:uuid:6a2d1f3e-7b7b-4f53-9f0e-0f3f8f1f2f3f",
    "number": 1,
    "issuedAt": "2026-06-01T12:00:00Z",
    "stage": "production",
    "component": "pvc-classifier",
    "engineeringRoot": {"sha256": "1" * 64},
    "clinicalRoot": {"sha256": "2" * 64},
}


def test_round_trip_gives_the_same_bytes() -> None:
    data = canonical_json(TRUST_MAP)
    assert parse_document(TrustMap, data, where="test").to_bytes() == data


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"schemaVersion": "0.2"}, "schemaVersion"),
        ({"number": "1"}, "number"),
        ({"number": 0}, "number"),
        ({"issuedAt": "2026-06-01T12:00:00"}, "issuedAt"),
        ({"stage": "Production"}, "stage"),
        ({"component": "pvc/../x"}, "component"),
        ({"engineeringRoot": {"sha256": "A" * 64}}, "engineeringRoot.sha256"),
        ({"engineeringRoot": {"md5": "1" * 32}}, "engineeringRoot"),
        ({"extra": 1, "crit": ["extra"]}, "crit"),
        ({"type": "urn:primum:device-context:v0.1"}, "type"),
    ],
)
def test_each_bad_member_is_named(change: dict[str, Any], member: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_document(TrustMap, canonical_json({**TRUST_MAP, **change}), where="trust map")
    assert member in caught.value.found


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"b":0,"a":1,"c":2,"a":1}',
        b"NaN",
        b"1" * 20,
        b"[" * 30 + b"]" * 30,
        b'"\xff"',
        b"x" * 2_000_000,
        json.dumps({str(number): 0 for number in range(1001)}).encode(),
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
def test_json_that_two_readers_would_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        read_json(data, where="test")


PLAN: dict[str, Any] = {
    "type": "urn:primum:rollout-plan:v0.1",
    "schemaVersion": "0.1",
    "id": TRUST_MAP["id"],
    "number": 1,
    "issuedAt": "2026-06-01T12:00:00Z",
    "assignments": [
        {
            "component": "pvc-classifier",
            "version": "1.1.0",
            "release": {"sha256": "3" * 64},
            "notBefore": "2026-06-01T12:00:00Z",
            "rings": [{"name": "pilot", "devices": ["wearable-001"], "percentage": 100}],
            "pause": {"until": "2026-06-03T12:00:00Z", "why": "alarm burden"},
        },
        {
            "component": "pvc-classifier",
            "version": "1.0.0",
            "release": {"sha256": "4" * 64},
            "notBefore": "2026-06-01T12:00:00Z",
            "rings": [{"name": "all", "devices": "all", "percentage": 50}],
        },
    ],
}


def test_a_pause_ends_by_itself_and_rings_are_kept() -> None:
    from datetime import UTC, datetime

    plan = parse_document(RolloutPlan, canonical_json(PLAN), where="plan")

    def version(device: str, day: int) -> str | None:
        found = assigned_release(
            plan,
            component="pvc-classifier",
            device_id=device,
            now=datetime(2026, 6, day, 13, tzinfo=UTC),
        )
        return None if found is None else found.version

    assert version("wearable-001", 3) == "1.1.0"
    assert version("wearable-001", 2) in {"1.0.0", None}
    others = [version(f"device-{number}", 3) for number in range(400)]
    assert set(others) == {"1.0.0", None}
    assert 140 < others.count("1.0.0") < 260


@given(device=st.text(min_size=1))
def test_the_share_is_a_fair_draw_that_never_changes(device: str) -> None:
    share = share_of("0" * 64, device)
    assert 0 <= share < 100
    assert share == share_of("0" * 64, device)


def test_limits_allow_what_stands_exactly_at_them() -> None:
    assert read_json(b"1" * 19, where="test") == int("1" * 19)
    assert (
        len(read_json(json.dumps({str(n): 0 for n in range(1000)}).encode(), where="test")) == 1000
    )
    assert read_json(b"[" * 24 + b"]" * 24, where="test") is not None


def test_a_file_of_envelopes_is_read_up_to_its_limit() -> None:
    assert len(envelope_lines(b"{}\n" * 5, where="test", at_most=5)) == 5
    with pytest.raises(RefusedError) as caught:
        envelope_lines(b"{}\n" * 6, where="test", at_most=5)
    assert caught.value.reason == Reason.TRUST_LIMIT


def test_a_duplicate_member_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        read_json(b'{"b":0,"a":1,"c":2,"a":1}', where="test")
    assert "'a'" in caught.value.found


@pytest.mark.parametrize(
    ("change", "moment", "version"),
    [
        ({}, "2026-06-03T11:59:59Z", None),
        ({}, "2026-06-03T12:00:00Z", "1.1.0"),
        ({"pause": None}, "2026-06-01T11:59:59Z", None),
        ({"pause": None}, "2026-06-01T12:00:00Z", "1.1.0"),
        ({"pause": None, "component": "other"}, "2026-06-02T12:00:00Z", None),
        (
            {"pause": None, "rings": [{"name": "r", "devices": "all", "percentage": 0}]},
            "2026-06-02T12:00:00Z",
            None,
        ),
        (
            {"pause": None, "rings": [{"name": "r", "devices": ["another"], "percentage": 100}]},
            "2026-06-02T12:00:00Z",
            None,
        ),
    ],
)
def test_each_bound_of_the_plan_on_both_sides(
    change: dict[str, Any], moment: str, version: str | None
) -> None:
    from datetime import datetime

    content = {**PLAN, "assignments": [{**PLAN["assignments"][0], **change}]}
    if content["assignments"][0]["pause"] is None:
        del content["assignments"][0]["pause"]
    plan = parse_document(RolloutPlan, canonical_json(content), where="plan")
    found = assigned_release(
        plan,
        component="pvc-classifier",
        device_id="wearable-001",
        now=datetime.fromisoformat(moment),
    )
    assert (None if found is None else found.version) == version
