"""The words of a comparison: what is independent, what was decided, a value with its interval."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal as Number
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints, model_validator

from primum_verifier.core.document import Decimal, Document, Name

Share = Annotated[Decimal, StringConstraints(pattern=r"^0\.[0-9]{1,6}$")]
"""A decimal between 0 and 1, as text: 0.05."""


def _inside_nothing_and_all(text: str) -> str:
    if not 0 < Number(text) < 1:
        raise ValueError("a confidence lies between 0 and 1")
    return text


Confidence = Annotated[Decimal, AfterValidator(_inside_nothing_and_all)]
"""How often such an interval holds the truth: 0.95, never 95."""

Cohort = Name
Baseline = Literal["last", "original"]
Role = Literal["co-primary", "cohort-claim", "secondary"]

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
    confidence: Confidence

    @model_validator(mode="after")
    def _estimate_lies_inside(self) -> Bounds:
        if not Number(self.low) <= Number(self.estimate) <= Number(self.high):
            raise ValueError("the estimate lies outside its interval")
        return self


def worst(decisions: Iterable[Decision]) -> Decision:
    """What several endpoints say together; nothing asked is nothing shown."""
    found = set(decisions) or {Decision.NOT_EVALUABLE}
    order = (Decision.NOT_MET, Decision.NOT_EVALUABLE, Decision.MET)
    return next(item for item in order if item in found)
