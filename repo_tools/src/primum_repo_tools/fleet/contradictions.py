"""Where the events of one device contradict each other: a key that lives twice, or somebody's lie.

Two different events with one number, two events that follow one another's predecessor, two events
with one id: a device writes none of these.  All of the events stay, as evidence.  Where heads that
count cover two of them, the device's key signed both: there is a second device with that key, or an
older copy of its journal was put back; then nothing from that place on is taken as proven.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum

from primum_repo_tools.fleet.database import Session, in_parts, marks
from primum_repo_tools.fleet.links import Links
from primum_repo_tools.fleet.messages import Event
from primum_verifier.record.chain import FIRST_PREVIOUS


class Kind(StrEnum):
    """What contradicts; the mark of each is the number, the digest before, or the id."""

    NUMBER = "two-events-of-one-number"
    SUCCESSOR = "two-successors-of-one-event"
    ID = "two-events-of-one-id"


def note(
    session: Session, device: int, *, new: Sequence[Event], links: Links, now: str
) -> list[tuple[Kind, str]]:
    """Note what contradicts the new events, which are stored; the first of each kind is returned.

    Two lines differ at each number from where they part, so what follows the first is no news.
    """
    known = {
        kind
        for (kind,) in session.rows(
            "SELECT DISTINCT kind FROM contradictions WHERE device = ?", device
        )
    }
    found = {(Kind.NUMBER, str(item.sequence)) for item in new if len(links.at(item.sequence)) > 1}
    befores = sorted({item.previous for item in new if item.previous != FIRST_PREVIOUS})
    for before, numbers in _by(session, device, "previous", "sequence", befores).items():
        if len(numbers) > 1:
            found.add((Kind.SUCCESSOR, before))
    for name, digests in _by(session, device, "id", "hash", [item.id for item in new]).items():
        if len(digests) > 1:
            found.add((Kind.ID, name))
    ordered = sorted(found, key=lambda item: (item[0], item[1].zfill(20)))
    session.many(
        "INSERT INTO contradictions (device, kind, mark, noticed_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(device, str(kind), mark, now) for kind, mark in ordered],
    )
    first = dict(reversed(ordered))
    return [(kind, mark) for kind, mark in first.items() if kind not in known]


def _by(
    session: Session, device: int, column: str, what: str, values: Sequence[str]
) -> dict[str, set[object]]:
    found: dict[str, set[object]] = defaultdict(set)
    for part in in_parts(values):
        for value, other in session.rows(
            f"SELECT {column}, {what} FROM events"  # noqa: S608 - names of ours
            f" WHERE device = ? AND {column} IN ({marks(len(part))})",
            device,
            *part,
        ):
            found[value].add(other)
    return found


def disputed_from(session: Session, device: int) -> int:
    """The first number at which the device's key signed two lines; 0 where it never did."""
    places = []
    for kind, mark in session.rows(
        "SELECT kind, mark FROM contradictions WHERE device = ? AND kind IN (?, ?)",
        device,
        str(Kind.NUMBER),
        str(Kind.SUCCESSOR),
    ):
        column, value = ("sequence", int(mark)) if kind == Kind.NUMBER else ("previous", mark)
        rows = session.rows(
            "SELECT sequence FROM events"  # noqa: S608 - names of ours
            f" WHERE device = ? AND {column} = ? AND proven = 1 ORDER BY sequence",
            device,
            value,
        )
        if len(rows) > 1:
            places.append(rows[0][0])
    return min(places, default=0)
