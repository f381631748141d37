"""Each arm by itself: what an assessor looks at before asking whether one is better."""

from __future__ import annotations

from collections import Counter
from math import isnan

import numpy as np

from primum_repo_tools.comparison_cases import (
    ComparedArm,
    bounds,
    draws_of,
    patient_numbers,
    text,
    units_of,
)
from primum_repo_tools.comparison_endpoints import has_both
from primum_repo_tools.comparison_measures import (
    Asked,
    alerts_of,
    are_probabilities,
    measure,
    recalibration_of,
)
from primum_repo_tools.protocol import Measured, Protocol
from primum_repo_tools.statistics.arrays import Flags, Floats
from primum_repo_tools.statistics.calibration import (
    brier_parts,
    expected_calibration_error,
    reliability_table,
)
from primum_repo_tools.statistics.clopper_pearson import clopper_pearson_interval
from primum_repo_tools.statistics.clustered import rao_scott_interval
from primum_repo_tools.statistics.delong import auc_with_interval
from primum_repo_tools.statistics.quantiles import bounded_quantile
from primum_repo_tools.statistics.repeatability import repeatability_of
from primum_repo_tools.statistics.roc import roc_curves
from primum_repo_tools.statistics.wilson import wilson_interval
from primum_verifier.change.comparison_analysis import (
    MAX_CURVE_POINTS,
    Alerts,
    ArmAnalysis,
    Calibrated,
    Durations,
    Point,
    Quantile,
    ReliabilityRow,
    Repeats,
)
from primum_verifier.change.comparison_report import Arm
from primum_verifier.change.comparison_terms import Bounds, Unit
from primum_verifier.core.document import DigestSet

_BINS = 10
_QUANTILES = (0.5, 0.95, 0.99)
_HOURS_PER_DAY = 24.0
_FEWEST = 2


def alone(arm: ComparedArm, confidence: float) -> Arm:
    """One arm with the shares that every report holds."""
    label = arm.predictions.label
    decided = arm.decided
    area = (
        auc_with_interval(label[decided], arm.predictions.score[decided], confidence=confidence)[1]
        if has_both(label[decided])
        else None
    )
    return Arm(
        predictions=DigestSet(sha256=arm.predictions.sha256),
        release=None if arm.release is None else DigestSet(sha256=arm.release),
        threshold=arm.threshold,
        no_decision=int((~decided).sum()),
        sensitivity=_wilson(label, arm.right(label=True), confidence),
        specificity=_wilson(~label, arm.right(label=False), confidence),
        auc=bounds(area),
    )


def _wilson(cases: Flags, right: Flags, confidence: float) -> Bounds | None:
    n = int(cases.sum())
    if n == 0:
        return None
    return bounds(wilson_interval(int((cases & right).sum()), n, confidence=confidence))


def analysed(arm: ComparedArm, protocol: Protocol) -> ArmAnalysis:
    """One arm with everything that its predictions can tell."""
    predictions, confidence = arm.predictions, float(protocol.confidence)
    label, positive, negative = predictions.label, arm.positive, arm.right(label=False)
    rejected = predictions.rejected
    asked = Asked(
        arm=arm,
        beside=None,
        unit=units_of(predictions, protocol),
        draws=draws_of(protocol),
        parameter=0.0,
        protocol=protocol,
    )
    of_cohorts = Counter(predictions.cohort[rejected].tolist())
    return ArmAnalysis(
        indeterminate=int((~arm.decided & ~rejected).sum()),
        quality_rejected=int(rejected.sum()),
        rejected_by_cohort=dict(sorted(of_cohorts.items())),
        ppv=_wilson(positive, label, confidence),
        npv=_wilson(negative, ~label, confidence),
        sensitivity_exact=_exact(label, positive, confidence),
        specificity_exact=_exact(~label, negative, confidence),
        sensitivity_by_patient=_by_patient(arm, label, positive, protocol),
        specificity_by_patient=_by_patient(arm, ~label, negative, protocol),
        roc=_curve(arm),
        calibration=_calibrated(asked),
        alerts=_alerts(asked),
        latency=_durations(
            predictions.numbers("latency_ms"), "ms", protocol.latency_measured_on, confidence
        ),
        time_to_decision=_durations(predictions.numbers("decided_after_s"), "s", "", confidence),
        repeatability=_repeats(predictions.numbers("repeats")),
    )


