"""Which key of a device counts at which number of its chain, from what is known and nothing else.

The user names the first key, or several.  A change of the key counts once a key that is in force at
its event has signed a head over exactly that event (:mod:`primum_verifier.record.key_change`); from
the next event on the new key counts and the former one no more.  The answer depends on what is
there and not on the order in which it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from primum_repo_tools.fleet.messages import MAX_SEQUENCE
from primum_verifier.record.key_change import KeyChange


@dataclass(frozen=True, order=True)
class Span:
    """A key counts above ``since`` and up to ``until``."""

    key_id: str
    since: int
    until: int

    def covers(self, sequence: int) -> bool:
        """Whether the key counts at this number."""
        return self.since < sequence <= self.until


def spans(
    enrolled: Iterable[str], changes: Iterable[KeyChange], signed: Iterable[tuple[int, str, str]]
) -> tuple[Span, ...]:
    """When each key counts.

    Args:
        enrolled: ids of the keys that the user named.
        changes: every change that an event tells of, believed or not.
        signed: number, event digest and key id of every head whose signature is right.
    """
    over = set(signed)
    found = {Span(key_id, 0, MAX_SEQUENCE) for key_id in enrolled}
    ordered = sorted(changes, key=lambda change: (change.sequence, change.event_hash))
    for sequence, group in groupby(ordered, key=lambda change: change.sequence):
        believed = [
            change
            for change in group
            if (sequence, change.event_hash, change.former.key_id) in over
            and in_force(found, change.former.key_id, sequence)
        ]
        for change in believed:
            found = {
                Span(span.key_id, span.since, sequence)
                if span.key_id == change.former.key_id and span.covers(sequence)
                else span
                for span in found
            }
        found |= {Span(change.key.key_id, sequence, MAX_SEQUENCE) for change in believed}
    return tuple(sorted(found))


def in_force(known: Iterable[Span], key_id: str, sequence: int) -> bool:
    """Whether a key counts at a number."""
    return any(span.key_id == key_id and span.covers(sequence) for span in known)
