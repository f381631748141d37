"""Pruning: nothing unsent is lost, the state is the sum of all events ever, the chain verifies."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from primum_agent.checkpointing import prune, prune_and_tell
from primum_agent.clock import ClockQuality, FakeClock
from primum_agent.device_state import DeviceState, fold
from primum_agent.events import Entry, EventKind
from primum_agent.full_journal import is_held_by_full_journal
from primum_agent.journal import DAMAGE_TOPIC, Journal
from primum_agent.journal_bounds import JournalBounds, add_arguments, as_arguments, bounds_of
from primum_agent.journal_schema import DamagedJournalError
from primum_agent.layout import Layout
from primum_agent.sign_head import sign_head
from primum_agent.signer import KeySigner, make_device_key
from primum_verifier.record.chain import HistoryReport, check_history

DEVICE = "wearable-001"
SIGNER = KeySigner(Ed25519PrivateKey.generate())
BOUNDS = JournalBounds(keep_days=10, keep_events=2, max_bytes=1 << 30)
DAYS_20 = timedelta(days=20)


def opened(layout: Layout, clock: FakeClock, bounds: JournalBounds = BOUNDS) -> Journal:
    return Journal.open_or_restart(layout, clock=clock, device_id=DEVICE, bounds=bounds)


def append(journal: Journal, count: int, **more: Any) -> None:
    for _ in range(count):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, **more))


def acknowledge_all(journal: Journal) -> None:
    journal.acknowledge(
        events=[row.sequence for row in journal.waiting_events(10**6)],
        heads=[row.sequence for row in journal.waiting_heads(10**6)],
    )


def sign(journal: Journal, clock: FakeClock) -> None:
    sign_head(journal, signer=SIGNER, device_id=DEVICE, clock=clock)


def prune_now(journal: Journal, clock: FakeClock) -> int:
    return prune(journal, signer=SIGNER, device_id=DEVICE, clock=clock)


def proven(*lines: bytes) -> HistoryReport:
    return check_history(lines, device_key=SIGNER.public_key())


def first_of(journal: Journal) -> int:
    return int(json.loads(next(journal.events()))["sequence"])


def test_what_is_acknowledged_and_old_is_pruned_under_a_checkpoint_that_joins(
    layout: Layout, clock: FakeClock
) -> None:
    journal = opened(layout, clock)
    append(journal, 30, change={"counterFloor": 3})
    sign(journal, clock)
    before = list(journal.history())
    acknowledge_all(journal)
    assert prune_now(journal, clock) == 0, "nothing is old yet"
    clock.moment += DAYS_20
    append(journal, 3)
    state = journal.state()
    assert prune_now(journal, clock) == 31, "the acknowledged ones; what waits stays"
    assert journal.waiting_count() == 3
    sign(journal, clock)
    after = list(journal.history())
    assert proven(*after).whole
    assert [(part.after, part.before) for part in proven(*after).pruned] == [(0, 32)]
    both = proven(*before, *after)
    assert both.whole
    assert not both.pruned, "who holds the earlier events sees that the checkpoint joins"
    assert both.events == 34
    assert journal.state() == journal.replayed() == state
    assert journal.state().counter_floor == 3
    journal.check(whole=True)
    journal.close()


def test_an_event_that_nobody_has_is_kept_and_so_is_all_after_it(
    layout: Layout, clock: FakeClock
) -> None:
    journal = opened(layout, clock)
    append(journal, 20)
    acknowledge_all(journal)
    append(journal, 1)
    waiting = journal.waiting_events(1)[0].sequence
    append(journal, 20)
    events = [row.sequence for row in journal.waiting_events(100) if row.sequence != waiting]
    journal.acknowledge(events=events, heads=[])
    clock.moment += DAYS_20
    prune_now(journal, clock)
    assert first_of(journal) == waiting
    assert prune_now(journal, clock) == 0
    journal.close()


def test_a_clock_that_was_never_set_prunes_nothing_and_one_that_jumps_leaves_the_newest(
    layout: Layout, clock: FakeClock
) -> None:
    journal = opened(layout, clock)
    append(journal, 30)
    acknowledge_all(journal)
    clock.moment += timedelta(days=3650)
    clock.grade = ClockQuality.UNSET
    assert prune_now(journal, clock) == 0
    clock.grade = ClockQuality.FREE_RUNNING
    prune_now(journal, clock)
    assert journal.last_sequence() - first_of(journal) + 1 == BOUNDS.keep_events
    journal.close()


def test_not_every_event_that_grows_old_is_a_checkpoint_by_itself(
    layout: Layout, clock: FakeClock
) -> None:
    """Seven days' worth at 100 days of 90: a checkpoint now and then, and all that is due."""
    journal = opened(layout, clock)
    for _ in range(20):
        append(journal, 1)
        clock.moment += timedelta(hours=12)
    append(journal, 1)
    acknowledge_all(journal)
    clock.moment += timedelta(hours=13)
    assert journal.prunable_to() == 0, "the oldest is 10.5 days old"
    clock.moment += timedelta(hours=12)
    assert prune_now(journal, clock) == 4, "one is 11 days old: all above 10 go"
    journal.close()


