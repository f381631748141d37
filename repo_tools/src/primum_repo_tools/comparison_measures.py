"""What else can be measured of an arm, alone or against another; each gives an interval or none.

Most measures are one sum over another, and their intervals draw whole patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from primum_repo_tools.comparison_cases import ComparedArm, patient_numbers, sums_by
from primum_repo_tools.protocol import Measured, Protocol
from primum_repo_tools.statistics.arrays import Counts, Flags, Floats
from primum_repo_tools.statistics.bootstrap import Draws, Statistic, cluster_interval, ratio
from primum_repo_tools.statistics.burden import AlertCounts, MonitoredTime, count_alerts
from primum_repo_tools.statistics.calibration import recalibrate
from primum_repo_tools.statistics.interval import Interval
from primum_repo_tools.statistics.quantiles import bounded_quantile, paired_quantile_difference
from primum_repo_tools.statistics.roc import (
    CurveValue,
    ScoredCases,
    area,
    curve_interval,
    partial_area,
    sensitivity_at,
)


@dataclass(frozen=True)
class Asked:
    """What is measured, of whom, and how patients are drawn.

    Attributes:
        arm: the one that is measured.
        beside: the one that it is held against; None where it is measured alone.
        unit: [cases] the independent unit of each case, from 0.
        draws: how units are drawn.
        parameter: see :data:`primum_repo_tools.protocol.PARAMETERS`; 0 where there is none.
        protocol: what an alert is.
    """

    arm: ComparedArm
    beside: ComparedArm | None
    unit: Counts
    draws: Draws
    parameter: float
    protocol: Protocol

    @property
    def decided(self) -> Flags:
        """The cases that all who are asked decided."""
        beside = self.arm if self.beside is None else self.beside
        found: Flags = self.arm.decided & beside.decided
        return found


def measure(what: Measured, asked: Asked) -> Interval | None:
    """One measure with its interval; None where there is nothing to measure it by."""
    if what in _CURVES:
        return _of_curve(_CURVES[what](asked.parameter), asked)
    if what in _SUMS:
        return _of_sums(_SUMS[what], asked, _BESIDE.get(what, _difference))
    return _OTHERS[what](asked)


def _difference(sums: Floats) -> Floats:
    found: Floats = ratio(sums[..., :2]) - ratio(sums[..., 2:])
    return found


def _ratio_of_ratios(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = ratio(sums[..., :2]) / ratio(sums[..., 2:])
    return found


_BESIDE: dict[Measured, Statistic] = {Measured.ALERT_RATIO: _ratio_of_ratios}

_Sums = Callable[[ComparedArm, Asked], Floats | None]
"""The two sums of an arm by unit: [units, 2]; None where its file does not say."""


def _of_sums(sums: _Sums, asked: Asked, beside: Statistic) -> Interval | None:
    first = sums(asked.arm, asked)
    if first is None:
        return None
    if asked.beside is None:
        return cluster_interval(first, ratio, asked.draws)
    second = sums(asked.beside, asked)
    if second is None:
        return None
    return cluster_interval(np.column_stack([first, second]), beside, asked.draws)


def _sensitivity(arm: ComparedArm, asked: Asked) -> Floats:
    label = arm.predictions.label
    return sums_by(asked.unit, label & arm.positive, label)


def _specificity(arm: ComparedArm, asked: Asked) -> Floats:
    label = arm.predictions.label
    return sums_by(asked.unit, ~label & arm.right(label=False), ~label)


def _ppv(arm: ComparedArm, asked: Asked) -> Floats:
    return sums_by(asked.unit, arm.positive & arm.predictions.label, arm.positive)


def _npv(arm: ComparedArm, asked: Asked) -> Floats:
    negative = arm.right(label=False)
    return sums_by(asked.unit, negative & ~arm.predictions.label, negative)


def _brier(arm: ComparedArm, asked: Asked) -> Floats | None:
    decided = asked.decided
    scores = arm.predictions.score
    if not are_probabilities(scores):
        return None
    error = (np.where(decided, scores, 0.0) - arm.predictions.label) ** 2
    return sums_by(asked.unit, error * decided, decided)


def _net_benefit(arm: ComparedArm, asked: Asked) -> Floats:
    odds = asked.parameter / (1.0 - asked.parameter)
    label, positive = arm.predictions.label, arm.positive
    worth = (positive & label) - odds * (positive & ~label)
    return sums_by(asked.unit, worth, np.ones_like(worth))


def alerts_of(arm: ComparedArm, protocol: Protocol) -> AlertCounts | None:
    """An arm's alerts in monitored time; None where times or the meaning of an alert are missing.

    Patients are numbered like those who were monitored, in the order of their names.
    """
    predictions = arm.predictions
    seconds, monitored = predictions.numbers("time_s"), predictions.numbers("monitored_s")
    if protocol.alerts is None or seconds is None or monitored is None:
        return None
    who = predictions.further["monitored_patient"].astype(np.str_)
    order = np.argsort(who)
    known = order[monitored[order] > 0.0]
    patient = np.searchsorted(who[order], predictions.patient)
    time = MonitoredTime(
        patient=patient,
        seconds=seconds,
        monitored=monitored[order],
        merge_seconds=float(protocol.alerts.merge_seconds),
    )
    found = count_alerts(time, arm.positive, predictions.label)
    kept = np.isin(order, known)
    return AlertCounts(
        found.alerts[kept], found.actionable[kept], found.days[kept], found.longest_silence[kept]
    )


def _alert_rate(arm: ComparedArm, asked: Asked) -> Floats | None:
    found = alerts_of(arm, asked.protocol)
    return None if found is None else np.column_stack([found.alerts, found.days])


def _actionable(arm: ComparedArm, asked: Asked) -> Floats | None:
    found = alerts_of(arm, asked.protocol)
    if found is None:
        return None
    return np.column_stack([found.actionable, found.alerts]).astype(np.float64)


_SUMS: dict[Measured, _Sums] = {
    Measured.SENSITIVITY: _sensitivity,
    Measured.SPECIFICITY: _specificity,
    Measured.PPV: _ppv,
    Measured.NPV: _npv,
    Measured.BRIER: _brier,
    Measured.NET_BENEFIT: _net_benefit,
    Measured.ALERT_RATE: _alert_rate,
    Measured.ALERT_RATIO: _alert_rate,
    Measured.ACTIONABLE: _actionable,
}


def _of_curve(value: CurveValue, asked: Asked) -> Interval | None:
    decided = asked.decided
    unit = np.unique(asked.unit[decided], return_inverse=True)[1]
    cases = ScoredCases(
        labels=asked.arm.predictions.label[decided],
        patient=unit.astype(np.int64),
        first=asked.arm.predictions.score[decided],
        second=None if asked.beside is None else asked.beside.predictions.score[decided],
    )
    return curve_interval(cases, value, asked.draws)


_CURVES: dict[Measured, Callable[[float], CurveValue]] = {
    Measured.AUC: lambda _: area,
    Measured.PARTIAL_AUC: partial_area,
    Measured.SENSITIVITY_AT: sensitivity_at,
}


def _slope(asked: Asked) -> Interval | None:
    found = recalibration_of(asked)
    return None if found is None else found[0]


def _in_the_large(asked: Asked) -> Interval | None:
    found = recalibration_of(asked)
    return None if found is None else found[1]


def recalibration_of(asked: Asked) -> tuple[Interval, Interval] | None:
    """Slope and calibration-in-the-large of the decided cases."""
    decided, predictions = asked.arm.decided, asked.arm.predictions
    if not decided.any() or not are_probabilities(predictions.score):
        return None
    unit = np.unique(asked.unit[decided], return_inverse=True)[1].astype(np.int64)
    found = recalibrate(
        predictions.label[decided],
        predictions.score[decided],
        unit,
        confidence=asked.draws.confidence,
    )
    return None if found is None else (found.slope, found.in_the_large)


def are_probabilities(scores: Floats) -> bool:
    """Whether all scores lie between 0 and 1, so that they can be held against shares."""
    found = scores[np.isfinite(scores)]
    return bool(len(found) and found.min() >= 0.0 and found.max() <= 1.0)


def _time_to_decision(asked: Asked) -> Interval | None:
    first = asked.arm.predictions.numbers("decided_after_s")
    second = None if asked.beside is None else asked.beside.predictions.numbers("decided_after_s")
    if first is None or second is None:
        return None
    both = np.isfinite(first) & np.isfinite(second)
    unit = patient_numbers(asked.arm.predictions.patient[both])
    return paired_quantile_difference(
        first[both], second[both], unit, quantile=asked.parameter, draws=asked.draws
    )


def _latency(asked: Asked) -> Interval | None:
    values = asked.arm.predictions.numbers("latency_ms")
    if values is None or not len(values):
        return None
    found = bounded_quantile(values, asked.parameter, confidence=asked.draws.confidence)
    if found.upper is None:
        return None
    return Interval(found.estimate, found.estimate, found.upper, asked.draws.confidence)


_OTHERS: dict[Measured, Callable[[Asked], Interval | None]] = {
    Measured.CALIBRATION_SLOPE: _slope,
    Measured.CALIBRATION_IN_THE_LARGE: _in_the_large,
    Measured.TIME_TO_DECISION: _time_to_decision,
    Measured.LATENCY: _latency,
}

METHODS = {
    Measured.AUC: "area under the ROC curve, cluster bootstrap",
    Measured.PARTIAL_AUC: "partial area in McClish's form (1989), cluster bootstrap",
    Measured.SENSITIVITY_AT: "best sensitivity at the specificity held, cluster bootstrap",
    Measured.CALIBRATION_SLOPE: "logistic recalibration (Cox 1958), variance between patients",
    Measured.CALIBRATION_IN_THE_LARGE: "logistic recalibration (Cox 1958), variance between "
    "patients",
    Measured.BRIER: "mean squared error of probabilities (Brier 1950), cluster bootstrap",
    Measured.NET_BENEFIT: "net benefit (Vickers and Elkin 2006), cluster bootstrap",
    Measured.ALERT_RATE: "alerts in a patient-day, cluster bootstrap",
    Measured.ALERT_RATIO: "ratio of alerts in a patient-day, cluster bootstrap",
    Measured.ACTIONABLE: "share of alerts with an event, cluster bootstrap",
    Measured.TIME_TO_DECISION: "paired difference of a quantile in seconds, cluster bootstrap",
    Measured.LATENCY: "quantile in milliseconds with its upper bound by order statistics",
}
"""How each measure comes to its interval; the others are shares by cluster bootstrap."""
