"""Files by their digest, and generations: sets of files that become active together.

A file is written beside, hashed as it comes, synced, renamed to its digest, and the folder is
synced: under a digest lies that content or nothing.  A generation is a folder of hard links
into the store and a record of what it is; the link ``active`` names one generation, so that a
whole set changes by one rename.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from primum_agent.durable import (
    disk_errors,
    make_folder,
    remove_leftovers,
    replace_file,
    switch_link,
    sync_file,
    sync_folder,
    write_file,
)
from primum_agent.generation_files import signed_files
from primum_agent.layout import Layout
from primum_agent.partial_files import PartialFile, PartialFiles
from primum_agent.store_bound import refuse_beyond
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason

RECORD = "generation.json"
MANIFEST = "manifest.json"
PIECE_BYTES = 1024 * 1024
SPARE_BYTES = 4 * 1024 * 1024
"""Free space left untouched by downloads, so that the journal can still be written."""


@dataclass(frozen=True)
class StoredItem:
    """One file of a generation.

    Attributes:
        id: the item's id in the manifest.
        kind: its kind there.
        path: its file name inside the generation.
        length: bytes.
        sha256: the digest under which it lies in the store.
    """

    id: str
    kind: str
    path: str
    length: int
    sha256: str


class ContentStore(Protocol):
    """The port: files by digest."""

    def holds(self, sha256: str) -> bool:
        """Whether a file of this digest lies there; says nothing of its bytes since."""

    def make_room(self, needed: int) -> None:
        """Refuse before downloading what the storage cannot hold.

        Args:
            needed: bytes still to come.

        Raises:
            FailedError: ``resource.storage``; nothing was written.
        """

    def add(self, pieces: Iterable[bytes], *, sha256: str, length: int) -> None:
        """Take a file in, hashed as it comes; whole or not at all.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest``; nothing is left behind.
            FailedError: the storage, or whatever ``pieces`` raises; nothing is left behind.
        """

    def partial(self, sha256: str, *, length: int, boot: str) -> PartialFile:
        """A file on its way, as far as it is there and may be believed.

        Raises:
            FailedError: the storage.
        """

    def partial_bytes(self, sha256: str) -> int:
        """How many bytes of a file on its way lie there."""

    def complete(self, partial: PartialFile) -> None:
        """Take in a file that has arrived whole.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest``; it was not taken in.
            FailedError: the storage; it was not taken in.
        """

    def verify(self, sha256: str) -> bool:
        """Whether the file is there and its bytes still have the digest."""

    def discard(self, sha256: str) -> None:
        """Remove a file whose bytes are wrong, so that it is fetched again."""

    def path_of(self, sha256: str) -> Path:
        """Where the file lies; a bench opens it there."""


class FolderStore:
    """The store in a device's state folder, and the generations made of its files.

    Args:
        layout: the state folder's names.
        max_bytes: of files and generations; 0 for as much as the disk holds.
    """

    def __init__(self, layout: Layout, *, max_bytes: int = 0) -> None:
        self._layout = layout
        self._max_bytes = max_bytes
        self._files = layout.store / "sha256"
        self._partial = PartialFiles(layout.partial)

    def prepare(self) -> None:
        """Make the folders and remove what killed writes left.

        Raises:
            FailedError: ``resource.storage`` or ``state.read-only``.
        """
        make_folder(self._files)
        make_folder(self._layout.generations)
        self._partial.prepare()
        made = (self.folder_of(number) for number in self.numbers())
        kept = (self._files, self._layout.partial, self._layout.generations, self._layout.root)
        for folder in (*kept, *made):
            remove_leftovers(folder)
        # A folder that cannot be read is left: what is wrong with it is told by whoever needs it.
        with suppress(OSError):
            for folder in self._layout.generations.glob(".*.making"):
                shutil.rmtree(folder, ignore_errors=True)

    # Files

    def path_of(self, sha256: str) -> Path:
        """See :class:`ContentStore`."""
        if len(sha256) != hashlib.sha256().digest_size * 2 or not sha256.isalnum():
            raise RuntimeError("a digest that no document model let through")
        return self._files / sha256

    def holds(self, sha256: str) -> bool:
        """See :class:`ContentStore`."""
        return self.path_of(sha256).is_file()

    def verify(self, sha256: str) -> bool:
        """See :class:`ContentStore`."""
        return _digest_of(self.path_of(sha256)) == sha256

    def discard(self, sha256: str) -> None:
        """See :class:`ContentStore`."""
        with disk_errors(self._files):
            self.path_of(sha256).unlink(missing_ok=True)
            sync_folder(self._files)

    def make_room(self, needed: int) -> None:
        """See :class:`ContentStore`."""
        if self._max_bytes and needed:
            refuse_beyond(self._layout, max_bytes=self._max_bytes, needed=needed)
        with disk_errors(self._files):
            free = shutil.disk_usage(self._files).free
        if free < needed + SPARE_BYTES:
            raise FailedError(
                "The release does not fit on the device.",
                reason=Reason.RESOURCE_STORAGE,
                where=str(self._files),
                found=f"{free} bytes free",
                expected=f"{needed} bytes and {SPARE_BYTES} to spare",
                remedy="Free space on the file system of the state folder; the agent tries again.",
            )

    def add(self, pieces: Iterable[bytes], *, sha256: str, length: int) -> None:
        """See :class:`ContentStore`."""
        path = self.path_of(sha256)
        write_file(path, _checked(pieces, sha256=sha256, length=length), mode=0o440)

    def partial(self, sha256: str, *, length: int, boot: str) -> PartialFile:
        """See :class:`ContentStore`."""
        self.path_of(sha256)
        return self._partial.open(sha256, length=length, boot=boot)

    def partial_bytes(self, sha256: str) -> int:
        """See :class:`ContentStore`."""
        return self._partial.bytes_of(sha256)

    def complete(self, partial: PartialFile) -> None:
        """See :class:`ContentStore`."""
        partial.finish(self.path_of(partial.name))

    # Generations

    def folder_of(self, number: int) -> Path:
        """The folder of a generation."""
        return self._layout.generations / str(number)

    def make_generation(
        self,
        number: int,
        *,
        items: Sequence[StoredItem],
        manifest: bytes,
        record: Mapping[str, object],
        prepare: Callable[[Path], None] = lambda _: None,
    ) -> Path:
        """Lay out a generation, whole or not at all.

        Args:
            number: its number; a folder that is already there is made again.
            items: its files, each in the store.
            manifest: the exact bytes of the release manifest.
            record: what the journal knows of it, for the day the journal is lost.
            prepare: makes the further components ready, in the folder that will be the
                generation's; whatever it raises leaves nothing under the number.

        Raises:
            FailedError: the disk did not take it; nothing is left under the number.
        """
        folder = self.folder_of(number)
        making = folder.with_name(f".{number}.making")
        with disk_errors(folder):
            try:
                shutil.rmtree(making, ignore_errors=True)
                making.mkdir(mode=0o750)
                for item in items:
                    placed = making / item.path
                    if placed.parent != making and not placed.parent.is_dir():
                        placed.parent.mkdir(mode=0o750)
                    _link(self.path_of(item.sha256), placed)
                for inside in {(making / item.path).parent for item in items} - {making}:
                    sync_folder(inside)
                prepare(making)
                # Their names are synced with the folder, once.
                replace_file(making / MANIFEST, manifest, durable=True, mode=0o440)
                content = {**record, "files": [asdict(item) for item in items]}
                record_bytes = _record_bytes(content)
                replace_file(making / RECORD, record_bytes, durable=True, mode=0o440)
                sync_folder(making)
                if folder.exists():
                    shutil.rmtree(folder)
                making.rename(folder)
                sync_folder(self._layout.generations)
            finally:
                shutil.rmtree(making, ignore_errors=True)
        return folder

    def write_record(self, number: int, record: Mapping[str, object]) -> None:
        """Replace the record of a generation; its files and its manifest stay as they are.

        Raises:
            FailedError: the disk did not take it; the old record stands.
        """
        folder = self.folder_of(number)
        remove_leftovers(folder)
        write_file(folder / RECORD, _record_bytes(record), mode=0o440)

    def activate(self, number: int | None) -> None:
        """Let ``active`` name a generation; None takes the link away (safe mode).

        Raises:
            FailedError: the disk did not take it; the old link stands.
        """
        link = self._layout.active
        if number is not None:
            switch_link(link, f"{self._layout.generations.name}/{number}")
            return
        with disk_errors(link):
            link.unlink(missing_ok=True)
            sync_folder(link.parent)

    def active(self) -> int | None:
        """The generation that the link names; None when there is no link."""
        with suppress(OSError, ValueError):
            return int(self._layout.active.readlink().name)
        return None

    def record_of(self, number: int) -> dict[str, object] | None:
        """What stands in a generation's record; None when it cannot be read."""
        with suppress(OSError, ValueError, RecursionError):
            content = json.loads((self.folder_of(number) / RECORD).read_bytes())
            if isinstance(content, dict):
                return content
        return None

    def manifest_of(self, number: int) -> bytes | None:
        """The manifest's bytes in a generation; None when they cannot be read."""
        with suppress(OSError):
            return (self.folder_of(number) / MANIFEST).read_bytes()
        return None

    def items_of(self, number: int) -> tuple[StoredItem, ...]:
        """The files of a generation, by its record; empty when it cannot be read."""
        record = self.record_of(number)
        files = record.get("files") if record is not None else None
        if not isinstance(files, list):
            return ()
        with suppress(TypeError):
            return tuple(StoredItem(**item) for item in files)
        return ()

    def generation_is_whole(self, number: int, *, release: str) -> bool:
        """Whether a generation holds the signed manifest, and every file that it names.

        The record beside it is the agent's own note and signed by nobody: it is not asked.
        What is not whole is looked at twice: a disk that fails once takes no release away.

        Args:
            number: the generation.
            release: SHA-256 of the manifest, from the journal.
        """
        return any(self._looks_whole(number, release=release) for _ in range(2))

    def _looks_whole(self, number: int, *, release: str) -> bool:
        manifest = self.manifest_of(number)
        if manifest is None or hashlib.sha256(manifest).hexdigest() != release:
            return False
        named = signed_files(json.loads(manifest), self.folder_of(number))
        return all(_digest_of(path) == sha256 for path, sha256 in named)

    def numbers(self) -> list[int]:
        """The generations on the disk, ascending."""
        with suppress(OSError):
            names = [path.name for path in self._layout.generations.iterdir()]
            return sorted(int(name) for name in names if name.isdigit())
        return []

    def collect(self, *, keep: Iterable[int], keep_files: Iterable[str] = ()) -> list[int]:
        """Remove generations and files that nothing needs any more.

        Args:
            keep: generations that stay; the one that ``active`` names always stays.
            keep_files: digests that stay besides those of the generations kept.

        Returns:
            The numbers removed. A failure to remove is no failure: the next run tries again.
        """
        kept = {*keep}
        if (active := self.active()) is not None:
            kept.add(active)
        gone = [number for number in self.numbers() if number not in kept]
        needed = {*keep_files}
        for number in kept:
            needed |= {item.sha256 for item in self.items_of(number)}
        for number in gone:
            shutil.rmtree(self.folder_of(number), ignore_errors=True)
        with suppress(OSError):
            for path in self._files.iterdir():
                if path.name not in needed:
                    path.unlink(missing_ok=True)
        self._partial.collect(keep=needed)
        return gone


