"""The newest status, health and windows of each device; they are its word, and prove nothing.

The versions of trusted roles that reports name are kept longer than the reports: that one version
was told with two digests may show long after the first was told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from primum_repo_tools.fleet.database import Session
from primum_repo_tools.fleet.messages import End, Report

MAX_REPORTS = 200
"""Reports of health kept for one device, as many of its status and of its windows: the newest."""

_ORDERS = {End.HEALTH: "said_at", End.STATUS: "received_at", End.MONITOR: "received_at"}
"""By what the newest are told; a window says the day alone."""


MAX_ROLE_CLAIMS = 2000
"""Versions of roles kept for one device: those that were told last."""


def take_reports(session: Session, device: int, reports: Sequence[Report], now: datetime) -> int:
    """Store what is new; how many were.

    Args:
        session: a transaction that holds the device's row.
        device: the device's number.
        reports: in the order in which they came.
        now: the present moment, finer than seconds.
    """
    new = 0
    for place, report in enumerate(reports):
        # What came later in one batch is later.
        received = (now + timedelta(microseconds=place)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        key = (device, str(report.end), report.digest)
        new += session.do(
            "INSERT INTO reports (device, kind, digest, said_at, received_at, line)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            *key,
            report.said_at,
            received,
            report.line,
        )
        if report.end is End.STATUS:
            # It says no time of its own: the same words again are news.
            session.do(
                "UPDATE reports SET received_at = ? WHERE device = ? AND kind = ? AND digest = ?",
                received,
                *key,
            )
    _keep_roles(session, device, reports, now)
    for end, order in _ORDERS.items():
        if any(report.end is end for report in reports):
            session.do(
                "DELETE FROM reports WHERE device = ? AND kind = ?"  # noqa: S608 - a name of ours
                " AND digest NOT IN (SELECT digest FROM reports WHERE device = ? AND kind = ?"
                f" ORDER BY {order} DESC, digest DESC LIMIT ?)",
                device,
                str(end),
                device,
                str(end),
                MAX_REPORTS,
            )
    return new


def _keep_roles(session: Session, device: int, reports: Sequence[Report], now: datetime) -> None:
    told = {claim for report in reports for claim in report.roles}
    if not told:
        return
    rows = [
        (device, claim.subject, claim.version, claim.digest, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        for claim in sorted(told, key=lambda claim: (claim.subject, claim.version, claim.digest))
    ]
    session.many(
        "INSERT INTO role_claims (device, subject, version, digest, first_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )
    session.do(
        "DELETE FROM role_claims WHERE device = ? AND (subject, version, digest) IN"
        " (SELECT subject, version, digest FROM role_claims WHERE device = ?"
        " ORDER BY first_at DESC, version DESC, subject, digest LIMIT 1000000000 OFFSET ?)",
        device,
        device,
        MAX_ROLE_CLAIMS,
    )
