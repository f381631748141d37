"""One device's row: found by its name, and what its numbers mean."""

from __future__ import annotations

from primum_repo_tools.fleet.database import Row, Session
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason


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
