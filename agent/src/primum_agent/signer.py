"""The device's key behind one port, used only in short-lived children and in commands.

The resident supervisor never loads a key: what it cannot reach, a leak of its memory cannot give
away.  ``device.key`` is the one place that says which key it is: a PKCS#8 PEM file of mode 0600,
encrypted where there is a passphrase for it, or the address of a key on a token.  One rename of
that file gives the device another key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
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
from securesystemslib.signer import Signature, SSlibKey

from primum_agent.durable import disk_errors, switch_link, write_file
from primum_agent.key_address import MAX_ADDRESS, TokenAddress, is_address, parse_address
from primum_agent.key_errors import UnusableKeyError
from primum_agent.key_slots import settle_key
from primum_agent.layout import Layout
from primum_agent.secret_files import CREDENTIAL, read_secret, secret_error, secret_path
from primum_agent.token_signer import (
    TokenKeyType,
    TokenSigner,
    make_token_key,
    refuse_what_can_be_read_out,
)
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.envelope import PublicKey, open_envelope, public_key_of
from primum_verifier.core.errors import PrimumError, UsageError
from primum_verifier.core.reasons import Reason

PASSPHRASE_CREDENTIAL = "primum.device-key"  # noqa: S105 - a credential's name
"""The systemd credential that goes before the passphrase file."""

_MAX_KEY_BYTES = 16_384
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
        self._private = private
        self._public = public_key_of(SSlibKey.from_crypto(private.public_key()))

    def public_key(self) -> PublicKey:
        """See :class:`Signer`."""
        return self._public

    def envelope(self, payload: bytes, *, payload_type: str) -> bytes:
        """See :class:`Signer`."""
        return _envelope(payload, payload_type, key=self._public, sign=self._private.sign)


class TokenKey:
    """A key on a token.

    Args:
        token: it, open.
    """

    def __init__(self, token: TokenSigner) -> None:
        self._token = token

    def public_key(self) -> PublicKey:
        """See :class:`Signer`."""
        return self._token.public_key()

    def envelope(self, payload: bytes, *, payload_type: str) -> bytes:
        """See :class:`Signer`."""
        return _envelope(payload, payload_type, key=self.public_key(), sign=self._token.sign)


class RecordedKey:
    """The public half that enrolment wrote down, where the key cannot be used now.

    What runs is judged by it, and what is to be taken away is; it signs nothing.

    Args:
        public: the public half.
        problem: why the key cannot be used.
    """

    def __init__(self, public: PublicKey, problem: PrimumError) -> None:
        self._public = public
        self.problem = problem

    def public_key(self) -> PublicKey:
        """See :class:`Signer`."""
        return self._public

    def envelope(self, payload: bytes, *, payload_type: str) -> bytes:
        """It signs nothing."""
        del payload, payload_type
        raise self.problem


def _envelope(
    payload: bytes, payload_type: str, *, key: PublicKey, sign: Callable[[bytes], bytes]
) -> bytes:
    """Sign, and look whether the signature is right: a token may sign with another key."""
    envelope = Envelope(payload, payload_type, {})
    envelope.signatures[key.key_id] = Signature(key.key_id, sign(envelope.pae()).hex())
    line = canonical_json(envelope.to_dict()).strip()
    if not open_envelope(line, payload_type=payload_type, keys=(key,), where="signature").signers:
        raise UnusableKeyError(
            "The signature does not fit the public half of the key.",
            reason=Reason.KEY_UNUSABLE,
            where=key.key_id,
            remedy="Look at the token with its tools: a private and a public key do not belong "
            "together.",
        )
    return line


def open_device_key(layout: Layout) -> Signer:
    """Open the device's key.

    Raises:
        UsageError: the device is not enrolled.
        UnusableKeyError: ``key.*``, or ``state.damaged`` where the file is no key or others may
            read it.
    """
    settle_key(layout)
    return open_key(layout.device_key, layout=layout)


def open_key(path: Path, *, layout: Layout) -> Signer:
    """Open the key of one file of the state folder; see :func:`open_device_key`."""
    data = read_key_file(path)
    address = address_in(data, where=path)
    if address is not None:
        return TokenKey(TokenSigner(address, refused=layout.refused_pin))
    return KeySigner(_private_in(data, path, _passphrase(layout)))


def open_or_recorded(layout: Layout) -> Signer:
    """The device's key; where it cannot be used now, its public half as enrolment recorded it.

    Raises:
        UsageError: the device is not enrolled.
        UnusableKeyError: the key cannot be used, and there is no record of it.
    """
    try:
        return open_device_key(layout)
    except UnusableKeyError as error:
        try:
            return RecordedKey(read_public(layout.device_public), error)
        except PrimumError:
            raise error from None


def read_public(path: Path) -> PublicKey:
    """A public half as enrolment wrote it down.

    Raises:
        PrimumError: it is missing, or none.
    """
    with disk_errors(path):
        data = path.read_bytes()[:_MAX_KEY_BYTES]
    return parse_document(PublicKey, data, where=str(path))


def read_key_file(path: Path) -> bytes:
    """The bytes of a key file that nobody else may read.

    Raises:
        UsageError: there is none.
        UnusableKeyError: ``state.damaged``.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_KEY_BYTES)
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
    return data


