"""The frozen protocol of a comparison: margins, unit, method and counts, stated before the run.

The report names the protocol's digest, so a margin that was moved afterwards shows.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.change.comparison_report import WHOLE, Cohort, Methods, Share, Unit
from primum_verifier.core.document import Document, Name, SchemaVersion, Text, Time


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

    @model_validator(mode="after")
    def _cohorts_stand_once(self) -> Protocol:
        ids = [cohort.id for cohort in self.cohorts]
        if len(set(ids)) != len(ids) or WHOLE in ids:
            raise ValueError(f"a cohort stands twice, or is called {WHOLE}")
        return self
