"""The certificate by which a device shows a broker who it is, and its renewal.

It has a key of its own, and not the device's: TLS is spoken by the resident process, which must
never hold the key that signs the journal, and a key on a token is out of a TLS library's reach.  So
the certificate may be renewed as often as its issuer likes, and no history depends on it.

Key and certificates lie in one file, ``client.pem``, so that one rename replaces them together.
Its first lines say until when it holds; reading them needs no cryptography and no key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from primum_agent.certificate_note import HEAD, NOT_AFTER, SERIAL
from primum_agent.clock import plain_time
from primum_agent.durable import disk_errors, sync_folder, write_file
from primum_agent.layout import Layout
from primum_agent.signer import read_key_file
from primum_verifier.core.errors import FailedError, RefusedError, UsageError
from primum_verifier.core.reasons import Reason

MAX_CHAIN = 8
"""Certificates in one file: the device's own and its issuers'."""


@dataclass(frozen=True)
class Renewed:
    """A certificate that was taken.

    Attributes:
        serial: its serial number, hexadecimal.
        issuer: who signed it.
        not_after: until when it holds.
    """

    serial: str
    issuer: str
    not_after: datetime


def make_request(layout: Layout, *, device_id: str) -> bytes:
    """A certificate signing request, PEM, for a key that is made for it.

    A request that was made and not answered is made again for the same key.

    Raises:
        FailedError: the disk did not take the key, or what is there is none.
    """
    if not layout.next_client_key.exists():
        private = generate_private_key(SECP256R1())
        write_file(layout.next_client_key, _pem_of(private), mode=0o600)
        with disk_errors(layout.next_client_key):
            # The mode holds whatever the caller's umask is.
            os.chmod(layout.next_client_key, 0o600)  # noqa: PTH101 - one word for one act
    private = _private(layout.next_client_key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    uri = x509.UniformResourceIdentifier(_uri(device_id))
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(private, SHA256())
    )
    return request.public_bytes(Encoding.PEM)


def take_certificate(layout: Layout, data: bytes, *, device_id: str, now: datetime) -> Renewed:
    """Put a certificate and its key in the place of the one in force.

    Args:
        layout: the state folder's names.
        data: PEM: the device's certificate first, then its issuers'.
        device_id: the device's name, which it must be for.
        now: a time that may be believed.

    Raises:
        UsageError: no request was made.
        RefusedError: ``document.invalid`` where it is no certificate, ``trust.signature`` where
            it is not for this key or device or its chain does not hold, ``trust.expired`` where
            it does not hold now. The one in force stands.
        FailedError: the disk did not take it; the old one or the new one is in force.
    """
    if not layout.next_client_key.exists():
        raise UsageError(
            "No certificate was asked for.",
            reason=Reason.USAGE,
            where=str(layout.next_client_key),
            remedy="Make the request first: `primum-agent enroll --renew --output FILE`.",
        )
    private = _private(layout.next_client_key)
    chain = _chain(data)
    leaf = chain[0]
    _check_key_and_name(leaf, private, device_id=device_id)
    _check_time(leaf, now)
    _check_chain(chain)
    serial = f"{leaf.serial_number:x}"
    head = f"{HEAD}\n{NOT_AFTER}{plain_time(leaf.not_valid_after_utc)}\n{SERIAL}{serial}\n"
    parts = [head.encode(), _pem_of(private)]
    parts += [certificate.public_bytes(Encoding.PEM) for certificate in chain]
    write_file(layout.client, b"".join(parts), mode=0o600)
    with disk_errors(layout.client):
        os.chmod(layout.client, 0o600)  # noqa: PTH101 - one word for one act
        layout.next_client_key.unlink(missing_ok=True)
        sync_folder(layout.root)
    return Renewed(serial, leaf.issuer.rfc4514_string()[:200], leaf.not_valid_after_utc)


def _uri(device_id: str) -> str:
    return f"urn:primum:device:{device_id}"


def _pem_of(private: EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _private(path: Path) -> EllipticCurvePrivateKey:
    try:
        found = load_pem_private_key(read_key_file(path), password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(path, type(error).__name__) from error
    if not isinstance(found, EllipticCurvePrivateKey):
        raise _no_key(path, type(found).__name__)
    return found


def _no_key(path: Path, found: str) -> FailedError:
    return FailedError(
        "The key that the certificate was asked for cannot be used.",
        reason=Reason.STATE_DAMAGED,
        where=str(path),
        found=found,
        expected="a P-256 key, PKCS#8 PEM, mode 0600",
        remedy="Remove it and ask again: `primum-agent enroll --renew --output FILE`.",
    )


def _chain(data: bytes) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise _refused(Reason.DOCUMENT_INVALID, found=str(error)[:200]) from error
    if len(chain) > MAX_CHAIN:
        raise _refused(Reason.DOCUMENT_INVALID, found=f"{len(chain)} certificates")
    return chain


def _check_key_and_name(
    leaf: x509.Certificate, private: EllipticCurvePrivateKey, *, device_id: str
) -> None:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise _refused(Reason.TRUST_SIGNATURE, found="a certificate for another key")
    try:
        named = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        extensions = leaf.extensions
    except ValueError as error:
        raise _refused(Reason.DOCUMENT_INVALID, found=str(error)[:200]) from error
    uris: set[str] = set()
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            uris |= set(extension.value.get_values_for_type(x509.UniformResourceIdentifier))
        elif isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise _refused(Reason.TRUST_SIGNATURE, found="a certificate of an issuer")
        elif (
            isinstance(extension.value, x509.ExtendedKeyUsage)
            and ExtendedKeyUsageOID.CLIENT_AUTH not in extension.value
        ):
            raise _refused(Reason.TRUST_SIGNATURE, found="a certificate for another use")
    names = {str(item.value) for item in named}
    if names != {device_id} or uris - {_uri(device_id)}:
        found = ", ".join(sorted(names | uris))[:200] or "no name"
        raise _refused(Reason.TRUST_SIGNATURE, found=f"a certificate for {found}")


def _check_time(leaf: x509.Certificate, now: datetime) -> None:
    now = now.astimezone(UTC)
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        begins, ends = plain_time(leaf.not_valid_before_utc), plain_time(leaf.not_valid_after_utc)
        raise _refused(Reason.TRUST_EXPIRED, found=f"it holds from {begins} to {ends}")


def _check_chain(chain: list[x509.Certificate]) -> None:
    """Each is signed by the next; whom the broker trusts is the broker's to say."""
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise _refused(
                Reason.TRUST_SIGNATURE, found="certificates that did not sign each other"
            ) from error


def _refused(reason: Reason, *, found: str) -> RefusedError:
    return RefusedError(
        "The certificate does not fit.",
        reason=reason,
        where="--certificate",
        found=found,
        expected="the device's certificate for the key of its request, then its issuers'",
        remedy="Let the issuer answer the newest request; the certificate in force stands.",
    )
