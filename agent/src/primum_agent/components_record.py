"""What of every component is in effect on this device, kept in the journal step by step.

It is noted before a component is touched and again once it is in effect, so that a cut, a restart
or a way back goes on from what is so, and not from what two releases have in common.  It outlasts
safe mode, and a release that is no longer active.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from primum_agent.components import Part
from primum_agent.journal_port import JournalPort

IN_EFFECT = "components-in-effect"
"""The counter."""


@dataclass(frozen=True)
class InEffect:
    """One component.

    Attributes:
        generation: the generation whose files it came into effect from.
        identity: equal for two parts with the same bytes.
        whole: whether it came into effect; otherwise it was touched, and nobody knows.
    """

    generation: int
    identity: str
    whole: bool


def in_effect(journal: JournalPort) -> dict[str, InEffect]:
    """What is known, by the names of the components."""
    found: Mapping[str, Mapping[str, object]] = json.loads(journal.counter(IN_EFFECT, "") or "{}")
    return {
        name: InEffect(
            generation=int(str(item["generation"])),
            identity=str(item["identity"]),
            whole=bool(item["whole"]),
        )
        for name, item in found.items()
    }


def kept_generations(journal: JournalPort) -> set[int]:
    """The generations whose files something still runs from, or was handed."""
    return {item.generation for item in in_effect(journal).values()}


def note_touched(journal: JournalPort, part: Part) -> None:
    """It is about to be brought into effect, or out of it."""
    _note(journal, part.id, InEffect(part.generation, part.identity, whole=False))


def note_in_effect(journal: JournalPort, part: Part) -> None:
    """It is in effect."""
    _note(journal, part.id, InEffect(part.generation, part.identity, whole=True))


def note_left(journal: JournalPort, part: Part) -> None:
    """It is out of effect."""
    _note(journal, part.id, None)


def _note(journal: JournalPort, name: str, item: InEffect | None) -> None:
    known = in_effect(journal)
    known.pop(name, None)
    if item is not None:
        known[name] = item
    content = {name: asdict(one) for name, one in known.items()}
    journal.set_counters(components_in_effect=json.dumps(content) if content else "")
