"""A short-lived child that signs the journal's newest event and ends: one head for one batch.

The key is in memory only here, so this is also where a checkpoint is signed once events are due to
be pruned: right after a batch was acknowledged.

Usage: ``python -m primum_agent.sign_head --state DIR --device-id ID [--keep-days N …]``
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from primum_agent.checkpointing import prune_and_tell
from primum_agent.clock import Clock, SystemClock, plain_time
from primum_agent.events import Recorded
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds, add_arguments, bounds_of
from primum_agent.key_trouble import (
    is_of_the_key,
    note_key_in_use,
    note_key_trouble,
    note_key_works,
)
from primum_agent.layout import Layout
from primum_agent.signer import Signer, open_device_key
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE
from primum_verifier.core.errors import PrimumError

HEAD_TYPE = "urn:primum:chain-head:v0.1"


def sign_head(journal: Journal, *, signer: Signer, device_id: str, clock: Clock) -> int:
    """Sign the newest event, unless a head covers it already.

    Returns:
        The sequence number that is now covered.
    """
    sequence, found = journal.head()
    if sequence > journal.last_head():
        line = head_over(
            Recorded(sequence, b"", found), signer=signer, device_id=device_id, clock=clock
        )
        journal.add_head(sequence=sequence, line=line, key=signer.public_key().key_id)
    return sequence


def head_over(event: Recorded, *, signer: Signer, device_id: str, clock: Clock) -> bytes:
    """A signed head over one event, as one line."""
    payload = canonical_json(
        {
            "type": HEAD_TYPE,
            "deviceId": device_id,
            "sequence": event.sequence,
            "eventHash": event.hash,
            "signedAt": plain_time(clock.now()),
            "clockQuality": str(clock.quality()),
        }
    )
    return signer.envelope(payload, payload_type=HEAD_PAYLOAD_TYPE)


def main() -> int:
    """Sign once; the exit code follows the one table."""
    parser = argparse.ArgumentParser(description="Sign the newest event of a journal.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--device-id", required=True)
    add_arguments(parser)
    arguments = parser.parse_args()
    return sign_newest(
        Layout(arguments.state),
        device_id=arguments.device_id,
        bounds=bounds_of(arguments),
        clock=SystemClock(),
    )


def sign_newest(layout: Layout, *, device_id: str, bounds: JournalBounds, clock: Clock) -> int:
    """Open the journal, sign, and say on standard error what stood in the way.

    Args:
        layout: the state folder's names.
        device_id: whose journal it is.
        bounds: how large and how old it may grow.
        clock: the clock port.

    Returns:
        An exit code of the one table.
    """
    try:
        journal = Journal.open(layout, clock=clock, device_id=device_id, bounds=bounds)
        try:
            return _sign_and_tell(journal, layout, device_id=device_id, clock=clock)
        finally:
            journal.close()
    except PrimumError as error:
        sys.stderr.write(error.for_people() + "\n")
        return error.exit_code


def _sign_and_tell(journal: Journal, layout: Layout, *, device_id: str, clock: Clock) -> int:
    """Sign; a key that cannot be used is a lasting trouble: told once, and shown by status."""
    try:
        signer = open_device_key(layout)
        sign_head(journal, signer=signer, device_id=device_id, clock=clock)
    except PrimumError as error:
        if not is_of_the_key(error):
            raise
        # Attempts meet the same key; whoever is first tells a person what is wrong with it.
        if note_key_trouble(journal, error):
            sys.stderr.write(error.for_people() + "\n")
        return error.exit_code
    if note_key_works(journal) or note_key_in_use(journal, signer):
        sign_head(journal, signer=signer, device_id=device_id, clock=clock)
    prune_and_tell(journal, signer=signer, device_id=device_id, clock=clock)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
