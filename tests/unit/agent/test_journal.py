"""The journal: nothing lost, nothing forked, the state is the sum of the events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primum_agent.clock import FakeClock
from primum_agent.device_state import DeviceState, fold
from primum_agent.events import FIRST_HASH, Entry, EventKind, event_hash
from primum_agent.floors import SEQUENCE_RESERVE, read_floors
from primum_agent.journal import Journal
from primum_agent.journal_schema import DamagedJournalError
from primum_agent.layout import Layout
from primum_agent.lifecycle import TABLE, State, Stimulus, UnlistedStimulusError
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.trust_store import TrustedSet

DEVICE = "wearable-001"


def reopen(layout: Layout, clock: FakeClock) -> Journal:
    return Journal.open_or_restart(layout, clock=clock, device_id=DEVICE)


def chain_of(journal: Journal) -> list[dict[str, Any]]:
    """The events, after checking that each names the hash of the one before."""
    previous, events = FIRST_HASH, []
    for line in journal.events():
        event = json.loads(line)
        assert event["data"]["prevEventHash"] == previous
        previous = event_hash(line)
        events.append(event)
    return events


GENERATIONS = st.fixed_dictionaries(
    {
        "number": st.integers(1, 9),
        "component": st.just("pvc"),
        "version": st.sampled_from(["1.0.0", "1.1.0"]),
        "release": st.sampled_from(["a" * 64, "b" * 64]),
        "counter": st.integers(1, 9),
        "floor_counter": st.integers(0, 3),
        "statement": st.just("c" * 64),
        "statement_number": st.integers(1, 9),
        "health_window": st.integers(1, 60),
        "max_attempts": st.integers(1, 3),
        "proven": st.booleans(),
    }
)
RELEASES = st.text("0123456789abcdef", min_size=4, max_size=4)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "active": st.none() | st.integers(1, 9),
        "target": st.none() | st.integers(1, 9),
        "generation": GENERATIONS,
        "collected": st.lists(st.integers(1, 9), max_size=3),
        "conclusion": st.dictionaries(RELEASES, st.text(max_size=5), min_size=1, max_size=2),
        "fault": st.dictionaries(RELEASES, st.text(max_size=5), min_size=1, max_size=1),
        "setback": RELEASES,
        "forgiven": RELEASES,
        "counterFloor": st.integers(0, 9),
        "eligibility": st.text(max_size=5),
        "candidate": st.none()
        | st.fixed_dictionaries(
            {"component": st.just("pvc"), "version": st.just("1.1.0"), "release": RELEASES}
        ),
    },
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    acts=st.lists(
        st.tuples(st.sampled_from(list(Stimulus)), CHANGES, st.lists(st.sampled_from(Reason))),
        max_size=25,
    )
)
def test_the_state_is_what_the_events_add_up_to(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Any]
) -> None:
    """Any run of steps, listed in the table or not: replaying gives the stored state again."""
    layout = Layout(tmp_path_factory.mktemp("state"))
    journal = reopen(layout, FakeClock())
    for stimulus, change, reasons in acts:
        before = journal.state(), journal.head()
        entry = Entry(
            kind=EventKind.UPDATE_FOUND,
            stimulus=stimulus,
            change=change,
            reasons=tuple(map(str, reasons)),
        )
        if (before[0].lifecycle, stimulus) in TABLE:
            journal.record(entry)
        else:
            with pytest.raises(UnlistedStimulusError):
                journal.record(entry)
            assert (journal.state(), journal.head()) == before, "it changed nothing"
    assert journal.replayed() == journal.state()
    chain_of(journal)
    journal.close()


def test_many_conclusions_stay_a_small_state() -> None:
    state = DeviceState()
    for number in range(500):
        state = fold(state, {"change": {"conclusion": {f"{number:064}": "refused"}}})
    assert len(state.conclusions) == 64
    assert f"{499:064}" in state.conclusions
    assert DeviceState.from_json(state.to_json()) == state


_APPENDER = """
import sys
from pathlib import Path
from primum_agent.clock import SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.layout import Layout
journal = Journal.open(Layout(Path(sys.argv[1])), clock=SystemClock(), device_id="wearable-001")
for _ in range(60):
    journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, attempt=sys.argv[2]))
