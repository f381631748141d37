"""The chain of one device in the database: what is new is stored, joined, proven or disputed.

Whatever the order and however often the same messages come, the tables hold the same in the end:
each conclusion is drawn from what is stored, and is drawn again where something new bears on it.
A new change of the key makes everything be concluded anew; it happens once in years.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from primum_repo_tools.fleet.contradictions import Kind, disputed_from, note
from primum_repo_tools.fleet.database import Session, in_parts, marks
from primum_repo_tools.fleet.keys_in_force import Span, in_force, spans
from primum_repo_tools.fleet.links import Link, Links
from primum_repo_tools.fleet.messages import Event, Head
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, PublicKey, open_envelope
from primum_verifier.record.key_change import KeyChange, read_key_change
from primum_verifier.record.words import EventKind

MAX_UNPROVEN = 200_000
"""Events of one device that no head covers: a device sends what waited for years before it signs a
head, and without a key nobody may fill the disk."""

MAX_IDLE_HEADS = 1000
"""Heads of one device that do not count, by keys that some event of it names."""


@dataclass
class ChainTaken:
    """What became of the events and heads of one device.

    Attributes:
        events: stored.
        duplicates: events and heads that were there already.
        heads: stored.
        foreign: heads that no key signed which the device was ever known by.
        beyond: events and heads for which there is no room.
        alarms: contradictions that were not known before.
        proven: number and digest of the newest event that is proven now, if it rose.
    """

    events: int = 0
    duplicates: int = 0
    heads: int = 0
    foreign: list[Head] = field(default_factory=list)
    beyond: list[Event | Head] = field(default_factory=list)
    alarms: list[tuple[Kind, str]] = field(default_factory=list)
    proven: tuple[int, str] | None = None
    has_new_keys: bool = False


class ChainStore:
    """One device's chain.

    Args:
        session: a transaction that holds the device's row.
        device: the device's number.
        fleet: its fleet.
        now: the present moment as it is stored.
    """

    def __init__(self, session: Session, device: int, *, fleet: str, now: str) -> None:
        self._session = session
        self._device = device
        self._fleet = fleet
        self._now = now
        self._links = Links(session, device)

    def take(self, events: Iterable[Event], heads: Iterable[Head]) -> ChainTaken:
        """Store what is new, and conclude what follows from it."""
        taken = ChainTaken()
        before = self._standing()
        new = self._add(events, taken, room=MAX_UNPROVEN - before[3])
        added = self._add_heads(heads, new, taken)
        changes = [item for item in new if item.change is not None]
        taken.has_new_keys = bool(changes)
        if changes or self._signs_a_change(added):
            self._store(new)
            self.conclude_anew()
        else:
            self._conclude(new, added)
        taken.alarms = note(self._session, self._device, new=new, links=self._links, now=self._now)
        self._settle_dispute()
        after = self._standing()
        proven_to, digest, disputed, _ = after
        if not disputed and (proven_to, digest) != before[:2] and proven_to > before[0]:
            taken.proven = proven_to, digest
        return taken

    def conclude_anew(self) -> None:
        """Draw every conclusion from what is stored, as if nothing had been concluded before."""
        known = self._spans_anew()
        self._session.do("DELETE FROM device_keys WHERE device = ?", self._device)
        self._session.many(
            "INSERT INTO device_keys (device, key_id, since, until) VALUES (?, ?, ?, ?)",
            [(self._device, span.key_id, span.since, span.until) for span in known],
        )
        self._links = Links(self._session, self._device)
        self._links.read_all()
        earlier = {id(link): link.proven for link in self._links.all()}
        for link in self._links.all():
            link.proven = False
        agreeing = []
        for sequence, digest, key_id, line, counts in self._heads():
            does = in_force(known, key_id, sequence)
            if does != bool(counts):
                self._session.do(
                    "UPDATE heads SET counts = ? WHERE device = ? AND sequence = ? AND digest = ?",
                    int(does),
                    self._device,
                    sequence,
                    line,
                )
            named = self._links.get(sequence, digest) if does else None
            if named is not None:
                agreeing.append(named)
                self._links.prove(named)
        for link in self._links.all():
            link.is_changed = link.proven != earlier[id(link)]
        self._store_changes()
        unproven = sum(not link.proven for link in self._links.all())
        place, digest = max(((link.sequence, link.hash) for link in agreeing), default=(0, ""))
        self._session.do(
            "UPDATE devices SET proven_to = ?, proven_hash = ?, unproven = ? WHERE number = ?",
            place,
            digest,
            unproven,
            self._device,
        )

    # Events

    def _add(self, events: Iterable[Event], taken: ChainTaken, *, room: int) -> list[Event]:
        new: list[Event] = []
        for event in events:
            if self._links.get(event.sequence, event.hash) is not None:
                taken.duplicates += 1
            elif len(new) >= room:
                taken.beyond.append(event)
            else:
                self._links.add(Link(event.sequence, event.hash, event.previous))
                new.append(event)
        taken.events = len(new)
        return new

    def _conclude(self, new: Sequence[Event], added: Sequence[tuple[Head, bool]]) -> None:
        """What follows from new events and heads where no key changes."""
        named = {(head.sequence, head.hash) for head, counts in added if counts}
        named |= self._named_before(new)
        proven = 0
        agreeing = []
        for sequence, digest in named:
            link = self._links.get(sequence, digest)
            if link is not None:
                agreeing.append((sequence, digest))
                proven += self._links.prove(link)
        for item in sorted(new, key=lambda event: -event.sequence):
            link = self._links.get(item.sequence, item.hash)
            if link is not None and not link.proven and self._links.is_covered(link):
                proven += self._links.prove(link)
        self._store(new)
        self._session.do(
            "UPDATE devices SET unproven = unproven + ? WHERE number = ?",
            len(new) - proven,
            self._device,
        )
        if not agreeing:
            return
        place, digest = max(agreeing)
        self._session.do(
            "UPDATE devices SET proven_to = ?, proven_hash = ? WHERE number = ?"
            " AND (proven_to < ? OR (proven_to = ? AND proven_hash < ?))",
            place,
            digest,
            self._device,
            place,
            place,
            digest,
        )

    def _named_before(self, new: Sequence[Event]) -> set[tuple[int, str]]:
        """Those of these events that a head names which came before them."""
        wanted = {(item.sequence, item.hash) for item in new}
        return wanted & {
            (sequence, digest)
            for part in in_parts(sorted({item.sequence for item in new}))
            for sequence, digest in self._session.rows(
                "SELECT sequence, hash FROM heads WHERE device = ? AND counts = 1"  # noqa: S608
                f" AND sequence IN ({marks(len(part))})",
                self._device,
                *part,
            )
        }

    def _store(self, new: Sequence[Event]) -> None:
        rows = []
        for event in new:
            link = self._links.get(event.sequence, event.hash)
            joined, proven = (link.joined, link.proven) if link is not None else (False, False)
            if link is not None:
                link.is_new = link.is_changed = False
            rows.append(
                (
                    self._device,
                    event.sequence,
                    event.hash,
                    event.previous,
                    event.id,
                    event.kind,
                    int(joined),
                    int(proven),
                    self._now,
                    event.line,
                )
            )
        self._session.many(
            "INSERT INTO events (device, sequence, hash, previous, id, kind, joined, proven,"
            " received_at, line) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._session.many(
            "INSERT INTO claims (fleet, subject, version, digest, device, sequence, hash)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self._fleet,
                    claim.subject,
                    claim.version,
                    claim.digest,
                    self._device,
                    event.sequence,
                    event.hash,
                )
                for event in new
                for claim in event.claims
            ],
        )
        self._store_changes()

    def _store_changes(self) -> None:
        changed = [link for link in self._links.all() if link.is_changed and not link.is_new]
        self._session.many(
            "UPDATE events SET joined = ?, proven = ?"
            " WHERE device = ? AND sequence = ? AND hash = ?",
            [
                (int(link.joined), int(link.proven), self._device, link.sequence, link.hash)
                for link in changed
            ],
        )
        for link in changed:
            link.is_changed = False

    # Heads and keys

    def _add_heads(
        self, heads: Iterable[Head], new: Sequence[Event], taken: ChainTaken
    ) -> list[tuple[Head, bool]]:
        """Store the heads that a key of the device signed; each with whether it counts."""
        wanted = list(heads)
        if not wanted:
            return []
        there = self._stored_heads([head.sequence for head in wanted])
        keys = self._keys([item.change for item in new if item.change is not None])
        known = self._spans()
        added = []
        for head in wanted:
            if head.digest in there:
                taken.duplicates += 1
                continue
            opened = open_envelope(
                head.line, payload_type=HEAD_PAYLOAD_TYPE, keys=keys, where="head"
            )
            counting = [key for key in opened.signers if in_force(known, key.key_id, head.sequence)]
            if not opened.signers:
                taken.foreign.append(head)
            elif not counting and self._idle_heads() >= MAX_IDLE_HEADS:
                taken.beyond.append(head)
            else:
                signer = (counting or list(opened.signers))[0]
                self._session.do(
                    "INSERT INTO heads (device, sequence, hash, key_id, digest, counts,"
                    " received_at, line) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    self._device,
                    head.sequence,
                    head.hash,
                    signer.key_id,
                    head.digest,
                    int(bool(counting)),
                    self._now,
                    head.line,
                )
                there.add(head.digest)
                taken.heads += 1
                added.append((head, bool(counting)))
        return added

    def _stored_heads(self, sequences: Sequence[int]) -> set[str]:
        return {
            digest
            for part in in_parts(sorted(set(sequences)))
            for (digest,) in self._session.rows(
                "SELECT digest FROM heads WHERE device = ?"  # noqa: S608 - marks alone
                f" AND sequence IN ({marks(len(part))})",
                self._device,
                *part,
            )
        }

    def _idle_heads(self) -> int:
        rows = self._session.rows(
            "SELECT count(*) FROM heads WHERE device = ? AND counts = 0", self._device
        )
        return int(rows[0][0])

    def _signs_a_change(self, added: Sequence[tuple[Head, bool]]) -> bool:
        """Whether one of these heads is over an event that changes the key."""
        over = {(head.sequence, head.hash) for head, _ in added}
        return bool(over) and any(
            (change.sequence, change.event_hash) in over for change in self._changes()
        )

    def _heads(self) -> list[tuple[int, str, str, str, int]]:
        return [
            (sequence, digest, key_id, line, counts)
            for sequence, digest, key_id, line, counts in self._session.rows(
                "SELECT sequence, hash, key_id, digest, counts FROM heads WHERE device = ?",
                self._device,
            )
        ]

    def _enrolled(self) -> list[PublicKey]:
        return [
            parse_document(PublicKey, bytes(document), where="enrolment")
            for (document,) in self._session.rows(
                "SELECT document FROM enrolments WHERE device = ? ORDER BY key_id", self._device
            )
        ]

    def _changes(self) -> list[KeyChange]:
        found = []
        for sequence, digest, line in self._session.rows(
            "SELECT sequence, hash, line FROM events WHERE device = ?"  # noqa: S608 - a word of ours
            f" AND kind = '{EventKind.KEY_CHANGED}' ORDER BY sequence, hash",
            self._device,
        ):
            content = json.loads(bytes(line))
            change = read_key_change(content, sequence=sequence, event_hash=digest, where="event")
            if change is not None:
                found.append(change)
        return found

    def _keys(self, coming: Sequence[KeyChange]) -> tuple[PublicKey, ...]:
        """Every key that the user or any event of the device names, counting or not."""
        named = {key.key_id: key for key in self._enrolled()}
        for change in (*self._changes(), *coming):
            named.setdefault(change.former.key_id, change.former)
            named.setdefault(change.key.key_id, change.key)
        return tuple(named.values())

    def _spans(self) -> list[Span]:
        return [
            Span(key_id, since, until)
            for key_id, since, until in self._session.rows(
                "SELECT key_id, since, until FROM device_keys WHERE device = ?", self._device
            )
        ]

    def _spans_anew(self) -> tuple[Span, ...]:
        signed = [(sequence, digest, key_id) for sequence, digest, key_id, _, _ in self._heads()]
        return spans([key.key_id for key in self._enrolled()], self._changes(), signed)

    # What follows

    def _standing(self) -> tuple[int, str, int, int]:
        """Proven to, its digest, disputed from, and how many events are not proven."""
        ((proven_to, digest, disputed, unproven),) = self._session.rows(
            "SELECT proven_to, proven_hash, disputed, unproven FROM devices WHERE number = ?",
            self._device,
        )
        return proven_to, digest, disputed, unproven

    def _settle_dispute(self) -> None:
        self._session.do(
            "UPDATE devices SET disputed = ? WHERE number = ?",
            disputed_from(self._session, self._device),
            self._device,
        )
