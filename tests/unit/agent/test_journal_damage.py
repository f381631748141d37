"""Damage of every kind is found, set aside, told as a gap, and survived (D18)."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from primum_agent.checkpointing import prune
from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.journal_chain import fault_in_chain
from primum_agent.journal_mark import read_mark, write_mark
from primum_agent.layout import Layout
from primum_agent.sign_head import sign_head
from primum_agent.signer import KeySigner
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

DEVICE = "wearable-001"
SIGNER = KeySigner(Ed25519PrivateKey.generate())
COUNT = 30


def reopen(layout: Layout) -> Journal:
    return Journal.open_or_restart(layout, clock=FakeClock(), device_id=DEVICE)


@pytest.fixture
def written(layout: Layout) -> Layout:
    """A journal of some events with a signed head, closed as after a planned stop."""
    journal = reopen(layout)
    for _ in range(COUNT):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, change={"counterFloor": 5}))
    sign_head(journal, signer=SIGNER, device_id=DEVICE, clock=FakeClock())
    journal.close()
    return layout


def gap_of(layout: Layout) -> dict[str, Any]:
    """The gap that the first event of the journal begun anew names; what must hold besides."""
    journal = reopen(layout)
    event = json.loads(next(journal.events()))
    assert event["type"] == "primum.device.journal.restarted", "nothing was found"
    assert event["data"]["reasons"] == [Reason.STATE_DAMAGED]
    assert int(event["sequence"]) > COUNT + 1, "no number is used twice"
    assert journal.state().counter_floor == 5, "the floors survive"
    journal.record(Entry(kind=EventKind.AGENT_STARTED))
    journal.check(whole=True)
    journal.close()
    gap: dict[str, Any] = event["data"]["detail"]["gap"]
    return gap


def with_sql(layout: Layout, *statements: str) -> None:
    connection = sqlite3.connect(layout.journal)
    connection.create_function("flipped", 1, lambda line: line.replace(b"failed", b"fbiled"))
    connection.create_function("digest", 1, lambda line: hashlib.sha256(line).hexdigest())
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE events SET line = flipped(line) WHERE sequence = 9"], "event 9 was changed"),
        (
            # Edited together with its hash: the next one names another event.
            [
                "UPDATE events SET line = flipped(line) WHERE sequence = 9",
                "UPDATE events SET hash = digest(line) WHERE sequence = 9",
            ],
            "event 10 does not follow event 9",
        ),
        (["DELETE FROM events WHERE sequence = 9"], "event 10 does not follow event 8"),
        (["DELETE FROM events WHERE sequence < 9"], "event 9 does not follow event 0"),
        (["DELETE FROM events WHERE sequence > 20"], "the events after 20 are gone"),
        (["DELETE FROM events"], "the events are gone"),
        (
            [
                "UPDATE events SET line = flipped(line) WHERE sequence = 31",
                "UPDATE events SET hash = digest(line) WHERE sequence = 31",
            ],
            "the signed head of event 31 names another event",
        ),
        (["UPDATE heads SET line = x'00'"], "the signed head of event 31 cannot be read"),
        (["UPDATE state SET text = '{'"], "the stored state"),
        (["UPDATE state SET text = replace(text, 'idle', 'waiting')"], "the stored state"),
        (["DELETE FROM state"], "the stored state"),
        (
            ["UPDATE events SET sequence = 99 WHERE sequence = 31", "DELETE FROM heads"],
            "event 99 carries the number 31",
        ),
    ],
)
def test_what_somebody_did_to_the_events_is_found_at_the_next_start(
    written: Layout, statements: list[str], found: str
) -> None:
    with_sql(written, *statements)
    gap = gap_of(written)
    assert found in gap["damage"]
    assert (written.root / gap["setAside"]).is_file(), "kept for a person to look at"


def test_a_flipped_byte_on_the_disk_is_found(written: Layout) -> None:
    data = bytearray(written.journal.read_bytes())
    place = data.index(b"attempt.failed")
    data[place] ^= 1
    written.journal.write_bytes(data)
    assert "was changed" in gap_of(written)["damage"]


def test_a_truncated_file_is_found(written: Layout) -> None:
    data = written.journal.read_bytes()
    written.journal.write_bytes(data[: len(data) // 2])
    assert gap_of(written)["setAside"]


def test_a_deleted_file_is_found(written: Layout) -> None:
    written.journal.unlink()
    gap = gap_of(written)
    assert gap["damage"] == "the journal is gone"
    assert gap["lastRecorded"] == COUNT + 1


def test_a_deleted_file_with_its_floors_is_found_by_the_mark(layout: Layout) -> None:
    journal = reopen(layout)
    journal.record(Entry(kind=EventKind.AGENT_STARTED))
    journal.close()
    layout.journal.unlink()
    layout.floors.unlink()
    journal = reopen(layout)
    first = json.loads(next(journal.events()))
    journal.close()
    assert first["type"] == "primum.device.journal.restarted"
    assert int(first["sequence"]) == 3


def test_an_older_copy_that_was_put_back_is_found(written: Layout) -> None:
    older = written.journal.read_bytes()
    journal = reopen(written)
    for _ in range(3):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    journal.close()
    written.journal.write_bytes(older)
    assert f"the events after {COUNT + 1} are gone" in gap_of(written)["damage"]


_DIES = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.layout import Layout
journal = Journal.open(Layout(Path(sys.argv[1])), clock=FakeClock(), device_id="wearable-001")
for _ in range(5):
    journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_deleted_write_ahead_log_is_found(written: Layout) -> None:
    """What was committed last lay in it alone; the database without it is whole in itself."""
    words = [sys.executable, "-c", _DIES, str(written.root)]
    assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGKILL
    log = written.journal.with_name("journal.db-wal")
    assert log.stat().st_size > 0
    log.unlink()
    assert f"the events after {COUNT + 1} are gone" in gap_of(written)["damage"]


def test_a_cut_between_mark_and_commit_is_no_damage(written: Layout) -> None:
    write_mark(written.journal_mark, COUNT + 2)
    journal = reopen(written)
    assert journal.last_sequence() == COUNT + 1
    journal.close()


@pytest.mark.parametrize("torn", [b"", b"\0" * 128, b"x" * 64, b"9" * 128])
def test_a_torn_mark_says_nothing_or_what_it_said_before(written: Layout, torn: bytes) -> None:
    written.journal_mark.write_bytes(torn)
    assert read_mark(written.journal_mark) == 0
    reopen(written).close()
    write_mark(written.journal_mark, 40)
    write_mark(written.journal_mark, 41)
    content = written.journal_mark.read_bytes()
    for slot in (0, 64):
        broken = content[:slot] + b"\xff" * 8 + content[slot + 8 :]
        written.journal_mark.write_bytes(broken)
        assert read_mark(written.journal_mark) in {40, 41}


def test_an_old_edit_is_found_by_the_whole_check_alone_and_the_tail_costs_little(
    written: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sql(written, "UPDATE events SET line = flipped(line) WHERE sequence = 3")
    monkeypatch.setattr("primum_agent.journal.TAIL_EVENTS", 10)
    journal = reopen(written)
    assert fault_in_chain(journal._connection, last=10) == ""
    with pytest.raises(FailedError) as caught:
        journal.check(whole=True)
    assert caught.value.found == "event 3 was changed"
    journal.close()


def test_a_state_that_is_not_the_sum_is_found_by_the_whole_check(written: Layout) -> None:
    """Somebody changed the state together with its digest."""
    journal = reopen(written)
    connection = journal._connection
    connection.execute("UPDATE state SET text = replace(text, 'floor\":5', 'floor\":0')")
    (text,) = connection.execute("SELECT text FROM state").fetchone()
    journal.set_counters(state_digest=hashlib.sha256(text.encode()).hexdigest())
    journal.check()
    with pytest.raises(FailedError) as caught:
        journal.check(whole=True)
    assert caught.value.found == "the stored state is not what the events add up to"
    journal.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE checkpoints SET state = replace(state, 'floor\":5', 'floor\":1')",
        "UPDATE checkpoints SET hash = replace(hash, substr(hash, 1, 1), 'x')",
        "UPDATE checkpoints SET line = x'7b7d'",
        "DELETE FROM checkpoints",
    ],
)
def test_a_checkpoint_that_was_changed_or_taken_out_is_found(
    layout: Layout, statement: str
) -> None:
    bounds = JournalBounds(keep_days=1, keep_events=2, max_bytes=1 << 16)
    journal = Journal.open_or_restart(layout, clock=FakeClock(), device_id=DEVICE, bounds=bounds)
    for _ in range(COUNT + 30):
        entry = Entry(
            kind=EventKind.ATTEMPT_FAILED, change={"counterFloor": 5}, detail={"x": "y" * 3000}
        )
        journal.record(entry)
    journal.acknowledge(events=[row.sequence for row in journal.waiting_events(100)], heads=[])
    assert prune(journal, signer=SIGNER, device_id=DEVICE, clock=FakeClock()) > 20
    journal.close()
    with_sql(layout, statement)
    assert gap_of(layout)["setAside"]


def test_a_reader_never_sets_anything_aside(written: Layout) -> None:
    with_sql(written, "DELETE FROM events WHERE sequence = 9")
    before = written.journal.read_bytes()
    journal = Journal.open_to_read(written, clock=FakeClock())
    with pytest.raises(FailedError):
        journal.check(whole=True)
    journal.close()
    assert written.journal.read_bytes() == before


# A real disk that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", str(folder).encode(), b"tmpfs", 0, b"size=1m") < 0:
        pytest.skip(f"no small file system can be mounted: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(str(folder).encode(), 2)


def fill(folder: Path) -> Path:
    """Take every byte that is left."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.close(descriptor)
    return path


