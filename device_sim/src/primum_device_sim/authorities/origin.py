"""Where a world's times, ids and keys come from: this machine, or a seed and a clock of its own.

A world made twice from the same seed is the same byte for byte, keys and signatures included:
Ed25519 signs without chance.  Such keys protect nothing; they never leave a simulation.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

_KEY_BYTES = 32


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of one world.

    Attributes:
        now: the time that is written into documents, whole seconds.
        draw_id: ids that are never drawn twice.
        new_key: a key of its own for a name.
    """

    now: Callable[[], datetime] = _now
    draw_id: Callable[[], uuid.UUID] = uuid.uuid4
    new_key: Callable[[str], CryptoSigner] = lambda _: CryptoSigner.generate_ed25519()

    def urn(self) -> str:
        """An id as documents write it."""
        return self.draw_id().urn


THIS_MACHINE = Origin()
"""Its own time, and chance."""


def ids_of(seed: str) -> Callable[[], uuid.UUID]:
    """Ids that follow from a seed."""
    drawn = random.Random(seed)  # noqa: S311 - the same ids again are the purpose
    return lambda: uuid.UUID(int=drawn.getrandbits(128), version=4)


def key_of(seed: str) -> Ed25519PrivateKey:
    """The private key that follows from a seed."""
    secret = hashlib.sha256(seed.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(secret[:_KEY_BYTES])


def seeded(seed: str, *, now: Callable[[], datetime]) -> Origin:
    """An origin that gives the same again for the same seed and times.

    Args:
        seed: any text.
        now: the world's own time.
    """
    counts: dict[str, int] = {}

    def new_key(name: str) -> CryptoSigner:
        counts[name] = counts.get(name, 0) + 1
        return CryptoSigner(key_of(f"{seed} {name} {counts[name]}"))

    return Origin(now=now, draw_id=ids_of(f"{seed} ids"), new_key=new_key)
