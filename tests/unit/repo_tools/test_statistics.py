"""Each statistic against published values, against scipy, and against what must always hold."""

from __future__ import annotations

from math import isclose, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from primum_repo_tools.statistics import (
    ClusterCounts,
    auc_with_interval,
    cluster_difference_interval,
    paired_auc_difference,
    tango_interval,
    wilson_interval,
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, int, int]:
    """Discordant counts and the number of pairs."""
    n = draw(st.integers(1, 3000))
    gained = draw(st.integers(0, n))
    return gained, draw(st.integers(0, n - gained)), n


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [
        (0, 0, 44, -0.0803, 0.0803),
        (86, 150, 1600, -0.0590, -0.0214),
    ],
)
def test_tango_gives_the_published_intervals(
    gained: int, lost: int, n: int, low: float, high: float
) -> None:
    interval = tango_interval(gained, lost, n)
    assert isclose(interval.low, low, abs_tol=6e-5)
    assert isclose(interval.high, high, abs_tol=6e-5)


@given(pairs())
def test_tango_holds_its_estimate_and_stays_inside_the_possible(
    counts: tuple[int, int, int],
) -> None:
    interval = tango_interval(*counts)
    assert -1.0 <= interval.low <= interval.estimate <= interval.high <= 1.0
    assert interval.high - interval.low > 0.0


