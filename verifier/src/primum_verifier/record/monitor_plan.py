"""What a monitoring specification lets a device count, as plain numbers, for who imports no more.

The strict reader of the document is :mod:`primum_verifier.record.monitoring`; a device asks it
once, before a release is tested.  This one reads the same bytes again where pydantic has no place
(the resident supervisor, the application), and believes their form.

Counters lie in one row: for each channel those of everybody, then of each group of each cohort key.

Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from primum_verifier.record.cells import bin_of
from primum_verifier.record.sketch import SketchBins
from primum_verifier.record.words import MonitorAction

_LIMITS = ("chiSquareQuantile", "decisionInterval", "dayLimit", "limitMs")


@dataclass(frozen=True, kw_only=True)
class PlannedAlarm:
    """One alarm.

    Attributes:
        hazard: the hazard that was weighed; empty where nothing is taken away.
        in_a_row: windows, or days of a rate, in which the limit is passed before it alarms.
        limit: a chi-square quantile, a decision interval, a rate or milliseconds.
        by_sum: whether the limit is that of a CUSUM.
        quantile: of times; 0 elsewhere.
    """

    id: str
    action: MonitorAction
    hazard: str
    in_a_row: int
    limit: float
    by_sum: bool
    quantile: float


@dataclass(frozen=True, kw_only=True)
class PlannedChannel:
    """One channel.

    Attributes:
        kind: ``distribution``, ``rate`` or ``latency``.
        measures: what it is of; empty for times.
        source: the output, input or clock that it is of; empty for a rate.
        start: where its counters begin.
        cells: how many there are for one group.
        edges: inner edges of a distribution.
        sketch: the bins of times.
        proportions, n, overdispersion: the reference of a distribution.
        rate, slack, least, directions: the reference of a rate; directions are "up" and "down".
    """

    id: str
    kind: str
    measures: str
    source: str
    start: int
    cells: int
    alarms: tuple[PlannedAlarm, ...]
    edges: tuple[float, ...] = ()
    sketch: SketchBins | None = None
    proportions: tuple[float, ...] = ()
    n: int = 0
    overdispersion: float = 0.0
    rate: float = 0.0
    slack: float = 0.0
    least: int = 0
    directions: frozenset[str] = frozenset()

    def bin_of(self, value: float | None) -> int | None:
        """The counter of a value among those of one group; None where it is in no bin."""
        return bin_of(self.edges, value) if self.sketch is None else self.sketch.bin_of(value)


@dataclass(frozen=True, kw_only=True)
class MonitorPlan:
    """Everything that is counted, and when it says so.

    Attributes:
        window_hours: how long a window is.
        least_cell: the smallest cell that leaves the device.
        cohorts: the groups of each cohort key.
        cells: how many counters there are.
    """

    component: str
    window_hours: int
    least_cell: int
    cohorts: Mapping[str, tuple[str, ...]]
    channels: tuple[PlannedChannel, ...]
    cells: int
    _by_id: Mapping[str, PlannedChannel] = field(default_factory=dict)

    def channel(self, name: str) -> PlannedChannel:
        """The channel of this id.

        Raises:
            KeyError: there is none.
        """
        return self._by_id[name]

    def slots(self, channel: PlannedChannel) -> Iterator[tuple[str, str, int]]:
        """Key, group and first counter of each row; everybody has neither key nor group."""
        place = channel.start
        yield "", "", place
        if channel.sketch is None:
            for key, groups in self.cohorts.items():
                for group in groups:
                    place += channel.cells
                    yield key, group, place

    def starts(self, channel: PlannedChannel, groups: Mapping[str, str]) -> list[int]:
        """Where the counters begin that one observation goes into; an unsigned group has none."""
        return [
            place
            for key, group, place in self.slots(channel)
            if not key or groups.get(key) == group
        ]


def read_plan(data: bytes) -> MonitorPlan:
    """The plan in the bytes of a specification that the strict reader took.

    Raises:
        ValueError: they are no such specification.
    """
    try:
        return _plan_of(json.loads(data))
    except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"no monitoring specification: {type(error).__name__}") from error


def _plan_of(content: dict[str, Any]) -> MonitorPlan:
    cohorts = {item["key"]: tuple(item["groups"]) for item in content.get("cohorts", ())}
    slots = 1 + sum(len(groups) for groups in cohorts.values())
    channels, start = [], 0
    for item in content["channels"]:
        channel = _channel_of(item, start)
        channels.append(channel)
        start += channel.cells * (1 if channel.sketch is not None else slots)
    return MonitorPlan(
        component=content["component"],
        window_hours=int(content["windowHours"]),
        least_cell=int(content["suppression"]["minimumCellCount"]),
        cohorts=cohorts,
        channels=tuple(channels),
        cells=start,
        _by_id={channel.id: channel for channel in channels},
    )


def _channel_of(item: dict[str, Any], start: int) -> PlannedChannel:
    common: dict[str, Any] = {
        "id": item["id"],
        "kind": item["kind"],
        "measures": item.get("measures", ""),
        "source": item.get("source", ""),
        "start": start,
        "alarms": tuple(_alarm_of(alarm) for alarm in item["alarms"]),
    }
    if item["kind"] == "latency":
        sketch = SketchBins(
            accuracy=float(item["relativeAccuracy"]),
            least=float(item["leastMs"]),
            most=float(item["mostMs"]),
        )
        return PlannedChannel(**common, cells=sketch.cells, sketch=sketch)
    reference = item["reference"]
    if item["kind"] == "rate":
        direction = item["direction"]
        both = frozenset({"up", "down"})
        return PlannedChannel(
            **common,
            cells=2,
            rate=float(reference["rate"]),
            slack=float(item["slack"]),
            least=int(item["leastPerDay"]),
            directions=both if direction == "both" else frozenset({direction}),
        )
    edges = tuple(float(edge) for edge in item["edges"])
    return PlannedChannel(
        **common,
        cells=len(edges) + 1,
        edges=edges,
        proportions=tuple(float(share) for share in reference["proportions"]),
        n=int(reference["n"]),
        overdispersion=float(reference["overdispersion"]),
    )


def _alarm_of(item: dict[str, Any]) -> PlannedAlarm:
    limit = next(name for name in _LIMITS if item.get(name) is not None)
    return PlannedAlarm(
        id=item["id"],
        action=MonitorAction(item["action"]),
        hazard=item.get("hazardRef") or "",
        in_a_row=int(item["windowsInARow"]),
        limit=float(item[limit]),
        by_sum=limit == "decisionInterval",
        quantile=float(item.get("quantile", "0")),
    )
