"""Reports: nothing lost, nothing marked that no broker answered for, no busy loop."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from primum_agent.broker import (
    MAX_HANDED_OVER,
    MAX_IN_FLIGHT,
    Acknowledged,
    FakeBroker,
    Message,
)
from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.journal_outbox import OutboxRow
from primum_agent.report_classes import HEALTH, MONITOR
from primum_agent.reporter import (
    ANSWER_SECONDS,
    MARKED_SECONDS,
    REFUSED_SECONDS,
    Link,
    Reporter,
)
from primum_agent.sensors import FakeSensors
from primum_agent.system_sensors import SystemSensors
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def reporter(broker: FakeBroker, clock: FakeClock) -> Reporter:
    return Reporter(
        broker=broker,
        sensors=FakeSensors(),
        clock=clock,
        fleet="demo",
        device_id="wearable-001",
        health_seconds=900.0,
        draw=lambda: 0.5,
    )


def fill(journal: Journal, count: int) -> None:
    for _ in range(count):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))


def drain(reporter: Reporter, journal: Journal, *, now: float, turns: int = 20) -> None:
    for _ in range(turns):
        reporter.work(journal, now=now)


def of(broker: FakeBroker, end: str) -> list[Message]:
    return [item for item in broker.messages if item.topic == f"primum/demo/wearable-001/{end}"]


def test_every_event_is_sent_in_order_and_then_marked(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    fill(journal, 100)
    drain(reporter, journal, now=0.0)
    assert [item.payload for item in of(broker, "provenance")] == list(journal.events())
    assert journal.waiting_count() == 0
    assert reporter.wants_head(journal)
    journal.add_head(sequence=journal.last_sequence(), line=b'{"head": 1}', key="")
    drain(reporter, journal, now=0.0)
    assert [item.payload for item in of(broker, "head")] == [b'{"head": 1}']
    assert reporter.is_drained(journal)


def test_a_refused_message_is_not_delivered(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    """The broker answers "no": the event stays in the outbox and is offered again, later."""
    broker.refuses = "Quota exceeded"
    drain(reporter, journal, now=0.0)
    assert journal.waiting_count() == 1
    assert "Quota exceeded" in reporter.why
    offered = broker.offered
    drain(reporter, journal, now=1.0)
    assert broker.offered == offered, "no busy loop against a broker that says no"
    broker.refuses = ""
    drain(reporter, journal, now=2 * REFUSED_SECONDS)
    assert journal.waiting_count() == 0


def test_what_was_under_way_when_the_connection_broke_is_offered_again(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    fill(journal, 5)
    reporter.work(journal, now=0.0)
    fill(journal, 5)
    broker.drop()
    reporter.work(journal, now=1.0)
    assert reporter.link is Link.DOWN
    drain(reporter, journal, now=1000.0)
    assert journal.waiting_count() == 0
    received = {item.payload for item in of(broker, "provenance")}
    assert received == set(journal.events()), "duplicates are harmless, losses are not"


def test_an_unreachable_broker_is_tried_ever_more_rarely(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    broker.up = False
    now, waits = 0.0, []
    for _ in range(12):
        assert now < reporter.work(journal, now=now) <= reporter.next_try
        waits.append(reporter.next_try - now)
        now = reporter.next_try
    assert waits[0] >= 1.0
    assert waits == sorted(waits)
    assert waits[-1] <= 900.0
    assert journal.waiting_count() == 1
    broker.up = True
    drain(reporter, journal, now=now)
    assert journal.waiting_count() == 0


def test_a_broker_that_takes_and_never_answers_is_left(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    broker.silent = True
    drain(reporter, journal, now=0.0)
    assert str(reporter.link) == "up"
    drain(reporter, journal, now=ANSWER_SECONDS + 1.0, turns=1)
    assert str(reporter.link) == "down"
    assert "never acknowledges" in reporter.why
    assert journal.waiting_count() == 1


def test_an_event_larger_than_the_broker_takes_does_not_stop_the_others(
    reporter: Reporter, journal: Journal
) -> None:
    journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, detail={"long": "x" * 5000}))
    fill(journal, 3)
    reporter.work(None, now=0.0)
    reporter.max_bytes = 2000
    drain(reporter, journal, now=0.0)
    assert journal.waiting_count() == 1
    assert "larger" in reporter.why


def test_status_is_retained_and_said_again_only_when_it_changes(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    drain(reporter, journal, now=0.0)
    assert len(of(broker, "status")) == 1
    birth = of(broker, "status")[0]
    assert birth.retain
    assert json.loads(birth.payload)["presence"] == "online"
    reporter.close(journal)
    assert json.loads(of(broker, "status")[-1].payload)["presence"] == "offline"


def test_health_is_told_at_birth_and_then_by_its_period(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    for now in (0.0, 10.0, 899.0, 901.0, 1000.0):
        drain(reporter, journal, now=now, turns=2)
    assert len(of(broker, "health")) == 2
    health = json.loads(of(broker, "health")[0].payload)
    assert health["data"]["readings"]["disk_free"] == 10**9
    assert health["data"]["mode"] == "safe"


def health_times(broker: FakeBroker) -> list[str]:
    return [json.loads(item.payload)["time"] for item in of(broker, "health")]


def test_reports_of_health_wait_for_the_broker_and_come_in_order(
    reporter: Reporter, broker: FakeBroker, journal: Journal, clock: FakeClock
) -> None:
    """The broker is away for three hours: what the device felt meanwhile is not lost."""
    broker.up = False
    began = clock.moment
    for minute in range(180):
        clock.moment = began + timedelta(minutes=minute)
        reporter.work(journal, now=60.0 * minute)
    assert len(journal.waiting_telemetry(100)) == 12
    broker.up = True
    clock.moment = began + timedelta(minutes=200)
    drain(reporter, journal, now=12_000.0)
    assert health_times(broker) == sorted(health_times(broker))
    assert len(health_times(broker)) == 13, "and one at the return"
    assert journal.waiting_telemetry(100) == []
    provenance_first = [item.topic.rpartition("/")[2] for item in broker.messages]
    assert provenance_first.index("provenance") < provenance_first.index("health")


def test_a_report_that_the_broker_refused_or_never_answered_waits(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    broker.refuses = "Quota exceeded"
    drain(reporter, journal, now=0.0)
    assert len(journal.waiting_telemetry(10)) == 1
    broker.refuses, broker.silent = "", True
    drain(reporter, journal, now=2 * REFUSED_SECONDS)
    assert len(journal.waiting_telemetry(10)) == 1
    broker.drop()
    broker.silent = False
    drain(reporter, journal, now=100.0, turns=1)
    drain(reporter, journal, now=5000.0)
    assert journal.waiting_telemetry(10) == []


def test_each_class_has_its_turn_and_its_time_and_provenance_neither_end_nor_bound(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    """Kept in the wrong order, and sent in the right one."""
    broker.up = False
    reporter.work(journal, now=0.0)
    journal.keep_telemetry(kind="monitor", line=b"sums")
    journal.add_head(sequence=1, line=b'{"head": 1}', key="")
    journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, detail={"long": "x" * 200_000}))
    broker.up = True
    drain(reporter, journal, now=50.0)
    told = [(item.topic.rpartition("/")[2], item.lasts) for item in broker.messages]
    assert [end for end, _ in told] == [
        "status", "provenance", "provenance", "head", "monitor", "health",
    ]  # fmt: skip
    assert {end: lasts for end, lasts in told if lasts} == {
        "monitor": MONITOR.lasts,
        "health": HEALTH.lasts,
    }


def test_a_flapping_connection_writes_no_report_each_time(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    for turn in range(10):
        drain(reporter, journal, now=5.0 * turn)
        broker.drop()
        reporter.next_try = 0.0
    assert len({item.payload for item in of(broker, "health")}) == 1


def test_a_disk_that_takes_no_report_does_not_keep_provenance_from_being_sent(
    reporter: Reporter, broker: FakeBroker, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise FailedError("full", reason=Reason.RESOURCE_STORAGE)

    monkeypatch.setattr(journal, "keep_telemetry", full)
    fill(journal, 3)
    drain(reporter, journal, now=0.0)
    assert journal.waiting_count() == 0
    assert len(of(broker, "health")) == 1, "told all the same, though it cannot wait"


def test_without_a_journal_only_the_status_is_told(reporter: Reporter, broker: FakeBroker) -> None:
    reporter.reasons = ("state.read-only",)
    for now in (0.0, 1000.0):
        reporter.work(None, now=now)
    assert [json.loads(item.payload)["reasons"] for item in broker.messages] == [
        ["state.read-only"]
    ]


def test_the_sensors_of_this_machine_can_be_read(layout: Any) -> None:
    readings = SystemSensors(layout.root).read()
    assert readings.memory_free > 0
    assert readings.uptime > 0
    assert readings.disk_free


def test_what_was_taken_is_marked_together_and_within_a_moment(
    reporter: Reporter, broker: FakeBroker, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand events cost the disk a few synced writes; none is marked much later."""
    marked: list[int] = []
    acknowledge = journal.acknowledge

    def watched(*, events: list[int], heads: list[int]) -> None:
        marked.append(len(events))
        acknowledge(events=events, heads=heads)

    monkeypatch.setattr(journal, "acknowledge", watched)
    monkeypatch.setattr("primum_agent.reporter.MARKED_AT_ONCE", 64)
    fill(journal, 400)
    broker.silent = True
    reporter.work(journal, now=0.0)
    for _ in range(400):
        # One answer at a time, with the window full behind it.
        ticket = next(iter(reporter._under_way))
        broker.pending.append(Acknowledged(ticket=ticket))
        reporter.work(journal, now=0.0)
    assert max(marked) == 64
    assert len(marked) <= 400 // 64 + 1
    left = journal.waiting_count()
    ticket = next(iter(reporter._under_way))
    broker.pending.append(Acknowledged(ticket=ticket))
    assert reporter.work(journal, now=0.01) <= 0.01 + MARKED_SECONDS
    reporter.work(journal, now=0.02 + MARKED_SECONDS)
    assert journal.waiting_count() < left
    told = [item.payload for item in of(broker, "provenance")]
    assert told == list(journal.events())[: len(told)], "in order, none twice"


