"""A self-test as a signed statement: nothing but the signed bytes, by a key that was named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, PublicKey, public_key_of
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_statement import Occasion, open_statement, state
from primum_verifier.shell.bench import FakeBench

RELEASE = "5" * 64
OCCASION = Occasion.WAY_BACK
NOW = datetime(2026, 1, 20, 2, 14, 31, tzinfo=UTC)


def signed(payload: bytes, *, kind: str = INTOTO_PAYLOAD_TYPE) -> tuple[bytes, PublicKey]:
    signer = CryptoSigner.generate_ed25519()
    envelope = Envelope(payload, kind, {})
    envelope.sign(signer)
    key = public_key_of(signer.public_key)
    content = envelope.to_dict()
    content["signatures"][0]["keyid"] = key.key_id
    return canonical_json(content), key


@pytest.fixture
def report(release: Any) -> Any:
    return release.run(bench=FakeBench()).report


@pytest.mark.parametrize("at", [NOW, None])
def test_what_was_signed_is_read_back(report: Any, at: datetime | None) -> None:
    said = state(
        report, name="pvc-classifier 1.0.0", release=RELEASE, tester="w-1", occasion=OCCASION, at=at
    )
    data, key = signed(said.to_bytes())
    found = open_statement(data, keys=(key,), where="test")
    assert found == said
    assert (found.release, found.predicate.tested_at) == (RELEASE, at)
    assert found.predicate.occasion is OCCASION
    assert found.predicate.report == report


def test_a_clock_that_was_never_set_says_nothing(report: Any) -> None:
    """Danger: a device that thinks it is 1970 crashes on its own evidence."""
    dawn = datetime(1970, 1, 1, tzinfo=UTC)
    said = state(
        report,
        name="pvc-classifier 1.0.0",
        release=RELEASE,
        tester="w-1",
        occasion=OCCASION,
        at=dawn,
    )
    assert said.predicate.tested_at is None


def test_a_key_that_did_not_sign_proves_nothing(report: Any) -> None:
    said = state(
        report,
        name="pvc-classifier 1.0.0",
        release=RELEASE,
        tester="w-1",
        occasion=OCCASION,
        at=NOW,
    )
    data, _ = signed(said.to_bytes())
    _, other = signed(b"{}")
    with pytest.raises(RefusedError) as caught:
        open_statement(data, keys=(other,), where="test")
    assert caught.value.reason is Reason.TRUST_SIGNATURE


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("application/json", b"{}", Reason.TRUST_SIGNATURE),
        (INTOTO_PAYLOAD_TYPE, b"{}", Reason.DOCUMENT_INVALID),
        (INTOTO_PAYLOAD_TYPE, b"no json", Reason.DOCUMENT_INVALID),
    ],
)
def test_another_record_under_the_same_key_is_no_self_test(
    kind: str, payload: bytes, reason: Reason
) -> None:
    """Attack: an approval, or an event, that the key did sign is shown as a self-test."""
    data, key = signed(payload, kind=kind)
    with pytest.raises(RefusedError) as caught:
        open_statement(data, keys=(key,), where=str(Path("test")))
    assert caught.value.reason is reason
