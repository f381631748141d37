"""The entries that more than one process writes, so that each is worded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import StrEnum

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

GAVE_UP = "gave up after "
"""How the conclusion about a release begins that an application opened and did not prove."""

_DOUBLINGS = 16


class Unproven(StrEnum):
    """Why nobody could prove a release, which is held against nobody."""

    NOT_OPENED = "not-opened"
    """No application opened it."""

    NOT_TOLD = "not-told"
    """The disk kept the application from being told of it."""

    NOT_REACHED = "not-reached"
    """It was said to work, and the repositories were not reached with it."""

    NOT_BROUGHT = "not-brought"
    """The device did not bring its components into effect."""


_WORDS = {
    Unproven.NOT_OPENED: "no application opened it",
    Unproven.NOT_TOLD: "the disk kept the application from being told of it",
    Unproven.NOT_REACHED: "the repositories were not reached with it",
    Unproven.NOT_BROUGHT: "the device did not bring its components into effect",
}


def unproven_because(why: str | None) -> str:
    """Why nobody could prove a release, in words; empty where it is not known.

    Args:
        why: what is remembered; an agent one version back or ahead may have written another word.
    """
    return {str(known): words for known, words in _WORDS.items()}.get(why or "", "")


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


def not_proven(
    journal: JournalPort, used: Generation, *, why: str, poll_seconds: float, told: bool
) -> Entry:
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
        told: whether the application was told of it.
    """
    state = journal.state()
    change: dict[str, object]
    number = str(used.number)
    said = journal.counter(HEALTH_SAID, "") == number
    if journal.counter(OPENED, "") == number and not said:
        change = {"setback": used.release}
        count = state.setbacks.get(used.release, 0) + 1
        if count >= used.max_attempts:
            change["fault"] = {used.release: str(Reason.STATE_HEALTH)}
            # Said now: once its files are collected nobody knows its bound any more.
            after = f"{GAVE_UP}{count} of {used.max_attempts} attempts"
            change["conclusion"] = {used.release: after}
        return _rolling_back(used, why=why, change=change)
    found = Unproven.NOT_OPENED if told else Unproven.NOT_TOLD
    if said:
        found = Unproven.NOT_REACHED
    change = tried_again_later(journal, used.release, poll_seconds=poll_seconds, why=found)
    return _rolling_back(used, why=f"{why}; {unproven_because(found)}", change=change)


def tried_again_later(
    journal: JournalPort, release: str, *, poll_seconds: float, why: Unproven
) -> dict[str, object]:
    """What is remembered of a release that nobody could prove: it waits, longer each time.

    Args:
        journal: knows how often it was before.
        release: SHA-256 of its manifest.
        poll_seconds: the device's poll period; the second delay is one of it, the first none.
        why: what stood in the way, for whoever asks why it waits.
    """
    times = int(journal.state().unproven.get(release, {}).get("times", 0)) + 1
    periods = 2.0 ** min(times - 1, _DOUBLINGS) - 1.0
    after = journal.powered_total() + min(periods * poll_seconds, LONGEST_BACK_OFF)
    postponed = {"times": times, "notBefore": round(after, 3), "why": str(why)}
    return {"unproven": {release: postponed}}


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
