"""A monitoring specification from reference data: bins, shares, rates, and limits that follow.

Nothing random and no clock: the same plan and data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.monitoring_plan import MonitoringPlan, PlannedDistribution, PlannedRate
from primum_repo_tools.reference_columns import Column, wrong_columns
from primum_repo_tools.release_specification import derived_id
from primum_repo_tools.statistics.chi_square import chi_square_quantile
from primum_repo_tools.statistics.cusum_runs import interval_for
from primum_repo_tools.statistics.overdispersion import overdispersion_of
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.monitor_tally import ALERTS, DAY_SECONDS
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.monitoring_channels import Direction

LEAST_DAYS = 20
"""Days of which a standard deviation is taken; fewer would sign a guess."""

LEAST_PERSONS = 5
"""Persons between whom a difference is taken."""

_SHARE_DIGITS = 12
_PERSON = "person"


@dataclass(frozen=True)
class _Places:
    """In which bin each value is that is there, and the number of the last bin."""

    bins: NDArray[np.int64]
    there: NDArray[np.bool_]
    last: int


def make_specification(
    plan: MonitoringPlan, columns: Mapping[str, Column]
) -> MonitoringSpecification:
    """The specification.

    Args:
        plan: what is counted.
        columns: for each distribution a column of its id, and ``person`` beside it; for each rate
            ``ID.events`` and ``ID.of``, a row for each day.

    Raises:
        UsageError: a column is missing or says too little, or the parts do not fit together.
    """
    content: dict[str, object] = {
        "type": "urn:primum:monitoring-specification:v0.1",
        "schemaVersion": "0.1",
        "issuedAt": plan.issued_at.isoformat(),
        "component": plan.component,
        "windowHours": plan.window_hours,
        "suppression": {
            "minimumCellCount": plan.minimum_cell_count,
            "complementary": "withhold-a-second-cell",
        },
        "channels": [
            *(_distribution(plan, item, columns) for item in plan.distributions),
            *(_rate(item, columns) for item in plan.rates),
            *(
                {
                    "kind": "latency",
                    **item.model_dump(mode="json", by_alias=True, exclude_none=True),
                }
                for item in plan.latencies
            ),
        ],
    }
    if plan.cohorts:
        content["cohorts"] = [item.model_dump(mode="json", by_alias=True) for item in plan.cohorts]
    if plan.shadow is not None:
        content["shadow"] = plan.shadow.model_dump(mode="json", by_alias=True)
    content["id"] = derived_id(canonical_json(content))
    try:
        return parse_document(
            MonitoringSpecification, canonical_json(content), where="monitoring.toml"
        )
    except RefusedError as error:
        raise UsageError(
            "The parts of the monitoring do not fit together.",
            reason=Reason.USAGE,
            where="monitoring.toml",
            found=error.found,
            expected="what devices read as a monitoring specification",
            remedy="Compare with the example in the release engineer's guide.",
        ) from error


def _column(columns: Mapping[str, Column], name: str) -> Column:
    if name not in columns:
        found = ", ".join(sorted(columns)) or "no column"
        raise wrong_columns("--arrays", found, f"a column {name}")
    return columns[name]


def _made_by(column: Column) -> dict[str, object]:
    return {"name": column.file, "digest": {"sha256": column.sha256}}


# Distributions


def _distribution(
    plan: MonitoringPlan, item: PlannedDistribution, columns: Mapping[str, Column]
) -> dict[str, object]:
    column = _column(columns, item.id)
    values = column.numbers()
    there = ~np.isnan(values)
    if not there.any():
        raise wrong_columns(column.file, f"{item.id}: no number", "what was measured")
    edges = list(item.edges or _edges(values[there], item.bins or 2))
    numbers = np.array([float(edge) for edge in edges])
    places = np.searchsorted(numbers, values[there], side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    if counts.min() == 0:
        at = int(counts.argmin())
        low = "-inf" if at == 0 else edges[at - 1]
        high = "inf" if at == len(edges) else edges[at]
        raise wrong_columns(
            column.file,
            f"{item.id}: nothing from {low} to {high}",
            "at least one reference value in every bin",
            "Join the bin to another: one count in a bin that is never expected alarms for ever.",
        )
    content = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    content.pop("bins", None)
    last = len(edges)
    return {
        **content,
        "kind": "distribution",
        "edges": edges,
        "reference": {
            "n": int(counts.sum()),
            "madeBy": _made_by(column),
            "proportions": _shares(counts),
            "overdispersion": _overdispersion(plan, item.id, columns, _Places(places, there, last)),
        },
        "alarms": [
            {
                **alarm.model_dump(mode="json", by_alias=True, exclude_none=True),
                "chiSquareQuantile": f"{chi_square_quantile(float(alarm.probability), last):.4f}",
            }
            for alarm in item.alarms
        ],
    }


def _edges(values: NDArray[np.float64], bins: int) -> list[str]:
    """Edges between bins of about the same count; what stands often takes a bin for itself."""
    quantiles = np.quantile(values, np.arange(1, bins) / bins)
    found: list[str] = []
    for edge in quantiles:
        text = plain(float(edge), digits=5)
        # The first bin holds what lies below its edge: there has to be something.
        if float(text) > float(values.min()) and (not found or float(text) > float(found[-1])):
            found.append(text)
    return found or [plain(float(values.max()), digits=5)]


def _shares(counts: NDArray[np.int64]) -> list[str]:
    """Shares as decimals whose sum is exactly one; what rounding left goes to the largest."""
    whole = 10**_SHARE_DIGITS
    parts = [int(count) * whole // int(counts.sum()) for count in counts]
    parts[int(counts.argmax())] += whole - sum(parts)
    return [f"0.{part:0{_SHARE_DIGITS}d}" for part in parts]


def _overdispersion(
    plan: MonitoringPlan,
    name: str,
    columns: Mapping[str, Column],
    found: _Places,
) -> str:
    if plan.independent:
        return "0"
    named = columns.get(f"{name}.{_PERSON}") or columns.get(_PERSON)
    if named is None or len(named.values) != len(found.there):
        raise wrong_columns(
            "--arrays" if named is None else named.file,
            "no such column" if named is None else f"{len(named.values)} rows",
            f"a column {_PERSON} that says whose each of {len(found.there)} values of {name} is",
            "Samples of one person are alike: without it a limit alarms for every new person. "
            "Where each sample is of another person, say independent = true.",
        )
    persons, rows = np.unique(named.values[found.there].astype(np.str_), return_inverse=True)
    if len(persons) < LEAST_PERSONS:
        raise wrong_columns(
            named.file, f"{len(persons)} persons", f"at least {LEAST_PERSONS} persons"
        )
    counts = np.zeros((len(persons), found.last + 1), dtype=np.int64)
    np.add.at(counts, (rows, found.bins), 1)
    return plain(overdispersion_of(counts, persons_per_window=plan.persons_per_window), digits=4)


# Rates


def _rate(item: PlannedRate, columns: Mapping[str, Column]) -> dict[str, object]:
    happened, of = (_column(columns, f"{item.id}.{part}") for part in ("events", "of"))
    events, base = happened.numbers(), of.numbers()
    if len(events) != len(base) or not (np.isfinite(events) & np.isfinite(base)).all():
        found = f"{item.id}: {len(events)} and {len(base)} days, or gaps"
        raise wrong_columns(happened.file, found, "events and of, a row for each day")
    if (events < 0).any() or (item.measures != ALERTS and (events > base).any()):
        raise wrong_columns(happened.file, f"{item.id}: more events than of", "a share of a whole")
    enough = base >= item.least_per_day
    days = int(enough.sum())
    if days < LEAST_DAYS:
        raise wrong_columns(
            happened.file,
            f"{item.id}: {days} days of at least {item.least_per_day}",
            f"at least {LEAST_DAYS} days",
        )
    rates = events[enough] / base[enough] * (DAY_SECONDS if item.measures == ALERTS else 1.0)
    rate, deviation = float(rates.mean()), float(rates.std(ddof=1))
    if rates.min() == rates.max():
        raise wrong_columns(
            happened.file, f"{item.id}: every day alike", "days that differ from each other"
        )
    slack = float(item.shift) / 2.0
    if not 0.05 <= slack <= 1.0:  # noqa: PLR2004 - beyond, the limit of a day finds it as soon
        raise wrong_columns(
            "monitoring.toml", f"{item.id}: shift {item.shift}", "a shift of 0.1 to 2 deviations"
        )
    sides = 2 if item.direction is Direction.BOTH else 1
    seen = (rates - rate) / deviation * (-1.0 if item.direction is Direction.DOWN else 1.0)
    alarms = []
    for alarm in item.alarms:
        told = alarm.model_dump(mode="json", by_alias=True, exclude_none=True)
        if alarm.in_control_days is not None:
            interval = interval_for(slack, alarm.in_control_days, sides=sides, seen=seen)
            told["decisionInterval"] = plain(interval * deviation, digits=6)
        alarms.append(told)
    content = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    content.pop("shift")
    return {
        **content,
        "kind": "rate",
        "slack": plain(slack * deviation, digits=6),
        "reference": {
            "n": days,
            "madeBy": _made_by(happened),
            "rate": plain(rate, digits=6),
            "standardDeviation": plain(deviation, digits=6),
        },
        "alarms": alarms,
    }


def plain(value: float, *, digits: int) -> str:
    """A number in so many significant digits, without an exponent."""
    return f"{Decimal(f'{value:.{digits}g}'):f}"


def least_counted(proportions: tuple[str, ...], least_expected: float) -> int:
    """How many values a window needs before it says anything."""
    return ceil(least_expected / min(float(share) for share in proportions))
