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
  ``(1/n + 1/m) * chiSquareQuantile``, with n the device's count and m the reference's: the index
  grows as samples get fewer, so a fixed limit would be blind or would cry wolf.
* A release in *shadow* is counted beside what is in use: whether the two decide alike, how far
  their scores lie apart and how long it took, in bins with open ends as above.
* A *rate* is followed day by day by a two-sided or one-sided CUSUM with the reference rate, the
  slack k and the decision interval h of each alarm (Page, 1954).

Acting on drift alone may only take function away, and a cohort that merely looks unusual must not
lose its monitoring: what reduces function names the hazard that was weighed (ISO 14971, 7.1).
Nothing leaves the device below the smallest cell, and never for less than a day.
"""

from __future__ import annotations

from decimal import Decimal as Exact
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import (
    Document,
    Name,
    OpenDocument,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
)
from primum_verifier.record.shadow import ShadowShape
from primum_verifier.record.words import MonitorAction

MIN_WINDOW_HOURS = 24
"""Aggregates finer than a day would tell when a person sleeps, and who it is."""

MAX_WINDOW_HOURS = 31 * 24
MIN_CELL_COUNT = 11
"""Cells below this are withheld: the customary limit for public health data."""

MAX_CELL_COUNT = 1000
MAX_CHANNELS = 64
MAX_EDGES = 256
"""Inner edges of one distribution; more bins than this a window cannot fill."""

MAX_COHORT_KEYS = 8
MAX_GROUPS = 32
"""Groups of one cohort key; each group repeats every bin, and thins out every cell."""

MAX_CELLS = 8192
"""Counters in all, the whole and every group together: the memory of a wearable (4 bytes each)."""

MAX_SHADOW_EDGES = 32
"""Inner edges of what is counted of a release in shadow."""

MAX_ALARMS = 4
MAX_WINDOWS = 90

_PLAIN = r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,20})?"
"""A plain decimal: no exponent, no leading zero, ASCII digits, so that each number is short."""

Number = Annotated[str, StringConstraints(pattern=f"^-?{_PLAIN}$")]
"""A decimal number as text."""

Amount = Annotated[str, StringConstraints(pattern=f"^{_PLAIN}$")]
"""A decimal number that is not negative, as text."""

Share = Annotated[str, StringConstraints(pattern=r"^(0\.[0-9]{1,20}|1)$")]
"""A share of a whole, from 0 to 1, as text."""


class Distribution(StrEnum):
    """What a distribution is of."""

    INPUT = "input"
    OUTPUT_SCORE = "output-score"
    SIGNAL_QUALITY = "signal-quality"


class Rate(StrEnum):
    """What is counted day by day."""

    ALERTS_PER_PATIENT_DAY = "alerts-per-patient-day"
    MISSING_SHARE = "missing-share"
    LOW_QUALITY_SHARE = "low-quality-share"
    OVERRIDE_SHARE = "override-share"


class Direction(StrEnum):
    """Which way a rate must drift to alarm."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Alarm(Document):
    """What the device does, once the limit was passed in so many windows in a row."""

    id: Slug
    action: MonitorAction
    hazard_ref: Name | None = None
    windows_in_a_row: Annotated[int, Field(ge=1, le=MAX_WINDOWS)]

    @model_validator(mode="after")
    def _taking_away_names_its_hazard(self) -> Self:
        if self.action.reduces_function and self.hazard_ref is None:
            raise ValueError("an action that reduces function needs a hazardRef")
        return self


class DistributionAlarm(Alarm):
    """An alarm of a distribution: how rare without drift, and the chi-square quantile for that.

    The quantile has the number of bins less one as its degrees of freedom, and stands here so
    that no device computes it.
    """

    probability: Share
    chi_square_quantile: Amount


class RateAlarm(Alarm):
    """An alarm of a rate: the decision interval of its CUSUM, in the unit of the rate."""

    decision_interval: Amount


class Reference(Document):
    """What is expected: from how much data, and by which record it was made."""

    n: Positive
    made_by: ResourceDescriptor


