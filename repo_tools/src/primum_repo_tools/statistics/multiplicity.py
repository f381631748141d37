"""Many p-values at once: which stand when any of them might be chance.

S. Holm, Scand. J. Statist. 6 (1979) 65-70, keeps the chance of even one false alarm; Y. Benjamini
and Y. Hochberg, J. R. Statist. Soc. B 57 (1995) 289-300, the share of false ones.  "Every cohort
must pass" needs neither: it is an intersection-union test (R. L. Berger, Technometrics 24 (1982)
295-300), which loses power instead.
"""

from __future__ import annotations

import numpy as np

from primum_repo_tools.statistics.arrays import Floats


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values, in the order given; below the level means it stands."""
    order = np.argsort(p_values, kind="stable")
    n = len(p_values)
    raised = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    return _in_place(np.minimum(raised, 1.0), order)


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Adjusted p-values, in the order given; below the level means it stands."""
    order = np.argsort(p_values, kind="stable")
    n = len(p_values)
    raised = p_values[order] * n / (np.arange(n) + 1)
    return _in_place(np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0), order)


def _in_place(ordered: Floats, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    placed = np.empty_like(ordered)
    placed[order] = ordered
    return placed
