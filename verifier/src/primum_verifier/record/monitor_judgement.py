"""What a day, or a window, says by the signed limits: which alarm passed, and which is quiet again.

Nothing here acts.  What was concluded from one day after the other is kept in a memory that the
device stores beside its counters.  What cannot be concluded, because too little was counted,
leaves everything as it was: silence is no quiet.

Standard library only: the resident supervisor imports this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from primum_verifier.record.cusum import Sums
from primum_verifier.record.monitor_plan import MonitorPlan, PlannedAlarm, PlannedChannel
from primum_verifier.record.monitor_tally import MonitorTally, rate_of
from primum_verifier.record.stability import is_enough, stability_index, stability_limit

_SUM_STOPS = 2.0  # times the farthest interval: what lasted for months ends within days
_MOST_RATIO = 1000.0
_MOST_IN_A_ROW = 10**6


@dataclass(frozen=True)
class Found:
    """An alarm that passed, or is quiet again.

    Attributes:
        passed: whether it passed; else it is quiet again.
        ratio: the statistic over its limit, rounded so that no count follows from it.
    """

    channel: PlannedChannel
    alarm: PlannedAlarm
    passed: bool
    ratio: float


class MonitorMemory:
    """What is remembered from day to day and from window to window.

    Args:
        plan: what is judged.

    Attributes:
        sums: of each rate.
        in_a_row: of each alarm, how often its limit was passed in a row.
        passed: the alarms that passed and are not quiet again.
    """

    def __init__(self, plan: MonitorPlan) -> None:
        self._plan = plan
        self.sums = {item.id: Sums() for item in plan.channels if item.kind == "rate"}
        self.in_a_row = {alarm.id: 0 for item in plan.channels for alarm in item.alarms}
        self.passed: set[str] = set()

    def end_day(self, tally: MonitorTally) -> list[Found]:
        """Conclude from the rates of a day."""
        return [
            found
            for channel in self._plan.channels
            if channel.kind == "rate"
            for found in self._of_day(channel, *tally.days[channel.id])
        ]

    def end_window(self, tally: MonitorTally) -> list[Found]:
        """Conclude from the distributions and times of a window."""
        return [
            found
            for channel in self._plan.channels
            for found in self._of_window(channel, tally.of_everybody(channel))
        ]

    def _of_day(self, channel: PlannedChannel, events: int, of: int) -> Iterator[Found]:
        if of < channel.least:
            return
        rate = rate_of(channel, events, of)
        intervals = [alarm.limit for alarm in channel.alarms if alarm.by_sum]
        sums = self.sums[channel.id] = self.sums[channel.id].after(
            rate,
            reference=channel.rate,
            slack=channel.slack,
            most=_SUM_STOPS * max(intervals, default=math.inf),
        )
        followed = {"up": sums.up, "down": sums.down}
        summed = max(followed[name] for name in channel.directions)
        for alarm in channel.alarms:
            yield from self._conclude(channel, alarm, summed if alarm.by_sum else rate)

    def _of_window(self, channel: PlannedChannel, counts: list[int]) -> Iterator[Found]:
        for alarm in channel.alarms:
            ratio = window_ratio(channel, alarm, counts)
            if ratio is not None:
                yield from self._conclude(channel, alarm, ratio * alarm.limit)

    def _conclude(
        self, channel: PlannedChannel, alarm: PlannedAlarm, statistic: float
    ) -> Iterator[Found]:
        beyond = statistic > alarm.limit
        row = min(_MOST_IN_A_ROW, self.in_a_row[alarm.id] + 1) if beyond else 0
        self.in_a_row[alarm.id] = row
        passed = row >= alarm.in_a_row
        if passed == (alarm.id in self.passed):
            return
        (self.passed.add if passed else self.passed.discard)(alarm.id)
        yield Found(channel, alarm, passed, told_ratio(statistic / alarm.limit))

    def as_dict(self) -> dict[str, Any]:
        """The memory as the device keeps it."""
        return {
            "sums": {name: [sums.up, sums.down] for name, sums in self.sums.items()},
            "inARow": dict(self.in_a_row),
            "passed": sorted(self.passed),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], plan: MonitorPlan) -> MonitorMemory:
        """The memory as it was kept.

        Raises:
            ValueError: it is not that of the plan.
        """
        made = cls(plan)
        sums, rows, passed = content["sums"], content["inARow"], content["passed"]
        if sums.keys() != made.sums.keys() or rows.keys() != made.in_a_row.keys():
            raise ValueError("the memory is not that of the signed specification")
        for name, (up, down) in sums.items():
            if not (0.0 <= up < math.inf and 0.0 <= down < math.inf):
                raise ValueError("a sum that cannot be")
            made.sums[name] = Sums(float(up), float(down))
        for name, row in rows.items():
            if type(row) is not int or not 0 <= row <= _MOST_IN_A_ROW:
                raise ValueError("a number in a row that cannot be")
            made.in_a_row[name] = row
        made.passed = set(passed)
        if not made.passed <= made.in_a_row.keys():
            raise ValueError("an alarm that is not signed")
        return made


def window_ratio(channel: PlannedChannel, alarm: PlannedAlarm, counts: list[int]) -> float | None:
    """The statistic of a window over the limit of an alarm; None where it says nothing.

    Args:
        channel: a distribution or times; a rate has none.
        alarm: one of the channel.
        counts: of everybody.
    """
    if channel.sketch is not None:
        found = channel.sketch.quantile(counts, alarm.quantile)
        # A quantile that rests on the slowest one or two answers is an anecdote.
        enough = sum(counts) * (1.0 - alarm.quantile) >= 1.0
        return found / alarm.limit if found is not None and enough else None
    if channel.kind == "rate" or not is_enough(counts, channel.proportions):
        return None
    limit = stability_limit(
        sum(counts), channel.n, quantile=alarm.limit, overdispersion=channel.overdispersion
    )
    return stability_index(counts, channel.proportions) / limit


def told_ratio(ratio: float) -> float:
    """A statistic over its limit as it is told: one decimal, because counts follow from more."""
    return min(_MOST_RATIO, round(ratio, 1))
