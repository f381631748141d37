"""The frozen protocol of a comparison: margins, unit, method and counts, stated before the run.

The report names the protocol's digest, so a margin that was moved afterwards shows.  A protocol
that names a locked test set counts only where the set's ledger froze it before the run.
"""

from __future__ import annotations

from decimal import Decimal as Number
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_repo_tools.statistics.bootstrap import Method
from primum_verifier.change.comparison_analysis import Excluded
from primum_verifier.change.comparison_report import Methods
from primum_verifier.change.comparison_terms import WHOLE, Baseline, Cohort, Share, Unit
from primum_verifier.core.document import (
    Decimal,
    DigestSet,
    Document,
    Name,
    Positive,
    SchemaVersion,
    Sha256,
    Text,
    Time,
)

Limit = Annotated[Decimal, StringConstraints(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$")]
"""A decimal with no more places than a report shows."""


class Minimum(Document):
    """Below these counts an endpoint is not evaluable, which never passes."""

    patients: Annotated[int, Field(ge=1)]
    cases: Annotated[int, Field(ge=1)]


class Margins(Document):
    """How much of each may be lost against a baseline, and why that much."""

    sensitivity: Share
    specificity: Share
    rationale: Text


class CohortProtocol(Document):
    """One cohort. A claimed cohort must pass; another is shown with its interval and counts."""

    id: Cohort
    claim: bool
    minimum: Minimum
    margins: Margins


class Measured(StrEnum):
    """What a further criterion can be about."""

    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    PPV = "ppv"
    NPV = "npv"
    AUC = "auc"
    PARTIAL_AUC = "partial-auc"
    SENSITIVITY_AT = "sensitivity-at"
    CALIBRATION_SLOPE = "calibration-slope"
    CALIBRATION_IN_THE_LARGE = "calibration-in-the-large"
    BRIER = "brier"
    NET_BENEFIT = "net-benefit"
    ALERT_RATE = "alert-rate"
    ALERT_RATIO = "alert-ratio"
    ACTIONABLE = "actionable"
    TIME_TO_DECISION = "time-to-decision"
    LATENCY = "latency"


PARAMETERS = {
    Measured.PARTIAL_AUC: "the largest false-positive rate that counts",
    Measured.SENSITIVITY_AT: "the specificity that is held",
    Measured.NET_BENEFIT: "the threshold probability at which one would act",
    Measured.TIME_TO_DECISION: "the quantile, such as 0.5",
    Measured.LATENCY: "the quantile, such as 0.95",
}
"""What the parameter of a measure means; the others take none."""

ALONE = frozenset(
    {
        Measured.CALIBRATION_SLOPE,
        Measured.CALIBRATION_IN_THE_LARGE,
        Measured.ALERT_RATE,
        Measured.LATENCY,
    }
)
"""Measures of the candidate by itself."""

BESIDE = frozenset({Measured.ALERT_RATIO, Measured.TIME_TO_DECISION})
"""Measures that are a ratio or difference to a baseline, always."""


class CriterionProtocol(Document):
    """One further criterion: the interval of a measure has to lie inside its limits.

    Without ``versus`` it is about the candidate alone, with it about the difference to a baseline,
    or the ratio.  With ``decides`` it is co-primary: all of them have to be met.
    """

    measure: Measured
    versus: Baseline | None = None
    parameter: Share | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    decides: bool
    rationale: Text

    @model_validator(mode="after")
    def _can_be_asked(self) -> CriterionProtocol:
        wanted = PARAMETERS.get(self.measure)
        if (wanted is None) != (self.parameter is None):
            raise ValueError(f"{self.measure}: parameter is {wanted or 'for other measures'}")
        if (self.measure in ALONE and self.versus) or (self.measure in BESIDE and not self.versus):
            raise ValueError(f"{self.measure}: versus, or not, but the other way round")
        limits = [Number(one) for one in (self.at_least, self.at_most) if one is not None]
        if (self.decides and not limits) or limits != sorted(limits):
            raise ValueError(f"{self.measure}: what decides needs limits, in their order")
        return self

    @property
    def id(self) -> str:
        """What it is called in the report."""
        parameter = "" if self.parameter is None else f" {self.parameter}"
        return f"{self.measure}{parameter}" + (f" vs {self.versus}" if self.versus else "")


class TestSetProtocol(Document):
    """The locked test set that the protocol is bound to.

    Attributes:
        cases: digest of the cases; one byte changed is another set.
        ledger: digest of the ledger's first entry, and so whose signatures count in it.
        uses_allowed: how often the set may have been used, this time included.
    """

    id: Name
    cases: DigestSet
    ledger: Sha256
    uses_allowed: Positive


class Enrolled(Document):
    """Who was there before anything was left out; excluded and analysed have to add up to it."""

    patients: Positive
    cases: Positive


class AlertsProtocol(Document):
    """What one alert is: positive decisions that follow each other within so many seconds."""

    merge_seconds: Annotated[int, Field(ge=0, le=86_400)]


class Protocol(Document):
    """The whole protocol file (TOML).

    ``methods`` are those of the change-control plan, for a change that is made under one; the
    report repeats them.
    """

    schema_version: SchemaVersion
    id: Name
    author: Text
    frozen_at: Time
    rung: Literal["offline", "simulated", "retrospective", "prospective"]
    unit: Unit
    unit_rationale: Text
    confidence: Share
    replicates: Annotated[int, Field(ge=100, le=100_000)]
    seed: Annotated[int, Field(ge=0, le=2**53)]
    minimum: Minimum
    margins: Margins
    cohorts: tuple[CohortProtocol, ...] = Field(default=(), max_length=64)
    methods: Methods | None = None
    interval: Method = Method.PERCENTILE
    reference_standard: Literal["accepted", "none"] = "accepted"
    worst_case: Literal["shown", "decides"] = "shown"
    test_set: TestSetProtocol | None = None
    enrolled: Enrolled | None = None
    excluded: tuple[Excluded, ...] = Field(default=(), max_length=50)
    alerts: AlertsProtocol | None = None
    latency_measured_on: Text = ""
    criteria: tuple[CriterionProtocol, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _cohorts_stand_once(self) -> Protocol:
        ids = [cohort.id for cohort in self.cohorts]
        if len(set(ids)) != len(ids) or WHOLE in ids:
            raise ValueError(f"a cohort stands twice, or is called {WHOLE}")
        return self

    @model_validator(mode="after")
    def _wider_margins_say_why(self) -> Protocol:
        """A cohort is smaller, so its margin may be wider; that needs a reason of its own."""
        for cohort in self.cohorts:
            wider = Number(cohort.margins.sensitivity) > Number(self.margins.sensitivity)
            wider |= Number(cohort.margins.specificity) > Number(self.margins.specificity)
            if wider and cohort.margins.rationale.strip() in {"", self.margins.rationale.strip()}:
                raise ValueError(f"cohort {cohort.id}: a wider margin needs a rationale of its own")
        return self

    @model_validator(mode="after")
    def _criteria_can_be_answered(self) -> Protocol:
        ids = [item.id for item in self.criteria]
        if len(set(ids)) != len(ids):
            raise ValueError("a criterion stands twice")
        of_alerts = {Measured.ALERT_RATE, Measured.ALERT_RATIO, Measured.ACTIONABLE}
        if self.alerts is None and any(item.measure in of_alerts for item in self.criteria):
            raise ValueError("a criterion about alerts needs the table alerts")
        measured = {item.measure for item in self.criteria}
        if Measured.LATENCY in measured and not self.latency_measured_on:
            raise ValueError("a criterion about latency needs latencyMeasuredOn: the hardware")
        return self
