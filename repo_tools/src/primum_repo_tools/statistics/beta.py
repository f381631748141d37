"""The beta distribution, on which exact intervals of proportions and ranks rest.

The regularised incomplete beta function by its continued fraction (NIST Handbook of Mathematical
Functions, 8.17.22) in the form of Lentz (Applied Optics 15 (1976) 668); quantiles between bounds.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_PRECISION = 1e-15
_MOST_TERMS = 100_000
_TINY = 1e-300
_HALVINGS = 200


def beta_below(x: float, a: float, b: float) -> float:
    """The probability that a beta variable with parameters ``a`` and ``b`` is at most ``x``."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b))
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front / a * _fraction(x, a, b))
    return max(0.0, 1.0 - front / b * _fraction(1.0 - x, b, a))


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of 8.17.22, without its front factor."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        factor = 1.0
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            factor = c * d
            value *= factor
        if abs(factor - 1.0) < _PRECISION:
            return value
    raise RuntimeError(f"the incomplete beta function of {x}, {a}, {b} does not converge")


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The value that is passed with one less ``probability``."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle in {low, high}:
            break
        low, high = (middle, high) if beta_below(middle, a, b) < probability else (low, middle)
    return (low + high) / 2.0


def binomial_at_most(successes: int, n: int, probability: float) -> float:
    """The probability of at most so many successes among ``n``."""
    if successes < 0:
        return 0.0
    if successes >= n:
        return 1.0
    return 1.0 - beta_below(probability, successes + 1.0, float(n - successes))
