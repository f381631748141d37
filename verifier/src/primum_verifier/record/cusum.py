"""Cumulative sums of daily rates: a lasting small change adds up, chance does not.

The tabular CUSUM (Page, Biometrika 41 (1954) 100): of each day's excess over the reference and a
slack k the sum is kept, never below nothing, and above the decision interval h it alarms.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf

_OVERSHOOT = 1.166
"""By how much a sum jumps over its limit on average, in standard deviations (Siegmund, 1985)."""

_BEYOND = 700.0  # the exponent of the largest number a computer holds


@dataclass(frozen=True)
class Sums:
    """Both sums of one rate, in its unit.

    Attributes:
        up: of what lay above.
        down: of what lay below.
    """

    up: float = 0.0
    down: float = 0.0

    def after(self, rate: float, *, reference: float, slack: float, most: float) -> Sums:
        """The sums after one more day.

        Args:
            rate: the day's.
            reference: what is expected.
            slack: what a day may differ without being added.
            most: where the sums stop: what lasted for months must end within days of its end.
        """
        return replace(
            self,
            up=min(most, max(0.0, self.up + rate - reference - slack)),
            down=min(most, max(0.0, self.down + reference - slack - rate)),
        )


def run_length(slack: float, interval: float, *, sides: int) -> float:
    """Days from one false alarm to the next without drift, by Siegmund's approximation.

    Days are taken as independent and normal; it lies above the exact run length where the slack is
    large (D. Siegmund, Sequential Analysis, 1985, 2.6; Montgomery, Statistical Quality Control).

    Args:
        slack: k, in standard deviations of a day.
        interval: h, likewise.
        sides: 2 where both directions alarm.
    """
    exponent = 2.0 * slack * (interval + _OVERSHOOT)
    if exponent > _BEYOND:
        return inf
    return (exp(exponent) - exponent - 1.0) / (2.0 * slack * slack) / sides
