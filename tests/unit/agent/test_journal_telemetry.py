"""Telemetry: a ring bounded by rows and bytes; the oldest go, are counted, and never provenance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.layout import Layout
from primum_agent.report_classes import CLASSES, HEALTH, ReportClass

DEVICE = "wearable-001"


def opened(layout: Layout, clock: FakeClock | None = None, **bounds: Any) -> Journal:
    return Journal.open_or_restart(
        layout, clock=clock or FakeClock(), device_id=DEVICE, bounds=JournalBounds(**bounds)
    )


def kept(journal: Journal) -> list[bytes]:
    return [row.line for row in journal.waiting_telemetry(10_000)]


def test_the_newest_are_kept_in_order_and_the_oldest_are_counted(layout: Layout) -> None:
    journal = opened(layout, telemetry_rows=3)
    for number in range(7):
        journal.keep_telemetry(kind="health", line=b"%d" % number)
    assert kept(journal) == [b"4", b"5", b"6"]
    assert journal.telemetry_dropped() == 4
    journal.close()
    journal = opened(layout, telemetry_rows=3)
    assert kept(journal) == [b"4", b"5", b"6"], "they survive a start"
    journal.close()


def test_a_large_report_makes_room_by_bytes(layout: Layout) -> None:
    journal = opened(layout, telemetry_bytes=100)
    for size in (40, 40, 60):
        journal.keep_telemetry(kind="health", line=b"x" * size)
    assert [len(line) for line in kept(journal)] == [40, 60]
    journal.keep_telemetry(kind="health", line=b"x" * 200)
    assert kept(journal) == [], "larger than the whole ring"
    assert journal.telemetry_dropped() == 4
    journal.close()


def test_what_was_acknowledged_is_gone_and_its_number_is_not_used_again(layout: Layout) -> None:
    """Else an answer for an old report would take out a new one."""
    journal = opened(layout)
    journal.keep_telemetry(kind="health", line=b"a")
    (old,) = journal.waiting_telemetry(10)
    journal.forget_telemetry([old.number])
    journal.keep_telemetry(kind="health", line=b"b")
    journal.forget_telemetry([old.number])
    assert kept(journal) == [b"b"]
    journal.close()


def test_telemetry_is_no_part_of_chain_state_or_history(layout: Layout) -> None:
    journal = opened(layout)
    before = journal.state(), journal.head(), list(journal.history())
    journal.keep_telemetry(kind="health", line=b"{}")
    assert (journal.state(), journal.head(), list(journal.history())) == before
    journal.close()


@pytest.mark.parametrize("bounds", [{"telemetry_rows": 0}, {"telemetry_bytes": 0}])
def test_a_device_may_keep_none(layout: Layout, bounds: dict[str, Any]) -> None:
    journal = opened(layout, **bounds)
    journal.keep_telemetry(kind="health", line=b"x")
    assert kept(journal) == []
    journal.close()


def test_summaries_go_first_and_health_gives_way_first(layout: Layout) -> None:
    journal = opened(layout, telemetry_rows=4)
    for number in range(3):
        journal.keep_telemetry(kind="health", line=b"h%d" % number)
        journal.keep_telemetry(kind="monitor", line=b"m%d" % number)
    assert kept(journal) == [b"m0", b"m1", b"m2", b"h2"]
    assert journal.telemetry_dropped() == 2
    journal.close()


def test_no_class_takes_all_the_room(layout: Layout) -> None:
    """A monitor that says too much leaves health its quarter."""
    journal = opened(layout, telemetry_rows=4, telemetry_bytes=1000)
    for number in range(9):
        journal.keep_telemetry(kind="monitor", line=b"m%d" % number)
    assert kept(journal) == [b"m6", b"m7", b"m8"]
    journal.keep_telemetry(kind="monitor", line=b"M" * 750)
    assert kept(journal) == [b"M" * 750]
    journal.keep_telemetry(kind="health", line=b"h")
    assert kept(journal) == [b"M" * 750, b"h"]
    assert journal.telemetry_dropped() == 9
    journal.close()


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.kind)
def test_one_report_that_is_too_large_is_counted_and_takes_no_room(
    layout: Layout, one: ReportClass
) -> None:
    journal = opened(layout)
    journal.keep_telemetry(kind=one.kind, line=b"before")
    journal.keep_telemetry(kind=one.kind, line=b"x" * (one.max_bytes + 1))
    assert kept(journal) == [b"before"]
    assert journal.telemetry_dropped() == 1
    journal.keep_telemetry(kind=one.kind, line=b"x" * one.max_bytes)
    assert len(kept(journal)) == 2
    journal.close()


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.kind)
def test_what_is_over_is_not_offered_and_then_gone(layout: Layout, one: ReportClass) -> None:
    clock = FakeClock()
    journal = opened(layout, clock)
    journal.keep_telemetry(kind=one.kind, line=b"old")
    clock.powered += one.lasts - 10
    (row,) = journal.waiting_telemetry(5)
    assert row.left == pytest.approx(10)
    clock.powered += 10
    assert journal.waiting_telemetry(5) == []
    journal.keep_telemetry(kind="health", line=b"new")
    assert kept(journal) == [b"new"]
    assert journal.telemetry_dropped() == 1
    journal.close()


def test_a_clock_that_jumps_makes_no_report_old(layout: Layout) -> None:
    """The age counts while the device is powered; a start in between takes nothing from it."""
    clock = FakeClock()
    journal = opened(layout, clock)
    journal.keep_telemetry(kind="health", line=b"one")
    clock.moment += timedelta(days=3650)
    assert kept(journal) == [b"one"]
    clock.powered += HEALTH.lasts / 2
    journal.powered_total()
    clock.boot, clock.powered = "another", 0.0
    clock.powered += HEALTH.lasts / 4
    (row,) = journal.waiting_telemetry(5)
    assert row.left == pytest.approx(HEALTH.lasts / 4)
    journal.close()


def test_what_an_older_agent_kept_is_as_new_as_can_be(layout: Layout) -> None:
    clock = FakeClock()
    journal = opened(layout, clock)
    journal._connection.execute("INSERT INTO telemetry (kind, line) VALUES ('health', x'61')")
    clock.powered += 100 * HEALTH.lasts
    (row,) = journal.waiting_telemetry(5)
    assert row.left == HEALTH.lasts
    journal.keep_telemetry(kind="health", line=b"b")
    assert kept(journal) == [b"a", b"b"]
    journal.close()


def test_a_kind_of_a_newer_agent_is_treated_as_health(layout: Layout) -> None:
    journal = opened(layout, telemetry_rows=2)
    for kind in ("later", "monitor", "health"):
        journal.keep_telemetry(kind=kind, line=kind.encode())
    assert kept(journal) == [b"monitor", b"health"]
    journal.close()
