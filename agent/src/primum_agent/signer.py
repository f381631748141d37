"""The device's key behind one port, used only in short-lived children.

The resident supervisor never loads a key: what it cannot reach, a leak of its memory cannot give
away.  A key is a PKCS#8 PEM file of mode 0600, encrypted where a passphrase file lies beside it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from primum_agent.durable import disk_errors, write_file
from primum_agent.layout import Layout
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import PublicKey, public_key_of
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason

PASSPHRASE_FILE = "device.key.passphrase"  # noqa: S105 - a file's name
"""Beside the key, or a link from there to where the platform keeps secrets."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Signer(Protocol):
    """The port: a key that signs, wherever it lies."""

    def public_key(self) -> PublicKey:
        """The public half."""

    def envelope(self, payload: bytes, *, payload_type: str) -> bytes:
        """A DSSE envelope over the exact bytes, as one line of JSON."""


class KeySigner:
    """An Ed25519 key in memory; also the double, with a key made for a test.

    Args:
        private: the key.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        found = CryptoSigner(private).public_key
        self._public = public_key_of(found)
        named = SSlibKey(self._public.key_id, found.keytype, found.scheme, found.keyval)
        self._signer = CryptoSigner(private, named)

    def public_key(self) -> PublicKey:
        """See :class:`Signer`."""
        return self._public

    def envelope(self, payload: bytes, *, payload_type: str) -> bytes:
        """See :class:`Signer`."""
        envelope = Envelope(payload, payload_type, {})
        envelope.sign(self._signer)
        return canonical_json(envelope.to_dict()).strip()


def _passphrase(layout: Layout) -> bytes | None:
    with suppress(FileNotFoundError):
        return (layout.root / PASSPHRASE_FILE).read_bytes().strip()
    return None


def open_device_key(layout: Layout) -> KeySigner:
    """Open the device's key.

    Raises:
        UsageError: the device is not enrolled.
        FailedError: ``state.damaged`` when the file is no key, or others may read it.
    """
    path = layout.device_key
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
        passphrase = _passphrase(layout)
    except FileNotFoundError as error:
        raise UsageError(
            "The device has no key yet.",
            reason=Reason.USAGE,
            where=str(path),
            remedy="Make it with `primum-agent enroll --state DIR …`.",
        ) from error
    except OSError as error:
        raise _bad_key(path, error.strerror or str(error)) from error
    if mode & _OTHERS:
        raise _bad_key(path, f"mode {stat.S_IMODE(mode):04o}: others may read it")
    try:
        private = load_pem_private_key(data, password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad_key(path, type(error).__name__) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _bad_key(path, type(private).__name__)
    return KeySigner(private)


def _bad_key(path: Path, found: str) -> FailedError:
    return FailedError(
        "The device's key cannot be used.",
        reason=Reason.STATE_DAMAGED,
        where=str(path),
        found=found,
        expected="an Ed25519 key, PKCS#8 PEM, mode 0600, readable by the agent",
        remedy="Set the mode with chmod 600, or enrol the device again.",
    )


def make_device_key(layout: Layout) -> KeySigner:
    """Make the device's key on the device, or open the one that is there.

    Raises:
        FailedError: the state folder cannot be written, or the key there cannot be used.
    """
    if layout.device_key.exists():
        return open_device_key(layout)
    private = Ed25519PrivateKey.generate()
    passphrase = _passphrase(layout)
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    signer = KeySigner(private)
    write_file(layout.device_key, pem, mode=0o600)
    with disk_errors(layout.device_key):
        # The mode holds whatever the caller's umask is.
        os.chmod(layout.device_key, 0o600)  # noqa: PTH101 - one word for one act
    write_file(layout.device_public, signer.public_key().to_bytes(), mode=0o644)
    return signer
