"""Whether a number that was computed agrees with its reference, and by how much it does not.

A floating number ``x`` agrees with its reference ``r`` when

    ``|x - r| <= absTol + relTol * |r|``

computed in double precision.  This is the formula of ``numpy.isclose``: not symmetric, because
``r`` is what was signed.  Two infinities of one sign agree, two NaN agree ("no answer" on both
sides), and nothing else that is not finite agrees with anything.  Integers and bools agree when
they are the same; no tolerance moves them.

An answer that lies further from its reference never fares better than one that lies nearer on the
same side: rounding is monotone, so each step of the formula is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from primum_verifier.proof.element_types import ElementType, Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a floating number may lie from its reference; both at least 0."""

    absolute: float
    relative: float

    def around(self, reference: Number) -> float:
        """The largest distance from ``reference`` that still agrees."""
        return self.absolute + self.relative * abs(reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One number against its reference.

    Attributes:
        at: which number of its tensor, counted from 0 in C order.
        found: what was computed.
        reference: what was signed.
        off: the distance; infinite where one of them is not finite and they do not agree.
        beyond: the distance past the tolerance; 0 or below agrees, least where both are the same.
    """

    at: int
    found: Number
    reference: Number
    off: float
    beyond: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One tensor against its reference: how many numbers are outside, and the worst of all."""

    outside: int
    worst: Deviation


def distance(
    found: Number, reference: Number, *, dtype: ElementType, tolerance: Tolerance
) -> tuple[float, float]:
    """How far ``found`` is from ``reference``, and how far past what is allowed.

    The second is above 0 exactly where the two do not agree.
    """
    if found == reference or (math.isnan(found) and math.isnan(reference)):
        return 0.0, -math.inf
    if not (math.isfinite(found) and math.isfinite(reference)):
        return math.inf, math.inf
    off = float(abs(found - reference))
    allowed = 0.0 if dtype.exact else tolerance.around(reference)
    # Two infinities have no difference: so far apart, and so far allowed.
    return off, 0.0 if off == allowed else off - allowed


def compare(
    found: bytes, reference: bytes, *, dtype: ElementType, tolerance: Tolerance
) -> Agreement:
    """One tensor against its reference, number by number.

    Args:
        found: the computed bytes, as many as ``reference`` has.
        reference: the signed bytes; at least one number.
        dtype: of both.
        tolerance: for floating numbers.
    """
    numbers, references = dtype.unpack(found), dtype.unpack(reference)
    outside = at = 0
    off, beyond = distance(numbers[0], references[0], dtype=dtype, tolerance=tolerance)
    if found != reference:
        for place, (one, other) in enumerate(zip(numbers, references, strict=True)):
            far, past = distance(one, other, dtype=dtype, tolerance=tolerance)
            outside += past > 0
            if past > beyond:
                at, off, beyond = place, far, past
    worst = Deviation(at=at, found=numbers[at], reference=references[at], off=off, beyond=beyond)
    return Agreement(outside=outside, worst=worst)


def index_of(at: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The place of number ``at`` in a tensor of this shape, one index for each dimension."""
    index = []
    for size in reversed(shape):
        at, place = divmod(at, size)
        index.append(place)
    return tuple(reversed(index))
