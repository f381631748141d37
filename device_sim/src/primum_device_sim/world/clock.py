"""The world's time, and the clocks of its devices, which may lie about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from primum_agent.clock import ClockQuality


@dataclass
class WorldTime:
    """The one true time of a world.

    Attributes:
        start: when the world begins.
        seconds: seconds since then.
    """

    start: datetime
    seconds: float = 0.0

    def now(self) -> datetime:
        """The true time, whole seconds, as authorities write it."""
        return (self.start + timedelta(seconds=self.seconds)).replace(microsecond=0)


@dataclass
class DeviceClock:
    """A device's clock, behind the agent's port; it also counts what the device's work takes.

    Attributes:
        world: the true time.
        name: whose it is; the names of its boots begin with it.
        offset: seconds by which it is wrong.
        drift: by how much it goes wrong in each second.
        grade: how far it says that it may be believed.
        boots: how often the device was started.
        ahead: seconds that the device has worked since its turn began.
        busy_until: when what it did last is over.
    """

    world: WorldTime
    name: str
    offset: float = 0.0
    drift: float = 0.0
    grade: ClockQuality = ClockQuality.SYNCHRONISED
    boots: int = 0
    ahead: float = 0.0
    busy_until: float = 0.0
    _began: float = 0.0
    _booted: float = 0.0

    def begin_turn(self) -> None:
        """The world's time has come to where the device was, or further."""
        self._began, self.ahead = max(self.world.seconds, self.busy_until), 0.0

    def spend(self, seconds: float) -> None:
        """The device works or waits for so long."""
        self.ahead += seconds
        self.busy_until = self.seconds()

    def boot(self) -> None:
        """The device is started."""
        self.boots += 1
        self._booted = self.seconds()

    def seconds(self) -> float:
        """Where the device is in the world's time; what its work took is in it."""
        return self._began + self.ahead

    def now(self) -> datetime:
        """See :class:`primum_agent.clock.Clock`."""
        seconds = self.seconds()
        return self.world.start + timedelta(seconds=seconds * (1.0 + self.drift) + self.offset)

    def powered_seconds(self) -> float:
        """See :class:`primum_agent.clock.Clock`."""
        return self.seconds() - self._booted

    def boot_id(self) -> str:
        """See :class:`primum_agent.clock.Clock`."""
        return f"{self.name}-{self.boots}"

    def quality(self) -> ClockQuality:
        """See :class:`primum_agent.clock.Clock`."""
        return self.grade
