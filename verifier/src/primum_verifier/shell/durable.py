"""The one way a trusted file is written: beside, synced, renamed, folder synced."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_PARTIAL = ".partial"


def storage_error(error: OSError, path: Path) -> FailedError:
    """What an error of the file system means to a person who must mend it."""
    if error.errno in _FULL:
        reason, remedy = Reason.RESOURCE_STORAGE, "Free space on this file system, then try again."
    elif error.errno in _READ_ONLY:
        reason, remedy = Reason.STATE_READ_ONLY, "Make the folder writable for this user."
    else:
        reason, remedy = Reason.RESOURCE_STORAGE, "Check the file system and its permissions."
    return FailedError(
        "The file could not be written.",
        reason=reason,
        where=str(path),
        found=error.strerror or str(error),
        expected="a writable folder with free space",
        remedy=remedy,
    )


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: after a cut it holds the old bytes or the new, never a mix.

    Args:
        path: the file; its folder must exist.
        data: the bytes, or pieces of them; an error raised while they come leaves no file behind.
        mode: the permissions of a new file.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; ``path`` is as it was.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}{_PARTIAL}")
    try:
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                for piece in (data,) if isinstance(data, bytes) else data:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left beside their files.

    Only for whoever holds the folder's lock: a living writer's file would be lost. Where nothing
    can be removed, nothing is: a leftover harms nobody.
    """
    with suppress(OSError):
        for path in folder.glob(f".*{_PARTIAL}"):
            path.unlink(missing_ok=True)
