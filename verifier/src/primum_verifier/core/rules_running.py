"""Must a running release be taken away? Hurry only narrows, and nothing vanishes by accident.

Taking away harms too, so it rests on proven time alone, on notices that two functions signed,
and on what the signed statement ordered for its own end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from primum_verifier.core.limits import MAX_HOLD_HOURS
from primum_verifier.core.notice import SafetyNotice
from primum_verifier.core.question import Question
from primum_verifier.core.reading import Reading, SignedNotice
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus, NoticeAction, NoticeKind, Phase

_STRICTNESS = {
    NoticeAction.NOTIFY_ONLY: 0,
    NoticeAction.NO_NEW_ACTIVATION: 1,
    NoticeAction.CONTINUE_WITH_NOTICE: 2,
    NoticeAction.FALL_BACK: 3,
    NoticeAction.SUSPEND_AI_FUNCTION: 4,
}


@dataclass(frozen=True)
class Order:
    """What is to be done with a running release, and why.

    Attributes:
        action: what the device does.
        reason: the reason code.
        found: what was found.
        source: the signed document that orders it.
        user_notice: what the user is told.
        fallback: manifests to go back to, best first.
    """

    action: NoticeAction
    reason: Reason
    found: str
    source: str
    user_notice: str
    fallback: tuple[str, ...] = ()

    @property
    def takes_away(self) -> bool:
        """Whether the release may not go on running."""
        return self.action in {NoticeAction.FALL_BACK, NoticeAction.SUSPEND_AI_FUNCTION}


def notice_in_force(question: Question, reading: Reading) -> SignedNotice | None:
    """The strictest notice about this release that counts here and now, or None.

    A hold stops new activations only: it does not forbid the way back to what is held already.
    """
    counted = [
        notice
        for notice in reading.notices
        if _counts(notice, question, reading)
        and not (question.phase == Phase.FALL_BACK and _is_hold(notice))
    ]
    if not counted:
        return None
    return max(counted, key=lambda notice: _STRICTNESS[_action_now(notice, question)])


def _is_hold(notice: SignedNotice) -> bool:
    return notice.statement.predicate.kind == NoticeKind.HOLD


def _counts(notice: SignedNotice, question: Question, reading: Reading) -> bool:
    """Whether enough functions signed it, it is meant for this device, and it is in time."""
    policy, said = reading.policy, notice.statement.predicate
    if policy is None:
        return False
    needed = policy.functions_to_hold if _is_hold(notice) else policy.functions_to_take_away
    if len(notice.functions) < needed:
        return False
    context = reading.context
    # An untrusted context cannot take a device out of the scope of a notice.
    if reading.context_trusted and context is not None:
        jurisdiction = context.placement.jurisdiction
        if not said.scope.covers(jurisdiction):
            return False
    if said.id in _answered(reading):
        return False
    return _has_begun(said, question) and not _has_ended(said, question)


def _answered(reading: Reading) -> tuple[str, ...]:
    """The notices that the listed statement answers; a dropped or marked entry answers none."""
    listed = reading.entry is not None and reading.entry.status == IndexStatus.ELIGIBLE
    if not listed or reading.statement is None:
        return ()
    return reading.statement.predicate.answers


def _has_begun(said: SafetyNotice, question: Question) -> bool:
    # That it could be read proves that its issue time has passed, whatever the clocks say.
    if said.effective_at <= said.issued_at:
        return True
    return question.proven is not None and said.effective_at <= question.proven


def _has_ended(said: SafetyNotice, question: Question) -> bool:
    """By proven time only, never by a clock that ran ahead; a hold ends, whatever it says."""
    ends = said.expires_at
    if said.kind == NoticeKind.HOLD:
        longest = said.issued_at + timedelta(hours=MAX_HOLD_HOURS)
        ends = longest if ends is None else min(ends, longest)
    return ends is not None and question.proven is not None and ends <= question.proven


def _action_now(notice: SignedNotice, question: Question) -> NoticeAction:
    """What a notice orders at this moment, its time of grace considered."""
    said = notice.statement.predicate
    if _is_hold(notice):
        # One function alone can stop new activations, never what already serves a patient.
        return NoticeAction.CONTINUE_WITH_NOTICE
    ends = said.effective_at + timedelta(seconds=said.grace_period_seconds)
    over = question.proven is not None and question.proven >= ends
    if said.grace_period_seconds > 0 and not over:
        return NoticeAction.CONTINUE_WITH_NOTICE
    return said.action


def order_for_running(question: Question, reading: Reading) -> Order | None:
    """What must happen to the active release now, or None: it goes on.

    Of everything that orders something, the strictest counts; among equals the first of: a
    notice, the context, the end of validity, the age of the list, the list.
    """
    finders = (_by_notice, _by_context, _by_validity, _by_age_of_list, _by_list)
    orders = [order for find in finders if (order := find(question, reading)) is not None]
    return max(orders, key=lambda order: _STRICTNESS[order.action], default=None)


def _by_notice(question: Question, reading: Reading) -> Order | None:
    notice = notice_in_force(question, reading)
    if notice is None:
        if reading.notices_whole:
            return None
        return Order(
            action=NoticeAction.CONTINUE_WITH_NOTICE,
            reason=Reason.TRUST_STALE_INDEX,
            found="the notices are missing, or not every line of them can be read",
            source="safety notices",
            user_notice="The state of this function cannot be checked. Go on as instructed.",
        )
    said = notice.statement.predicate
    return Order(
        action=_action_now(notice, question),
        reason=Reason.ELIGIBILITY_HELD if _is_hold(notice) else Reason.ELIGIBILITY_WITHDRAWN,
        found=f"{said.kind}: {said.reason.text}",
        source=said.id,
        user_notice=said.user_notice,
        fallback=tuple(item.sha256 for item in said.fallback.order),
    )


def _by_context(_: Question, reading: Reading) -> Order | None:
    context, statement = reading.context, reading.statement
    if context is None or statement is None or not reading.context_trusted:
        return None
    constraints = statement.predicate.constraints
    if context.placement.jurisdiction not in constraints.jurisdictions:
        reason, found = Reason.ELIGIBILITY_JURISDICTION, context.placement.jurisdiction
    elif (
        constraints.sites.mode == "list" and context.placement.site_id not in constraints.sites.ids
    ):
        reason, found = Reason.ELIGIBILITY_SITE, context.placement.site_id
    else:
        return None
    return Order(
        action=NoticeAction.FALL_BACK,
        reason=reason,
        found=found,
        source="device context",
        user_notice=statement.predicate.fail_safe.user_notice,
    )


def _by_validity(question: Question, reading: Reading) -> Order | None:
    statement, proven = reading.statement, question.proven
    if statement is None or proven is None or proven < statement.predicate.validity.not_after:
        return None
    return Order(
        action=statement.predicate.on_expiry.action,
        reason=Reason.ELIGIBILITY_EXPIRED,
        found=f"ended {statement.predicate.validity.not_after:%Y-%m-%dT%H:%M:%SZ}",
        source="eligibility statement",
        user_notice=statement.predicate.fail_safe.user_notice,
    )


def _by_age_of_list(question: Question, reading: Reading) -> Order | None:
    statement, index, proven = reading.statement, reading.index, question.proven
    if statement is None or index is None or proven is None:
        return None
    validity = statement.predicate.validity
    allowed = timedelta(hours=validity.max_index_age_hours + validity.offline_grace_hours)
    if proven - index.issued_at <= allowed:
        return None
    return Order(
        action=statement.predicate.on_expiry.action,
        reason=Reason.TRUST_STALE_INDEX,
        found=f"the list is of {index.issued_at:%Y-%m-%dT%H:%M:%SZ}",
        source="eligibility index",
        user_notice=statement.predicate.fail_safe.user_notice,
    )


def _by_list(_: Question, reading: Reading) -> Order | None:
    """An entry that vanished, or is marked without a notice, holds; it never takes away.

    A list that cannot be read is stale, never empty.
    """
    status = None if reading.entry is None else reading.entry.status
    if status == IndexStatus.ELIGIBLE:
        return None
    if reading.index is None:
        reason, found = Reason.TRUST_STALE_INDEX, "no list that can be read"
    elif status is None:
        reason, found = Reason.ELIGIBILITY_HELD, "no longer on the list"
    else:
        reason, found = Reason.ELIGIBILITY_HELD, f"{status} without a notice"
    return Order(
        action=NoticeAction.CONTINUE_WITH_NOTICE,
        reason=reason,
        found=found,
        source="eligibility index",
        user_notice="This function is under review. Go on as instructed.",
    )
