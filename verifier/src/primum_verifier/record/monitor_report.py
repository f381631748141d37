"""A window of a monitor as a device reports it, or a refusal.

A report is no provenance: it is not chained, and one that is lost is lost.  An alarm is an event
(:mod:`primum_verifier.record.monitor_finding`).
What may be told is :mod:`primum_verifier.record.monitor_telling`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from primum_verifier.core.document import (
    Count,
    Document,
    OpenDocument,
    Positive,
    Sha256,
    Slug,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import KIB
from primum_verifier.record.cells import MAX_COUNT
from primum_verifier.record.event import Clock, DeviceUri
from primum_verifier.record.monitor_finding import MAX_RATIO
from primum_verifier.record.monitoring import (
    MAX_CELL_COUNT,
    MAX_CHANNELS,
    MAX_COHORT_KEYS,
    MAX_GROUPS,
    MAX_WINDOW_HOURS,
    MIN_CELL_COUNT,
    MIN_WINDOW_HOURS,
)
from primum_verifier.record.monitoring_channels import MAX_ALARMS, MAX_EDGES

MAX_MONITOR_BYTES = 64 * KIB
"""One report; a device sends it once in a window."""

Cell = Annotated[int, Field(ge=MIN_CELL_COUNT, le=MAX_COUNT)] | None
"""A count, or null where it is withheld."""

Cells = Annotated[tuple[Cell, ...], Field(min_length=1, max_length=MAX_EDGES + 1)]
_Ratio = Annotated[float, Field(ge=0, le=MAX_RATIO)]
_Ms = Annotated[float, Field(ge=0)] | None
Ratios = Annotated[dict[Slug, _Ratio | None], Field(max_length=MAX_ALARMS)]
"""For each alarm its statistic over its limit; null where too little was counted."""


class CohortTold(Document):
    """The cells of each group of a key; ``unnamed`` are those of no signed group."""

    groups: Annotated[dict[Slug, Cells], Field(max_length=MAX_GROUPS)]
    unnamed: Cells


Cohorts = Annotated[dict[Slug, CohortTold], Field(max_length=MAX_COHORT_KEYS)]


class DistributionTold(Document):
    """The bins of one distribution, and the customary name of how far it drifted."""

    kind: Literal["distribution"]
    cells: Cells
    size: Literal["small", "moderate", "large"] | None
    ratios: Ratios
    cohorts: Cohorts | None = None


class RateTold(Document):
    """Events of one rate, and of how many samples; of how many whole hours for alerts."""

    kind: Literal["rate"]
    events: Cell
    of: Count | None
    ratios: Ratios
    cohorts: Cohorts | None = None


class LatencyTold(Document):
    """Quantiles of times in milliseconds."""

    kind: Literal["latency"]
    answers: Cell
    p50_ms: _Ms
    p95_ms: _Ms
    p99_ms: _Ms
    ratios: Ratios


ChannelTold = Annotated[DistributionTold | RateTold | LatencyTold, Field(discriminator="kind")]


class MonitorData(Document):
    """One window under one release, statement and specification.

    ``cutShort`` counts windows before it that ended early, with the release or the statement: they
    are never told.  ``dropped`` counts values that the application could not hand over.
    """

    release: Sha256
    statement: Sha256
    statement_number: Positive
    monitoring_specification: Sha256
    agent_version: Version
    clock: Clock
    window: Positive
    window_hours: Annotated[int, Field(ge=MIN_WINDOW_HOURS, le=MAX_WINDOW_HOURS)]
    minimum_cell_count: Annotated[int, Field(ge=MIN_CELL_COUNT, le=MAX_CELL_COUNT)]
    cut_short: Count
    dropped: Count
    alarms: Annotated[tuple[Slug, ...], Field(max_length=MAX_CHANNELS * MAX_ALARMS)]
    channels: Annotated[dict[Slug, ChannelTold], Field(max_length=MAX_CHANNELS)]


class MonitorReport(OpenDocument):
    """One window of a monitor, as CloudEvents 1.0.2 structured JSON; of when, it says the day."""

    specversion: Literal["1.0"]
    id: Urn
    source: DeviceUri
    type: Literal["primum.device.monitor.summarised"]
    time: Time
    datacontenttype: Literal["application/json"]
    data: MonitorData

    @model_validator(mode="after")
    def _it_says_the_day_alone(self) -> Self:
        if (self.time.hour, self.time.minute, self.time.second) != (0, 0, 0):
            raise ValueError("a summary says the day and no more of when it was")
        return self
