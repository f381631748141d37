"""A two-sided confidence interval, and the normal quantile that most of them need."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """A two-sided interval around an estimate.

    Attributes:
        estimate: the point estimate; a decision never rests on it.
        low: the lower bound.
        high: the upper bound.
        confidence: the two-sided level, such as 0.95.
    """

    estimate: float
    low: float
    high: float
    confidence: float


def normal_quantile(confidence: float) -> float:
    """The z for a two-sided level: 1.96 for 0.95.

    Raises:
        ValueError: the level is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def hull(first: Interval, second: Interval) -> Interval:
    """The smallest interval that holds both; the estimate and level are the first's."""
    return Interval(
        estimate=first.estimate,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        confidence=first.confidence,
    )
