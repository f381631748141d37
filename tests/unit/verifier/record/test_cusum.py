"""A CUSUM alarms when the books say it does."""

from __future__ import annotations

from math import inf, isclose
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.record.cusum import Sums, run_length


@pytest.mark.parametrize(
    ("slack", "interval", "sides", "days"),
    [
        # D. C. Montgomery, Introduction to Statistical Quality Control, 9.1: "938.2", "469.1".
        (0.5, 5.0, 1, 938.2),
        (0.5, 5.0, 2, 469.1),
    ],
)
def test_siegmunds_approximation_is_the_published_one(
    slack: float, interval: float, sides: int, days: float
) -> None:
    assert isclose(run_length(slack, interval, sides=sides), days, abs_tol=0.06)


@pytest.mark.parametrize(
    ("interval", "shift", "days"),
    [
        # The same, table 9.3, k = 1/2: average run lengths of the two-sided CUSUM.
        (4.0, 0.0, 168.0),
        (4.0, 0.5, 26.6),
        (4.0, 1.0, 8.38),
        (4.0, 2.0, 3.34),
        (5.0, 0.5, 38.0),
        (5.0, 1.0, 10.4),
        (5.0, 2.0, 4.01),
    ],
)
def test_it_runs_as_long_as_the_published_table_says(
    interval: float, shift: float, days: float
) -> None:
    rng = Random(f"{interval} {shift}")
    lengths = [run(rng, interval, shift) for _ in range(700)]
    assert isclose(fmean(lengths), days, rel_tol=0.1)


def run(rng: Random, interval: float, shift: float) -> int:
    sums, day = Sums(), 0
    while max(sums.up, sums.down) <= interval:
        sums = sums.after(rng.gauss(shift, 1.0), reference=0.0, slack=0.5, most=inf)
        day += 1
    return day


def test_a_worked_example() -> None:
    """Montgomery, table 9.2: target 10, K = 0.5; the upper sums of its first days."""
    sums, found = Sums(), []
    for rate in (9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34):
        sums = sums.after(rate, reference=10.0, slack=0.5, most=10.0)
        found.append((round(sums.up, 2), round(sums.down, 2)))
    assert [up for up, _ in found] == [0, 0, 0, 1.16, 2.82, 2.50, 0.04, 1.00, 0, 0]
    assert [down for _, down in found] == [0.05, 1.56, 1.77, 0, 0, 0, 1.46, 0, 0.3, 0]


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_sums_are_never_below_nothing_nor_beyond_where_they_stop(rates: list[float]) -> None:
    sums = Sums()
    for rate in rates:
        sums = sums.after(rate, reference=3.0, slack=0.5, most=8.0)
        assert 0.0 <= sums.up <= 8.0
        assert 0.0 <= sums.down <= 8.0


def test_a_run_length_beyond_numbers_is_endless() -> None:
    assert run_length(10.0, 100.0, sides=1) == inf
