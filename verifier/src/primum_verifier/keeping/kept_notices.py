"""A safety notice that a device has read stays: it ends by an answer or by its own end alone.

The role that carries the notices is near at hand, so that what narrows can be published in a
hurry.  Without this rule the same keys could widen: a file without the withdrawal would undo it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.limits import HOLD_AGAIN_DAYS
from primum_verifier.core.reading import SignedNotice, read_notices
from primum_verifier.core.vocabulary import Function, NoticeKind


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
            other.statement == item.statement and _functions(item) <= _functions(other)
            for other in later
        )
    )


def _functions(notice: SignedNotice) -> set[Function]:
    return {person.function for person in notice.people}


def is_signed_enough(notice: SignedNotice, policy: ApprovalPolicy) -> bool:
    """Whether people of as many functions as the policy asks for signed a notice."""
    held = notice.statement.predicate.kind == NoticeKind.HOLD
    needed = policy.functions_to_hold if held else policy.functions_to_take_away
    return len(_functions(notice)) >= needed


def _may_go(notice: SignedNotice, now: datetime) -> bool:
    said = notice.statement.predicate
    if said.kind != NoticeKind.HOLD or said.expires_at is None:
        return False
    return min(said.expires_at, said.issued_at + timedelta(days=HOLD_AGAIN_DAYS)) <= now
