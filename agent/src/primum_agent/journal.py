"""The journal: events appended and chained, the present state as their sum, the outbox.

Every append goes through :meth:`Journal.record`. It reads the head inside the writing
transaction, so that supervisor and attempt can both append without ever forking the chain; and
the step of the state table, the event and the new state commit together or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from primum_agent.clock import Clock
from primum_agent.device_state import DeviceState, fold
from primum_agent.events import FIRST_HASH, Entry, EventKind, Recorded, write_event
from primum_agent.floors import SEQUENCE_RESERVE, Floors, read_floors, write_floors
from primum_agent.journal_outbox import JournalOutbox
from primum_agent.journal_schema import (
    DamagedJournalError,
    check,
    connect,
    connect_to_read,
    database_errors,
    set_aside,
)
from primum_agent.layout import Layout
from primum_agent.lifecycle import step
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.reasons import Reason

AGENT_VERSION = "0.1.0"

TRUST_MAP_FLOOR = "trust-map-floor"
"""The counter below which no trust map is taken again."""


class Journal(JournalOutbox):
    """One open journal.

    Args:
        layout: the state folder's names.
        connection: the open database, owned by the journal.
        clock: the clock port.
        device_id: whose journal it is.
    """

    def __init__(
        self, *, layout: Layout, connection: sqlite3.Connection, clock: Clock, device_id: str
    ) -> None:
        super().__init__(layout=layout, connection=connection, clock=clock)
        self._device_id = device_id
        self._unused: int | None = None

    @classmethod
    def open(cls, layout: Layout, *, clock: Clock, device_id: str) -> Self:
        """Open the journal that the supervisor keeps; used by every process but the supervisor.

        Raises:
            DamagedJournalError: it is damaged; the supervisor sets it aside.
            FailedError: ``state.read-only``, ``resource.storage``.
        """
        connection = connect(layout.journal)
        return cls(layout=layout, connection=connection, clock=clock, device_id=device_id)

    @classmethod
    def open_or_restart(
        cls,
        layout: Layout,
        *,
        clock: Clock,
        device_id: str,
        salvage: Callable[[], Mapping[str, object]] = dict,
    ) -> Self:
        """Open the journal, check it whole, and begin a new one where it is damaged or missing.

        Only the holder of the agent's lock may call this.

        Args:
            layout: the state folder's names.
            clock: the clock port.
            device_id: whose journal it is.
            salvage: what the disk still says about generations and the active link, as members
                of a ``change``; asked only where the journal is lost.

        Raises:
            FailedError: ``state.read-only``, ``resource.storage``.
        """
        aside: Path | None = None
        damage = ""
        try:
            journal = cls.open(layout, clock=clock, device_id=device_id)
            try:
                journal.check()
            except PrimumError:
                journal.close()
                raise
        except DamagedJournalError as error:
            damage = error.found
            stamp = clock.now().strftime("%Y%m%dT%H%M%SZ")
            aside = set_aside(layout.journal, stamp=stamp)
            journal = cls.open(layout, clock=clock, device_id=device_id)
        journal.begin(aside=aside, damage=damage, salvage=salvage)
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
        if {"counterFloor", "fault", "forgiven"} & set(entry.change):
            self._keep_floors()
        return recorded

    def _append(self, entry: Entry, *, sequence: int | None = None) -> Recorded:
        head = self._connection.execute(
            "SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        last, previous = head if head is not None else (0, FIRST_HASH)
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
        self._connection.execute(
            "INSERT INTO events (sequence, line, hash) VALUES (?, ?, ?)",
            (number, recorded.line, recorded.hash),
        )
        self._connection.execute(
            "INSERT INTO state (id, text) VALUES (1, ?) "
            "ON CONFLICT (id) DO UPDATE SET text = excluded.text",
            (folded.to_json(),),
        )
        return recorded

    def check(self) -> None:
        """Read the whole database once.

        Raises:
            DamagedJournalError: a page, an index or the stored state is wrong.
        """
        check(self._connection, self._layout.journal)
        self.state()

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
        if floors is None and aside is None:
            self.record(Entry(kind=EventKind.JOURNAL_BEGUN))
            return
        floors = floors or Floors()
        change: dict[str, object] = {"counterFloor": floors.counter, **salvage()}
        if floors.faults:
            change["fault"] = dict(floors.faults)
        gap: dict[str, object] = {"firstUnused": floors.first_unused, "damage": damage}
        if aside is not None:
            gap["setAside"] = aside.name
        with self._writing():
            self._set_counter("context-floor", str(floors.context))
            self._set_counter(TRUST_MAP_FLOOR, str(floors.trust_map))
            self._set_counter("boots", str(max(floors.boots, int(self.counter("boots", "0")))))
            for authority, versions in floors.trust.items():
                kept = {"floors": versions, "referenceTime": floors.reference.get(authority)}
                self._connection.execute(
                    "INSERT OR REPLACE INTO trust VALUES (?, 'floors', '', ?)",
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
                sequence=floors.first_unused,
            )

    # Looking

    def state(self) -> DeviceState:
        """The present state.

        Raises:
            DamagedJournalError: the stored state cannot be read.
        """
        with database_errors(self._layout.journal):
            row = self._connection.execute("SELECT text FROM state").fetchone()
        if row is None:
            return DeviceState()
        try:
            return DeviceState.from_json(row[0])
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedJournalError(
                "The stored state cannot be read.",
                reason=Reason.STATE_DAMAGED,
                where=str(self._layout.journal),
                found=type(error).__name__,
            ) from error

    def replayed(self) -> DeviceState:
        """The state computed from the events alone; equal to :meth:`state` in a whole journal."""
        state = DeviceState()
        for line in self.events():
            state = fold(state, json.loads(line)["data"])
        return state

    def events(self, *, after: int = 0) -> Iterator[bytes]:
        """The lines of the events, in order."""
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT line FROM events WHERE sequence > ? ORDER BY sequence", (after,)
            )
            for (line,) in rows:
                yield line

    def history(self) -> Iterator[bytes]:
        """Events and signed heads, each head after the event it closes."""
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT line FROM (SELECT sequence, 0 AS kind, line FROM events UNION ALL "
                "SELECT sequence, 1, line FROM heads) ORDER BY sequence, kind"
            )
            for (line,) in rows:
                yield line

    def last_sequence(self) -> int:
        """The number of the newest event; 0 in an empty journal."""
        with database_errors(self._layout.journal):
            row = self._connection.execute("SELECT max(sequence) FROM events").fetchone()
        return int(row[0] or 0)

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest event."""
        with database_errors(self._layout.journal):
            row = self._connection.execute(
                "SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return (0, FIRST_HASH) if row is None else (int(row[0]), str(row[1]))

    # Floors that the small tables raise

    def raise_context_floor(self, number: int) -> None:
        """Remember the highest device context number that was accepted."""
        if number > int(self.counter("context-floor", "0")):
            self.set_counters(context_floor=str(number))
            self._keep_floors()

    def raise_trust_map_floor(self, number: int) -> None:
        """Remember the newest trust map that was in force.

        Raises:
            RefusedError: ``trust.rollback``: this one is older.
        """
        floor = int(self.counter(TRUST_MAP_FLOOR, "0"))
        if number < floor:
            raise RefusedError(
                "The trust map is older than one that was in force on this device.",
                reason=Reason.TRUST_ROLLBACK,
                where="trust-map.json",
                found=f"number {number}",
                expected=f"number {floor} or higher",
                remedy="Put the newest trust map and its roots back; what runs keeps running.",
            )
        if number > floor:
            self.set_counters(trust_map_floor=str(number))
            self._keep_floors()

    def replace_trust(self, authority: str, rows: list[tuple[str, str, bytes]]) -> None:
        """Store the set of one authority instead of what was there, in one transaction."""
        with self._writing():
            self._connection.execute("DELETE FROM trust WHERE authority = ?", (authority,))
            self._connection.executemany(
                "INSERT INTO trust VALUES (?, ?, ?, ?)",
                [(authority, kind, name, value) for kind, name, value in rows],
            )
        self._keep_floors()

    # Inside

    def _reserve(self, number: int) -> None:
        """Keep the copy's unused number above every number used, before it is used."""
        if self._unused is None:
            found = read_floors(self._layout.floors)
            self._unused = 0 if found is None else found.first_unused
        if number >= self._unused:
            self._write_floors(first_unused=number + SEQUENCE_RESERVE)

    def _keep_floors(self) -> None:
        self._write_floors(first_unused=None)

    def _write_floors(self, *, first_unused: int | None) -> None:
        old = read_floors(self._layout.floors) or Floors()
        state = self.state()
        trust: dict[str, Mapping[str, int]] = dict(old.trust)
        reference = dict(old.reference)
        rows = self._connection.execute("SELECT authority, value FROM trust WHERE kind = 'floors'")
        for authority, value in rows:
            content = json.loads(value)
            trust[authority] = content["floors"]
            reference[authority] = content["referenceTime"] or ""
        fresh = dataclasses.replace(
            old,
            first_unused=max(old.first_unused, first_unused or 0),
            counter=max(old.counter, state.counter_floor),
            context=max(old.context, int(self.counter("context-floor", "0"))),
            trust_map=max(old.trust_map, int(self.counter(TRUST_MAP_FLOOR, "0"))),
            boots=max(old.boots, int(self.counter("boots", "0"))),
            faults=dict(state.faults),
            trust=trust,
            reference=reference,
        )
        self._unused = fresh.first_unused
        if fresh != old:
            write_floors(self._layout.floors, fresh)
