"""What must always hold of the statistics: mirrored, surer with more cases, honest with few."""

from __future__ import annotations

from math import isclose, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.benchmarks.references import clusters, scored

from primum_repo_tools.statistics.bootstrap import (
    Draws,
    Method,
    cluster_interval,
    interval_of_draws,
)
from primum_repo_tools.statistics.burden import MonitoredTime, count_alerts
from primum_repo_tools.statistics.calibration import (
    brier_parts,
    expected_calibration_error,
    recalibrate,
    reliability_table,
)
from primum_repo_tools.statistics.clopper_pearson import clopper_pearson_interval
from primum_repo_tools.statistics.clustered import obuchowski_difference, rao_scott_interval
from primum_repo_tools.statistics.delong import paired_auc_difference
from primum_repo_tools.statistics.exact_unconditional import exact_noninferiority
from primum_repo_tools.statistics.interval import Interval
from primum_repo_tools.statistics.mcnemar import mcnemar_test
from primum_repo_tools.statistics.multiplicity import benjamini_hochberg, holm
from primum_repo_tools.statistics.net_benefit import net_benefit
from primum_repo_tools.statistics.quantiles import (
    bounded_quantile,
    hodges_lehmann,
    paired_quantile_difference,
)
from primum_repo_tools.statistics.repeatability import repeatability_of
from primum_repo_tools.statistics.roc import (
    ScoredCases,
    area,
    curve_interval,
    partial_area,
    roc_curves,
    sensitivity_at,
)
from primum_repo_tools.statistics.tango import tango_interval
from primum_repo_tools.statistics.wilson import wilson_interval

DRAWS = Draws(seed=4, replicates=300)
FEW = settings(max_examples=25)


def width(interval: Interval | None) -> float:
    assert interval is not None
    assert interval.low <= interval.estimate <= interval.high
    return interval.high - interval.low


# ------------------------------------------------------------------------------- one proportion


@FEW
@given(st.integers(1, 400), st.data())
def test_exact_interval_holds_wilsons_estimate_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    found, mirrored = clopper_pearson_interval(k, n), clopper_pearson_interval(n - k, n)
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
    assert isclose(found.low, 1.0 - mirrored.high, abs_tol=1e-9)
    twice = clopper_pearson_interval(2 * k, 2 * n)
    assert width(twice) < width(found)


def test_exact_interval_covers_at_least_as_often_as_it_says() -> None:
    n = 20
    found = [clopper_pearson_interval(k, n) for k in range(n + 1)]
    for share in np.linspace(0.02, 0.98, 33):
        drawn = np.array([_binomial(k, n, share) for k in range(n + 1)])
        covered = sum(
            p for p, one in zip(drawn, found, strict=True) if one.low <= share <= one.high
        )
        assert covered >= 0.95


def _binomial(k: int, n: int, share: float) -> float:
    from math import comb

    return float(comb(n, k) * share**k * (1 - share) ** (n - k))


# --------------------------------------------------------------------------------------- paired


@FEW
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_same_from_both_sides_and_mid_p_is_never_larger(b: int, c: int) -> None:
    assert mcnemar_test(b, c) == mcnemar_test(c, b)
    found = mcnemar_test(b, c)
    assert 0.0 <= found.mid_p <= found.exact <= 1.0


