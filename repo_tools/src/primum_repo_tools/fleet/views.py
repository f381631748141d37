"""What is known of a fleet, as plain values: what ``--json`` shows and the tables are made of.

What a chain proves and what a device merely says of itself are kept apart: what runs is the newest
word of the device, ``provenTo`` is the chain's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from primum_repo_tools.fleet.contradictions import Kind
from primum_repo_tools.fleet.database import Row, Session
from primum_repo_tools.fleet.messages import End
from primum_repo_tools.fleet.schema import AnyDatabase
from primum_verifier.core.errors import PrimumError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.chain import FIRST_PREVIOUS
from primum_verifier.record.event import parse_event

MAX_SHOWN = 1000
"""Quarantined senders and open gaps that one answer lists."""

_LOOKED_AT = 20
"""Reports of one kind that are looked through for one that says what runs."""

_EQUIVOCATION = "trust.equivocation"


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
            + _two_digests(session, fleet),
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
        found["timeline"] = [_event(item) for item in reversed(rows)]
        return found


def device_row(session: Session, *, fleet: str, name: str, where: str) -> Row:
    """The row of a device.

    Raises:
        UsageError: no device of this name is enrolled.
    """
    rows = session.rows(
        "SELECT number, name, enrolled_at, last_seen, proven_to, disputed FROM devices"
        " WHERE fleet = ? AND name = ?",
        fleet,
        name,
    )
    if not rows:
        raise UsageError(
            "No device of this name is enrolled in this fleet.",
            reason=Reason.USAGE,
            where=where,
            found=f"{fleet}/{name}",
            remedy="See the names with: primum-repo fleet status; enrol with: primum-repo fleet "
            "enroll.",
        )
    return rows[0]


def proven_to(stored: int, disputed: int) -> int:
    """Up to which event a device's chain is proven and undisputed."""
    return min(stored, disputed - 1) if disputed else stored


