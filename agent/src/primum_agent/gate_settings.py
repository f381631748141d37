"""What the maker of a device says of its gates: the table ``[gates]`` of ``agent.toml``.

A gate whose table is missing does not apply, so that a device without a battery has no battery
rule.  A gate whose table is there holds for as long as its sensor gives no answer.  Clinical use,
as the application declares it over the socket, and free disk always apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_COMMAND_SECONDS = 60.0
"""The longest that a command of the integrator may take."""

MAX_DEFERRALS = 30
MAX_DEFER_HOURS = 168.0
"""A week; longer is no deferral but a refusal, which is the responsible organisation's to make."""

_MEBI = 1024 * 1024
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Probe:
    """A file or a command of the integrator that answers with one word.

    Attributes:
        file: its first word is the answer; empty for none.
        file_seconds: how old it may be and still be believed; 0 for any age.
        command: a program and its arguments, run without a shell; empty for none.
        command_seconds: how long it may take; then it is ended and has given no answer.
    """

    file: str = ""
    file_seconds: float = 300.0
    command: tuple[str, ...] = ()
    command_seconds: float = 5.0

    @property
    def is_set(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.file or self.command)


@dataclass(frozen=True)
class BatteryGate:
    """How much charge is asked for, weighed against how long the work is expected to take.

    Attributes:
        battery: the folder of the battery below ``/sys/class/power_supply``; found when empty.
        charger: the folder of the charger there; the battery's own word when empty.
        reserve_percent: what is left when the work is done.
        percent_per_hour: what the device draws while it works.
        charging_percent: enough while a charger is connected.
        charger_needed: whether a charger has to be connected.
        expected_seconds: how long the work takes, where nothing signed or learnt says it.
    """

    battery: str = ""
    charger: str = ""
    reserve_percent: float = 20.0
    percent_per_hour: float = 20.0
    charging_percent: float = 10.0
    charger_needed: bool = False
    expected_seconds: float = 600.0


@dataclass(frozen=True)
class TemperatureGate:
    """Between which temperatures, in degrees Celsius, the device works on an update.

    Attributes:
        sensor: a file in thousandths of a degree, as below ``/sys/class/thermal``; the hottest
            sensor found when empty.
    """

    most_celsius: float
    least_celsius: float = -40.0
    sensor: str = ""


@dataclass(frozen=True)
class WindowGate:
    """When a switch suits, or fetching, in local time.

    Attributes:
        zone: IANA name of the zone, such as ``Europe/Berlin``.
        spans: such as ``22:00-05:00`` or ``sat,sun 12:00-14:00``; the days are those on which a
            span begins.
    """

    zone: str
    spans: tuple[str, ...]


@dataclass(frozen=True)
class ConsentGate:
    """Whether the person who uses the device is asked, and how often they may say "later".

    Attributes:
        deferrals: how often.
        defer_hours: for how long each time, in powered hours; silence counts as "later".
        mandatory: whether it goes on holding without an answer.
        critical_hours: the time for an answer to a critical release, which cannot be deferred.
    """

    deferrals: int = 3
    defer_hours: float = 24.0
    mandatory: bool = False
    critical_hours: float = 1.0


@dataclass(frozen=True)
class GateSettings:
    """Every gate of a device.

    Attributes:
        least_free_disk_mib: free on the file system of the state folder.
        least_free_memory_mib: to be had without swapping; 0 asks for none.
        look_seconds: how soon a gate that holds is looked at again.
        told_after_days: when a release that still waits becomes a lasting trouble.
    """

    clinical_use: Probe = field(default_factory=Probe)
    battery: BatteryGate | None = None
    temperature: TemperatureGate | None = None
    window: WindowGate | None = None
    metered: Probe = field(default_factory=Probe)
    download_window: WindowGate | None = None
    consent: ConsentGate | None = None
    least_free_disk_mib: int = 4
    least_free_memory_mib: int = 0
    look_seconds: float = 300.0
    told_after_days: float = 7.0

    @property
    def least_free_disk(self) -> int:
        """In bytes."""
        return self.least_free_disk_mib * _MEBI

    @property
    def least_free_memory(self) -> int:
        """In bytes."""
        return self.least_free_memory_mib * _MEBI


def gate_faults(gates: GateSettings) -> Iterator[tuple[str, str, str]]:
    """What of the settings cannot be: the member, what was found, and what was expected."""
    for where, value, least, most in _bounds(gates):
        if not least <= value <= most:
            yield where, f"{value:g}", f"{least:g} to {most:g}"
    for where, path in _paths(gates):
        if path and not Path(path).is_absolute():
            yield where, repr(path[:80]), "an absolute path"
    heat = gates.temperature
    if heat is not None and heat.least_celsius >= heat.most_celsius:
        yield "temperature.least_celsius", f"{heat.least_celsius:g}", "less than most_celsius"


def _bounds(gates: GateSettings) -> Iterator[tuple[str, float, float, float]]:
    yield "least_free_disk_mib", gates.least_free_disk_mib, 1, 1_000_000
    yield "least_free_memory_mib", gates.least_free_memory_mib, 0, 1_000_000
    yield "look_seconds", gates.look_seconds, 1, _DAY_SECONDS
    yield "told_after_days", gates.told_after_days, 0, 365
    for name, probe in (("clinical_use", gates.clinical_use), ("metered", gates.metered)):
        yield f"{name}.file_seconds", probe.file_seconds, 0, 30 * _DAY_SECONDS
        yield f"{name}.command_seconds", probe.command_seconds, 0.1, MAX_COMMAND_SECONDS
    if gates.battery is not None:
        power = gates.battery
        yield "battery.reserve_percent", power.reserve_percent, 0, 95
        yield "battery.percent_per_hour", power.percent_per_hour, 0, 1000
        yield "battery.charging_percent", power.charging_percent, 0, 95
        yield "battery.expected_seconds", power.expected_seconds, 1, _DAY_SECONDS
    if gates.temperature is not None:
        yield "temperature.most_celsius", gates.temperature.most_celsius, -40, 150
        yield "temperature.least_celsius", gates.temperature.least_celsius, -100, 150
    if gates.consent is not None:
        yield "consent.deferrals", gates.consent.deferrals, 0, MAX_DEFERRALS
        yield "consent.defer_hours", gates.consent.defer_hours, 0.001, MAX_DEFER_HOURS
        yield "consent.critical_hours", gates.consent.critical_hours, 0.001, MAX_DEFER_HOURS


def _paths(gates: GateSettings) -> Iterator[tuple[str, str]]:
    for name, probe in (("clinical_use", gates.clinical_use), ("metered", gates.metered)):
        yield f"{name}.file", probe.file
        yield f"{name}.command", probe.command[0] if probe.command else ""
    if gates.battery is not None:
        yield "battery.battery", gates.battery.battery
        yield "battery.charger", gates.battery.charger
    if gates.temperature is not None:
        yield "temperature.sensor", gates.temperature.sensor
