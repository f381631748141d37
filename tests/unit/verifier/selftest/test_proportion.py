"""Wilson's interval against published values, and where it has to be exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.proof.proportion import wilson


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(right: int, of: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    found = wilson(right, of)
    assert [round(end, 4) for end in found] == [low, high]


@given(of=st.integers(1, 4096), share=st.floats(0, 1))
def test_an_interval_never_leaves_what_a_share_can_be(of: int, share: float) -> None:
    right = round(share * of)
    low, high = wilson(right, of)
    assert 0 <= low <= right / of <= high <= 1
    assert low < high
    mirrored = wilson(of - right, of)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_the_ends_are_exact() -> None:
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0


@pytest.mark.parametrize(("right", "of"), [(1, 0), (0, 0), (3, 2), (-1, 2)])
def test_counts_that_cannot_be_are_no_proportion(right: int, of: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson(right, of)
