"""When to try again: pure functions, so that every delay can be tested without waiting."""

from __future__ import annotations

LONGEST_BACK_OFF = 6 * 3600.0
"""Seconds; a device that failed for days still asks a few times a day."""

_DOUBLINGS = 16


def jittered(seconds: float, *, jitter: float, draw: float) -> float:
    """A period spread by ``jitter`` (a share of it), so that a fleet does not ask as one.

    Args:
        seconds: the period.
        jitter: 0 for none, 0.2 for 20 % either way.
        draw: a number in [0, 1), fresh for each call.
    """
    return seconds * (1.0 + jitter * (2.0 * draw - 1.0))


def backed_off(
    seconds: float, *, failures: int, jitter: float, draw: float, longest: float = LONGEST_BACK_OFF
) -> float:
    """The delay after ``failures`` failures in a row: doubling, bounded, jittered."""
    grown = seconds * 2.0 ** min(max(failures, 0), _DOUBLINGS)
    return jittered(max(seconds, min(grown, longest)), jitter=jitter, draw=draw)
