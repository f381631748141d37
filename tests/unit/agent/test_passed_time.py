"""Proven time cannot be frozen: a stolen timestamp key signs old issue times, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.passed_time import passed_time
from primum_verifier.core.view import AuthorityView

BEGUN = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FURTHER = timedelta(microseconds=1)
OLD_KEYS, NEW_KEYS = "a" * 64, "b" * 64


def view(
    authority: str, issued_at: datetime | None = BEGUN, *, keys: str = OLD_KEYS
) -> AuthorityView:
    return AuthorityView(
        authority=authority,
        roles={},
        issued_at=issued_at,
        documents={},
        public_keys=frozenset(),
        time_epoch=keys,
    )


ENGINEERING, CLINICAL = view("engineering"), view("clinical")


class CountingJournal(Journal):
    """The real journal; it counts the transactions that proven time costs."""

    written = 0

    def set_counters(self, **values: str) -> None:
        if "powered_total" not in values:
            self.written += 1
        super().set_counters(**values)


@pytest.fixture
def counting(layout: Layout, clock: FakeClock) -> Iterator[CountingJournal]:
    opened = CountingJournal.open_or_restart(layout, clock=clock, device_id="wearable-001")
    opened.written = 0
    yield opened
    opened.close()


def a_day_passes(clock: FakeClock) -> None:
    """The device is powered for a day, and its clock stands still."""
    clock.powered += DAY.total_seconds()


@pytest.mark.parametrize("authority", ["engineering", "clinical"])
@pytest.mark.parametrize(
    "sign",
    [
        lambda day: BEGUN + day * FURTHER,
        lambda _: BEGUN,
        lambda _: None,
        lambda day: BEGUN - day * DAY,
    ],
    ids=["frozen", "repeated", "vanished", "backward"],
)
def test_a_stolen_timestamp_key_does_not_stop_time(
    journal: Journal,
    clock: FakeClock,
    authority: str,
    sign: Callable[[int], datetime | None],
) -> None:
    """60 powered days of daily timestamps: a statement that ends meanwhile has ended."""
    assert passed_time(journal, ENGINEERING, CLINICAL) == BEGUN
    for day in range(1, 61):
        a_day_passes(clock)
        views = {
            name: view(name, sign(day) if name == authority else BEGUN + day * DAY)
            for name in ("engineering", "clinical")
        }
        proven = passed_time(journal, views["engineering"], views["clinical"])
        assert proven == BEGUN + day * DAY


def test_both_stolen_timestamp_keys_do_not_stop_time(journal: Journal, clock: FakeClock) -> None:
    passed_time(journal, ENGINEERING, CLINICAL)
    for _ in range(60):
        a_day_passes(clock)
        passed_time(journal, view("engineering", None), view("clinical", BEGUN + FURTHER))
    proven = passed_time(journal, view("engineering", None), view("clinical", None))
    assert proven == BEGUN + 60 * DAY


def test_one_stolen_timestamp_key_does_not_drive_time_on(
    journal: Journal, clock: FakeClock
) -> None:
    """A year 9999 of one authority neither ends a release nor ends the agent."""
    never = datetime.max.replace(tzinfo=UTC)
    passed_time(journal, view("engineering", never), CLINICAL)
    a_day_passes(clock)
    assert passed_time(journal, view("engineering", never), CLINICAL) == BEGUN + DAY


def test_a_newer_issue_time_moves_time_on_at_once(journal: Journal, clock: FakeClock) -> None:
    """A device that lay unpowered learns what time it is from both authorities, not from one."""
    passed_time(journal, ENGINEERING, CLINICAL)
    later = BEGUN + 30 * DAY
    assert passed_time(journal, view("engineering", later), CLINICAL) == BEGUN
    a_day_passes(clock)
    assert passed_time(journal, view("engineering", later), CLINICAL) == BEGUN + DAY
    both = view("engineering", later), view("clinical", later)
    assert passed_time(journal, *both) == later
    a_day_passes(clock)
    assert passed_time(journal, *both) == later + DAY


def test_other_keys_start_anew(journal: Journal, clock: FakeClock) -> None:
    """Both clocks of the publishers were wrong: a new root puts the time right."""
    wrong = BEGUN + 1000 * DAY
    assert passed_time(journal, view("engineering", wrong), view("clinical", wrong)) == wrong
    righted = view("engineering", BEGUN, keys=NEW_KEYS)
    assert passed_time(journal, righted, view("clinical", wrong)) == BEGUN
    a_day_passes(clock)
    assert passed_time(journal, righted, view("clinical", wrong)) == BEGUN + DAY
    # New keys that sign no time prove none.
    silent = view("engineering", None, keys="c" * 64)
    assert passed_time(journal, silent, view("clinical", wrong)) is None


def test_a_reboot_neither_loses_nor_invents_time(journal: Journal, clock: FakeClock) -> None:
    passed_time(journal, ENGINEERING, CLINICAL)
    a_day_passes(clock)
    assert passed_time(journal, ENGINEERING, CLINICAL) == BEGUN + DAY
    clock.boot, clock.powered = "boot-2", 0.0
    assert passed_time(journal, ENGINEERING, CLINICAL) == BEGUN + DAY
    a_day_passes(clock)
    assert passed_time(journal, ENGINEERING, CLINICAL) == BEGUN + 2 * DAY


def test_without_an_issue_time_nothing_is_proven(journal: Journal) -> None:
    assert passed_time(journal, view("engineering", None), CLINICAL) is None


def test_nothing_is_written_while_nothing_new_is_signed(
    counting: CountingJournal, clock: FakeClock
) -> None:
    """Flash wears out: a poll that brings nothing, or a frozen time, costs no write."""
    passed_time(counting, ENGINEERING, CLINICAL)
    assert counting.written == 2
    for day in range(1, 11):
        a_day_passes(clock)
        passed_time(counting, view("engineering", BEGUN + day * FURTHER), view("clinical", None))
    assert counting.written == 2
    passed_time(counting, view("engineering", BEGUN + 11 * DAY), CLINICAL)
    assert counting.written == 3
