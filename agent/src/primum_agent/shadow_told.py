"""What a person at the device is told of a release in shadow: counts, and never an output."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from primum_agent.device_state import DeviceState
from primum_agent.layout import Layout
from primum_agent.shadow_counts import raw_counts
from primum_agent.shadow_run import shadow_beside

_HOUR = 3600.0


def told_shadow(layout: Layout, state: DeviceState) -> dict[str, Any] | None:
    """How the release in shadow stands; None where there is none.

    Args:
        layout: the state folder's names.
        state: the present state.
    """
    shadow = state.shadow
    if shadow is None:
        return None
    told: dict[str, Any] = {
        "name": shadow.name,
        "release": shadow.release,
        "beside": shadow.beside,
        "mayRun": shadow_beside(layout) is not None,
        "since": "",
        "hours": 0.0,
        "comparisons": 0,
        "flips": 0,
        "unanswered": 0,
        "dropped": 0,
    }
    counts = raw_counts(layout)
    wanted = (shadow.release, shadow.begun)
    if counts is None or (counts.get("release"), counts.get("begun")) != wanted:
        return told
    # A file that somebody spoilt is no reason to show nothing of the device.
    with suppress(KeyError, TypeError, AttributeError, ValueError):
        whole = counts["whole"]["tally"]
        outcomes = {str(name): int(count) for name, count in whole["outcomes"].items()}
        comparisons = sum(outcomes.values())
        return told | {
            "since": str(counts["since"]),
            "hours": round(float(counts["whole"]["seconds"]) / _HOUR, 2),
            "comparisons": comparisons,
            "flips": comparisons - outcomes["agreed"],
            "unanswered": int(whole["unanswered"]),
            "dropped": int(whole["dropped"]),
        }
    return told


def shadow_for_people(told: dict[str, Any]) -> str:
    """The same in one line."""
    if not told["mayRun"]:
        return f"{told['name']}, does not run now"
    if not told["since"]:
        return f"{told['name']}, nothing compared yet: the runner hands it what it answers"
    return (
        f"{told['name']} since {told['since']}: {told['comparisons']} comparisons, "
        f"{told['flips']} flips, {told['dropped']} dropped"
    )