class BinReference(Reference):
    """The expected share of each bin; together they are exactly one, and none is empty."""

    proportions: Annotated[tuple[Share, ...], Field(min_length=2, max_length=MAX_EDGES + 1)]

    @model_validator(mode="after")
    def _they_are_one_whole(self) -> Self:
        shares = [Fraction(share) for share in self.proportions]
        if sum(shares) != 1:
            raise ValueError("the proportions do not add up to exactly 1")
        if min(shares) == 0:
            # One single count in a bin that is never expected would be an endless index.
            raise ValueError("a bin that is never expected cannot be compared; join it to another")
        return self


class RateReference(Reference):
    """The expected rate, over ``n`` patient-days."""

    rate: Amount


class DistributionChannel(Document):
    """One distribution, its bins, what is expected, and what follows from drift."""

    kind: Literal["distribution"]
    id: Slug
    measures: Distribution
    source: Name
    unit: Name
    edges: Annotated[tuple[Number, ...], Field(min_length=1, max_length=MAX_EDGES)]
    reference: BinReference
    alarms: Annotated[tuple[DistributionAlarm, ...], Field(max_length=MAX_ALARMS)]

    @property
    def cells(self) -> int:
        """How many counters the channel needs for one group of patients."""
        return len(self.edges) + 1

    @model_validator(mode="after")
    def _bins_and_limits_fit(self) -> Self:
        edges = [Exact(edge) for edge in self.edges]
        if any(later <= earlier for earlier, later in pairwise(edges)):
            raise ValueError("the edges do not strictly rise")
        if len(self.reference.proportions) != self.cells:
            raise ValueError("there is not one proportion for each bin: the ends are open")
        for alarm in self.alarms:
            # Above nine tenths the quantile lies above the mean, which is the degrees of freedom.
            if not Exact("0.9") <= Exact(alarm.probability) < 1:
                raise ValueError("an alarm's probability is from 0.9 to below 1")
            if Exact(alarm.chi_square_quantile) <= len(self.edges):
                raise ValueError("chiSquareQuantile is not above its degrees of freedom")
        _in_order(self.alarms, [Exact(alarm.chi_square_quantile) for alarm in self.alarms])
        return self


class RateChannel(Document):
    """One daily rate, what is expected, and what follows from drift."""

    kind: Literal["rate"]
    id: Slug
    measures: Rate
    direction: Direction
    slack: Amount
    reference: RateReference
    alarms: Annotated[tuple[RateAlarm, ...], Field(max_length=MAX_ALARMS)]

    @property
    def cells(self) -> int:
        """How many counters the channel needs for one group of patients: events, and days."""
        return 2

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        limits = [Exact(alarm.decision_interval) for alarm in self.alarms]
        if min([Exact(self.slack), *limits]) == 0:
            raise ValueError("slack and decisionInterval are above 0: else noise alone alarms")
        is_share = self.measures is not Rate.ALERTS_PER_PATIENT_DAY
        if is_share and Exact(self.reference.rate) > 1:
            raise ValueError("a share is at most 1")
        _in_order(self.alarms, limits)
        return self


Channel = Annotated[DistributionChannel | RateChannel, Field(discriminator="kind")]


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
        """How many counters a device keeps: every channel for all, and for each group."""
        groups = sum(len(cohort.groups) for cohort in self.cohorts)
        return sum(channel.cells for channel in self.channels) * (1 + groups)

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


def _in_order(alarms: tuple[Alarm, ...], limits: list[Exact]) -> None:
    """A farther alarm never asks for less: else passing it would lift what was ordered."""
    steps = zip(limits, (alarm.windows_in_a_row for alarm in alarms), strict=True)
    for earlier, later in pairwise(steps):
        if later == earlier or later[0] < earlier[0] or later[1] < earlier[1]:
            raise ValueError("each alarm is farther than the one before: in its limit or windows")
    if any(later.action.rank < earlier.action.rank for earlier, later in pairwise(alarms)):
        raise ValueError("a farther alarm asks for less than a nearer one")
