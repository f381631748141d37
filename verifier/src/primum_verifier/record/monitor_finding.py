"""An alarm of a monitor as an event carries it, or a refusal."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from primum_verifier.core.document import Document, Name, Positive, Sha256, Slug
from primum_verifier.record.words import MonitorAction

MAX_RATIO = 1000
"""What is farther beyond its limit is told as this."""


class MonitorFinding(Document):
    """An alarm of a monitor that passed, or is quiet again.

    ``ratio`` is its statistic over its limit, rounded.  ``number`` is that of the window, or of the
    day where it is a rate.
    """

    monitoring_specification: Sha256
    release: Sha256
    statement: Sha256
    statement_number: Positive
    channel: Slug
    alarm: Slug
    action: MonitorAction
    hazard_ref: Name | None = None
    ratio: Annotated[float, Field(ge=0, le=MAX_RATIO)]
    number: Positive

    @model_validator(mode="after")
    def _taking_away_names_its_hazard(self) -> Self:
        if self.action.reduces_function and self.hazard_ref is None:
            raise ValueError("an action that reduces function needs a hazardRef")
        return self
