"""Campaigns: the names under which devices stand in what is handed on, for one stretch of days.

A campaign has a secret of its own, so that its names say nothing about those of another, and no day
lies in two: the same numbers under two names would tie the names to each other.  The secret is in
the database, whose holder knows the devices anyway.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from primum_repo_tools.fleet.database import Session
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_SECRET_BYTES = 32
_PSEUDONYM_DIGITS = 32


@dataclass(frozen=True)
class Days:
    """From the first day up to, and without, the last."""

    begins: date
    ends: date

    def __str__(self) -> str:
        return f"{self.begins} to {self.ends}"


@dataclass(frozen=True)
class Campaign:
    """One campaign.

    Attributes:
        name: by which people call it.
        days: whose windows it hands on.
        secret: from which its pseudonyms are made.
    """

    name: str
    days: Days
    secret: bytes

    def pseudonym(self, device: str) -> str:
        """The name of a device in this campaign."""
        return hmac.new(self.secret, device.encode(), sha256).hexdigest()[:_PSEUDONYM_DIGITS]


def campaign_of(session: Session, *, fleet: str, name: str) -> Campaign:
    """A campaign that has begun.

    Raises:
        UsageError: there is none of this name.
    """
    for found in _campaigns(session, fleet):
        if found.name == name:
            return found
    raise UsageError(
        "There is no campaign of this name.",
        reason=Reason.USAGE,
        found=name,
        remedy="Begin it with: primum-repo fleet windows FILE --campaign NAME --from DAY "
        "--until DAY.",
    )


def begun(
    session: Session, *, fleet: str, name: str, days: Days | None, keep: bool = True
) -> Campaign:
    """A campaign, begun now where there is none of this name.

    Args:
        session: a transaction that may write.
        fleet: the fleet.
        name: the campaign's.
        days: its days; None where it has begun already.
        keep: whether one that is new stays.

    Raises:
        UsageError: it has other days, or a day of them is another campaign's.
    """
    # Of two that begin at once, the later one sees the other.
    session.enter(alone=True)
    if days is None:
        return campaign_of(session, fleet=fleet, name=name)
    if days.begins >= days.ends:
        raise UsageError(
            "A campaign ends after it begins.",
            reason=Reason.USAGE,
            found=str(days),
            remedy="Let --until be a later day than --from.",
        )
    for other in _campaigns(session, fleet):
        if (other.name, other.days) == (name, days):
            return other
        if other.name == name or (other.days.begins < days.ends and days.begins < other.days.ends):
            raise UsageError(
                "The days of a campaign are its own, and stay what they are.",
                reason=Reason.USAGE,
                where=f"campaign {other.name}",
                found=str(days),
                expected=f"none of {other.days}",
                remedy="Choose days that no campaign has; what is in two would tie the names of "
                "its devices to each other.",
            )
    made = Campaign(name, days, secrets.token_bytes(_SECRET_BYTES))
    if keep:
        session.do(
            "INSERT INTO campaigns (fleet, name, begins, ends, secret) VALUES (?, ?, ?, ?, ?)",
            fleet,
            name,
            days.begins.isoformat(),
            days.ends.isoformat(),
            made.secret,
        )
    return made


def _campaigns(session: Session, fleet: str) -> list[Campaign]:
    rows = session.rows(
        "SELECT name, begins, ends, secret FROM campaigns WHERE fleet = ? ORDER BY begins", fleet
    )
    return [
        Campaign(name, Days(date.fromisoformat(begins), date.fromisoformat(ends)), bytes(secret))
        for name, begins, ends, secret in rows
    ]
