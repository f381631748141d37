"""Which safety notices count, for this release, on this device, at this moment.

One function alone may hold new activations, for a bounded time and not again and again; taking
away needs two.  What counts is judged by proven time: a clock that ran ahead ends no notice.
"""

from __future__ import annotations

from datetime import timedelta

from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.counted_approvals import missing_approvals
from primum_verifier.core.limits import HOLD_AGAIN_DAYS, MAX_HOLD_HOURS
from primum_verifier.core.notice import NoticeScope, Restriction, SafetyNotice
from primum_verifier.core.question import Question, SeenHold
from primum_verifier.core.reading import Reading, SignedNotice
from primum_verifier.core.rules import Case
from primum_verifier.core.vocabulary import Function, NoticeAction, NoticeKind, Phase

_TELLS_ONLY = frozenset({NoticeAction.NOTIFY_ONLY, NoticeAction.ADVISORY_ONLY})


def notices_in_force(case: Case) -> tuple[SignedNotice, ...]:
    """Every notice that counts here and now: the strictest first, among equals the newest.

    A later notice never lifts an earlier one: only a statement that answers it does.  What stops
    new activations only does not forbid the way back to what lies here already.
    """
    return case.once(_in_force)


def _in_force(case: Case) -> tuple[SignedNotice, ...]:
    falling_back = case.question.phase == Phase.FALL_BACK
    counted = [
        notice
        for notice in case.reading.notices
        if _counts(notice, case) and not (falling_back and _stops_only_new(notice))
    ]
    return tuple(
        sorted(
            counted,
            key=lambda item: (
                action_now(item, case).rank,
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
    """What the notices in force narrow, besides what the statement says.

    What runs is narrowed when the time of grace is over, what is given anew at once.
    """
    running = case.question.phase == Phase.CONTINUE
    found = (
        notice.statement.predicate.restriction
        for notice in notices_in_force(case)
        if not running or action_now(notice, case) == NoticeAction.RESTRICT
    )
    return tuple(item for item in found if item is not None)


def orders_the_way_back(case: Case) -> bool:
    """Whether a notice in force orders this device back to this release, below its floor.

    A hold orders nobody back: one function alone would undo what the floor protects.
    """
    return any(_counts(notice, case) and not is_hold(notice) for notice in case.reading.ways_back)


def narrows_by_notice(case: Case) -> bool:
    """Whether a restriction that enough functions signed says how the release is narrowed."""
    return any(
        notice.statement.predicate.restriction is not None and _is_in_strength(notice, case)
        for notice in case.reading.notices
    )


def is_hold(notice: SignedNotice) -> bool:
    """Whether the notice holds new activations and takes nothing away."""
    return notice.statement.predicate.kind == NoticeKind.HOLD


def _stops_only_new(notice: SignedNotice) -> bool:
    said = notice.statement.predicate
    withdrawn = said.kind == NoticeKind.WITHDRAWAL
    return is_hold(notice) or (said.action == NoticeAction.NO_NEW_ACTIVATION and not withdrawn)


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


def holds_of(case: Case) -> tuple[SeenHold, ...]:
    """The holds that one function alone signed and that bore on this device, to be remembered.

    What was meant for others, or was only a drill, uses up nobody's hold.
    """
    return case.once(_holds_of)


def _holds_of(case: Case) -> tuple[SeenHold, ...]:
    return tuple(
        SeenHold(said.id, person.person_id, said.issued_at)
        for notice, said in ((item, item.statement.predicate) for item in case.reading.notices)
        if is_hold(notice) and not _is_confirmed(notice, case.reading) and _bears(notice, case)
        for person in notice.people
    )


def _counts(notice: SignedNotice, case: Case) -> bool:
    """Whether it bears on this device, nothing answered it, and it has not ended."""
    return (
        _bears(notice, case)
        and notice.statement.predicate.id not in _answered(case)
        and not _has_ended(notice, case)
    )


def _bears(notice: SignedNotice, case: Case) -> bool:
    """Whether enough functions signed it, it is meant for this device, and it has begun."""
    return (
        _is_in_strength(notice, case)
        and _is_meant(notice.statement.predicate.scope, case.reading)
        and _has_begun(notice, case.question)
    )


def _is_in_strength(notice: SignedNotice, case: Case) -> bool:
    """Whether those signed it whom its action needs; a drill counts where drills are taken."""
    said, policy = notice.statement.predicate, case.reading.policy
    if policy is None or (said.drill and not case.question.trust_map.takes_drills):
        return False
    suspends = said.action == NoticeAction.SUSPEND_DEVICE_FUNCTION
    if suspends and not notice.functions >= {Function.REGULATORY, Function.CLINICAL}:
        return False
    return is_signed_enough(notice, policy)


def is_signed_enough(notice: SignedNotice, policy: ApprovalPolicy) -> bool:
    """Whether people of as many functions as the policy asks for signed a notice."""
    needed = policy.functions_to_hold if is_hold(notice) else policy.functions_to_take_away
    return len(notice.functions) >= needed


def _is_meant(scope: NoticeScope, reading: Reading) -> bool:
    context = reading.context
    if not reading.context_trusted or context is None:
        # An untrusted context cannot take a device out of the scope of a notice.
        return True
    return (
        (scope.mode == "all" or context.placement.jurisdiction in scope.jurisdictions)
        and (scope.sites is None or scope.sites.include(context.placement))
        and (scope.devices is None or scope.devices.includes(context.factory))
    )


def _answered(case: Case) -> tuple[str, ...]:
    """The notices that a statement answers, if every approval that it needs is there.

    What the statement answered under which a release runs stays answered: it was approved then.
    """
    kept, listed = case.reading.kept, case.reading.statement
    answers = () if kept is None else kept.predicate.answers
    if listed is None:
        return answers
    counted = missing_approvals(case)
    return answers if counted is None or counted[0] else (*answers, *listed.predicate.answers)


def _has_begun(notice: SignedNotice, question: Question) -> bool:
    said = notice.statement.predicate
    vouched = max(filter(None, [question.clinical.issued_at, question.proven]), default=None)
    if is_hold(notice) and vouched is not None and said.issued_at > vouched:
        # A hold lasts from its issue time: one that is dated ahead would last for ever.
        return False
    # That it could be read proves that its issue time has passed, whatever the clocks say.
    if said.effective_at <= said.issued_at:
        return True
    return question.proven is not None and said.effective_at <= question.proven


def _has_ended(notice: SignedNotice, case: Case) -> bool:
    """By proven time, never by a clock that ran ahead; an unconfirmed hold ends, always.

    Where something is granted the clock must agree: who signs issue times could hurry them.
    What withdraws or narrows never ends by itself, unless it is a drill: only a statement that
    answers it gives back.
    """
    said, question = notice.statement.predicate, case.question
    passed = case.earliest if question.phase.grants else question.proven
    restricts = said.action.rank >= NoticeAction.RESTRICT.rank
    if not said.drill and (
        said.kind == NoticeKind.WITHDRAWAL or (restricts and not is_hold(notice))
    ):
        return False
    ends = said.expires_at
    if is_hold(notice) and not _is_confirmed(notice, case.reading):
        if all(_held_before(said, person.person_id, case) for person in notice.people):
            return True
        longest = said.issued_at + timedelta(hours=MAX_HOLD_HOURS)
        ends = min(ends or longest, longest)
    return ends is not None and passed is not None and ends <= passed


def _is_confirmed(notice: SignedNotice, reading: Reading) -> bool:
    """Whether as many functions signed the hold as taking away would need."""
    policy = reading.policy
    return policy is not None and len(notice.functions) >= policy.functions_to_take_away


def _held_before(said: SafetyNotice, person_id: str, case: Case) -> bool:
    """Whether this person held this release in the 30 days before; an id used again counts."""
    earliest = said.issued_at - timedelta(days=HOLD_AGAIN_DAYS)
    return any(
        hold.person_id == person_id and earliest < hold.issued_at < said.issued_at
        for hold in (*case.question.seen_holds, *holds_of(case))
    )
