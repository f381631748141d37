"""The report of a comparison: evidence that a gate and an assessor read, numbers as decimal text.

The release side computes it; whoever judges by it needs this model alone.  A report whose own
figures contradict each other is none; whether they suffice is for the rules to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as Number
from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.change.comparison_analysis import Analysis, Criterion
from primum_verifier.change.comparison_terms import (
    WHOLE,
    Baseline,
    Bounds,
    Cohort,
    Decision,
    Role,
    Unit,
    worst,
)
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

RungName = Literal["offline", "simulated", "retrospective", "prospective"]
Metric = Literal["sensitivity", "specificity", "auc"]

LEAST_REPLICATES = 100
"""Fewer draws give a bootstrap no 95 % interval to read."""

_LAST_DIGIT = Number("0.000001")
"""Figures are written to six places; decisions were taken before they were rounded."""


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
    rung: RungName


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
    role: Role
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

    @property
    def decides(self) -> bool:
        """Whether anything may rest on it."""
        return self.role != "secondary"

    @model_validator(mode="after")
    def _figures_agree(self) -> Endpoint:
        if self.patients > self.cases or self.gained + self.lost > self.cases:
            raise ValueError("an endpoint counts more patients or changes than cases")
        if self.decision == Decision.MET and not self._can_be_met():
            raise ValueError("an endpoint is met without cases, or below its own margin")
        if self.difference is not None and self.metric != "auc":
            change = Number(self.gained - self.lost)
            if abs(Number(self.difference.estimate) * self.cases - change) > (
                _LAST_DIGIT * self.cases
            ):
                raise ValueError("an estimate is not what was gained less what was lost")
        return self

    def _can_be_met(self) -> bool:
        return (
            self.patients > 0
            and self.difference is not None
            and self.margin is not None
            and Number(self.difference.low) >= -Number(self.margin)
        )


class Accounting(Document):
    """How many of what were analysed."""

    patients: Count
    cases: Count
    positives: Count
    negatives: Count

    @model_validator(mode="after")
    def _counts_add_up(self) -> Accounting:
        if self.positives + self.negatives != self.cases or self.patients > self.cases:
            raise ValueError("positives and negatives are not the cases, or patients exceed them")
        return self

    def cases_of(self, metric: Metric) -> int:
        """How many cases a metric can be asked of, in all."""
        counts = {"sensitivity": self.positives, "specificity": self.negatives}
        return counts.get(metric, self.cases)


class ComparisonReport(OpenDocument):
    """A candidate compared with its baselines; the same inputs give the same bytes.

    ``analysis`` is what was found beyond the endpoints; a report made before there was any has
    none.  ``methods`` names what the change-control plan asks for; a report made without a plan has
    none.
    """

    type: Literal["urn:primum:comparison-report:v0.1"]
    schema_version: SchemaVersion
    protocol: ProtocolRef
    methods: Methods | None = None
    unit: Unit
    unit_rationale: Text
    seed: Count
    replicates: Annotated[int, Field(ge=LEAST_REPLICATES, le=2**53)]
    accounting: Accounting
    arms: dict[Literal["candidate", "last", "original"], Arm]
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=1000)]
    overall: Decision
    software: Text
    analysis: Analysis | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> ComparisonReport:
        keys = [(item.metric, item.cohort, item.versus) for item in self.endpoints]
        if len(set(keys)) != len(keys):
            raise ValueError("an endpoint stands twice")
        for item in self.endpoints:
            self._refuse_other_cases(item)
            self._refuse_change_without_cause(item)
        if self.overall != worst(item.decision for item in self.deciding()):
            raise ValueError("overall is not what the deciding endpoints say")
        if self._has_deciding_criteria() and "analysis" not in self.crit:
            raise ValueError("a criterion decides, and crit does not name the analysis")
        return self

    def deciding(self) -> Iterator[Endpoint | Criterion]:
        """Every endpoint and criterion that anything may rest on."""
        yield from (item for item in self.endpoints if item.decides)
        if self.analysis is not None:
            yield from self.analysis.deciding()

    def _has_deciding_criteria(self) -> bool:
        return self.analysis is not None and any(self.analysis.deciding())

    def _refuse_other_cases(self, item: Endpoint) -> None:
        most = self.accounting.cases_of(item.metric)
        is_whole = item.cohort == WHOLE and item.metric != "auc"
        if (
            item.patients > self.accounting.patients
            or item.cases > most
            or (is_whole and item.cases != most)
        ):
            raise ValueError("an endpoint is about other cases than were accounted for")

    def _refuse_change_without_cause(self, item: Endpoint) -> None:
        candidate, baseline = self.arms.get("candidate"), self.arms.get(item.versus)
        if candidate is None or baseline is None:
            raise ValueError("an endpoint compares an arm that is not there")
        same = (candidate.predictions, Number(candidate.threshold)) == (
            baseline.predictions,
            Number(baseline.threshold),
        )
        if same and (item.gained or item.lost):
            raise ValueError("the same predictions were right and wrong")
