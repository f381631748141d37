"""Overrides: a person lets one gate be passed for some hours, with a reason, and it is reported.

An override opens the gate that it names and no other.  It is bounded by powered hours and, where
the clock may be believed, by the clock, whichever ends first.  It touches nothing that is signed:
eligibility, self-test and clinical use are judged as ever.  Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from primum_agent.clock import Clock, believed, plain_time
from primum_agent.events import Entry, EventKind
from primum_agent.gate_rules import OVERRIDABLE, GateId
from primum_agent.journal_port import JournalPort
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason

MAX_OVERRIDE_HOURS = 72.0
"""Three days: who needs longer mends the sensor or the settings."""

OVERRIDES = "gate-overrides"
"""The counter that holds them, as JSON by gate."""

_HOUR = 3600.0


@dataclass(frozen=True)
class Override:
    """One gate, passed for a while.

    Attributes:
        gate: which one.
        by: who said so.
        why: the reason.
        until_powered: powered seconds of the device at which it ends.
        until: when it ends by the clock; empty where the clock could not be believed.
    """

    gate: str
    by: str
    why: str
    until_powered: float
    until: str = ""

    def stands(self, *, powered: float, now: datetime | None) -> bool:
        """Whether it has not lapsed.

        Args:
            powered: powered seconds of the device in all.
            now: the clock where it may be believed.
        """
        if powered >= self.until_powered:
            return False
        return not self.until or now is None or now < datetime.fromisoformat(self.until)


def read_overrides(
    journal: JournalPort, *, powered: float, now: datetime | None
) -> Mapping[GateId, Override]:
    """Those that stand now, by gate."""
    known = (Override(**item) for item in json.loads(journal.counter(OVERRIDES, "[]")))
    return {GateId(item.gate): item for item in known if item.stands(powered=powered, now=now)}


def give_override(
    journal: JournalPort, clock: Clock, *, gate: str, by: str, why: str, hours: float
) -> Override:
    """Let a gate be passed for some hours; it is an event in the journal.

    Args:
        journal: the open journal.
        clock: the clock port.
        gate: the id of the gate.
        by: who.
        why: the reason.
        hours: for how long, up to :data:`MAX_OVERRIDE_HOURS`; 0 ends one that stands.

    Raises:
        RefusedError: ``safety.in-use`` or ``safety.operator``: this gate cannot be overridden.
        UsageError: there is no such gate, or the hours are out of bounds.
    """
    _check(gate, hours)
    powered, now = journal.powered_total(), believed(clock)
    until = "" if now is None else plain_time(now + timedelta(hours=hours))
    given = Override(gate, by, why, powered + hours * _HOUR, until)
    others = read_overrides(journal, powered=powered, now=now)
    kept = [asdict(item) for item in others.values() if item.gate != gate]
    # First the report, then the effect: no gate is passed that nobody answers for.
    journal.record(
        Entry(
            kind=EventKind.UPDATE_AGREED,
            result="accepted",
            detail={
                "override": gate,
                "by": by,
                "why": why,
                "hours": hours,
                "until": until,
                "untilPoweredSeconds": round(given.until_powered, 1),
            },
        )
    )
    journal.set_counters(gate_overrides=json.dumps([*kept, *([asdict(given)] if hours else [])]))
    return given


def _check(gate: str, hours: float) -> None:
    known = [str(item) for item in sorted(OVERRIDABLE)]
    if gate in set(GateId) and gate not in known:
        in_use = gate == GateId.CLINICAL_USE
        raise RefusedError(
            "This gate cannot be overridden.",
            reason=Reason.SAFETY_IN_USE if in_use else Reason.SAFETY_OPERATOR,
            where=gate,
            expected=", ".join(known),
            remedy="Wait for the end of clinical use; a file or command that gives no answer is "
            "mended, or taken out of agent.toml."
            if in_use
            else "Ask the person: `primum-agent consent`.",
        )
    if gate not in known:
        raise UsageError(
            "There is no such gate.",
            reason=Reason.USAGE,
            found=repr(gate[:80]),
            expected=", ".join(known),
            remedy="`primum-agent status` lists the gates.",
        )
    if not 0 <= hours <= MAX_OVERRIDE_HOURS:
        raise UsageError(
            "An override is bounded.",
            reason=Reason.USAGE,
            where="--hours",
            found=f"{hours:g}",
            expected=f"0 to {MAX_OVERRIDE_HOURS:g}",
        )
