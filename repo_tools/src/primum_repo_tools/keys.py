"""Private keys behind one port: a signer, found by the address of its key.

A key is a file of its own, PKCS#8 in PEM, encrypted under a passphrase; its public half lies
beside it, so that showing and checking never need the passphrase.  Nothing above this module
knows what a private key looks like.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from primum_repo_tools.files import PRIVATE_MODE, read_input, write_durably
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.envelope import PublicKey, public_key_of
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason

PASSPHRASE_VARIABLE = "PRIMUM_PASSPHRASE"  # noqa: S105 - the name of a variable, not its value
MIN_PASSPHRASE = 8
"""Characters; a shorter passphrase is guessed before a lost laptop is missed."""

MAX_KEY_BYTES = 64 * 1024
_FILE_SCHEME = "file:"


@dataclass
class Secrets:
    """Where the passphrase comes from, asked for once and only when a key is needed.

    Args:
        passphrase_file: a file whose first line it is; goes before everything else.
        variable: the environment variable that is asked next.
        prompt: asks a person at a terminal, or None where nobody is there to ask.
    """

    passphrase_file: Path | None = None
    variable: str = PASSPHRASE_VARIABLE
    prompt: Callable[[str], str] | None = getpass
    _known: str | None = field(default=None, repr=False)

    def passphrase(self, purpose: str) -> bytes:
        """The passphrase as bytes.

        Args:
            purpose: what it is for; the prompt says it.

        Raises:
            UsageError: there is none, or it is too short.
        """
        if self._known is None:
            self._known = self._ask(purpose)
            if len(self._known) < MIN_PASSPHRASE:
                raise UsageError(
                    "The passphrase is too short.",
                    reason=Reason.USAGE,
                    found=f"{len(self._known)} characters",
                    expected=f"at least {MIN_PASSPHRASE} characters",
                    remedy="Choose a longer one; several words are easy to remember.",
                )
        return self._known.encode()

    def _ask(self, purpose: str) -> str:
        if self.passphrase_file is not None:
            data = read_input(self.passphrase_file, what="passphrase file", max_bytes=4096)
            return data.decode("utf-8", "replace").split("\n", 1)[0].rstrip("\r")
        value = os.environ.get(self.variable)
        if value is not None:
            return value
        if self.prompt is None:
            raise UsageError(
                "No passphrase was given and nobody is there to ask.",
                reason=Reason.USAGE,
                remedy=f"Set {self.variable}, or name a file with --passphrase-file.",
            )
        return self.prompt(f"Passphrase for {purpose}: ")


@dataclass(frozen=True)
class Signer:
    """One key that can sign, wherever it is kept.

    Attributes:
        address: where the key is; what people know it by.
        public: its public half.
        backend: the library's signer; only :mod:`primum_repo_tools` modules that sign touch it.
    """

    address: str
    public: PublicKey
    backend: CryptoSigner


def public_path(private: Path) -> Path:
    """The file of the public half beside a private key."""
    return private.with_suffix(".public.json")


def create_key(path: Path, *, secrets: Secrets) -> PublicKey:
    """Make an Ed25519 key, encrypted at ``path``, its public half beside it.

    Raises:
        UsageError: a key is there already; keys are never overwritten.
    """
    if path.exists():
        raise UsageError(
            "There is a key already, and keys are never overwritten.",
            reason=Reason.USAGE,
            where=str(path),
            remedy="Choose another folder or move the old key away.",
        )
    encryption = BestAvailableEncryption(secrets.passphrase(path.name))
    private = Ed25519PrivateKey.generate()
    public = public_key_of(SSlibKey.from_crypto(private.public_key()))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    # The public half first: a private key without it would look like a finished one.
    write_durably(public_path(path), public.to_bytes())
    write_durably(path, pem, mode=PRIVATE_MODE)
    return public


def read_public_key(path: Path) -> PublicKey:
    """Read the public half of a key from its file."""
    try:
        return parse_document(
            PublicKey, read_input(path, what="public key", max_bytes=MAX_KEY_BYTES), where=str(path)
        )
    except RefusedError as error:
        raise UsageError(
            "This is no public key.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.found,
            expected="a file such as provisioning.public.json",
            remedy="Name the .public.json that lies beside the private key.",
        ) from error


def load_key(path: Path, *, secrets: Secrets) -> Signer:
    """Open the private key in a file.

    Raises:
        UsageError: it is missing, no key of a kind that we use, or the passphrase is wrong.
    """
    pem = read_input(path, what="private key", max_bytes=MAX_KEY_BYTES)
    passphrase = secrets.passphrase(path.name)
    try:
        private = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "The private key cannot be opened.",
            reason=Reason.USAGE,
            where=str(path),
            found="a wrong passphrase, a key that is not encrypted, or no key at all",
            expected="PKCS#8 in PEM, encrypted under the passphrase given",
            remedy="Check the passphrase first; then compare the file with its backup.",
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(
            "The private key is of a kind that is not used here.",
            reason=Reason.USAGE,
            where=str(path),
            found=type(private).__name__,
            expected="Ed25519",
            remedy="Use a key that primum-repo made: device key, person add, authority create.",
        )
    public = public_key_of(SSlibKey.from_crypto(private.public_key()))
    backend = CryptoSigner(private, public.for_verifying())
    return Signer(address=f"{_FILE_SCHEME}{path.name}", public=public, backend=backend)


def key_file(address: str, *, base: Path) -> Path:
    """The file that a ``file:`` address means, inside ``base``.

    Raises:
        UsageError: another kind of address, or a path that leaves ``base``.
    """
    path = base / address.removeprefix(_FILE_SCHEME)
    inside = path.resolve().is_relative_to(base.resolve())
    if not address.startswith(_FILE_SCHEME) or not inside:
        raise UsageError(
            "The address of the key is not one that this build can open.",
            reason=Reason.USAGE,
            found=address,
            expected="file: and a path inside the workbench",
        )
    return path


def open_signer(address: str, *, base: Path, secrets: Secrets) -> Signer:
    """The signer at an address; the one place that knows kinds of addresses."""
    signer = load_key(key_file(address, base=base), secrets=secrets)
    return Signer(address=address, public=signer.public, backend=signer.backend)


def sign_envelope(payload: bytes, *, payload_type: str, signers: list[Signer]) -> bytes:
    """Sign a payload as one DSSE envelope; the answer is one JSON line."""
    envelope = Envelope(payload, payload_type, {})
    for signer in signers:
        envelope.sign(signer.backend)
    return canonical_json(envelope.to_dict())


def add_signatures(envelope: bytes, *, signers: list[Signer], where: str) -> bytes:
    """Sign what an envelope holds besides those who signed it before; a signer signs once.

    Raises:
        UsageError: it is no envelope.
    """
    try:
        signed = Envelope.from_dict(json.loads(envelope))
        for signer in signers:
            signed.sign(signer.backend)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "This is no signed document.",
            reason=Reason.USAGE,
            where=where,
            found=str(error)[:200],
            expected="a DSSE envelope",
        ) from error
    return canonical_json(signed.to_dict())
