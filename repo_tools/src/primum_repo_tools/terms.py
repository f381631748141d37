"""The terms of an eligibility statement, ``terms.toml``: where, for whom, until when, and if not.

What happens on expiry, on withdrawal and when nothing eligible is left stands here, each with the
hazard that decided it.  None of it has a default: it is the outcome of a risk analysis (ISO 14971).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_repo_tools.release_plan import FileName
from primum_verifier.core.document import Country, Document, SchemaVersion, Slug
from primum_verifier.core.eligibility import ActionOrdered, FailSafe
from primum_verifier.core.vocabulary import Decision, Stage

MODES = {
    Decision.ELIGIBLE: "clinical",
    Decision.ELIGIBLE_WITH_CONDITIONS: "clinical",
    Decision.INVESTIGATIONAL: "investigational",
    Decision.SHADOW_ONLY: "shadow",
}
"""The one mode of use that each decision allows; devices refuse every other pair."""


class IntendedUseTerms(Document):
    """The intended use: the same text that engineering built for, read from a file."""

    file: FileName
    significance: Literal["treat-or-diagnose", "drive", "inform"]
    decision_role: Literal[
        "autonomous", "second-reader", "triage", "decision-support", "monitoring"
    ]


class Terms(Document):
    """The whole of ``terms.toml``. ``sites`` is ``"all"`` or a list of sites."""

    schema_version: SchemaVersion
    stage: Stage
    decision: Decision
    mode: Literal["clinical", "shadow", "investigational"]
    jurisdictions: tuple[Country, ...] = Field(min_length=1, max_length=250)
    sites: Literal["all"] | tuple[Slug, ...]
    hardware: tuple[Slug, ...] = Field(min_length=1, max_length=100)
    max_percentage: Annotated[int, Field(ge=1, le=100)]
    valid_days: Annotated[int, Field(ge=1, le=3660)]
    max_index_age_hours: Annotated[int, Field(ge=0, le=24 * 366)]
    offline_grace_hours: Annotated[int, Field(ge=0, le=24 * 366)]
    intended_use: IntendedUseTerms
    on_expiry: ActionOrdered
    on_withdrawal: ActionOrdered
    fail_safe: FailSafe

    @model_validator(mode="after")
    def _decision_and_mode_agree(self) -> Terms:
        if self.mode != MODES[self.decision]:
            raise ValueError(
                f"decision {self.decision} goes with mode {MODES[self.decision]}, "
                f"not with mode {self.mode}"
            )
        return self