def _device(session: Session, row: Row, *, now: datetime) -> dict[str, Any]:
    number, name, enrolled_at, last_seen, stored, disputed = row
    ((held, last, first),) = session.rows(
        "SELECT count(*), coalesce(max(sequence), 0), coalesce(min(sequence), 0) FROM events"
        " WHERE device = ?",
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
        "events": held,
        "firstEvent": first,
        "lastEvent": last,
        "provenTo": proven_to(stored, disputed),
        "gaps": _gaps(session, number),
        "alarms": _alarms(session, number),
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
    for sequence, _ in _heads_alone(session, number):
        why = "a signed head names an event not here"
        found.append({"after": sequence - 1, "before": sequence + 1, "why": why, "proven": True})
    return found


def _heads_alone(session: Session, number: int) -> list[Row]:
    return session.rows(
        "SELECT h.sequence, h.hash FROM heads h WHERE h.device = ? AND h.counts = 1"
        " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.device = h.device"
        " AND e.sequence = h.sequence AND e.hash = h.hash) ORDER BY h.sequence LIMIT ?",
        number,
        MAX_SHOWN,
    )


def _alarms(session: Session, number: int) -> list[dict[str, Any]]:
    found = _contradictions(session, number)
    for sequence, digest in _heads_alone(session, number):
        there = session.rows(
            "SELECT hash FROM events WHERE device = ? AND sequence = ?", number, sequence
        )
        if there:
            found.append(
                {
                    "kind": "head-over-another-event",
                    "isClone": False,
                    "events": [{"sequence": sequence, "hash": row[0]} for row in there],
                    "head": digest,
                }
            )
    for sequence, digest, line in session.rows(
        "SELECT sequence, hash, line FROM events WHERE device = ? AND proven = 1"
        " AND kind = 'primum.device.trust.refused'",
        number,
    ):
        data = json.loads(bytes(line))["data"]
        if _EQUIVOCATION in (data.get("reasons") or ()):
            found.append(
                {
                    "kind": "device-saw-one-version-signed-twice",
                    "isClone": False,
                    "events": [{"sequence": sequence, "hash": digest}],
                    "detail": data.get("detail"),
                }
            )
    return found


def _contradictions(session: Session, number: int) -> list[dict[str, Any]]:
    """Each place where lines part; that they differ from there on is the same alarm."""
    found: list[dict[str, Any]] = []
    last = 0
    rows = session.rows(
        "SELECT kind, mark, noticed_at FROM contradictions WHERE device = ?", number
    )
    for kind, mark, at in sorted(rows, key=lambda row: (row[0], row[1].zfill(20))):
        if kind == Kind.NUMBER:
            follows, last = int(mark) == last + 1, int(mark)
            if follows and found:
                found[-1]["upTo"] = last
                continue
        if len(found) == MAX_SHOWN:
            break
        found.append(_contradiction(session, number, Kind(kind), mark, at))
    return found


def _contradiction(session: Session, number: int, kind: Kind, mark: str, at: str) -> dict[str, Any]:
    column = {Kind.NUMBER: "sequence", Kind.SUCCESSOR: "previous", Kind.ID: "id"}[kind]
    rows = session.rows(
        f"SELECT sequence, hash, proven FROM events WHERE device = ? AND {column} = ?"  # noqa: S608
        " ORDER BY sequence, hash LIMIT ?",
        number,
        int(mark) if kind is Kind.NUMBER else mark,
        MAX_SHOWN,
    )
    return {
        "kind": str(kind),
        # The device's key signed both: a clone, or an older copy of the journal put back.
        "isClone": kind is not Kind.ID and sum(row[2] for row in rows) > 1,
        "noticedAt": at,
        "upTo": rows[-1][0],
        "events": [{"sequence": row[0], "hash": row[1], "proven": bool(row[2])} for row in rows],
    }


def _two_digests(session: Session, fleet: str) -> list[dict[str, Any]]:
    """What exists once for all devices, and that two of them report with two digests."""
    rows = session.rows(
        "SELECT c.subject, c.version, c.digest, d.name, c.sequence, c.hash FROM claims c"
        " JOIN devices d ON d.number = c.device"
        " JOIN events e ON e.device = c.device AND e.sequence = c.sequence AND e.hash = c.hash"
        " JOIN (SELECT subject, version FROM claims WHERE fleet = ?"
        "       GROUP BY subject, version HAVING count(DISTINCT digest) > 1) twice"
        "   ON twice.subject = c.subject AND twice.version = c.version"
        " WHERE c.fleet = ? AND e.proven = 1"
        " ORDER BY c.subject, c.version, c.digest, d.name, c.sequence LIMIT ?",
        fleet,
        fleet,
        MAX_SHOWN,
    )
    grouped: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for subject, version, digest, name, sequence, event in rows:
        places = grouped.setdefault((subject, version), {}).setdefault(digest, [])
        places.append({"device": name, "sequence": sequence, "hash": event})
    return [
        {
            "device": None,
            "kind": "one-version-with-two-digests",
            "isClone": False,
            "subject": subject,
            "version": version,
            "digests": digests,
        }
        for (subject, version), digests in grouped.items()
        if len(digests) > 1
    ]


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


def history(database: AnyDatabase, *, fleet: str, name: str, unproven: bool) -> Iterator[bytes]:
    """The lines of a device's history as `primum-verify history` reads them.

    Args:
        database: where it is.
        fleet: the fleet.
        name: the device.
        unproven: whether what no head covers yet follows behind, and all that contradicts.

    Raises:
        UsageError: no device of this name is enrolled.
    """
    with database.reading() as session:
        number, _, _, _, stored, disputed = device_row(
            session, fleet=fleet, name=name, where=database.name
        )
        last = proven_to(stored, disputed)
        place, digest = 0, ""
        while rows := session.rows(
            "SELECT sequence, hash, line, proven FROM events WHERE device = ?"
            " AND (sequence > ? OR (sequence = ? AND hash > ?)) ORDER BY sequence, hash LIMIT 500",
            number,
            place,
            place,
            digest,
        ):
            for sequence, found, line, proven in rows:
                place, digest = sequence, found
                if unproven or (proven and sequence <= last):
                    yield bytes(line)
        for sequence, line in session.rows(
            "SELECT sequence, line FROM heads WHERE device = ? AND counts = 1"
            " ORDER BY sequence, digest",
            number,
        ):
            if unproven or sequence <= last:
                yield bytes(line)
