"""The broker soon ends what it accepted: told once, over after a day, never in the way."""

from __future__ import annotations

import json

import pytest

from primum_agent.broker import Deaf, Disconnected, FakeBroker
from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.reporter import STABLE_SECONDS, Reporter
from primum_agent.sensors import FakeSensors
from primum_agent.taken_over import MANY_SHORT, OVER_SECONDS, PATIENCE_SECONDS, TakenOver


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
        health_seconds=1e9,
        draw=lambda: 0.5,
    )


def told(journal: Journal) -> list[str]:
    events = [json.loads(line) for line in journal.events()]
    kind = "primum.device.broker.unstable"
    return [item["data"]["reasons"][0] for item in events if item["type"] == kind]


def falls(reporter: Reporter, broker: FakeBroker, journal: Journal, after: float) -> None:
    """One connection that is accepted, and ends after so many seconds."""
    began = max(reporter.next_try, reporter.risen)
    for _ in range(3):
        reporter.work(journal, now=began)
    broker.drop()
    reporter.work(journal, now=began + after)


def test_many_short_connections_in_a_row_are_told_once(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    for _ in range(MANY_SHORT - 1):
        falls(reporter, broker, journal, 1.0)
    assert told(journal) == []
    falls(reporter, broker, journal, STABLE_SECONDS + 1)
    for _ in range(MANY_SHORT - 1):
        falls(reporter, broker, journal, 1.0)
    assert told(journal) == [], "a good one in between"
    for _ in range(10):
        falls(reporter, broker, journal, 1.0)
    assert told(journal) == ["broker.unstable"]
    assert [item.topic for item in journal.problems()] == ["broker"]


def test_it_is_over_after_a_day_and_then_told_anew(
    journal: Journal,
) -> None:
    one = TakenOver()
    one.happened(10.0)
    one.tell(journal, 10.0)
    one.tell(journal, 10.0 + OVER_SECONDS - 1)
    assert journal.problems()
    another = TakenOver()
    another.tell(journal, 5.0)
    another.tell(journal, 5.0 + OVER_SECONDS - 1)
    assert journal.problems(), "an agent that was started anew waits its day, too"
    another.tell(journal, 5.0 + OVER_SECONDS)
    assert journal.problems() == []
    another.happened(9e9)
    another.tell(journal, 9e9)
    assert told(journal) == ["broker.taken-over", "broker.taken-over"]


def test_where_another_device_is_named_acknowledgements_shorten_nothing(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    reporter.work(journal, now=0.0)
    broker.pending = [Disconnected(why="taken over", taken_over=True)]
    reporter.work(journal, now=1.0)
    before = reporter.failures
    for _ in range(6):
        falls(reporter, broker, journal, 1.0)
    assert journal.waiting_count() == 0, "something was acknowledged"
    assert reporter.failures == before + 6
    assert not reporter.taken_over.asks_for_patience(PATIENCE_SECONDS + 1.0)


def test_a_disk_that_takes_nothing_does_not_keep_it_from_being_told_later(
    layout: Layout, clock: FakeClock, journal: Journal
) -> None:
    one = TakenOver()
    one.happened(1.0)
    reader = Journal.open_to_read(layout, clock=clock, device_id="wearable-001")
    one.tell(reader, 1.0)
    reader.close()
    assert told(journal) == []
    one.tell(journal, 2.0)
    assert told(journal) == ["broker.taken-over"]


def test_a_broker_that_lets_nothing_be_asked_is_used_and_named(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    reporter.work(journal, now=0.0)
    broker.pending.append(Deaf(why="Not authorized"))
    for _ in range(3):
        reporter.work(journal, now=1.0)
    assert journal.waiting_count() == 0
    assert "nothing can be asked" in reporter.why