class FakeContentStore(FolderStore):
    """The double: the same store over a throw-away folder, on storage that fills up when told.

    It keeps real files: a bench and an application open them by path, so a store in memory could
    serve neither.

    Args:
        layout: the names of the throw-away folder.
        room: bytes of files that still fit, whatever the disk itself says.
    """

    def __init__(self, layout: Layout, *, room: int) -> None:
        super().__init__(layout)
        self.room = room

    def add(self, pieces: Iterable[bytes], *, sha256: str, length: int) -> None:
        """See :class:`ContentStore`."""
        super().add(map(self._fitting, pieces), sha256=sha256, length=length)

    def partial(self, sha256: str, *, length: int, boot: str) -> PartialFile:
        """See :class:`ContentStore`."""
        opened = super().partial(sha256, length=length, boot=boot)
        written = opened.write

        def write(piece: bytes) -> None:
            try:
                written(self._fitting(piece))
            except FailedError:
                opened.discard()
                raise

        opened.write = write  # type: ignore[method-assign]
        return opened

    def _fitting(self, piece: bytes) -> bytes:
        if len(piece) > self.room:
            raise FailedError(
                "The storage is full.",
                reason=Reason.RESOURCE_STORAGE,
                where=str(self._files),
                found=f"{self.room} bytes free",
            )
        self.room -= len(piece)
        return piece


