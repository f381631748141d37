"""Countersigning: the receiver signs what it holds whole and proven, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from primum_repo_tools.fleet.database import Session
from primum_repo_tools.keys import Signer, sign_envelope
from primum_repo_tools.moments import plain
from primum_verifier.core.document import canonical_json
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE


@dataclass(frozen=True)
class Receiver:
    """Who countersigns.

    Attributes:
        signer: the receiver's key.
    """

    signer: Signer

    def countersign(
        self,
        session: Session,
        device: int,
        *,
        name: str,
        fleet: str,
        proven: tuple[int, str],
        now: datetime,
    ) -> bytes | None:
        """Sign and store that a device's events are here up to one; None where it was signed.

        Args:
            session: a transaction that holds the device's row.
            device: the device's number.
            name: the device.
            fleet: its fleet.
            proven: number and digest of the newest proven event.
            now: the present moment.
        """
        sequence, digest = proven
        ((first,),) = session.rows(
            "SELECT coalesce(max(sequence), 1) FROM events"
            " WHERE device = ? AND joined = 0 AND proven = 1 AND sequence <= ?",
            device,
            sequence,
        )
        payload = canonical_json(
            {
                "type": "urn:primum:chain-receipt:v0.1",
                "role": "receiver",
                "fleet": fleet,
                "deviceId": name,
                "firstSequence": first,
                "sequence": sequence,
                "eventHash": digest,
                "issuedAt": plain(now),
            }
        )
        line = sign_envelope(
            payload, payload_type=RECEIPT_PAYLOAD_TYPE, signers=[self.signer]
        ).rstrip(b"\n")
        is_new = session.do(
            "INSERT INTO receipts (device, sequence, hash, issued_at, published, line)"
            " VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
            device,
            sequence,
            digest,
            plain(now),
            line,
        )
        return line if is_new else None
