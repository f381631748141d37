"""What the maker of a device says of the self-test of what runs: the table ``[self_test]``.

Standard library only, for the supervisor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LEAVE, REPORT = "leave", "report"

LEAST_HOURS = 1.0 / 3600.0
MOST_HOURS = 8760.0
MOST_PROBE_SECONDS = 60.0

_HOUR = 3600.0


@dataclass(frozen=True)
class SelfTestSettings:
    """When the active release is tested again, and what follows where it fails.

    Attributes:
        at_start: once after each start of the device.
        every_hours: of powered time; 0 for never between two starts.
        on_failure: ``leave`` it as what is damaged is left, or ``report`` only.
        alarm_probe: a program that ends with 0 where the alarm path works; empty for none.
        display_probe: a program that prints what the device shows of version, UDI-DI and
            instructions; empty for none.
        probe_seconds: within which each of them ends.
    """

    at_start: bool = True
    every_hours: float = 24.0
    on_failure: str = LEAVE
    alarm_probe: tuple[str, ...] = ()
    display_probe: tuple[str, ...] = ()
    probe_seconds: float = 10.0

    @property
    def period(self) -> float | None:
        """Seconds between two; None for none."""
        return self.every_hours * _HOUR if self.every_hours else None


def self_test_faults(settings: SelfTestSettings) -> Iterator[tuple[str, str, str]]:
    """What of the settings cannot be: the member, what was found, and what was expected."""
    hours = settings.every_hours
    if hours and not LEAST_HOURS <= hours <= MOST_HOURS:
        yield "every_hours", f"{hours:g}", f"0 for never, or {LEAST_HOURS:.5f} to {MOST_HOURS:g}"
    if settings.on_failure not in {LEAVE, REPORT}:
        yield "on_failure", repr(settings.on_failure[:80]), f"{LEAVE} or {REPORT}"
    probes = {"alarm_probe": settings.alarm_probe, "display_probe": settings.display_probe}
    for name, command in probes.items():
        if command and not command[0].startswith("/"):
            yield name, repr(command[0][:80]), "the absolute path of a program"
    if not 0.1 <= settings.probe_seconds <= MOST_PROBE_SECONDS:  # noqa: PLR2004 - said right here
        yield "probe_seconds", f"{settings.probe_seconds:g}", f"0.1 to {MOST_PROBE_SECONDS:g}"
