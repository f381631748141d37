"""Must a running release be taken away? Hurry only narrows, and nothing vanishes by accident.

Taking away harms too, so it rests on proven time alone, on notices that two functions signed,
and on what the signed statement ordered for its own end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from primum_verifier.core.question import Question
from primum_verifier.core.reading import Reading, SignedNotice
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus, NoticeAction, NoticeKind


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
    """The strictest notice about this release that counts here and now, or None."""
    counted = [notice for notice in reading.notices if _counts(notice, question, reading)]
    strict = [item for item in counted if item.statement.predicate.kind != NoticeKind.HOLD]
    return next(iter(strict or counted), None)


def _counts(notice: SignedNotice, question: Question, reading: Reading) -> bool:
    """Whether enough functions signed it, it is meant for this device, and it has begun."""
    policy, said = reading.policy, notice.statement.predicate
    if policy is None:
        return False
    takes_away = said.kind != NoticeKind.HOLD
    needed = policy.functions_to_take_away if takes_away else policy.functions_to_hold
    if len(notice.functions) < needed:
        return False
    context = reading.context
    if context is not None and not said.scope.covers(context.placement.jurisdiction):
        return False
    # A hold ends by a newer notice or by proven time, never by a clock that ran ahead.
    proven = question.proven
    if said.expires_at is not None and proven is not None and said.expires_at <= proven:
        return False
    # That it could be read proves that its issue time has passed, whatever the clocks say.
    if said.effective_at <= said.issued_at:
        return True
    return proven is not None and said.effective_at <= proven


def order_for_running(question: Question, reading: Reading) -> Order | None:
    """What must happen to the active release now, or None: it goes on.

    In this order: a notice, the context, the end of validity, the age of the list, the list.
    """
    for find in (_by_notice, _by_context, _by_validity, _by_age_of_list, _by_list):
        order = find(question, reading)
        if order is not None:
            return order
    return None


def _by_notice(question: Question, reading: Reading) -> Order | None:
    notice = notice_in_force(question, reading)
    if notice is None:
        return None
    said = notice.statement.predicate
    over = question.proven is not None and question.proven >= said.effective_at + timedelta(
        seconds=said.grace_period_seconds
    )
    waits = said.grace_period_seconds > 0 and not over
    action = NoticeAction.CONTINUE_WITH_NOTICE if waits else said.action
    held = said.kind == NoticeKind.HOLD
    if held:
        # One function alone can stop new activations, never what already serves a patient.
        action = NoticeAction.CONTINUE_WITH_NOTICE
    return Order(
        action=action,
        reason=Reason.ELIGIBILITY_HELD if held else Reason.ELIGIBILITY_WITHDRAWN,
        found=f"{said.kind}: {said.reason.text}",
        source=said.id,
        user_notice=said.user_notice,
        fallback=tuple(item.sha256 for item in said.fallback.order),
    )


def _by_context(question: Question, reading: Reading) -> Order | None:
    context, statement = reading.context, reading.statement
    if context is None or statement is None or reading.context_threshold is None:
        return None
    if context.factory.public_key.public != question.device_key:
        return None
    if reading.context_signers < reading.context_threshold:
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
    """An entry that vanished, or is marked without a notice, holds; it never takes away."""
    if reading.index is None:
        return None
    status = None if reading.entry is None else reading.entry.status
    if status == IndexStatus.ELIGIBLE:
        return None
    return Order(
        action=NoticeAction.CONTINUE_WITH_NOTICE,
        reason=Reason.ELIGIBILITY_HELD,
        found="no longer on the list" if status is None else f"{status} without a notice",
        source="eligibility index",
        user_notice="This function is under review. Go on as instructed.",
    )
