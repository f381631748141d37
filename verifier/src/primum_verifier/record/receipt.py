"""A receiver's receipt: it holds the events of a device up to one of them, whole and proven.

The receiver countersigns what the device's own head proves, with a key of its own.  A device, or an
auditor, that knows the receiver's public key can tell from it what has arrived for good; a broker's
acknowledgement only says that a message was taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import model_validator

from primum_verifier.core.document import (
    Document,
    Positive,
    Sha256,
    Slug,
    Time,
    parse_document,
)
from primum_verifier.core.envelope import PublicKey, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

RECEIPT_PAYLOAD_TYPE = "application/vnd.primum.chain-receipt+json"


class ChainReceipt(Document):
    """What a receiver countersigns: every event of a device from one to another, proven by heads.

    ``firstSequence`` is the number of the first event that it holds of this run: 1, or more where
    what came before never reached it.
    """

    type: Literal["urn:primum:chain-receipt:v0.1"]
    role: Literal["receiver"]
    fleet: Slug
    device_id: Slug
    first_sequence: Positive
    sequence: Positive
    event_hash: Sha256
    issued_at: Time

    @model_validator(mode="after")
    def _it_covers_events(self) -> Self:
        if self.first_sequence > self.sequence:
            raise ValueError("it ends before it begins")
        return self


def open_receipt(
    data: bytes, *, keys: Iterable[PublicKey], fleet: str, device_id: str, where: str
) -> ChainReceipt:
    """The receipt in an envelope, if a receiver signed it for this device.

    Whether the device's own event of that number has that digest is the caller's to look at: a
    receipt over another one means that somebody else reports under this device's key.

    Args:
        data: the envelope.
        keys: the public keys of the receivers that are believed.
        fleet: the fleet that the device reports to.
        device_id: the device.
        where: the name a person knows the envelope by.

    Raises:
        RefusedError: ``document.invalid`` for what is no receipt, ``trust.signature`` where no
            such receiver signed it, or where it is another device's or fleet's.
    """
    known = tuple(keys)
    receipt, signer = read_receipt(data, keys=known, where=where)
    if signer is None:
        raise RefusedError(
            "No receiver that is known here signed this receipt.",
            reason=Reason.TRUST_SIGNATURE,
            where=where,
            expected=" or ".join(key.key_id for key in known) or "a key of a receiver",
        )
    if (receipt.fleet, receipt.device_id) != (fleet, device_id):
        raise RefusedError(
            "The receipt is another device's.",
            reason=Reason.TRUST_SIGNATURE,
            where=where,
            found=f"{receipt.fleet}/{receipt.device_id}",
            expected=f"{fleet}/{device_id}",
        )
    return receipt


def read_receipt(
    data: bytes, *, keys: Iterable[PublicKey], where: str
) -> tuple[ChainReceipt, PublicKey | None]:
    """A receipt, whoever's it is, and the known receiver that signed it; None where none did.

    Raises:
        RefusedError: ``document.invalid`` or ``trust.signature``: it is no receipt.
    """
    opened = open_envelope(data, payload_type=RECEIPT_PAYLOAD_TYPE, keys=tuple(keys), where=where)
    receipt = parse_document(ChainReceipt, opened.payload, where=where)
    return receipt, next(iter(opened.signers), None)
