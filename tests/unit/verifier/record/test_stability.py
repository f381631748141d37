"""The index is the one of the books, and its limit follows the number of samples."""

from __future__ import annotations

from math import inf, isclose, log

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from primum_verifier.record.cells import MAX_COUNT, added, bin_of
from primum_verifier.record.stability import (
    is_enough,
    size_of,
    stability_index,
    stability_limit,
)

shares = st.lists(st.integers(1, 1000), min_size=2, max_size=20)


def test_the_index_of_a_table_reckoned_by_hand() -> None:
    """Ten, twenty, seventy expected; twenty, twenty, sixty found: each row of the table."""
    rows = [0.1 * log(2.0), 0.0, -0.1 * log(6.0 / 7.0)]
    found = stability_index([20, 20, 60], [0.1, 0.2, 0.7])
    assert isclose(found, sum(rows))
    assert isclose(found, 0.0847298, abs_tol=5e-8)


def test_the_index_of_a_published_test() -> None:
    """Six and five expected, five and four found: 0.00041 in the public package ``strappy``."""
    assert round(stability_index([5, 4], [6 / 11, 5 / 11]), 5) == 0.00041


@given(st.data())
def test_it_is_the_divergence_of_jeffreys(data: st.DataObject) -> None:
    """J(p, q) = KL(p|q) + KL(q|p) (Kullback and Leibler, 1951), as scipy computes it."""
    counts = data.draw(shares)
    expected = data.draw(st.lists(st.integers(1, 1000), min_size=len(counts), max_size=len(counts)))
    q = [one / sum(expected) for one in expected]
    p = [one / sum(counts) for one in counts]
    jeffreys = stats.entropy(p, q) + stats.entropy(q, p)
    assert isclose(stability_index(counts, q), jeffreys, rel_tol=1e-9, abs_tol=1e-12)


@given(shares)
def test_what_is_just_as_expected_is_nothing_and_an_empty_bin_is_no_endless_index(
    counts: list[int],
) -> None:
    proportions = [one / sum(counts) for one in counts]
    assert abs(stability_index(counts, proportions)) < 1e-12
    emptied = [*counts[1:], 0]
    assume(sum(emptied))
    assert 0.0 <= stability_index(emptied, proportions) < inf


@pytest.mark.parametrize("n", [200, 10_000])
def test_a_fixed_limit_is_blind_or_cries_wolf_and_this_one_does_neither(n: int) -> None:
    """Of windows without any drift one in a hundred alarms, whatever their size.

    The customary 0.1 alarms for some 3 % of windows of 200 and for none of 10,000.
    """
    bins, m, windows, rng = 10, 10_000, 8000, np.random.default_rng(n)
    quantile = float(stats.chi2.ppf(0.99, bins - 1))
    limit = stability_limit(n, m, quantile=quantile, overdispersion=0.0)
    drawn = [rng.multinomial(size, [1.0 / bins] * bins, windows) for size in (m, n)]
    indexes = [
        stability_index(counts.tolist(), (reference / m).tolist())
        for reference, counts in zip(*drawn, strict=True)
    ]
    assert is_enough(drawn[1][0].tolist(), [1.0 / bins] * bins)
    share = sum(index > limit for index in indexes) / windows
    assert 0.007 < share < 0.02
    fixed = sum(index > 0.1 for index in indexes) / windows
    assert 0.02 < fixed < 0.04 if n == 200 else fixed == 0.0


def test_persons_who_are_unlike_each_other_raise_the_limit() -> None:
    alone = stability_limit(1000, 9000, quantile=20.0, overdispersion=0.0)
    alike = stability_limit(1000, 9000, quantile=20.0, overdispersion=0.01)
    assert isclose(alone, 20.0 * (1 / 1000 + 1 / 9000))
    assert isclose(alike - alone, 0.2)


def test_too_few_say_nothing() -> None:
    assert not is_enough([199, 0], [0.9, 0.1])
    assert is_enough([200, 0], [0.9, 0.1])


@pytest.mark.parametrize(
    ("index", "name"), [(0.0999, "small"), (0.1, "moderate"), (0.2499, "moderate"), (0.25, "large")]
)
def test_sizes_have_their_customary_names(index: float, name: str) -> None:
    assert size_of(index) == name


@pytest.mark.parametrize(
    ("value", "place"),
    [(None, None), (float("nan"), None), (-inf, 0), (0.99, 0), (1.0, 1), (2.0, 2), (inf, 2)],
)
def test_what_is_no_number_is_in_no_bin(value: float | None, place: int | None) -> None:
    assert bin_of((1.0, 2.0), value) == place


def test_a_counter_stays_at_its_bound() -> None:
    assert added(MAX_COUNT - 1, 5) == MAX_COUNT
