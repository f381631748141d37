"""List and pack of a tree: the same bytes from everywhere, and nothing but the files' bytes."""

from __future__ import annotations

import lzma
import os
import random
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primum_repo_tools.progress import TELL_EVERY_SECONDS, Progress, silent
from primum_repo_tools.source_tree import SourceTree, read_tree
from primum_repo_tools.tree_pack import PackedTree, pack_tree
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_TREE_LIST_BYTES, MIB
from primum_verifier.core.tree import TreeList

NOISE = random.Random(1).randbytes(4096)


def written(folder: Path, files: dict[str, bytes]) -> SourceTree:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return read_tree(folder)


def packed(tree: SourceTree, pack: Path) -> tuple[PackedTree, TreeList, bytes]:
    made = pack_tree(tree, pack, progress=silent())
    listed = parse_document(TreeList, made.list_data, where="list", max_bytes=MAX_TREE_LIST_BYTES)
    data = pack.read_bytes()
    assert (made.pack_length, made.pack_sha256) == (len(data), sha256_hex(data))
    return made, listed, lzma.decompress(data) if listed.compression == "xz" else data


def test_the_pack_is_the_bytes_of_the_files_in_the_order_of_the_list(tmp_path: Path) -> None:
    files = {"b/run": b"#!/bin/sh\n" * 50, "a": b"x" * 300, "b.d/y": b"", "c": b"end"}
    tree = written(tmp_path / "app", files)
    _, listed, data = packed(tree, tmp_path / "pack")
    assert [file.path for file in listed.files] == sorted(files)
    assert data == b"".join(files[name] for name in sorted(files))
    assert {file.path: file.sha256 for file in listed.files} == {
        name: sha256_hex(content) for name, content in files.items()
    }
    assert listed.length == len(data)


def test_another_folder_time_order_and_right_give_the_same_bytes(tmp_path: Path) -> None:
    """Danger: two builders cannot tell whether they built the same."""
    files = {f"d{n % 3}/f{n}": bytes([n]) * n * 50 for n in range(20)}
    first, *_ = packed(written(tmp_path / "one", files), tmp_path / "pack-1")
    backwards = dict(reversed(files.items()))
    other = tmp_path / "quite another folder"
    written(other, backwards)
    for path in other.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        second, *_ = packed(read_tree(other), tmp_path / "pack-2")
    finally:
        os.umask(before)
    assert first == second
    assert (tmp_path / "pack-1").read_bytes() == (tmp_path / "pack-2").read_bytes()


def test_a_device_reads_the_pack_with_little_memory(tmp_path: Path) -> None:
    """Danger D17: a pack that a builder's machine makes easily and no small device can open."""
    tree = written(tmp_path / "app", {"a": bytes(range(256)) * 64, "b": b"primum\n" * 999})
    _, listed, data = packed(tree, tmp_path / "pack")
    assert listed.compression == "xz"
    pack = (tmp_path / "pack").read_bytes()
    # The .xz file format 1.2: CRC32 is check 1; LZMA2 is filter 0x21, 8 MiB its size 0x16.
    assert pack[6:8] == b"\x00\x01"
    assert pack[14:17] == b"\x21\x01\x16"
    assert lzma.LZMADecompressor(memlimit=10 * MIB).decompress(pack) == data


@pytest.mark.parametrize(
    ("files", "compression"),
    [
        ({"a": NOISE}, "none"),
        ({"a": b"x"}, "none"),
        ({"a": b"", "b": b"x"}, "none"),
        ({"a": b""}, "xz"),
        ({"a": b"x" * 4096}, "xz"),
    ],
)
def test_what_does_not_become_smaller_is_stored_plainly(
    tmp_path: Path, files: dict[str, bytes], compression: str
) -> None:
    """An item is never empty: a tree of empty files still has a pack."""
    made, listed, data = packed(written(tmp_path / "app", files), tmp_path / "pack")
    assert listed.compression == compression
    assert data == b"".join(files.values())
    assert made.pack_length > 0


@pytest.mark.parametrize("data", [b"", b"shorter", b"longer" * 100], ids=len)
def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path, data: bytes) -> None:
    tree = written(tmp_path / "app", {"a": b"x" * 100, "b": b"y"})
    (tmp_path / "app/a").write_bytes(data)
    with pytest.raises(UsageError, match="changed while it was read"):
        pack_tree(tree, tmp_path / "pack", progress=silent())
    assert not (tmp_path / "pack").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"app"}


def test_a_file_that_changed_between_the_two_ways_is_refused(tmp_path: Path) -> None:
    """Danger B09: a list that was made of other bytes than the pack."""
    tree = written(tmp_path / "app", {"a": NOISE})

    class Changing(Progress):
        ways = 0

        def over(self, pieces: Iterator[bytes], *, what: str, of: int) -> Iterator[bytes]:
            self.ways += 1
            if self.ways == 2:
                (tmp_path / "app/a").write_bytes(bytes(reversed(NOISE)))
            return super().over(pieces, what=what, of=of)

    with pytest.raises(UsageError, match="changed while it was read"):
        pack_tree(tree, tmp_path / "pack", progress=Changing(lambda _: None))


def peak_of_packing(folder: Path, files: dict[str, bytes]) -> int:
    """The most bytes that Python and liblzma held at once."""
    tree = written(folder / "app", files)
    tracemalloc.start()
    try:
        pack_tree(tree, folder / "pack", progress=silent())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "large", [bytes(40 * MIB), random.Random(2).randbytes(8 * MIB)], ids=["holes", "noise"]
)
def test_a_large_tree_needs_no_more_memory_than_a_small_one(tmp_path: Path, large: bytes) -> None:
    """Danger D17: the builder's memory, not the release, would be the limit."""
    small = peak_of_packing(tmp_path / "small", {"a": large[: 2 * MIB]})
    assert peak_of_packing(tmp_path / "large", {"a": large}) < small + 4 * MIB


def test_long_work_is_told_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    with (tmp_path / "app/a").open("wb") as file:
        file.truncate(10 * MIB)
    said: list[str] = []
    ticks = iter(range(1000))
    progress = Progress(said.append, clock=lambda: next(ticks) * TELL_EVERY_SECONDS / 4)
    pack_tree(read_tree(tmp_path / "app"), tmp_path / "pack", progress=progress)
    assert 2 <= len(said) <= 4
    assert all(line.startswith("Packing app: ") and line.endswith(" of 10 MiB") for line in said)


names = st.text("ab.", min_size=1, max_size=2).filter(lambda text: text.strip("."))
contents = st.binary(max_size=40) | st.just(b"z" * 500)


@settings(deadline=None)
@given(files=st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), contents))
def test_whatever_is_packed_unpacks_to_the_same_files(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="primum-pack-") as name:
        folder = Path(name)
        try:
            tree = written(folder / "app", files)
        except (UsageError, NotADirectoryError, IsADirectoryError, FileExistsError):
            return
        _, listed, data = packed(tree, folder / "pack")
        found = {}
        for file in listed.files:
            found[file.path], data = data[: file.length], data[file.length :]
        assert (found, data) == (files, b"")
