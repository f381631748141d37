"""Is the release eligible: may it be used on this device, at this place, for this purpose, now?"""

from __future__ import annotations

from primum_verifier.core.approval import PersonStatus
from primum_verifier.core.eligibility import Eligibility
from primum_verifier.core.question import Check, Question
from primum_verifier.core.reading import Reading
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import (
    Rule,
    checked,
    earliest,
    latest,
    not_applicable,
    problem,
    told,
)
from primum_verifier.core.rules_deployable import view_is_fresh
from primum_verifier.core.rules_running import notice_in_force
from primum_verifier.core.vocabulary import Function, IndexStatus, NoticeKind, Phase, Stage

_STATEMENT = "eligibility statement"
_INDEX = "eligibility index"
_CONTEXT = "device context"
_POLICY = "approval policy"
_INDEX_REASONS = {
    IndexStatus.HELD: Reason.ELIGIBILITY_HELD,
    IndexStatus.RESTRICTED: Reason.ELIGIBILITY_POPULATION,
    IndexStatus.WITHDRAWN: Reason.ELIGIBILITY_WITHDRAWN,
}
_NOTICE_REASONS = {
    NoticeKind.HOLD: Reason.ELIGIBILITY_HELD,
    NoticeKind.RESTRICTION: Reason.ELIGIBILITY_POPULATION,
    NoticeKind.WITHDRAWAL: Reason.ELIGIBILITY_WITHDRAWN,
    NoticeKind.FIELD_ACTION: Reason.ELIGIBILITY_WITHDRAWN,
}


def _predicate(reading: Reading) -> Eligibility | None:
    return None if reading.statement is None else reading.statement.predicate


def context_is_trusted(question: Question, reading: Reading) -> Check:
    """Enough provisioning keys that both authorities list signed who and where this device is."""
    context, threshold = reading.context, reading.context_threshold
    faults = []
    if context is None or threshold is None:
        faults.append(problem(reading, _CONTEXT, "no provisioning keys listed by both authorities"))
    else:
        if reading.context_signers < threshold:
            faults.append(f"{reading.context_signers} of {threshold} signatures")
        if context.factory.public_key.public != question.device_key:
            faults.append("bound to another device's key")
        if context.factory.hardware_id != question.hardware_id:
            faults.append(f"says hardware {context.factory.hardware_id}")
        if context.number < question.context_floor:
            faults.append(f"number {context.number} below {question.context_floor}")
        now = latest(question)
        if question.phase == Phase.INSTALL and now is not None and context.not_after <= now:
            faults.append(f"ended {told(context.not_after)}")
    return checked(
        "device-context",
        holds=not faults,
        reason=Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
        found="; ".join(faults) or f"number {context.number if context else 0}, trusted",
        expected="signed at threshold by keys both authorities list, for this device's key",
        source=_CONTEXT,
        clause="UDI: 21 CFR 830; ISO 13485 7.5.8",
    )


def clinical_is_fresh(question: Question, _: Reading) -> Check:
    """Clinical's roles are unexpired; the role eligibility bounds the age of the index."""
    roles = ("timestamp", "snapshot", "targets", "eligibility", "safety")
    return view_is_fresh(question.clinical, roles, question)


def no_notice_holds(question: Question, reading: Reading) -> Check:
    """No safety notice about this release is in force, and none stands there unread."""
    notice = notice_in_force(question, reading)
    if notice is None and not reading.notices_whole:
        return checked(
            "safety-notices",
            holds=None,
            reason=Reason.TRUST_STALE_INDEX,
            found="the notices are missing, or not every line of them can be read",
            expected="every notice readable",
            source="safety notices",
            clause="ISO 13485 8.3.3; absence is never permission",
        )
    return checked(
        "safety-notices",
        holds=notice is None,
        reason=(
            Reason.ELIGIBILITY_HELD
            if notice is None
            else _NOTICE_REASONS[notice.statement.predicate.kind]
        ),
        found=(
            "no notice in force"
            if notice is None
            else f"{notice.statement.predicate.kind}: {notice.statement.predicate.reason.text}"
        ),
        expected="no notice in force",
        source="safety notice" if notice is None else notice.statement.predicate.id,
        clause="ISO 13485 8.3.3; MDR 2017/745 Art. 87-89; 21 CFR 806",
    )


def index_lists_it(_: Question, reading: Reading) -> Check:
    """The allow-list names this very digest as eligible; absence is never permission."""
    if reading.index is None:
        found, reason = (
            problem(reading, "eligibility/index.json", "no index"),
            Reason.TRUST_STALE_INDEX,
        )
    elif reading.entry is None:
        found = f"not on list {reading.index.number}"
        reason = Reason.ELIGIBILITY_ABSENT
    else:
        found = f"{reading.entry.status} on list {reading.index.number}"
        reason = _INDEX_REASONS.get(reading.entry.status, Reason.ELIGIBILITY_ABSENT)
    listed = reading.entry is not None and reading.entry.status == IndexStatus.ELIGIBLE
    return checked(
        "index-lists-it",
        holds=listed,
        reason=reason,
        found=found,
        expected="eligible on the newest list",
        source=_INDEX,
        clause="ISO 13485 8.2.6",
    )


