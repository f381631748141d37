"""The signed monitoring specification: what a device counts of itself, and when it says so.

A device holds no labels, so it cannot measure performance: it counts how its inputs and outputs
are distributed, and how often things happen in a day, against a signed reference.  Everything
that a count, a limit or an alarm needs stands here as numbers, so that a device computes no
statistics of its own and two readers find the same bins.

* A *distribution* is counted in bins.  ``edges`` are the inner edges e1 < ... < ek: the first bin
  holds everything below e1, bin i holds ei <= x < ei+1, the last bin everything from ek on.  The
  ends are open, so no value falls outside; k edges make k + 1 bins and k + 1 proportions.  What is
  missing or no number is in no bin; a rate channel counts it.
* Its statistic is the population stability index over the window, and it alarms above
  ``(1/n + 1/m + overdispersion) * chiSquareQuantile``, with n the device's count and m the
  reference's: the index grows as samples get fewer, so a fixed limit would be blind or would cry
  wolf.  A window that expects fewer than twenty in a bin says nothing.
* A release in *shadow* is counted beside what is in use: whether the two decide alike, how far
  their scores lie apart and how long it took, in bins with open ends as above.
* A *rate* is followed day by day by a two-sided or one-sided CUSUM with the reference rate, the
  slack k and the decision interval h of each alarm (Page, 1954), or by a limit for one day.
* A *latency* is a sketch of times, whose quantiles have limits.

A window and a day are time in which the agent ran, by a clock that nobody sets.  For a rate
``windowsInARow`` are days.

Acting on drift alone may only take function away, and a cohort that merely looks unusual must not
lose its monitoring: what reduces function names the hazard that was weighed (ISO 14971, 7.1).
Nothing leaves the device below the smallest cell, and never for less than a day.
"""

from __future__ import annotations

from decimal import Decimal as Exact
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Document,
    OpenDocument,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.record.monitoring_channels import Amount, Channel
from primum_verifier.record.shadow import ShadowShape

MIN_WINDOW_HOURS = 24
"""Aggregates finer than a day would tell when a person sleeps, and who it is."""

MAX_WINDOW_HOURS = 31 * 24
MIN_CELL_COUNT = 11
"""Cells below this are withheld: the customary limit for public health data."""

MAX_CELL_COUNT = 1000
MAX_CHANNELS = 64
MAX_COHORT_KEYS = 8
MAX_GROUPS = 32
"""Groups of one cohort key; each group repeats every bin, and thins out every cell."""

MAX_CELLS = 8192
"""Counters in all, the whole and every group together: the memory of a wearable (4 bytes each)."""

MAX_SHADOW_EDGES = 32
"""Inner edges of what is counted of a release in shadow."""


class CohortKey(Document):
    """A breakdown of every channel into groups, by something the application knows."""

    key: Slug
    groups: Annotated[tuple[Slug, ...], Field(min_length=2, max_length=MAX_GROUPS)]
    why: Text


class Suppression(Document):
    """What is withheld so that nobody can be found in the counts.

    With ``complementary`` a second cell is withheld where the total would give the first away.
    """

    minimum_cell_count: Annotated[int, Field(ge=MIN_CELL_COUNT, le=MAX_CELL_COUNT)]
    complementary: Literal["withhold-a-second-cell"]


class ShadowBins(Document):
    """How a release in shadow is counted; a release without them is run in shadow nowhere.

    ``differenceEdges`` are of the absolute difference between its score and that of the release
    in use, ``latencyEdgesMs`` of the milliseconds that its answer took.  ``cohorts`` names the keys
    by which flipped decisions are broken down.
    """

    difference_edges: Annotated[
        tuple[Amount, ...], Field(min_length=1, max_length=MAX_SHADOW_EDGES)
    ]
    latency_edges_ms: Annotated[
        tuple[Amount, ...], Field(min_length=1, max_length=MAX_SHADOW_EDGES)
    ]
    cohorts: Annotated[tuple[Slug, ...], Field(max_length=MAX_COHORT_KEYS)] = ()

    @model_validator(mode="after")
    def _edges_rise(self) -> Self:
        for edges in (self.difference_edges, self.latency_edges_ms):
            numbers = [Exact(edge) for edge in edges]
            if numbers[0] == 0 or any(later <= earlier for earlier, later in pairwise(numbers)):
                raise ValueError("the edges of a shadow do not strictly rise from above 0")
        if len(set(self.cohorts)) != len(self.cohorts):
            raise ValueError("one cohort key of a shadow stands twice")
        return self


class MonitoringSpecification(OpenDocument):
    """What one component's devices count, over which window, and which drift they act upon."""

    type: Literal["urn:primum:monitoring-specification:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    component: Slug
    window_hours: Annotated[int, Field(ge=MIN_WINDOW_HOURS, le=MAX_WINDOW_HOURS)]
    suppression: Suppression
    cohorts: Annotated[tuple[CohortKey, ...], Field(max_length=MAX_COHORT_KEYS)] = ()
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=MAX_CHANNELS)]
    shadow: ShadowBins | None = None

    @property
    def cells(self) -> int:
        """How many counters a device keeps: every channel for all, and for each group.

        Times of answers are those of the device and are broken down by nobody.
        """
        groups = sum(len(cohort.groups) for cohort in self.cohorts)
        return sum(
            channel.cells * (1 if channel.kind == "latency" else 1 + groups)
            for channel in self.channels
        )

    @property
    def shadow_groups(self) -> dict[str, tuple[str, ...]]:
        """The groups of each cohort key by which flips in shadow are broken down."""
        keys = () if self.shadow is None else self.shadow.cohorts
        return {cohort.key: cohort.groups for cohort in self.cohorts if cohort.key in keys}

    @property
    def shadow_shape(self) -> ShadowShape | None:
        """The bins of a shadow as numbers; None where none are signed."""
        if self.shadow is None:
            return None
        return ShadowShape(
            differences=tuple(float(Exact(edge)) for edge in self.shadow.difference_edges),
            latencies=tuple(float(Exact(edge)) for edge in self.shadow.latency_edges_ms),
            groups=self.shadow_groups,
        )

    @model_validator(mode="after")
    def _each_stands_once(self) -> Self:
        alarms = [alarm.id for channel in self.channels for alarm in channel.alarms]
        for what, seen in (
            ("channel", [channel.id for channel in self.channels]),
            ("alarm", alarms),
            ("cohort key", [cohort.key for cohort in self.cohorts]),
            *(("group", list(cohort.groups)) for cohort in self.cohorts),
        ):
            if len(set(seen)) != len(seen):
                raise ValueError(f"one {what} stands twice")
        if self.shadow is not None and len(self.shadow_groups) != len(self.shadow.cohorts):
            raise ValueError("a shadow is broken down by a cohort key that is not named")
        if self.cells > MAX_CELLS:
            raise ValueError(f"{self.cells} counters are more than {MAX_CELLS}")
        return self
