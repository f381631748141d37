"""Emptying the journal of what happened, and keeping what guards against an old release.

Used by a reset alone, while no supervisor runs.  What is kept is a list by name: whatever a later
agent stores besides is forgotten by default, for it may name a patient.
"""

from __future__ import annotations

from primum_agent.journal_chain import Checkpoint
from primum_agent.journal_checkpoints import JournalCheckpoints
from primum_agent.journal_schema import database_errors
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

GUARDS = (
    # What may never fall.
    "context-floor",
    "trust-map-floor",
    "trust-map",
    "plan-number",
    # Proven time.
    "issued-engineering",
    "issued-clinical",
    "list-issued",
    "powered-total",
    "powered-boot",
    "powered-mark",
    "boot",
    "boots",
    # Notices and holds that were met; what is suspended stays suspended.
    "seen-holds",
    "equivocations-told",
    "suspended",
    # What the chain goes on from.
    "state-digest",
)
"""The counters that every reset keeps."""

OF_THE_KEY = ("trusted-context", "key-proofs", "key-in-use")
"""Those that go with the key: kept as long as the device has it."""


class JournalForgetting(JournalCheckpoints):
    """What a reset does, over one open database."""

    def forget(self, checkpoint: Checkpoint, *, line: bytes, key: str) -> None:
        """Put a signed checkpoint in the place of all events but the newest, sent or not.

        Args:
            checkpoint: as drafted, up to the event before the newest.
            line: the same, signed.
            key: the id of the key that signed it.

        Raises:
            BusyError: ``key.changed``.
            FailedError: the storage did not take it; nothing was changed.
        """
        with self._writing():
            self._refuse_former(key)
            self._forget_up_to(checkpoint.sequence, keep=(*GUARDS, *OF_THE_KEY))
            self._connection.execute(
                "INSERT INTO checkpoints (sequence, hash, first_sequence, state, line) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    checkpoint.sequence,
                    checkpoint.hash,
                    checkpoint.first_sequence,
                    checkpoint.state,
                    line,
                ),
            )

    def forget_everything(self) -> None:
        """Forget every event and the state: what comes next begins anew above every number.

        Raises:
            FailedError: the storage did not take it; nothing was changed.
        """
        with self._writing():
            last = self.last_sequence()
            self._forget_up_to(last, keep=GUARDS)
            self._connection.execute("DELETE FROM state")
        self.leave_no_trace()

    def _forget_up_to(self, sequence: int, *, keep: tuple[str, ...]) -> None:
        self._connection.execute("DELETE FROM events WHERE sequence <= ?", (sequence,))
        self._connection.execute("DELETE FROM heads WHERE sequence <= ?", (sequence,))
        for table in ("checkpoints", "verdicts", "problems", "telemetry"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our names
        marks = ", ".join("?" * len(keep))
        self._connection.execute(f"DELETE FROM counters WHERE name NOT IN ({marks})", keep)  # noqa: S608

    def leave_no_trace(self) -> None:
        """Write the database anew, so that nothing forgotten lies in its free pages or its log.

        Raises:
            FailedError: the storage did not take it, or somebody reads; nothing else was changed.
        """
        with database_errors(self._layout.journal):
            self._connection.execute("VACUUM")
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise FailedError(
                "Somebody reads the journal that is to be emptied.",
                reason=Reason.STATE_BUSY,
                where=str(self._layout.journal),
                remedy="End what reads it, then give the command again.",
            )