def _record_bytes(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"


def _checked(pieces: Iterable[bytes], *, sha256: str, length: int) -> Iterator[bytes]:
    """Pass pieces on while they fit; raise at the first that is too long, or a wrong digest."""
    seen = hashlib.sha256()
    received = 0
    for piece in pieces:
        received += len(piece)
        if received > length:
            break
        seen.update(piece)
        yield piece
    if received != length:
        raise RefusedError(
            "The file is not as long as the manifest says.",
            reason=Reason.ARTIFACT_SIZE,
            where=f"artifacts/{sha256}",
            found=f"{'more than ' if received > length else ''}{min(received, length)} bytes",
            expected=f"{length} bytes",
            remedy="Nothing was kept; the publisher's server holds a wrong file.",
        )
    if seen.hexdigest() != sha256:
        raise RefusedError(
            "The file is not the one that the manifest names.",
            reason=Reason.ARTIFACT_DIGEST,
            where=f"artifacts/{sha256}",
            found=f"sha256 {seen.hexdigest()}",
            expected=f"sha256 {sha256}",
            remedy="Nothing was kept; the publisher's server holds a wrong file.",
        )


def _digest_of(path: Path) -> str | None:
    seen = hashlib.sha256()
    with suppress(OSError), path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            seen.update(piece)
        return seen.hexdigest()
    return None


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except PermissionError:
        shutil.copyfile(source, target)
        sync_file(target)
