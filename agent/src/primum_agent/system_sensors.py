"""The sensors of a Linux device, as psutil finds them; apart from the port: psutil costs time.

Where the maker names a fuel gauge, a charger or a temperature sensor, that one is read and no
other: psutil finds only what carries the names of a laptop's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from primum_agent.sensors import Readings
from primum_agent.settings import Settings

Reading = TypeVar("Reading")

_MOST_BYTES = 256  # more than any attribute below /sys
_PERCENT = 100.0
_COLDEST, _HOTTEST = -100.0, 200.0  # degrees Celsius; outside of it a sensor is broken
_CHARGING = {"charging": True, "full": True, "discharging": False}


@dataclass(frozen=True)
class Sources:
    """Where the maker of the device says that its sensors are; empty: found by psutil.

    Attributes:
        battery: a folder as below ``/sys/class/power_supply``, with ``capacity`` and ``status``.
        charger: a folder there, with ``online``.
        temperature: a file in thousandths of a degree.
    """

    battery: str = ""
    charger: str = ""
    temperature: str = ""


def sources_of(settings: Settings) -> Sources:
    """Where the settings say that the sensors are."""
    power, heat = settings.gates.battery, settings.gates.temperature
    return Sources(
        battery="" if power is None else power.battery,
        charger="" if power is None else power.charger,
        temperature="" if heat is None else heat.sensor,
    )


class SystemSensors:
    """The sensors of this machine.

    Args:
        folder: the state folder, whose file system is watched.
        sources: where the maker says that they are.
    """

    def __init__(self, folder: Path, sources: Sources | None = None) -> None:
        self._folder = folder
        self._sources = sources or Sources()

    def read(self) -> Readings:
        """See :class:`Sensors`."""
        battery, charging = self._power()
        disk = _quietly(lambda: shutil.disk_usage(self._folder).free)
        load = _quietly(lambda: psutil.getloadavg()[0] / (psutil.cpu_count() or 1))
        return Readings(
            uptime=_quietly(lambda: float(Path("/proc/uptime").read_text().split()[0])) or 0.0,
            load=load or 0.0,
            memory_free=_quietly(lambda: int(psutil.virtual_memory().available)) or 0,
            disk_free=disk,
            agent_memory=_quietly(lambda: int(psutil.Process().memory_info().rss)) or 0,
            battery=battery,
            charging=charging,
            temperature=self._temperature(),
        )

    def _power(self) -> tuple[float | None, bool | None]:
        """Percent, and whether a charger is connected."""
        named = self._sources
        if named.battery:
            folder = Path(named.battery)
            percent = _number(folder / "capacity")
            charging = _CHARGING.get(_text(folder / "status").lower())
        else:
            found: Any = _quietly(psutil.sensors_battery)
            percent = None if found is None else float(found.percent)
            charging = None if found is None else found.power_plugged
        if named.charger:
            charging = {"1": True, "0": False}.get(_text(Path(named.charger) / "online"))
        return _within(percent, 0.0, _PERCENT), charging

    def _temperature(self) -> float | None:
        """Degrees Celsius: of the sensor that is named, else the hottest."""
        if self._sources.temperature:
            thousandths = _number(Path(self._sources.temperature))
            degrees = [] if thousandths is None else [thousandths / 1000.0]
        else:
            found: Any = _quietly(psutil.sensors_temperatures) or {}
            degrees = [item.current for items in found.values() for item in items if item.current]
        return max((item for item in degrees if _COLDEST <= item <= _HOTTEST), default=None)


def _within(found: float | None, least: float, most: float) -> float | None:
    """A reading that can be; a gauge that says 255 % says nothing."""
    return found if found is not None and least <= found <= most else None


def _text(path: Path) -> str:
    """The content of one attribute; empty where it cannot be read."""

    def read() -> str:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES).decode("ascii").strip()

    return _quietly(read) or ""


def _number(path: Path) -> float | None:
    """The number in one attribute; None where there is none."""
    return _quietly(lambda: float(_text(path)))


def _quietly(read: Callable[[], Reading]) -> Reading | None:
    """One reading, or None: a broken sensor must not end the supervisor."""
    try:
        return read()
    except (OSError, AttributeError, ValueError, RuntimeError, IndexError, psutil.Error):
        return None
