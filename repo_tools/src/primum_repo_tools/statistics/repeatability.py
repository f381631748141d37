"""How much repeated measurements of one thing differ.

One-way components of variance (S. R. Searle et al., Variance Components (1992), chapter 3); the
within-subject deviation and the repeatability coefficient of J. M. Bland and D. G. Altman, BMJ 312
(1996) 1654.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from primum_repo_tools.statistics.arrays import Floats

_REPEATABILITY = 1.959963984540054 * sqrt(2.0)


@dataclass(frozen=True)
class Repeatability:
    """The components.

    Attributes:
        within: standard deviation of repeats of one case.
        between: standard deviation of the cases' true values; 0 where none shows.
        coefficient: two repeats differ by less than this in 95 of 100 cases.
        percent_cv: ``within`` in percent of the mean; NaN where the mean is 0.
        agreement: the share of all variance that lies between cases; NaN where there is none.
    """

    within: float
    between: float
    coefficient: float
    percent_cv: float
    agreement: float


def repeatability_of(values: Floats) -> Repeatability:
    """The components of repeated measurements.

    Args:
        values: [cases, repeats], at least two of each, all finite.

    Raises:
        ValueError: too few.
    """
    if values.ndim != 2 or min(values.shape) < 2:  # noqa: PLR2004 - two of each, as said
        raise ValueError("repeatability needs two cases, each measured twice")
    repeats = values.shape[1]
    within = float(values.var(axis=1, ddof=1).mean())
    means = float(values.mean(axis=1).var(ddof=1))
    between = max(0.0, means - within / repeats)
    mean = abs(float(values.mean()))
    total = within + between
    return Repeatability(
        within=sqrt(within),
        between=sqrt(between),
        coefficient=_REPEATABILITY * sqrt(within),
        percent_cv=100.0 * sqrt(within) / mean if mean > 0.0 else float(np.nan),
        agreement=between / total if total > 0.0 else float(np.nan),
    )
