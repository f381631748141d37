"""The channels of a monitoring specification: bins, references, limits, and what follows.

See :mod:`primum_verifier.record.monitoring` for what each of them means.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as Exact
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import Document, Name, Positive, ResourceDescriptor, Slug
from primum_verifier.record.cusum import run_length
from primum_verifier.record.sketch import SketchBins
from primum_verifier.record.words import MonitorAction

MAX_EDGES = 256
"""Inner edges of one distribution; more bins than this a window cannot fill."""

MAX_ALARMS = 4
MAX_WINDOWS = 90

MAX_SKETCH_CELLS = 1024
"""Counters of one sketch of times."""

_RUN_LENGTH_PLAY = 1.05  # what rounding of the signed numbers may make of a run length

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
    SATURATED_SHARE = "saturated-share"
    LEAD_OFF_SHARE = "lead-off-share"
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
    """An alarm of a rate: by its CUSUM, or by what one day may come to.

    ``decisionInterval`` is in the unit of the rate, and ``inControlDays`` how many days it takes on
    average until it alarms although nothing changed.  ``dayLimit`` is a limit of the rate itself.
    """

    decision_interval: Amount | None = None
    in_control_days: Positive | None = None
    day_limit: Amount | None = None

    @model_validator(mode="after")
    def _it_has_one_limit(self) -> Self:
        if (self.decision_interval is None) != (self.in_control_days is None):
            raise ValueError("decisionInterval and inControlDays stand together")
        if (self.decision_interval is None) == (self.day_limit is None):
            raise ValueError("an alarm of a rate has a decisionInterval or a dayLimit")
        return self

    @property
    def limit(self) -> Exact:
        """Whichever of the two it has."""
        return Exact(self.decision_interval or self.day_limit or "0")


class LatencyAlarm(Alarm):
    """An alarm of times: a quantile of a window, and how many milliseconds it may be."""

    quantile: Share
    limit_ms: Amount


class Reference(Document):
    """What is expected: from how much data, and by which record it was made."""

    n: Positive
    made_by: ResourceDescriptor


class BinReference(Reference):
    """The expected share of each bin; together they are exactly one, and none is empty.

    ``overdispersion`` is what persons who are unlike each other add to the index of a window, in
    the unit of 1/n: 0 only where each sample is of another person.
    """

    overdispersion: Amount
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
    """The expected rate of a day and how far days lie apart, over ``n`` days."""

    rate: Amount
    standard_deviation: Amount


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
    """One daily rate, what is expected, and what follows from drift.

    A day with less than ``leastPerDay`` says nothing: samples of a share, or seconds in which
    patients were monitored where alerts are counted.
    """

    kind: Literal["rate"]
    id: Slug
    measures: Rate
    direction: Direction
    slack: Amount
    least_per_day: Positive
    reference: RateReference
    alarms: Annotated[tuple[RateAlarm, ...], Field(max_length=MAX_ALARMS)]

    @property
    def cells(self) -> int:
        """How many counters the channel needs for one group of patients: events, and of what."""
        return 2

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        deviation = Exact(self.reference.standard_deviation)
        if min([Exact(self.slack), deviation, *(alarm.limit for alarm in self.alarms)]) == 0:
            raise ValueError(
                "slack, standardDeviation and every limit are above 0: else noise alone alarms"
            )
        is_share = self.measures is not Rate.ALERTS_PER_PATIENT_DAY
        if is_share and Exact(self.reference.rate) > 1:
            raise ValueError("a share is at most 1")
        by_sum = tuple(alarm for alarm in self.alarms if alarm.decision_interval is not None)
        by_day = tuple(alarm for alarm in self.alarms if alarm.decision_interval is None)
        for alarms in (by_sum, by_day):
            _in_order(alarms, [alarm.limit for alarm in alarms])
        if by_sum and Exact(self.slack) > deviation:
            # There the bound on the run length, below, is none; and a day's limit finds it as soon.
            raise ValueError("slack is at most one standardDeviation")
        sides = 2 if self.direction is Direction.BOTH else 1
        for alarm in by_sum:
            most = run_length(
                float(Exact(self.slack) / deviation), float(alarm.limit / deviation), sides=sides
            )
            if (alarm.in_control_days or 0) > most * _RUN_LENGTH_PLAY:
                raise ValueError("no CUSUM of this slack and interval is silent for inControlDays")
        if any(alarm.limit <= Exact(self.reference.rate) for alarm in by_day):
            raise ValueError("a dayLimit is above what is expected")
        return self


class LatencyChannel(Document):
    """Times of answers as a sketch; its quantiles are within ``relativeAccuracy``."""

    kind: Literal["latency"]
    id: Slug
    source: Name
    relative_accuracy: Share
    least_ms: Amount
    most_ms: Amount
    alarms: Annotated[tuple[LatencyAlarm, ...], Field(max_length=MAX_ALARMS)]

    @property
    def bins(self) -> SketchBins:
        """The bins of the sketch."""
        return SketchBins(
            accuracy=float(self.relative_accuracy),
            least=float(self.least_ms),
            most=float(self.most_ms),
        )

    @property
    def cells(self) -> int:
        """How many counters the sketch needs."""
        return self.bins.cells

    @model_validator(mode="after")
    def _it_can_be_counted(self) -> Self:
        if not Exact("0.005") <= Exact(self.relative_accuracy) <= Exact("0.25"):
            raise ValueError("relativeAccuracy is from 0.005 to 0.25")
        if not 0 < Exact(self.least_ms) < Exact(self.most_ms):
            raise ValueError("leastMs is above 0 and below mostMs")
        if self.cells > MAX_SKETCH_CELLS:
            raise ValueError(f"more than {MAX_SKETCH_CELLS} counters of one sketch")
        for alarm in self.alarms:
            if not Exact("0.5") <= Exact(alarm.quantile) < 1:
                raise ValueError("a quantile of times is from 0.5 to below 1")
            if not Exact(self.least_ms) < Exact(alarm.limit_ms) < Exact(self.most_ms):
                raise ValueError("limitMs is between leastMs and mostMs")
        return self


Channel = Annotated[DistributionChannel | RateChannel | LatencyChannel, Field(discriminator="kind")]


def _in_order(alarms: Sequence[Alarm], limits: list[Exact]) -> None:
    """A farther alarm never asks for less: else passing it would lift what was ordered."""
    steps = zip(limits, (alarm.windows_in_a_row for alarm in alarms), strict=True)
    for earlier, later in pairwise(steps):
        if later == earlier or later[0] < earlier[0] or later[1] < earlier[1]:
            raise ValueError("each alarm is farther than the one before: in its limit or windows")
    if any(later.action.rank < earlier.action.rank for earlier, later in pairwise(alarms)):
        raise ValueError("a farther alarm asks for less than a nearer one")
