"""The bytes of one target against what is signed about it: length, and every digest that counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from tuf.api.metadata import TargetFile

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

STRONG_DIGESTS = {
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha3-256": "sha3_256",
    "sha3-512": "sha3_512",
    "blake2b": "blake2b",
}
"""The digests that count, by their name in TUF metadata, with their name in ``hashlib``."""


def strong_digests(found: TargetFile) -> dict[str, str]:
    """The signed digests that count."""
    return {name: digest for name, digest in found.hashes.items() if name in STRONG_DIGESTS}


def check_strength(found: TargetFile, *, where: str) -> None:
    """Refuse a target whose only digests can be forged.

    Raises:
        RefusedError: ``trust.metadata``.
    """
    if not strong_digests(found):
        raise RefusedError(
            "The target is signed with weak digests only.",
            reason=Reason.TRUST_METADATA,
            where=where,
            found=", ".join(sorted(found.hashes)),
            expected="sha256 or stronger",
            remedy="The publisher must sign it again with sha256.",
        )


def path_of(name: str, found: TargetFile, *, consistent_snapshot: bool) -> str:
    """Where a target lies below the targets' address: its digest before its base name (TUF 6.2)."""
    if not consistent_snapshot:
        return quote(name)
    folder, slash, base = name.rpartition("/")
    return quote(f"{folder}{slash}{next(iter(found.hashes.values()))}.{base}")


def verified(pieces: Iterator[bytes], found: TargetFile, *, where: str) -> Iterator[bytes]:
    """Pass the bytes on and hash them; an error at the end means: use none of them.

    Args:
        pieces: the bytes as they arrive.
        found: what is signed about them.
        where: for errors.

    Raises:
        RefusedError: ``artifact.size`` or ``artifact.digest``.
    """
    signed = strong_digests(found)
    hashers = {name: hashlib.new(STRONG_DIGESTS[name]) for name in signed}
    received = 0
    for piece in pieces:
        received += len(piece)
        if received > found.length:
            raise wrong_size(where, f"more than {found.length} bytes", found.length)
        for hasher in hashers.values():
            hasher.update(piece)
        yield piece
    if received != found.length:
        raise wrong_size(where, f"{received} bytes", found.length)
    for name, hasher in hashers.items():
        if hasher.hexdigest() != signed[name]:
            raise RefusedError(
                "The bytes are not those that were signed.",
                reason=Reason.ARTIFACT_DIGEST,
                where=where,
                found=f"{name} {hasher.hexdigest()}",
                expected=f"{name} {signed[name]}",
                remedy="Publish again, or use another mirror; nothing was kept.",
            )


def is_whole(path: Path, found: TargetFile) -> bool:
    """Whether a file is the target already, by length and every digest that counts."""
    signed = strong_digests(found)
    try:
        if not signed or path.is_symlink() or path.stat().st_size != found.length:
            return False
        for name, digest in signed.items():
            with path.open("rb") as file:
                hasher = hashlib.file_digest(file, STRONG_DIGESTS[name])
            if hasher.hexdigest() != digest:
                return False
    except OSError:
        return False
    return True


def is_same(data: bytes, found: TargetFile) -> bool:
    """Whether bytes that were kept are the ones that are signed now."""
    digest = found.hashes.get("sha256")
    return digest is not None and digest == sha256_hex(data)


def wrong_size(where: str, found: str, expected: int) -> RefusedError:
    """The refusal of a file of another size than was signed."""
    return RefusedError(
        "The file has another size than was signed.",
        reason=Reason.ARTIFACT_SIZE,
        where=where,
        found=found,
        expected=f"{expected} bytes",
        remedy="Publish again, or use another mirror; nothing was kept.",
    )
