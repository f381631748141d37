"""The change-control plan (PCCP): which changes an authority allowed beforehand, and how bounded.

The clinical authority signs it with its offline ``targets`` role.  Every modification is bounded
where a program can see it: parts, guardrails, methods, margins against *both* baselines, how
often.  What only a person can judge (triggers, rationale, impact) stands beside it in words.
Sources: FDA PCCP guidance (2025-08-18) V to VIII; Regulation (EU) 2024/1689 Art. 43(4).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal as Number
from itertools import chain
from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.change.comparison_report import Methods
from primum_verifier.change.comparison_terms import Baseline, Cohort, Share
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import (
    Country,
    Decimal,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.eligibility import RollbackCriterion
from primum_verifier.core.vocabulary import ON_PATIENTS, Rung

PLAN_TYPE = "urn:primum:change-control-plan:v0.1"
PLAN_TARGET = "policy/change-control-plan.json"
PLAN_ROLE = "targets"

MAX_MODIFICATIONS = 50
"""A plan of more modifications than this is not one that a person assessed as a whole."""

MAX_CRITERIA = 200
"""Criteria of one modification: metrics times cohorts times two baselines."""

Kinds = Annotated[tuple[ItemKind, ...], Field(max_length=50)]
Sections = Annotated[tuple[Name, ...], Field(max_length=50)]
Factors = Annotated[tuple[Slug, ...], Field(max_length=50)]
Texts = Annotated[tuple[Text, ...], Field(max_length=50)]
ModificationIds = Annotated[tuple[Slug, ...], Field(min_length=1, max_length=MAX_MODIFICATIONS)]

PlannedMetric = Literal["sensitivity", "specificity"]
"""What a report decides on a bound; an area under a curve is shown and decides nothing."""


class PlanAuthorisation(Document):
    """One authority allowed these modifications in one country, by this letter."""

    jurisdiction: Country
    authority: Name
    reference: Name
    date: Time
    letter_digest: DigestSet
    modification_ids: ModificationIds


class OriginalDevice(Document):
    """The version that was authorised first: the second baseline of every comparison."""

    version: Version
    manifest: DigestSet


class Frequency(Document):
    """How often a modification may be made: at most so many in so many days."""

    at_most: Annotated[int, Field(ge=1, le=1000)]
    days: Annotated[int, Field(ge=1, le=3660)]


class Guardrail(Document):
    """One stated figure of a modification and the closed range it must lie in."""

    parameter: Slug
    min: Decimal
    max: Decimal

    @model_validator(mode="after")
    def _range_is_one(self) -> Guardrail:
        if Number(self.min) > Number(self.max):
            raise ValueError("min is above max")
        return self


class Criterion(Document):
    """How much of a metric may be lost against one baseline, on the interval's lower bound."""

    metric: PlannedMetric
    cohort: Cohort
    versus: Baseline
    margin: Share


class CumulativeCriterion(Document):
    """How much may be lost in all since the original device, whatever the single steps were."""

    metric: PlannedMetric
    cohort: Cohort
    margin: Share


