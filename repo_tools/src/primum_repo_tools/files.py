"""The workbench's files: read with a clear error, written so that they survive a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES, MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.durable import storage_error, sync_folder, write_file

PUBLIC_MODE = 0o644
PRIVATE_MODE = 0o600
_PIECE_BYTES = MIB


def make_folder(folder: Path, *, mode: int = 0o755) -> None:
    """Make a folder and those above it, durably enough that a file inside it can be relied on.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``.
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, mode=mode)
        sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, folder) from error


def write_durably(path: Path, data: bytes | Iterator[bytes], *, mode: int = PUBLIC_MODE) -> None:
    """Replace ``path`` by ``data``, making its folder first; a reader sees the old or the new.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; ``path`` is as it was.
    """
    make_folder(path.parent)
    write_file(path, data, mode=mode)


def append_durably(path: Path, line: bytes) -> None:
    """Add one line to an append-only file and sync it.

    A line that a power cut left without its end is ended first, so that it cannot swallow this one.
    """
    make_folder(path.parent)
    try:
        whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
        with path.open("ab") as stream:
            stream.write((b"" if whole else b"\n") + line.rstrip(b"\n") + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def pieces_of(path: Path, *, what: str) -> Iterator[bytes]:
    """The bytes of a file of any size, piece by piece.

    Raises:
        UsageError: it is missing or unreadable.
    """
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                yield piece
    except OSError as error:
        raise _unreadable(path, what, error) from error


def digest_of(path: Path, *, what: str) -> str:
    """SHA-256 of a file in lower-case hexadecimal, read in pieces.

    Raises:
        UsageError: it is missing or unreadable.
    """
    try:
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, what, error) from error


def read_input(path: Path, *, what: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Read a file that a person named on the command line or in a settings file.

    Args:
        path: the file.
        what: what it should hold, for the message.
        max_bytes: the largest size that is read.

    Raises:
        UsageError: it is missing, no file, unreadable or too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise _unreadable(path, what, error) from error
    if len(data) > max_bytes:
        raise UsageError(
            f"The {what} is too large.",
            reason=Reason.USAGE,
            where=str(path),
            found=f"more than {max_bytes} bytes",
            expected=f"at most {max_bytes} bytes",
        )
    return data


def _unreadable(path: Path, what: str, error: OSError) -> UsageError:
    return UsageError(
        f"The {what} cannot be read.",
        reason=Reason.USAGE,
        where=os.path.normpath(path),
        found=error.strerror or str(error),
        expected="a readable file",
        remedy="Check the path; a path inside a file starts at the folder of that file.",
    )


def remove_tree(folder: Path) -> None:
    """Remove a folder of drafts; a missing one is no error."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise storage_error(error, folder) from error


def replace_folder(folder: Path, by: Path) -> None:
    """Put a finished folder in the place of another; both are on one file system."""
    old = folder.with_name(f".{folder.name}.old")
    remove_tree(old)
    try:
        if folder.exists():
            folder.rename(old)
        by.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, folder) from error
    remove_tree(old)


def copy_input(source: Path, target: Path, *, what: str) -> None:
    """Copy a file that a person named, durably, to ``target``."""
    write_durably(target, pieces_of(source, what=what))
