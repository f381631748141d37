"""How long a CUSUM of days runs: exactly, by a Markov chain, and the interval for a length.

The sum is cut into steps, and the average number of days until it leaves them solves a linear
system (Brook and Evans, Biometrika 59 (1972) 539).  Days are normal, or as they were seen: the
rates of real days lean to one side, and a CUSUM for normal days alarms too often on them.
"""

from __future__ import annotations

from math import erf, inf, sqrt

import numpy as np
from numpy.typing import NDArray

_STATES = 201
_NARROWEST, _FARTHEST = 0.01, 1000.0
Days = NDArray[np.float64]
"""Days that were seen, each in standard deviations from their mean."""


def average_run_length(
    slack: float,
    interval: float,
    *,
    sides: int,
    shift: float = 0.0,
    seen: Days | None = None,
) -> float:
    """Days until it alarms, starting from nothing.

    Args:
        slack: k, in standard deviations of a day.
        interval: h, likewise.
        sides: 2 where both directions alarm; with one it is upwards.
        shift: by how many standard deviations the mean has moved up.
        seen: days to draw from; None for normal days.
    """
    up = _one_sided(slack, interval, shift, seen)
    if sides == 1:
        return up
    down = _one_sided(slack, interval, -shift, None if seen is None else -seen)
    # Both sums are never above nothing at once where k is not tiny (van Dobben de Bruyn, 1968).
    alarms = sum(1.0 / one for one in (up, down))
    return 1.0 / alarms if alarms > 0.0 else inf


def _one_sided(slack: float, interval: float, shift: float, seen: Days | None) -> float:
    if seen is not None and float(seen.max()) + shift <= slack:
        return inf
    width = 2.0 * interval / (2 * _STATES - 1)
    # From the middle of one step to the upper bound of another, so many steps away; the first step
    # holds all that lies below.
    away = (np.arange(1 - _STATES, _STATES) + 0.5) * width + slack - shift
    if seen is None:
        below = np.array([0.5 * (1.0 + erf(one / sqrt(2.0))) for one in away.tolist()])
    else:
        below = np.searchsorted(np.sort(seen), away, side="right") / len(seen)
    steps = np.arange(_STATES)
    reached = below[steps[None, :] - steps[:, None] + _STATES - 1]
    moves = np.diff(reached, axis=1, prepend=0.0)
    lengths = np.linalg.solve(np.eye(_STATES) - moves, np.ones(_STATES))
    return float(lengths[0])


def interval_for(slack: float, days: float, *, sides: int, seen: Days | None = None) -> float:
    """The smallest interval with which it is silent for so many days on average.

    Args:
        slack: k, in standard deviations of a day.
        days: of normal days, and of those that were seen.
        sides: see :func:`average_run_length`.
        seen: likewise.

    Raises:
        ValueError: no interval makes it silent for so long, or any for longer.
    """

    def silent(interval: float) -> float:
        normal = average_run_length(slack, interval, sides=sides)
        if seen is None or normal < days:
            return normal
        return min(normal, average_run_length(slack, interval, sides=sides, seen=seen))

    low, high = _NARROWEST, 1.0
    if silent(low) > days:
        raise ValueError("with this slack any interval is silent for longer")
    while silent(high) < days:
        low, high = high, high * 2.0
        if high > _FARTHEST:
            raise ValueError("no interval is silent for so long")
    while high - low > 1e-6 * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if silent(middle) >= days else (middle, high)
    return high