def statement_is_about_it(question: Question, reading: Reading) -> Check:
    """The statement that the index names is there, is about this digest, and was not burned."""
    statement, policy = reading.statement, reading.policy
    burned = policy is not None and any(
        item.sha256 == reading.statement_digest for item in policy.burned_statements
    )
    floor = 0 if reading.index is None else reading.index.min_statement_number
    reason = Reason.ELIGIBILITY_ABSENT
    if statement is None or reading.statement_digest is None:
        where = f"eligibility/{reading.statement_digest}/statement.json"
        found, holds = problem(reading, where, "no statement"), False
    elif burned:
        found, holds, reason = "burned by the approval policy", False, Reason.ELIGIBILITY_SUPERSEDED
    elif statement.predicate.statement_number < floor:
        found, holds = f"number {statement.predicate.statement_number}", False
        reason = Reason.ELIGIBILITY_SUPERSEDED
    else:
        found, holds = f"about {statement.release[:12]}", statement.release == question.release
    return checked(
        "statement",
        holds=holds,
        reason=reason,
        found=found,
        expected=f"a statement about {question.release[:12]}, number {floor} or higher",
        source=_STATEMENT,
        clause="in-toto Statement v1; IEC 62304 5.8.8",
    )


def approvals_are_enough(question: Question, reading: Reading) -> Check:
    """Enough distinct people of each function approved this very statement, by the policy."""
    policy, predicate = reading.policy, _predicate(reading)
    stage = question.trust_map.stage if predicate is None else predicate.stage
    needed = None if policy is None else policy.needed_for(stage)
    if policy is None or needed is None:
        return checked(
            "approvals",
            holds=False,
            reason=Reason.ELIGIBILITY_APPROVALS,
            found=problem(reading, "policy/approval-policy.json", "no policy for this stage"),
            expected="an approval policy that names the stage",
            source=_POLICY,
            clause="21 CFR 11.50, 11.70; ISO 13485 8.2.6",
        )
    people: dict[Function, set[str]] = {}
    for approval in reading.approvals:
        said = approval.statement.predicate
        if (
            said.decision == "approve"
            and said.function == approval.function
            and said.person_id == approval.person_id
            and said.scope.stage == stage
            and approval.statement.subject[0].digest.sha256 == reading.statement_digest
        ):
            people.setdefault(approval.function, set()).add(approval.person_id)
    counted = {function: len(people.get(function, ())) for function in needed}
    missing = [
        f"{function} {count - counted[function]}"
        for function, count in needed.items()
        if counted[function] < count
    ]
    told_found = ", ".join(f"{function} {count}" for function, count in counted.items())
    return checked(
        "approvals",
        holds=not missing,
        reason=Reason.ELIGIBILITY_APPROVALS,
        found=f"{told_found}; missing: {', '.join(missing)}" if missing else told_found,
        expected=", ".join(f"{function} {count}" for function, count in needed.items())
        + f" for {stage}",
        source=_POLICY,
        clause="21 CFR 11.50, 11.70; ISO 13485 8.2.6",
    )


def intended_use_is_the_same(_: Question, reading: Reading) -> Check:
    """Engineering built for the very intended use that clinical signed."""
    predicate, manifest = _predicate(reading), reading.manifest
    if predicate is None or manifest is None:
        return _no_statement("intended-use", "MDR 2017/745 Annex I 17, 23")
    return checked(
        "intended-use",
        holds=predicate.intended_use.digest.sha256 == manifest.intended_use.sha256,
        reason=Reason.ELIGIBILITY_MODE,
        found=predicate.intended_use.digest.sha256[:12],
        expected=manifest.intended_use.sha256[:12],
        source=_STATEMENT,
        clause="MDR 2017/745 Annex I 17, 23",
    )


def stage_fits(question: Question, reading: Reading) -> Check:
    """The statement's stage is the device's, and not beyond what engineering built it for."""
    predicate, manifest = _predicate(reading), reading.manifest
    if predicate is None or manifest is None:
        return _no_statement("stage", "stage gate")
    serves: Stage = question.trust_map.stage
    return checked(
        "stage",
        holds=predicate.stage == serves and predicate.stage.rank <= manifest.max_stage.rank,
        reason=Reason.ELIGIBILITY_STAGE,
        found=str(predicate.stage),
        expected=f"{serves}, and at most {manifest.max_stage}",
        source=_STATEMENT,
        clause="stage gate; 21 CFR 812; MDR 2017/745 Art. 62",
    )


