"""The terms of an eligibility statement, ``terms.toml``: where, for whom, until when, and if not.

What happens on expiry, on withdrawal and when nothing eligible is left stands here, each with the
hazard that decided it.  None of it has a default: it is the outcome of a risk analysis (ISO 14971).
Digests are never typed: what the release carries is taken from its manifest, the rest from files.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_repo_tools.settings import FileName
from primum_verifier.core.document import Country, Document, SchemaVersion, Slug, Text, Time
from primum_verifier.core.eligibility import (
    ActionOrdered,
    Authorisation,
    Categories,
    Coding,
    Condition,
    DeviceScope,
    FailSafe,
    Hardware,
    InputChannel,
    Market,
    OpenIssues,
    Population,
    Product,
    RestrictedPoint,
    Risk,
    RollbackCriterion,
    ShadowFirst,
    Sites,
    Slugs,
    Software,
    Study,
)
from primum_verifier.core.vocabulary import USE_ALLOWED, ChangeTier, Decision, Rung, Stage

_Hours = Annotated[int, Field(ge=0, le=24 * 366)]
_Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]


class IntendedUseTerms(Document):
    """The intended use: the same text that engineering built for, read from a file."""

    file: FileName
    significance: Literal["treat-or-diagnose", "drive", "inform"]
    decision_role: Literal[
        "autonomous", "second-reader", "triage", "decision-support", "monitoring"
    ]
    situation: Literal["critical", "serious", "non-serious"] | None = None
    language: _Language | None = None
    indications: tuple[Coding, ...] = Field(default=(), max_length=100)
    contraindications: tuple[Coding, ...] = Field(default=(), max_length=100)


class LabellingTerms(Document):
    """What people are told; which instructions for use is what the release carries."""

    user_notice: dict[_Language, Text] = Field(min_length=1)
    acknowledgement_required: bool = False


class RungTerms(Document):
    """One rung of the validation ladder; protocol and report are files, named by digest."""

    rung: Rung
    protocol: FileName
    report: FileName
    result: Literal["met", "not-met"]


class Terms(Document):
    """The whole of ``terms.toml``; what is left out restricts nothing and claims nothing.

    ``sites`` is ``"all"``, a list of sites, or a table with ``mode`` and ``ids``; an entry of
    ``hardware`` is an id, or a table with revisions, boot firmware and sensors.  The tier of the
    change is engineering's, unless ``change_tier`` raises it.
    """

    schema_version: SchemaVersion
    stage: Stage
    decision: Decision
    mode: Literal["clinical", "shadow", "investigational"]
    jurisdictions: tuple[Country, ...] = Field(min_length=1, max_length=250)
    sites: Literal["all"] | Slugs | Sites
    hardware: tuple[Slug | Hardware, ...] = Field(min_length=1, max_length=100)
    max_percentage: Annotated[int, Field(ge=1, le=100)]
    valid_days: Annotated[int, Field(ge=1, le=3660)]
    max_index_age_hours: _Hours
    offline_grace_hours: _Hours
    intended_use: IntendedUseTerms
    on_expiry: ActionOrdered
    on_withdrawal: ActionOrdered
    fail_safe: FailSafe
    automation: Literal["manual-update", "automatic-update"] = "automatic-update"
    shadow_first: ShadowFirst | None = None
    change_tier: ChangeTier | None = None
    min_soak_hours: _Hours = 0
    required_by: Time | None = None
    review_by: Time | None = None
    care_settings: Slugs | None = None
    use_environments: Slugs | None = None
    patient_categories: Categories | None = None
    market: Market | None = None
    software: Software | None = None
    devices: DeviceScope | None = None
    population: Population | None = None
    inputs: tuple[InputChannel, ...] = Field(default=(), max_length=100)
    user_roles: tuple[Coding, ...] = Field(default=(), max_length=100)
    product: Product | None = None
    authorisations: tuple[Authorisation, ...] = Field(default=(), max_length=300)
    study: Study | None = None
    conditions: tuple[Condition, ...] = Field(default=(), max_length=100)
    labelling: LabellingTerms | None = None
    ladder: tuple[RungTerms, ...] = Field(default=(), max_length=20)
    open_issues: OpenIssues | None = None
    risk: Risk | None = None
    rollback_criteria: tuple[RollbackCriterion, ...] = Field(default=(), max_length=50)
    restricted_operating_points: tuple[RestrictedPoint, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _decision_and_mode_agree(self) -> Terms:
        if self.mode != USE_ALLOWED[self.decision].label:
            raise ValueError(
                f"decision {self.decision} goes with mode {USE_ALLOWED[self.decision].label}, "
                f"not with mode {self.mode}"
            )
        return self

    @property
    def listed_hardware(self) -> tuple[Hardware, ...]:
        """The hardware, each entry in its full form."""
        return tuple(
            item if isinstance(item, Hardware) else Hardware(hardware_id=item)
            for item in self.hardware
        )

    @property
    def listed_sites(self) -> Sites:
        """The sites in their full form."""
        if isinstance(self.sites, Sites):
            return self.sites
        if self.sites == "all":
            return Sites(mode="all")
        return Sites(mode="list", ids=self.sites)
