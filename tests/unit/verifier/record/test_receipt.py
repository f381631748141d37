"""A receipt: believed from a known receiver, for this device of this fleet, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from tests.unit.verifier.record.lives import KEY as DEVICES_KEY
from tests.unit.verifier.record.lives import RECEIVER_KEY as RECEIVERS_KEY
from tests.unit.verifier.record.lives import Life

from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.errors import EXIT_DONE, RefusedError
from primum_verifier.record.chain import check_history
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE, ChainReceipt, open_receipt
from primum_verifier.shell import cli

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


def gaps(life: Life, *, lines: list[bytes] | None = None) -> list[str]:
    report = check_history(lines or life.lines(), device_key=DEVICES_KEY, receivers=[RECEIVERS_KEY])
    return [gap.why for gap in report.gaps]


def test_a_history_is_held_against_what_a_receiver_countersigned() -> None:
    life = Life()
    life.record("agent.started")
    life.head()
    life.receipt()
    report = check_history(life.lines(), device_key=DEVICES_KEY, receivers=[RECEIVERS_KEY])
    assert report.whole
    assert (report.receipts, report.received_to, report.unknown_receipts) == (1, 2, 0)


def test_an_older_copy_put_back_lacks_what_a_receiver_countersigned() -> None:
    """Attack: a device's journal of last month is shown as its whole life."""
    life = Life()
    life.head()
    life.record("agent.started")
    life.receipt()
    lines = [life.events[0], *life.heads, *life.receipts]
    assert gaps(life, lines=lines) == ["a receiver countersigned an event that is not here"]


def test_another_life_than_the_one_a_receiver_holds_is_a_gap() -> None:
    """Attack: with a stolen key the past is written anew; the receiver holds it as it was."""
    life, other = Life(), Life()
    for one in (life, other):
        one.record("agent.started")
        one.head()
        one.record("agent.started")
        one.head()
    life.receipt(2)
    lines = [*other.events, *other.heads, *life.receipts]
    assert gaps(other, lines=lines) == ["a receiver countersigned another event"]


def test_receipts_of_nobody_known_prove_nothing_and_are_counted() -> None:
    life = Life()
    life.record("agent.started")
    life.head()
    life.receipt(by=THIEF, eventHash="b" * 64)
    report = check_history(life.lines(), device_key=DEVICES_KEY, receivers=[RECEIVERS_KEY])
    assert report.whole
    assert (report.receipts, report.unknown_receipts) == (0, 1)


def test_another_devices_receipt_in_a_history_is_refused() -> None:
    life = Life()
    life.head()
    life.receipt(deviceId="wearable-002")
    with pytest.raises(RefusedError) as found:
        gaps(life)
    assert (found.value.reason, found.value.found) == ("trust.signature", "wearable-002")


def test_a_receipt_over_what_was_pruned_is_no_gap() -> None:
    life = Life()
    for _ in range(3):
        life.record("agent.started")
    life.head()
    life.receipt(1)
    life.checkpoint(2, {"lifecycle": "idle"})
    lines = [*life.events[2:], *life.heads, *life.checkpoints, *life.receipts]
    assert gaps(life, lines=lines) == []


@pytest.mark.parametrize("kind", [["x"], {}, None, 7, "application/json"])
def test_a_line_with_an_odd_kind_of_payload_is_refused(kind: Any) -> None:
    line = json.dumps({"payloadType": kind, "payload": "", "signatures": []}).encode()
    with pytest.raises(RefusedError):
        check_history([line], device_key=DEVICES_KEY)


def test_people_read_what_the_receiver_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life()
    life.record("agent.started")
    life.head()
    life.receipt()
    life.receipt(by=THIEF)
    files = {
        "history.jsonl": b"\n".join(life.lines()),
        "device.json": DEVICES_KEY.to_bytes(),
        "receiver.json": RECEIVERS_KEY.to_bytes(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    words = ["history", str(tmp_path / "history.jsonl")]
    words += ["--device-key", str(tmp_path / "device.json")]
    assert cli.main([*words, "--receiver-key", str(tmp_path / "receiver.json")]) == EXIT_DONE
    shown = capsys.readouterr().out
    assert "1 receipts: a receiver holds them to 2" in shown
    assert "1 receipts are by no receiver that --receiver-key names" in shown