def test_the_size_bound_prunes_what_is_acknowledged_and_the_file_shrinks(
    layout: Layout, clock: FakeClock
) -> None:
    bounds = JournalBounds(keep_days=3650, keep_events=2, max_bytes=1 << 20)
    journal = opened(layout, clock, bounds)
    append(journal, 60, detail={"x": "y" * 15_000})
    assert journal.prunable_to() == 0, "nobody has them"
    acknowledge_all(journal)
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    large = layout.journal.stat().st_size
    assert prune_now(journal, clock) > 10
    assert journal.used_bytes() <= bounds.max_bytes * 3 // 4
    assert layout.journal.stat().st_size < large * 3 // 4, "the file itself is smaller"
    assert not journal.is_full()
    journal.check(whole=True)
    journal.close()


def test_a_full_journal_of_unsent_reports_holds_new_updates_and_takes_what_must_be_told(
    layout: Layout, clock: FakeClock
) -> None:
    """Nothing acknowledged for very long: telemetry goes first, provenance never."""
    bounds = JournalBounds(max_bytes=1 << 20, telemetry_bytes=1 << 18)
    journal = opened(layout, clock, bounds)
    journal.keep_telemetry(kind="monitor", line=b"h" * 50_000)
    assert not is_held_by_full_journal(journal)
    append(journal, 80, detail={"x": "y" * 15_000})
    assert is_held_by_full_journal(journal)
    assert [item.what for item in journal.problems()] == ["resource.storage"]
    assert prune_now(journal, clock) == 0
    assert journal.waiting_count() == 81
    journal.keep_telemetry(kind="health", line=b"h" * 1000)
    assert journal.waiting_telemetry(10) == []
    assert journal.telemetry_dropped() == 2
    journal.record(Entry(kind=EventKind.ELIGIBILITY_LOST))
    assert journal.waiting_count() == 82, "what is taken away is recorded"
    acknowledge_all(journal)
    prune_now(journal, clock)
    assert not is_held_by_full_journal(journal)
    assert journal.problems() == []
    journal.close()


def test_the_newest_event_stays_however_small_the_bound(layout: Layout, clock: FakeClock) -> None:
    journal = opened(layout, clock, JournalBounds(max_bytes=1))
    append(journal, 5)
    acknowledge_all(journal)
    assert prune_now(journal, clock) == 5
    assert first_of(journal) == journal.last_sequence() == 6
    append(journal, 1)
    journal.check(whole=True)
    journal.close()


def test_what_was_drafted_over_something_else_prunes_nothing(
    layout: Layout, clock: FakeClock
) -> None:
    """Between draft and signature an event turned out unsent, or the journal was begun anew."""
    journal = opened(layout, clock)
    append(journal, 5)
    draft = journal.draft_checkpoint(4)
    assert journal.prune(draft, line=b"{}", key="") == 0, "nothing of it was acknowledged"
    acknowledge_all(journal)
    assert journal.prune(replace(draft, hash="0" * 64), line=b"{}", key="") == 0
    assert journal.prune(replace(draft, sequence=99), line=b"{}", key="") == 0
    assert first_of(journal) == 1
    assert journal.checkpoint() is None
    journal.close()


