"""The entries that more than one process writes, so that each is worded once."""

from __future__ import annotations

from dataclasses import asdict, replace

from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.lifecycle import Stimulus
from primum_verifier.core.reasons import Reason


def committed(used: Generation) -> Entry:
    """The application proved health: the generation is proven, and its floor holds."""
    return Entry(
        kind=EventKind.UPDATE_COMMITTED,
        stimulus=Stimulus.HEALTHY,
        subject=used.name,
        result="done",
        change={
            "generation": asdict(replace(used, proven=True)),
            "counterFloor": used.floor_counter,
            "forgiven": used.release,
            "candidate": None,
        },
        detail={"generation": used.number},
    )


def unhealthy(state: DeviceState, used: Generation, *, why: str, own_fault: bool) -> Entry:
    """Health was not proven: the roll-back is intended from here on.

    Args:
        state: the present state.
        used: the provisional generation.
        why: for people.
        own_fault: whether the release itself is to blame. Otherwise it is counted, and only as
            many setbacks as the release allows make it its own fault: a busy processor or a
            restart from outside must not ban a release.
    """
    change: dict[str, object] = {"setback": used.release, "candidate": None}
    if own_fault or state.setbacks.get(used.release, 0) + 1 >= used.max_attempts:
        change["fault"] = {used.release: str(Reason.STATE_HEALTH)}
    return Entry(
        kind=EventKind.UPDATE_ROLLING_BACK,
        stimulus=Stimulus.UNHEALTHY,
        subject=used.name,
        result="failed",
        reasons=(Reason.STATE_HEALTH,),
        change=change,
        detail={"why": why, "generation": used.number},
    )
