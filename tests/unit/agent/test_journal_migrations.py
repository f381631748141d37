"""The journal's tables go forward and back one generation; what is further ahead is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from primum_agent import journal_migrations
from primum_agent.checkpointing import prune
from primum_agent.clock import FakeClock
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.journal_migrations import MAJOR, NEWEST, STEPS, generation_of, is_understood
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.signer import KeySigner
from primum_verifier.core.errors import FailedError

DEVICE = "wearable-001"
ADDED_LATER = """
ALTER TABLE events ADD COLUMN powered REAL NOT NULL DEFAULT 0;
ALTER TABLE problems ADD COLUMN remedy TEXT NOT NULL DEFAULT '';
ALTER TABLE counters ADD COLUMN since TEXT NOT NULL DEFAULT '';
ALTER TABLE verdicts ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE trust ADD COLUMN checked TEXT NOT NULL DEFAULT '';
ALTER TABLE telemetry ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
CREATE TABLE summaries (day TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
INSERT INTO summaries VALUES ('2026-06-01', 'of an agent ahead');
"""
"""What a minor generation may do: add."""

GENERATION = Generation(
    number=3,
    component="pvc-classifier",
    version="1.1.0",
    release="a" * 64,
    counter=2,
    floor_counter=1,
    statement="b" * 64,
    statement_number=5,
    health_window=30,
    max_attempts=3,
)


def reopen(layout: Layout, **bounds: Any) -> Journal:
    return Journal.open_or_restart(
        layout, clock=FakeClock(), device_id=DEVICE, bounds=JournalBounds(**bounds)
    )


def append(journal: Journal, count: int = 1) -> None:
    for _ in range(count):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, change={"counterFloor": 3}))


def store(journal: Journal, text: str) -> None:
    """Store a state as the agent ahead would."""
    journal._connection.execute("UPDATE state SET text = ?", (text,))
    journal.set_counters(state_digest=hashlib.sha256(text.encode()).hexdigest())


def sql(layout: Layout, script: str) -> None:
    connection = sqlite3.connect(layout.journal)
    connection.executescript(script)
    connection.close()


def tables(layout: Layout) -> dict[str, str]:
    connection = sqlite3.connect(layout.journal)
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    ).fetchall()
    connection.close()
    return dict(found)


@pytest.fixture
def first_generation(layout: Layout) -> Layout:
    """A database as the first generation wrote it, with events, and no room to shrink."""
    connection = sqlite3.connect(layout.journal)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in STEPS[0][1].strip().split(";\n"):
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_migrations, "STEPS", {0: STEPS[0]})
        patch.setattr(journal_migrations, "NEWEST", 1)
        journal = Journal.open(layout, clock=FakeClock(), device_id=DEVICE)
        journal.record(Entry(kind=EventKind.JOURNAL_BEGUN))
        append(journal, 3)
        assert generation_of(journal._connection) == 1
        journal.close()
    return layout


def test_an_older_database_goes_forward_and_keeps_everything(
    first_generation: Layout, tmp_path: Path
) -> None:
    journal = reopen(first_generation)
    assert generation_of(journal._connection) == NEWEST
    append(journal)
    assert journal.last_sequence() == 5
    assert journal.state().counter_floor == 3
    journal.check(whole=True)
    assert journal._connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2, "it can shrink"
    journal.close()
    fresh = Layout(tmp_path / "fresh")
    fresh.run.mkdir(parents=True)
    reopen(fresh).close()
    assert tables(first_generation) == tables(fresh), "one way to each table"


def test_an_older_database_can_be_looked_at_without_being_changed(first_generation: Layout) -> None:
    before = first_generation.journal.read_bytes()
    journal = Journal.open_to_read(first_generation, clock=FakeClock())
    assert journal.checkpoint() is None
    assert journal.waiting_telemetry(5) == []
    assert journal.last_head() == 0
    assert journal.state() == journal.replayed()
    assert len(list(journal.history())) == 4
    journal.check(whole=True)
    journal.close()
    assert first_generation.journal.read_bytes() == before


def test_reports_of_an_older_agent_can_be_looked_at_without_being_changed(layout: Layout) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_migrations, "STEPS", {0: STEPS[0], 1: STEPS[1]})
        patch.setattr(journal_migrations, "NEWEST", 2)
        journal = Journal.open(layout, clock=FakeClock(), device_id=DEVICE)
        journal.record(Entry(kind=EventKind.JOURNAL_BEGUN))
        journal._connection.execute("INSERT INTO telemetry (kind, line) VALUES ('health', x'61')")
        journal.close()
    before = layout.journal.read_bytes()
    journal = Journal.open_to_read(layout, clock=FakeClock())
    assert [row.line for row in journal.waiting_telemetry(5)] == [b"a"]
    journal.close()
    assert layout.journal.read_bytes() == before


_MIGRATES = """
import os, signal, sqlite3, sys
from pathlib import Path
from primum_agent import journal_schema
from primum_agent.journal_migrations import migrate
def killing(connection):
    def look(statement):
        if statement.startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    connection.set_trace_callback(look)
    migrate(connection)
journal_schema.migrate = killing
journal_schema.connect(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN",
        "CREATE TABLE checkpoints",
        "CREATE TABLE telemetry",
        "PRAGMA user_version =",
        "COMMIT",
    ],
)
def test_a_cut_in_the_middle_of_a_migration_leaves_the_generation_before(
    first_generation: Layout, statement: str
) -> None:
    before = tables(first_generation)
    words = [sys.executable, "-c", _MIGRATES, str(first_generation.journal), statement]
    assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGKILL
    assert tables(first_generation) == before
    journal = reopen(first_generation)
    assert generation_of(journal._connection) == NEWEST
    assert journal.last_sequence() == 4
    journal.check(whole=True)
    journal.close()


