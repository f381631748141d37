"""Unpacking a software tree: the files of a signed list, out of the pack that carries their bytes.

Every file is made new, as a plain file of a fixed mode, under the name that the list gives it, and
hashed on the way; nothing of the pack is trusted but what the digests of the list vouch for.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from primum_agent.durable import disk_errors, sync_folder
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_TREE_LIST_BYTES, MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.core.tree import TreeFile, TreeList

PIECE_BYTES = 256 * 1024
"""Held at a time: memory does not grow with the tree."""

MAX_DECODER_BYTES = 96 * MIB
"""Memory that a pack may make its decoder use; the builder's setting needs 9 MiB."""

FOLDER_MODE = 0o750
PLAIN_MODE = 0o440
EXECUTABLE_MODE = 0o550

Held = Callable[[str], Path | None]
"""Where a file with a digest lies already, if anywhere."""


def read_tree_list(path: Path, *, where: str) -> TreeList:
    """The list of a tree, from the file whose digest was checked.

    Raises:
        RefusedError: it is no list of a tree that could be unpacked.
    """
    data = path.read_bytes() if path.stat().st_size <= MAX_TREE_LIST_BYTES else b""
    return parse_document(TreeList, data, where=where, max_bytes=MAX_TREE_LIST_BYTES)


def unpack(tree: TreeList, *, pack: Path, folder: Path, held: Held = lambda _: None) -> None:
    """Make the files of a tree in a new folder.

    Args:
        tree: the signed list.
        pack: the pack; its own digest was checked.
        folder: made here; it must not be there yet.
        held: finds files of an earlier tree; one whose bytes still have the digest is linked.

    Raises:
        RefusedError: ``artifact.digest`` or ``artifact.size``: the pack is not what the list says;
            what was made so far is left to the caller, who throws the whole folder away.
        FailedError: the disk did not take it.
    """
    with disk_errors(folder):
        folder.mkdir(mode=FOLDER_MODE)
        folders = {folder}
        with pack.open("rb") as stream:
            bytes_of_pack = _Pieces(_decoded(stream.fileno(), tree.compression))
            for file in tree.files:
                path = folder / file.path
                _make_folders(path.parent, folders)
                _make_file(path, file, bytes_of_pack, held(file.sha256))
            if bytes_of_pack.take(1):
                raise _differs(
                    Reason.ARTIFACT_SIZE, "more bytes than its list", f"{tree.length} bytes"
                )
        for made in folders:
            sync_folder(made)


def _make_folders(folder: Path, made: set[Path]) -> None:
    if folder not in made:
        _make_folders(folder.parent, made)
        folder.mkdir(mode=FOLDER_MODE)
        made.add(folder)


def _make_file(path: Path, file: TreeFile, pieces: _Pieces, held: Path | None) -> None:
    mode = EXECUTABLE_MODE if file.executable else PLAIN_MODE
    if held is not None and _link(held, path, file=file, mode=mode):
        for _ in _exactly(pieces, file):
            pass
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as target:
        for piece in _exactly(pieces, file):
            target.write(piece)
        target.flush()
        # The process's mask has no say in what is on the list.
        os.fchmod(target.fileno(), mode)
        os.fsync(target.fileno())


def _link(held: Path, path: Path, *, file: TreeFile, mode: int) -> bool:
    """Use the bytes that lie there already, if they are still right and of the same mode."""
    with suppress(OSError):
        known = held.lstat()
        right = stat.S_ISREG(known.st_mode) and stat.S_IMODE(known.st_mode) == mode
        if right and known.st_size == file.length and digest_of(held) == file.sha256:
            os.link(held, path)
            return True
    return False


def digest_of(path: Path) -> str | None:
    """SHA-256 of a plain file; None where it cannot be read."""
    seen = hashlib.sha256()
    with suppress(OSError), path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            seen.update(piece)
        return seen.hexdigest()
    return None


class _Pieces:
    """A stream of bytes from which any number is taken."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""

    def take(self, most: int) -> bytes:
        """Up to ``most`` bytes; empty only at the end."""
        while not self._rest:
            piece = next(self._source, None)
            if piece is None:
                return b""
            self._rest = piece
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken


def _exactly(pieces: _Pieces, file: TreeFile) -> Iterator[bytes]:
    """The bytes of one file; whoever takes the last one knows that its digest is right."""
    left, seen = file.length, hashlib.sha256()
    while left:
        piece = pieces.take(left)
        if not piece:
            raise _differs(Reason.ARTIFACT_SIZE, f"the pack ends inside {file.path}", "every file")
        seen.update(piece)
        left -= len(piece)
        yield piece
    if seen.hexdigest() != file.sha256:
        raise _differs(
            Reason.ARTIFACT_DIGEST, f"{file.path}: sha256 {seen.hexdigest()}", file.sha256
        )


def _decoded(descriptor: int, compression: str) -> Iterator[bytes]:
    if compression == "none":
        while piece := os.read(descriptor, PIECE_BYTES):
            yield piece
        return
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES)
    try:
        while not decoder.eof:
            packed = os.read(descriptor, PIECE_BYTES) if decoder.needs_input else b""
            if decoder.needs_input and not packed:
                raise _differs(Reason.ARTIFACT_SIZE, "the pack is cut", "a whole xz stream")
            # Bounded in what comes out, however much a small piece stands for.
            yield decoder.decompress(packed, max_length=PIECE_BYTES)
    except lzma.LZMAError as error:
        raise _differs(Reason.ARTIFACT_DIGEST, str(error)[:80], "an xz stream") from error
    if decoder.unused_data or os.read(descriptor, 1):
        raise _differs(Reason.ARTIFACT_SIZE, "bytes after the end of the stream", "one xz stream")


def _differs(reason: Reason, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "The pack of the tree does not hold what its signed list names.",
        reason=reason,
        where=str(ItemKind.TREE_PACK),
        found=found,
        expected=expected,
        remedy="Nothing was made active; build and sign the release again.",
    )
