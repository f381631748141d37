"""What a device remembers of holds: one person holds a release once in 30 days, and forgets none.

Two people who hold in turn, or one who signs many, must not keep a release away without end.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from primum_agent.journal import Journal
from primum_agent.seen_holds import (
    HOLDS_PER_PERSON,
    MAX_PEOPLE,
    MAX_RELEASES,
    _within_the_bounds,
    remember_holds,
    seen_holds,
)
from primum_verifier.core.limits import HOLD_AGAIN_DAYS, MAX_HOLD_HOURS
from primum_verifier.core.question import SeenHold

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RELEASE = "a" * 64
AGAIN = timedelta(days=HOLD_AGAIN_DAYS)


def hold(person: str, *, days: float, notice: str = "") -> SeenHold:
    return SeenHold(notice or f"urn:{person}-{days}", f"p-{person}", NOON + timedelta(days=days))


def forbids(holds: object, person: str, *, days: float) -> bool:
    """The rule of the verdict, over what was kept."""
    asked = NOON + timedelta(days=days)
    return any(
        item.person_id == f"p-{person}" and asked - AGAIN < item.issued_at < asked
        for item in holds  # type: ignore[attr-defined]
    )


def test_the_holds_of_a_second_person_push_out_none_of_the_first(journal: Journal) -> None:
    """Two people with 64 holds each: neither is forgotten, so neither holds again."""
    late = NOON + timedelta(days=20)
    first = [hold("quality", days=number / 100) for number in range(64)]
    second = [hold("clinical", days=1 + number / 100) for number in range(64)]
    remember_holds(journal, RELEASE, first, until=late)
    remember_holds(journal, RELEASE, second, until=late)
    kept = seen_holds(journal, RELEASE)
    for person in ("quality", "clinical"):
        assert forbids(kept, person, days=5)
        assert not forbids(kept, person, days=40)


def test_who_signs_many_is_still_known_by_the_first(journal: Journal) -> None:
    """Dated between the first and those that were to push it out, the next one is forbidden."""
    late = NOON + timedelta(days=20)
    remember_holds(journal, RELEASE, [hold("quality", days=0)], until=late)
    for number in range(50):
        remember_holds(journal, RELEASE, [hold("quality", days=4 + number / 100)], until=late)
    assert forbids(seen_holds(journal, RELEASE), "quality", days=3.5)


@given(
    st.lists(st.floats(min_value=0, max_value=120), min_size=1, max_size=40),
    st.floats(min_value=0, max_value=MAX_HOLD_HOURS / 24),
)
def test_what_is_left_out_decides_about_no_hold_that_can_still_last(
    days: list[float], ago: float
) -> None:
    """Any holds, in any order: a hold that is in force when the newest was met fares the same."""
    everything = [hold("quality", days=day) for day in days]
    kept = _within_the_bounds(everything)
    assert len(kept) <= HOLDS_PER_PERSON
    asked = max(days) - ago
    assert forbids(kept, "quality", days=asked) == forbids(everything, "quality", days=asked)
    later = max(days) + ago
    assert forbids(kept, "quality", days=later) == forbids(everything, "quality", days=later)


def test_holds_cannot_fill_the_disk_nor_count_before_they_begin(journal: Journal) -> None:
    first = hold("quality", days=0)
    remember_holds(journal, RELEASE, [first], until=NOON)
    ahead = [hold("quality", days=day) for day in range(1, 400, 31)]
    remember_holds(journal, RELEASE, ahead, until=NOON)
    assert seen_holds(journal, RELEASE) == (first,)
    late = NOON + timedelta(days=500)
    remember_holds(journal, RELEASE, ahead, until=late)
    kept = seen_holds(journal, RELEASE)
    assert kept == tuple(ahead[-HOLDS_PER_PERSON:])
    crowd = [hold(f"person-{number:03}", days=400 + number) for number in range(MAX_PEOPLE)]
    remember_holds(journal, RELEASE, crowd, until=late)
    assert seen_holds(journal, RELEASE) == tuple(crowd)


def test_holds_of_many_releases_are_bounded(journal: Journal) -> None:
    first = hold("quality", days=0)
    for number in range(MAX_RELEASES + 5):
        remember_holds(journal, f"{number:064x}", [first], until=NOON)
    assert seen_holds(journal, f"{0:064x}") == ()
    assert seen_holds(journal, f"{MAX_RELEASES:064x}") == (first,)
    remember_holds(journal, "b" * 64, [first], until=None)
    assert seen_holds(journal, "b" * 64) == ()


def test_nothing_is_written_for_a_hold_that_was_left_out(journal: Journal) -> None:
    """It stays on the list, so every poll meets it again."""
    many = [hold("quality", days=number / 100) for number in range(10)]
    remember_holds(journal, RELEASE, many, until=NOON + AGAIN)
    before = journal.counter("seen-holds", "")
    journal.set_counters(seen_holds=before + " ")
    remember_holds(journal, RELEASE, many, until=NOON + AGAIN)
    assert journal.counter("seen-holds", "") == before + " "
