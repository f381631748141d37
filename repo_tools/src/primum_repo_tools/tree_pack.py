"""A software tree as a release carries it: the list of its files, and the pack of their bytes.

The pack is compressed with settings that are written out here, so that neither the machine nor a
later default changes it; it is stored plainly where compression makes nothing smaller.  Files are
read and written piece by piece: the largest tree needs no more memory than the smallest.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from primum_repo_tools.files import write_durably
from primum_repo_tools.progress import Progress
from primum_repo_tools.source_tree import SourceFile, SourceTree, changed
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MAX_TREE_LIST_BYTES, MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.core.tree import TREE_TYPE, TreeList

_FILTERS: list[dict[str, int]] = [
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 8 * MIB,
        "lc": 3,
        "lp": 0,
        "pb": 2,
        "mode": lzma.MODE_NORMAL,
        "nice_len": 64,
        "mf": lzma.MF_BT4,
        "depth": 0,
    }
]
"""What preset 6 of xz means today; a device needs 9 MiB of memory to read it."""


@dataclass(frozen=True)
class PackedTree:
    """What was made of a tree.

    Attributes:
        list_data: the exact bytes of the list.
        pack_length: bytes of the pack.
        pack_sha256: its digest.
    """

    list_data: bytes
    pack_length: int
    pack_sha256: str


def pack_tree(
    tree: SourceTree, pack: Path, *, progress: Progress, pack_as: Literal["xz", "plain"] = "xz"
) -> PackedTree:
    """Write the pack of a tree and make its list.

    Args:
        tree: what is packed.
        pack: where the pack is written; a device never reads this name.
        progress: told over the bytes of the files.
        pack_as: ``plain`` leaves the bytes as they are, so that a delta finds them again.

    Raises:
        UsageError: a file changed while it was read, or the list cannot hold them.
        FailedError: the disk failed.
    """
    making = _Packing(tree, progress)
    if pack_as == "xz":
        write_durably(pack, making.compressed())
    if pack_as == "plain" or 0 < making.length <= making.packed:
        making.begin("none")
        write_durably(pack, making.plain())
    return PackedTree(making.list_data(), making.packed, making.pack_sha256)


class _Packing:
    """Two ways over the same files; the second has to find what the first did."""

    def __init__(self, tree: SourceTree, progress: Progress) -> None:
        self._tree = tree
        self._progress = progress
        self._found: dict[str, tuple[int, str]] = {}
        self.begin("xz")

    def begin(self, compression: str) -> None:
        self._compression = compression
        self._hasher = hashlib.sha256()
        self.packed = 0

    @property
    def length(self) -> int:
        """Bytes of all files, as they were read."""
        return sum(length for length, _ in self._found.values())

    @property
    def pack_sha256(self) -> str:
        return self._hasher.hexdigest()

    def compressed(self) -> Iterator[bytes]:
        packer = lzma.LZMACompressor(
            format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=_FILTERS
        )
        for piece in self._files():
            if made := packer.compress(piece):
                yield self._count(made)
        yield self._count(packer.flush())

    def plain(self) -> Iterator[bytes]:
        return map(self._count, self._files())

    def list_data(self) -> bytes:
        files: list[dict[str, Any]] = []
        for file in self._tree.files:
            length, sha256 = self._found[file.path]
            entry = {"path": file.path, "length": length, "sha256": sha256}
            files.append({**entry, "executable": file.executable})
        content = {"type": TREE_TYPE, "schemaVersion": "0.1", "compression": self._compression}
        data = canonical_json({**content, "files": files})
        try:
            parse_document(
                TreeList, data, where=str(self._tree.folder), max_bytes=MAX_TREE_LIST_BYTES
            )
        except RefusedError as error:
            raise UsageError(
                "The tree cannot be listed.",
                reason=Reason.USAGE,
                where=str(self._tree.folder),
                found=error.found,
                expected=error.expected,
            ) from error
        return data

    def _files(self) -> Iterator[bytes]:
        of, what = self._tree.length, f"Packing {self._tree.folder.name}"
        pieces = (piece for file in self._tree.files for piece in self._file(file))
        return self._progress.over(pieces, what=what, of=of)

    def _file(self, file: SourceFile) -> Iterator[bytes]:
        hasher, length = hashlib.sha256(), 0
        for piece in file.pieces():
            hasher.update(piece)
            length += len(piece)
            yield piece
        found = (length, hasher.hexdigest())
        # Longer or shorter than when the folder was read, or other bytes than on the first way.
        if length != file.length or self._found.setdefault(file.path, found) != found:
            raise changed(file)

    def _count(self, piece: bytes) -> bytes:
        self._hasher.update(piece)
        self.packed += len(piece)
        return piece
