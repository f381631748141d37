"""Arithmetic that gives the same bits on every machine, so that training does too.

Two things make floating-point training differ from one processor to the next: sums whose order
depends on the vector width (every BLAS does that), and functions such as ``exp`` whose last bit
depends on the library. Neither occurs here:

- Every factor of a matrix product is first rounded to a whole number of small steps. As long as
  the largest possible sum stays below 2**53 steps, float64 holds every partial sum exactly, in any
  order and with or without fused multiply-add. That bound is checked at every product.
- ``exp`` is written with additions, multiplications and divisions of single elements, which
  IEEE 754 rounds in one way only.
- Random numbers are the raw integers of PCG64, whose stream numpy promises to keep.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LARGEST_EXACT_INTEGER: Final = float(2**53)
_LN2_HIGH: Final = 0.693147180369123816490
_LN2_LOW: Final = 1.90821492927058770002e-10
_EXP_TERMS: Final = 14
_EXP_LIMIT: Final = 40.0


def in_steps(values: Floats, bits: int) -> Floats:
    """Round to whole numbers of steps of ``2**-bits``; the result still is in plain units."""
    return np.rint(values * float(2**bits)) / float(2**bits)


def product(left: Floats, left_bits: int, right: Floats, right_bits: int) -> Floats:
    """The matrix product of two arrays rounded to steps of ``2**-bits``, exact to the last bit.

    Args:
        left: float64 [n, k].
        left_bits: its step is ``2**-left_bits``.
        right: float64 [k, m].
        right_bits: its step is ``2**-right_bits``.

    Raises:
        RuntimeError: a sum might not be exact; the caller chose too fine a step.
    """
    left_steps = np.rint(left * float(2**left_bits))
    right_steps = np.rint(right * float(2**right_bits))
    largest = float(np.abs(left_steps).max()) * float(np.abs(right_steps).max()) * left.shape[1]
    if not largest < _LARGEST_EXACT_INTEGER:
        raise RuntimeError(f"sums of up to {largest:.3g} steps are not exact in float64")
    exact: Floats = (left_steps @ right_steps) / float(2 ** (left_bits + right_bits))
    return exact


def sigmoid(logits: Floats) -> Floats:
    """``1 / (1 + exp(-logits))`` out of operations that IEEE 754 rounds in one way only."""
    x = -np.clip(logits, -_EXP_LIMIT, _EXP_LIMIT)
    whole = np.rint(x / _LN2_HIGH)
    rest = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    series = np.ones_like(rest)
    for term in range(_EXP_TERMS, 0, -1):
        series = 1.0 + rest * series / term
    # A power of two is a shift of the exponent, and always exact.
    exponential = np.ldexp(series, whole.astype(np.int32))
    return 1.0 / (1.0 + exponential)


class RandomIntegers:
    """A seeded stream of raw 64-bit integers and what training makes of them."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.PCG64(seed)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """The numbers 0 to ``count - 1`` in random order."""
        return np.argsort(self._source.random_raw(count), kind="stable")

    def uniform(self, shape: tuple[int, ...]) -> Floats:
        """Float64 of the given shape, evenly spread over -1 to 1 in steps of 2**-31."""
        raw = self._source.random_raw(int(np.prod(shape))) >> np.uint64(32)
        spread: Floats = raw.astype(np.float64).reshape(shape) / float(2**31) - 1.0
        return spread

    def integers(self, count: int, largest: int) -> NDArray[np.int64]:
        """``count`` whole numbers from ``-largest`` to ``largest``."""
        raw = self._source.random_raw(count) % np.uint64(2 * largest + 1)
        return raw.astype(np.int64) - largest