class Modification(Document):
    """One authorised modification: what it may change, by how much, and how it is shown."""

    id: Slug
    description: Text
    rationale: Text
    type: Literal["performance", "inputs", "use"]
    implementation: Literal["automatic", "manual", "both"]
    scope: Literal["global", "local"]
    local_factors: Factors = ()
    expected_frequency: Frequency
    guardrails: Annotated[tuple[Guardrail, ...], Field(min_length=1, max_length=100)]
    labelling_sections: Sections = ()
    components_allowed: Kinds
    components_forbidden: Kinds = ()
    protocol: Methods
    acceptance: Annotated[tuple[Criterion, ...], Field(min_length=1, max_length=MAX_CRITERIA)]
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1, max_length=len(Rung))]
    triggers: Texts = ()
    rollback_criteria: Annotated[tuple[RollbackCriterion, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _members_agree(self) -> Modification:
        _refuse_twice("guardrails", (item.parameter for item in self.guardrails))
        _refuse_twice(
            "acceptance", ((item.metric, item.cohort, item.versus) for item in self.acceptance)
        )
        _refuse_twice("rungs", self.rungs)
        if ON_PATIENTS.isdisjoint(self.rungs):
            raise ValueError("made-up data alone show nothing of a device that is in use")
        if set(self.components_allowed) & set(self.components_forbidden):
            raise ValueError("one kind of component is both allowed and forbidden")
        if (self.scope == "local") != bool(self.local_factors):
            raise ValueError("localFactors stand with the scope local, and only there")
        # Against the last version alone, small losses add up; against the original alone, a
        # gain that patients have already could be lost again (FDA PCCP guidance VII.B(3)).
        baselines = {
            versus: {
                (item.metric, item.cohort) for item in self.acceptance if item.versus == versus
            }
            for versus in ("last", "original")
        }
        if baselines["last"] != baselines["original"]:
            raise ValueError("each metric and cohort needs a margin against both baselines")
        return self


class CumulativeBound(Document):
    """What all modifications together may lose against the original device."""

    acceptance: Annotated[
        tuple[CumulativeCriterion, ...], Field(min_length=1, max_length=MAX_CRITERIA)
    ]

    @model_validator(mode="after")
    def _criteria_stand_once(self) -> CumulativeBound:
        _refuse_twice("cumulative", ((item.metric, item.cohort) for item in self.acceptance))
        return self


class ModificationImpact(Document):
    """Benefits, risks and their control for one modification, in short."""

    modification_id: Slug
    summary: Text


class Interaction(Document):
    """What was concluded about modifications that are made together."""

    modification_ids: Annotated[tuple[Slug, ...], Field(min_length=2, max_length=MAX_MODIFICATIONS)]
    summary: Text


class ImpactAssessment(Document):
    """The impact assessment by digest, and its conclusions (FDA PCCP guidance VIII)."""

    digest: DigestSet
    per_modification: Annotated[
        tuple[ModificationImpact, ...], Field(min_length=1, max_length=MAX_MODIFICATIONS)
    ]
    interactions: Annotated[tuple[Interaction, ...], Field(max_length=200)] = ()
    cumulative: Text


class Deviation(Document):
    """A deviation from a modification protocol that the plan itself foresees and justifies."""

    id: Slug
    modification_id: Slug
    description: Text
    document_digest: DigestSet


class ChangeControlPlan(OpenDocument):
    """The changes that authorities allowed beforehand, by title and version, and their bounds."""

    type: Literal["urn:primum:change-control-plan:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    title: Text
    version: Version
    document_digest: DigestSet
    authorisations: Annotated[tuple[PlanAuthorisation, ...], Field(max_length=300)]
    intended_use: DigestSet
    original_device: OriginalDevice
    modifications: Annotated[
        tuple[Modification, ...], Field(min_length=1, max_length=MAX_MODIFICATIONS)
    ]
    cumulative: CumulativeBound
    impact_assessment: ImpactAssessment
    deviations: Annotated[tuple[Deviation, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> ChangeControlPlan:
        ids = [item.id for item in self.modifications]
        _refuse_twice("modifications", ids)
        _refuse_twice("deviations", (item.id for item in self.deviations))
        assessed = {item.modification_id for item in self.impact_assessment.per_modification}
        if assessed != set(ids):
            raise ValueError("the impact assessment is not about these modifications")
        named = chain(
            (item.modification_id for item in self.deviations),
            *(item.modification_ids for item in self.authorisations),
            *(item.modification_ids for item in self.impact_assessment.interactions),
        )
        if not set(named) <= set(ids):
            raise ValueError("a modification is named that the plan does not hold")
        return self

    def authorisations_of(
        self, modification: str, *, jurisdiction: str
    ) -> tuple[PlanAuthorisation, ...]:
        """Who allowed a modification in a country; nobody when it is empty."""
        return tuple(
            item
            for item in self.authorisations
            if item.jurisdiction == jurisdiction and modification in item.modification_ids
        )


def _refuse_twice(what: str, keys: Iterable[object]) -> None:
    found = list(keys)
    if len(set(found)) != len(found):
        raise ValueError(f"an entry of {what} stands twice")
