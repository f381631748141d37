"""A short-lived child that looks at what came as receipts, and keeps those that are some.

A receipt counts if a receiver signed it that the trust map in force names, for this device and its
fleet.  One over an event that this journal holds otherwise, or does not hold any more, is kept as
evidence and is a lasting trouble: somebody else reports under this device's key, or an older copy
of its journal was put back.

Usage: ``python -m primum_agent.take_receipts --state DIR --device-id ID --fleet F --trust-map MAP``
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.receipts import MAX_RECEIPT_BYTES, MOST_WAITING, TOPIC, Kept, keep_receipts
from primum_agent.trust_in_force import read_provisioned
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.receipt import ChainReceipt, open_receipt, read_receipt

_TEXT = (
    "A receiver countersigned event {number} of this device as {theirs}; {ours}. Somebody else "
    "reports under this device's key, or an older copy of its journal was put back."
)


def take(
    journal: Journal,
    lines: Iterable[bytes],
    *,
    receivers: Iterable[PublicKey],
    fleet: str,
    device_id: str,
) -> tuple[Kept, ...]:
    """Keep the receipts among these lines; what is none is left.

    Args:
        journal: the open journal.
        lines: what came.
        receivers: the keys that the trust map names.
        fleet: the fleet that the device reports to.
        device_id: the device.

    Returns:
        Those that were kept, and those that contradict the journal.
    """
    known = tuple(receivers)
    taken = []
    for line in lines:
        try:
            found = open_receipt(
                line, keys=known, fleet=fleet, device_id=device_id, where="receipt"
            )
        except RefusedError:
            # The channel has no authority: whoever may write to it sends what he likes.
            continue
        agrees = _holds(journal, found)
        if agrees is None:
            continue
        _, signer = read_receipt(line, keys=known, where="receipt")
        key_id = "" if signer is None else signer.key_id
        issued_at = found.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        taken.append(
            Kept(found.sequence, found.event_hash, issued_at, key_id, agrees, line.decode())
        )
    if taken:
        keep_receipts(journal, taken)
    for item in taken:
        if not item.agrees:
            _tell(journal, item)
    return tuple(taken)


def _holds(journal: Journal, receipt: ChainReceipt) -> bool | None:
    """Whether the journal holds that very event; None where it cannot tell any more."""
    if receipt.sequence > journal.last_sequence():
        return False
    digest = journal.digest_of(receipt.sequence)
    return None if digest is None else digest == receipt.event_hash


def _tell(journal: Journal, item: Kept) -> None:
    last = journal.last_sequence()
    ours = f"here it is another, or none: the journal ends at {last}"
    journal.note_problem(
        topic=TOPIC,
        what=f"{Reason.TRUST_EQUIVOCATION}: event {item.sequence}",
        text=_TEXT.format(number=item.sequence, theirs=item.hash[:16], ours=ours),
    )


def main() -> int:
    """Look once; the exit code follows the one table."""
    parser = argparse.ArgumentParser(description="Keep receipts of a receiver.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--device-id", required=True)
    parser.add_argument("--fleet", required=True)
    parser.add_argument("--trust-map", type=Path, required=True)
    arguments = parser.parse_args()
    layout = Layout(arguments.state)
    try:
        path = arguments.trust_map
        trust_map = parse_document(TrustMap, read_provisioned(path), where=str(path))
        journal = Journal.open(layout, clock=SystemClock(), device_id=arguments.device_id)
        try:
            take(
                journal,
                read_waiting(layout),
                receivers=trust_map.receivers,
                fleet=arguments.fleet,
                device_id=arguments.device_id,
            )
        finally:
            journal.close()
    except PrimumError as error:
        sys.stderr.write(error.for_people() + "\n")
        return error.exit_code
    return os.EX_OK


def read_waiting(layout: Layout) -> list[bytes]:
    """What the supervisor set aside for this look."""
    try:
        with layout.arrived_receipts.open("rb") as stream:
            data = stream.read(MOST_WAITING * (MAX_RECEIPT_BYTES + 1))
    except OSError:
        return []
    return data.splitlines()


if __name__ == "__main__":
    sys.exit(main())
