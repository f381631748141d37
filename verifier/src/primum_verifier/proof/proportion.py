"""Wilson's score interval of one proportion (E. B. Wilson, JASA 22 (1927) 209-212).

It is the interval of choice for few cases: it never leaves 0 to 1 and is not empty at either end
(R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3).
"""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def wilson(right: int, of: int) -> tuple[float, float]:
    """The two-sided 95 % interval of ``right`` among ``of`` independent cases.

    Args:
        right: how many, 0 to ``of``.
        of: cases, above 0.

    Raises:
        ValueError: counts that cannot be.
    """
    if not 0 <= right <= of or of == 0:
        raise ValueError(f"{right} of {of} is no proportion")
    share = right / of
    scale = 1.0 + _Z * _Z / of
    middle = (share + _Z * _Z / (2 * of)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    # Exact at the ends: rounding must not push 0 of n below 0, nor n of n above 1.
    return (
        0.0 if right == 0 else middle - half,
        1.0 if right == of else middle + half,
    )
