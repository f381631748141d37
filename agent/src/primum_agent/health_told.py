"""What a report of health says besides the readings: parts, eligibility, roles, gates, results.

Everything is read from what the journal keeps anyway and from the signed manifest of what runs;
nothing is judged here, and nothing names a patient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from primum_agent.clock import ClockQuality
from primum_agent.device_state import DeviceState
from primum_agent.gate_memory import gates_of
from primum_agent.generation_files import components_of
from primum_agent.journal import Journal
from primum_agent.remembered import last_poll
from primum_agent.tested import told_tests
from primum_agent.trusted_roles import trusted_roles

_CLINICAL = "clinical"
_MOST = 100
"""Items, components and gates of one report."""

_INDICATING = frozenset({"receipt", "broker", "journal", "device key"})
"""Lasting troubles that somebody may have caused on purpose."""


def told_health(
    journal: Journal,
    state: DeviceState,
    *,
    generations: Path | None,
    now: datetime,
    quality: ClockQuality,
    counted: Mapping[str, int],
) -> dict[str, object]:
    """Members of a report.

    Args:
        journal: the open journal.
        state: the present state.
        generations: the folder with the files of each generation; None where it is not known.
        now: the wall clock.
        quality: how far it may be believed.
        counted: how often since the agent started something came that an attacker would send.
    """
    roles = trusted_roles(journal)
    accepted = roles.get(_CLINICAL, {}).get("accepted")
    folder = (
        None if generations is None or state.active is None else generations / str(state.active)
    )
    used = state.in_use
    pinned: dict[str, str] = json.loads(journal.counter("trust-map", "{}")).get("roots", {})
    return {
        "items": [] if folder is None else _items(folder),
        "components": {} if folder is None else components_of(folder),
        "eligibility": None
        if used is None
        else {
            "number": used.statement_number,
            "sha256": used.statement,
            "acceptedAt": accepted,
            "ageSeconds": _age(accepted, now=now, quality=quality),
        },
        "roles": {
            name: {"pinnedRoot": pinned.get(name), "roles": part["roles"]}
            for name, part in roles.items()
        },
        "gates": [_gate(row) for row in gates_of(journal).rows[:_MOST]],
        "lastResult": _last_result(last_poll(journal)),
        "selfTest": _self_test(told_tests(journal, used)),
        "attackIndicators": _indicators(journal, counted),
    }


def _items(folder: Path) -> list[dict[str, str]]:
    """The signed files of a generation; empty where its manifest cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        return [
            {"id": item["id"], "kind": item["kind"], "sha256": item["digest"]["sha256"]}
            for item in manifest["items"][:_MOST]
        ]
    return []


def _age(accepted: str | None, *, now: datetime, quality: ClockQuality) -> int | None:
    """Seconds since the clinical view was accepted; None without one, or without a clock."""
    if accepted is None or quality == ClockQuality.UNSET:
        return None
    return max(0, int((now - datetime.fromisoformat(accepted)).total_seconds()))


def _gate(row: Mapping[str, Any]) -> dict[str, object]:
    return {
        "gate": row.get("gate"),
        "standing": row.get("standing"),
        "since": row.get("since") or None,
    }


def _last_result(poll: Mapping[str, Any]) -> dict[str, object] | None:
    if not poll:
        return None
    return {"at": poll.get("time"), "code": poll.get("code"), "text": str(poll.get("text"))[:200]}


def _self_test(told: Mapping[str, str]) -> dict[str, str | None]:
    return {"passedAt": told["passed"] or None, "endedAt": told["ended"] or None}


def _indicators(journal: Journal, counted: Mapping[str, int]) -> dict[str, int]:
    """What may be somebody's doing, with how often; what never happened is left out."""
    found = {name: count for name, count in counted.items() if count}
    for item in journal.problems():
        if item.topic in _INDICATING:
            found[f"{item.topic}: {item.what}"[:200]] = item.times
    told: list[str] = json.loads(journal.counter("equivocations-told", "[]"))
    if told:
        found["trust.equivocation"] = len(told)
    return found
