"""What is known of a fleet, as plain values: what ``--json`` shows and the tables are made of.

What a chain proves and what a device merely says of itself are kept apart: what runs is the newest
word of the device, ``provenTo`` is the chain's.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from primum_repo_tools.fleet.alarms import (
    MAX_SHOWN,
    alarms_of,
    heads_alone,
    split_views,
    two_digests,
)
from primum_repo_tools.fleet.database import Row, Session
from primum_repo_tools.fleet.device_rows import device_row, proven_to
from primum_repo_tools.fleet.messages import End
from primum_repo_tools.fleet.schema import AnyDatabase
from primum_repo_tools.fleet.watched import newest_window, watched_of
from primum_verifier.core.errors import PrimumError
from primum_verifier.record.chain import FIRST_PREVIOUS
from primum_verifier.record.event import parse_event
from primum_verifier.record.words import EventKind

_LOOKED_AT = 20
"""Reports of one kind that are looked through for one that says what runs."""


def fleet_status(database: AnyDatabase, *, fleet: str, now: datetime) -> dict[str, Any]:
    """Every device of a fleet, what waits in quarantine, what was refused, and all alarms."""
    with database.reading() as session:
        devices = [
            _device(session, row, now=now)
            for row in session.rows(
                "SELECT number, name, enrolled_at, last_seen, proven_to, disputed FROM devices"
                " WHERE fleet = ? ORDER BY name",
                fleet,
            )
        ]
        return {
            "fleet": fleet,
            "at": _told(now),
            "devices": devices,
            "alarms": [
                {"device": device["device"], **alarm}
                for device in devices
                for alarm in device["alarms"]
            ]
            + two_digests(session, fleet)
            + split_views(session, fleet),
            "quarantine": [
                {"device": name, "messages": count, "times": int(times), "lastAt": last, "why": why}
                for name, count, times, last, why in session.rows(
                    "SELECT name, count(*), sum(times), max(last_at), min(why) FROM quarantine"
                    " WHERE fleet = ? GROUP BY name ORDER BY name LIMIT ?",
                    fleet,
                    MAX_SHOWN,
                )
            ],
            "refused": [
                {"device": name or None, "reason": reason, "times": times, "lastAt": last,
                 "lastWhy": why}
                for name, reason, times, last, why in session.rows(
                    "SELECT name, reason, times, last_at, last_why FROM refusals"
                    " WHERE fleet = ? ORDER BY name, reason",
                    fleet,
                )
            ],
        }  # fmt: skip


def inventory(database: AnyDatabase, *, fleet: str, now: datetime) -> list[dict[str, Any]]:
    """Every device of a fleet with its newest report of health, for lists of assets."""
    with database.reading() as session:
        found = []
        for row in session.rows(
            "SELECT number, name, enrolled_at, last_seen, proven_to, disputed FROM devices"
            " WHERE fleet = ? ORDER BY name",
            fleet,
        ):
            health = _newest(session, row[0], End.HEALTH, "said_at")
            ended = session.rows(
                "SELECT 1 FROM events WHERE device = ? AND proven = 1 AND kind = ? LIMIT 1",
                row[0],
                str(EventKind.DECOMMISSION_BEGUN),
            )
            found.append(
                {
                    **_device(session, row, now=now),
                    "health": health[0]["data"] if health else {},
                    "decommissioned": bool(ended),
                }
            )
        return found


def device_view(
    database: AnyDatabase, *, fleet: str, name: str, last: int, now: datetime
) -> dict[str, Any]:
    """One device with its newest events in their order.

    Raises:
        UsageError: no device of this name is enrolled.
    """
    with database.reading() as session:
        row = device_row(session, fleet=fleet, name=name, where=database.name)
        number = row[0]
        found = _device(session, row, now=now)
        found["keys"] = [
            {"keyId": key_id, "from": since + 1, "to": until if until < 2**53 else None}
            for key_id, since, until in session.rows(
                "SELECT key_id, since, until FROM device_keys WHERE device = ? ORDER BY since",
                number,
            )
        ]
        ((found["events"],),) = session.rows("SELECT count(*) FROM events WHERE device = ?", number)
        ((found["headsNotCounting"],),) = session.rows(
            "SELECT count(*) FROM heads WHERE device = ? AND counts = 0", number
        )
        receipts = session.rows(
            "SELECT sequence, hash, issued_at, published FROM receipts WHERE device = ?"
            " ORDER BY sequence DESC LIMIT 1",
            number,
        )
        found["receipt"] = None if not receipts else {
            "sequence": receipts[0][0], "eventHash": receipts[0][1], "issuedAt": receipts[0][2],
            "published": bool(receipts[0][3]),
        }  # fmt: skip
        rows = session.rows(
            "SELECT sequence, hash, kind, joined, proven, received_at, line FROM events"
            " WHERE device = ? ORDER BY sequence DESC, hash LIMIT ?",
            number,
            last,
        )
        # What it tells otherwise than others is an alarm of the fleet, and shown with the device.
        found["alarms"] += [
            alarm
            for alarm in two_digests(session, fleet) + split_views(session, fleet)
            if any(
                place["device"] == name for group in alarm["digests"].values() for place in group
            )
        ]
        found["timeline"] = [_event(item) for item in reversed(rows)]
        found["window"] = newest_window(session, number)
        return found


def _device(session: Session, row: Row, *, now: datetime) -> dict[str, Any]:
    number, name, enrolled_at, last_seen, stored, disputed = row
    ((last, first),) = session.rows(
        "SELECT (SELECT max(sequence) FROM events WHERE device = ?),"
        " (SELECT min(sequence) FROM events WHERE device = ?)",
        number,
        number,
    )
    status = _newest(session, number, End.STATUS, "received_at")
    health = _newest(session, number, End.HEALTH, "said_at")
    runs = _what_runs(status, health)
    return {
        "device": name,
        "enrolledAt": enrolled_at,
        "lastSeen": last_seen,
        "presence": status[0]["presence"] if status else None,
        **runs,
        "eligibilityAgeSeconds": _age(runs["saidAt"], now),
        "firstEvent": first or 0,
        "lastEvent": last or 0,
        "provenTo": proven_to(stored, disputed),
        "gaps": _gaps(session, number),
        "alarms": alarms_of(session, number),
        **watched_of(session, number),
    }


def _newest(session: Session, number: int, end: End, order: str) -> list[dict[str, Any]]:
    """The newest reports of a kind, each with when it came and when it was said."""
    return [
        {**json.loads(bytes(line)), "_received": received, "_said": said or received}
        for line, received, said in session.rows(
            "SELECT line, received_at, said_at FROM reports"  # noqa: S608 - a name of ours
            f" WHERE device = ? AND kind = ? ORDER BY {order} DESC, digest DESC LIMIT ?",
            number,
            str(end),
            _LOOKED_AT,
        )
    ]


def _what_runs(status: list[dict[str, Any]], health: list[dict[str, Any]]) -> dict[str, Any]:
    """By the word of the device that came last; a device that died says no more what runs."""
    said = [item for item in status if item.get("mode") is not None][:1]
    said += [{**item["data"], **item} for item in health[:1]]
    newest = max(said, key=lambda item: item["_received"], default={})
    return {
        "component": newest.get("component"),
        "version": newest.get("version"),
        "release": newest.get("release"),
        "mode": newest.get("mode"),
        "statementNumber": newest.get("statementNumber"),
        "agentVersion": newest.get("agentVersion"),
        "saidAt": newest.get("_said"),
    }


def _age(at: str | None, now: datetime) -> int | None:
    if at is None:
        return None
    return max(0, int((now - datetime.fromisoformat(at)).total_seconds()))


def _gaps(session: Session, number: int) -> list[dict[str, Any]]:
    """Where the chain is not whole; each with whether a head vouches for what stands behind it."""
    found = []
    for sequence, previous, proven in session.rows(
        "SELECT sequence, previous, proven FROM events WHERE device = ? AND joined = 0"
        " ORDER BY sequence, hash LIMIT ?",
        number,
        MAX_SHOWN,
    ):
        ((before,),) = session.rows(
            "SELECT coalesce(max(sequence), 0) FROM events WHERE device = ? AND sequence < ?",
            number,
            sequence,
        )
        missing = sequence - before - 1
        if previous == FIRST_PREVIOUS:
            why = "the device began its journal anew"
        elif missing:
            why = f"{missing} events missing"
        else:
            why = "the digest of the event before does not agree"
        found.append({"after": before, "before": sequence, "why": why, "proven": bool(proven)})
    for sequence, _ in heads_alone(session, number):
        why = "a signed head names an event not here"
        found.append({"after": sequence - 1, "before": sequence + 1, "why": why, "proven": True})
    return found


def _event(row: Row) -> dict[str, Any]:
    sequence, digest, kind, joined, proven, received_at, line = row
    told: dict[str, Any] = {
        "sequence": sequence,
        "hash": digest,
        "kind": kind,
        "joined": bool(joined),
        "proven": bool(proven),
        "receivedAt": received_at,
    }
    try:
        event = parse_event(bytes(line), where=f"event {sequence}")
    except PrimumError as error:
        # Of a newer agent, perhaps: part of the chain, and shown as what it is.
        return {**told, "understood": False, "why": error.found}
    data = event.data
    return {
        **told,
        "understood": True,
        "time": _told(event.time),
        "clock": str(data.clock.quality),
        "subject": event.subject,
        "state": str(data.state),
        "result": None if data.result is None else str(data.result),
        "reasons": [str(reason) for reason in data.reasons],
        "release": data.active_manifest,
        "statementNumber": None if data.eligibility is None else data.eligibility.number,
    }


def _told(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