def _exact(cases: Flags, right: Flags, confidence: float) -> Bounds | None:
    n = int(cases.sum())
    if n == 0:
        return None
    return bounds(clopper_pearson_interval(int((cases & right).sum()), n, confidence=confidence))


def _by_patient(arm: ComparedArm, cases: Flags, right: Flags, protocol: Protocol) -> Bounds | None:
    patient = patient_numbers(arm.predictions.patient[cases])
    if protocol.unit is not Unit.PATIENT or len(np.unique(patient)) < _FEWEST:
        return None
    found = rao_scott_interval(
        np.bincount(patient, weights=right[cases]).astype(np.int64),
        np.bincount(patient),
        confidence=float(protocol.confidence),
    )
    return bounds(found.interval)


def _curve(arm: ComparedArm) -> tuple[Point, ...]:
    """The ROC curve in no more points than a page shows, its ends among them."""
    decided = arm.decided
    label = arm.predictions.label[decided]
    if not has_both(label):
        return ()
    curves = roc_curves(label, arm.predictions.score[decided], np.ones((1, len(label))))
    x, y = curves.false_positive[0], curves.true_positive[0]
    if len(x) > MAX_CURVE_POINTS:
        # Evenly along the curve itself, which has as much to show when it climbs.
        along = x + y
        wanted = np.linspace(0.0, 2.0, MAX_CURVE_POINTS)
        place = np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))
        x, y = x[place], y[place]
    return tuple(Point(x=text(a), y=text(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _calibrated(asked: Asked) -> Calibrated | None:
    decided, predictions = asked.arm.decided, asked.arm.predictions
    if not are_probabilities(predictions.score):
        return None
    label, score = predictions.label[decided], predictions.score[decided]
    found = recalibration_of(asked)
    table = reliability_table(label, score, bins=_BINS)
    parts = brier_parts(label, score, bins=_BINS)
    rows = [
        ReliabilityRow(
            cases=one.cases,
            predicted=text(one.predicted),
            observed=_shown(one.observed, one.cases, asked.draws.confidence),
        )
        for one in table
    ]
    return Calibrated(
        slope=None if found is None else bounds(found[0]),
        in_the_large=None if found is None else bounds(found[1]),
        brier=text(parts.score),
        reliability=text(parts.reliability),
        resolution=text(parts.resolution),
        uncertainty=text(parts.uncertainty),
        within_bins=text(parts.within_bins),
        ece=text(expected_calibration_error(table)),
        bins=f"at most {_BINS} bins of equally many cases, equal scores never parted",
        table=tuple(rows),
    )


def _shown(successes: int, n: int, confidence: float) -> Bounds:
    found = bounds(wilson_interval(successes, n, confidence=confidence))
    if found is None:
        raise RuntimeError("a bin without a case")
    return found


def _alerts(asked: Asked) -> Alerts | None:
    found = alerts_of(asked.arm, asked.protocol)
    if found is None or not len(found.days):
        return None
    return Alerts(
        alerts=int(found.alerts.sum()),
        patient_days=text(float(found.days.sum())),
        per_patient_day=bounds(measure(Measured.ALERT_RATE, asked)),
        actionable=bounds(measure(Measured.ACTIONABLE, asked)),
        longest_silence_hours=text(float(found.longest_silence.max()) * _HOURS_PER_DAY),
    )


def _durations(
    values: Floats | None, unit: str, measured_on: str, confidence: float
) -> Durations | None:
    finite = np.zeros(0) if values is None else values[np.isfinite(values)]
    if not len(finite):
        return None
    quantiles = []
    for quantile in _QUANTILES:
        found = bounded_quantile(finite, quantile, confidence=confidence)
        upper = None if found.upper is None else text(found.upper)
        quantiles.append(
            Quantile(quantile=f"{quantile:g}", estimate=text(found.estimate), upper=upper)
        )
    return Durations(
        unit="ms" if unit == "ms" else "s",
        measured_on=measured_on,
        values=len(finite),
        longest=text(float(finite.max())),
        quantiles=tuple(quantiles),
    )


def _repeats(values: Floats | None) -> Repeats | None:
    if values is None or min(values.shape) < _FEWEST:
        return None
    found = repeatability_of(values)
    return Repeats(
        cases=values.shape[0],
        repeats=values.shape[1],
        within=text(found.within),
        between=text(found.between),
        coefficient=text(found.coefficient),
        percent_cv=None if isnan(found.percent_cv) else text(found.percent_cv),
    )
