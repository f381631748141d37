"""What the device remembers against a release, and of its last poll, in words for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primum_agent.device_state import DeviceState
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.journal_port import JournalPort
from primum_agent.transitions import GAVE_UP, Unproven, unproven_because
from primum_verifier.core.reasons import Reason

_OF_COMPONENTS = {Reason.STATE_COMPONENT, Reason.STATE_ASKED_LATER}
_FORGIVEN = {Reason.STATE_HEALTH, *_OF_COMPONENTS}
"""Faults that say more of the device than of the bytes: a later signed plan clears them."""


@dataclass(frozen=True)
class Memory:
    """One release that is not tried at every poll.

    Attributes:
        release: SHA-256 of its manifest.
        name: component and version.
        reason: its reason code.
        text: what is remembered, for people.
        final: whether it is not tried again by itself; otherwise it is, later.
        retry: whether ``primum-agent retry`` clears it.
    """

    release: str
    name: str
    reason: str
    text: str
    final: bool
    retry: bool


def memories(journal: Journal) -> list[Memory]:
    """Everything that is remembered against releases."""
    state = journal.state()
    names = {str(item["release"]): str(item["name"]) for item in journal.verdicts()}
    names |= {item.release: item.name for item in state.generations}
    known = dict.fromkeys((*state.faults, *state.unproven))
    return [_memory(state, release, names.get(release, release[:16])) for release in known]


def _memory(state: DeviceState, release: str, name: str) -> Memory:
    fault = state.faults.get(release)
    if fault is None:
        return _waits(state, release, name)
    if fault == Reason.STATE_SET_ASIDE:
        text = "set aside on this device by a person; the plan does not bring it back"
        return Memory(release=release, name=name, reason=fault, text=text, final=True, retry=True)
    if fault in _OF_COMPONENTS:
        text = "gave up: a component of it does not come into effect here"
        return Memory(release=release, name=name, reason=fault, text=text, final=True, retry=True)
    if fault != Reason.STATE_HEALTH:
        text = f"failed here by its own fault: {fault}; it is not tried again"
        return Memory(release=release, name=name, reason=fault, text=text, final=True, retry=False)
    concluded = state.conclusions.get(release, "")
    if concluded.startswith(GAVE_UP):
        text = f"{concluded}: health was not proven; was the application running?"
    else:
        count = max(state.setbacks.get(release, 0), 1)
        attempts = f"{count} {'attempt' if count == 1 else 'attempts'}"
        text = f"{GAVE_UP}{attempts}: health was not proven, or the application called it unhealthy"
    return Memory(
        release=release,
        name=name,
        reason=fault,
        text=text,
        final=True,
        retry=True,
    )


_FIRST = {
    Unproven.NOT_OPENED: ": start the application first",
    Unproven.NOT_TOLD: ": `primum-agent doctor` looks at the disk",
    Unproven.NOT_REACHED: ": look at the network first",
    Unproven.NOT_BROUGHT: ": `primum-agent doctor` looks for what the device lacks",
}


def _waits(state: DeviceState, release: str, name: str) -> Memory:
    """A release that nobody could prove, with what stood in the way and what to do about it."""
    postponed = state.unproven[release]
    times, why = int(postponed["times"]), postponed.get("why")
    tried = "once" if times == 1 else f"{times} times"
    found = why_unproven(postponed)
    first = _FIRST[Unproven(why)] if why in _FIRST else ""
    return Memory(
        release=release,
        name=name,
        reason=reason_unproven(postponed),
        text=f"tried {tried}: {found}; it is tried again at a later poll{first}",
        final=False,
        retry=True,
    )


def why_unproven(postponed: Mapping[str, Any]) -> str:
    """Why a release waits that nobody could prove, in words.

    Args:
        postponed: what the state remembers of it.
    """
    found = unproven_because(postponed.get("why"))
    if postponed.get("why") == Unproven.NOT_BROUGHT:
        return found
    return f"health was not proven, {found}" if found else "health was not proven"


def reason_unproven(postponed: Mapping[str, Any]) -> str:
    """The reason code of the same."""
    brought = postponed.get("why") != Unproven.NOT_BROUGHT
    return str(Reason.STATE_HEALTH if brought else Reason.STATE_COMPONENT)


def forgive_by_plan(journal: JournalPort, *, release: str, name: str, number: int) -> None:
    """Forget that a release was not proven in use, once a later signed plan gives it again.

    A failed self-test stays: the same bytes compute the same here.  So does what a person set
    aside: engineering does not overrule the bedside.

    Args:
        journal: the open journal.
        release: what the plan gives this device.
        name: its component and version.
        number: the number of the signed plan.
    """
    seen = int(journal.counter("plan-number", "0"))
    if number <= seen:
        return
    state = journal.state()
    fault = state.faults.get(release)
    not_proven = fault in _FORGIVEN or release in state.unproven
    if seen and not_proven:
        journal.record(
            Entry(
                kind=EventKind.UPDATE_FORGIVEN,
                subject=name,
                result="accepted",
                reasons=(fault or Reason.STATE_HEALTH,),
                change={"forgiven": release},
                detail={"by": f"rollout plan {number}"},
            )
        )
    journal.set_counters(plan_number=str(number))


def keep_last_poll(journal: JournalPort, *, time: str, name: str, text: str, code: int) -> None:
    """Keep what a poll came to, also where nothing was reported because it was known already.

    Args:
        journal: the open journal.
        time: when it ended.
        name: component and version of the release that the plan gives; empty without one.
        text: a word such as ``refused``, a colon, and reason codes.
        code: the attempt's exit code.
    """
    content = {"time": time, "name": name, "text": text, "code": code}
    journal.set_counters(last_poll=json.dumps(content, separators=(",", ":")))


def last_poll(journal: JournalPort) -> Mapping[str, Any]:
    """What :func:`keep_last_poll` kept; empty before the first poll."""
    content: dict[str, Any] = json.loads(journal.counter("last-poll", "{}"))
    return content
