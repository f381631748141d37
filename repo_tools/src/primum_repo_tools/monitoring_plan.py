"""Monitoring as code: ``monitoring.toml``, from which and from reference data it is made."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from primum_verifier.core.document import Document, Name, Positive, SchemaVersion, Slug, Time
from primum_verifier.record.monitoring import (
    MAX_CELL_COUNT,
    MAX_CHANNELS,
    MAX_COHORT_KEYS,
    MAX_WINDOW_HOURS,
    MIN_CELL_COUNT,
    MIN_WINDOW_HOURS,
    CohortKey,
    ShadowBins,
)
from primum_verifier.record.monitoring_channels import (
    MAX_ALARMS,
    MAX_EDGES,
    Alarm,
    Amount,
    Direction,
    Distribution,
    LatencyAlarm,
    Number,
    Rate,
    Share,
)

MIN_CONTROL_DAYS = 30
"""A rate that alarms more often than once in a month by chance is switched off by who hears it."""


class PlannedDistributionAlarm(Alarm):
    """How rare it is without drift; the quantile follows."""

    probability: Share


class PlannedDistribution(Document):
    """A distribution: its edges, or into how many bins of about the same count it is cut."""

    id: Slug
    measures: Distribution
    source: Name
    unit: Name
    bins: Annotated[int, Field(ge=2, le=50)] | None = None
    edges: Annotated[tuple[Number, ...], Field(min_length=1, max_length=MAX_EDGES)] | None = None
    alarms: Annotated[tuple[PlannedDistributionAlarm, ...], Field(max_length=MAX_ALARMS)] = ()

    @model_validator(mode="after")
    def _cut_in_one_way(self) -> Self:
        if (self.bins is None) == (self.edges is None):
            raise ValueError("a distribution has bins or edges")
        return self


class PlannedRateAlarm(Alarm):
    """By chance once in so many days, or by a limit of one day."""

    in_control_days: Annotated[int, Field(ge=MIN_CONTROL_DAYS, le=100_000)] | None = None
    day_limit: Amount | None = None

    @model_validator(mode="after")
    def _it_has_one_limit(self) -> Self:
        if (self.in_control_days is None) == (self.day_limit is None):
            raise ValueError("an alarm of a rate has in_control_days or a day_limit")
        return self


class PlannedRate(Document):
    """A rate, and the lasting shift of it, in standard deviations of a day, that must be found."""

    id: Slug
    measures: Rate
    direction: Direction
    shift: Amount
    least_per_day: Positive
    alarms: Annotated[tuple[PlannedRateAlarm, ...], Field(max_length=MAX_ALARMS)] = ()


class PlannedLatency(Document):
    """Times of answers."""

    id: Slug
    source: Name
    relative_accuracy: Share
    least_ms: Amount
    most_ms: Amount
    alarms: Annotated[tuple[LatencyAlarm, ...], Field(max_length=MAX_ALARMS)] = ()


class MonitoringPlan(Document):
    """The whole of ``monitoring.toml``.

    ``persons_per_window`` is the fewest persons that the samples of one window are of: 1 on a
    device that one person wears.  ``independent`` says that each sample is of another person.
    """

    schema_version: SchemaVersion
    component: Slug
    issued_at: Time
    window_hours: Annotated[int, Field(ge=MIN_WINDOW_HOURS, le=MAX_WINDOW_HOURS)]
    minimum_cell_count: Annotated[int, Field(ge=MIN_CELL_COUNT, le=MAX_CELL_COUNT)] = MIN_CELL_COUNT
    persons_per_window: Positive = 1
    independent: bool = False
    distributions: Annotated[tuple[PlannedDistribution, ...], Field(max_length=MAX_CHANNELS)] = ()
    rates: Annotated[tuple[PlannedRate, ...], Field(max_length=MAX_CHANNELS)] = ()
    latencies: Annotated[tuple[PlannedLatency, ...], Field(max_length=MAX_CHANNELS)] = ()
    cohorts: Annotated[tuple[CohortKey, ...], Field(max_length=MAX_COHORT_KEYS)] = ()
    shadow: ShadowBins | None = None
