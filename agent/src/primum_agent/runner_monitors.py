"""What the confined runner hands to the monitor by itself: scores of what it decides, and times.

A distribution ``output-score`` whose ``source`` is the output of the operating point gets the score
of each decision, and a latency whose ``source`` is ``runner`` how long each answer took.  What else
is signed only the application knows.  No answer waits for it: it is handed over between questions,
and briefly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from primum_agent.application import ActiveRelease
from primum_agent.deciding import Decision
from primum_agent.monitored import Monitored, monitored

LOG = logging.getLogger("primum.runner")

FLUSH_SECONDS = 30.0
"""Between two times at which what was noted is handed over."""

SOURCE = "runner"
"""The ``source`` of a latency channel that the runner measures."""

_ANSWER_SECONDS = 0.25  # an agent that is busy is asked again later
_MAX_RELEASES = 4


@dataclass(eq=False)
class RunnerMonitors:
    """What one runner notes, by release and statement."""

    _known: dict[tuple[str, str], Monitored | None] = field(default_factory=dict)
    _flushed: float = 0.0

    def note(
        self,
        release: ActiveRelease,
        decision: Decision | None,
        *,
        took_ms: float,
        cohorts: Mapping[str, str],
    ) -> None:
        """Note one answer.

        Args:
            release: what answered.
            decision: what it decided; None where it decides nothing.
            took_ms: how long the answer took.
            cohorts: what the application named.
        """
        found = self._of(release)
        if found is None:
            return
        values: dict[str, float | None] = {}
        for channel in found.plan.channels:
            if channel.kind == "latency" and channel.source == SOURCE:
                values[channel.id] = took_ms
            elif channel.measures == "output-score" and channel.source == release.output:
                values[channel.id] = None if decision is None else decision.score
        found.observe(values, groups=cohorts)

    def tend(self, now: float) -> None:
        """Hand over what was noted, where that is due."""
        if now - self._flushed >= FLUSH_SECONDS:
            self._flushed = now
            self.close()

    def close(self) -> None:
        """Hand over what was noted."""
        for found in self._known.values():
            if found is not None:
                found.flush(seconds=_ANSWER_SECONDS)

    def _of(self, release: ActiveRelease) -> Monitored | None:
        key = (release.release, release.statement)
        if key not in self._known:
            if len(self._known) == _MAX_RELEASES:
                self._known.pop(next(iter(self._known)))
            try:
                self._known[key] = monitored(release)
            except (OSError, ValueError) as error:
                LOG.warning("the monitoring specification cannot be used: %s", error)
                self._known[key] = None
        return self._known[key]
