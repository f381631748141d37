"""The frozen protocol of a comparison: margins, unit, method and counts, stated before the run.

The report names the protocol's digest, so a margin that was moved afterwards shows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import Decimal, Document, Name, SchemaVersion, Text, Time

Share = Annotated[Decimal, StringConstraints(pattern=r"^0\.\d{1,6}$")]
"""A decimal between 0 and 1, as text: 0.05."""

Cohort = Name

WHOLE = "all"
"""The cohort that is every case; no case may carry this name itself."""


class Unit(StrEnum):
    """What counts as one independent observation."""

    PATIENT = "patient"
    BEAT = "beat"


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


class Protocol(Document):
    """The whole protocol file (TOML)."""

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

    @model_validator(mode="after")
    def _cohorts_stand_once(self) -> Protocol:
        ids = [cohort.id for cohort in self.cohorts]
        if len(set(ids)) != len(ids) or WHOLE in ids:
            raise ValueError(f"a cohort stands twice, or is called {WHOLE}")
        return self
