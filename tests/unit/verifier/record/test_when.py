"""Between which moments something happened: to the second, and touching is no contradiction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from primum_verifier.record.when import Bounds, Reading, Timed, own_error, timed

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
KNOWN, FREE, UNSET = "synchronised", "free-running", "unset"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def shown(seconds: float, quality: str = KNOWN, *, is_weak: bool = False) -> Reading:
    return Reading(at(seconds), quality, is_weak)


def bounds(low: float | None, high: float | None) -> Bounds:
    return Bounds(None if low is None else at(low), None if high is None else at(high))


def test_a_synchronised_clock_is_believed_to_sixteen_seconds_and_the_second_it_left_out() -> None:
    assert timed([shown(0)], []) == Timed((bounds(-16, 17),), (), ())
    assert bounds(-16, 17).seconds == 33
    assert bounds(None, 17).seconds is None


@pytest.mark.parametrize("reading", [Reading(None, KNOWN), shown(0, FREE), shown(0, UNSET)])
def test_a_clock_that_shows_no_moment_or_is_not_believed_bounds_nothing(reading: Reading) -> None:
    assert timed([reading], []).bounds == (bounds(None, None),)


def test_a_free_clock_is_believed_as_far_as_somebody_says() -> None:
    assert timed([shown(0, FREE)], [], free_running=300).bounds == (bounds(-300, 301),)
    assert timed([shown(0, UNSET)], [], free_running=300).bounds == (bounds(None, None),)
    assert own_error(KNOWN, free_running=300) == 16


def test_each_moment_lies_between_those_before_and_after_it() -> None:
    found = timed([shown(0), shown(500, UNSET), shown(100)], [])
    assert found.bounds == (bounds(-16, 17), bounds(-16, 117), bounds(84, 117))


def test_what_was_received_happened_before() -> None:
    found = timed([shown(0, UNSET), shown(0, UNSET)], [(0, at(50))])
    assert found.bounds == (bounds(None, 67), bounds(None, None))
    earlier = timed([shown(0, UNSET), shown(0, UNSET)], [(1, at(50)), (1, at(90)), (0, at(70))])
    assert earlier.bounds == (bounds(None, 67), bounds(None, 67))


def test_a_clock_just_as_far_ahead_of_a_receipt_as_both_may_err_is_not_refuted() -> None:
    assert timed([shown(33)], [(0, at(0))]) == Timed((bounds(17, 17),), (), ())
    assert timed([shown(34)], [(0, at(0))]) == Timed((bounds(None, 17),), (), (0,))


def test_two_clocks_just_as_far_apart_as_both_may_err_do_not_contradict_each_other() -> None:
    assert timed([shown(0), shown(-33)], []) == Timed((bounds(-16, -16), bounds(-16, -16)), (), ())
    found = timed([shown(0), shown(-34)], [])
    assert found == Timed((bounds(None, None), bounds(None, None)), (0, 1), ())


def test_the_moment_of_a_signing_gives_way_to_events_and_to_nothing_else() -> None:
    found = timed([shown(0), shown(-100, is_weak=True), shown(50)], [])
    assert (found.contradicting, found.bounds[1]) == ((1,), bounds(-16, 67))
    found = timed([shown(0, is_weak=True), shown(-100, is_weak=True)], [])
    assert found.contradicting == (0, 1)
    found = timed([shown(0), shown(40, is_weak=True)], [])
    assert found.bounds[1] == bounds(24, 57)
