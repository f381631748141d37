"""Which key of a device counts where in its chain: each change is signed by the key before it.

The event ``key.changed`` names the key that signed until then and the one that signs from then on.
A head over exactly this event, by the former key, vouches for the next one: who knows a device by
its first key can follow it from public keys alone.  Who knows it by a later key proves the earlier
events by the chain, since each later head covers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.words import EventKind


@dataclass(frozen=True)
class KeyChange:
    """One change of a device's key.

    Attributes:
        sequence: the number of the event that tells of it.
        event_hash: the digest of that event.
        former: the key that signs up to that event, and that event.
        key: the key that signs from the next event on.
    """

    sequence: int
    event_hash: str
    former: PublicKey
    key: PublicKey


def read_key_change(
    content: dict[str, Any], *, sequence: int, event_hash: str, where: str
) -> KeyChange | None:
    """The change that an event tells of; None for an event of another kind.

    Raises:
        RefusedError: ``document.invalid``: it tells of one and names no two keys.
    """
    if content.get("type") != EventKind.KEY_CHANGED:
        return None
    change = content["data"].get("change")
    named = change if isinstance(change, dict) else {}
    former, key = (
        parse_document(PublicKey, canonical_json(named.get(name)), where=f"{where}: {name}")
        for name in ("formerKey", "deviceKey")
    )
    return KeyChange(sequence, event_hash, former, key)


class KeysInForce:
    """The keys of one device in the order in which they follow each other.

    Args:
        changes: every change in the history.
        known: the key that the device is known by.

    Raises:
        RefusedError: ``trust.signature``: the changes do not follow each other, or the known key
            is none of them.
    """

    def __init__(self, changes: Sequence[KeyChange], *, known: PublicKey) -> None:
        self.changes = tuple(sorted(changes, key=lambda change: change.sequence))
        for earlier, later in pairwise(self.changes):
            if earlier.key != later.former:
                raise another_key(
                    f"event {later.sequence}", known, found="changes that do not follow each other"
                )
        first = self.changes[0].former if self.changes else known
        self.keys = (first, *(change.key for change in self.changes))
        if known not in self.keys:
            raise another_key(
                f"event {self.changes[0].sequence}", known, found="a change between other keys"
            )
        self._known = self.keys.index(known)

    def place(self, sequence: int) -> int:
        """Which key is in force at an event, as its place among the keys."""
        return sum(change.sequence < sequence for change in self.changes)

    def is_earlier(self, place: int) -> bool:
        """Whether a key is one before the known one: the chain proves what it signed."""
        return place < self._known

    def vouched(self, signed: Sequence[tuple[int, str, int]]) -> tuple[KeyChange, ...]:
        """The changes after the known key, each signed by the key before it.

        Args:
            signed: number, digest and place of the signing key of every signed head.

        Returns:
            Those in a row from the known key on; with the first that nobody vouches for ends
            what can be believed.
        """
        found = []
        for place, change in enumerate(self.changes):
            if place < self._known:
                continue
            if (change.sequence, change.event_hash, place) not in signed:
                break
            found.append(change)
        return tuple(found)

    def believed(self, vouched: Sequence[KeyChange]) -> int:
        """The place of the last key that may be believed."""
        return self._known + len(vouched)


def another_key(where: str, known: PublicKey, *, found: str) -> RefusedError:
    """What was not signed by the device that is asked about."""
    return RefusedError(
        "The head or checkpoint was not signed by this device.",
        reason=Reason.TRUST_SIGNATURE,
        where=where,
        found=found,
        expected=known.key_id,
        remedy="Give the context of the device that wrote this history.",
    )
