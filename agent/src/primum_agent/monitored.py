"""The application's side of the monitor: hand over what the signed specification counts.

Standard library only.  Nothing here ever waits but :meth:`Monitored.flush`: call it where the
application has a moment, between episodes or once in a minute.  What is not handed over by then is
kept up to a bound; beyond it, it is dropped, counted, and told with the window.

Example::

    monitor = monitored(release)          # None: the release is not monitored
    monitor.observe({"score": 0.93, "rr-interval": 812.0}, groups={"age-band": "65-plus"})
    monitor.happened("alerts", events=1, of=0)
    monitor.happened("alerts", events=0, of=60)   # a minute in which a patient was monitored
    monitor.flush()

Values leave the application for the agent on the same device and are counted there; none is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from primum_agent.application import ANSWER_SECONDS, ActiveRelease, hand_over
from primum_verifier.record.monitor_plan import MonitorPlan, read_plan

__all__ = ["Monitored", "monitored"]

MAX_HELD = 2000
"""Values and rates that wait to be handed over."""

_AT_ONCE = 300  # values in one request: well below the longest line that the agent reads
SPECIFICATION = "monitoring-specification"
"""The kind of the file that says what is counted."""


Groups = tuple[tuple[str, str], ...]


class Monitored:
    """What one application hands over about one release that it opened.

    Args:
        release: the release as it was opened.
        plan: what its specification lets a device count.
        specification: SHA-256 of that specification.

    Attributes:
        held: values and rates that wait.
        dropped: those for which there was no room, since they were last told.
    """

    def __init__(self, release: ActiveRelease, *, plan: MonitorPlan, specification: str) -> None:
        self._release = release
        self._specification = specification
        self._values: dict[Groups, list[tuple[str, float | None]]] = {}
        self._rates: dict[tuple[Groups, str], list[int]] = {}
        self.plan = plan
        self.held = 0
        self.dropped = 0

    def observe(
        self, values: Mapping[str, float | None], *, groups: Mapping[str, str] | None = None
    ) -> None:
        """Note one value of each channel that is named; None is one that is missing.

        Args:
            values: by the ids of distributions and latencies.
            groups: the group of each cohort key, where it is known.

        Raises:
            KeyError: the signed specification has no such channel.
        """
        for channel, value in values.items():
            self.plan.channel(channel)
            if self._has_room():
                held = self._values.setdefault(_key(groups), [])
                number = value is not None and math.isfinite(value)
                held.append((channel, value if number else None))

    def happened(
        self, channel: str, *, events: int, of: int, groups: Mapping[str, str] | None = None
    ) -> None:
        """Note events of a rate.

        Args:
            channel: the id of a rate.
            events: how many alerts, missing or low-quality samples, or overridden decisions.
            of: of how many samples or decisions; of how many seconds in which a patient was
                monitored, where alerts are counted.
            groups: the group of each cohort key, where it is known.

        Raises:
            KeyError: the signed specification has no such channel.
        """
        self.plan.channel(channel)
        key = (_key(groups), channel)
        if key in self._rates or self._has_room():
            counts = self._rates.setdefault(key, [0, 0])
            counts[0], counts[1] = counts[0] + events, counts[1] + of

    def flush(self, *, seconds: float = ANSWER_SECONDS) -> bool:
        """Hand over what waits; whether an agent was there to take it.

        Where none listens it waits for the next time.  What was sent and not counted is given up,
        so that nothing is ever counted twice.

        Args:
            seconds: how long one answer is waited for.
        """
        while (batch := self._next()) is not None:
            request = {
                "do": "observe",
                "release": self._release.release,
                "statement": self._release.statement,
                "specification": self._specification,
                "groups": dict(batch.groups),
                "values": batch.values,
                "rates": batch.rates,
                "dropped": self.dropped,
            }
            counted = hand_over(self._release.state_dir, request, seconds=seconds)
            if counted is None:
                return False
            self.dropped = 0 if counted else self.dropped + batch.size
            self._forget(batch)
        return True

    def _has_room(self) -> bool:
        if self.held >= MAX_HELD:
            self.dropped += 1
            return False
        self.held += 1
        return True

    def _next(self) -> _Batch | None:
        """What is handed over at once: values of one set of groups, or else one rate."""
        for groups, held in self._values.items():
            values: dict[str, list[float | None]] = {}
            for channel, value in held[:_AT_ONCE]:
                values.setdefault(channel, []).append(value)
            return _Batch(groups, values, {}, size=len(held[:_AT_ONCE]))
        for (groups, channel), counts in self._rates.items():
            return _Batch(groups, {}, {channel: list(counts)}, size=1)
        return None

    def _forget(self, batch: _Batch) -> None:
        self.held -= batch.size
        for channel in batch.rates:
            del self._rates[batch.groups, channel]
        if batch.values:
            left = self._values.pop(batch.groups)[batch.size :]
            if left:
                self._values[batch.groups] = left


@dataclass(frozen=True)
class _Batch:
    groups: Groups
    values: Mapping[str, list[float | None]]
    rates: Mapping[str, list[int]]
    size: int


def _key(groups: Mapping[str, str] | None) -> Groups:
    return tuple(sorted((groups or {}).items()))


def monitored(release: ActiveRelease) -> Monitored | None:
    """What the application hands over about a release; None where it is not monitored.

    Raises:
        OSError: the specification cannot be read.
        ValueError: it is none.
    """
    path = release.files.get(SPECIFICATION)
    if path is None:
        return None
    data = path.read_bytes()
    return Monitored(release, plan=read_plan(data), specification=sha256(data).hexdigest())
