"""One window of a release in shadow as an event carries it, or a refusal.

What may be told, and what is withheld, is :mod:`primum_verifier.record.shadow`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import Count, Document, Positive, Sha256, Slug
from primum_verifier.record.cells import MAX_COUNT
from primum_verifier.record.monitoring import (
    MAX_COHORT_KEYS,
    MAX_GROUPS,
    MAX_SHADOW_EDGES,
    MIN_CELL_COUNT,
)
from primum_verifier.record.shadow import ShadowOutcome

Cell = Annotated[int, Field(ge=MIN_CELL_COUNT, le=MAX_COUNT)] | None
"""A count, or null where it is withheld."""

Cells = Annotated[tuple[Cell, ...], Field(min_length=2, max_length=MAX_SHADOW_EDGES + 1)]


class GroupCells(Document):
    """Agreements and flips of one group."""

    agreed: Cell
    flipped: Cell


class CohortCells(Document):
    """A breakdown by one cohort key; ``unnamed`` are those of no signed group."""

    groups: Annotated[dict[Slug, GroupCells], Field(max_length=MAX_GROUPS)]
    unnamed: GroupCells


class ShadowSummary(Document):
    """One window of a release in shadow, as it leaves the device; a null was withheld."""

    mode: Literal["shadow"]
    release: Sha256
    statement: Sha256
    beside: Sha256
    monitoring_specification: Sha256
    window: Positive
    window_hours: Positive
    minimum_cell_count: Positive
    outcomes: Annotated[dict[ShadowOutcome, Cell], Field(max_length=len(ShadowOutcome))]
    differences: Cells
    latencies: Cells
    cohorts: Annotated[dict[Slug, CohortCells], Field(max_length=MAX_COHORT_KEYS)]
    unanswered: Count
    dropped: Count
