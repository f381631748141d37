"""What must never fall, raised together with the small tables, and copied beside the journal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from primum_agent.floors import SEQUENCE_RESERVE, Floors, read_floors, write_floors
from primum_agent.journal_reading import JournalReading
from primum_agent.journal_schema import database_errors
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

TRUST_MAP_FLOOR = "trust-map-floor"
"""The counter below which no trust map is taken again."""


class JournalFloors(JournalReading):
    """The floors, over one open database."""

    _unused: int | None = None

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
                "INSERT INTO trust (authority, kind, name, value) VALUES (?, ?, ?, ?)",
                [(authority, kind, name, value) for kind, name, value in rows],
            )
        self._keep_floors()

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
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT authority, value FROM trust WHERE kind = 'floors'"
            ).fetchall()
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
            stopped=state.stopped,
            trust=trust,
            reference=reference,
        )
        self._unused = fresh.first_unused
        if fresh != old:
            write_floors(self._layout.floors, fresh)
