"""A receipt: believed from a known receiver, for this device of this fleet, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE, ChainReceipt, open_receipt

RECEIVER, THIEF = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
KEY, THIEFS_KEY = (public_key_of(signer.public_key) for signer in (RECEIVER, THIEF))
CONTENT = {
    "type": "urn:primum:chain-receipt:v0.1",
    "role": "receiver",
    "fleet": "demo",
    "deviceId": "wearable-001",
    "firstSequence": 1,
    "sequence": 7,
    "eventHash": "a" * 64,
    "issuedAt": "2026-06-01T12:00:00Z",
}


def receipt(*, by: CryptoSigner = RECEIVER, kind: str = RECEIPT_PAYLOAD_TYPE, **more: Any) -> bytes:
    made = Envelope(canonical_json(CONTENT | more), kind, {})
    signature = by.sign(made.pae())
    signature.keyid = public_key_of(by.public_key).key_id
    made.signatures[signature.keyid] = signature
    return canonical_json(made.to_dict())


def opened(data: bytes, *keys: Any) -> ChainReceipt:
    return open_receipt(
        data, keys=keys or (KEY,), fleet="demo", device_id="wearable-001", where="receipt"
    )


def test_a_receipt_says_from_where_to_where_the_receiver_holds_the_chain() -> None:
    found = opened(receipt(firstSequence=3))
    assert (found.first_sequence, found.sequence, found.event_hash) == (3, 7, "a" * 64)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (receipt(by=THIEF), "trust.signature"),
        (receipt(deviceId="wearable-002"), "trust.signature"),
        (receipt(fleet="another"), "trust.signature"),
        (receipt(kind=HEAD_PAYLOAD_TYPE), "trust.signature"),
        (receipt(firstSequence=8), "document.invalid"),
        (receipt(role="device"), "document.invalid"),
        (receipt(more=1), "document.invalid"),
        (b"no envelope", "document.invalid"),
    ],
)
def test_what_no_known_receiver_signed_for_this_device_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedError) as found:
        opened(data)
    assert found.value.reason == reason


def test_where_no_receiver_is_known_no_receipt_counts() -> None:
    with pytest.raises(RefusedError) as found:
        open_receipt(receipt(), keys=(), fleet="demo", device_id="wearable-001", where="receipt")
    assert found.value.expected == "a key of a receiver"


def test_another_receiver_that_is_known_counts_as_well() -> None:
    assert opened(receipt(by=THIEF), KEY, THIEFS_KEY).sequence == 7
