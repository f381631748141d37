"""How long inferences took, in the three numbers that limits are signed for.

A device that is busy makes a sound model look slow; no load makes a slow model look fast.  So the
cases are run in rounds, and one round within all limits is enough: further rounds only follow one
that was not.  Whoever judged the round with the lowest p95 instead could pass a model for becoming
slower, because another of its rounds would then be the one that is looked at.

Standard library only: the confined process imports this module before it is confined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

RANKS: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
"""Name and share of each number."""

QUIET_SHARE: Final = 0.8
"""The share of the time limit in which a further round may begin and is expected to end."""


def percentile(ascending: Sequence[int], share: float) -> int:
    """The nearest rank: the least time that at least ``share`` of all runs did not exceed."""
    return ascending[math.ceil(share * len(ascending)) - 1]


def ranked(times: Sequence[int]) -> dict[str, int]:
    """The numbers of one round, by name; ``times`` is not empty."""
    ascending = sorted(times)
    return {name: percentile(ascending, share) for name, share in RANKS.items()}


def within(times: Sequence[int], limits: Mapping[str, int]) -> bool:
    """Whether one round keeps every limit that is stated."""
    found = ranked(times)
    return all(found[name] <= limit for name, limit in limits.items())


def best_round(
    rounds: Sequence[Sequence[int]], limits: Mapping[str, int]
) -> tuple[int, Sequence[int]]:
    """The first round within the limits, else the one with the lowest p95; and which it was.

    Args:
        rounds: at least one, none of them empty.
        limits: by name, in the unit of the times.

    Returns:
        Its place, counted from 0, and its times.
    """
    for place, times in enumerate(rounds):
        if within(times, limits):
            return place, times
    place = min(range(len(rounds)), key=lambda at: ranked(rounds[at])["p95"])
    return place, rounds[place]
