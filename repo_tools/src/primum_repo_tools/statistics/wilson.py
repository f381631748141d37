"""Wilson's score interval of one proportion (E. B. Wilson, JASA 22 (1927) 209-212)."""

from __future__ import annotations

from math import sqrt

from primum_repo_tools.statistics.interval import Interval, normal_quantile


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """The interval of ``successes`` among ``n`` independent cases.

    Args:
        successes: how many, 0 to ``n``.
        n: cases, above 0.
        confidence: the two-sided level.

    Raises:
        ValueError: counts that cannot be.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no proportion")
    z = normal_quantile(confidence)
    share = successes / n
    scale = 1.0 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z / scale * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exact at the ends: rounding must not push 0 of n below 0.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == n else middle + half
    return Interval(estimate=share, low=low, high=high, confidence=confidence)
