"""A release that is taken away while an episode runs: until when the episode may be finished.

Taking a function away in the middle of an episode can harm more than finishing it, so the signed
order says which it is.  An attempt notes what waits; the supervisor, which knows of the end of
the episode first, starts the attempt that acts.  Standard library only, for the supervisor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from primum_agent.journal_port import JournalPort

ENDING = "ending"
"""The counter that holds what waits, as JSON; empty while nothing does."""

_FAR = 3600.0


@dataclass(frozen=True)
class Waiting:
    """What waits for the end of an episode.

    Attributes:
        generation: the generation that is to be left.
        since: powered seconds at which it began to wait.
        max_use_seconds: how long it may wait, None: to the end of the episode.
    """

    generation: int
    since: float
    max_use_seconds: int | None

    def seconds_left(self, powered: float) -> float | None:
        """What is left of the wait; None where nothing bounds it."""
        if self.max_use_seconds is None:
            return None
        return max(0.0, self.since + self.max_use_seconds - powered)


def waiting(journal: JournalPort) -> Waiting | None:
    """What waits now; None while nothing does."""
    text = journal.counter(ENDING, "")
    return Waiting(**json.loads(text)) if text else None


def wait_on(journal: JournalPort, generation: int, *, max_use_seconds: int | None) -> Waiting:
    """Note that a generation waits; asked again it goes on waiting from when it began.

    A bound that a later order shortens counts at once.
    """
    powered, before = journal.powered_total(), waiting(journal)
    since = before.since if before is not None and before.generation == generation else powered
    noted = Waiting(generation, since, max_use_seconds)
    if noted != before:
        content = {"generation": generation, "since": since, "max_use_seconds": max_use_seconds}
        journal.set_counters(ending=json.dumps(content))
    return noted


def forget(journal: JournalPort) -> None:
    """Nothing waits any more."""
    if journal.counter(ENDING, ""):
        journal.set_counters(ending="")


@dataclass
class EpisodeWatch:
    """The supervisor's side: when the attempt is due that takes the release away.

    One attempt for one end: an attempt that could not act is not started over and over.

    Attributes:
        look_seconds: how often an attempt asks anew where a file or a command of the integrator
            may know of an episode; None where only the socket does.
    """

    look_seconds: float | None = None
    _seen: Waiting | None = None
    _ends: float | None = None
    _acted: bool = False
    _again: float = 0.0

    def watch(self, journal: JournalPort, now: float) -> float:
        """Take note of what waits; when to look again at the latest."""
        found = waiting(journal)
        if found != self._seen:
            self._seen, self._acted, self._ends = found, False, None
            left = None if found is None else found.seconds_left(journal.powered_total())
            self._ends = None if left is None else now + left
        if self._acted:
            if found is None or self.look_seconds is None:
                return now + _FAR
            if now < self._again:
                return self._again
            self._acted = False
        return now + _FAR if self._ends is None else self._ends

    def is_due(self, *, episodes: int, now: float) -> bool:
        """Whether the release is to be taken away now; said once for each end of an episode."""
        bound_reached = self._ends is not None and now >= self._ends
        if episodes and not bound_reached:
            # An application that began another one after all: its end counts like the first.
            self._acted = False
            return False
        if self._seen is None or self._acted:
            return False
        self._acted, self._again = True, now + (self.look_seconds or 0.0)
        return True
