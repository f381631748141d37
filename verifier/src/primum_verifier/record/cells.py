"""Counting in signed bins, and withholding of small cells: the one way for all that is counted.

A cell is one counter.  What leaves a device never holds a cell below the smallest that is signed,
and nothing from which one follows by a sum.

Standard library only: the resident supervisor and the application's library import this module.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

MAX_COUNT = 2**53
"""No counter grows beyond what every reader of JSON holds exactly."""


def bin_of(edges: Sequence[float], value: float | None) -> int | None:
    """The bin of a value; None for what is missing or no number, which is in no bin.

    Args:
        edges: the inner edges, rising; the first bin holds all below the first edge, the last
            all from the last edge on.
        value: what was measured.
    """
    if value is None or math.isnan(value):
        return None
    return bisect_right(edges, value)


def added(count: int, more: int) -> int:
    """A counter after more was counted; it stays at its bound, and never falls."""
    return min(MAX_COUNT, count + more)


def withheld(cells: Sequence[int], least: int, *, hide_sum: bool = False) -> list[int | None]:
    """One family of cells with None for each that is not told.

    Args:
        cells: the counts.
        least: the smallest that is told.
        hide_sum: whether their sum would tell something that is withheld elsewhere.
    """
    told: list[int | None] = [count if count >= least else None for count in cells]
    gone = told.count(None)
    if gone == 1 or (hide_sum and gone == 0):
        rest = sorted((count, place) for place, count in enumerate(told) if count is not None)
        for _, place in rest[: 2 - gone]:
            told[place] = None
    return told


def is_shaped_like(found: object, wanted: object) -> bool:
    """Whether two trees have the same members and lengths, and ``found`` holds only counts."""
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(is_shaped_like(found[name], wanted[name]) for name in wanted)
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(is_shaped_like, found, wanted))
        )
    return type(found) is int and 0 <= found <= MAX_COUNT
