"""Tango's score interval of the difference of two paired proportions.

T. Tango, Statistics in Medicine 17 (1998) 891-908. The interval is every difference that the
score test does not reject; it stays right where nothing is discordant, where a Wald interval
would have no width.
"""

from __future__ import annotations

from math import sqrt

from primum_repo_tools.statistics.interval import Interval, normal_quantile

_STEPS = 80
"""Halvings of an interval of width 2: far below the last bit of a double."""


def tango_score(delta: float, gained: int, lost: int, n: int) -> float:
    """The score statistic at a supposed true difference ``delta``; above 0 where more was seen."""
    a = 2.0 * n
    b = -gained - lost + (2.0 * n - gained + lost) * delta
    c = -lost * delta * (1.0 - delta)
    # The restricted maximum-likelihood estimate of the probability of "lost".
    q = (sqrt(max(b * b - 4.0 * a * c, 0.0)) - b) / (2.0 * a)
    variance = n * (2.0 * q + delta * (1.0 - delta))
    distance = gained - lost - n * delta
    if variance <= 0.0:
        return 0.0 if distance == 0.0 else (float("inf") if distance > 0 else float("-inf"))
    return distance / sqrt(variance)


def tango_interval(gained: int, lost: int, n: int, *, confidence: float = 0.95) -> Interval:
    """The interval of (gained - lost) / n.

    Args:
        gained: pairs in which only the first method is right.
        lost: pairs in which only the second method is right.
        n: all pairs, above 0.
        confidence: the two-sided level.

    Raises:
        ValueError: counts that cannot be.
    """
    if gained < 0 or lost < 0 or gained + lost > n or n == 0:
        raise ValueError(f"{gained} and {lost} discordant of {n} pairs cannot be")
    z = normal_quantile(confidence)
    estimate = (gained - lost) / n

    def bound(end: float, target: float) -> float:
        inside, outside = estimate, end
        for _ in range(_STEPS):
            middle = (inside + outside) / 2.0
            if abs(tango_score(middle, gained, lost, n)) <= target:
                inside = middle
            else:
                outside = middle
        return (inside + outside) / 2.0

    return Interval(
        estimate=estimate, low=bound(-1.0, z), high=bound(1.0, z), confidence=confidence
    )
