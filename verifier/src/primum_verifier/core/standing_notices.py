"""Which safety notices count, for this release, on this device, at this moment.

One function alone may hold new activations, for a bounded time and not again and again; taking
away needs two.  What counts is judged by proven time: a clock that ran ahead ends no notice.
"""

from __future__ import annotations

from datetime import timedelta

from primum_verifier.core.limits import HOLD_AGAIN_DAYS, MAX_HOLD_HOURS
from primum_verifier.core.notice import NoticeScope, Restriction, SafetyNotice
from primum_verifier.core.question import Question, SeenHold
from primum_verifier.core.reading import Reading, SignedNotice
from primum_verifier.core.rules import Case
from primum_verifier.core.vocabulary import Function, IndexStatus, NoticeAction, NoticeKind, Phase

_TELLS_ONLY = frozenset({NoticeAction.NOTIFY_ONLY, NoticeAction.ADVISORY_ONLY})


def notices_in_force(case: Case) -> tuple[SignedNotice, ...]:
    """Every notice that counts here and now: the strictest first, among equals the newest.

    A later notice never lifts an earlier one: only a statement that answers it does.  A hold
    stops new activations only: it does not forbid the way back to what is held already.
    """
    falling_back = case.question.phase == Phase.FALL_BACK
    counted = [
        notice
        for notice in case.reading.notices
        if _counts(notice, case) and not (falling_back and is_hold(notice))
    ]
    return tuple(
        sorted(
            counted,
            key=lambda item: (
                action_now(item, case).strictness,
                item.statement.predicate.issued_at,
            ),
            reverse=True,
        )
    )


def blocking(case: Case) -> SignedNotice | None:
    """The notice that forbids to give the release anew, or None.

    What only tells people, or narrows, does not forbid; that it narrows is judged by itself.
    """
    for notice in notices_in_force(case):
        said = notice.statement.predicate
        narrows = said.action == NoticeAction.RESTRICT or said.action in _TELLS_ONLY
        if said.kind in {NoticeKind.HOLD, NoticeKind.WITHDRAWAL} or not narrows:
            return notice
    return None


def restrictions(case: Case) -> tuple[Restriction, ...]:
    """What the notices in force narrow, besides what the statement says."""
    found = (notice.statement.predicate.restriction for notice in notices_in_force(case))
    return tuple(item for item in found if item is not None)


def orders_the_way_back(case: Case) -> bool:
    """Whether a notice in force orders this device back to this release, below its floor."""
    return any(_counts(notice, case) for notice in case.reading.ways_back)


def is_hold(notice: SignedNotice) -> bool:
    """Whether the notice holds new activations and takes nothing away."""
    return notice.statement.predicate.kind == NoticeKind.HOLD


def action_now(notice: SignedNotice, case: Case) -> NoticeAction:
    """What a notice orders at this moment, its time of grace considered."""
    said, proven = notice.statement.predicate, case.question.proven
    if is_hold(notice):
        # One function alone can stop new activations, never what already serves a patient.
        return NoticeAction.CONTINUE_WITH_NOTICE
    ends = said.effective_at + timedelta(seconds=said.grace_period_seconds)
    if said.grace_period_seconds > 0 and not (proven is not None and proven >= ends):
        return NoticeAction.CONTINUE_WITH_NOTICE
    return said.action


def holds_of(reading: Reading) -> tuple[SeenHold, ...]:
    """The holds about the release that one function alone signed, for a device to remember."""
    return tuple(
        SeenHold(said.id, person.person_id, said.issued_at)
        for notice, said in ((item, item.statement.predicate) for item in reading.notices)
        if is_hold(notice)
        for person in notice.people
    )


def _counts(notice: SignedNotice, case: Case) -> bool:
    """Whether enough functions signed it, it is meant for this device, and it is in time."""
    said, question, reading = notice.statement.predicate, case.question, case.reading
    if said.drill and not question.trust_map.takes_drills:
        return False
    return (
        _is_signed_enough(notice, reading)
        and _is_meant(said.scope, reading)
        and said.id not in _answered(reading)
        and _has_begun(notice, question)
        and not _has_ended(notice, case)
    )


def _is_signed_enough(notice: SignedNotice, reading: Reading) -> bool:
    policy = reading.policy
    if policy is None:
        return False
    functions = {person.function for person in notice.people}
    if notice.statement.predicate.action == NoticeAction.SUSPEND_DEVICE_FUNCTION and not (
        functions >= {Function.REGULATORY, Function.CLINICAL}
    ):
        return False
    needed = policy.functions_to_hold if is_hold(notice) else policy.functions_to_take_away
    return len(functions) >= needed


def _is_meant(scope: NoticeScope, reading: Reading) -> bool:
    context = reading.context
    if not reading.context_trusted or context is None:
        # An untrusted context cannot take a device out of the scope of a notice.
        return True
    place, made = context.placement, context.factory
    return (
        (scope.mode == "all" or place.jurisdiction in scope.jurisdictions)
        and (scope.sites is None or scope.sites.include(place.site_id, place.site_groups))
        and (
            scope.devices is None
            or scope.devices.includes(
                model=made.model_number, lot=made.lot_number, serial=made.serial_number
            )
        )
    )


def _answered(reading: Reading) -> tuple[str, ...]:
    """The notices that the listed statement answers; a dropped or marked entry answers none."""
    listed = reading.entry is not None and reading.entry.status == IndexStatus.ELIGIBLE
    if not listed or reading.statement is None:
        return ()
    return reading.statement.predicate.answers


def _has_begun(notice: SignedNotice, question: Question) -> bool:
    said, vouched = notice.statement.predicate, question.clinical.issued_at
    if is_hold(notice) and (vouched is None or said.issued_at > vouched):
        # A hold lasts from its issue time: one that is dated ahead would last for ever.
        return False
    # That it could be read proves that its issue time has passed, whatever the clocks say.
    if said.effective_at <= said.issued_at:
        return True
    return question.proven is not None and said.effective_at <= question.proven


def _has_ended(notice: SignedNotice, case: Case) -> bool:
    """By proven time only, never by a clock that ran ahead; an unconfirmed hold ends, always."""
    said, proven = notice.statement.predicate, case.question.proven
    ends = said.expires_at
    if is_hold(notice) and not _is_confirmed(notice, case.reading):
        if all(_held_before(said, person.person_id, case) for person in notice.people):
            return True
        longest = said.issued_at + timedelta(hours=MAX_HOLD_HOURS)
        ends = longest if ends is None else min(ends, longest)
    return ends is not None and proven is not None and ends <= proven


def _is_confirmed(notice: SignedNotice, reading: Reading) -> bool:
    """Whether as many functions signed the hold as taking away would need."""
    policy = reading.policy
    functions = {person.function for person in notice.people}
    return policy is not None and len(functions) >= policy.functions_to_take_away


def _held_before(said: SafetyNotice, person_id: str, case: Case) -> bool:
    """Whether this person held this release less than 30 days before, by another notice."""
    earliest = said.issued_at - timedelta(days=HOLD_AGAIN_DAYS)
    return any(
        hold.person_id == person_id
        and hold.notice != said.id
        and earliest < hold.issued_at < said.issued_at
        for hold in (*case.question.seen_holds, *holds_of(case.reading))
    )