def jurisdiction_fits(_: Question, reading: Reading) -> Check:
    """The device was supplied where the release is authorised."""
    predicate, context = _predicate(reading), reading.context
    if predicate is None or context is None:
        return _no_statement("jurisdiction", "MDR 2017/745 Art. 27; 21 CFR 807")
    listed = predicate.constraints.jurisdictions
    return checked(
        "jurisdiction",
        holds=context.placement.jurisdiction in listed,
        reason=Reason.ELIGIBILITY_JURISDICTION,
        found=context.placement.jurisdiction,
        expected=" or ".join(listed),
        source=_CONTEXT,
        clause="MDR 2017/745 Art. 27; 21 CFR 807",
    )


def site_fits(_: Question, reading: Reading) -> Check:
    """The device stands where the release may be used."""
    predicate, context = _predicate(reading), reading.context
    if predicate is None or context is None:
        return _no_statement("site", "IEC 80001-1")
    sites = predicate.constraints.sites
    return checked(
        "site",
        holds=sites.mode == "all" or context.placement.site_id in sites.ids,
        reason=Reason.ELIGIBILITY_SITE,
        found=context.placement.site_id,
        expected="any site" if sites.mode == "all" else " or ".join(sites.ids),
        source=_CONTEXT,
        clause="IEC 80001-1",
    )


def eligible_hardware_fits(question: Question, reading: Reading) -> Check:
    """Clinical signed for the hardware that is measured here."""
    predicate = _predicate(reading)
    if predicate is None:
        return _no_statement("eligible-hardware", "IEC 62304 8.1.3")
    listed = predicate.constraints.hardware
    return checked(
        "eligible-hardware",
        holds=question.hardware_id in listed,
        reason=Reason.COMPAT_HARDWARE,
        found=question.hardware_id,
        expected=" or ".join(listed),
        source=_STATEMENT,
        clause="IEC 62304 8.1.3",
    )


def it_is_valid_now(question: Question, reading: Reading) -> Check:
    """The statement has begun and has not ended, by the stricter of clock and proven time."""
    predicate = _predicate(reading)
    if predicate is None:
        return _no_statement("validity", "validity period")
    validity = predicate.validity
    began, ends = earliest(question), latest(question)
    if question.phase == Phase.FALL_BACK:
        # Going back is the safer way: like what runs, it ends by proven time only.
        began = ends = question.proven
    if began is None or ends is None:
        holds, reason = None, Reason.TRUST_TIME_UNKNOWN
    elif began < validity.not_before:
        holds, reason = False, Reason.ELIGIBILITY_NOT_YET_VALID
    else:
        holds, reason = ends < validity.not_after, Reason.ELIGIBILITY_EXPIRED
    return checked(
        "validity",
        holds=holds,
        reason=reason,
        found=f"proven {told(question.proven)}, clock {told(question.clock)}",
        expected=f"from {told(validity.not_before)} until before {told(validity.not_after)}",
        source=_STATEMENT,
        clause="validity period of the statement",
    )


def index_is_young(question: Question, reading: Reading) -> Check:
    """The list is not older than the statement allows a list to be."""
    predicate, index, now = _predicate(reading), reading.index, latest(question)
    if predicate is None or index is None:
        return _no_statement("index-age", "freshness of the allow-list")
    if question.phase == Phase.FALL_BACK:
        now = question.proven
    hours = predicate.validity.max_index_age_hours
    age = None if now is None else (now - index.issued_at).total_seconds() / 3600
    return checked(
        "index-age",
        holds=None if age is None else age <= hours,
        reason=Reason.TRUST_TIME_UNKNOWN if age is None else Reason.TRUST_STALE_INDEX,
        found="unknown" if age is None else f"{max(age, 0):.1f} hours",
        expected=f"at most {hours} hours",
        source=_INDEX,
        clause="freshness of the allow-list",
    )


def people_hold_one_function(_: Question, reading: Reading) -> Check:
    """The policy could be read, so each person in it holds one function and one key."""
    policy = reading.policy
    active = 0 if policy is None else len(policy.active_people())
    gone = (
        0
        if policy is None
        else sum(person.status != PersonStatus.ACTIVE for person in policy.people)
    )
    return checked(
        "one-person-one-function",
        holds=policy is not None,
        reason=Reason.ELIGIBILITY_APPROVALS,
        found=problem(
            reading, "policy/approval-policy.json", f"{active} people, {gone} whose keys ended"
        ),
        expected="each person with one function and one key",
        source=_POLICY,
        clause="21 CFR 11.100, 11.300",
    )


def _no_statement(name: str, clause: str) -> Check:
    return not_applicable(name, why="no statement to judge by", source=_STATEMENT, clause=clause)


ELIGIBLE: tuple[Rule, ...] = (
    context_is_trusted,
    clinical_is_fresh,
    people_hold_one_function,
    no_notice_holds,
    index_lists_it,
    statement_is_about_it,
    approvals_are_enough,
    intended_use_is_the_same,
    stage_fits,
    jurisdiction_fits,
    site_fits,
    eligible_hardware_fits,
    it_is_valid_now,
    index_is_young,
)
"""Every rule of eligibility, in the order in which a refusal is explained."""