@given(pairs())
def test_tango_turns_round_when_the_methods_change_places(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    forth, back = tango_interval(gained, lost, n), tango_interval(lost, gained, n)
    assert isclose(forth.low, -back.high, abs_tol=1e-9)
    assert isclose(forth.high, -back.low, abs_tol=1e-9)


def test_tango_is_where_the_score_test_just_does_not_reject() -> None:
    """The bound solves the score equation with an independently maximised likelihood."""
    from scipy.optimize import minimize_scalar

    gained, lost, n = 12, 30, 400
    bound = tango_interval(gained, lost, n).low

    def minus_likelihood(q: float) -> float:
        return -float(
            gained * np.log(q + bound) + lost * np.log(q)
            + (n - gained - lost) * np.log(1 - 2 * q - bound)
        )  # fmt: skip

    span = (max(1e-12, -bound + 1e-12), (1 - bound) / 2 - 1e-12)
    q = minimize_scalar(minus_likelihood, bounds=span, method="bounded", options={"xatol": 1e-12}).x
    z = (gained - lost - n * bound) / sqrt(n * (2 * q + bound * (1 - bound)))
    assert isclose(z, stats.norm.ppf(0.975), rel_tol=1e-5)


@given(st.integers(1, 5000), st.data())
def test_wilson_agrees_with_scipy(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    ours = wilson_interval(k, n)
    theirs = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert isclose(ours.low, theirs.low, abs_tol=1e-12)
    assert isclose(ours.high, theirs.high, abs_tol=1e-12)
    assert 0.0 <= ours.low <= ours.estimate <= ours.high <= 1.0


def test_wilson_at_95_of_100() -> None:
    interval = wilson_interval(95, 100)
    assert (round(interval.low, 2), round(interval.high, 2)) == (0.89, 0.98)


@pytest.mark.parametrize("call", [(1, 0), (-1, 5), (6, 5)])
def test_counts_that_cannot_be_are_refused(call: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(*call)
    with pytest.raises(ValueError, match="cannot be"):
        tango_interval(call[0], 3, call[1])


def _scored(seed: int, n: int = 400, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    scores = rng.normal(size=n) + labels
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_the_mann_whitney_statistic_of_scipy(ties: bool) -> None:
    labels, scores = _scored(3, ties=ties)
    u = stats.mannwhitneyu(scores[labels], scores[~labels]).statistic
    area, interval = auc_with_interval(labels, scores)
    assert isclose(area.area, u / (labels.sum() * (~labels).sum()), rel_tol=1e-12)
    assert interval.low < area.area < interval.high


def test_delong_variance_is_the_definition_written_out() -> None:
    """DeLong 1988, the structural components by their double loop."""
    labels, scores = _scored(5, n=80, ties=True)
    x, y = scores[labels], scores[~labels]
    psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    expected = psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(y)
    assert isclose(auc_with_interval(labels, scores)[0].variance, expected, rel_tol=1e-12)


def test_paired_delong_variance_is_the_definition_written_out() -> None:
    labels, first = _scored(7, n=90)
    second = first + np.random.default_rng(8).normal(size=90) * 0.5

    def components(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = scores[labels], scores[~labels]
        psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
        return psi.mean(axis=1), psi.mean(axis=0)

    (x1, y1), (x2, y2) = components(first), components(second)
    of_x, of_y = np.cov(x1, x2), np.cov(y1, y2)
    contrast = np.array([1.0, -1.0])
    variance = contrast @ (of_x / len(x1) + of_y / len(y1)) @ contrast
    interval = paired_auc_difference(labels, first, second)
    half = (interval.high - interval.low) / 2
    assert isclose(half, stats.norm.ppf(0.975) * sqrt(variance), rel_tol=1e-9)
    assert isclose(interval.estimate, x1.mean() - x2.mean(), rel_tol=1e-9)


def test_auc_without_both_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="positive and negative"):
        auc_with_interval(np.ones(4, dtype=bool), np.arange(4.0))


def _clusters(seed: int, patients: int) -> ClusterCounts:
    rng = np.random.default_rng(seed)
    cases = rng.integers(5, 40, patients)
    gained = rng.binomial(cases, 0.05)
    return ClusterCounts(cases, gained, rng.binomial(cases - gained, 0.05))


def test_cluster_bootstrap_is_the_same_for_the_same_seed_only() -> None:
    cases = np.full(20, 100)
    # Patients differ so much that the drawing of patients, not of cases, makes the bounds.
    counts = ClusterCounts(cases, np.zeros(20, dtype=np.int64), np.arange(20) * 4)
    first = cluster_difference_interval(counts, seed=7, replicates=500)
    assert first == cluster_difference_interval(counts, seed=7, replicates=500)
    assert first != cluster_difference_interval(counts, seed=8, replicates=500)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_cluster_interval_is_never_surer_than_independent_cases(seed: int, patients: int) -> None:
    """One patient, or nothing discordant, must not give an interval without width."""
    counts = _clusters(seed, patients)
    interval = cluster_difference_interval(counts, seed=seed, replicates=200)
    pooled = tango_interval(
        int(counts.gained.sum()), int(counts.lost.sum()), int(counts.cases.sum())
    )
    assert interval.low <= pooled.low <= interval.estimate <= pooled.high <= interval.high


def test_cluster_interval_is_wider_where_patients_differ() -> None:
    """All losses in one patient of ten: by beats sure, by patients far from it."""
    cases = np.full(10, 100)
    lost = np.array([40, *[0] * 9])
    counts = ClusterCounts(cases, np.zeros(10, dtype=np.int64), lost)
    by_patient = cluster_difference_interval(counts, seed=1, replicates=2000)
    by_beat = tango_interval(0, 40, 1000)
    assert by_patient.low < 1.5 * by_beat.low


def test_cluster_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(120):
        patients = 60
        rate = rng.beta(2, 30, patients)
        cases = np.full(patients, 30)
        lost = rng.binomial(cases, rate)
        counts = ClusterCounts(cases, np.zeros(patients, dtype=np.int64), lost)
        interval = cluster_difference_interval(counts, seed=3, replicates=300)
        hits += interval.low <= -2 / 32 <= interval.high
    assert hits >= 105


def test_a_patient_without_cases_is_refused() -> None:
    none = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="must have a case"):
        cluster_difference_interval(ClusterCounts(none, none, none), seed=1, replicates=100)
