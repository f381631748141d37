"""A sketch's quantiles are within its relative error, however it was filled."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.record.sketch import SketchBins

BINS = SketchBins(accuracy=0.05, least=0.1, most=60_000.0)
times = st.floats(0.1, 60_000.0)


@given(st.lists(times, min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_a_quantile_is_within_its_relative_error(values: list[float], share: float) -> None:
    counts = [0] * BINS.cells
    for value in values:
        place = BINS.bin_of(value)
        assert place is not None
        counts[place] += 1
    found = BINS.quantile(counts, share)
    exact = sorted(values)[math.floor(share * (len(values) - 1))]
    assert found is not None
    assert abs(found - exact) <= 0.05 * exact * (1.0 + 1e-9)


@given(times)
def test_the_middle_of_a_bin_lies_in_it(value: float) -> None:
    place = BINS.bin_of(value)
    assert place is not None
    assert BINS.bin_of(BINS.value_of(place)) == place


@pytest.mark.parametrize("value", [None, float("nan"), -0.001])
def test_what_is_no_time_is_not_counted(value: float | None) -> None:
    assert BINS.bin_of(value) is None


def test_what_is_beyond_the_ends_counts_as_the_ends() -> None:
    assert BINS.bin_of(0.0) == 0
    assert BINS.bin_of(math.inf) == BINS.cells - 1
    assert BINS.value_of(BINS.cells - 1) <= BINS.most


def test_nothing_has_no_quantile() -> None:
    assert BINS.quantile([0] * BINS.cells, 0.5) is None
