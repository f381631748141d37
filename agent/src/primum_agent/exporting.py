"""The journal in a folder, for those who cannot be reached by a broker: proven by its files alone.

One folder for each device, so that one stick serves many: the events with their signed heads and
checkpoint, the device's public key, its enrolment, its signed context where it is provisioned, and
its signed statements on self-tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from primum_agent.attesting import statements
from primum_agent.clock import SystemClock
from primum_agent.durable import disk_errors, make_folder, write_file
from primum_agent.events import Recorded
from primum_agent.identity import journal_owner
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.sign_head import head_over, sign_head
from primum_agent.signer import open_device_key
from primum_verifier.core.errors import FailedError, PrimumError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.commands.history import EXPORTED_HISTORY

CONTEXT_NAME = "device-context.dsse.json"
"""The signed context in an export, under whatever name it lies on the device."""

_MODE = 0o640


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: the device's own folder on the medium.
        lines: lines of its history: events, heads and the checkpoint.
        proven: whether a signed head covers the newest event.
    """

    folder: Path
    lines: int
    proven: bool


def sign_to_the_end(layout: Layout) -> bytes | None:
    """Let a head cover the newest event, where the device's key can be used from here.

    Where it cannot (another user, a copy of the folder) the export still says how far it is
    proven.

    Returns:
        A head over that event that was signed just now, for the export alone: it says that
        nothing has followed until now, which a head of long ago does not.
    """
    clock = SystemClock()
    device_id = journal_owner(layout)
    if device_id is None:
        return None
    with contextlib.suppress(PrimumError):
        journal = Journal.open(layout, clock=clock, device_id=device_id)
        try:
            signer = open_device_key(layout)
            sign_head(journal, signer=signer, device_id=device_id, clock=clock)
            sequence, found = journal.head()
            newest = Recorded(sequence, b"", found)
            return head_over(newest, signer=signer, device_id=device_id, clock=clock)
        finally:
            journal.close()
    return None


def write_history(journal: Journal, path: Path, *, seal: bytes | None) -> int:
    """Write the history as JSON lines, read while it is written; how many lines.

    Args:
        journal: the open journal.
        path: the file.
        seal: a head that stands in no journal; None for none.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; what was there stands.
    """
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for line in journal.history():
            count += 1
            yield line + b"\n"
        if seal is not None:
            count += 1
            yield seal + b"\n"

    write_file(path, lines(), mode=_MODE)
    return count


def check_medium(medium: Path) -> None:
    """Refuse to export to what is no folder.

    Raises:
        UsageError: there is no such folder.
    """
    if not medium.is_dir():
        raise UsageError(
            "There is no such folder to export to.",
            reason=Reason.USAGE,
            where=str(medium),
            remedy="Mount the stick, or make the folder first.",
        )


def export(layout: Layout, medium: Path, *, context: Path | None) -> Exported:
    """Export to a folder or a mounted stick; an earlier export of this device is replaced.

    Args:
        layout: the state folder's names.
        medium: where the device's folder is made.
        context: the signed device context, if it is known.

    Raises:
        UsageError: there is no such folder, or no journal that names its device.
        FailedError: ``resource.storage`` or ``state.read-only``; nothing is half written.
    """
    check_medium(medium)
    seal = sign_to_the_end(layout)
    device_id = journal_owner(layout)
    if device_id is None:
        raise FailedError(
            "There is no journal here that can be read.",
            reason=Reason.STATE_DAMAGED,
            where=str(layout.journal),
            remedy="Look with `primum-agent doctor`; a journal set aside lies beside it.",
        )
    folder = medium / device_id
    make_folder(folder)
    for path in (layout.device_public, layout.enrolment, context):
        if path is not None and path.is_file():
            with disk_errors(path):
                content = path.read_bytes()
            name = CONTEXT_NAME if path == context else path.name
            write_file(folder / name, content, mode=_MODE)
    for path in statements(layout):
        with disk_errors(path):
            content = path.read_bytes()
        make_folder(folder / layout.self_tests.name)
        write_file(folder / layout.self_tests.name / path.name, content, mode=_MODE)
    journal = Journal.open_to_read(layout, clock=SystemClock(), device_id=device_id)
    try:
        # The history last: a folder that has one is a whole export.
        lines = write_history(journal, folder / EXPORTED_HISTORY, seal=seal)
        proven = journal.last_head() >= journal.last_sequence()
    finally:
        journal.close()
    return Exported(folder=folder, lines=lines, proven=proven)
