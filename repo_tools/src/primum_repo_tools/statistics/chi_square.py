"""Quantiles of the chi-square distribution, for limits that are signed.

The distribution function is the regularised incomplete gamma function P(d/2, x/2), by its series
(Abramowitz and Stegun, 6.5.29); the quantile is found between bounds, starting from Wilson and
Hilferty (PNAS 17 (1931) 684).
"""

from __future__ import annotations

from math import exp, lgamma, log
from statistics import NormalDist

_PRECISION = 1e-12


def chi_square_below(x: float, degrees: int) -> float:
    """The probability of a value of at most ``x``."""
    if x <= 0.0:
        return 0.0
    shape, half = degrees / 2.0, x / 2.0
    term = total = 1.0 / shape
    number = shape
    while term > total * _PRECISION:
        number += 1.0
        term *= half / number
        total += term
    return min(1.0, total * exp(shape * log(half) - half - lgamma(shape)))


def chi_square_quantile(probability: float, degrees: int) -> float:
    """The value that is passed with one less ``probability``.

    Raises:
        ValueError: no probability, or no degrees of freedom.
    """
    if not 0.0 < probability < 1.0 or degrees < 1:
        raise ValueError(f"no quantile {probability} of {degrees} degrees of freedom")
    ninth = 2.0 / (9.0 * degrees)
    start = degrees * (1.0 - ninth + NormalDist().inv_cdf(probability) * ninth**0.5) ** 3
    low, high = 0.0, 4.0 * max(float(start), 1.0)
    while chi_square_below(high, degrees) < probability:
        high *= 2.0
    while high - low > _PRECISION * high:
        middle = (low + high) / 2.0
        if middle in {low, high}:
            break
        low, high = (
            (middle, high) if chi_square_below(middle, degrees) < probability else (low, middle)
        )
    return (low + high) / 2.0
