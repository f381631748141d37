"""Files on their way: the bytes so far under the digest that they are to have, and a note.

``store/partial/DIGEST`` is appended to; ``DIGEST.note`` says how many of its first bytes were
made durable, what their digest is, in which boot it was written, and what the server that sends
calls them.  What is believed of a file that was left:

1. In the boot in which it was written: all of it, a killed process takes nothing from the disk.
2. After another start: the bytes that were made durable, and only with the digest noted of them.
3. Nothing where note, bytes and digest do not fit each other.

Whatever is believed is hashed again before a byte is asked for; under its final name a file comes
only whole, with its digest, synced.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from primum_agent.durable import disk_errors, make_folder, replace_file, sync_folder
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints at least: what comes faster is fetched again faster than it is synced."""

CHECKPOINTS = 4
"""Parts of a file after each of which a checkpoint is made: three, of two syncs each."""

HASH_BYTES = 1024 * 1024
MAX_NOTE_BYTES = 4096

_NOTE = ".note"
_DIGEST_TEXT = 64


@dataclass(frozen=True)
class Note:
    """What is kept of a file on its way.

    Attributes:
        durable: how many of its first bytes are on the disk for good.
        digest: SHA-256 of these.
        boot: in which boot the file was written to.
        origin: who sent what came last; empty where nobody did yet.
        validator: what that server calls the file, a strong entity tag; empty without.
    """

    durable: int = 0
    digest: str = ""
    boot: str = ""
    origin: str = ""
    validator: str = ""


