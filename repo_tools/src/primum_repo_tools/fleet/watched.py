"""What monitors and people say of a device: alarms that last, the newest window, remarks.

Alarms and remarks are events of the chain, each with whether a head vouches for it; a window is the
device's word.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from primum_repo_tools.fleet.alarms import MAX_SHOWN
from primum_repo_tools.fleet.database import Session
from primum_repo_tools.fleet.messages import End
from primum_verifier.core.errors import PrimumError
from primum_verifier.record.event import ProvenanceEvent, parse_event
from primum_verifier.record.words import EventKind

_LOOKED_AT = 20  # windows that are looked through for the newest
_SAID = (
    "SELECT sequence, hash, proven, line FROM events WHERE device = ? AND kind IN"
    " ('primum.device.monitor.alarmed', 'primum.device.monitor.quiet',"
    " 'primum.device.feedback.given') ORDER BY sequence DESC, hash LIMIT ?"
)


def watched_of(session: Session, number: int) -> dict[str, Any]:
    """Alarms that last, and remarks, the newest first.

    Args:
        session: a transaction.
        number: the device's.
    """
    drift: list[dict[str, Any]] = []
    remarks: list[dict[str, Any]] = []
    judged: set[tuple[str, str]] = set()
    for sequence, digest, proven, line in session.rows(_SAID, number, MAX_SHOWN):
        # Of a newer agent, perhaps: part of the chain, and nothing is concluded from it here.
        with suppress(PrimumError):
            event = parse_event(bytes(line), where=f"event {sequence}")
            told = {"event": sequence, "hash": digest, "proven": bool(proven), **_when(event)}
            if event.data.feedback is not None:
                said = event.data.feedback.model_dump(mode="json", by_alias=True)
                remarks.append({**told, **said, **_in_use(event)})
            found = event.data.monitor
            if found is None or (found.release, found.alarm) in judged:
                continue
            # The newest word on an alarm counts.
            judged.add((found.release, found.alarm))
            if event.type == EventKind.MONITOR_ALARMED:
                drift.append({**told, **found.model_dump(mode="json", by_alias=True)})
    return {"drift": drift, "remarks": remarks}


def newest_window(session: Session, number: int) -> dict[str, Any] | None:
    """The newest window of the device's monitor, by its own word."""
    rows = session.rows(
        "SELECT line, received_at FROM reports WHERE device = ? AND kind = ?"
        " ORDER BY received_at DESC LIMIT ?",
        number,
        str(End.MONITOR),
        _LOOKED_AT,
    )
    windows = [(received, json.loads(bytes(line))) for line, received in rows]
    if not windows:
        return None
    # Several may have come at once, after a long time without a broker.
    received, content = max(windows, key=lambda one: (one[0], one[1]["data"]["window"]))
    return {"receivedAt": received, "day": content["time"][:10], **content["data"]}


def _when(event: ProvenanceEvent) -> dict[str, str]:
    return {"time": event.time.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _in_use(event: ProvenanceEvent) -> dict[str, Any]:
    data = event.data
    number = None if data.eligibility is None else data.eligibility.number
    return {"release": data.active_manifest, "statementNumber": number}
