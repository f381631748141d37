"""Whether the application was told what is active; what the disk kept from it is told soon.

The journal is written before ``standing.json``.  A disk that fails in between leaves the two
apart, and an application that goes on with what it was told last.  Nothing but an attempt writes
the file, over what it judged; here stands only when one is due for it, and that not for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.device_state import DeviceState
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.standing import read_standing

FIRST_SECONDS = 2.0
"""Before the first try; whoever wrote the journal may be about to write the file.  It doubles."""

MOST_TRIES = 8
"""Tries for one state of the device, some eight minutes in all; then the next poll tells it."""

_FAR = 3600.0
_SETTLED = {State.IDLE, State.WAITING, State.PROVISIONAL}


def is_told(layout: Layout, state: DeviceState) -> bool:
    """Whether ``standing.json`` names what is active; in safe mode, that nothing is.

    Args:
        layout: the state folder's names.
        state: the present state; while it is in the middle of something nothing is said of it.
    """
    if state.lifecycle not in _SETTLED:
        return True
    standing = read_standing(layout)
    # A stop is told before what runs is left.
    meant = None if state.stopped else state.active
    return standing is not None and standing.get("generation") == meant


@dataclass
class Untold:
    """When it is tried again, on a clock of seconds that never goes back."""

    _of: tuple[int | None, str] | None = None
    _tries: int = 0
    _next: float = 0.0

    def watch(self, state: DeviceState, now: float, *, told: bool) -> float:
        """Note whether it was told; when to look again at the latest.

        Args:
            state: the present state.
            now: the time.
            told: what :func:`is_told` says.
        """
        if told:
            self._of = None
            return now + _FAR
        of = (state.active, state.stopped)
        if self._of != of:
            self._of, self._tries, self._next = of, 0, now + FIRST_SECONDS
        return self._next if self._tries < MOST_TRIES else now + _FAR

    def is_due(self, now: float) -> bool:
        """Whether an attempt is to tell it now."""
        return self._of is not None and self._tries < MOST_TRIES and now >= self._next

    def tried(self, now: float) -> None:
        """An attempt was started for it."""
        self._tries += 1
        self._next = now + FIRST_SECONDS * 2.0**self._tries
