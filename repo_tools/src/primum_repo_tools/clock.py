"""A machine whose clock cannot be right signs nothing.

Devices take issue times as proof of time: one that went back proves nothing, and nobody vouches
for one after the end of its own timestamp.
"""

from __future__ import annotations

from datetime import datetime

from primum_repo_tools.moments import plain
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason


def require_not_before(now: datetime, *, signed: datetime) -> None:
    """Refuse a moment before the newest issue time that was signed already.

    Raises:
        RefusedError: ``trust.time-unknown``.
    """
    if now < signed:
        raise _implausible(
            found=f"now {plain(now)}",
            expected=f"not before {plain(signed)}, which was signed here already",
        )


def require_not_after(now: datetime, *, end: datetime) -> None:
    """Refuse to issue a timestamp after its own end.

    Raises:
        RefusedError: ``trust.time-unknown``.
    """
    if now > end:
        raise _implausible(
            found=f"issued {plain(now)}",
            expected=f"not after the timestamp's own end, {plain(end)}",
        )


def _implausible(*, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "This machine's clock cannot be right; nothing was signed.",
        reason=Reason.TRUST_TIME_UNKNOWN,
        where="clock of this machine",
        found=found,
        expected=expected,
        remedy="Set the clock (timedatectl; NTP), then run the command again.",
    )
