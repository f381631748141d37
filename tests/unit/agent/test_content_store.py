"""The content store: under a digest lies that content or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from primum_agent.content_store import FolderStore, StoredItem
from primum_agent.durable import switch_link
from primum_agent.layout import Layout
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason

DATA = b"a model" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(layout: Layout) -> FolderStore:
    made = FolderStore(layout)
    made.prepare()
    return made


def files(layout: Layout) -> list[str]:
    return sorted(path.name for path in (layout.store / "sha256").iterdir())


def item(data: bytes, path: str) -> StoredItem:
    digest = hashlib.sha256(data).hexdigest()
    return StoredItem(id=path, kind="model", path=path, length=len(data), sha256=digest)


def manifest_of(*items: StoredItem) -> bytes:
    listed = [
        {"id": made.id, "kind": made.kind, "path": made.path, "digest": {"sha256": made.sha256}}
        for made in items
    ]
    return json.dumps({"items": listed}).encode()


def generation(store: FolderStore, number: int, data: bytes) -> None:
    made = item(data, "model.onnx")
    store.add([data], sha256=made.sha256, length=len(data))
    manifest = manifest_of(made)
    store.make_generation(number, items=[made], manifest=manifest, record={"number": number})


def is_whole(store: FolderStore, number: int, data: bytes) -> bool:
    release = hashlib.sha256(manifest_of(item(data, "model.onnx"))).hexdigest()
    return store.generation_is_whole(number, release=release)


def test_what_is_added_lies_under_its_digest(layout: Layout, store: FolderStore) -> None:
    store.add([DATA[:100], DATA[100:]], sha256=DIGEST, length=len(DATA))
    assert store.path_of(DIGEST).read_bytes() == DATA
    assert store.verify(DIGEST)
    assert files(layout) == [DIGEST]


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([DATA[:-1] + b"?"], Reason.ARTIFACT_DIGEST),
        ([DATA[:-1]], Reason.ARTIFACT_SIZE),
        ([DATA, b"one too many"], Reason.ARTIFACT_SIZE),
        ([], Reason.ARTIFACT_SIZE),
    ],
    ids=["one byte wrong", "too short", "too long", "empty"],
)
def test_wrong_bytes_are_refused_and_leave_nothing(
    layout: Layout, store: FolderStore, pieces: list[bytes], reason: Reason
) -> None:
    with pytest.raises(RefusedError) as found:
        store.add(pieces, sha256=DIGEST, length=len(DATA))
    assert found.value.reason is reason
    assert files(layout) == []


def test_an_endless_file_is_refused_at_its_length(store: FolderStore) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(RefusedError) as found:
        store.add(endless(), sha256=DIGEST, length=5000)
    assert found.value.reason is Reason.ARTIFACT_SIZE
    assert taken == 6


_ADDER = """
import sys, time
from pathlib import Path
from primum_agent.content_store import FolderStore
from primum_agent.layout import Layout
store = FolderStore(Layout(Path(sys.argv[1])))
def slowly():
    for _ in range(1000):
        yield b"x" * 1000
        print("piece", flush=True)
        time.sleep(0.01)
store.add(slowly(), sha256="0" * 64, length=1_000_000)
"""


def test_killed_while_adding_leaves_nothing_after_the_next_start(
    layout: Layout, store: FolderStore
) -> None:
    adder = subprocess.Popen(
        [sys.executable, "-c", _ADDER, str(layout.root)], stdout=subprocess.PIPE
    )
    assert adder.stdout is not None
    adder.stdout.readline()
    adder.kill()
    adder.wait()
    adder.stdout.close()
    assert files(layout) != [], "the kill came while a file was being written"
    assert not store.holds("0" * 64)
    store.prepare()
    assert files(layout) == []


def test_a_release_that_does_not_fit_is_refused_before_it_is_fetched(store: FolderStore) -> None:
    with pytest.raises(FailedError) as found:
        store.make_room(10**18)
    assert found.value.reason is Reason.RESOURCE_STORAGE


def test_a_generation_is_there_whole_or_not_at_all(layout: Layout, store: FolderStore) -> None:
    present, missing = item(DATA, "model.onnx"), item(b"other", "other.bin")
    store.add([DATA], sha256=DIGEST, length=len(DATA))
    with pytest.raises(FailedError):
        store.make_generation(1, items=[present, missing], manifest=b"{}", record={})
    assert list(layout.generations.iterdir()) == []
    generation(store, 1, DATA)
    assert is_whole(store, 1, DATA)
    assert store.manifest_of(1) == manifest_of(present)


def test_switching_is_one_step_and_can_be_taken_back(layout: Layout, store: FolderStore) -> None:
    generation(store, 1, DATA)
    generation(store, 2, b"newer")
    assert store.active() is None
    for number in (1, 2, 1):
        store.activate(number)
        assert store.active() == number
        assert (layout.active / "model.onnx").is_file()
    store.activate(None)
    assert store.active() is None


def test_a_switch_that_fails_leaves_the_old_link(layout: Layout, store: FolderStore) -> None:
    generation(store, 1, DATA)
    store.activate(1)
    gone = layout.root / "not-there" / "active"
    with pytest.raises(FailedError):
        switch_link(gone, "generations/1")
    assert store.active() == 1


def test_changed_bytes_are_found(store: FolderStore) -> None:
    generation(store, 1, DATA)
    path = store.folder_of(1) / "model.onnx"
    path.chmod(0o640)
    path.write_bytes(DATA[:-1] + b"?")
    assert not is_whole(store, 1, DATA)
    assert not store.verify(DIGEST), "the link and the store share the bytes"
    store.discard(DIGEST)
    assert not store.holds(DIGEST)


def test_a_generation_is_held_to_the_signed_manifest_and_not_to_its_own_record(
    store: FolderStore,
) -> None:
    """Whoever can write the folder changes model and record together; the manifest is signed."""
    generation(store, 1, DATA)
    folder = store.folder_of(1)
    for name, data in (("model.onnx", b"tampered"), ("manifest.json", b"")):
        (folder / name).unlink()
        (folder / name).write_bytes(data or manifest_of(item(b"tampered", "model.onnx")))
        record = {"files": [asdict(item(b"tampered", "model.onnx"))]}
        (folder / "generation.json").chmod(0o640)
        (folder / "generation.json").write_text(json.dumps(record))
        assert not is_whole(store, 1, DATA)
    (folder / "manifest.json").unlink()
    assert not is_whole(store, 1, DATA)


def test_collecting_keeps_what_is_active_even_when_nobody_names_it(
    layout: Layout, store: FolderStore
) -> None:
    for number in range(1, 5):
        generation(store, number, b"release %d" % number)
    store.activate(2)
    staged = hashlib.sha256(b"release 1").hexdigest()
    assert store.collect(keep=[4], keep_files=[staged]) == [1, 3]
    assert store.numbers() == [2, 4]
    assert is_whole(store, 2, b"release 2")
    assert is_whole(store, 4, b"release 4")
    assert store.holds(staged)
    assert len(files(layout)) == 3


def test_a_file_system_without_hard_links_gets_copies(
    layout: Layout, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("primum_agent.content_store.os.link", refuse)
    generation(store, 1, DATA)
    assert is_whole(store, 1, DATA)
    shutil.rmtree(layout.store)
    assert is_whole(store, 1, DATA)


def test_a_digest_with_a_path_in_it_is_a_bug_of_ours(store: FolderStore) -> None:
    for name in ("../" + "0" * 61, "/etc/passwd", "0" * 63):
        with pytest.raises(RuntimeError):
            store.path_of(name)
    assert isinstance(store.path_of("0" * 64), Path)
