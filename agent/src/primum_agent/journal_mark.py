"""The number of the newest event, kept beside the database, so that a lost tail is noticed.

A database whose write-ahead log was deleted, or an older copy of it put back, is whole in itself.
The mark is written in place, before the event it names is committed: a cut between the two leaves
it one ahead, and anything more is a loss.  Two slots are written in turn, so that a torn write
leaves the other.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from primum_agent.durable import disk_errors, sync_folder

_SLOT_BYTES = 64
_DIGITS = 20


def _slot(number: int) -> bytes:
    text = f"{number:0{_DIGITS}d}"
    check = hashlib.sha256(text.encode()).hexdigest()
    return f"{text} {check}"[: _SLOT_BYTES - 1].encode() + b"\n"


def _number(slot: bytes) -> int:
    """The number in a slot; 0 when it is torn or empty."""
    digits = slot[:_DIGITS]
    if not digits.isdigit() or _slot(int(digits)) != slot:
        return 0
    return int(digits)


def _slots(path: Path) -> list[int]:
    try:
        with path.open("rb") as file:
            return [_number(file.read(_SLOT_BYTES)) for _ in range(2)]
    except OSError:
        return [0, 0]


def read_mark(path: Path) -> int:
    """The highest number that was about to be recorded; 0 when the mark says nothing."""
    return max(_slots(path))


def write_mark(path: Path, number: int) -> None:
    """Let the mark name ``number``, durably; the slot that names the newest before it stays.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``.
    """
    slots = _slots(path)
    place = slots.index(min(slots))
    with disk_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fresh = os.fstat(descriptor).st_size == 0
            os.pwrite(descriptor, _slot(number), place * _SLOT_BYTES)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(path.parent)
