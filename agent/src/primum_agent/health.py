"""What a device says of itself: birth and death status, and the health report.

These are no provenance: they are not chained, and a lost one is replaced by the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from primum_agent.clock import ClockQuality, plain_time
from primum_agent.device_state import DeviceState
from primum_agent.drawing import fresh_id
from primum_agent.journal import AGENT_VERSION
from primum_agent.sensors import Readings

HEALTH_TYPE = "primum.device.health.reported"


def topic(fleet: str, device_id: str, end: str) -> str:
    """One of the device's topics: status, provenance, head, health, request."""
    return f"primum/{fleet}/{device_id}/{end}"


def summary_of(state: DeviceState) -> dict[str, object]:
    """What runs, in few words; shared by status, health and the commands."""
    used = state.in_use
    return {
        "mode": "safe" if used is None else used.mode,
        "state": str(state.lifecycle),
        "component": None if used is None else used.component,
        "version": None if used is None else used.version,
        "release": None if used is None else used.release,
        "statementNumber": None if used is None else used.statement_number,
        "proven": None if used is None else used.proven,
    }


def status_message(
    *,
    device_id: str,
    presence: str,
    state: DeviceState | None,
    reasons: tuple[str, ...] = (),
    word: str = "",
) -> bytes:
    """The retained status: ``online`` or ``offline``, and what runs.

    It says no time: it is sent again only when it says something else.  ``word`` is what a
    request has to repeat (:mod:`primum_agent.broker_requests`).
    """
    content: dict[str, object] = {
        "deviceId": device_id,
        "presence": presence,
        "agentVersion": AGENT_VERSION,
        "reasons": list(reasons),
    }
    if word:
        content["word"] = word
    if state is not None:
        content |= summary_of(state)
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def health_message(
    *,
    device_id: str,
    state: DeviceState,
    readings: Readings,
    now: datetime,
    quality: ClockQuality,
    waiting: int,
    restarts: int,
    problems: tuple[str, ...],
    requests: Mapping[str, int],
    told: Mapping[str, object],
    dropped: int = 0,
    sent: int = 0,
) -> bytes:
    """The health report: readings, what runs, how many events wait, which troubles last.

    ``dropped`` counts the earlier reports that made room for newer ones and were never sent;
    ``sent`` is the newest event that a broker acknowledged, ``requests`` how many were taken and
    refused since the agent started, ``told`` is what
    :func:`primum_agent.health_told.told_health` says.
    """
    content = {
        "specversion": "1.0",
        "id": f"urn:uuid:{fresh_id()}",
        "source": f"urn:primum:device:{device_id}",
        "type": HEALTH_TYPE,
        "time": plain_time(now),
        "datacontenttype": "application/json",
        "data": {
            **summary_of(state),
            "agentVersion": AGENT_VERSION,
            "clock": {"quality": str(quality)},
            "readings": asdict(readings),
            "eventsWaiting": waiting,
            "bootCount": restarts,
            "reportsDropped": dropped,
            "lastSent": sent,
            "requests": dict(requests),
            "problems": list(problems),
            **told,
        },
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
