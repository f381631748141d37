"""Links, folders and leftovers, with the same promise as the verifier's one way to write a file.

Whatever instant the power goes, a reader finds the old or the new, never a mixture.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from primum_verifier.shell.durable import storage_error, sync_folder, write_file

__all__ = [
    "disk_errors",
    "make_folder",
    "remove_leftovers",
    "replace_file",
    "storage_error",
    "switch_link",
    "sync_file",
    "sync_folder",
    "write_file",
]

_LEFTOVERS = ".*.partial"


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Translate every ``OSError`` of the block; ``where`` is what a person should look at."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, where) from error


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, *, durable: bool, mode: int = 0o640) -> None:
    """Replace a small file by another whose loss is endured: after a cut, the old or the new.

    Its name is not synced: that is one sync less, for what may be older than it could be.

    Args:
        path: the file.
        data: what it holds then.
        durable: whether the new bytes are synced before they have the name; without it a cut may
            leave neither, and the reader has to notice.
        mode: the permissions of the file.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old file stands.
    """
    fresh = path.with_name(f".{secrets.token_hex(8)}.partial")
    with disk_errors(path):
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def switch_link(link: Path, target: str) -> None:
    """Let ``link`` name ``target`` from one instant to the next; readers see either.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old link stands.
    """
    fresh = link.with_name(f".{secrets.token_hex(8)}.partial")
    with disk_errors(link):
        try:
            fresh.symlink_to(target)
            fresh.replace(link)
            sync_folder(link.parent)
        finally:
            fresh.unlink(missing_ok=True)


def make_folder(folder: Path, *, mode: int = 0o750) -> None:
    """Make a folder and those above it, durably.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``.
    """
    with disk_errors(folder):
        if folder.is_dir():
            return
        if not folder.parent.is_dir():
            make_folder(folder.parent, mode=mode)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=mode)
        sync_folder(folder.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed write left beside its target; a folder that cannot be read is left."""
    with contextlib.suppress(OSError):
        for path in folder.glob(_LEFTOVERS):
            path.unlink(missing_ok=True)
