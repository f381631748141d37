"""Must a running release be taken away? Hurry only narrows, and nothing vanishes by accident.

Taking away harms too, so it rests on proven time alone, on notices that two functions signed,
and on what the signed statement ordered for its own end.
"""

from __future__ import annotations

from datetime import timedelta

from primum_verifier.core.approval import PersonStatus
from primum_verifier.core.counted_approvals import missing_approvals
from primum_verifier.core.question import Order
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import CONTEXT, INDEX, POLICY, STATEMENT, Case, told
from primum_verifier.core.rules_documents import context_is_trusted, statement_is_about_it
from primum_verifier.core.rules_place import STANDING, restrictions_are_held
from primum_verifier.core.standing_notices import action_now, notices_in_force, restrictions
from primum_verifier.core.vocabulary import IndexStatus, NoticeAction, NoticeKind, Outcome

_REASONS = {
    NoticeKind.HOLD: Reason.ELIGIBILITY_HELD,
    NoticeKind.RESTRICTION: Reason.ELIGIBILITY_POPULATION,
}
_UNDER_REVIEW = "This function is under review. Go on as instructed."
_UNCHECKED = "The state of this function cannot be checked. Go on as instructed."


def order_for_running(case: Case) -> Order | None:
    """What must happen to the active release now, or None: it goes on.

    Of everything that orders something, the strictest counts; among equals the first of: a
    notice, the place, the end of validity, the age of the list, the approvals, the list.
    """
    finders = (_by_notice, _by_place, _by_validity, _by_age_of_list, _by_approvals, _by_list)
    orders = [order for find in finders if (order := find(case)) is not None]
    return max(orders, key=lambda order: order.action.strictness, default=None)


def _continue(reason: Reason, found: str, source: str, user_notice: str) -> Order:
    return Order(
        action=NoticeAction.CONTINUE_WITH_NOTICE,
        reason=reason,
        found=found,
        source=source,
        user_notice=user_notice,
    )


def _by_notice(case: Case) -> Order | None:
    notice = next(iter(notices_in_force(case)), None)
    if notice is None:
        if case.reading.notices_whole:
            return None
        found = "the notices are missing, or not every line of them can be read"
        return _continue(Reason.TRUST_STALE_INDEX, found, "safety notices", _UNCHECKED)
    said, action = notice.statement.predicate, action_now(notice, case)
    if action == NoticeAction.RESTRICT and not _can_be_held(case):
        # What cannot be held here is as good as withdrawn.
        action = NoticeAction.FALL_BACK
    points = (item.operating_point for item in restrictions(case) if item.operating_point)
    return Order(
        action=action,
        reason=_REASONS.get(said.kind, Reason.ELIGIBILITY_WITHDRAWN),
        found=f"{said.kind}: {said.reason.text}",
        source=said.id,
        user_notice=said.user_notice,
        fallback=tuple(item.sha256 for item in said.fallback.order),
        running_episode=said.running_episode,
        max_use_seconds=said.max_use_seconds,
        preserve_evidence=said.preserve_evidence,
        # One that narrows by something else lifts no operating point that another chose.
        operating_point=next(points, None),
    )


def _can_be_held(case: Case) -> bool:
    return restrictions_are_held.ask(case).outcome == Outcome.SATISFIED


def _by_place(case: Case) -> Order | None:
    """A context that cannot be trusted takes nothing away: who breaks it would decide."""
    if not case.reading.context_trusted:
        found = context_is_trusted.ask(case).found
        return _continue(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED, found, CONTEXT, _UNCHECKED)
    if case.reading.statement is None:
        return None
    checks = (rule.ask(case) for rule in STANDING if rule is not restrictions_are_held)
    broken = next((check for check in checks if check.outcome == Outcome.REFUSED), None)
    if broken is None or broken.reason is None:
        return None
    said = case.said
    return Order(
        action=NoticeAction.FALL_BACK,
        reason=broken.reason,
        found=f"{broken.name}: {broken.found}",
        source=CONTEXT,
        user_notice=said.fail_safe.user_notice,
        running_episode=said.on_withdrawal.running_episode,
    )


def _by_validity(case: Case) -> Order | None:
    statement, proven = case.reading.statement, case.question.proven
    if statement is None or proven is None or proven < statement.predicate.validity.not_after:
        return None
    ended = f"ended {told(statement.predicate.validity.not_after)}"
    return _expired(case, Reason.ELIGIBILITY_EXPIRED, ended, STATEMENT)


def _by_age_of_list(case: Case) -> Order | None:
    statement, index, proven = case.reading.statement, case.reading.index, case.question.proven
    if statement is None or index is None or proven is None:
        return None
    validity, found = statement.predicate.validity, f"the list is of {told(index.issued_at)}"
    allowed = timedelta(hours=validity.max_index_age_hours)
    if proven - index.issued_at <= allowed:
        return None
    if proven - index.issued_at <= allowed + timedelta(hours=validity.offline_grace_hours):
        return _continue(Reason.TRUST_STALE_INDEX, found, INDEX, _UNCHECKED)
    return _expired(case, Reason.TRUST_STALE_INDEX, found, INDEX)


def _expired(case: Case, reason: Reason, found: str, source: str) -> Order:
    said = case.said
    return Order(
        action=said.on_expiry.action,
        reason=reason,
        found=found,
        source=source,
        user_notice=said.fail_safe.user_notice,
        running_episode=said.on_expiry.running_episode,
    )


def _by_approvals(case: Case) -> Order | None:
    """Approvals that no longer suffice hold; a compromised key's are taken away from its date.

    Only what that very key approved is: a policy that asks for more takes nothing away.
    """
    policy, proven = case.reading.policy, case.question.proven
    if policy is None or case.reading.statement is None or case.reading.statement_digest is None:
        return None
    counted = missing_approvals(case)
    if counted is not None and not counted[0]:
        return None
    found = "the policy names no such stage" if counted is None else f"missing: {counted[0]}"
    over = proven is not None and any(
        person.reapprove_by is not None and person.reapprove_by <= proven
        for person in (approval.person for approval in case.reading.approvals)
        if person.status == PersonStatus.COMPROMISED
    )
    if not over:
        return _continue(Reason.ELIGIBILITY_APPROVALS, found, POLICY, _UNDER_REVIEW)
    said = case.said
    return Order(
        action=said.on_withdrawal.action,
        reason=Reason.ELIGIBILITY_APPROVALS,
        found=f"{found}; not approved again in time",
        source=POLICY,
        user_notice=said.fail_safe.user_notice,
        running_episode=said.on_withdrawal.running_episode,
    )


def _by_list(case: Case) -> Order | None:
    """An entry that vanished, or is marked without a notice, holds; it never takes away.

    A list that cannot be read is stale, never empty.
    """
    index, entry = case.reading.index, case.reading.entry
    if index is None:
        return _continue(Reason.TRUST_STALE_INDEX, "no list that can be read", INDEX, _UNDER_REVIEW)
    if entry is None:
        found = "no longer on the list"
    elif case.reading.contradicted:
        found = "entries that contradict each other"
    elif entry.status == IndexStatus.ELIGIBLE:
        check = statement_is_about_it.ask(case)
        if check.reason is None:
            return None
        return _continue(check.reason, check.found, STATEMENT, _UNDER_REVIEW)
    else:
        found = f"marked {entry.status}"
    return _continue(Reason.ELIGIBILITY_HELD, found, INDEX, _UNDER_REVIEW)
