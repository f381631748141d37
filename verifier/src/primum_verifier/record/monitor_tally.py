"""The counters of one monitor: of the window that is open, and of the day that is open.

As many as the signed specification says, whatever is counted; in what order, makes no difference.
No value is kept.

Standard library only: the resident supervisor imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from primum_verifier.record.cells import added, is_shaped_like
from primum_verifier.record.monitor_plan import MonitorPlan, PlannedChannel

ALERTS = "alerts-per-patient-day"
"""The one rate that is no share: alerts over seconds in which patients were monitored."""

DAY_SECONDS = 86_400.0


class MonitorTally:
    """The counters.

    Args:
        plan: what is counted.

    Attributes:
        cells: of the window, in the plan's order.
        days: of each rate: events of the day, and of how much.
        dropped: values that the application could not hand over in this window.
    """

    def __init__(self, plan: MonitorPlan) -> None:
        self._plan = plan
        self.cells = [0] * plan.cells
        self.days = {item.id: [0, 0] for item in plan.channels if item.kind == "rate"}
        self.dropped = 0

    def observe(self, channel: str, value: float | None, groups: Mapping[str, str]) -> None:
        """Count one value of a distribution, or one time; what is no number is in no bin.

        Raises:
            KeyError: no such channel.
            ValueError: it is a rate.
        """
        found = self._plan.channel(channel)
        if found.kind == "rate":
            raise ValueError(f"{channel} is a rate: it has events, and no values")
        place = found.bin_of(value)
        if place is not None:
            self._add(found, place, 1, groups)

    def happened(self, channel: str, events: int, of: int, groups: Mapping[str, str]) -> None:
        """Count events of a rate.

        Args:
            channel: which.
            events: how many there were.
            of: of how many samples or decisions; of how many seconds where alerts are counted.
            groups: the group of each cohort key.

        Raises:
            KeyError: no such channel.
            ValueError: it is no rate, or more events than there were samples.
        """
        found = self._plan.channel(channel)
        if found.kind != "rate":
            raise ValueError(f"{channel} is no rate: it has values, and no events")
        if events < 0 or of < 0 or (found.measures != ALERTS and events > of):
            raise ValueError(f"{channel}: {events} of {of}")
        for place, count in enumerate((events, of)):
            self._add(found, place, count, groups)
            self.days[channel][place] = added(self.days[channel][place], count)

    def _add(
        self, channel: PlannedChannel, place: int, count: int, groups: Mapping[str, str]
    ) -> None:
        for start in self._plan.starts(channel, groups):
            self.cells[start + place] = added(self.cells[start + place], count)

    def of_everybody(self, channel: PlannedChannel) -> list[int]:
        """The counters of a channel for all together."""
        return self.cells[channel.start : channel.start + channel.cells]

    def by_group(self, channel: PlannedChannel) -> Iterator[tuple[str, str, list[int]]]:
        """Key, group and counters of each group."""
        for key, group, start in self._plan.slots(channel):
            if key:
                yield key, group, self.cells[start : start + channel.cells]

    def begin_day(self) -> None:
        """Nothing was counted of the day that begins."""
        self.days = {name: [0, 0] for name in self.days}

    def begin_window(self) -> None:
        """Nothing was counted of the window that begins."""
        self.cells = [0] * self._plan.cells
        self.dropped = 0

    def as_dict(self) -> dict[str, Any]:
        """The counters as the device keeps them."""
        days = {name: list(counts) for name, counts in self.days.items()}
        return {"cells": list(self.cells), "days": days, "dropped": self.dropped}

    @classmethod
    def from_dict(cls, content: object, plan: MonitorPlan) -> MonitorTally:
        """The counters as they were kept.

        Raises:
            ValueError: they are not those of the plan.
        """
        made = cls(plan)
        if not isinstance(content, dict) or not is_shaped_like(content, made.as_dict()):
            raise ValueError("the counters are not those of the signed specification")
        made.cells, made.dropped = list(content["cells"]), content["dropped"]
        made.days = {name: list(counts) for name, counts in content["days"].items()}
        return made


def rate_of(channel: PlannedChannel, events: int, of: int) -> float:
    """The rate in its unit: alerts of a patient-day, or a share.

    Args:
        channel: which.
        events: how many.
        of: of how much; above 0.
    """
    return events * DAY_SECONDS / of if channel.measures == ALERTS else events / of