class PartialFile:
    """One file on its way. Made by :meth:`PartialFiles.open` only.

    Args:
        path: where its bytes lie.
        sha256: the digest that it is to have.
        length: the bytes that it is to have.
        boot: the name of this boot.
        monotonic: a clock that never goes back, in seconds.

    Attributes:
        offset: bytes that are there and hashed.
        note: what is kept of it.
    """

    def __init__(
        self,
        path: Path,
        *,
        sha256: str,
        length: int,
        boot: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._sha256 = sha256
        self.length = length
        self._boot = boot
        self._monotonic = monotonic
        self.offset = 0
        self.note = Note()
        self._seen = hashlib.sha256()
        self._at_rest = True
        self._checked = monotonic()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with disk_errors(path):
            self._file = os.open(path, flags, 0o640)
        try:
            self._believe()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What it is to be called."""
        return self._sha256

    @property
    def is_complete(self) -> bool:
        """Whether every byte is there; not whether they are the right ones."""
        return self.offset == self.length

    def begin(self, *, origin: str, validator: str) -> None:
        """Somebody begins to send: what this server calls the file is kept for going on.

        It is not synced: without it after a cut the server is asked without a name, and the digest
        decides all the same.

        Raises:
            FailedError: the storage.
        """
        known = Note(**{**asdict(self.note), "origin": origin, "validator": validator})
        known = Note(**{**asdict(known), "boot": self._boot})
        if known != self.note:
            self._keep(known, durable=bool(known.durable))

    def validator_of(self, origin: str) -> str:
        """What this server called the bytes that are there; empty where it did not send them."""
        return self.note.validator if self.offset and self.note.origin == origin else ""

    def write(self, piece: bytes) -> None:
        """Take in what came; now and then it is made durable.

        Raises:
            RefusedError: ``artifact.size``: more than the file may hold; nothing of it was written.
            FailedError: the storage; nothing of the file stays, so that the disk is not left full.
        """
        if self.offset + len(piece) > self.length:
            raise self._wrong_size(f"more than {self.length} bytes")
        self._at_rest = False
        try:
            left = memoryview(piece)
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            self.discard()
            with disk_errors(self._path):
                raise
        self._seen.update(piece)
        self.offset += len(piece)
        self._at_rest = True
        if self.offset - self.note.durable >= self.length // CHECKPOINTS and not self.is_complete:
            now = self._monotonic()
            if now - self._checked >= CHECKPOINT_SECONDS:
                self.checkpoint()

    def checkpoint(self) -> None:
        """Make what is there durable, and note that it is.

        Raises:
            FailedError: the storage; what was durable before still is.
        """
        self._checked = self._monotonic()
        if self._file < 0 or not self._at_rest or self.offset == self.note.durable:
            return
        with disk_errors(self._path):
            os.fdatasync(self._file)
        members = {"durable": self.offset, "digest": self._seen.hexdigest(), "boot": self._boot}
        self._keep(Note(**{**asdict(self.note), **members}), durable=True)

    def start_over(self) -> None:
        """Nothing of it counts any more; the next byte is its first.

        Raises:
            FailedError: the storage.
        """
        with disk_errors(self._path):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self._seen, self.offset = hashlib.sha256(), 0
        # Unsynced: an old note that comes back after a cut fits no other bytes than its own.
        self._keep(Note(boot=self._boot), durable=False)

    def finish(self, final: Path, *, mode: int = 0o440) -> None:
        """Give it its name: whole, with its digest, for good.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest``; it has no name, and stays.
            FailedError: the storage; it has no name.
        """
        if not self.is_complete:
            raise self._wrong_size(f"{self.offset} bytes")
        if self._seen.hexdigest() != self._sha256:
            raise RefusedError(
                "The file is not the one that the manifest names.",
                reason=Reason.ARTIFACT_DIGEST,
                where=f"artifacts/{self._sha256}",
                found=f"sha256 {self._seen.hexdigest()}",
                expected=f"sha256 {self._sha256}",
                remedy="Nothing was kept; the publisher's server holds a wrong file.",
            )
        with disk_errors(self._path):
            os.fchmod(self._file, mode)
            os.fsync(self._file)
            self._path.rename(final)
            sync_folder(final.parent)
        self.close()
        _note_of(self._path).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove it: its bytes are wrong, or there is no room for them."""
        self.close()
        with suppress(OSError):
            _note_of(self._path).unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave it as it is."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # What is believed of a file that was left

    def _believe(self) -> None:
        note = _read_note(_note_of(self._path))
        with disk_errors(self._path):
            size = os.fstat(self._file).st_size
            most = size if note is not None and note.boot == self._boot else 0
            if note is not None and note.durable <= size <= self.length:
                most = max(most, note.durable)
            if note is None or size > self.length or not self._hash_to(most, note):
                self._seen, most = hashlib.sha256(), 0
                note = Note()
            os.ftruncate(self._file, most)
            os.lseek(self._file, most, os.SEEK_SET)
        self.offset, self.note = most, note

    def _hash_to(self, most: int, note: Note) -> bool:
        """Hash what is to be believed; whether what was durable has the digest noted of it."""
        os.lseek(self._file, 0, os.SEEK_SET)
        for end in (note.durable, most):
            left = end - os.lseek(self._file, 0, os.SEEK_CUR)
            while left > 0:
                piece = os.read(self._file, min(HASH_BYTES, left))
                if not piece:
                    return False
                self._seen.update(piece)
                left -= len(piece)
            if end == note.durable and note.durable and self._seen.hexdigest() != note.digest:
                return False
        return True

    def _keep(self, note: Note, *, durable: bool) -> None:
        data = json.dumps(asdict(note), separators=(",", ":")).encode()
        replace_file(_note_of(self._path), data, durable=durable)
        self.note = note

    def _wrong_size(self, found: str) -> RefusedError:
        return RefusedError(
            "The file is not as long as the manifest says.",
            reason=Reason.ARTIFACT_SIZE,
            where=f"artifacts/{self._sha256}",
            found=found,
            expected=f"{self.length} bytes",
            remedy="Nothing was kept; the publisher's server holds a wrong file.",
        )


class PartialFiles:
    """The folder of files on their way.

    Args:
        folder: where they lie; on the file system of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            FailedError: the storage.
        """
        make_folder(self._folder)

    def open(self, sha256: str, *, length: int, boot: str) -> PartialFile:
        """The file that is to have this digest, as far as it is there.

        Raises:
            FailedError: the storage.
        """
        return PartialFile(self._folder / sha256, sha256=sha256, length=length, boot=boot)

    def bytes_of(self, sha256: str) -> int:
        """How many bytes of a file lie there, believed or not; 0 where there is none."""
        with suppress(OSError):
            return (self._folder / sha256).lstat().st_size
        return 0

    def discard(self, sha256: str) -> None:
        """Remove a file on its way, if there is one."""
        with suppress(OSError):
            _note_of(self._folder / sha256).unlink(missing_ok=True)
            (self._folder / sha256).unlink(missing_ok=True)

    def collect(self, *, keep: Iterable[str]) -> None:
        """Remove what nobody waits for any more; what cannot be removed is tried again later."""
        needed = {*keep}
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name.removesuffix(_NOTE) not in needed:
                    path.unlink(missing_ok=True)


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + _NOTE)


def _read_note(path: Path) -> Note | None:
    """A note as it was kept; None where nothing can be believed."""
    try:
        content: Any = json.loads(path.read_bytes()[: MAX_NOTE_BYTES + 1])
        note = Note(**content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (note.digest, note.boot, note.origin, note.validator)
    fits = type(note.durable) is int and note.durable >= 0
    return note if fits and all(isinstance(text, str) for text in texts) else None
