"""What a person must look at: contradictions, of one device's events and between devices."""

from __future__ import annotations

import json
from typing import Any

from primum_repo_tools.fleet.contradictions import Kind
from primum_repo_tools.fleet.database import Row, Session
from primum_verifier.core.reasons import Reason

MAX_SHOWN = 1000
"""Alarms of one kind, and places of each, that one answer lists."""


def heads_alone(session: Session, number: int) -> list[Row]:
    """Number and digest of each event that a head which counts names, and that is not here."""
    return session.rows(
        "SELECT h.sequence, h.hash FROM heads h WHERE h.device = ? AND h.counts = 1"
        " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.device = h.device"
        " AND e.sequence = h.sequence AND e.hash = h.hash) ORDER BY h.sequence LIMIT ?",
        number,
        MAX_SHOWN,
    )


def alarms_of(session: Session, number: int) -> list[dict[str, Any]]:
    """The alarms of one device."""
    found = _contradictions(session, number)
    for sequence, digest in heads_alone(session, number):
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
        if Reason.TRUST_EQUIVOCATION in (data.get("reasons") or ()):
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


def split_views(session: Session, fleet: str) -> list[dict[str, Any]]:
    """One version of a trusted role that devices hold with two digests: two lists for two groups.

    It rests on reports of health, which are not signed: it is a reason to look, and what was
    signed twice is at the devices that are named.
    """
    rows = session.rows(
        "SELECT r.subject, r.version, r.digest, d.name, r.first_at FROM role_claims r"
        " JOIN devices d ON d.number = r.device"
        " JOIN (SELECT c.subject, c.version FROM role_claims c JOIN devices e"
        "       ON e.number = c.device WHERE e.fleet = ?"
        "       GROUP BY c.subject, c.version HAVING count(DISTINCT c.digest) > 1) twice"
        "   ON twice.subject = r.subject AND twice.version = r.version"
        " WHERE d.fleet = ? ORDER BY r.subject, r.version, r.digest, d.name LIMIT ?",
        fleet,
        fleet,
        MAX_SHOWN,
    )
    grouped: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for subject, version, digest, name, first_at in rows:
        places = grouped.setdefault((subject, version), {}).setdefault(digest, [])
        places.append({"device": name, "firstAt": first_at})
    return [
        {
            "device": None,
            "kind": "one-role-version-with-two-digests",
            "isClone": False,
            "subject": subject,
            "version": version,
            "digests": digests,
        }
        for (subject, version), digests in grouped.items()
    ]


def two_digests(session: Session, fleet: str) -> list[dict[str, Any]]:
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
