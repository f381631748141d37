"""The links of one device's chain around the numbers that a batch touches, read as they are needed.

Three things are known of each link from what is stored alone: whether the event before it is here
(``joined``), whether a head that counts covers it (``proven``), and which others contradict it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from primum_repo_tools.fleet.database import Session
from primum_verifier.record.chain import FIRST_PREVIOUS

_BLOCK = 256
"""Links read at once: a device mostly sends what follows what it sent."""


@dataclass
class Link:
    """One event's place in the chain.

    Attributes:
        is_new: it is not stored yet.
        is_changed: what is known of it is not stored yet.
    """

    sequence: int
    hash: str
    previous: str
    joined: bool = False
    proven: bool = False
    is_new: bool = False
    is_changed: bool = False


class Links:
    """See the module; owned by one transaction that holds the device's row."""

    def __init__(self, session: Session, device: int) -> None:
        self._session = session
        self._device = device
        self._blocks: set[int] = set()
        self._at: dict[int, list[Link]] = {}

    def at(self, sequence: int) -> list[Link]:
        """Every event of this number, mostly one."""
        block = sequence // _BLOCK
        if block not in self._blocks:
            self._read(block * _BLOCK, (block + 1) * _BLOCK)
            self._blocks.add(block)
        return self._at.get(sequence, [])

    def read_all(self) -> None:
        """Read every link of the device; before any other call."""
        rows = self._session.rows("SELECT max(sequence) FROM events WHERE device = ?", self._device)
        last = rows[0][0] or 0
        self._read(0, last + 1)
        self._blocks = set(range(last // _BLOCK + 2))

    def all(self) -> Iterable[Link]:
        """Every link that was read or added."""
        return (link for links in self._at.values() for link in links)

    def get(self, sequence: int, digest: str) -> Link | None:
        """The event of this number and digest."""
        return next((link for link in self.at(sequence) if link.hash == digest), None)

    def add(self, link: Link) -> None:
        """Add an event that is new here, and join it to its neighbours."""
        self.at(link.sequence)
        self._at.setdefault(link.sequence, []).append(link)
        link.is_new = True
        link.joined = (
            link.sequence == 1
            if link.previous == FIRST_PREVIOUS
            else self.get(link.sequence - 1, link.previous) is not None
        )
        for later in self.at(link.sequence + 1):
            if later.previous == link.hash and not later.joined:
                later.joined = later.is_changed = True

    def is_covered(self, link: Link) -> bool:
        """Whether a proven event follows it."""
        return any(
            later.proven and later.previous == link.hash for later in self.at(link.sequence + 1)
        )

    def prove(self, link: Link | None) -> int:
        """Take a link and all before it as proven; how many were not before."""
        count = 0
        while link is not None and not link.proven:
            link.proven = link.is_changed = True
            count += 1
            link = self.get(link.sequence - 1, link.previous)
        return count

    def _read(self, begin: int, end: int) -> None:
        for sequence, digest, previous, joined, proven in self._session.rows(
            "SELECT sequence, hash, previous, joined, proven FROM events"
            " WHERE device = ? AND sequence >= ? AND sequence < ?",
            self._device,
            begin,
            end,
        ):
            link = Link(sequence, digest, previous, joined=bool(joined), proven=bool(proven))
            self._at.setdefault(sequence, []).append(link)
