"""A fleet's database: takes messages in batches, each batch whole or not at all.

What may be acknowledged to a broker is what :meth:`FleetStore.take` has returned for: it is on the
disk then.  The same message again changes nothing.  Several processes may take at once; the rows of
the devices in a batch are held in the order of their numbers until it ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from primum_repo_tools.fleet.chain_store import ChainStore, ChainTaken
from primum_repo_tools.fleet.database import Session, in_parts, marks
from primum_repo_tools.fleet.messages import End, Event, Head, Message, Parsed, Report, parse
from primum_repo_tools.fleet.quarantine import Kept, Quarantine
from primum_repo_tools.fleet.receipts import Receiver
from primum_repo_tools.fleet.report_store import take_reports
from primum_repo_tools.fleet.schema import AnyDatabase, prepare
from primum_repo_tools.moments import plain
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

MAX_WHY = 300
"""Characters of the last reason that a refusal shows."""

UNKNOWN = "no device of this name is enrolled"
FOREIGN = "signed by no key that the device is known by"
BEYOND = "there is no room for more that nobody proved"


@dataclass(frozen=True)
class Refusal:
    """A message that was not taken, and why."""

    device: str
    reason: Reason
    why: str


@dataclass
class Taken:
    """What became of a batch.

    Attributes:
        messages: how many there were.
        events: stored as new.
        heads: stored as new.
        reports: stored as new.
        duplicates: what was there already.
        quarantined: kept apart, believed by nobody.
        refused: what is none of what it claimed to be, or has no room.
        alarms: contradictions that were not known before, each with its device.
        receipts: topic's device and signed receipt, to be published.
    """

    messages: int = 0
    events: int = 0
    heads: int = 0
    reports: int = 0
    duplicates: int = 0
    quarantined: int = 0
    refused: list[Refusal] = field(default_factory=list)
    alarms: list[tuple[str, str, str]] = field(default_factory=list)
    receipts: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, other: Taken) -> None:
        """Count another batch in; its lists stay with whoever handles them."""
        self.messages += other.messages
        self.events += other.events
        self.heads += other.heads
        self.reports += other.reports
        self.duplicates += other.duplicates
        self.quarantined += other.quarantined


class _Batch:
    """A batch under way."""

    def __init__(self, session: Session, taken: Taken, *, fleet: str, now: datetime) -> None:
        self.session = session
        self.taken = taken
        self.now = now
        self.kept: list[Kept] = []
        self.quarantine = Quarantine(session, fleet=fleet, now=plain(now))


class FleetStore:
    """See the module.

    Args:
        database: where everything is.
        fleet: the fleet whose devices are meant.
        receiver: signs receipts; None where nobody countersigns.
    """

    def __init__(
        self, database: AnyDatabase, *, fleet: str, receiver: Receiver | None = None
    ) -> None:
        prepare(database)
        self.database = database
        self.fleet = fleet
        self.receiver = receiver

    def take(self, messages: Sequence[Message], *, now: datetime) -> Taken:
        """Store a batch; what this returns for may be acknowledged.

        Raises:
            BusyError: others hold the database; nothing was stored, the batch may be tried again.
            FailedError: the database cannot be used; nothing was stored.
        """
        taken = Taken(messages=len(messages))
        parsed: dict[str, list[tuple[Message, Parsed]]] = defaultdict(list)
        for message in messages:
            try:
                found = parse(message)
            except RefusedError as error:
                why = f"{message.end}: {error.message} {error.found}"
                taken.refused.append(Refusal(message.device, error.reason, why[:MAX_WHY]))
            else:
                parsed[message.device].append((message, found))
        with self.database.writing() as session:
            session.enter(alone=False)
            known = self._held(session, [*parsed, *(item.device for item in taken.refused)])
            batch = _Batch(session, taken, fleet=self.fleet, now=now)
            for name in sorted(parsed, key=lambda name: known.get(name, 0)):
                if name in known:
                    items = [item for _, item in parsed[name]]
                    self._take_of_one(batch, known[name], name, items)
                else:
                    batch.kept += [Kept(message, UNKNOWN) for message, _ in parsed[name]]
            self._keep(batch)
            self._count_refusals(session, taken.refused, known, plain(now))
        return taken

    def enroll(
        self, name: str, key: PublicKey, *, now: datetime, another_key: bool = False
    ) -> Taken:
        """Know a device by a key from now on, and take what waited for it in quarantine.

        Raises:
            RefusedError: ``trust.signature``: it is known by another key, and ``another_key`` does
                not say that this is meant.
        """
        taken = Taken()
        with self.database.writing() as session:
            session.enter(alone=True)
            held = self._held(session, [name])
            number = held.get(name)
            if number is None:
                ((last,),) = session.rows("SELECT coalesce(max(number), 0) FROM devices")
                number = last + 1
                session.do(
                    "INSERT INTO devices (number, fleet, name, enrolled_at) VALUES (?, ?, ?, ?)",
                    number,
                    self.fleet,
                    name,
                    plain(now),
                )
            ids = [
                row[0]
                for row in session.rows(
                    "SELECT key_id FROM enrolments WHERE device = ?"
                    " UNION SELECT key_id FROM device_keys WHERE device = ?",
                    number,
                    number,
                )
            ]
            if key.key_id not in ids:
                if ids and not another_key:
                    raise _another_key(name, ids, key)
                session.do(
                    "INSERT INTO enrolments (device, key_id, document, enrolled_at)"
                    " VALUES (?, ?, ?, ?)",
                    number,
                    key.key_id,
                    key.to_bytes(),
                    plain(now),
                )
                ChainStore(session, number, fleet=self.fleet, now=plain(now)).conclude_anew()
            batch = _Batch(session, taken, fleet=self.fleet, now=now)
            waiting = [parse(message) for message in batch.quarantine.release(name)]
            self._take_of_one(batch, number, name, waiting)
            self._keep(batch)
        return taken

    def unpublished(self) -> list[tuple[str, bytes]]:
        """Receipts that were stored and of which it is not known that a broker took them."""
        with self.database.reading() as session:
            return [
                (name, bytes(line))
                for name, line in session.rows(
                    "SELECT d.name, r.line FROM receipts r JOIN devices d ON d.number = r.device"
                    " WHERE d.fleet = ? AND r.published = 0 ORDER BY d.number, r.sequence",
                    self.fleet,
                )
            ]

    def published(self, receipts: Iterable[tuple[str, bytes]]) -> None:
        """A broker took these receipts."""
        with self.database.writing() as session:
            session.many(
                "UPDATE receipts SET published = 1 WHERE line = ? AND device ="
                " (SELECT number FROM devices WHERE fleet = ? AND name = ?)",
                [(line, self.fleet, name) for name, line in receipts],
            )

    # Inside a transaction

    def _held(self, session: Session, names: Iterable[str]) -> dict[str, int]:
        """Numbers of the devices that are enrolled, whose rows are held from here on."""
        found: dict[str, int] = {}
        for part in in_parts(sorted(set(names))):
            rows = session.rows(
                "SELECT name, number FROM devices WHERE fleet = ?"  # noqa: S608 - marks alone
                f" AND name IN ({marks(len(part))}) ORDER BY number{session.lock}",
                self.fleet,
                *part,
            )
            found |= dict(rows)
        return found

    def _take_of_one(
        self,
        batch: _Batch,
        number: int,
        name: str,
        parsed: Sequence[Parsed],
    ) -> None:
        """What one enrolled device sent; its row is held."""
        session, taken, now = batch.session, batch.taken, batch.now
        chain = ChainStore(session, number, fleet=self.fleet, now=plain(now))
        found = chain.take(
            [item for item in parsed if isinstance(item, Event)],
            [item for item in parsed if isinstance(item, Head)],
        )
        if found.has_new_keys:
            # A head that nobody could have signed may be one by a key that is named only now.
            again = [parse(message) for message in batch.quarantine.release(name, end=End.HEAD)]
            more = chain.take([], [item for item in again if isinstance(item, Head)])
            found.heads += more.heads
            found.foreign += more.foreign
            found.beyond += more.beyond
            found.proven = more.proven or found.proven
        taken.events += found.events
        taken.heads += found.heads
        taken.alarms += [(name, str(kind), mark) for kind, mark in found.alarms]
        batch.kept += [Kept(Message(name, End.HEAD, head.line), FOREIGN) for head in found.foreign]
        self._refuse(taken, name, found)
        reports = [item for item in parsed if isinstance(item, Report)]
        new = take_reports(session, number, reports, now)
        taken.reports += new
        taken.duplicates += found.duplicates + len(reports) - new
        session.do(
            "UPDATE devices SET last_seen = ? WHERE number = ?"
            " AND (last_seen IS NULL OR last_seen < ?)",
            plain(now),
            number,
            plain(now),
        )
        if found.proven is not None and self.receiver is not None:
            line = self.receiver.countersign(
                session, number, name=name, fleet=self.fleet, proven=found.proven, now=now
            )
            if line is not None:
                taken.receipts.append((name, line))

    def _keep(self, batch: _Batch) -> None:
        without_room = batch.quarantine.keep(batch.kept)
        batch.taken.quarantined += len(batch.kept) - len(without_room)
        batch.taken.refused += [
            Refusal(message.device, Reason.TRUST_LIMIT, "the quarantine is full")
            for message in without_room
        ]

    @staticmethod
    def _refuse(taken: Taken, name: str, found: ChainTaken) -> None:
        for head in found.foreign:
            why = f"head over event {head.sequence}: {FOREIGN}"
            taken.refused.append(Refusal(name, Reason.TRUST_SIGNATURE, why))
        for item in found.beyond:
            why = f"event or head {item.sequence}: {BEYOND}"
            taken.refused.append(Refusal(name, Reason.TRUST_LIMIT, why))

    def _count_refusals(
        self, session: Session, refused: Sequence[Refusal], known: dict[str, int], now: str
    ) -> None:
        """Count by device and reason; devices that nobody knows are counted as one."""
        counted: dict[tuple[str, str], list[str]] = defaultdict(list)
        for item in refused:
            name = item.device if item.device in known else ""
            counted[name, str(item.reason)].append(item.why)
        for (name, reason), whys in sorted(counted.items()):
            session.do(
                "INSERT INTO refusals (fleet, name, reason, times, last_at, last_why)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (fleet, name, reason) DO UPDATE SET"
                " times = refusals.times + excluded.times, last_at = excluded.last_at,"
                " last_why = excluded.last_why",
                self.fleet,
                name,
                reason,
                len(whys),
                now,
                whys[-1],
            )


def _another_key(name: str, known: Sequence[str], key: PublicKey) -> RefusedError:
    return RefusedError(
        "The device is known by another key.",
        reason=Reason.TRUST_SIGNATURE,
        where=name,
        found=key.key_id,
        expected=" or ".join(known),
        remedy="A change that the device's chain tells of is followed by itself; where the device "
        "was set up anew, say so with --another-key.",
    )
