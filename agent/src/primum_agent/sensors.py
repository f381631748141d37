"""What the device feels of itself, behind one port: memory, disk, load, battery, temperature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Readings:
    """One set of readings; None, or 0 for memory, where a sensor is absent or broken.

    Attributes:
        uptime: seconds since boot.
        load: share of the processors in use over the last minute, 1.0 is all of them.
        memory_free: bytes that can be had without swapping.
        disk_free: bytes free on the file system of the state folder.
        agent_memory: resident bytes of the supervisor.
        battery: percent.
        charging: whether a charger is connected.
        temperature: the hottest sensor, degrees Celsius.
    """

    uptime: float
    load: float
    memory_free: int
    disk_free: int | None
    agent_memory: int
    battery: float | None = None
    charging: bool | None = None
    temperature: float | None = None


class Sensors(Protocol):
    """The port."""

    def read(self) -> Readings:
        """Read everything once; never raises, a broken sensor reads None."""


@dataclass
class FakeSensors:
    """The double: reads what it was told."""

    readings: Readings = field(
        default_factory=lambda: Readings(
            uptime=60.0, load=0.1, memory_free=10**8, disk_free=10**9, agent_memory=10**7
        )
    )

    def read(self) -> Readings:
        """See :class:`Sensors`."""
        return self.readings
