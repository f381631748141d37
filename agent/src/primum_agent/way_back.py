"""The end of a way back that does not work: tried a few times, and then left out.

A device that went on trying for ever could not take the release that would mend it.  So a
generation whose components do not come back is no way back any more; the next older one is, and at
last safe mode, where nothing is touched, the application reads that no model may be used, and
releases are taken again.
"""

from __future__ import annotations

import json

from primum_agent.components_record import in_effect
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.journal_port import JournalPort

MOST_TRIES = 8
"""Attempts at bringing back one generation; the pauses between them double, some minutes in all."""

_TRIES = "components-back"
_LOST = "components-lost"


def count_try(journal: JournalPort, number: int) -> None:
    """The components of a generation did not come back."""
    journal.set_counters(
        components_back=json.dumps({**_tries(journal), str(number): _of(journal, number) + 1})
    )


def came_back(journal: JournalPort) -> None:
    """Components came into effect: what was counted on the way is over."""
    if _tries(journal) or journal.counter(_LOST, ""):
        journal.set_counters(components_back="", components_lost="")


def is_given_up(journal: JournalPort, number: int) -> bool:
    """Whether the components of a generation were tried to be brought back often enough."""
    return _of(journal, number) >= MOST_TRIES


def lose(journal: JournalPort, number: int) -> None:
    """The generation that is active is not in effect, and nobody can bring it there."""
    journal.set_counters(components_lost=str(number))


def is_lost(journal: JournalPort) -> bool:
    """Whether what is active is not in effect, and cannot be brought there."""
    used = journal.state().in_use
    return used is not None and journal.counter(_LOST, "") == str(used.number)


def out_of_effect(device: Device, used: Generation) -> tuple[str, ...]:
    """The components of what is active that are not in effect any more; empty where all are."""
    if device.journal.counter(_LOST, "") == str(used.number):
        return ("what was to be brought back",)
    return device.installer.not_in_effect(used.number)


def obstacle_on_the_way(device: Device, held: Generation) -> str:
    """Why the components of a generation cannot come back; empty where they can."""
    if is_given_up(device.journal, held.number):
        return f"its components did not come back into effect, {MOST_TRIES} times"
    return device.installer.no_way_back(
        held.number,
        since=device.journal.state().active,
        known=in_effect(device.journal),
    )


def _of(journal: JournalPort, number: int) -> int:
    return int(_tries(journal).get(str(number), 0))


def _tries(journal: JournalPort) -> dict[str, int]:
    found: dict[str, int] = json.loads(journal.counter(_TRIES, "") or "{}")
    return found
