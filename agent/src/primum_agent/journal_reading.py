"""Looking into the journal: the present state, the events, and where they begin and end."""

from __future__ import annotations

import json
from collections.abc import Iterator

from primum_agent.device_state import DeviceState, fold
from primum_agent.events import FIRST_HASH
from primum_agent.journal_chain import Checkpoint, read_checkpoint
from primum_agent.journal_migrations import NEWEST, generation_of
from primum_agent.journal_schema import damaged, database_errors, used_bytes
from primum_agent.journal_tables import JournalTables
from primum_agent.receipts import kept_receipts
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

KEY_PROOFS = "key-proofs"
"""The counter that keeps, as JSON, what proves each change of the device's key."""


class JournalReading(JournalTables):
    """What the journal holds, over one open database."""

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
            raise self._unreadable(type(error).__name__) from error

    def _unreadable(self, found: str) -> FailedError:
        """A state that cannot be read is damaged, unless an agent ahead of this one wrote it."""
        generation = generation_of(self._connection)
        if generation > NEWEST:
            return FailedError(
                "The stored state is one that only a newer agent knows.",
                reason=Reason.STATE_DAMAGED,
                where=str(self._layout.journal),
                found=f"{found}, generation {generation}",
                expected=f"generation {NEWEST}",
                remedy="Run the agent that wrote it; updates do not start, what runs keeps "
                "running.",
            )
        return damaged(self._layout.journal, f"the stored state: {found}")

    def replayed(self) -> DeviceState:
        """The state computed from checkpoint and events; that of :meth:`state` in a whole journal.

        Raises:
            DamagedJournalError: the checkpoint or an event cannot be read.
        """
        pruned = self.checkpoint()
        try:
            state = DeviceState() if pruned is None else DeviceState.from_json(pruned.state)
            return self._sum_from(state)
        except (ValueError, TypeError, KeyError) as error:
            raise self._unreadable(type(error).__name__) from error

    def _sum_from(self, state: DeviceState) -> DeviceState:
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
        """The checkpoint, events, each signed head after the event it closes, and the receipts.

        What proves a change of the device's key goes before them once its event was pruned.
        """
        with self._looking():
            pruned = self.checkpoint()
            for sequence, event, head in self.key_proofs():
                if pruned is not None and sequence <= pruned.sequence:
                    yield event
                    yield head
            rows = self._connection.execute(
                "SELECT line FROM (SELECT sequence, 0 AS kind, line FROM events UNION ALL "
                "SELECT sequence, 1, line FROM heads UNION ALL "
                "SELECT sequence, 2, line FROM checkpoints) ORDER BY sequence, kind"
            )
            for (line,) in rows:
                yield line
            for receipt in kept_receipts(self):
                yield receipt.line.encode()

    def digest_of(self, sequence: int) -> str | None:
        """The hash of an event that is here, or that a checkpoint ends with; None else."""
        with database_errors(self._layout.journal):
            row = self._connection.execute(
                "SELECT hash FROM events WHERE sequence = ? "
                "UNION ALL SELECT hash FROM checkpoints WHERE sequence = ?",
                (sequence, sequence),
            ).fetchone()
        return None if row is None else str(row[0])

    def key_proofs(self) -> list[tuple[int, bytes, bytes]]:
        """Each change of the device's key: its event's number, the event, the head over it.

        They are kept for ever: who knows the device by its first key follows it by them.
        """
        kept: list[list[str]] = json.loads(self.counter(KEY_PROOFS, "[]"))
        return [(int(number), event.encode(), head.encode()) for number, event, head in kept]

    def last_sequence(self) -> int:
        """The number of the newest event; 0 in an empty journal."""
        with database_errors(self._layout.journal):
            row = self._connection.execute("SELECT max(sequence) FROM events").fetchone()
        return int(row[0] or 0)

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest event; the newest is never pruned."""
        with database_errors(self._layout.journal):
            row = self._connection.execute(
                "SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return (0, FIRST_HASH) if row is None else (int(row[0]), str(row[1]))

    def checkpoint(self) -> Checkpoint | None:
        """Where the journal begins since it was pruned; None when nothing ever was."""
        with database_errors(self._layout.journal):
            return read_checkpoint(self._connection)

    def used_bytes(self) -> int:
        """Bytes of the database in use."""
        with database_errors(self._layout.journal):
            return used_bytes(self._connection)

    def is_full(self) -> bool:
        """Whether the journal is at its bound, because nobody acknowledged enough to be pruned.

        No new update is begun then; what runs goes on, and what is taken away is recorded.
        """
        return self.used_bytes() > self._bounds.max_bytes
