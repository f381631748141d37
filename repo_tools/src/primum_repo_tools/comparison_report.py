"""The report of a comparison: evidence that a gate reads, numbers as decimal text."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from primum_repo_tools.protocol import Cohort, Unit
from primum_verifier.core.document import (
    Count,
    Decimal,
    DigestSet,
    Document,
    Name,
    SchemaVersion,
    Text,
    Time,
)


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
    metric: Literal["sensitivity", "specificity", "auc"]
    versus: Literal["last", "original"]
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


class ComparisonReport(Document):
    """The whole report; the same inputs give the same bytes."""

    type: Literal["urn:primum:comparison-report:v0.1"]
    schema_version: SchemaVersion
    protocol: ProtocolRef
    unit: Unit
    unit_rationale: Text
    seed: Count
    replicates: Count
    accounting: Accounting
    arms: dict[Literal["candidate", "last", "original"], Arm]
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=1000)]
    overall: Decision
    software: Text

    def standing_in_the_way(self) -> tuple[Endpoint, ...]:
        """The deciding endpoints that were not met, failures first."""
        deciding = [item for item in self.endpoints if item.role != "secondary"]
        ordered = (Decision.NOT_MET, Decision.NOT_EVALUABLE)
        return tuple(item for wanted in ordered for item in deciding if item.decision == wanted)
