"""How alike the samples of one person are: what that adds to an index of counts.

With an intra-person correlation r the index of a window of K persons is larger than of independent
samples by about r / K, in the unit of 1 / n, and by r / S for the S persons of the reference: the
first-order correction of Rao and Scott (JASA 76 (1981) 221), with r by the moments of each
person's own chi-square against the whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def correlation_within(counts: NDArray[np.int64]) -> float:
    """The intra-person correlation; 0 where persons differ no more than chance lets them.

    Args:
        counts: of each person, a row, in each bin; no bin and no person is empty.
    """
    sizes = counts.sum(axis=1)
    expected = counts.sum(axis=0) / counts.sum()
    squares = sizes * ((counts / sizes[:, None] - expected) ** 2 / expected).sum(axis=1)
    degrees = counts.shape[1] - 1
    # The whole was made of the same persons: each takes its own share of the freedom with it.
    excess = (squares / degrees - (1.0 - sizes / sizes.sum())).sum()
    pairs = (sizes - 1).sum()
    return float(min(1.0, max(0.0, excess / pairs))) if pairs else 0.0


def overdispersion_of(counts: NDArray[np.int64], *, persons_per_window: int) -> float:
    """What persons add to the index of a window, in the unit of 1 / n.

    Args:
        counts: see :func:`correlation_within`.
        persons_per_window: the fewest persons that a window holds.
    """
    return correlation_within(counts) * (1.0 / persons_per_window + 1.0 / len(counts))
