"""What this agent writes is what the published documents say, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primum_agent import clock, events, lifecycle
from primum_agent.broker_requests import new_word
from primum_agent.clock import ClockQuality, FakeClock
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.health import health_message, status_message
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.lifecycle import Stimulus
from primum_agent.sensors import FakeSensors, Readings
from primum_agent.transitions import committed, unhealthy
from primum_verifier.core.document import parse_document
from primum_verifier.core.reasons import Reason
from primum_verifier.record import words
from primum_verifier.record.event import parse_event
from primum_verifier.record.health import HealthReport, StatusReport

DEVICE = "wearable-001"
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
RUNNING = DeviceState(active=3, generations=(GENERATION,))


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ([kind.cloud_type for kind in events.EventKind], words.EventKind),
        (lifecycle.State, words.LifecycleState),
        (clock.ClockQuality, words.ClockQuality),
    ],
)
def test_agent_and_published_documents_use_the_same_words(written: Any, published: Any) -> None:
    assert [str(word) for word in written] == [str(word) for word in published]


def test_every_event_of_a_real_update_is_one_that_the_schema_knows(
    in_the_field: Any, eventually: Callable[..., Any]
) -> None:
    """A commit, a refusal, a roll-back: no event is refused, and the state is still their sum."""
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        assert eventually(release.prove_health)
    in_the_field.release("1.1.0", counter=2, scale=3.0)
    assert in_the_field.once().returncode == 1
    in_the_field.withdraw("1.0.0")
    in_the_field.once()
    journal = in_the_field.journal()
    try:
        lines = list(journal.events())
    finally:
        journal.close()
    read = [parse_event(line, where="journal") for line in lines]
    assert [event.number for event in read] == list(range(1, len(lines) + 1))
    assert {event.device_id for event in read} == {DEVICE}
    kinds = {event.type for event in read}
    assert {
        words.EventKind.UPDATE_COMMITTED,
        words.EventKind.SELFTEST_FAILED,
        words.EventKind.ELIGIBILITY_LOST,
        words.EventKind.SAFE_MODE_ENTERED,
    } <= kinds


def test_events_of_the_small_transitions_are_known(layout: Layout) -> None:
    made = Journal.open_or_restart(layout, clock=FakeClock(), device_id=DEVICE)
    waiting = {GENERATION.release: {"times": 2, "notBefore": 61.25}}
    taken = {"candidate": None, "target": None, "active": None}
    steps = [
        Entry(
            kind=EventKind.UPDATE_FOUND,
            stimulus=Stimulus.FOUND,
            change={
                "candidate": {
                    "component": "pvc-classifier",
                    "version": "1.1.0",
                    "release": GENERATION.release,
                    "tested": False,
                }
            },
        ),
        committed(GENERATION),
        unhealthy(GENERATION, why="it said so"),
        Entry(kind=EventKind.UPDATE_ROLLED_BACK, change=taken, reasons=(Reason.FALLBACK_NONE,)),
        Entry(kind=EventKind.STORE_COLLECTED, change={"collected": [1, 2]}),
        Entry(kind=EventKind.UPDATE_ROLLING_BACK, change={"unproven": waiting}),
        Entry(kind=EventKind.UPDATE_FORGIVEN, change={"forgiven": GENERATION.release}),
        Entry(kind=EventKind.ELIGIBILITY_CHANGED, change={"eligibility": "held", "active": 3}),
    ]
    for entry in steps:
        # Out of their order: only the form is looked at here.
        bare = Entry(
            kind=entry.kind,
            subject=entry.subject,
            result=entry.result,
            reasons=entry.reasons,
            change=entry.change,
            detail=entry.detail,
        )
        parse_event(made.record(bare).line, where=entry.kind)
    made.close()


def test_a_restarted_journal_continues_with_an_event_that_is_known(layout: Layout) -> None:
    Journal.open_or_restart(layout, clock=FakeClock(), device_id=DEVICE).close()
    layout.journal.write_bytes(b"damaged" * 1000)
    made = Journal.open_or_restart(
        layout,
        clock=FakeClock(grade=ClockQuality.UNSET),
        device_id=DEVICE,
        salvage=lambda: {"nextGeneration": 4},
    )
    (line,) = made.events()
    made.close()
    event = parse_event(line, where="journal")
    assert event.type is words.EventKind.JOURNAL_RESTARTED
    assert event.data.change.next_generation == 4


@pytest.mark.parametrize("state", [DeviceState(), RUNNING])
@pytest.mark.parametrize(
    "readings",
    [
        FakeSensors().readings,
        Readings(
            uptime=1.5,
            load=0.0,
            memory_free=1,
            disk_free=None,
            agent_memory=1,
            battery=7.0,
            charging=True,
            temperature=36.6,
        ),
    ],
)
def test_the_health_report_is_the_published_one(state: DeviceState, readings: Readings) -> None:
    message = health_message(
        device_id=DEVICE,
        state=state,
        readings=readings,
        now=FakeClock().now(),
        quality=ClockQuality.FREE_RUNNING,
        waiting=3,
        restarts=2,
        requests={"taken": 1, "refused": 2},
        told={},
        problems=("fetching: transport.unreachable",),
    )
    found = parse_document(HealthReport, message, where="health")
    assert found.data.readings.battery == readings.battery
    assert (found.data.mode == "safe") == (state.in_use is None)


@pytest.mark.parametrize("state", [None, DeviceState(), RUNNING])
@pytest.mark.parametrize("presence", ["online", "offline"])
def test_the_status_is_the_published_one(state: DeviceState | None, presence: str) -> None:
    message = status_message(
        device_id=DEVICE,
        presence=presence,
        state=state,
        reasons=("state.read-only",),
        word=new_word(),
    )
    found = parse_document(StatusReport, message, where="status")
    assert (found.mode is None) == (state is None)
