"""Locks that a dead process cannot leave behind: the kernel holds them, by an open descriptor."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from primum_agent.durable import disk_errors
from primum_verifier.core.errors import BusyError
from primum_verifier.core.reasons import Reason

ONCE_IT_IS_OVER = "Give the order again once it is over: `primum-agent status` shows how far it is."
"""What a person can do whose order meets an attempt: one lasts seconds or minutes, and ends."""


@contextmanager
def held(path: Path, *, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: the lock's file; its content is the holder's process id, for people.
        what: what another holder would be doing.
        remedy: what a person can do about it.

    Raises:
        BusyError: another process holds it.
        FailedError: the file cannot be made.
    """
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise BusyError(
                f"{what} on this state folder.",
                reason=Reason.STATE_BUSY,
                where=str(path),
                found=f"held by process {holder or 'unknown'}",
                remedy=remedy,
            ) from error
        with disk_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock right now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