@pytest.mark.parametrize("state", ["new", "closed", "with-log"])
def test_a_full_disk_while_opening_loses_nothing_and_sets_nothing_aside(
    small_disk: Path, state: str
) -> None:
    layout = Layout(small_disk / "state")
    layout.run.mkdir(parents=True)
    count = 0
    if state != "new":
        journal = reopen(layout)
        journal.record(Entry(kind=EventKind.AGENT_STARTED))
        count = journal.last_sequence()
        journal.close()
    if state == "with-log":
        words = [sys.executable, "-c", _DIES, str(layout.root)]
        assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGKILL
        count += 5
    filler = fill(small_disk)

    def attempt(act: Callable[[], object]) -> None:
        with pytest.raises(FailedError) as caught:
            act()
        assert caught.value.reason is Reason.RESOURCE_STORAGE

    def begin_and_record() -> None:
        journal = reopen(layout)
        try:
            for _ in range(200):
                journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, detail={"x": "y" * 1000}))
        finally:
            journal.close()

    attempt(begin_and_record)
    assert not list(layout.root.glob("journal.damaged-*"))
    filler.unlink()
    journal = reopen(layout)
    assert journal.last_sequence() >= max(count, 1)
    journal.check(whole=True)
    kinds = [json.loads(line)["type"] for line in journal.events()]
    assert "primum.device.journal.restarted" not in kinds
    journal.close()
    shutil.rmtree(layout.root)


def test_a_disk_that_damages_every_journal_does_not_fill_itself_with_them(layout: Layout) -> None:
    clock = FakeClock()
    for _ in range(6):
        layout.journal.write_bytes(b"damaged" * 1000)
        layout.journal.with_name("journal.db-wal").write_bytes(b"x")
        clock.moment += timedelta(minutes=1)
        Journal.open_or_restart(layout, clock=clock, device_id=DEVICE).close()
    aside = sorted(path.name for path in layout.root.glob("journal.damaged-*Z"))
    assert aside == [f"journal.damaged-20260601T12{minute:02}00Z" for minute in (4, 5, 6)]
    assert len(list(layout.root.glob("journal.damaged-*"))) <= 9, "with their side files"


def test_a_number_that_was_skipped_is_found(written: Layout) -> None:
    """It follows by its hash, and yet an event between the two might have been."""
    journal = Journal.open(written, clock=FakeClock(), device_id=DEVICE)
    with journal._writing():
        journal._append(Entry(kind=EventKind.ATTEMPT_FAILED), sequence=COUNT + 5)
    journal.close()
    assert f"event {COUNT + 5} does not follow event {COUNT + 1}" in gap_of(written)["damage"]
