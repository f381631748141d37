"""When a device takes deltas: the table ``[deltas]`` of ``agent.toml``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_PERCENT = 100


@dataclass(frozen=True)
class DeltaSettings:
    """When a delta is worth its work; a radio costs per byte, a processor per byte computed.

    Attributes:
        enabled: whether deltas are taken at all.
        min_saving_percent: of the whole file's bytes that a delta has to save.
        low_battery_percent: below it, and without a charger, the next number counts as well.
        min_saving_percent_low_battery: of the whole file's bytes, then, where a delta computes
            most of them.
    """

    enabled: bool = True
    min_saving_percent: int = 10
    low_battery_percent: int = 30
    min_saving_percent_low_battery: int = 50


def delta_faults(deltas: DeltaSettings) -> Iterator[tuple[str, str, str]]:
    """What of the settings cannot be: the member, what was found, and what was expected."""
    for where, value in (
        ("min_saving_percent", deltas.min_saving_percent),
        ("low_battery_percent", deltas.low_battery_percent),
        ("min_saving_percent_low_battery", deltas.min_saving_percent_low_battery),
    ):
        if not 0 <= value <= _PERCENT:
            yield where, str(value), f"0 to {_PERCENT}"
