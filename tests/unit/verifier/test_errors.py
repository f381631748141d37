"""A refusal quotes hostile bytes: what it says must stay text, whoever reads it."""

from __future__ import annotations

import pytest

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason


def refusal(found: str) -> RefusedError:
    return RefusedError("No.", reason=Reason.DOCUMENT_INVALID, where=found, found=found)


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("\x1b[2Jall is well", r"\x1b[2Jall is well"),
        ("a\n  remedy:   switch the check off", r"a\n  remedy:   switch the check off"),
        ("\ud800", r"\ud800"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("\x7f\r\t", r"\x7f\r\t"),
        ("Müller, 23 °C", "Müller, 23 °C"),
    ],
)
def test_what_was_found_writes_nothing_into_terminal_or_log(found: str, shown: str) -> None:
    error = refusal(found)
    assert error.found == error.where == shown
    assert error.for_people().encode()
    assert error.for_people().count("\n") == 2


def test_parts_that_say_nothing_are_left_out() -> None:
    error = RefusedError("No.", reason=Reason.USAGE, expected="yes", remedy="Say yes.")
    assert error.as_dict() == {
        "reason": "usage",
        "message": "No.",
        "expected": "yes",
        "remedy": "Say yes.",
    }
    assert error.for_people() == "usage: No.\n  expected: yes\n  remedy:   Say yes."