def test_a_cut_in_a_later_step_keeps_the_steps_before(first_generation: Layout) -> None:
    words = [sys.executable, "-c", _MIGRATES, str(first_generation.journal), "ALTER TABLE"]
    assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGKILL
    left = tables(first_generation)
    assert "checkpoints" in left
    assert "kept_at" not in left["telemetry"]
    journal = reopen(first_generation)
    assert generation_of(journal._connection) == NEWEST
    assert journal.last_sequence() == 4
    journal.close()


def test_a_cut_while_the_first_tables_are_made_leaves_none(layout: Layout) -> None:
    words = [sys.executable, "-c", _MIGRATES, str(layout.journal), "CREATE TABLE trust"]
    assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGKILL
    journal = reopen(layout)
    assert json.loads(next(journal.events()))["type"] == "primum.device.journal.begun"
    journal.close()


def test_two_processes_that_migrate_at_once_make_each_table_once(first_generation: Layout) -> None:
    words = [sys.executable, "-c", _MIGRATES, str(first_generation.journal), "never"]
    both = [subprocess.Popen(words) for _ in range(3)]
    assert [process.wait(timeout=60) for process in both] == [0, 0, 0]
    reopen(first_generation).close()


def test_a_database_one_ahead_is_used_and_what_it_adds_stays(layout: Layout) -> None:
    """The agent went back by one: it appends, prunes and reports, and rewrites nothing."""
    journal = reopen(layout)
    append(journal, 30)
    journal.note_problem(topic="broker", what="broker.unreachable", text="away")
    journal.close()
    sql(layout, ADDED_LATER + f"PRAGMA user_version = {NEWEST + 1};")
    journal = reopen(layout, keep_events=2, max_bytes=1 << 10)
    append(journal, 5)
    journal.note_problem(topic="attempt", what="x", text="y")
    journal.keep_verdict(release="a" * 64, name="pvc 1.0.0", verdict={"outcome": "refused"})
    journal.replace_trust("clinical", [("metadata", "root.json", b"{}")])
    journal.keep_telemetry(kind="health", line=b"{}")
    journal.acknowledge(events=[row.sequence for row in journal.waiting_events(99)], heads=[])
    signer = KeySigner(Ed25519PrivateKey.generate())
    assert prune(journal, signer=signer, device_id=DEVICE, clock=FakeClock()) > 0
    assert [item.topic for item in journal.problems()] == ["attempt", "broker"]
    assert len(journal.verdicts()) == len(journal.trust_rows("clinical")) == 1
    journal.check(whole=True)
    assert generation_of(journal._connection) == NEWEST + 1
    kept = journal._connection.execute("SELECT text FROM summaries").fetchall()
    assert kept == [("of an agent ahead",)]
    journal.close()


