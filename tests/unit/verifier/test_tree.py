"""The list of a software tree against hostile lists: nothing outside, nothing twice."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import (
    MAX_TREE_BYTES,
    MAX_TREE_DEPTH,
    MAX_TREE_FILES,
    MAX_TREE_LIST_BYTES,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.core.tree import TREE_TYPE, TreeList

MAX_PATH = 1000
MAX_PART = 200
MAX_SECONDS = 3.0
"""Processor time for one list, however it is made."""


def file(path: str, **changes: Any) -> dict[str, Any]:
    return {"path": path, "length": 3, "sha256": "0" * 64, **changes}


def listed(*files: dict[str, Any], **changes: Any) -> bytes:
    content = {"type": TREE_TYPE, "schemaVersion": "0.1", "compression": "none", "files": files}
    return canonical_json({**content, **changes})


def of_paths(*paths: str) -> bytes:
    return listed(*(file(path) for path in paths))


def read(data: bytes) -> TreeList:
    return parse_document(TreeList, data, where="tree list", max_bytes=MAX_TREE_LIST_BYTES)


def refusal(data: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        read(data)
    assert (caught.value.reason, caught.value.where) == (Reason.DOCUMENT_INVALID, "tree list")
    return caught.value.found


def test_a_list_is_read_and_written_as_the_same_bytes() -> None:
    data = listed(
        file(".profile", executable=False),
        file("bin/run", executable=True, length=5),
        file("empty", executable=False, length=0),
    )
    found = read(data)
    assert read(found.to_bytes()) == found
    assert found.length == 8
    assert [item.executable for item in found.files] == [False, True, False]


HOSTILE_PATHS = (
    *(
        "..",
        "..a",
        "a/..b",
        "../x",
        "a/..",
        "a/../x",
        "a/../../x",
        ".",
        "./x",
        "a/./x",
        "a/.",
        "...",
        "a/...",
    ),
    *("/", "/x", "//x", "a//x", "a/", "", " ", "a b", "a\n", "x\n", "\nx", "x\r"),
    *("a\\x", "..\\x", "C:\\x", "C:x", "a:x", "\\\\host\\x", "file:///x"),
    *("a\0x", "\0", "a\tx", "\x7f", "\u202ex", "\u2215x", "\uff0e\uff0e/x", "\u00e4", "e\u0301"),
    *("$HOME", "%2e%2e", "a*", "a?", "a|b", "a;b", "`a`", "$(a)", "'a'", '"a"', "<a", "#a", "!a"),
    *("a" * (MAX_PART + 1), "/".join(["a" * 99] * 11)),
)


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=ascii)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    """Dangers B04, B13: out of the folder, another root, another separator, a look-alike."""
    assert "files.0.path" in refusal(of_paths(path))


@pytest.mark.parametrize("path", [None, 1, ["a"], {"a": 1}, True])
def test_a_path_of_another_type_is_refused(path: Any) -> None:
    assert "files.0.path" in refusal(listed(file("a") | {"path": path}))


PLAIN_PATHS = (
    *("a", "A", "0", "-", "_", "~", ".a", "a/.b", "a.b", "a..b", "a.", "-rf", "a-b_c+d@e=f,g~h"),
    *("con", "nul", "aux", "com1", "LPT1.txt", "a" * MAX_PART, "." + "a" * MAX_PART),
    "/".join(["a" * 99] * 10),
)


@pytest.mark.parametrize("path", PLAIN_PATHS)
def test_a_plain_path_is_read_as_it_stands(path: str) -> None:
    """Danger B13: a device name of another system is a plain file here."""
    assert read(of_paths(path)).files[0].path == path


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"),
        ("A", "a"),
        ("lib/X", "lib/x"),
        ("LIB/x", "lib/x"),
        ("a", "b", "b", "c"),
    ],
)
def test_two_files_of_one_name_are_refused(paths: Sequence[str]) -> None:
    """Danger B06: the second file silently takes the place of the first."""
    assert "two files share a path" in refusal(of_paths(*paths))


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a/b/c/d"), ("A", "a/b"), ("B/c", "b")])
def test_a_file_that_is_also_a_folder_is_refused(paths: Sequence[str]) -> None:
    assert "a file is also a folder" in refusal(of_paths(*paths))


def test_names_that_only_begin_alike_are_apart() -> None:
    assert len(read(of_paths("a", "a.b/c", "ab", "b/a", "b/a.c")).files) == 5


@pytest.mark.parametrize("paths", [("b", "a"), ("a", "c", "b"), ("a", "B"), ("a/b", "a.b")])
def test_files_in_another_order_than_their_paths_are_refused(paths: Sequence[str]) -> None:
    """Danger B09: which bytes of the pack are whose must have one answer."""
    assert "order of their paths" in refusal(of_paths(*paths))


@pytest.mark.parametrize(("folders", "fits"), [(MAX_TREE_DEPTH, True), (MAX_TREE_DEPTH + 1, False)])
def test_folders_as_deep_as_allowed_and_no_deeper(folders: int, *, fits: bool) -> None:
    data = of_paths("/".join(["d"] * folders + ["file"]))
    if fits:
        assert len(read(data).files) == 1
    else:
        assert "deeper than" in refusal(data)


@pytest.mark.parametrize(
    "change",
    [
        {"length": -1},
        {"length": MAX_TREE_BYTES + 1},
        {"length": 2**62},
        {"length": 1.5},
        {"length": "3"},
        {"length": True},
        {"sha256": "0" * 63},
        {"sha256": "A" * 64},
        {"sha256": "0" * 63 + "\n"},
        {"executable": "true"},
        {"executable": 1},
        {"mode": 0o4755},
        {"mode": "0777"},
        {"owner": "root"},
        {"link": "/etc/passwd"},
        {"type": "symlink"},
        {"device": [1, 3]},
        {"offset": 0},
    ],
    ids=str,
)
def test_a_file_is_a_length_a_digest_and_one_bit(change: dict[str, Any]) -> None:
    """Dangers B04, B05, B15: no link, no device, no owner, no mode, no hole can be said."""
    assert "files.0" in refusal(listed(file("a", **change)))


def test_holes_of_a_terabyte_are_refused_by_their_length() -> None:
    """Danger B15: a list of a few bytes that fills a disk."""
    most = MAX_TREE_BYTES
    assert read(listed(file("a", length=most))).length == most
    told = refusal(listed(file("a", length=most), file("b", length=1)))
    assert f"longer than {most} bytes together" in told
    many = (file(f"f{number:05}", length=most) for number in range(MAX_TREE_FILES))
    assert "together" in refusal(listed(*many))


@pytest.mark.parametrize(
    "change",
    [
        {"compression": "zip"},
        {"compression": "gzip"},
        {"compression": None},
        {"files": []},
        {"files": {}},
        {"files": None},
        {"type": "urn:primum:release-manifest:v0.1"},
        {"schemaVersion": "0.2"},
        {"root": "/"},
        {"preInstall": "rm -rf /"},
    ],
    ids=str,
)
def test_a_list_says_this_and_nothing_more(change: dict[str, Any]) -> None:
    assert refusal(listed(file("a"), **change))


@pytest.mark.parametrize("number", [MAX_TREE_FILES, MAX_TREE_FILES + 1, 100_000])
def test_a_hundred_thousand_files_are_refused_in_bounded_time(number: int) -> None:
    """Danger B03: a list that uses up every inode of the device."""
    data = listed(*({"path": f"f{n:06}", "length": 0, "sha256": "0" * 64} for n in range(number)))
    started = time.process_time()
    if number <= MAX_TREE_FILES:
        assert len(read(data).files) == number
    else:
        assert refusal(data)
    assert time.process_time() - started < MAX_SECONDS


def test_long_and_deep_paths_are_judged_in_bounded_time() -> None:
    """Every file as deep and as long as a list of the largest size can hold."""
    folders = "/".join(["d" * 5] * MAX_TREE_DEPTH)
    paths = [f"{folders}/f{number:05}" for number in range(MAX_TREE_FILES)]
    data = listed(*({"path": path, "length": 0, "sha256": "0" * 64} for path in paths))
    assert len(data) < MAX_TREE_LIST_BYTES
    started = time.process_time()
    assert len(read(data).files) == MAX_TREE_FILES
    assert time.process_time() - started < MAX_SECONDS


def test_a_list_that_is_too_large_is_refused_unread() -> None:
    """Danger B14: 200 MB of list."""
    assert f"at most {MAX_TREE_LIST_BYTES}" in _too_large(b" " * (MAX_TREE_LIST_BYTES + 1))


def _too_large(data: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        read(data)
    return caught.value.expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"NaN",
        b'{"files":1e999}',
        b"\xef\xbb\xbf" + listed(file("a")),
        listed(file("a"))[:-2],
        listed(file("a")) + b"{}",
        listed(file("a")).replace(b'"length":3', b'"length":3,"length":4'),
        listed(file("a")).replace(b'"path":"a"', b'"path":"a","path":"../a"'),
        listed(file("a")).replace(b'"length":3', b'"length":' + b"9" * 6000),
        b"[" * 100_000,
    ],
    ids=lambda data: ascii(data[:40]),
)
def test_bytes_that_two_readers_would_read_differently_are_refused(data: bytes) -> None:
    """Danger B14: members twice, numbers without end, nesting without end."""
    assert refusal(data)


part = st.text("aAbB.~-", min_size=0, max_size=3)
paths = st.lists(part, min_size=1, max_size=4).map("/".join)
anything = st.text(
    st.sampled_from("aA.~-/\\\0 :\u00e4\u212a") | st.characters(codec="utf-8"), max_size=12
)


def test_half_a_character_is_no_path() -> None:
    """JSON can name one; no file system and no UTF-8 can."""
    data = of_paths("a/PLACE").replace(b"PLACE", rb"\ud800")
    assert refusal(data)


@given(path=paths | anything)
@example("../x")
@example("a/..")
@example("\u212a")
def test_no_path_that_is_accepted_leaves_the_folder(path: str) -> None:
    try:
        found = read(of_paths(path)).files[0].path
    except RefusedError:
        return
    assert found == path
    joined = os.path.join("/generation/app", found)  # noqa: PTH118 - as the least careful reader
    assert os.path.normpath(joined) == joined
    assert joined.startswith("/generation/app/")
    assert path.isascii()
    assert path.isprintable()


@given(names=st.lists(paths, min_size=1, max_size=6).map(sorted))
@example(["A", "a"])
@example(["a", "a/b"])
def test_what_is_accepted_can_be_written_as_plain_files_each_once(names: list[str]) -> None:
    try:
        found = read(of_paths(*names))
    except RefusedError:
        return
    assert len({item.path.lower() for item in found.files}) == len(found.files)
    with tempfile.TemporaryDirectory(prefix="primum-tree-") as folder:
        top = Path(folder) / "tree"
        for item in found.files:
            # Lower-cased, as a file system writes it that does not tell the cases apart.
            target = top / item.path.lower()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.open("xb").close()
        assert len([path for path in top.rglob("*") if path.is_file()]) == len(found.files)
        assert list(Path(folder).iterdir()) == [top]


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (("A", "a"), "two files share a path, or differ in letter case alone"),
        (("b", "a"), "the files are not in the order of their paths"),
        (("a", "a/b"), "a file is also a folder"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_in_words(paths: tuple[str, ...], told: str) -> None:
    found = refusal(of_paths(*paths))
    assert re.search(rf"(^|[^A-Za-z]){re.escape(told)}([^A-Za-z]|$)", found), found
