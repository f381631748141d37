"""The journal: events appended and chained, the present state as their sum, the outbox.

Every append goes through :meth:`Journal.record`. It reads the head inside the writing
transaction, so that supervisor and attempt can both append without ever forking the chain; and
the step of the state table, the event and the new state commit together or not at all.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Self

from primum_agent.clock import Clock
from primum_agent.device_state import fold
from primum_agent.events import Entry, EventKind, Recorded, write_event
from primum_agent.floors import Floors, read_floors
from primum_agent.journal_bounds import JournalBounds
from primum_agent.journal_chain import TAIL_EVENTS, fault_in_chain
from primum_agent.journal_floors import TRUST_MAP_FLOOR, JournalFloors
from primum_agent.journal_forgetting import JournalForgetting
from primum_agent.journal_mark import read_mark, write_mark
from primum_agent.journal_reading import KEY_PROOFS
from primum_agent.journal_schema import (
    MOST_UNREAD,
    DamagedJournalError,
    check,
    connect,
    connect_to_read,
    damaged,
    let_it_shrink,
    refuse_if_unreadable,
    set_aside,
)
from primum_agent.journal_tables import DEFAULT_BOUNDS
from primum_agent.layout import Layout
from primum_agent.lifecycle import step
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason

AGENT_VERSION = "0.1.0"

STATE_DIGEST = "state-digest"
"""The counter that holds the digest of the stored state: adding all events up costs more."""

DAMAGE_TOPIC = "journal"
"""The lasting trouble by which a process that may not set the journal aside tells of damage."""


class Journal(JournalForgetting, JournalFloors):
    """One open journal.

    Args:
        layout: the state folder's names.
        connection: the open database, owned by the journal.
        clock: the clock port.
        device_id: whose journal it is.
        bounds: how large and how old it may grow.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        connection: sqlite3.Connection,
        clock: Clock,
        device_id: str,
        bounds: JournalBounds = DEFAULT_BOUNDS,
    ) -> None:
        super().__init__(layout=layout, connection=connection, clock=clock, bounds=bounds)
        self._device_id = device_id

    @classmethod
    def open(
        cls,
        layout: Layout,
        *,
        clock: Clock,
        device_id: str,
        bounds: JournalBounds = DEFAULT_BOUNDS,
    ) -> Self:
        """Open the journal that the supervisor keeps; used by every process but the supervisor.

        Raises:
            DamagedJournalError: it is damaged; the supervisor sets it aside.
            FailedError: ``state.read-only``, ``resource.storage``.
        """
        connection = connect(layout.journal)
        return cls(
            layout=layout, connection=connection, clock=clock, device_id=device_id, bounds=bounds
        )

    @classmethod
    def open_or_restart(
        cls,
        layout: Layout,
        *,
        clock: Clock,
        device_id: str,
        salvage: Callable[[], Mapping[str, object]] = dict,
        bounds: JournalBounds = DEFAULT_BOUNDS,
        unread: int = 0,
    ) -> Self:
        """Open the journal, check it, and begin a new one where it is damaged or missing.

        Every page is checked, and the chain over its newest events; over all of them where
        another process found it damaged before.

        Only the holder of the agent's lock may call this.

        Args:
            layout: the state folder's names.
            clock: the clock port.
            device_id: whose journal it is.
            salvage: what the disk still says about generations and the active link, as members
                of a ``change``; asked only where the journal is lost.
            bounds: how large and how old it may grow.
            unread: at how many openings before this one, in a row, it could not be read.

        Raises:
            UnreadableJournalError: the disk does not give it back.
            FailedError: ``state.read-only``, ``resource.storage``.
        """
        aside: Path | None = None
        damage = ""
        try:
            journal = cls._open_twice(layout, clock=clock, device_id=device_id, bounds=bounds)
        except DamagedJournalError as error:
            if unread < MOST_UNREAD:
                refuse_if_unreadable(layout.journal)
            damage = error.found
            stamp = clock.now().strftime("%Y%m%dT%H%M%SZ")
            aside = set_aside(layout.journal, stamp=stamp)
            journal = cls.open(layout, clock=clock, device_id=device_id, bounds=bounds)
        journal.begin(aside=aside, damage=damage, salvage=salvage)
        return journal

    @classmethod
    def _open_twice(
        cls, layout: Layout, *, clock: Clock, device_id: str, bounds: JournalBounds
    ) -> Self:
        """Open it and check it; damage is what is found at a second look as well.

        Raises:
            DamagedJournalError: it is damaged, or the disk failed twice.
            FailedError: ``state.read-only``, ``resource.storage``.
        """
        # SQLite finds damage, too, where the disk failed to answer once.
        with contextlib.suppress(DamagedJournalError):
            return cls._open_whole(layout, clock=clock, device_id=device_id, bounds=bounds)
        return cls._open_whole(layout, clock=clock, device_id=device_id, bounds=bounds)

    @classmethod
    def _open_whole(
        cls, layout: Layout, *, clock: Clock, device_id: str, bounds: JournalBounds
    ) -> Self:
        journal = cls.open(layout, clock=clock, device_id=device_id, bounds=bounds)
        try:
            journal.check()
            journal.clear_problem(DAMAGE_TOPIC)
            let_it_shrink(journal._connection)  # noqa: SLF001 - its own class
        except PrimumError:
            journal.close()
            raise
        return journal

    @classmethod
    def open_to_read(cls, layout: Layout, *, clock: Clock, device_id: str = "") -> Self:
        """Open the journal for looking only, also on a read-only disk.

        Raises:
            DamagedJournalError: it is damaged.
            FailedError: it is not there or may not be read.
        """
        connection = connect_to_read(layout.journal)
        return cls(layout=layout, connection=connection, clock=clock, device_id=device_id)

    # Appending

    def record(self, entry: Entry) -> Recorded:
        """Append one event, take the step it reports, and store the state they add up to.

        Raises:
            UnlistedStimulusError: the state table has no such step; nothing was changed.
            FailedError: ``resource.storage``, ``state.read-only``; nothing was changed.
            BusyError: the other appender holds the journal too long.
        """
        with self._writing():
            recorded = self._append(entry)
        if {"counterFloor", "fault", "forgiven", "stopped"} & set(entry.change):
            self._keep_floors()
        return recorded

    def change_key(
        self, entry: Entry, *, sign: Callable[[Recorded], bytes], **counters: str
    ) -> Recorded:
        """Append the event that changes the device's key, and the former key's head over it.

        Event, head, proof and counters commit together: after a cut the device has the former
        key or the next one, and the chain says which.

        Args:
            entry: the event.
            sign: makes the head, with the key that signed until now.
            counters: small values that go with it; an underscore stands for a dash.

        Raises:
            PrimumError: whatever ``sign`` raises, and see :meth:`record`; nothing was changed.
        """
        with self._writing():
            recorded = self._append(entry)
            head = sign(recorded)
            self._connection.execute(
                "INSERT INTO heads (sequence, line) VALUES (?, ?)", (recorded.sequence, head)
            )
            kept = [*json.loads(self.counter(KEY_PROOFS, "[]"))]
            kept.append([str(recorded.sequence), recorded.line.decode(), head.decode()])
            for name, value in {**counters, "key_proofs": json.dumps(kept)}.items():
                self._set_counter(name.replace("_", "-"), value)
        self._keep_floors()
        return recorded

    def _append(self, entry: Entry, *, sequence: int | None = None) -> Recorded:
        last, previous = self.head()
        number = sequence if sequence is not None else last + 1
        state = self.state()
        data: dict[str, object] = {
            "prevEventHash": previous,
            "bootCount": int(self.counter("boots", "0")),
            "clock": {"quality": str(self._clock.quality())},
            "agentVersion": AGENT_VERSION,
            "state": str(state.lifecycle),
        }
        if entry.stimulus is not None:
            target = step(state.lifecycle, entry.stimulus)
            data |= {
                "stimulus": str(entry.stimulus),
                "from": str(state.lifecycle),
                "to": str(target),
                "state": str(target),
            }
        parts = {
            "attempt": entry.attempt,
            "result": entry.result,
            "reasons": list(entry.reasons),
            "change": dict(entry.change),
            "detail": dict(entry.detail),
            "shadow": dict(entry.shadow),
            "monitor": dict(entry.monitor),
            "feedback": dict(entry.feedback),
        }
        data |= {name: value for name, value in parts.items() if value}
        # The event is folded as it will be read again, so that a replay cannot differ.
        folded = fold(state, json.loads(json.dumps(data)))
        used = folded.in_use
        if used is not None:
            data["activeManifest"] = used.release
            data["eligibility"] = {"digest": used.statement, "number": used.statement_number}
        recorded = write_event(
            entry,
            device_id=self._device_id,
            sequence=number,
            recorded=self._clock.now(),
            data=data,
        )
        self._reserve(number)
        write_mark(self._layout.journal_mark, number)
        self._connection.execute(
            "INSERT INTO events (sequence, line, hash) VALUES (?, ?, ?)",
            (number, recorded.line, recorded.hash),
        )
        self._connection.execute(
            "INSERT INTO state (id, text) VALUES (1, ?) "
            "ON CONFLICT (id) DO UPDATE SET text = excluded.text",
            (folded.to_json(),),
        )
        self._set_counter(STATE_DIGEST, sha256(folded.to_json().encode()).hexdigest())
        return recorded

    def check(self, *, whole: bool = False) -> None:
        """Read every page once, and check the chain over its newest events.

        Args:
            whole: check the chain over all events, and the stored state against their sum.

        Raises:
            DamagedJournalError: a page, an index, an event, a signed head or checkpoint, or the
                stored state is wrong, or the newest events are gone.
        """
        path = self._layout.journal
        # Read first: whoever appends meanwhile writes the mark before the event.
        mark = read_mark(self._layout.journal_mark)
        check(self._connection, path)
        with self._looking():
            whole = whole or any(item.topic == DAMAGE_TOPIC for item in self.problems())
            fault = fault_in_chain(self._connection, last=None if whole else TAIL_EVENTS)
            last = self.last_sequence()
            # A cut between mark and commit leaves the mark one ahead; an empty journal is new.
            if not fault and 0 < last < mark - 1:
                fault = f"the events after {last} are gone, {mark} was recorded"
            if not fault and self._state_was_changed():
                fault = "the stored state was changed"
            if not fault and whole and self.state() != self.replayed():
                fault = "the stored state is not what the events add up to"
            if fault:
                raise damaged(path, fault)
            self.state()

    def _state_was_changed(self) -> bool:
        """Whether the stored state is another than the last event left."""
        row = self._connection.execute("SELECT text FROM state").fetchone()
        digest = self.counter(STATE_DIGEST, "")
        return digest != "" and (row is None or sha256(row[0].encode()).hexdigest() != digest)

    def note_damage(self, error: DamagedJournalError) -> None:
        """Remember damage that this process may not set aside; the next start checks all."""
        self.note_problem(topic=DAMAGE_TOPIC, what=str(error.reason), text=error.for_people())

    def begin(
        self, *, aside: Path | None, damage: str, salvage: Callable[[], Mapping[str, object]]
    ) -> None:
        """Count the boot, and write the first event of an empty journal.

        Args:
            aside: where a damaged journal was set aside, if one was.
            damage: what was wrong with it.
            salvage: see :meth:`open_or_restart`.
        """
        boot = self._clock.boot_id()
        if self.counter("boot", "") != boot:
            self.set_counters(boot=boot, boots=str(int(self.counter("boots", "0")) + 1))
        if self.last_sequence() == 0:
            self._write_first(aside=aside, damage=damage, salvage=salvage)
        self._keep_floors()

    def _write_first(
        self, *, aside: Path | None, damage: str, salvage: Callable[[], Mapping[str, object]]
    ) -> None:
        """The first event; after a loss it continues above every number ever used."""
        floors = read_floors(self._layout.floors)
        mark = read_mark(self._layout.journal_mark)
        if floors is None and aside is None and mark == 0:
            self.record(Entry(kind=EventKind.JOURNAL_BEGUN))
            return
        floors = floors or Floors()
        first = max(floors.first_unused, mark + 1)
        change: dict[str, object] = {"counterFloor": floors.counter, **salvage()}
        if floors.faults:
            change["fault"] = dict(floors.faults)
        if floors.stopped:
            change["stopped"] = floors.stopped
        gap: dict[str, object] = {
            "firstUnused": first,
            "lastRecorded": mark,
            "damage": damage or "the journal is gone",
        }
        if aside is not None:
            gap["setAside"] = aside.name
        with self._writing():
            self._set_counter("context-floor", str(floors.context))
            self._set_counter(TRUST_MAP_FLOOR, str(floors.trust_map))
            self._set_counter("boots", str(max(floors.boots, int(self.counter("boots", "0")))))
            for authority, versions in floors.trust.items():
                kept = {"floors": versions, "referenceTime": floors.reference.get(authority)}
                self._connection.execute(
                    "INSERT OR REPLACE INTO trust (authority, kind, name, value) "
                    "VALUES (?, 'floors', '', ?)",
                    (authority, json.dumps(kept).encode()),
                )
            self._append(
                Entry(
                    kind=EventKind.JOURNAL_RESTARTED,
                    result="failed",
                    reasons=(Reason.STATE_DAMAGED,),
                    change=change,
                    detail={"gap": gap},
                ),
                sequence=first,
            )
