"""The exact interval of one proportion (C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404).

It covers at least as often as it says, for every true proportion; Wilson's does so on average.
"""

from __future__ import annotations

from primum_repo_tools.statistics.beta import beta_quantile
from primum_repo_tools.statistics.interval import Interval


def clopper_pearson_interval(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
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
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else beta_quantile(tail, successes, n - successes + 1)
    high = 1.0 if successes == n else beta_quantile(1.0 - tail, successes + 1, n - successes)
    return Interval(estimate=successes / n, low=low, high=high, confidence=confidence)


def cases_without_failure(share: float, *, confidence: float = 0.95) -> int:
    """How many cases without one failure show, one-sided, that a share of successes is reached.

    Args:
        share: to be shown, such as 0.95.
        confidence: the one-sided level.
    """
    needed = 1
    while share**needed > 1.0 - confidence:
        needed += 1
    return needed