def test_a_head_that_waits_stays_and_a_second_pruning_names_the_first_beginning(
    layout: Layout, clock: FakeClock
) -> None:
    journal = opened(layout, clock)
    append(journal, 9)
    sign(journal, clock)
    for _ in range(2):
        append(journal, 10)
        events = [row.sequence for row in journal.waiting_events(99)]
        journal.acknowledge(events=events, heads=[])
        clock.moment += DAYS_20
        assert prune_now(journal, clock) > 0
    assert [row.sequence for row in journal.waiting_heads(9)] == [10]
    found = journal.checkpoint()
    assert found is not None
    assert (found.first_sequence, found.sequence) == (1, 28)
    sign(journal, clock)
    assert proven(*journal.history()).whole
    journal.close()


def test_nothing_is_signed_over_a_changed_event_and_the_next_start_sets_it_aside(
    layout: Layout, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_agent.journal.TAIL_EVENTS", 20)
    journal = opened(layout, clock)
    append(journal, 60)
    acknowledge_all(journal)
    journal._connection.execute(
        "UPDATE events SET line = CAST(replace(CAST(line AS TEXT), '\"boot', '\"foot') AS BLOB) "
        "WHERE sequence = 9"
    )
    clock.moment += DAYS_20
    with pytest.raises(DamagedJournalError):
        prune_now(journal, clock)
    prune_and_tell(journal, signer=SIGNER, device_id=DEVICE, clock=clock)
    assert [item.topic for item in journal.problems()] == [DAMAGE_TOPIC]
    journal.close()
    journal = opened(layout, clock)
    first = json.loads(next(journal.events()))
    assert first["type"] == "primum.device.journal.restarted"
    assert "event 9" in first["data"]["detail"]["gap"]["damage"]
    journal.close()


_PRUNER = """
import os, signal, sys
from pathlib import Path
from primum_agent.clock import SystemClock
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.checkpointing import prune
from primum_agent.layout import Layout
from primum_agent.signer import open_device_key
layout = Layout(Path(sys.argv[1]))
journal = Journal.open(layout, clock=SystemClock(), device_id="wearable-001",
                       bounds=JournalBounds(keep_days=10, keep_events=2))
def look(statement):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
journal._connection.set_trace_callback(look)
prune(journal, signer=open_device_key(layout), device_id="wearable-001", clock=SystemClock())
"""


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("BEGIN IMMEDIATE", 1),
        ("DELETE FROM checkpoints", 1),
        ("INSERT INTO checkpoints", 1),
        ("DELETE FROM events", 1),
        ("DELETE FROM heads", 1),
        ("COMMIT", 1),
        ("PRAGMA incremental_vacuum", 40),
        ("PRAGMA wal_checkpoint", 40),
    ],
)
def test_killed_at_each_statement_of_a_pruning_it_pruned_all_or_nothing(
    layout: Layout, statement: str, first: int
) -> None:
    key = make_device_key(layout)
    clock = FakeClock(moment=FakeClock().moment - timedelta(days=300))
    journal = opened(layout, clock)
    append(journal, 40, change={"counterFloor": 2})
    acknowledge_all(journal)
    journal.close()
    words = [sys.executable, "-c", _PRUNER, str(layout.root), statement]
    assert subprocess.run(words, timeout=60, check=False).returncode == -9
    journal = opened(layout, FakeClock())
    assert first_of(journal) == first
    assert journal.state() == journal.replayed()
    assert journal.state().counter_floor == 2
    journal.check(whole=True)
    assert not check_history(list(journal.history()), device_key=key.public_key()).gaps
    journal.close()


def test_a_child_is_told_the_bounds_of_the_settings() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    told = JournalBounds(keep_days=7.5, keep_events=12, max_bytes=5 << 20, telemetry_rows=1)
    assert bounds_of(parser.parse_args(as_arguments(told))) == told
    assert bounds_of(parser.parse_args([])) == JournalBounds()


