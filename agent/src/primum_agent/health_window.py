"""The window in which a provisional generation has to prove health; opened anew at each start.

It begins when the application was told.  Where that never succeeds it is over all the same, as
long after the switch.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.device_state import DeviceState
from primum_agent.lifecycle import State

_FAR = 3600.0


@dataclass
class HealthWindow:
    """One window at a time, on a clock of seconds that never goes back."""

    _generation: int | None = None
    _ends: float | None = None
    told: bool = False

    def watch(self, state: DeviceState, now: float, *, told: bool) -> float:
        """Open, keep or close the window by the present state; when to look again at the latest.

        Args:
            state: the present state.
            now: the time.
            told: whether the application was told what is active.
        """
        used = state.in_use
        if state.lifecycle is not State.PROVISIONAL or used is None:
            self.close()
            return now + _FAR
        if self._ends is None or self._generation != used.number:
            self._generation, self._ends = used.number, now + used.health_window
            self.told = told
        elif told and not self.told:
            # Nobody could have opened it before; a second time it begins for nobody.
            self.told, self._ends = True, now + used.health_window
        return self._ends

    def is_over(self, now: float) -> bool:
        """Whether the window was open and health was not proven in it."""
        return self._ends is not None and now >= self._ends

    def close(self) -> None:
        """There is nothing to prove."""
        self._generation = self._ends = None
        self.told = False

    def seconds_left(self, now: float) -> float | None:
        """What is left of the window; None while none is open."""
        return None if self._ends is None else max(0.0, self._ends - now)
