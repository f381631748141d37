"""Must a running release be taken away? Hurry only narrows, and nothing vanishes by accident.

Taking away harms too, so it rests on proven time alone, on notices that two functions signed,
and on what the signed statement ordered for its own end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from primum_verifier.core.approval import PersonStatus
from primum_verifier.core.counted_approvals import missing_approvals
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.eligibility import ActionOrdered, IndexEntry
from primum_verifier.core.question import Order
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import CONTEXT, INDEX, POLICY, STATEMENT, Case, told
from primum_verifier.core.rules_documents import context_is_trusted, statement_is_about_it
from primum_verifier.core.rules_place import STANDING, restrictions_are_held
from primum_verifier.core.standing_notices import action_now, notices_in_force, restrictions
from primum_verifier.core.vocabulary import (
    IndexStatus,
    NoticeAction,
    NoticeKind,
    Outcome,
)

_REASONS = {
    NoticeKind.HOLD: Reason.ELIGIBILITY_HELD,
    NoticeKind.RESTRICTION: Reason.ELIGIBILITY_POPULATION,
}
_UNDER_REVIEW = "This function is under review. Go on as instructed."
_UNCHECKED = "The state of this function cannot be checked. Go on as instructed."


def in_force(case: Case) -> Case:
    """The case over the statement by which what runs is judged: the one that it runs under.

    A listed one takes its place only with every approval, not burned, and no older: whoever
    can write the list alone neither widens nor takes away.
    """
    reading, kept = case.reading, case.reading.kept
    if kept is None:
        return case
    listed = reading.statement
    counted = None if listed is None else missing_approvals(case)
    if (
        listed is not None
        and counted is not None
        and not counted[0]
        and statement_is_about_it.ask(case).outcome == Outcome.SATISFIED
        and listed.predicate.statement_number >= kept.predicate.statement_number
    ):
        return case
    data = case.question.activated_under or b""
    running = replace(
        reading, statement=kept, statement_digest=sha256_hex(data), statement_bytes=data
    )
    return Case(case.question, running)


def orders_for_running(case: Case) -> tuple[tuple[str, Order | None], ...]:
    """What each question about the active release orders now, the strictest first; None: nothing.

    Of everything that orders something, the strictest counts; among equals the first of: a
    notice, the place, the end of validity, the age of the list, the approvals, the list.
    """
    running = in_force(case)
    asked = (
        ("notices", _by_notice(running)),
        ("place", _by_place(running)),
        ("still-valid", _by_validity(running)),
        ("age-of-list", _by_age_of_list(running)),
        ("approvals-stand", _by_approvals(case, running)),
        ("still-listed", _by_list(case, running)),
    )
    ranks = {name: -1 if order is None else order.action.rank for name, order in asked}
    return tuple(sorted(asked, key=lambda item: -ranks[item[0]]))


def _continue(reason: Reason, found: str, source: str, user_notice: str) -> Order:
    return Order(
        action=NoticeAction.CONTINUE_WITH_NOTICE,
        reason=reason,
        found=found,
        source=source,
        user_notice=user_notice,
    )


def _as_signed(
    case: Case, ordered: ActionOrdered, reason: Reason, found: str, source: str
) -> Order:
    """What the statement itself orders for its expiry or its withdrawal."""
    return Order(
        action=ordered.action,
        reason=reason,
        found=found,
        source=source,
        user_notice=case.said.fail_safe.user_notice,
        running_episode=ordered.running_episode,
    )


def _by_notice(case: Case) -> Order | None:
    notices = notices_in_force(case)
    if not notices:
        if case.reading.notices_whole:
            return None
        found = "the notices are missing, or not every line of them can be read"
        return _continue(Reason.TRUST_STALE_INDEX, found, "safety notices", _UNCHECKED)
    said, action = notices[0].statement.predicate, action_now(notices[0], case)
    # Of several that order the same, each says how; the hardest of each counts.
    equal = [item.statement.predicate for item in notices if action_now(item, case) == action]
    limits = [item.max_use_seconds for item in equal if item.max_use_seconds is not None]
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
        running_episode=max((item.running_episode for item in equal), key=lambda item: item.rank),
        max_use_seconds=min(limits, default=None),
        preserve_evidence=any(item.preserve_evidence for item in equal),
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
    found = f"{broken.name}: {broken.found}"
    withdrawn = _as_signed(case, case.said.on_withdrawal, broken.reason, found, CONTEXT)
    return replace(withdrawn, action=NoticeAction.FALL_BACK)


def _by_validity(case: Case) -> Order | None:
    statement, proven = case.reading.statement, case.question.proven
    if statement is None or proven is None or proven < statement.predicate.validity.not_after:
        return None
    ended = f"ended {told(statement.predicate.validity.not_after)}"
    on_expiry = statement.predicate.on_expiry
    return _as_signed(case, on_expiry, Reason.ELIGIBILITY_EXPIRED, ended, STATEMENT)


def _by_age_of_list(case: Case) -> Order | None:
    statement, issued, proven = case.reading.statement, case.list_issued_at, case.question.proven
    if statement is None or issued is None or proven is None:
        return None
    validity, found = statement.predicate.validity, f"the list is of {told(issued)}"
    allowed = timedelta(hours=validity.max_index_age_hours)
    if proven - issued <= allowed:
        return None
    if proven - issued <= allowed + timedelta(hours=validity.offline_grace_hours):
        return _continue(Reason.TRUST_STALE_INDEX, found, INDEX, _UNCHECKED)
    on_expiry = statement.predicate.on_expiry
    return _as_signed(case, on_expiry, Reason.TRUST_STALE_INDEX, found, INDEX)


def _by_approvals(case: Case, running: Case) -> Order | None:
    """Approvals that no longer suffice hold; a compromised key's are taken away from its date.

    Only where that very approval is what is missing: a policy that asks for more, or a list that
    names a statement that nobody approved, takes nothing away.
    """
    if case.reading.statement is None:
        return None
    counted = missing_approvals(case)
    if counted is not None and not counted[0]:
        return None
    found = "the policy names no such stage" if counted is None else f"missing: {counted[0]}"
    lost = missing_approvals(case, forgiven=True)
    same = case.reading.statement_digest == running.reading.statement_digest
    if not (same and _is_over(case) and lost is not None and not lost[0]):
        return _continue(Reason.ELIGIBILITY_APPROVALS, found, POLICY, _UNDER_REVIEW)
    found, on_withdrawal = f"{found}; not approved again in time", running.said.on_withdrawal
    return _as_signed(running, on_withdrawal, Reason.ELIGIBILITY_APPROVALS, found, POLICY)


def _is_over(case: Case) -> bool:
    """Whether a compromised person's approval was to be given again by now."""
    proven = case.question.proven
    return proven is not None and any(
        person.reapprove_by is not None and person.reapprove_by <= proven
        for person in (approval.person for approval in case.reading.approvals)
        if person.status == PersonStatus.COMPROMISED
    )


def _by_list(case: Case, running: Case) -> Order | None:
    """An entry that vanished, or is marked without a notice, holds; it never takes away at once.

    A withdrawal that the list goes on to mark counts when the list would have grown too old, as
    if it had not come: its notice may be withheld. A list that cannot be read is stale, never
    empty.
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
        if entry.status == IndexStatus.WITHDRAWN and _is_overdue(entry, running):
            on_withdrawal = running.said.on_withdrawal
            return _as_signed(running, on_withdrawal, Reason.ELIGIBILITY_WITHDRAWN, found, INDEX)
    return _continue(Reason.ELIGIBILITY_HELD, found, INDEX, _UNDER_REVIEW)


def _is_overdue(entry: IndexEntry, case: Case) -> bool:
    statement, proven = case.reading.statement, case.question.proven
    if statement is None or proven is None:
        return False
    validity = statement.predicate.validity
    hours = validity.max_index_age_hours + validity.offline_grace_hours
    return proven - entry.effective_at > timedelta(hours=hours)
