"""A monitoring specification for people: how many must be counted, how rare an alarm is."""

from __future__ import annotations

from collections.abc import Iterator

from primum_repo_tools.monitoring_making import least_counted
from primum_repo_tools.statistics.cusum_runs import average_run_length
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.monitoring_channels import (
    Channel,
    Direction,
    DistributionAlarm,
    DistributionChannel,
    LatencyAlarm,
    RateAlarm,
    RateChannel,
)
from primum_verifier.record.stability import LEAST_EXPECTED, stability_limit

_Row = tuple[str, str, str, str, str]


def channel_rows(spec: MonitoringSpecification) -> list[tuple[str, ...]]:
    """One row for each channel."""
    rows: list[tuple[str, ...]] = []
    for channel in spec.channels:
        reference, least = "", ""
        if isinstance(channel, DistributionChannel):
            reference = f"{channel.reference.n} values"
            least = f"{_least(channel)} values in a window"
        elif isinstance(channel, RateChannel):
            reference = f"{channel.reference.rate} over {channel.reference.n} days"
            least = f"{channel.least_per_day} in a day"
        measures = "latency" if channel.kind == "latency" else str(channel.measures)
        alarms = ", ".join(alarm.id for alarm in channel.alarms)
        rows.append((channel.id, measures, reference, str(channel.cells), least, alarms))
    return rows


def alarm_rows(spec: MonitoringSpecification) -> list[_Row]:
    """One row for each alarm: when it passes, and how often by chance alone."""
    return [row for channel in spec.channels for row in _alarms(channel)]


def _least(channel: DistributionChannel) -> int:
    return least_counted(channel.reference.proportions, LEAST_EXPECTED)


def _alarms(channel: Channel) -> Iterator[_Row]:
    for alarm in channel.alarms:
        action = str(alarm.action) + (f" ({alarm.hazard_ref})" if alarm.hazard_ref else "")
        unit = "days" if isinstance(channel, RateChannel) else "windows"
        row = f", {alarm.windows_in_a_row} {unit} in a row" if alarm.windows_in_a_row > 1 else ""
        passed, chance = _limit(channel, alarm)
        yield alarm.id, channel.id, action, passed + row, chance


def _limit(
    channel: Channel, alarm: DistributionAlarm | RateAlarm | LatencyAlarm
) -> tuple[str, str]:
    if isinstance(channel, DistributionChannel) and isinstance(alarm, DistributionAlarm):
        least = _least(channel)
        limit = stability_limit(
            least,
            channel.reference.n,
            quantile=float(alarm.chi_square_quantile),
            overdispersion=float(channel.reference.overdispersion),
        )
        rare = 1.0 / (1.0 - float(alarm.probability))
        return f"index above {limit:.3g} at {least} values", f"1 window in {rare:.0f}"
    if isinstance(channel, RateChannel) and isinstance(alarm, RateAlarm):
        if alarm.decision_interval is None:
            return f"above {alarm.limit} on a day", "not known"
        deviation = float(channel.reference.standard_deviation)
        days = average_run_length(
            float(channel.slack) / deviation,
            float(alarm.decision_interval) / deviation,
            sides=2 if channel.direction is Direction.BOTH else 1,
        )
        passed = f"sum above {alarm.decision_interval}, beyond {channel.slack} a day"
        return passed, f"once in {days:.0f} days"
    if isinstance(alarm, LatencyAlarm):
        return f"{alarm.quantile} of times above {alarm.limit_ms} ms", "not known"
    raise RuntimeError("an alarm of another kind than its channel")


def shown(spec: MonitoringSpecification) -> dict[str, object]:
    """The same as plain values."""
    return {
        "component": spec.component,
        "counters": spec.cells,
        "windowHours": spec.window_hours,
        "minimumCellCount": spec.suppression.minimum_cell_count,
        "channels": [
            {"id": channel.id, "kind": channel.kind, "counters": channel.cells}
            | ({"leastValues": _least(channel)} if channel.kind == "distribution" else {})
            for channel in spec.channels
        ],
        "alarms": [
            dict(zip(("id", "channel", "action", "passed", "byChance"), row, strict=True))
            for row in alarm_rows(spec)
        ],
    }
