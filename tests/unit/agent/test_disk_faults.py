"""The disk fails for a moment: nothing is lost for it, nothing hangs, and the words are ours."""

from __future__ import annotations

import errno
import json
import math
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent import journal_schema
from primum_agent.attempt import unforeseen
from primum_agent.clock import FakeClock
from primum_agent.content_store import FolderStore
from primum_agent.device_state import DeviceState, Generation
from primum_agent.durable import storage_error
from primum_agent.fail_points import FailPoint
from primum_agent.journal import Journal
from primum_agent.journal_schema import (
    MOST_UNREAD,
    DamagedJournalError,
    UnreadableJournalError,
    damaged,
    refuse_if_unreadable,
    set_aside,
)
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.settings import read_settings
from primum_agent.supervisor import make_supervisor
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import EXIT_FAILED, FailedError
from primum_verifier.core.reasons import Reason

UNREADABLE = Path("/proc/self/mem")
"""A file that opens, and whose first byte cannot be read: the kernel answers EIO."""


@pytest.fixture
def found_damaged(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets so many checks of a whole journal find damage, as SQLite does where the disk fails."""
    real = Journal.check

    def arrange(times: int) -> None:
        left = iter(range(times))

        def find(journal: Journal) -> None:
            if next(left, None) is not None:
                raise damaged(Path("journal.db"), "database disk image is malformed")
            real(journal)

        monkeypatch.setattr(Journal, "check", find)

    return arrange


def reopened(layout: Layout, *, unread: int = 0) -> list[str]:
    """Open the journal as a supervisor does; the kinds of its events."""
    journal = Journal.open_or_restart(layout, clock=FakeClock(), device_id="d", unread=unread)
    try:
        return [json.loads(line)["type"].rpartition("device.")[2] for line in journal.events()]
    finally:
        journal.close()


def test_a_disk_that_fails_once_costs_no_journal(
    layout: Layout, found_damaged: Callable[[int], None]
) -> None:
    assert reopened(layout) == ["journal.begun"]
    found_damaged(1)
    assert reopened(layout) == ["journal.begun"]
    assert list(layout.root.glob("journal.damaged-*")) == []


def test_damage_that_stays_is_set_aside(
    layout: Layout, found_damaged: Callable[[int], None]
) -> None:
    assert reopened(layout) == ["journal.begun"]
    found_damaged(2)
    assert reopened(layout) == ["journal.restarted"]


def test_a_journal_that_cannot_be_read_is_waited_for_and_not_for_ever(
    layout: Layout, found_damaged: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is silent may be well tomorrow; a device must not wait for a bad block."""
    assert reopened(layout) == ["journal.begun"]
    monkeypatch.setattr(
        "primum_agent.journal.refuse_if_unreadable", lambda _: refuse_if_unreadable(UNREADABLE)
    )
    found_damaged(2)
    with pytest.raises(UnreadableJournalError) as failure:
        reopened(layout, unread=MOST_UNREAD - 1)
    assert failure.value.reason is Reason.RESOURCE_STORAGE
    assert not isinstance(failure.value, DamagedJournalError)
    found_damaged(2)
    assert reopened(layout, unread=MOST_UNREAD) == ["journal.restarted"]


def test_what_is_not_there_can_be_read(tmp_path: Path) -> None:
    refuse_if_unreadable(tmp_path / "journal.db")
    with pytest.raises(UnreadableJournalError):
        refuse_if_unreadable(UNREADABLE)


def test_the_copy_of_the_floors_meets_a_failing_disk_in_our_words(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def execute(self, *_: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

    state = journal.state()
    monkeypatch.setattr(journal, "state", lambda: state)
    monkeypatch.setattr(journal, "_connection", Failing())
    with pytest.raises(FailedError):
        journal._keep_floors()
    monkeypatch.undo()


def test_a_damaged_journal_on_a_failing_disk_is_told_in_our_words(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(journal_schema, "sync_folder", fail)
    layout.journal.write_bytes(b"no database")
    with pytest.raises(FailedError) as failure:
        set_aside(layout.journal, stamp="now")
    assert failure.value.reason is Reason.RESOURCE_STORAGE


def test_a_folder_that_cannot_be_listed_stops_no_start(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(layout)
    store.prepare()
    real = os.scandir

    def scan(path: Any = ".") -> Any:
        if Path(path).name == "generations":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    store.prepare()
    assert store.numbers() == []


def test_a_read_that_fails_once_takes_no_release_away(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unreadable counts as damaged, and what is damaged is left: only at a second look."""
    store = FolderStore(layout)
    store.prepare()
    manifest = b'{"items": []}'
    store.make_generation(1, items=(), manifest=manifest, record={})
    real, failing = FolderStore.manifest_of, iter([None])
    monkeypatch.setattr(
        FolderStore, "manifest_of", lambda self, number: next(failing, real(self, number))
    )
    assert store.generation_is_whole(1, release=sha256_hex(manifest))
    (store.folder_of(1) / "manifest.json").write_bytes(b"{}")
    assert not store.generation_is_whole(1, release=sha256_hex(manifest))


def test_what_killed_writes_left_is_gone_after_the_next_start(in_the_field: Any) -> None:
    """In the run folder and beside the record of a generation as much as anywhere else."""
    in_the_field.release("1.0.0", counter=1)
    layout = in_the_field.layout
    left = [layout.run / ".one.partial", layout.generations / "1" / ".two.partial"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half a ")
    in_the_field.write("trust-map.json", b"{}")
    in_the_field.once()
    assert [path for path in left if path.exists()] == []


def test_a_single_run_whose_own_events_cannot_be_written_ends(
    in_the_field: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody proved health, and the disk is full from the moment the roll-back is to be noted."""
    settings = read_settings(in_the_field.provisioning)
    now = [0.0]
    supervisor = make_supervisor(
        settings=settings,
        layout=in_the_field.layout,
        clock=FakeClock(),
        make_reporter=lambda _: None,
        once=True,
    )
    supervisor.monotonic = lambda: now[0]

    def fail(_: float) -> float:
        now[0] += 1.0
        raise storage_error(OSError(errno.ENOSPC, "full"), in_the_field.layout.root)

    monkeypatch.setattr(supervisor, "_do_what_is_due", fail)
    monkeypatch.setattr(supervisor, "_say_goodbye", lambda _: None)
    monkeypatch.setattr("primum_agent.supervisor.RETRY_SECONDS", 0.5)
    assert supervisor.run() == EXIT_FAILED
    assert now[0] < 10


def test_a_full_disk_gives_no_release_a_second_health_window(
    in_the_field: Any, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is over until that is written down, however often the disk refuses it."""
    used = Generation(
        number=1,
        component="c",
        version="1.0.0",
        release="r",
        counter=1,
        floor_counter=1,
        statement="s",
        statement_number=1,
        health_window=10,
        max_attempts=3,
    )
    state = DeviceState(lifecycle=State.PROVISIONAL, active=1, generations=(used,))
    monkeypatch.setattr(journal, "state", lambda: state)
    supervisor = make_supervisor(
        settings=read_settings(in_the_field.provisioning),
        layout=in_the_field.layout,
        clock=FakeClock(),
        make_reporter=lambda _: None,
    )
    monkeypatch.setattr(supervisor._watch, "_probe_health", lambda *_: math.inf)

    def refuse(*_: object) -> None:
        raise storage_error(OSError(errno.ENOSPC, "full"), in_the_field.layout.root)

    monkeypatch.setattr(supervisor._watch, "_give_up", refuse)
    supervisor._watch.watch_window(journal, 0.0)
    for now in (10.0, 12.0, 14.0):
        with pytest.raises(FailedError):
            supervisor._watch.watch_window(journal, now)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_anywhere_is_not_told_as_a_fault_of_the_agent(number: int) -> None:
    told = unforeseen(OSError(number, os.strerror(number), "scratch/some-folder"))
    assert told.reason in {Reason.RESOURCE_STORAGE, Reason.STATE_READ_ONLY}
    assert told.where == "scratch/some-folder"
    assert unforeseen(OSError(errno.EBADF, "ours")).reason is Reason.INTERNAL


def test_a_single_run_that_cannot_converge_ends_and_says_so(
    in_the_field: Any, eventually: Callable[..., Any]
) -> None:
    """It tried for ever, with nobody there to see it."""
    in_the_field.release("1.0.0", counter=1)
    cut = in_the_field.once(
        PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(FailPoint.TESTING_BEFORE_EVENT)
    )
    assert cut.returncode == -9
    kept = (in_the_field.provisioning / "trust-map.json").read_bytes()
    in_the_field.write("trust-map.json", b"{}")
    stuck = in_the_field.once()
    assert stuck.returncode == 3
    assert "trust-map.json" in stuck.stderr
    in_the_field.write("trust-map.json", kept)
    assert "update.interrupted" not in in_the_field.kinds()
    with in_the_field.running():
        eventually(lambda: "update.activated" in in_the_field.kinds())
    assert in_the_field.kinds().count("update.interrupted") == 1