def test_members_of_the_state_that_only_the_agent_ahead_knows_are_kept(layout: Layout) -> None:
    journal = reopen(layout)
    change = {"generation": {**GENERATION.__dict__, "colour": "green"}, "active": 3}
    journal.record(Entry(kind=EventKind.UPDATE_ACTIVATED, change=change))
    state = json.loads(journal.state().to_json())
    state["generations"][0]["colour"] = "green"
    state["interlock"] = {"since": 7}
    store(journal, json.dumps(state))
    journal._connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    journal.close()
    journal = reopen(layout)
    append(journal)
    (text,) = journal._connection.execute("SELECT text FROM state").fetchone()
    stored = json.loads(text)
    assert stored["interlock"] == {"since": 7}
    assert stored["generations"][0]["colour"] == "green"
    assert stored["counter_floor"] == 3
    assert journal.state().in_use == GENERATION
    journal.check(whole=True)
    journal.close()


def test_a_state_that_only_the_agent_ahead_knows_is_left_by_rolling_back(layout: Layout) -> None:
    """D07: it is no damage, and until the step is recorded nothing is rewritten."""
    journal = reopen(layout)
    text = journal.state().to_json().replace('"idle"', '"pre-warming"')
    store(journal, text)
    journal._connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    journal.close()
    journal = reopen(layout)
    assert journal.state().lifecycle is State.ROLLING_BACK
    (stored,) = journal._connection.execute("SELECT text FROM state").fetchone()
    assert stored == text
    assert journal.problems() == []
    journal.close()
    assert not list(layout.root.glob("journal.damaged-*"))


@pytest.mark.parametrize("generation", [NEWEST + 2, MAJOR, MAJOR + NEWEST])
def test_a_database_further_ahead_is_left_alone_to_the_byte(
    layout: Layout, generation: int
) -> None:
    reopen(layout).close()
    sql(layout, f"PRAGMA journal_mode = DELETE; PRAGMA user_version = {generation};")
    before = layout.journal.read_bytes()
    acts: list[Callable[[], Journal]] = [
        lambda: reopen(layout),
        lambda: Journal.open(layout, clock=FakeClock(), device_id=DEVICE),
        lambda: Journal.open_to_read(layout, clock=FakeClock()),
    ]
    for act in acts:
        with pytest.raises(FailedError) as caught:
            act()
        assert f"generation {generation}" in caught.value.found
        assert "keeps running" in caught.value.remedy
    assert layout.journal.read_bytes() == before
    assert not list(layout.root.glob("journal.damaged-*"))
    assert sorted(path.name for path in layout.root.glob("journal.db*")) == ["journal.db"]


@pytest.mark.parametrize(
    ("generation", "understood"),
    [(0, True), (1, True), (NEWEST, True), (NEWEST + 1, True), (NEWEST + 2, False), (-1, False)],
)
def test_which_generations_are_understood(generation: int, understood: bool) -> None:
    assert is_understood(generation) is understood


def test_a_state_reads_back_as_it_was_written() -> None:
    state = DeviceState(active=3, generations=(GENERATION,), lifecycle=State.WAITING)
    assert DeviceState.from_json(state.to_json()) == state
    assert "unknown" not in json.loads(state.to_json())
    assert os.linesep not in state.to_json()