def address_in(data: bytes, *, where: Path) -> TokenAddress | None:
    """The address in a key file; None where the file is the key itself.

    Raises:
        UnusableKeyError: ``state.damaged``: it begins like one and is none.
    """
    text = data[: MAX_ADDRESS + 1].decode(errors="replace").strip()
    if not is_address(text):
        return None
    try:
        return parse_address(text, where=str(where))
    except UsageError as error:
        raise _bad_key(where, error.found) from error


def _passphrase(layout: Layout) -> bytes | None:
    """The passphrase that was given for the key; None where none was.

    Raises:
        UnusableKeyError: ``key.secret``: one was, and it cannot be read.
    """
    if "CREDENTIALS_DIRECTORY" in os.environ:
        given = secret_path(CREDENTIAL + PASSPHRASE_CREDENTIAL)
        if os.path.lexists(given):
            return read_secret(given)
    return read_secret(layout.passphrase) if os.path.lexists(layout.passphrase) else None


def _private_in(data: bytes, path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data
    if encrypted and passphrase is None:
        raise secret_error(
            "The device's key is encrypted, and its passphrase is not there.",
            where=str(path),
            found=f"neither the credential {PASSPHRASE_CREDENTIAL} nor {path.name}.passphrase",
            remedy="Put it there; a command that is typed has no credentials of the service.",
        )
    try:
        private = load_pem_private_key(data, password=passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise secret_error(
                "The device's key does not open with this passphrase.",
                where=str(path),
                found=type(error).__name__,
                remedy="Put the right passphrase there, or enrol the device again.",
            ) from error
        raise _bad_key(path, type(error).__name__) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _bad_key(path, type(private).__name__)
    if passphrase is not None and not encrypted:
        raise _bad_key(path, "a key that is not encrypted, and a passphrase for it")
    return private


def _bad_key(path: Path, found: str) -> UnusableKeyError:
    return UnusableKeyError(
        "The device's key cannot be used.",
        reason=Reason.STATE_DAMAGED,
        where=str(path),
        found=found,
        expected="an Ed25519 key, PKCS#8 PEM, mode 0600, readable by the agent; or the address "
        "of a key on a token",
        remedy="Set the mode with chmod 600, or enrol the device again.",
    )


def make_device_key(
    layout: Layout,
    *,
    address: TokenAddress | None = None,
    kind: TokenKeyType = TokenKeyType.P256,
) -> Signer:
    """Make the device's key on the device, or open the one that is there.

    Args:
        layout: the state folder's names.
        address: where on a token it is, or is to be made; None for a key file.
        kind: what kind of key is made on a token.

    Raises:
        UsageError: the device has another key already.
        UnusableKeyError: the state folder cannot be written, or the key there cannot be used.
    """
    if layout.device_key.exists():
        _refuse_another_place(layout, address)
        return open_device_key(layout)
    signer = make_key(layout.device_key, layout=layout, address=address, kind=kind)
    write_file(layout.device_public, signer.public_key().to_bytes(), mode=0o644)
    return signer


def link_passphrase(layout: Layout, source: Path, *, address: TokenAddress | None) -> None:
    """Let the state folder name the file with the passphrase of a key file.

    Raises:
        UsageError: there is nothing to encrypt with it, or another file is named already.
        UnusableKeyError: ``key.secret``: the file cannot be used.
        FailedError: the state folder cannot be written.
    """
    source = source.absolute()
    read_secret(source)
    if os.path.lexists(layout.passphrase) and layout.passphrase.resolve() == source.resolve():
        return
    faults = {
        "the key lies on a token": address is not None,
        "the device has a key already": layout.device_key.exists(),
        f"{layout.passphrase} is there already": os.path.lexists(layout.passphrase),
    }
    for found, is_so in faults.items():
        if is_so:
            raise UsageError(
                "There is no key that this passphrase would encrypt.",
                reason=Reason.USAGE,
                where="--passphrase-file",
                found=found,
                remedy="Give it where a key file is made, once.",
            )
    switch_link(layout.passphrase, str(source))


def make_key(
    path: Path, *, layout: Layout, address: TokenAddress | None, kind: TokenKeyType
) -> Signer:
    """Make a key and write the file that says which it is; see :func:`make_device_key`."""
    if address is None:
        private = Ed25519PrivateKey.generate()
        passphrase = _passphrase(layout)
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        data = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        signer: Signer = KeySigner(private)
    else:
        token = _on_token(address, kind=kind, refused=layout.refused_pin)
        data = f"{token.address}\n".encode()
        signer = TokenKey(token)
    write_file(path, data, mode=0o600)
    with disk_errors(path):
        # The mode holds whatever the caller's umask is.
        os.chmod(path, 0o600)  # noqa: PTH101 - one word for one act
    return signer


def _on_token(address: TokenAddress, *, kind: TokenKeyType, refused: Path) -> TokenSigner:
    """The key that is there already, or one that is made now."""
    try:
        found = TokenSigner(address, refused=refused)
    except UnusableKeyError as error:
        if error.reason is not Reason.KEY_ABSENT:
            raise
        return make_token_key(address, kind=kind, refused=refused)
    refuse_what_can_be_read_out(found, refused=refused)
    return found


def _refuse_another_place(layout: Layout, address: TokenAddress | None) -> None:
    known = address_in(read_key_file(layout.device_key), where=layout.device_key)
    if address is not None and (known is None or not address.covers(known)):
        raise UsageError(
            "The device has a key already, and it is another one.",
            reason=Reason.USAGE,
            where=str(layout.device_key),
            found="a key file" if known is None else str(known),
            expected=str(address),
            remedy="Change the key of a device with `primum-agent rotate`.",
        )
