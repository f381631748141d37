"""Telemetry: a ring bounded by rows and bytes; the oldest go, are counted, and never provenance."""

from __future__ import annotations

import pytest

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.layout import Layout

DEVICE = "wearable-001"


def opened(layout: Layout, **bounds: int) -> Journal:
    return Journal.open_or_restart(
        layout, clock=FakeClock(), device_id=DEVICE, bounds=JournalBounds(**bounds)
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
    journal.keep_telemetry(kind="monitor", line=b"x" * 200)
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
def test_a_device_may_keep_none(layout: Layout, bounds: dict[str, int]) -> None:
    journal = opened(layout, **bounds)
    journal.keep_telemetry(kind="health", line=b"x")
    assert kept(journal) == []
    journal.close()
