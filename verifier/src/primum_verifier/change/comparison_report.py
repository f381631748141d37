"""The report of a comparison: evidence that a gate and an assessor read, numbers as decimal text.

The release side computes it; whoever judges by it needs this model alone.
"""

from __future__ import annotations

from decimal import Decimal as Number
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import (
    Count,
    Decimal,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    SchemaVersion,
    Text,
    Time,
)

REPORT_TYPE = "urn:primum:comparison-report:v0.1"

Share = Annotated[Decimal, StringConstraints(pattern=r"^0\.[0-9]{1,6}$")]
"""A decimal between 0 and 1, as text: 0.05."""

Cohort = Name
Metric = Literal["sensitivity", "specificity", "auc"]
Baseline = Literal["last", "original"]

WHOLE = "all"
"""The cohort that is every case; no case may carry this name itself."""


class Unit(StrEnum):
    """What counts as one independent observation."""

    PATIENT = "patient"
    BEAT = "beat"


class Decision(StrEnum):
    """What came of an endpoint; not-evaluable is never met."""

    MET = "met"
    NOT_MET = "not-met"
    NOT_EVALUABLE = "not-evaluable"


class Bounds(Document):
    """An estimate with its two-sided interval."""

    estimate: Decimal
    low: Decimal
    high: Decimal
    confidence: Decimal

    @model_validator(mode="after")
    def _low_is_not_above_high(self) -> Bounds:
        if Number(self.low) > Number(self.high):
            raise ValueError("low is above high")
        return self


class MethodRef(Document):
    """One method by its id and the digest of the document that describes it."""

    method_id: Name
    document_digest: DigestSet


class Methods(Document):
    """How a modification is developed, shown and rolled out: the parts of a modification protocol.

    They are the four that FDA's PCCP guidance (2025) names in VII.B(1) to (4).
    """

    data_management: MethodRef
    retraining: MethodRef
    performance_evaluation: MethodRef
    update_procedures: MethodRef


class ProtocolRef(Document):
    """Which protocol, by digest, and when its author froze it."""

    id: Name
    digest: DigestSet
    frozen_at: Time
    author: Text
    rung: Name


class Arm(Document):
    """One arm: predictions, operating point, how it does alone; no decision counts against it."""

    predictions: DigestSet
    release: DigestSet | None = None
    threshold: Decimal
    no_decision: Count
    sensitivity: Bounds | None = None
    specificity: Bounds | None = None
    auc: Bounds | None = None


class Endpoint(Document):
    """One question with its answer. ``secondary`` endpoints are shown and decide nothing."""

    id: Name
    metric: Metric
    versus: Baseline
    cohort: Cohort
    role: Literal["co-primary", "cohort-claim", "secondary"]
    method: Text
    margin: Decimal | None = None
    margin_rationale: Text = ""
    difference: Bounds | None = None
    patients: Count
    cases: Count
    gained: Count
    lost: Count
    decision: Decision
    why: Text


class Accounting(Document):
    """How many of what were analysed."""

    patients: Count
    cases: Count
    positives: Count
    negatives: Count


class ComparisonReport(OpenDocument):
    """A candidate compared with its baselines; the same inputs give the same bytes.

    ``methods`` names what the change-control plan asks for; a report made without a plan has none.
    """

    type: Literal["urn:primum:comparison-report:v0.1"]
    schema_version: SchemaVersion
    protocol: ProtocolRef
    methods: Methods | None = None
    unit: Unit
    unit_rationale: Text
    seed: Count
    replicates: Count
    accounting: Accounting
    arms: dict[Literal["candidate", "last", "original"], Arm]
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=1000)]
    overall: Decision
    software: Text
