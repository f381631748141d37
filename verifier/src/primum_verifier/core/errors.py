"""The errors of Primum, and the one exit table that every command follows.

::

    PrimumError                what, where, found, expected, remedy, reason, exit code
    +-- RefusedError     1     judged and not allowed: a good result, not a malfunction
    +-- UsageError       2     the call or a file handed in is wrong
    +-- FailedError      3     the world did not do its part (network, disk, broker)
    +-- BusyError        4     another process holds what is needed
    +-- WaitingError     5     allowed, but not now: a gate holds

Standard library only: the resident supervisor imports this module.
"""

from __future__ import annotations

from typing import ClassVar

from primum_verifier.core.reasons import Reason

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_BUSY = 4
EXIT_WAITING = 5


def _printable(text: str) -> str:
    """``text`` with every character that does not print as its escape.

    What was found is often quoted from hostile bytes: a line end would forge a line of the
    report, a control sequence would write into a terminal, half a surrogate pair breaks a log.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class PrimumError(Exception):
    """The base of the family.

    Args:
        message: what is wrong with the world, in one sentence.
        reason: the stable code that a caller, a fleet or a runbook branches on.
        where: the file, document, address or rule it was found in.
        found: what was there.
        expected: what should have been there.
        remedy: what a person can do about it; advice stands apart from the message.
    """

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        where: str = "",
        found: str = "",
        expected: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.where = _printable(where)
        self.found = _printable(found)
        self.expected = _printable(expected)
        self.remedy = remedy

    def as_dict(self) -> dict[str, str]:
        """The error as ``--json`` shows it: empty parts are left out."""
        parts = {
            "reason": str(self.reason),
            "message": self.message,
            "where": self.where,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
        }
        return {name: text for name, text in parts.items() if text}

    def for_people(self) -> str:
        """The error as a terminal shows it: the message, then one indented line for each part."""
        lines = [f"{self.reason}: {self.message}"]
        for name in ("where", "found", "expected", "remedy"):
            text = getattr(self, name)
            if text:
                lines.append(f"  {name + ':':<10}{text}")
        return "\n".join(lines)


class RefusedError(PrimumError):
    """Something was judged and is not allowed. A refusal is a good result, not a malfunction."""

    exit_code = EXIT_REFUSED


class UsageError(PrimumError):
    """The call, or a file that the caller handed in, is wrong."""

    exit_code = EXIT_USAGE


class FailedError(PrimumError):
    """The world did not do its part: a server, a disk, a broker, a child process."""

    exit_code = EXIT_FAILED


class BusyError(PrimumError):
    """Another process holds what is needed; trying again later is right."""

    exit_code = EXIT_BUSY


class WaitingError(PrimumError):
    """Allowed, but not now: a gate holds and says why."""

    exit_code = EXIT_WAITING