@settings(max_examples=12)
@given(st.integers(4, 24), st.data())
def test_exact_test_agrees_with_the_score_interval_up_to_its_approximation(
    n: int, data: st.DataObject
) -> None:
    """The more was lost, the less is shown; clear cases end like the interval says."""
    lost = data.draw(st.integers(0, n // 2))
    p = exact_noninferiority(0, lost, n, margin=0.3)
    assert p <= exact_noninferiority(0, lost + 1, n, margin=0.3) + 1e-12
    interval = tango_interval(0, lost, n)
    if interval.low > -0.2:
        assert p < 0.05
    if interval.estimate < -0.3:
        assert p > 0.2


def test_exact_test_never_errs_more_often_than_it_says() -> None:
    """At the margin itself, whatever the share of discordant pairs, 2.5 in 100 at most."""
    n, margin = 14, 0.2
    p = {
        (b, c): exact_noninferiority(b, c, n, margin=margin)
        for b in range(n + 1)
        for c in range(n + 1 - b)
    }
    rng = np.random.default_rng(2)
    for share in (0.2, 0.3, 0.5):
        drawn = rng.multinomial(n, [share - margin, share, 1 - 2 * share + margin], size=4000)
        rejected = np.mean([p[int(b), int(c)] <= 0.025 for b, c, _ in drawn])
        assert rejected <= 0.025 + 0.008


@pytest.mark.parametrize("call", [(-1, 0, 5), (3, 3, 5), (0, 0, 0), (0, 0, 61)])
def test_what_cannot_be_tested_exactly_is_refused(call: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be tested"):
        exact_noninferiority(*call, margin=0.1)


# ------------------------------------------------------------------------------------ clustered


@FEW
@given(st.integers(0, 10_000))
def test_the_closed_form_and_the_bootstrap_tell_nearly_the_same(seed: int) -> None:
    counts = clusters(seed, patients=120)
    closed = obuchowski_difference(counts).interval
    sums = np.column_stack([counts.gained - counts.lost, counts.cases]).astype(float)
    drawn = cluster_interval(sums, lambda s: s[:, 0] / s[:, 1], Draws(seed=1, replicates=2000))
    assert drawn is not None
    assert isclose(drawn.estimate, closed.estimate, abs_tol=1e-12)
    assert 0.8 < width(drawn) / width(closed) < 1.2


def test_patients_that_are_alike_are_worth_fewer_cases() -> None:
    alone = rao_scott_interval(np.array([1, 0, 1, 1] * 10), np.ones(40, dtype=np.int64))
    same = rao_scott_interval(np.array([10, 0, 10, 10]), np.full(4, 10))
    assert alone.design_effect < 1.1
    assert same.design_effect > 5
    assert width(same.interval) > 2 * width(alone.interval)
    assert isclose(width(alone.interval), width(wilson_interval(30, 40)), rel_tol=0.05)


def test_no_difference_at_all_has_no_small_probability() -> None:
    counts = clusters(1)
    nothing = type(counts)(counts.cases, counts.gained * 0, counts.lost * 0)
    assert obuchowski_difference(nothing).p_value == 1.0
    one = type(counts)(counts.cases[:1], counts.gained[:1], counts.lost[:1])
    with pytest.raises(ValueError, match="two of them"):
        obuchowski_difference(one)


@pytest.mark.parametrize("method", Method)
def test_a_draw_without_a_value_widens_and_enough_of_them_leave_no_interval(method: Method) -> None:
    """Nobody may gain a narrower interval by patients without a single alert."""
    sums = np.column_stack([np.arange(12.0), np.ones(12)])

    def ratio(found: np.ndarray) -> np.ndarray:
        return np.where(found[..., 0] > 50.0, found[..., 0] / found[..., 1], np.nan)

    draws = Draws(seed=2, replicates=400, method=method)
    assert cluster_interval(sums, ratio, draws) is None


def test_draws_without_a_value_count_beyond_either_bound() -> None:
    """Ten draws of a thousand without a value: each bound is read ten draws further out."""
    drawn = np.append(np.linspace(0.0, 1.0, 990), np.full(10, np.nan))
    found = interval_of_draws(0.5, drawn, np.zeros(0), DRAWS)
    without = interval_of_draws(0.5, drawn[:990], np.zeros(0), DRAWS)
    assert found is not None
    assert without is not None
    assert found.low < without.low - 0.009
    assert found.high > without.high + 0.009


def test_bca_moves_towards_the_long_tail() -> None:
    sums = np.column_stack([np.random.default_rng(3).exponential(size=25), np.ones(25)])
    plain, corrected = (
        cluster_interval(
            sums, lambda s: s[:, 0] / s[:, 1], Draws(seed=1, replicates=4000, method=method)
        )
        for method in Method
    )
    assert plain is not None
    assert corrected is not None
    assert corrected.low > plain.low
    assert corrected.high > plain.high


def test_weights_are_the_patients_that_are_drawn() -> None:
    """Both forms of drawing give one sequence, so intervals of one report share their draws."""
    chosen = np.vstack(list(DRAWS.patients(7)))
    weights = np.vstack(list(DRAWS.weights(7)))
    assert weights.shape == (300, 7)
    assert all(
        (np.bincount(row, minlength=7) == w).all() for row, w in zip(chosen, weights, strict=True)
    )


# ------------------------------------------------------------------------------------------ ROC


def test_a_score_turned_round_mirrors_its_area() -> None:
    labels, scores, _ = scored(1, digits=1)
    ones = np.ones((1, len(labels)))
    forth, back = (area(roc_curves(labels, s, ones))[0] for s in (scores, -scores))
    assert isclose(forth + back, 1.0, abs_tol=1e-12)


def test_chance_and_perfection_are_the_ends_of_the_partial_area() -> None:
    labels = np.arange(200) % 2 == 0
    ones = np.ones((1, 200))
    perfect = roc_curves(labels, labels.astype(float), ones)
    chance = roc_curves(labels, np.zeros(200), ones)
    for most in (0.05, 0.2, 1.0):
        assert isclose(partial_area(most)(perfect)[0], 1.0)
        assert isclose(partial_area(most)(chance)[0], 0.5)
    assert sensitivity_at(0.99)(perfect)[0] == 1.0
    assert sensitivity_at(0.99)(chance)[0] == 0.0


@pytest.mark.parametrize("value", [area, partial_area(0.1), sensitivity_at(0.9)])
def test_a_difference_of_curves_turns_round_with_its_methods(value: object) -> None:
    labels, first, patient = scored(5)
    second = scored(6)[1]
    forth = curve_interval(ScoredCases(labels, patient, first, second), value, DRAWS)  # type: ignore[arg-type]
    back = curve_interval(ScoredCases(labels, patient, second, first), value, DRAWS)  # type: ignore[arg-type]
    assert forth is not None
    assert back is not None
    assert isclose(forth.estimate, -back.estimate, abs_tol=1e-12)
    assert isclose(forth.low, -back.high, abs_tol=1e-12)


def test_areas_of_patients_have_the_variance_that_the_bootstrap_finds() -> None:
    rng = np.random.default_rng(8)
    patient = np.repeat(np.arange(60), 15)
    labels = (rng.random(60) < 0.4)[patient]
    shift = rng.normal(size=60)[patient]
    first = labels + rng.normal(size=900) + shift
    second = labels * 0.8 + rng.normal(size=900) - shift
    closed = paired_auc_difference(labels, first, second, patient=patient)
    drawn = curve_interval(
        ScoredCases(labels, patient, first, second), area, Draws(seed=2, replicates=600)
    )
    alone = paired_auc_difference(labels, first, second)
    assert 0.85 < width(drawn) / width(closed) < 1.15
    assert width(closed) > 1.2 * width(alone)


def test_one_class_has_no_curve() -> None:
    cases = ScoredCases(np.ones(5, dtype=bool), np.arange(5), np.arange(5.0))
    assert curve_interval(cases, area, DRAWS) is None


# ---------------------------------------------------------------------------------- calibration


def test_calibrated_predictions_have_slope_one_as_often_as_the_interval_says() -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        probabilities = rng.uniform(0.02, 0.98, 1200)
        labels = rng.random(1200) < probabilities
        found = recalibrate(labels, probabilities, np.arange(1200) % 120)
        assert found is not None
        covered += found.slope.low < 1.0 < found.slope.high
        covered += found.in_the_large.low < 0.0 < found.in_the_large.high
    assert covered >= 106


def test_predictions_twice_as_extreme_have_half_the_slope() -> None:
    labels, probabilities, patient = scored(6, 2000)
    logit = np.log(probabilities / (1 - probabilities))
    found = recalibrate(labels, probabilities, patient)
    extreme = recalibrate(labels, 1 / (1 + np.exp(-2 * logit)), patient)
    few = recalibrate(labels[:500], probabilities[:500], patient[:500])
    assert found is not None
    assert extreme is not None
    assert few is not None
    assert isclose(extreme.slope.estimate, found.slope.estimate / 2, rel_tol=1e-6)
    assert width(few.slope) > 1.5 * width(found.slope)


def test_what_cannot_be_recalibrated_has_no_answer() -> None:
    labels = np.arange(40) % 2 == 0
    patient = np.arange(40) % 8
    assert recalibrate(labels, np.full(40, 0.3), patient) is None
    assert recalibrate(labels, np.where(labels, 0.9, 0.1), patient) is None
    assert recalibrate(labels, np.linspace(0.1, 0.9, 40), np.zeros(40, dtype=np.int64)) is None
    assert recalibrate(labels[:0], np.zeros(0), patient[:0]) is None


@FEW
@given(st.integers(0, 999), st.integers(2, 30))
def test_the_parts_of_the_brier_score_are_the_whole(seed: int, bins: int) -> None:
    labels, scores, _ = scored(seed, digits=seed % 3 + 1)
    found = brier_parts(labels, scores, bins=bins)
    whole = found.reliability - found.resolution + found.uncertainty + found.within_bins
    assert isclose(found.score, whole, abs_tol=1e-12)
    table = reliability_table(labels, scores, bins=bins)
    assert sum(one.cases for one in table) == len(labels)
    assert len(table) <= bins
    assert 0.0 <= expected_calibration_error(table) <= 1.0
    assert sorted(one.predicted for one in table) == [one.predicted for one in table]


def test_no_case_has_no_score() -> None:
    with pytest.raises(ValueError, match="no case"):
        brier_parts(np.zeros(0, dtype=bool), np.zeros(0))
    assert isnan(net_benefit(np.zeros(1), np.zeros(1), np.zeros(1), at=0.5)[0])


# ------------------------------------------------------------------------------ alerts and time


def test_decisions_that_follow_each_other_are_one_alert() -> None:
    #           one alert (true) | one (false) | an event between 130 and 400 that nobody told
    seconds = np.array([10.0, 12.0, 14.0, 130.0, 200.0, 400.0])
    decided = np.array([True, True, True, True, False, True])
    labels = np.array([False, True, False, False, True, True])
    time = MonitoredTime(np.zeros(6, dtype=np.int64), seconds, np.array([43_200.0]), 30.0)
    found = count_alerts(time, decided, labels)
    assert (found.alerts[0], found.actionable[0], found.days[0]) == (3, 2, 0.5)
    assert isclose(found.longest_silence[0] * 86_400, 270.0)


def test_a_patient_without_alerts_is_silent_all_along() -> None:
    seconds = np.array([100.0, 100.0])
    time = MonitoredTime(np.array([0, 1]), seconds, np.array([600.0, 900.0]), 30.0)
    found = count_alerts(time, np.array([False, False]), np.array([True, False]))
    assert found.alerts.tolist() == [0, 0]
    assert np.allclose(found.longest_silence * 86_400, [600.0, 0.0])


@FEW
@given(st.integers(0, 500))
def test_a_longer_time_to_merge_never_makes_more_alerts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seconds, patient = rng.uniform(0, 3600, 80), rng.integers(0, 4, 80)
    decided, labels = rng.random(80) < 0.4, rng.random(80) < 0.3
    counts = [
        count_alerts(MonitoredTime(patient, seconds, np.full(4, 3600.0), merge), decided, labels)
        for merge in (0.0, 20.0, 200.0)
    ]
    totals = [int(one.alerts.sum()) for one in counts]
    assert totals == sorted(totals, reverse=True)
    assert all((one.actionable <= one.alerts).all() for one in counts)


@FEW
@given(st.integers(0, 500))
def test_a_quantile_is_bounded_by_a_value_that_was_seen(seed: int) -> None:
    values = np.random.default_rng(seed).exponential(size=200)
    found = bounded_quantile(values, 0.95)
    assert found.upper is not None
    assert found.estimate <= found.upper <= values.max()
    surer = bounded_quantile(values, 0.95, confidence=0.99).upper
    assert surer is not None
    assert surer >= found.upper
    with pytest.raises(ValueError, match="needs a value"):
        bounded_quantile(values[:0], 0.5)


def test_times_to_decision_are_compared_event_by_event() -> None:
    rng = np.random.default_rng(4)
    slow = rng.exponential(10, 300)
    patient = np.repeat(np.arange(30), 10)
    found = paired_quantile_difference(slow - 2.0, slow, patient, quantile=0.5, draws=DRAWS)
    assert found is not None
    assert isclose(found.estimate, -2.0)
    assert isclose(found.low, -2.0)
    assert paired_quantile_difference(
        slow[:0], slow[:0], patient[:0], quantile=0.5, draws=DRAWS
    ) is (None)
    assert isclose(hodges_lehmann(slow - 2.0 - slow), -2.0)


def test_repeats_that_agree_leave_all_variance_between_cases() -> None:
    values = np.repeat(np.arange(1.0, 6.0)[:, None], 3, axis=1)
    found = repeatability_of(values)
    assert (found.within, found.percent_cv, found.agreement) == (0.0, 0.0, 1.0)
    nothing = repeatability_of(np.zeros((3, 2)))
    assert isnan(nothing.percent_cv)
    assert isnan(nothing.agreement)
    with pytest.raises(ValueError, match="two cases"):
        repeatability_of(np.ones((1, 3)))


@FEW
@given(st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=30))
def test_adjusted_p_values_are_never_smaller_and_keep_their_order(values: list[float]) -> None:
    p = np.array(values)
    for adjusted in (holm(p), benjamini_hochberg(p)):
        assert (adjusted >= p - 1e-15).all()
        assert (adjusted <= 1.0).all()
        order = np.argsort(p, kind="stable")
        assert (np.diff(adjusted[order]) >= -1e-15).all()
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()