"""


def test_two_processes_appending_at_once_never_fork_the_chain(
    layout: Layout, journal: Journal
) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _APPENDER, str(layout.root), name])
        for name in ("supervisor", "attempt")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    events = chain_of(journal)
    assert [int(event["sequence"]) for event in events] == list(range(1, 122))
    assert {event["data"].get("attempt") for event in events[1:]} == {"supervisor", "attempt"}


def test_an_appender_that_is_killed_leaves_a_whole_chain(layout: Layout, journal: Journal) -> None:
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", _APPENDER, str(layout.root), "x"])
        count = journal.last_sequence()
        while journal.last_sequence() < count + 3 and writer.poll() is None:
            pass
        writer.kill()
        writer.wait()
    events = chain_of(journal)
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert journal.replayed() == journal.state()


def test_an_event_says_what_fleets_need(journal: Journal) -> None:
    journal.record(
        Entry(
            kind=EventKind.UPDATE_FOUND,
            stimulus=Stimulus.FOUND,
            subject="pvc-classifier 1.0.0",
            attempt="a1",
        )
    )
    event = chain_of(journal)[-1]
    assert event["specversion"] == "1.0"
    assert event["type"] == "primum.device.update.found"
    assert event["source"] == f"urn:primum:device:{DEVICE}"
    assert event["sequence"] == "00000000000000000002"
    assert event["time"] == event["recordedtime"] == "2026-06-01T12:00:00Z"
    assert event["data"]["from"] == "idle"
    assert event["data"]["to"] == "resolving"
    assert event["data"]["clock"] == {"quality": "synchronised"}
    assert event["data"]["bootCount"] == 1


@pytest.mark.parametrize("damage", ["zeroed", "random", "emptied-page", "truncated"])
def test_a_damaged_journal_is_set_aside_and_the_floors_survive(
    layout: Layout, clock: FakeClock, damage: str
) -> None:
    journal = reopen(layout, clock)
    journal.record(
        Entry(
            kind=EventKind.UPDATE_COMMITTED,
            change={"counterFloor": 7, "fault": {"f" * 64: "selftest.failed"}},
        )
    )
    JournalTrustStore(journal, "clinical").save(
        TrustedSet(
            metadata={"timestamp.json": b'{"signed":{"version":41}}'},
            floors={"timestamp": 41},
            reference_time=clock.now(),
        )
    )
    journal.raise_context_floor(3)
    last = journal.last_sequence()
    journal.close()
    data = layout.journal.read_bytes()
    layout.journal.with_name("journal.db-wal").unlink(missing_ok=True)
    layout.journal.write_bytes(
        {
            "zeroed": bytes(len(data)),
            "random": os.urandom(len(data)),
            "emptied-page": data[:4096] + bytes(4096) + data[8192:],
            "truncated": data[: len(data) // 2],
        }[damage]
    )
    journal = reopen(layout, clock)
    first = json.loads(next(journal.events()))
    assert first["type"] == "primum.device.journal.restarted"
    assert first["data"]["reasons"] == ["state.damaged"]
    assert int(first["sequence"]) > last, "no number is used twice"
    assert int(first["sequence"]) <= last + SEQUENCE_RESERVE
    aside = first["data"]["detail"]["gap"]["setAside"]
    assert (layout.root / aside).is_file()
    assert journal.state().counter_floor == 7
    assert journal.state().faults == {"f" * 64: "selftest.failed"}
    assert journal.counter("context-floor", "0") == "3"
    kept = JournalTrustStore(journal, "clinical").load()
    assert kept is not None
    assert kept.floors == {"timestamp": 41}
    assert kept.metadata == {}
    assert journal.replayed() == journal.state()
    journal.close()


def test_a_journal_that_was_deleted_is_a_named_gap_too(layout: Layout, clock: FakeClock) -> None:
    reopen(layout, clock).close()
    for path in layout.root.glob("journal.db*"):
        path.unlink()
    journal = reopen(layout, clock)
    assert json.loads(next(journal.events()))["data"]["reasons"] == ["state.damaged"]
    journal.close()


def test_an_attempt_never_sets_a_journal_aside(layout: Layout, clock: FakeClock) -> None:
    layout.journal.write_bytes(os.urandom(8192))
    with pytest.raises(DamagedJournalError) as found:
        Journal.open(layout, clock=clock, device_id=DEVICE)
    assert found.value.reason is Reason.STATE_DAMAGED
    assert layout.journal.stat().st_size == 8192


def test_a_journal_of_a_newer_agent_is_left_alone(layout: Layout, clock: FakeClock) -> None:
    journal = reopen(layout, clock)
    journal._connection.execute("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(FailedError) as found:
        reopen(layout, clock)
    assert "generation 99" in found.value.found
    assert not list(layout.root.glob("journal.damaged-*"))


def test_a_full_disk_is_an_error_with_a_remedy_and_loses_nothing(
    layout: Layout, journal: Journal
) -> None:
    journal._connection.execute("PRAGMA max_page_count = 20")
    recorded = 0

    def fill() -> None:
        nonlocal recorded
        for _ in range(1000):
            journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, detail={"x": "y" * 500}))
            recorded += 1

    with pytest.raises(FailedError) as found:
        fill()
    assert found.value.reason is Reason.RESOURCE_STORAGE
    assert found.value.remedy
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.record(Entry(kind=EventKind.AGENT_STOPPED))
    assert len(chain_of(journal)) == recorded + 2
    assert journal.replayed() == journal.state()
    assert layout.journal.exists()


def test_a_lasting_trouble_is_told_once_and_counted(journal: Journal) -> None:
    def note(what: str) -> bool:
        return journal.note_problem(topic="authority clinical", what=what, text="text")

    assert [note("trust.expired"), note("trust.expired"), note("trust.rollback")] == [
        True,
        False,
        True,
    ]
    ended = journal.clear_problem("authority clinical")
    assert ended is not None
    assert ended.times == 1
    assert journal.clear_problem("authority clinical") is None


def test_powered_seconds_go_on_over_boots_and_never_back(
    layout: Layout, clock: FakeClock, journal: Journal
) -> None:
    clock.powered = 100.0
    first = journal.powered_total()
    clock.powered = 160.0
    assert journal.powered_total() == first + 60.0
    clock.boot, clock.powered = "boot-2", 5.0
    assert journal.powered_total() == first + 65.0
    assert layout.journal.exists()


def test_boots_are_counted_and_starts_are_not(layout: Layout, clock: FakeClock) -> None:
    for boot in ("boot-1", "boot-1", "boot-2"):
        clock.boot = boot
        journal = reopen(layout, clock)
        count = journal.counter("boots", "0")
        journal.close()
    assert count == "2"


def test_the_floors_copy_never_falls(layout: Layout, journal: Journal) -> None:
    journal.record(Entry(kind=EventKind.UPDATE_COMMITTED, change={"counterFloor": 5}))
    journal.record(Entry(kind=EventKind.UPDATE_COMMITTED, change={"counterFloor": 2}))
    found = read_floors(layout.floors)
    assert found is not None
    assert found.counter == journal.state().counter_floor == 5


def test_the_history_holds_each_head_after_the_event_that_it_closes(journal: Journal) -> None:
    journal.add_head(sequence=1, line=b'{"head":1}', key="")
    journal.record(Entry(kind=EventKind.AGENT_STARTED))
    lines = list(journal.history())
    assert lines[1] == b'{"head":1}'
    assert json.loads(lines[2])["sequence"].endswith("2")


def test_looking_works_on_a_folder_that_cannot_be_written(
    tmp_path: Path, layout: Layout, clock: FakeClock
) -> None:
    reopen(layout, clock).close()
    copy = tmp_path / "copy"
    copy.mkdir()
    Layout(copy).journal.write_bytes(layout.journal.read_bytes())
    found = Journal.open_to_read(Layout(copy), clock=clock)
    assert found.state().lifecycle is State.IDLE
    found.close()