class PrunedJournal(RuleBasedStateMachine):
    """Random appends, acknowledgements, prunings, cuts and starts, beside a model of it all."""

    folders: ClassVar[Iterator[Path]] = iter(())
    pruned: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.layout = Layout(next(self.folders))
        self.layout.run.mkdir(parents=True)
        self.clock = FakeClock()
        self.ever: dict[int, bytes] = {}
        self.acked: set[int] = set()
        self.journal = opened(self.layout, self.clock)
        self.heads: list[bytes] = []

    @rule(
        count=st.integers(1, 8),
        change=st.sampled_from(
            [
                {},
                {"counterFloor": 4},
                {"conclusion": {"a" * 64: "refused"}},
                {"fault": {"b" * 64: "selftest.failed"}},
                {"forgiven": "b" * 64},
                {"eligibility": "held"},
            ]
        ),
        size=st.sampled_from([1, 3000]),
    )
    def append(self, count: int, change: dict[str, Any], size: int) -> None:
        append(self.journal, count, change=change, detail={"x": "y" * size})

    def acknowledge_some(self, share: int) -> None:
        """The broker took the oldest of those that wait."""
        rows = self.journal.waiting_events(share)
        self.journal.acknowledge(events=[row.sequence for row in rows], heads=[])
        self.acked |= {row.sequence for row in rows}

    @rule()
    def acknowledge_heads(self) -> None:
        heads = [row.sequence for row in self.journal.waiting_heads(10)]
        self.journal.acknowledge(events=[], heads=heads)

    @rule()
    def sign(self) -> None:
        sign(self.journal, self.clock)

    @rule(share=st.integers(0, 60), days=st.integers(0, 40))
    def prune(self, share: int, days: int) -> None:
        """Some of what waits is taken, time passes, and the child looks what is due."""
        append(self.journal, 2)
        self.acknowledge_some(share)
        self.clock.moment += timedelta(days=days)
        self.look()
        PrunedJournal.pruned += prune_now(self.journal, self.clock)

    @rule()
    def start_again(self) -> None:
        self.journal.close()
        self.journal = opened(self.layout, self.clock)

    @rule()
    def cut(self) -> None:
        """The power goes inside a transaction."""
        connection = self.journal._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM events")
        connection.execute("DELETE FROM checkpoints")
        connection.close()
        self.journal = opened(self.layout, self.clock)

    def look(self) -> None:
        """Keep every event that ever was, as a receiver would."""
        for line in self.journal.events():
            self.ever[int(json.loads(line)["sequence"])] = line
        self.heads += [line for line in self.journal.history() if b"payloadType" in line]

    @invariant()
    def the_state_is_the_sum_of_all_events_ever(self) -> None:
        self.look()
        state = DeviceState()
        for sequence in sorted(self.ever):
            state = fold(state, json.loads(self.ever[sequence])["data"])
        assert self.journal.state() == self.journal.replayed() == state
        assert sorted(self.ever) == list(range(1, len(self.ever) + 1))

    @invariant()
    def nothing_unsent_is_lost(self) -> None:
        held = {int(json.loads(line)["sequence"]) for line in self.journal.events()}
        assert set(self.ever) - self.acked <= held

    @invariant()
    def the_chain_verifies_alone_and_with_what_was_ever_seen(self) -> None:
        self.journal.check(whole=True)
        assert not proven(*self.journal.history()).gaps
        together = proven(*self.ever.values(), *set(self.heads))
        assert not together.gaps
        assert not together.pruned

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()


def test_any_run_of_appends_acknowledgements_prunings_and_cuts(tmp_path: Path) -> None:
    # Cuts here are transactions that end with their connection: memory spares thousands of syncs.
    memory = Path("/dev/shm")  # noqa: S108 - made unique below
    parent = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        PrunedJournal.folders = (Path(folder) / str(number) for number in itertools.count())
        run_state_machine_as_test(
            PrunedJournal,
            settings=settings(
                max_examples=30,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    assert PrunedJournal.pruned > 0, "the runs reach what they are about"
