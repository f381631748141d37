"""Pruning: the oldest events go under a signed checkpoint, in one transaction, and only some may.

Those that the broker acknowledged (where the settings ask for it, that a receiver countersigned),
in one run from the oldest, and only once they are older
than the bound or there are more bytes than the bound: an event that nobody has is never dropped.
The newest event always stays.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from primum_agent.clock import believed
from primum_agent.device_state import DeviceState, fold
from primum_agent.journal_chain import Checkpoint, fault_in_chain, read_checkpoint
from primum_agent.journal_outbox import JournalOutbox
from primum_agent.journal_schema import damaged, database_errors, give_back_space
from primum_agent.receipts import newest_receipt

MAX_PRUNED = 20_000
"""Events pruned at once: a transaction that the other appender does not wait long for."""

_ROW_BYTES = 120  # number, hash and index entry of one event, besides its line


class JournalCheckpoints(JournalOutbox):
    """What was pruned and what may be, over one open database."""

    def prunable_to(self) -> int:
        """The newest event that may and should be pruned now; 0 while nothing should be."""
        with database_errors(self._layout.journal):
            first, last = self._connection.execute(
                "SELECT min(sequence), max(sequence) FROM events"
            ).fetchone()
            (unsent,) = self._connection.execute(
                "SELECT min(sequence) FROM events WHERE acked = 0"
            ).fetchone()
        if first is None:
            return 0
        sent = last if unsent is None else unsent - 1
        if self._bounds.wait_for_receipt:
            receipt = newest_receipt(self)
            sent = min(sent, 0 if receipt is None else receipt.sequence)
        at_most = min(sent, last - 1, first + MAX_PRUNED - 1)
        if at_most < first:
            return 0
        by_age = self._older_than_bound(min(at_most, last - self._bounds.keep_events))
        found = max(by_age, self._beyond_size(at_most))
        return found if found >= first else 0

    def _beyond_size(self, at_most: int) -> int:
        """The newest event to prune so that the database is well below its bound; 0 for none."""
        used, found = self.used_bytes(), 0
        if used <= self._bounds.prune_above:
            return 0
        with database_errors(self._layout.journal):
            for sequence, length in self._connection.execute(
                "SELECT sequence, length(line) FROM events WHERE sequence <= ? ORDER BY sequence",
                (at_most,),
            ):
                if used <= self._bounds.prune_down_to:
                    break
                used, found = used - length - _ROW_BYTES, sequence
        return found

    def _older_than_bound(self, at_most: int) -> int:
        """The newest of the oldest events that are all older than the bound; 0 for none.

        A clock that was never set says nothing about age.
        """
        now = believed(self._clock)
        if now is None:
            return 0
        late, found = now - timedelta(days=self._bounds.late_days), 0
        limit = now - timedelta(days=self._bounds.keep_days)
        for line in self.events():
            event = json.loads(line)
            recorded = datetime.fromisoformat(event["recordedtime"])
            if int(event["sequence"]) > at_most or recorded > (limit if found else late):
                break
            found = int(event["sequence"])
        return found

    def draft_checkpoint(self, upto: int) -> Checkpoint:
        """What the events up to this one add up to; the chain up to it is checked again.

        Raises:
            DamagedJournalError: an event is not what was recorded: nothing is signed over it.
        """
        with self._looking():
            fault = fault_in_chain(self._connection)
            if fault:
                raise damaged(self._layout.journal, fault)
            before = read_checkpoint(self._connection)
            rows = self._connection.execute(
                "SELECT sequence, line, hash FROM events WHERE sequence <= ? ORDER BY sequence",
                (upto,),
            )
            state = DeviceState() if before is None else DeviceState.from_json(before.state)
            first = 0 if before is None else before.first_sequence
            sequence, found = 0, ""
            for sequence, line, found in rows:  # noqa: B007 - the last ones are what is drafted
                state = fold(state, json.loads(line)["data"])
                first = first or sequence
        return Checkpoint(sequence, found, first, state.to_json())

    def prune(self, checkpoint: Checkpoint, *, line: bytes, key: str) -> int:
        """Put a signed checkpoint in the place of the events that it covers.

        Args:
            checkpoint: as drafted.
            line: the same, signed.
            key: the id of the key that signed it.

        Raises:
            BusyError: ``key.changed``: the device has another key since it was signed.

        Returns:
            How many events were pruned; 0 where one of them was not acknowledged after all.
        """
        upto = checkpoint.sequence
        with self._writing():
            self._refuse_former(key)
            unsent, covered = self._connection.execute(
                "SELECT (SELECT count(*) FROM events WHERE sequence <= ? AND acked = 0), "
                "(SELECT count(*) FROM events WHERE sequence = ? AND hash = ?)",
                (upto, upto, checkpoint.hash),
            ).fetchone()
            if unsent or not covered:
                return 0
            self._connection.execute("DELETE FROM checkpoints")
            self._connection.execute(
                "INSERT INTO checkpoints (sequence, hash, first_sequence, state, line) "
                "VALUES (?, ?, ?, ?, ?)",
                (upto, checkpoint.hash, checkpoint.first_sequence, checkpoint.state, line),
            )
            pruned = self._connection.execute(
                "DELETE FROM events WHERE sequence <= ?", (upto,)
            ).rowcount
            # A head that waits for the broker stays: it is not sent yet.
            self._connection.execute("DELETE FROM heads WHERE sequence <= ? AND acked = 1", (upto,))
        give_back_space(self._connection)
        return pruned
