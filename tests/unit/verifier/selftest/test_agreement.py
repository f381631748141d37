"""When a number agrees with its reference: the published formula, and nothing kinder."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.proof.agreement import Tolerance, compare, distance, index_of
from primum_verifier.proof.element_types import ElementType

TIGHT = Tolerance(absolute=1e-8, relative=1e-5)
RELATIVE = Tolerance(absolute=0.0, relative=1e-5)

# The examples in the documentation of numpy.isclose, which has the same formula and defaults.
_PUBLISHED = [
    (1e10, 1.00001e10, TIGHT, True),
    (1e-7, 1e-8, TIGHT, False),
    (1e-8, 1e-9, TIGHT, True),
    (1e10, 1.0001e10, TIGHT, False),
    (1e-8, 0.0, TIGHT, True),
    (1e-7, 0.0, TIGHT, False),
    (1e-100, 0.0, RELATIVE, False),
    (1e-7, 0.0, RELATIVE, False),
    (1e-10, 1e-20, TIGHT, True),
    (1e-10, 0.0, TIGHT, True),
    (1e-10, 1e-20, RELATIVE, False),
    (1e-10, 0.999999e-10, RELATIVE, True),
    (math.nan, math.nan, TIGHT, True),
    (1.0, math.nan, TIGHT, False),
    (math.nan, 1.0, TIGHT, False),
    (math.inf, math.inf, TIGHT, True),
    (-math.inf, -math.inf, TIGHT, True),
    (-math.inf, math.inf, TIGHT, False),
    (1e300, math.inf, TIGHT, False),
    (math.inf, 1e300, TIGHT, False),
    (math.nan, math.inf, TIGHT, False),
]
NUMBERS = st.floats() | st.floats(-2, 2) | st.sampled_from([0.0, -0.0, 5e-324, 1.7e308])
TOLERANCES = st.builds(
    Tolerance,
    absolute=st.floats(0, 1e3) | st.just(0.0),
    relative=st.floats(0, 1e9) | st.just(0.0),
)


def agrees(found: float, reference: float, tolerance: Tolerance) -> bool:
    _, beyond = distance(found, reference, dtype=ElementType.FLOAT64, tolerance=tolerance)
    return beyond <= 0


@pytest.mark.parametrize(("found", "reference", "tolerance", "expected"), _PUBLISHED)
def test_the_published_values(
    found: float, reference: float, tolerance: Tolerance, expected: bool
) -> None:
    assert agrees(found, reference, tolerance) is expected


def test_the_tolerance_is_of_the_reference_and_not_of_what_was_found() -> None:
    """Danger: an answer that is far too large makes its own tolerance large."""
    tenth = Tolerance(absolute=0.0, relative=0.1)
    assert not agrees(1.105, 1.0, tenth)
    assert agrees(1.0, 1.105, tenth)


@given(found=NUMBERS, reference=NUMBERS, tolerance=TOLERANCES)
def test_it_is_the_formula_of_numpy(found: float, reference: float, tolerance: Tolerance) -> None:
    with np.errstate(all="ignore"):
        expected = bool(
            np.isclose(
                np.float64(found), np.float64(reference),
                atol=tolerance.absolute, rtol=tolerance.relative, equal_nan=True,
            )
        )  # fmt: skip
    assert agrees(found, reference, tolerance) is expected


@given(reference=NUMBERS, tolerance=TOLERANCES, one=NUMBERS, other=NUMBERS)
def test_a_worse_answer_never_agrees_where_a_better_one_did_not(
    reference: float, tolerance: Tolerance, one: float, other: float
) -> None:
    """Of two answers on the same side of the reference the nearer one fares no worse."""
    # What is no number is as far away as can be.
    better, worse = sorted(
        (one, other),
        key=lambda value: math.inf if math.isnan(value) else abs(value - reference),
    )
    same_side = (better - reference >= 0) == (worse - reference >= 0)
    if math.isfinite(reference) and (same_side or math.isnan(worse) or math.isinf(worse)):
        assert agrees(better, reference, tolerance) or not agrees(worse, reference, tolerance)


@pytest.mark.parametrize("dtype", [one for one in ElementType if one.exact])
def test_integers_and_bools_agree_only_when_they_are_the_same(dtype: ElementType) -> None:
    """Danger: a tolerance made for probabilities lets a class index be another one."""
    wide = Tolerance(absolute=100.0, relative=100.0)
    zero, one = bytes(dtype.size), b"\1" + bytes(dtype.size - 1)
    assert compare(one, one, dtype=dtype, tolerance=wide).outside == 0
    found = compare(one + zero, one + one, dtype=dtype, tolerance=wide)
    assert found.outside == 1
    assert (found.worst.at, found.worst.off) == (1, 1.0)


def test_large_integers_are_not_rounded_into_agreement() -> None:
    """Danger: 2**63 and 2**63 + 1 are one number as floats."""
    pair = [struct.pack("<Q", value) for value in (2**63, 2**63 + 1)]
    found = compare(*pair, dtype=ElementType.UINT64, tolerance=Tolerance(absolute=0, relative=0))
    assert found.outside == 1


def test_the_worst_number_of_a_tensor_is_named_by_its_place() -> None:
    reference = np.zeros((2, 3, 4), dtype="<f4")
    found = reference.copy()
    found[0, 1, 2], found[1, 2, 3] = 0.5, -0.75
    result = compare(
        found.tobytes(), reference.tobytes(), dtype=ElementType.FLOAT32, tolerance=TIGHT
    )
    assert result.outside == 2
    assert index_of(result.worst.at, reference.shape) == (1, 2, 3)
    assert (result.worst.found, result.worst.off) == (-0.75, 0.75)


def test_the_worst_number_is_told_also_where_all_agree() -> None:
    reference = struct.pack("<3d", 1.0, 1e6, math.nan)
    found = struct.pack("<3d", 1.0 + 1e-9, 1e6, math.nan)
    result = compare(found, reference, dtype=ElementType.FLOAT64, tolerance=TIGHT)
    assert (result.outside, result.worst.at) == (0, 0)
    assert 0 < result.worst.off < 2e-9


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (2, 1, 5, 3)])
def test_a_place_counts_as_numpy_counts(shape: tuple[int, ...]) -> None:
    for at in range(math.prod(shape)):
        assert index_of(at, shape) == tuple(map(int, np.unravel_index(at, shape)))
