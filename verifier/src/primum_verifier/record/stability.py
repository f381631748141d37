"""The population stability index, and the limit above which it is no accident.

The index is the sum over all bins of (p - q) ln(p / q), with p the share found and q the share
expected.  Without drift it is (1/n + 1/m) times a chi-square of one degree of freedom less than
there are bins, with n counted and m in the reference (Yurdakul and Naranjo, J. Risk Model
Validation 14 (2020) 4): it grows as counts get fewer, so that a fixed limit is blind for many and
cries wolf for few.  That holds for independent samples.  Those of one person are alike, and a
window holds few persons: what they add is signed as ``overdispersion`` (the first-order correction
of Rao and Scott, JASA 76 (1981) 221).

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

LEAST_EXPECTED = 20.0
"""Below this expected count of any bin nothing is concluded.

The five of Cochran (Biometrics 10 (1954) 417) are too few for a logarithm: a limit for one window
in a thousand is then passed two to five times as often, from twenty on at most twice.
"""

_EMPTY = 0.5
"""What an empty bin counts as, so that its logarithm is one."""

MODERATE, LARGE = 0.1, 0.25
"""The customary names of sizes of the index; they say nothing about chance."""


def stability_index(counts: Sequence[int], proportions: Sequence[float]) -> float:
    """How far the counts are from what was expected; 0 where they are just that.

    Args:
        counts: of each bin; not all 0.
        proportions: the share expected in each, above 0.
    """
    n = sum(counts)
    found = [(count or _EMPTY) / n for count in counts]
    return sum((p - q) * log(p / q) for p, q in zip(found, proportions, strict=True))


def is_enough(counts: Sequence[int], proportions: Sequence[float]) -> bool:
    """Whether so many were counted that the limit means what it says."""
    return sum(counts) * min(proportions) >= LEAST_EXPECTED


def stability_limit(n: int, m: int, *, quantile: float, overdispersion: float) -> float:
    """Above which the index is an alarm.

    Args:
        n: how many were counted; above 0.
        m: how many made the reference.
        quantile: the signed chi-square quantile.
        overdispersion: what persons add who are unlike each other.
    """
    return (1.0 / n + 1.0 / m + overdispersion) * quantile


def size_of(index: float) -> str:
    """The customary name of its size."""
    if index < MODERATE:
        return "small"
    return "moderate" if index < LARGE else "large"
