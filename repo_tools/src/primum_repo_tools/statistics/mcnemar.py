"""McNemar's test that two paired proportions are equal, in its exact and its mid-p form.

Q. McNemar, Psychometrika 12 (1947) 153-157; mid-p of M. W. Fagerland, S. Lydersen and P. Laake,
BMC Medical Research Methodology 13 (2013) 91.  Pairs are taken as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log

from primum_repo_tools.statistics.beta import binomial_at_most


@dataclass(frozen=True)
class McNemar:
    """Two-sided probabilities of discordant counts at least so unequal, were there no difference.

    Attributes:
        exact: never above the level more often than it says; conservative.
        mid_p: half of the observed table counted; on average as often as it says.
    """

    exact: float
    mid_p: float


def mcnemar_test(gained: int, lost: int) -> McNemar:
    """Test ``gained`` against ``lost`` discordant pairs.

    Raises:
        ValueError: counts that cannot be.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"{gained} and {lost} discordant pairs cannot be")
    n, fewer = gained + lost, min(gained, lost)
    if n == 0:
        return McNemar(1.0, 1.0)
    at_this = exp(lgamma(n + 1) - lgamma(fewer + 1) - lgamma(n - fewer + 1) - n * log(2.0))
    if gained == lost:
        # Every other table is less probable, and only this one is as probable.
        return McNemar(1.0, 1.0 - at_this / 2.0)
    exact = min(1.0, 2.0 * binomial_at_most(fewer, n, 0.5))
    return McNemar(exact, max(0.0, exact - at_this))
