"""What the device feels of itself, behind one port: memory, disk, load, battery, temperature."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil

Reading = TypeVar("Reading")


@dataclass(frozen=True, kw_only=True)
class Readings:
    """One set of readings; None where the device has no such sensor.

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


class SystemSensors:
    """The sensors that psutil finds.

    Args:
        folder: the state folder, whose file system is watched.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Readings:
        """See :class:`Sensors`."""
        battery: Any = _quietly(psutil.sensors_battery)
        found: Any = _quietly(psutil.sensors_temperatures) or {}
        degrees = [item.current for items in found.values() for item in items if item.current]
        disk = _quietly(lambda: shutil.disk_usage(self._folder).free)
        return Readings(
            uptime=float(Path("/proc/uptime").read_text().split()[0]),
            load=psutil.getloadavg()[0] / (psutil.cpu_count() or 1),
            memory_free=psutil.virtual_memory().available,
            disk_free=disk,
            agent_memory=psutil.Process().memory_info().rss,
            battery=None if battery is None else float(battery.percent),
            charging=None if battery is None else battery.power_plugged,
            temperature=max(degrees, default=None),
        )


def _quietly(read: Callable[[], Reading]) -> Reading | None:
    """One reading, or None: a broken sensor must not end the supervisor."""
    try:
        return read()
    except (OSError, AttributeError, ValueError, RuntimeError):
        return None


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
