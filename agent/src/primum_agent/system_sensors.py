"""The sensors of a Linux device, as psutil finds them; apart from the port: psutil costs time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from primum_agent.sensors import Readings

Reading = TypeVar("Reading")


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