def test_what_could_not_be_marked_is_offered_again(
    reporter: Reporter, broker: FakeBroker, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails for a moment, after the broker took it: twice is harmless, never is not."""

    def full(**_: object) -> None:
        raise FailedError("full", reason=Reason.RESOURCE_STORAGE)

    fill(journal, 5)
    with monkeypatch.context() as failing:
        failing.setattr(journal, "acknowledge", full)
        with pytest.raises(FailedError):
            drain(reporter, journal, now=0.0)
    assert journal.waiting_count() == 6
    drain(reporter, journal, now=0.0)
    assert journal.waiting_count() == 0
    told = [item.payload for item in of(broker, "provenance")]
    assert told[-6:] == list(journal.events())


def test_of_large_events_no_more_is_in_memory_than_is_on_the_way(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    for _ in range(70):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, detail={"long": "x" * 30_000}))
    broker.silent = True
    reporter.work(None, now=0.0)
    reporter.limit = MAX_HANDED_OVER
    drain(reporter, journal, now=0.0)
    assert len(of(broker, "provenance")) == MAX_IN_FLIGHT
    fill(journal, 1)
    for ticket in list(reporter._under_way):
        broker.pending.append(Acknowledged(ticket=ticket))
        reporter.work(journal, now=0.0)
        assert len(reporter._under_way) <= MAX_IN_FLIGHT


def test_what_was_handed_over_is_not_read_again(
    reporter: Reporter, broker: FakeBroker, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a hundred thousand wait, each is read once from the disk, not at every turn."""
    read: list[int] = []
    waiting = journal.waiting_events

    def watched(limit: int, *, after: int = 0) -> list[OutboxRow]:
        found = waiting(limit, after=after)
        read.extend(row.sequence for row in found)
        return found

    fill(journal, 200)
    reporter.work(None, now=0.0)
    monkeypatch.setattr(journal, "waiting_events", watched)
    broker.silent = True
    reporter.work(journal, now=0.0)
    while reporter._under_way:
        # One answer at a time, with the window full behind it.
        broker.pending.append(Acknowledged(ticket=next(iter(reporter._under_way))))
        reporter.work(journal, now=0.0)
    assert journal.waiting_count() == 0
    assert read == sorted(set(read))
    assert len(read) == 201


def test_the_wait_before_another_attempt_is_drawn(
    broker: FakeBroker, clock: FakeClock, journal: Journal
) -> None:
    """A fleet that lost its broker does not come back as one."""
    broker.up = False
    tries = []
    for draw in (0.0, 0.5, 0.99):
        one = Reporter(
            broker=broker,
            sensors=FakeSensors(),
            clock=clock,
            fleet="demo",
            device_id="wearable-001",
            health_seconds=900.0,
            draw=lambda draw=draw: draw,  # type: ignore[misc] # bound here
        )
        one.work(journal, now=0.0)
        tries.append(one.next_try)
    assert tries[0] < tries[1] < tries[2]
    assert tries[2] / tries[0] > 1.5


def test_no_more_is_under_way_than_the_broker_lets(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    fill(journal, 50)
    broker.silent = True
    reporter.work(None, now=0.0)
    reporter.limit = 3
    drain(reporter, journal, now=0.0)
    assert len(of(broker, "provenance")) == 3
