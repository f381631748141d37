"""In which order the tests are begun."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import LONGEST_FIRST

CHECKOUT = Path(__file__).parents[3]


def test_a_file_that_begins_first_is_there_under_its_name() -> None:
    """One that was renamed would begin somewhere else, and perhaps last."""
    assert [name for name in LONGEST_FIRST if not (CHECKOUT / name).is_file()] == []
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)
