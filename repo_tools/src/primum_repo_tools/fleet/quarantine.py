"""What nobody may believe yet is kept apart, bounded and counted; it is taken up when it may be.

Messages of a device that is not enrolled wait here until it is, and heads by a key that no event
named so far until one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from primum_repo_tools.fleet.database import Session
from primum_repo_tools.fleet.messages import End, Message
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.limits import MIB

MAX_MESSAGES = 20_000
"""Messages of a whole fleet: whoever may publish must not fill the disk."""

MAX_MESSAGES_OF_ONE = 2000
MAX_BYTES = 256 * MIB


@dataclass(frozen=True)
class Kept:
    """A message to be kept apart, and why."""

    message: Message
    why: str


class Quarantine:
    """One fleet's, within one transaction.

    Args:
        session: the transaction.
        fleet: the fleet.
        now: the present moment as it is stored.
    """

    def __init__(self, session: Session, *, fleet: str, now: str) -> None:
        self._session = session
        self._fleet = fleet
        self._now = now

    def keep(self, kept: Sequence[Kept]) -> list[Message]:
        """Keep messages, or count one more time what is here; returns those without room."""
        if not kept:
            return []
        ((count, size),) = self._session.rows(
            "SELECT count(*), coalesce(sum(length(line)), 0) FROM quarantine WHERE fleet = ?",
            self._fleet,
        )
        of_one: dict[str, int] = {}
        without_room = []
        # In one order everywhere, so that two receivers never wait for each other.
        for item in sorted(kept, key=lambda item: (item.message.device, item.message.end)):
            name, payload = item.message.device, item.message.payload
            if name not in of_one:
                of_one[name] = self._count_of(name)
            key = (self._fleet, name, str(item.message.end), sha256_hex(payload))
            if self._came_again(key):
                continue
            is_full = count >= MAX_MESSAGES or size + len(payload) > MAX_BYTES
            if is_full or of_one[name] >= MAX_MESSAGES_OF_ONE:
                without_room.append(item.message)
                continue
            self._session.do(
                "INSERT INTO quarantine (fleet, name, kind, digest, why, times, first_at,"
                " last_at, line) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT DO NOTHING",
                *key,
                item.why,
                self._now,
                self._now,
                payload,
            )
            of_one[name] += 1
            count, size = count + 1, size + len(payload)
        return without_room

    def release(self, name: str, *, end: End | None = None) -> list[Message]:
        """Take out what waits for a device, or only its messages of one kind."""
        where = "fleet = ? AND name = ?" + ("" if end is None else " AND kind = ?")
        values = [self._fleet, name, *([] if end is None else [str(end)])]
        found = [
            Message(name, End(kind), bytes(line))
            for kind, line in self._session.rows(
                f"SELECT kind, line FROM quarantine WHERE {where}",  # noqa: S608 - ours
                *values,
            )
        ]
        if found:
            self._session.do(f"DELETE FROM quarantine WHERE {where}", *values)  # noqa: S608 - ours
        return found

    def _count_of(self, name: str) -> int:
        rows = self._session.rows(
            "SELECT count(*) FROM quarantine WHERE fleet = ? AND name = ?", self._fleet, name
        )
        return int(rows[0][0])

    def _came_again(self, key: tuple[str, ...]) -> bool:
        return bool(
            self._session.do(
                "UPDATE quarantine SET times = times + 1, last_at = ?"
                " WHERE fleet = ? AND name = ? AND kind = ? AND digest = ?",
                self._now,
                *key,
            )
        )
