"""What is kept of the gates between two looks, so that anybody can see them, also after a restart.

It lies in one counter of the journal.  Standard library only: supervisor and ``status`` read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from primum_agent.gate_rules import Gate
from primum_agent.journal_port import JournalPort

GATES = "gates"
"""The counter."""


@dataclass(frozen=True)
class Wait:
    """A release that waits.

    Attributes:
        release: SHA-256 of its manifest.
        name: component and version.
        since: since when.
        powered: the powered seconds then.
        told: the steps and gates that were reported for it.
        look_seconds: how soon to look again.
    """

    release: str
    name: str
    since: str
    powered: float
    told: Sequence[str] = ()
    look_seconds: float = 0.0


@dataclass(frozen=True)
class GateMemory:
    """What is kept.

    Attributes:
        judged: when the gates were judged last; empty before the first time.
        rows: the rows, as :meth:`Gate.as_dict` writes them.
        wait: the release that waits; None while none does.
    """

    judged: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    wait: Wait | None = field(default=None)

    def since(self, gate: str) -> str:
        """Since when a gate has held at every look; empty where it did not hold at the last."""
        return next((str(row["since"]) for row in self.rows if row["gate"] == gate), "")

    def with_rows(self, gates: Sequence[Gate], *, judged: str) -> GateMemory:
        """The memory after another look at all gates."""
        dated = [
            replace(item, since=self.since(item.gate) or judged) if item.holds else item
            for item in gates
        ]
        return replace(self, judged=judged, rows=[item.as_dict() for item in dated])


def remembered_gates(text: str) -> GateMemory:
    """The memory that a counter's text holds."""
    if not text:
        return GateMemory()
    content: dict[str, Any] = json.loads(text)
    wait = content.pop("wait")
    return GateMemory(**content, wait=None if wait is None else Wait(**wait))


def told_gates(memory: GateMemory) -> dict[str, object]:
    """What ``status`` tells of the gates."""
    wait = memory.wait
    return {
        "gates": list(memory.rows),
        "gatesJudged": memory.judged,
        "waiting": None
        if wait is None
        else {"release": wait.release, "name": wait.name, "since": wait.since},
    }


def gates_of(journal: JournalPort) -> GateMemory:
    """What is kept now."""
    return remembered_gates(journal.counter(GATES, ""))


def keep_gates(journal: JournalPort, memory: GateMemory) -> None:
    """Keep it instead of what was there."""
    journal.set_counters(gates=json.dumps(asdict(memory), separators=(",", ":")))
