"""What a self-test saw, as numbers to draw: deviations by case, counts by cohort, latencies.

Nothing here is judged and nothing of it is signed: the report stays small, and whoever wants to
look closer runs the self-test again.  Each number is made once, as the text that every drawing of
it shows; :mod:`primum_verifier.proof.observing` makes them.

The counts are of fixtures, which were chosen to prove a device and are no sample of patients: they
say whether this machine decides as was validated, and support no claim of clinical performance.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import Count, Decimal, Document, Positive, Sha256, Slug
from primum_verifier.proof.bench_contract import Fact
from primum_verifier.proof.selftest_spec import (
    MAX_CASES,
    MAX_COHORTS,
    MAX_ROUNDS,
    Baseline,
    Unsigned,
)

MIN_FOR_INTERVAL = 5
"""Below so many cases an interval says less than the count itself, and none is given."""

MAX_BINS = 16
"""Bars of a histogram: as many as a terminal shows at a glance."""

MAX_DRAWN_COHORTS = 4 * MAX_COHORTS
"""Cohorts that are shown one by one; more are no table that a person reads."""


class CohortKind(StrEnum):
    """What the cases of a cohort are for."""

    RECORDED = "recorded"
    FAULT = "fault"
    """Dropout, NaN, saturation: a test of its own judges them, and labels mean nothing there."""


class CaseShare(Document):
    """One case by its number that lies furthest out, against the numeric test it fares worst in.

    ``share`` is the distance as a share of what the test tolerates there, so 1 is the limit; it
    is left out where nothing can be divided: no output, no finite number, no tolerance.
    """

    test: Slug
    case: Fact
    cohort: Fact
    output: Fact
    found: Fact
    expected: Fact
    by: Fact
    agrees: bool
    share: Unsigned | None = None


class Rate(Document):
    """So many right decisions of so many labelled cases, with the 95 % interval of Wilson.

    A case without a decision is not right.  Below :data:`MIN_FOR_INTERVAL` cases the counts stand
    alone.
    """

    right: Count
    of: Positive
    share: Decimal
    low: Decimal | None = None
    high: Decimal | None = None


class CohortCounts(Document):
    """One cohort in numbers: flips against the signed decisions, rates against the labels."""

    cohort: Fact
    kind: Annotated[CohortKind, Field(strict=False)]
    cases: Count
    positives: Count
    negatives: Count
    flips: Count
    undecided: Count
    sensitivity: Rate | None = None
    specificity: Rate | None = None


class ErrorCounts(Document):
    """Errors against the labels in one cohort, now and by an earlier release."""

    cohort: Fact
    misses: Count
    misses_before: Count
    false_alarms: Count
    false_alarms_before: Count


class BaselineCounts(Document):
    """The errors beside those of one earlier release, on the very same labelled cases."""

    baseline: Annotated[Baseline, Field(strict=False)]
    release: Sha256
    cohorts: Annotated[tuple[ErrorCounts, ...], Field(max_length=MAX_DRAWN_COHORTS)]


class Bin(Document):
    """So many runs from ``fromMs`` up to, and not including, ``toMs``; the last may have no end."""

    from_ms: Unsigned
    to_ms: Unsigned | None = None
    runs: Count


class RoundTimes(Document):
    """One round of timing; ``judged`` is the one that the test of performance looked at."""

    runs: Positive
    p50_ms: Unsigned
    p95_ms: Unsigned
    p99_ms: Unsigned
    judged: bool


class TimeLimit(Document):
    """What the signed budget for this hardware allows."""

    what: Literal["load", "p50", "p95", "p99"]
    ms: Unsigned


class Latencies(Document):
    """How long one run of one case took in the round that was judged, and what stood beside it.

    Percentiles are nearest ranks, as the test takes them; without a budget for this hardware no
    round is judged and the first is drawn.
    """

    runs: Positive
    fastest_ms: Unsigned
    p50_ms: Unsigned
    p95_ms: Unsigned
    p99_ms: Unsigned
    slowest_ms: Unsigned
    bins: Annotated[tuple[Bin, ...], Field(min_length=1, max_length=MAX_BINS)]
    rounds: Annotated[tuple[RoundTimes, ...], Field(max_length=MAX_ROUNDS + 1)] = ()
    loads_ms: Annotated[tuple[Unsigned, ...], Field(max_length=MAX_ROUNDS)] = ()
    limits: Annotated[tuple[TimeLimit, ...], Field(max_length=4)] = ()


class Observed(Document):
    """Everything that is drawn beside the report; a part that was not seen is empty.

    ``shares`` begin with the case that fares worst.
    """

    shares: Annotated[tuple[CaseShare, ...], Field(max_length=MAX_CASES)] = ()
    cohorts: Annotated[tuple[CohortCounts, ...], Field(max_length=MAX_DRAWN_COHORTS)] = ()
    cohorts_left_out: Count = 0
    recorded: CohortCounts | None = None
    baselines: Annotated[tuple[BaselineCounts, ...], Field(max_length=len(Baseline))] = ()
    latencies: Latencies | None = None
