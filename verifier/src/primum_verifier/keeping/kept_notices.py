"""A safety notice that a device has read stays: it ends by an answer or by its own end alone.

The role that carries the notices is near at hand, so that what narrows can be published in a
hurry.  Without this rule the same keys could widen: a file without the withdrawal would undo it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.limits import HOLD_AGAIN_DAYS
from primum_verifier.core.reading import SignedNotice, read_notices
from primum_verifier.core.standing_notices import is_hold, is_signed_enough


def vanished_notices(
    before: bytes, after: bytes, *, policy: ApprovalPolicy, now: datetime
) -> tuple[str, ...]:
    """The ids of the notices that counted and are gone, or have lost a signature.

    What the people of the present policy signed counts: the litter of a stolen key may go
    when its person was struck off. A hold may go when it has ended, or can hold nobody any more.

    Args:
        before: the notices that the device had accepted.
        after: the notices that are offered to it.
        policy: the approval policy that is offered with them.
        now: the one reference time of the run.
    """
    later = read_notices(after, policy)
    return tuple(
        item.statement.predicate.id
        for item in read_notices(before, policy)
        if is_signed_enough(item, policy)
        and not _may_go(item, now)
        and not any(
            other.statement == item.statement and item.functions <= other.functions
            for other in later
        )
    )


def _may_go(notice: SignedNotice, now: datetime) -> bool:
    said = notice.statement.predicate
    if not is_hold(notice) or said.expires_at is None:
        return False
    return min(said.expires_at, said.issued_at + timedelta(days=HOLD_AGAIN_DAYS)) <= now
