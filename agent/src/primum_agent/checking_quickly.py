"""``check`` where nothing can be new: a glance at the authorities, and what the last poll found.

It answers only where the supervisor would not start an attempt either
(:mod:`primum_agent.quiet`); in every other case the whole check runs.  Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primum_agent.clock import SystemClock
from primum_agent.gate_memory import gates_of
from primum_agent.glance import Glance, Seen, servers_to_ask
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.locking import is_held
from primum_agent.quiet import quiet_of
from primum_agent.settings import Settings


@dataclass(frozen=True)
class NothingNew:
    """What the last whole poll found, and still holds.

    Attributes:
        name: component and version of what runs.
        poll: when that poll ended.
        gates: every gate as it was judged then.
    """

    name: str
    poll: str
    gates: tuple[Mapping[str, Any], ...]

    @property
    def message(self) -> str:
        """The outcome in words."""
        return f"{self.name} is active already; nothing is new since the whole poll of {self.poll}"

    def as_dict(self) -> dict[str, object]:
        """The answer as JSON shows it."""
        return {
            "outcome": "current",
            "message": self.message,
            "verdict": None,
            "problems": {},
            "gates": list(self.gates),
        }


def check_quickly(*, settings: Settings, layout: Layout) -> NothingNew | None:
    """What is known, where nothing is new; None where the whole check has to look.

    Raises:
        PrimumError: the journal cannot be read.
    """
    glance = Glance(settings, client=layout.client)
    if not layout.journal.is_file() or is_held(layout.update_lock) or not glance.is_possible:
        return None
    journal = Journal.open_to_read(layout, clock=SystemClock(), device_id=settings.device_id)
    try:
        quiet, used = quiet_of(journal), journal.state().in_use
        gates = tuple(gates_of(journal).rows)
        servers = {} if quiet is None else servers_to_ask(settings, journal, quiet.newest)
    finally:
        journal.close()
    if quiet is None or used is None or any(row.get("standing") == "holds" for row in gates):
        return None
    seen = glance.look(quiet.newest, servers)
    glance.close()
    return NothingNew(used.name, quiet.poll, gates) if seen is Seen.NOTHING_NEW else None
