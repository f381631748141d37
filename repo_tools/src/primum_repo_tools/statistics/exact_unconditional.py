"""An exact test of paired non-inferiority for few pairs, where score intervals only approximate.

H.-M. Hsueh, J.-P. Liu and J. J. Chen, Biometrics 57 (2001) 478-483: every table is ordered by
Tango's score statistic, and the probability of one at least as extreme is maximised over the share
of discordant pairs, which nobody knows.
"""

from __future__ import annotations

from math import lgamma

import numpy as np

from primum_repo_tools.statistics.arrays import Floats
from primum_repo_tools.statistics.tango import tango_score

MOST_PAIRS = 60
"""Above this the score interval is near enough, and the enumeration takes seconds."""

_GRID = 400
"""Values of the unknown share that are tried."""


def exact_noninferiority(gained: int, lost: int, n: int, *, margin: float) -> float:
    """The one-sided p-value of "the first method is worse by ``margin`` or more".

    Args:
        gained: pairs in which only the first method is right.
        lost: pairs in which only the second method is right.
        n: all pairs, 1 to 60.
        margin: how much may be lost, between 0 and 1.

    Raises:
        ValueError: counts that cannot be, or more pairs than are enumerated.
    """
    if gained < 0 or lost < 0 or gained + lost > n or not 0 < n <= MOST_PAIRS:
        raise ValueError(f"{gained} and {lost} discordant of {n} pairs cannot be tested exactly")
    pairs = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    observed = tango_score(-margin, gained, lost, n)
    extreme = [(b, c) for b, c in pairs if tango_score(-margin, b, c, n) >= observed - 1e-9]
    b, c = (np.array(column, dtype=np.float64) for column in zip(*extreme, strict=True))
    # Of lost pairs at the margin; gained ones are as many less the margin.
    share = np.linspace(margin, (1.0 + margin) / 2.0, _GRID)[:, None]
    return float(min(1.0, np.exp(_log_probability(b, c, n, share, margin)).sum(axis=1).max()))


def _log_probability(b: Floats, c: Floats, n: int, share: Floats, margin: float) -> Floats:
    coefficient = np.array(
        [
            lgamma(n + 1) - lgamma(x + 1) - lgamma(y + 1) - lgamma(n - x - y + 1)
            for x, y in zip(b.tolist(), c.tolist(), strict=True)
        ]
    )
    log_gained = _times(b, share - margin)
    log_lost = _times(c, share)
    log_same = _times(n - b - c, 1.0 - 2.0 * share + margin)
    total: Floats = coefficient + log_gained + log_lost + log_same
    return total


def _times(count: Floats, probability: Floats) -> Floats:
    """``count * log(probability)``, with nothing of nothing being nothing."""
    clipped = np.maximum(probability, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        product = count * np.log(clipped)
    result: Floats = np.where(count == 0, 0.0, product)
    return result
