"""What a person at the device is told of the monitor: how far it is, and what lasts; no counts."""

from __future__ import annotations

from typing import Any

from primum_agent.monitor_kept import kept_members

_HOUR = 3600.0


def told_monitor(text: str) -> dict[str, Any] | None:
    """How the monitor stands, as of the last five minutes; None where nothing is monitored.

    Args:
        text: as the journal keeps it.
    """
    found = kept_members(text)
    if found is None:
        return None
    return {
        "window": found["window"],
        "hours": round(found["seconds"] / _HOUR, 1),
        "cutShort": found["cutShort"],
        "alarms": list(found["memory"]["passed"]),
    }


def monitor_for_people(told: dict[str, Any]) -> str:
    """The same in one line."""
    alarms = ", ".join(told["alarms"]) or "no alarm"
    return f"window {told['window']}, {told['hours']:g} hours so far; {alarms}"
