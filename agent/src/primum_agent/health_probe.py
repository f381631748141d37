"""A command of the integrator that says whether a provisional release works, asked now and then.

Exit code 0 says that it does.  Anything else, silence included, says nothing yet: only the
application itself can call a release unhealthy.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.device_state import Generation
from primum_agent.leash import Leashed, start_leashed

LONGEST_PROBE = 30.0
"""Seconds after which a probe that has not ended is ended."""

_FAR = 3600.0


@dataclass(eq=False)
class HealthProbe:
    """The probe of one supervisor.

    Attributes:
        command: program and arguments; empty where the integrator has none.
        seconds: between two of them.
    """

    command: tuple[str, ...]
    seconds: float
    _running: Leashed | None = None
    _generation: int | None = None
    _due: float = 0.0
    _deadline: float = 0.0

    def watch(self, used: Generation | None, now: float) -> tuple[bool, float]:
        """Start, watch or end the probe.

        Args:
            used: the provisional generation; None while nothing has to be proven.
            now: seconds of a clock that never goes back.

        Returns:
            Whether the probe says that this generation works, and when to look again.
        """
        if not self.command:
            return False, now + _FAR
        if used is None or self._generation != used.number:
            # What an earlier generation is found to be says nothing of this one.
            self.stop()
            self._generation, self._due = None if used is None else used.number, now
        if used is None:
            return False, now + _FAR
        if self._running is not None:
            code = self._running.process.poll()
            if code is None and now < self._deadline:
                return False, self._deadline
            self.stop()
            self._due = now + self.seconds
            if code == 0:
                return True, self._due
        if now >= self._due:
            self._start(used, now)
            return False, self._deadline
        return False, self._due

    def _start(self, used: Generation, now: float) -> None:
        known = {"PRIMUM_GENERATION": str(used.number), "PRIMUM_VERSION": used.version}
        self._deadline = now + LONGEST_PROBE
        try:
            self._running = start_leashed(self.command, known=known)
        except (OSError, ValueError):
            # A probe that cannot be started proves nothing; it may be there the next time.
            self._due = self._deadline = now + self.seconds

    def stop(self) -> None:
        """End it and everything it started."""
        running, self._running = self._running, None
        if running is not None:
            running.end()
