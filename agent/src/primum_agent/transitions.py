"""The entries that more than one process writes, so that each is worded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_agent.lifecycle import Stimulus
from primum_agent.timing import LONGEST_BACK_OFF
from primum_verifier.core.reasons import Reason

OPENED = "opened-generation"
"""The counter that holds the provisional generation which an application opened last."""

HEALTH_SAID = "health-said"
"""The counter that holds the provisional generation that was said to work."""

BEGUN_AFTER = "begun-after"
"""The counter that says how the supervisor before this one ended."""

PLANNED_STOP = "stopped"
"""It said goodbye; anything else was a cut."""

UNCONFIRMED = "components-unconfirmed"
"""The counter that holds the generation whose components are to be told that it is proven."""

_DOUBLINGS = 16


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


def unhealthy(used: Generation, *, why: str) -> Entry:
    """The application itself says that it cannot work with the release: the release's own fault.

    Args:
        used: the provisional generation.
        why: for people.
    """
    return _rolling_back(
        used,
        why=why,
        change={"setback": used.release, "fault": {used.release: str(Reason.STATE_HEALTH)}},
    )


def not_proven(journal: JournalPort, used: Generation, *, why: str, poll_seconds: float) -> Entry:
    """Health was not proven in time: the roll-back is intended from here on.

    Where it was said to work, only the repositories were not reached with it: that is nobody's
    fault, and it is tried again later.
    Where an application had opened the generation it is counted against the release, and only as
    many setbacks as the release allows make it its own fault: a busy processor or a restart from
    outside must not ban a release.  Where none had, nobody could prove anything: it is tried again
    later, after a delay that doubles, and never held against the release.

    Args:
        journal: knows the state, and whether an application opened the generation.
        used: the provisional generation.
        why: for people.
        poll_seconds: the device's poll period; the second delay is one of it, the first none.
    """
    state = journal.state()
    change: dict[str, object]
    number = str(used.number)
    said = journal.counter(HEALTH_SAID, "") == number
    if journal.counter(OPENED, "") == number and not said:
        change = {"setback": used.release}
        if state.setbacks.get(used.release, 0) + 1 >= used.max_attempts:
            change["fault"] = {used.release: str(Reason.STATE_HEALTH)}
        return _rolling_back(used, why=why, change=change)
    change = tried_again_later(journal, used.release, poll_seconds=poll_seconds)
    found = "the repositories were not reached with it" if said else "no application opened it"
    why = f"{why}; {found}"
    return _rolling_back(used, why=why, change=change)


def tried_again_later(
    journal: JournalPort, release: str, *, poll_seconds: float
) -> dict[str, object]:
    """What is remembered of a release that nobody could prove: it waits, longer each time.

    Args:
        journal: knows how often it was before.
        release: SHA-256 of its manifest.
        poll_seconds: the device's poll period; the second delay is one of it, the first none.
    """
    times = int(journal.state().unproven.get(release, {}).get("times", 0)) + 1
    periods = 2.0 ** min(times - 1, _DOUBLINGS) - 1.0
    after = journal.powered_total() + min(periods * poll_seconds, LONGEST_BACK_OFF)
    return {"unproven": {release: {"times": times, "notBefore": round(after, 3)}}}


def _rolling_back(used: Generation, *, why: str, change: Mapping[str, object]) -> Entry:
    return Entry(
        kind=EventKind.UPDATE_ROLLING_BACK,
        stimulus=Stimulus.UNHEALTHY,
        subject=used.name,
        result="failed",
        reasons=(Reason.STATE_HEALTH,),
        change={"candidate": None, **change},
        detail={"why": why, "generation": used.number},
    )


def is_unconfirmed(journal: JournalPort) -> bool:
    """Whether components wait to be told that what runs is proven."""
    used = journal.state().in_use
    return used is not None and used.proven and bool(journal.counter(UNCONFIRMED, ""))
