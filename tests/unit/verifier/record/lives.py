"""The life of a device as it truly was, and what its clock, its key and a receiver make of it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, PublicKey, public_key_of
from primum_verifier.record.chain import FIRST_PREVIOUS
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE

DEVICE, RECEIVER = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
KEY, RECEIVER_KEY = public_key_of(DEVICE.public_key), public_key_of(RECEIVER.public_key)
BORN = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAME = "wearable-001"


def digest_of(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def plain(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sealed(content: dict[str, Any], kind: str, signer: CryptoSigner) -> bytes:
    made = Envelope(canonical_json(content), kind, {})
    signature = signer.sign(made.pae())
    signature.keyid = public_key_of(signer.public_key).key_id
    made.signatures[signature.keyid] = signature
    return canonical_json(made.to_dict()).strip()


def key_of(signer: CryptoSigner) -> PublicKey:
    return public_key_of(signer.public_key)


class Life:
    """One device; ``now`` is the true time, which nothing in it can see.

    Attributes:
        truth: from when on which release served, and None for none, in order.
        at: the true moment of each event.
    """

    def __init__(self, *, signer: CryptoSigner = DEVICE, name: str = NAME) -> None:
        self.now = BORN
        self.signer, self.name = signer, name
        self.quality, self.error = "synchronised", 0.0
        self.events: list[bytes] = []
        self.heads: list[bytes] = []
        self.receipts: list[bytes] = []
        self.checkpoints: list[bytes] = []
        self.truth: list[tuple[datetime, str | None]] = [(BORN, None)]
        self.at: list[datetime] = []
        self.used: str | None = None
        self.generations: dict[str, dict[str, Any]] = {}
        self.record("journal.begun")

    # Time

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def clock(self, quality: str, error: float = 0.0) -> None:
        self.quality, self.error = quality, error

    def shown(self) -> str:
        if self.quality == "unset":
            return "1970-01-01T00:00:07Z"
        return plain(self.now + timedelta(seconds=self.error))

    # What the device writes

    def record(self, kind: str, *, state: str = "idle", **more: Any) -> int:
        previous = sha256_hex(self.events[-1]) if self.events else FIRST_PREVIOUS
        previous = more.pop("previous", previous)
        data: dict[str, Any] = {
            "prevEventHash": previous,
            "bootCount": 1,
            "clock": {"quality": self.quality},
            "agentVersion": "0.1.0",
            "state": state,
        }
        subject = more.pop("subject", None)
        if self.used is not None:
            data["activeManifest"] = digest_of(self.used)
            made = self.generations[self.used]
            number = made["statement_number"]
            data["eligibility"] = {"digest": made["statement"], "number": number}
        content: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"urn:uuid:{uuid.uuid4()}",
            "source": f"urn:primum:device:{self.name}",
            "type": f"primum.device.{kind}",
            "sequence": f"{len(self.events) + 1:020}",
            "time": self.shown(),
            "recordedtime": self.shown(),
            "datacontenttype": "application/json",
            "data": data | more,
        }
        if subject is not None:
            content["subject"] = subject
        self.events.append(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
        self.at.append(self.now)
        return len(self.events)

    def serve(self, name: str | None) -> None:
        """The truth alone: nothing is written."""
        self.truth.append((self.now, name))

    def generation(self, name: str, *, statement: int = 1) -> dict[str, Any]:
        found = self.generations.get(name)
        number = len(self.generations) + 1 if found is None else found["number"]
        self.generations[name] = {
            "number": number,
            "component": "pvc-classifier",
            "version": name,
            "release": digest_of(name),
            "counter": number,
            "floor_counter": 0,
            "statement": digest_of(f"{name} {statement}"),
            "statement_number": statement,
            "health_window": 30,
            "max_attempts": 3,
            "proven": False,
            "mode": "clinical",
        }
        return self.generations[name]

    def install(self, name: str, *, takes: float = 4.0) -> None:
        """Test, intent, switch, and the event about it."""
        made = self.generation(name)
        candidate = {"release": digest_of(name), "version": name, "component": "pvc-classifier"}
        self.record(
            "selftest.passed",
            state="waiting",
            result="done",
            change={"candidate": candidate | {"tested": True}},
            detail={"statement": {"sha256": digest_of(f"test of {name}")}},
        )
        change = {"generation": made, "target": made["number"]}
        self.record("update.activating", state="activating", change=change)
        self.wait(takes / 2)
        self.serve(name)
        self.wait(takes / 2)
        self.used = name
        change = {"active": made["number"], "target": None}
        self.record(
            "update.activated",
            state="provisional",
            subject=f"pvc-classifier {name}",
            change=change,
        )

    def leave(self, back_to: str | None = None, *, takes: float = 4.0) -> None:
        """What is in use is taken away, and what may be used instead is."""
        reasons = ["eligibility.withdrawn"]
        self.record("eligibility.lost", state="rolling-back", reasons=reasons)
        self.wait(takes / 4)
        self.serve(None)
        self.wait(takes / 4)
        if back_to is not None:
            self.serve(back_to)
        self.wait(takes / 2)
        self.used = back_to
        kind = "safe-mode.entered" if back_to is None else "update.rolled-back"
        active = None if back_to is None else self.generations[back_to]["number"]
        self.record(
            kind, reasons=reasons, change={"active": active}, detail={"why": "nothing else"}
        )

    def head(self, sequence: int | None = None, **more: Any) -> bytes:
        number = sequence or len(self.events)
        content = {
            "type": "urn:primum:chain-head:v0.1",
            "deviceId": self.name,
            "sequence": number,
            "eventHash": sha256_hex(self.events[number - 1]),
            "signedAt": self.shown() if self.quality != "unset" else plain(BORN),
            "clockQuality": self.quality,
        }
        self.heads.append(sealed(content | more, HEAD_PAYLOAD_TYPE, self.signer))
        return self.heads[-1]

    def checkpoint(self, sequence: int, state: dict[str, Any], **more: Any) -> bytes:
        """Stand for the events up to one; :meth:`pruned` leaves them out."""
        content = {
            "type": "urn:primum:chain-checkpoint:v0.1",
            "deviceId": self.name,
            "firstSequence": 1,
            "sequence": sequence,
            "eventHash": sha256_hex(self.events[sequence - 1]),
            "state": json.dumps(state),
            "agentVersion": "0.1.0",
            "signedAt": plain(self.now),
        }
        self.checkpoints.append(sealed(content | more, CHECKPOINT_PAYLOAD_TYPE, self.signer))
        return self.checkpoints[-1]

    # What a receiver writes

    def receipt(
        self,
        sequence: int | None = None,
        *,
        off: float = 0.0,
        by: CryptoSigner = RECEIVER,
        **more: Any,
    ) -> bytes:
        number = sequence or len(self.events)
        content = {
            "type": "urn:primum:chain-receipt:v0.1",
            "role": "receiver",
            "fleet": "demo",
            "deviceId": self.name,
            "firstSequence": 1,
            "sequence": number,
            "eventHash": sha256_hex(self.events[number - 1]),
            "issuedAt": plain(self.now + timedelta(seconds=off)),
        }
        self.receipts.append(sealed(content | more, RECEIPT_PAYLOAD_TYPE, by))
        return self.receipts[-1]

    # What is left

    def lines(self) -> list[bytes]:
        return [*self.events, *self.heads, *self.checkpoints, *self.receipts]

    def serving(self, at: datetime) -> str | None:
        """What truly served at an instant."""
        return [name for since, name in self.truth if since <= at][-1]
