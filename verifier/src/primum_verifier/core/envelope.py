"""DSSE envelopes: whose keys signed exactly these bytes, for exactly this type of payload.

The signature covers the payload's type and its exact bytes (DSSE v1.0, PAE), so a signature can
be moved neither to another record nor to another kind of record (21 CFR 11.70).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from pydantic import Field, StringConstraints, model_validator
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature, SSlibKey

from primum_verifier.core.document import (
    Document,
    Name,
    Sha256,
    canonical_json,
    parse_document,
    sha256_hex,
)
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES, MAX_SIGNATURES
from primum_verifier.core.reasons import Reason

INTOTO_PAYLOAD_TYPE = "application/vnd.in-toto+json"
CONTEXT_PAYLOAD_TYPE = "application/vnd.primum.device-context+json"
TRUST_MAP_PAYLOAD_TYPE = "application/vnd.primum.trust-map+json"
HEAD_PAYLOAD_TYPE = "application/vnd.primum.chain-head+json"

_PublicText = Annotated[str, StringConstraints(min_length=32, max_length=1000)]
_Base64 = Annotated[str, StringConstraints(max_length=2 * MAX_DOCUMENT_BYTES)]


class PublicKey(Document):
    """One public key as `securesystemslib` writes it; its id is derived, never believed."""

    key_id: Sha256
    key_type: Literal["ed25519", "ecdsa"]
    scheme: Literal["ed25519", "ecdsa-sha2-nistp256"]
    public: _PublicText

    @model_validator(mode="after")
    def _key_id_is_derived(self) -> PublicKey:
        if self.public != plain_public(self.key_type, self.public):
            # One key in two spellings would count as two.
            raise ValueError("the key is not in its one spelling: lower-case hex, plain PEM")
        if self.key_type == "ed25519" and not re.fullmatch(r"[0-9a-f]{64}", self.public):
            raise ValueError("an ed25519 key is 64 hexadecimal digits")
        if self.key_id != key_id_of(self.key_type, self.scheme, self.public):
            raise ValueError("keyId is not the digest of the key")
        return self

    def for_verifying(self) -> SSlibKey:
        """The key in the form that checks signatures."""
        return SSlibKey(self.key_id, self.key_type, self.scheme, {"public": self.public})


def plain_public(key_type: str, public: str) -> str:
    """The public part of a key in the one spelling in which keys are compared.

    Line breaks and point compression are a matter of taste in PEM, and letter case is in hex.
    """
    text = public.strip()
    return text.lower() if key_type == "ed25519" else _plain_pem(text)


@lru_cache(maxsize=256)
def _plain_pem(text: str) -> str:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return text
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode().strip()


def key_id_of(key_type: str, scheme: str, public: str) -> str:
    """The id of a key: SHA-256 over its canonical description."""
    description = {"keytype": key_type, "scheme": scheme, "keyval": {"public": public}}
    return sha256_hex(canonical_json(description))


def public_key_of(key: SSlibKey) -> PublicKey:
    """Our form of a `securesystemslib` key, with the derived id."""
    public = plain_public(key.keytype, key.keyval["public"])
    return PublicKey.model_validate(
        {
            "keyId": key_id_of(key.keytype, key.scheme, public),
            "keyType": key.keytype,
            "scheme": key.scheme,
            "public": public,
        }
    )


class _SignatureForm(Document):
    keyid: Name
    sig: _Base64


class _EnvelopeForm(Document):
    """The outer form of an envelope, checked before the library decodes it."""

    payload: _Base64
    payload_type: Name = Field(alias="payloadType")
    signatures: tuple[_SignatureForm, ...] = Field(max_length=MAX_SIGNATURES)


@dataclass(frozen=True)
class SignedPayload:
    """A payload and the keys that were found to have signed it.

    Attributes:
        payload: the exact signed bytes.
        signers: each listed key whose signature over the payload is right, once.
    """

    payload: bytes
    signers: tuple[PublicKey, ...]


def open_envelope(
    data: bytes, *, payload_type: str, keys: Iterable[PublicKey], where: str
) -> SignedPayload:
    """Open one envelope and say which of ``keys`` signed it.

    An envelope that nobody listed has signed opens with no signers: how many and which signers
    are enough is the rule's to say.

    Raises:
        RefusedError: ``document.invalid`` when it is no envelope, ``trust.signature`` when it
            holds another type of payload.
    """
    form = parse_document(_EnvelopeForm, data, where=where, max_bytes=2 * MAX_DOCUMENT_BYTES)
    if form.payload_type != payload_type:
        raise RefusedError(
            "The envelope holds another kind of record.",
            reason=Reason.TRUST_SIGNATURE,
            where=where,
            found=form.payload_type,
            expected=payload_type,
        )
    try:
        payload = base64.b64decode(form.payload, validate=True)
        signatures = {
            item.keyid: base64.b64decode(item.sig, validate=True) for item in form.signatures
        }
    except ValueError as error:
        raise RefusedError(
            "The envelope is not encoded in base64.",
            reason=Reason.DOCUMENT_INVALID,
            where=where,
            found=str(error),
        ) from error
    kind = payload_type.encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signers: dict[str, PublicKey] = {}
    for key in keys:
        if key.key_id not in signatures:
            continue
        signature = Signature(key.key_id, signatures[key.key_id].hex())
        try:
            key.for_verifying().verify_signature(signature, signed)
        except (UnverifiedSignatureError, VerificationError):
            continue
        # One key under two names is one signer.
        signers.setdefault(key.public, key)
    return SignedPayload(payload=payload, signers=tuple(signers.values()))


def envelope_lines(data: bytes, *, where: str, at_most: int) -> list[bytes]:
    """The envelopes of a JSON-lines file, each still unopened.

    Raises:
        RefusedError: ``trust.limit`` when there are more than a device is willing to read.
    """
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) > at_most:
        raise RefusedError(
            "The file holds more envelopes than are read.",
            reason=Reason.TRUST_LIMIT,
            where=where,
            found=str(len(lines)),
            expected=f"at most {at_most}",
        )
    return lines
