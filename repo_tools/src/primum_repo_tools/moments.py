"""Times and lengths of time as the workbench writes them: UTC, whole seconds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_DAYS = 3660


def now_utc() -> datetime:
    """The present moment in whole seconds: TUF metadata and our documents know no fractions."""
    return datetime.now(UTC).replace(microsecond=0)


def plain(moment: datetime) -> str:
    """A moment as RFC 3339 writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_life(text: str) -> timedelta:
    """Read a length of time: ``3s``, ``15m``, ``12h``, ``7d``.

    Raises:
        UsageError: it is no such length, zero, or more than ten years.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is not None:
        life = timedelta(seconds=int(match.group(1)) * _UNITS[match.group(2)])
        if timedelta(0) < life <= timedelta(days=_MAX_DAYS):
            return life
    raise UsageError(
        "This is no length of time.",
        reason=Reason.USAGE,
        found=text[:40],
        expected="a whole number above 0 and s, m, h or d, such as 3s or 7d",
    )


def parse_moment(text: str) -> datetime:
    """Read a moment: RFC 3339 with a zone.

    Raises:
        UsageError: it is none, or names no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            "This is no moment in time.",
            reason=Reason.USAGE,
            found=text[:40],
            expected="RFC 3339 with a zone, such as 2026-01-31T12:00:00Z",
        )
    return moment.astimezone(UTC).replace(microsecond=0)


def parse_day(text: str) -> date:
    """Read a day of the calendar.

    Raises:
        UsageError: it is none.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise UsageError(
            "This is no day.",
            reason=Reason.USAGE,
            found=text[:40],
            expected="a day such as 2026-01-31",
        ) from error
