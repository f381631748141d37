"""What a comparison shows beyond its endpoints: further criteria, each arm by itself, its data.

A report may hold it or not.  A criterion that decides is named in the report's ``crit``, so that a
reader who does not know criteria does not take the report for more than it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as Number
from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.change.comparison_terms import (
    Baseline,
    Bounds,
    Cohort,
    Decision,
    Role,
)
from primum_verifier.core.document import (
    Count,
    Decimal,
    DigestSet,
    Document,
    Name,
    Positive,
    Sha256,
    Slug,
    Text,
)

MAX_CRITERIA = 1000
MAX_CURVE_POINTS = 201
"""Points of one curve: as fine as a page can show, and bounded."""

Population = Literal["intention-to-diagnose", "as-decided", "worst-case"]
"""Cases without a decision: against the arm that gave none; left out; against the candidate."""


class Criterion(Document):
    """A quantity held against limits that were stated before the run, or shown without any.

    Attributes:
        versus: the baseline that the value is a difference or ratio to; none for the candidate
            alone.
        at_least: the lower bound of the value has to lie above it.
        at_most: the upper bound has to lie below it.
    """

    id: Name
    metric: Slug
    versus: Baseline | None = None
    cohort: Cohort
    population: Population = "intention-to-diagnose"
    role: Role
    method: Text
    at_least: Decimal | None = None
    at_most: Decimal | None = None
    rationale: Text = ""
    value: Bounds | None = None
    patients: Count
    cases: Count
    decision: Decision
    why: Text

    @property
    def decides(self) -> bool:
        """Whether anything may rest on it."""
        return self.role != "secondary"

    @model_validator(mode="after")
    def _is_met_by_its_own_bounds(self) -> Criterion:
        if self.decision == Decision.MET and not self._can_be_met():
            raise ValueError("a criterion is met without a value, a limit, or beyond its limit")
        return self

    def _can_be_met(self) -> bool:
        limits = [self.at_least, self.at_most]
        return (
            self.patients > 0
            and self.value is not None
            and limits != [None, None]
            and (self.at_least is None or Number(self.value.low) >= Number(self.at_least))
            and (self.at_most is None or Number(self.value.high) <= Number(self.at_most))
        )


class Excluded(Document):
    """Cases that were enrolled and not analysed."""

    reason: Text
    patients: Count
    cases: Count


class LockedSetUse(Document):
    """Which use of the locked test set this was, by the ledger's own entry.

    Attributes:
        entry: SHA-256 of the signed entry that records the use, made before anything was compared.
        uses_allowed: by the protocol.
        repeats: how often this candidate was compared by this protocol before.
    """

    id: Name
    cases: DigestSet
    entry: Sha256
    use_number: Positive
    uses_allowed: Positive
    repeats: Count = 0
    repeat_reason: Text = ""

    @model_validator(mode="after")
    def _is_an_allowed_use(self) -> LockedSetUse:
        if self.use_number > self.uses_allowed:
            raise ValueError("the test set was used more often than allowed")
        if self.repeats and not self.repeat_reason:
            raise ValueError("a repeated run without a reason")
        return self


class Point(Document):
    """A point of a curve."""

    x: Decimal
    y: Decimal


class ReliabilityRow(Document):
    """Cases with nearly the same prediction: what was predicted, and the share that came true."""

    cases: Positive
    predicted: Decimal
    observed: Bounds


class Calibrated(Document):
    """Whether the scores of an arm, read as probabilities, are the shares that come true."""

    slope: Bounds | None = None
    in_the_large: Bounds | None = None
    brier: Decimal
    reliability: Decimal
    resolution: Decimal
    uncertainty: Decimal
    within_bins: Decimal
    ece: Decimal
    bins: Text
    table: Annotated[tuple[ReliabilityRow, ...], Field(max_length=100)]


class Alerts(Document):
    """What an arm's alerts come to in monitored time."""

    alerts: Count
    patient_days: Decimal
    per_patient_day: Bounds | None = None
    actionable: Bounds | None = None
    longest_silence_hours: Decimal


class Quantile(Document):
    """A quantile with the value that bounds it from above; none where too few were measured."""

    quantile: Decimal
    estimate: Decimal
    upper: Decimal | None = None


class Durations(Document):
    """How long something took."""

    unit: Literal["ms", "s"]
    measured_on: Text = ""
    values: Positive
    longest: Decimal
    quantiles: Annotated[tuple[Quantile, ...], Field(max_length=10)]


class Repeats(Document):
    """How much repeated answers about one case differ."""

    cases: Positive
    repeats: Positive
    within: Decimal
    between: Decimal
    coefficient: Decimal
    percent_cv: Decimal | None = None


class ArmAnalysis(Document):
    """One arm by itself."""

    indeterminate: Count
    quality_rejected: Count
    rejected_by_cohort: dict[Cohort, Count]
    ppv: Bounds | None = None
    npv: Bounds | None = None
    sensitivity_exact: Bounds | None = None
    specificity_exact: Bounds | None = None
    sensitivity_by_patient: Bounds | None = None
    specificity_by_patient: Bounds | None = None
    partial_auc: Bounds | None = None
    net_benefit: Bounds | None = None
    roc: Annotated[tuple[Point, ...], Field(max_length=MAX_CURVE_POINTS)] = ()
    calibration: Calibrated | None = None
    alerts: Alerts | None = None
    latency: Durations | None = None
    time_to_decision: Durations | None = None
    repeatability: Repeats | None = None


class HarmRow(Document):
    """How surely a cohort lost: one-sided, adjusted for how many were looked at."""

    id: Name
    p_value: Decimal
    holm: Decimal
    benjamini_hochberg: Decimal


class Superiority(Document):
    """Whether a paired difference is more than chance, by McNemar's test and between patients."""

    id: Name
    exact: Decimal
    mid_p: Decimal
    between_patients: Decimal | None = None


class Analysis(Document):
    """Everything beyond the endpoints.

    Attributes:
        agreement: there is no accepted reference standard; sensitivity and specificity are
            positive and negative percent agreement.
        deviations: from the protocol, in words, each justified.
        multiplicity: how many questions at once are dealt with.
    """

    interval: Literal["percentile", "bca"]
    agreement: bool = False
    test_set: LockedSetUse | None = None
    deviations: Annotated[tuple[Text, ...], Field(max_length=50)] = ()
    excluded: Annotated[tuple[Excluded, ...], Field(max_length=50)] = ()
    arms: dict[Literal["candidate", "last", "original"], ArmAnalysis]
    criteria: Annotated[tuple[Criterion, ...], Field(max_length=MAX_CRITERIA)] = ()
    superiority: Annotated[tuple[Superiority, ...], Field(max_length=100)] = ()
    harm: Annotated[tuple[HarmRow, ...], Field(max_length=MAX_CRITERIA)] = ()
    multiplicity: Text

    @model_validator(mode="after")
    def _criteria_stand_once(self) -> Analysis:
        ids = [item.id for item in self.criteria]
        if len(set(ids)) != len(ids):
            raise ValueError("a criterion stands twice")
        return self

    def deciding(self) -> Iterator[Criterion]:
        """The criteria that anything may rest on."""
        return (item for item in self.criteria if item.decides)
