"""Devices that write a chain as an agent does: keys and bytes are real, the life is short."""

from __future__ import annotations

import json
import uuid
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_repo_tools.fleet.messages import End, Message
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, PublicKey, public_key_of
from primum_verifier.record.chain import FIRST_PREVIOUS

NOW = "2026-06-01T12:00:00Z"


def signed(payload: dict[str, Any], kind: str, signer: CryptoSigner) -> bytes:
    made = Envelope(canonical_json(payload), kind, {})
    signature = signer.sign(made.pae())
    signature.keyid = public_key_of(signer.public_key).key_id
    made.signatures[signature.keyid] = signature
    return canonical_json(made.to_dict()).strip()


class Device:
    """One device's journal; ``fork`` is the same key and journal a second time."""

    def __init__(self, name: str = "wearable-001") -> None:
        self.name = name
        self.signer = CryptoSigner.generate_ed25519()
        self.events: list[bytes] = []
        self.begin = 1

    @property
    def key(self) -> PublicKey:
        return public_key_of(self.signer.public_key)

    @property
    def sequence(self) -> int:
        return self.begin + len(self.events) - 1

    def fork(self) -> Device:
        made = Device(self.name)
        made.signer, made.events, made.begin = self.signer, list(self.events), self.begin
        return made

    def event(self, kind: str = "agent.started", **more: Any) -> Message:
        previous = sha256_hex(self.events[-1]) if self.events else FIRST_PREVIOUS
        number = self.begin + len(self.events)
        if not self.events:
            kind = "journal.begun" if number == 1 else "journal.restarted"
        content: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"urn:uuid:{uuid.uuid4()}",
            "source": f"urn:primum:device:{self.name}",
            "type": f"primum.device.{kind}",
            "sequence": f"{number:020}",
            "time": NOW,
            "recordedtime": NOW,
            "datacontenttype": "application/json",
            "data": {
                "prevEventHash": previous,
                "bootCount": 1,
                "clock": {"quality": "synchronised"},
                "agentVersion": "0.1.0",
                "state": "idle",
                "change": {},
                **more,
            },
        }
        line = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        self.events.append(line)
        return Message(self.name, End.PROVENANCE, line)

    def head(
        self, sequence: int | None = None, *, signer: CryptoSigner | None = None, **more: Any
    ) -> Message:
        sequence = sequence or self.sequence
        payload = {
            "type": "urn:primum:chain-head:v0.1",
            "deviceId": self.name,
            "sequence": sequence,
            "eventHash": sha256_hex(self.events[sequence - self.begin]),
            "signedAt": NOW,
            **more,
        }
        return Message(
            self.name, End.HEAD, signed(payload, HEAD_PAYLOAD_TYPE, signer or self.signer)
        )

    def change_key(self) -> list[Message]:
        """The event, and the head over it by the former key."""
        former, self.signer = self.signer, CryptoSigner.generate_ed25519()
        keys = {"formerKey": public_key_of(former.public_key), "deviceKey": self.key}
        change = {name: key.model_dump(mode="json", by_alias=True) for name, key in keys.items()}
        told = self.event("key.changed", change=change)
        return [told, self.head(signer=former)]

    def life(self, events: int) -> list[Message]:
        """So many events and a head over the last."""
        return [*(self.event() for _ in range(events)), self.head()]

    def health(self, at: str = NOW, **more: Any) -> Message:
        data = {
            "mode": "clinical",
            "state": "idle",
            "component": "pvc-classifier",
            "version": "1.0.0",
            "release": "a" * 64,
            "statementNumber": 3,
            "proven": True,
            "agentVersion": "0.1.0",
            "clock": {"quality": "synchronised"},
            "readings": {"uptime": 1.0, "load": 0.1, "memory_free": 1, "agent_memory": 1},
            "eventsWaiting": 0,
            "bootCount": 1,
            "problems": [],
            **more,
        }
        content = {
            "specversion": "1.0",
            "id": f"urn:uuid:{uuid.uuid4()}",
            "source": f"urn:primum:device:{self.name}",
            "type": "primum.device.health.reported",
            "time": at,
            "datacontenttype": "application/json",
            "data": data,
        }
        return Message(self.name, End.HEALTH, json.dumps(content).encode())

    def status(self, presence: str = "online") -> Message:
        content = {
            "deviceId": self.name,
            "presence": presence,
            "agentVersion": "0.1.0",
            "reasons": [],
        }
        return Message(self.name, End.STATUS, json.dumps(content).encode())


def generation(release: str, *, counter: int, statement: str, number: int) -> dict[str, Any]:
    """The change by which an event puts a release in use."""
    return {
        "generation": {
            "number": 1,
            "component": "pvc-classifier",
            "version": "1.0.0",
            "release": release,
            "counter": counter,
            "floor_counter": 0,
            "statement": statement,
            "statement_number": number,
            "health_window": 30,
            "max_attempts": 3,
            "proven": False,
        }
    }
