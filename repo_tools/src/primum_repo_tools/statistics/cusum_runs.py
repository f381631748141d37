"""How long a CUSUM of normal days runs: exactly, by a Markov chain, and the interval for a length.

The sum is cut into steps, and the average number of days until it leaves them solves a linear
system (Brook and Evans, Biometrika 59 (1972) 539).
"""

from __future__ import annotations

from math import erf, sqrt

import numpy as np

_STATES = 201
_NARROWEST, _FARTHEST = 0.01, 1000.0


def average_run_length(slack: float, interval: float, *, sides: int, shift: float = 0.0) -> float:
    """Days until it alarms, starting from nothing.

    Args:
        slack: k, in standard deviations of a day.
        interval: h, likewise.
        sides: 2 where both directions alarm; a shift is upwards.
        shift: by how many standard deviations the mean has moved.
    """
    up = _one_sided(slack, interval, shift)
    if sides == 1:
        return up
    # Both sums are never above nothing at once where k is not tiny (van Dobben de Bruyn, 1968).
    return 1.0 / (1.0 / up + 1.0 / _one_sided(slack, interval, -shift))


def _one_sided(slack: float, interval: float, shift: float) -> float:
    width = 2.0 * interval / (2 * _STATES - 1)
    # From the middle of one step to the upper bound of another, so many steps away; the first step
    # holds all that lies below.
    away = (np.arange(1 - _STATES, _STATES) + 0.5) * width + slack - shift
    below = np.array([0.5 * (1.0 + erf(one / sqrt(2.0))) for one in away.tolist()])
    steps = np.arange(_STATES)
    reached = below[steps[None, :] - steps[:, None] + _STATES - 1]
    moves = np.diff(reached, axis=1, prepend=0.0)
    lengths = np.linalg.solve(np.eye(_STATES) - moves, np.ones(_STATES))
    return float(lengths[0])


def interval_for(slack: float, days: float, *, sides: int) -> float:
    """The smallest interval with which it is silent for so many days on average.

    Raises:
        ValueError: no interval makes it silent for so long, or any for longer.
    """
    low, high = _NARROWEST, 1.0
    if average_run_length(slack, low, sides=sides) > days:
        raise ValueError("with this slack any interval is silent for longer")
    while average_run_length(slack, high, sides=sides) < days:
        low, high = high, high * 2.0
        if high > _FARTHEST:
            raise ValueError("no interval is silent for so long")
    while high - low > 1e-6 * high:
        middle = (low + high) / 2.0
        enough = average_run_length(slack, middle, sides=sides) >= days
        low, high = (low, middle) if enough else (middle, high)
    return high
