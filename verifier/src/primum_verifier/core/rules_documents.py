"""Do the clinical documents allow it: listed, approved by enough people, evidenced, in time?"""

from __future__ import annotations

from primum_verifier.core.approval import POLICY_TARGET, PersonStatus
from primum_verifier.core.component import ItemKind
from primum_verifier.core.counted_approvals import missing_approvals, needed_approvals, scope_of
from primum_verifier.core.document import DigestSet
from primum_verifier.core.eligibility import INDEX_TARGET, OpenIssues
from primum_verifier.core.reading import CONTEXT as CONTEXT_PLACE
from primum_verifier.core.reading import Reading
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import (
    ALL_PHASES,
    CONTEXT,
    GRANTING,
    INDEX,
    POLICY,
    STATEMENT,
    Case,
    Finding,
    Rule,
    problem,
    refused,
    rule,
    told,
)
from primum_verifier.core.rules_deployable import is_fresh
from primum_verifier.core.standing_notices import blocking, narrows_by_notice
from primum_verifier.core.vocabulary import (
    ON_PATIENTS,
    Decision,
    IndexStatus,
    NoticeKind,
    Phase,
    Stage,
)

_INDEX_REASONS = {
    IndexStatus.HELD: Reason.ELIGIBILITY_HELD,
    IndexStatus.RESTRICTED: Reason.ELIGIBILITY_POPULATION,
    IndexStatus.WITHDRAWN: Reason.ELIGIBILITY_WITHDRAWN,
}


@rule(
    "device-context",
    Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    source=CONTEXT,
    clause="UDI: 21 CFR 830; ISO 13485 7.5.8",
    phases=ALL_PHASES,
)
def context_is_trusted(case: Case) -> Finding:
    """Enough provisioning keys that both authorities list signed who and where this device is."""
    question, reading = case.question, case.reading
    context, threshold = reading.context, reading.context_threshold
    faults = []
    if context is None or threshold is None:
        nothing = "no provisioning keys listed by both authorities"
        faults.append(problem(reading, CONTEXT_PLACE, nothing))
    else:
        if reading.context_signers < threshold:
            faults.append(f"{reading.context_signers} of {threshold} signatures")
        if context.factory.public_key.public != question.device_key:
            faults.append("bound to another device's key")
        if context.factory.hardware_id != question.hardware_id:
            faults.append(f"says hardware {context.factory.hardware_id}")
        if context.number < question.context_floor:
            faults.append(f"number {context.number} below {question.context_floor}")
        now = case.latest
        if question.phase.grants and now is not None and context.not_after <= now:
            faults.append(f"ended {told(context.not_after)}")
    return Finding(
        not faults,
        "; ".join(faults) or f"number {context.number if context else 0}, trusted",
        "signed at threshold by keys both authorities list, for this device's key",
    )


@rule(
    "clinical-fresh",
    Reason.TRUST_EXPIRED,
    source="clinical metadata",
    clause="TUF 5.3.10, 5.4.4, 5.5.6, 5.6.5",
    phases=GRANTING,
)
def clinical_is_fresh(case: Case) -> Finding:
    """Clinical's roles are unexpired; the role ``eligibility`` bounds the age of the index."""
    return is_fresh(case.question.clinical, ("eligibility", "safety"), case)


@rule(
    "one-person-one-function",
    Reason.ELIGIBILITY_APPROVALS,
    source=POLICY,
    clause="21 CFR 11.100, 11.300",
)
def people_hold_one_function(case: Case) -> Finding:
    """The policy could be read, so each person in it holds one function and one key."""
    policy = case.reading.policy
    people = () if policy is None else policy.people
    gone = sum(person.status != PersonStatus.ACTIVE for person in people)
    found = f"{len(people) - gone} people, {gone} whose keys ended"
    return Finding(
        policy is not None,
        problem(case.reading, POLICY_TARGET, found),
        "each person with one function and one key",
        reason=_why_unread(case.reading, POLICY_TARGET),
    )


@rule(
    "safety-notices",
    Reason.ELIGIBILITY_WITHDRAWN,
    source="safety notices",
    clause="ISO 13485 8.3.3; MDR 2017/745 Art. 87-89; 21 CFR 806",
)
def no_notice_forbids(case: Case) -> Finding | str:
    """No safety notice in force forbids it, and none stands there unread.

    On the way back a line that cannot be read forbids nothing: one near-line key could write it,
    and would turn every roll-back into safe mode.
    """
    notice = blocking(case)
    expected = "every notice readable, none in force that forbids it"
    whole = case.reading.notices_whole
    readable = case.reading.notices_there and case.question.phase == Phase.FALL_BACK
    if notice is None and not whole and readable:
        return "no notice in force; a line that cannot be read forbids no way back"
    if notice is None:
        return Finding(
            whole or None,
            "no notice in force" if whole else "missing, or not every line of them can be read",
            expected,
            reason=Reason.TRUST_STALE_INDEX,
        )
    said = notice.statement.predicate
    held = said.kind == NoticeKind.HOLD
    return refused(
        f"{said.kind}: {said.reason.text}",
        expected,
        reason=Reason.ELIGIBILITY_HELD if held else None,
        source=said.id,
    )


@rule("index-lists-it", Reason.ELIGIBILITY_ABSENT, source=INDEX, clause="ISO 13485 8.2.6")
def index_lists_it(case: Case) -> Finding:
    """The allow-list names this very digest as eligible; absence is never permission.

    What is restricted stands on the list too: the notice that restricts is judged by itself.
    """
    index, entry = case.reading.index, case.reading.entry
    expected = "eligible on the newest list"
    if index is None:
        found = problem(case.reading, INDEX_TARGET, "no index")
        reason = _why_unread(case.reading, INDEX_TARGET) or Reason.TRUST_STALE_INDEX
        return refused(found, expected, reason=reason)
    if entry is None:
        unread = case.reading.unread_entries
        found = f"not on list {index.number}" + (f"; {unread} entries unread" if unread else "")
        return refused(found, expected)
    if case.reading.contradicted:
        found = "entries that contradict each other"
        return refused(found, expected, reason=Reason.ELIGIBILITY_HELD)
    # That a list could be read proves that its issue time has passed, whatever the clocks say.
    if entry.effective_at > max(filter(None, [index.issued_at, case.earliest])):
        found = f"from {told(entry.effective_at)}"
        return refused(found, expected, reason=Reason.ELIGIBILITY_NOT_YET_VALID)
    restricted = entry.status == IndexStatus.RESTRICTED and narrows_by_notice(case)
    return Finding(
        entry.status == IndexStatus.ELIGIBLE or restricted,
        f"{entry.status} on list {index.number}",
        expected,
        reason=_INDEX_REASONS.get(entry.status),
    )


@rule(
    "statement",
    Reason.ELIGIBILITY_ABSENT,
    source=STATEMENT,
    clause="in-toto Statement v1; IEC 62304 5.8.8",
    phases=ALL_PHASES,
)
def statement_is_about_it(case: Case) -> Finding:
    """The statement that the index names is there, is about this digest, and was not burned."""
    reading, release = case.reading, case.question.release
    statement, policy = reading.statement, reading.policy
    floor = 0 if policy is None else policy.min_statement_number
    burned = policy is not None and any(
        item.sha256 == reading.statement_digest for item in policy.burned_statements
    )
    expected = f"a statement about {release[:12]}, number {floor} or higher"
    if statement is None or reading.statement_digest is None:
        found = problem(reading, "statement", "no statement")
        return refused(found, expected, reason=_why_unread(reading, "statement"))
    number = statement.predicate.statement_number
    if burned or number < floor:
        found = "burned by the approval policy" if burned else f"number {number}"
        return refused(found, expected, reason=Reason.ELIGIBILITY_SUPERSEDED)
    return Finding(statement.release == release, f"about {statement.release[:12]}", expected)


@rule(
    "approvals",
    Reason.ELIGIBILITY_APPROVALS,
    source=POLICY,
    clause="21 CFR 11.50, 11.70; ISO 13485 8.2.6",
)
def approvals_are_enough(case: Case) -> Finding:
    """Enough distinct people of each function approved this very statement, by the policy."""
    counted = missing_approvals(case)
    expected = "what the policy needs for " + ", ".join(scope_of(case))
    if counted is None:
        found = problem(case.reading, POLICY_TARGET, "the policy names no such stage and tier")
        return refused(found, expected)
    missing, found = counted
    return Finding(not missing, f"{found}; missing: {missing}" if missing else found, expected)


@rule(
    "ladder",
    Reason.ELIGIBILITY_EVIDENCE,
    source=STATEMENT,
    clause="stage gate; synthetic data alone prove nothing for production",
)
def ladder_is_climbed(case: Case) -> Finding | str:
    """The rungs of validation that the policy asks for were met, and not on made-up data alone."""
    said, needed = case.said, needed_approvals(case)
    wanted = () if needed is None else needed.rungs
    if not wanted and not said.ladder:
        return "the policy asks for no rung, and none is named"
    met = {item.rung for item in said.ladder if item.result == "met"}
    missing = [str(rung) for rung in wanted if rung not in met]
    if said.stage == Stage.PRODUCTION and said.ladder and ON_PATIENTS.isdisjoint(met):
        missing.append("a rung on data of patients")
    missing += [f"{item.rung} was not met" for item in said.ladder if item.result != "met"]
    return Finding(
        not missing,
        f"missing: {', '.join(missing)}" if missing else ", ".join(sorted(met)),
        ", ".join(wanted) or "every rung that is named met",
    )


@rule("evidence", Reason.ELIGIBILITY_EVIDENCE, source=STATEMENT, clause="IEC 62304 5.8.4, 5.8.7")
def evidence_is_named(case: Case) -> Finding | str:
    """Every item of evidence that the policy asks for is named by digest."""
    said, needed = case.said, needed_approvals(case)
    if needed is None or not needed.evidence:
        return "the policy asks for no item"
    named = {item.name for item in said.evidence}
    missing = [name for name in needed.evidence if name not in named]
    found = f"missing: {', '.join(missing)}" if missing else f"{len(named)} items"
    return Finding(not missing, found, ", ".join(needed.evidence))


@rule("open-issues", Reason.ELIGIBILITY_EVIDENCE, source=STATEMENT, clause="IEC 62304 5.8.2-5.8.3")
def open_issues_are_few(case: Case) -> Finding | str:
    """No more known anomalies stay open than the policy lets."""
    policy, found = case.reading.policy, case.said.open_issues
    if policy is None or policy.open_issues is None:
        return "the policy sets no limit"
    most = policy.open_issues
    few = found is not None and (
        found.critical <= most.critical and found.major <= most.major and found.minor <= most.minor
    )
    return Finding(few, _issues(found), f"at most {_issues(most)}")


def _issues(issues: OpenIssues | None) -> str:
    if issues is None:
        return "not stated"
    return f"{issues.critical} critical, {issues.major} major, {issues.minor} minor"


@rule(
    "baselines",
    Reason.ELIGIBILITY_EVIDENCE,
    source=STATEMENT,
    clause="FDA PCCP guidance 2025 VII.B(3): original and last modified",
)
def baselines_were_compared(case: Case) -> Finding | str:
    """A changed release was compared with the very two baselines that its manifest names."""
    manifest, stated = case.manifest, case.said.baselines
    if manifest.previous is None or manifest.original is None:
        return "a first release has no baseline"
    expected = (manifest.original.sha256, manifest.previous.sha256)
    found = (
        None if stated is None else (stated.original_authorised.sha256, stated.last_modified.sha256)
    )
    return Finding(
        found == expected,
        "none" if found is None else f"original {found[0][:12]}, last {found[1][:12]}",
        f"original {expected[0][:12]}, last {expected[1][:12]}",
    )


@rule(
    "change-tier",
    Reason.ELIGIBILITY_EVIDENCE,
    source=STATEMENT,
    clause="MDR 2017/745 Annex IX 4.10; IEC 62304 6.2.3",
)
def tier_is_not_lowered(case: Case) -> Finding:
    """Clinical judged the change at least as large as engineering did; people may raise it."""
    built, judged = case.manifest.change_tier, case.said.change_tier
    return Finding(judged.rank >= built.rank, str(judged), f"{built} or higher")


@rule(
    "intended-use",
    Reason.ELIGIBILITY_MODE,
    source=STATEMENT,
    clause="MDR 2017/745 Annex I 17, 23",
)
def intended_use_is_the_same(case: Case) -> Finding:
    """Engineering built for the very intended use that clinical signed."""
    found, expected = case.said.intended_use.digest.sha256, case.manifest.intended_use.sha256
    return Finding(found == expected, found[:12], expected[:12])


def _same_item(case: Case, wanted: DigestSet | None, kind: ItemKind) -> Finding | str:
    """The item of a kind in the manifest is the one that clinical signed."""
    if wanted is None:
        return "the statement names none"
    item = case.manifest.item_of_kind(kind)
    found = "none" if item is None else item.digest.sha256
    return Finding(found == wanted.sha256, found[:12], f"{kind} {wanted.sha256[:12]}")


@rule(
    "operating-point",
    Reason.COMPAT_CONTRACT,
    source=STATEMENT,
    clause="threshold rationale; ISO 14971 7.4",
)
def thresholds_are_the_same(case: Case) -> Finding | str:
    """The thresholds in the release are those at which the evidence was gathered."""
    return _same_item(case, case.said.operating_point.threshold_set, ItemKind.THRESHOLD_SET)


@rule(
    "self-test-signed", Reason.COMPAT_CONTRACT, source=STATEMENT, clause="IEC 62304 5.6; PCCP 4.b.3"
)
def self_test_is_the_same(case: Case) -> Finding | str:
    """The device tests itself by the specification that clinical signed."""
    return _same_item(case, case.said.self_test, ItemKind.SELF_TEST_SPECIFICATION)


@rule("monitoring", Reason.COMPAT_CONTRACT, source=STATEMENT, clause="AI Act Art. 72; MDR Art. 83")
def monitoring_is_there(case: Case) -> Finding | str:
    """The release carries the monitoring specification that clinical signed."""
    wanted = case.said.monitoring_specification
    return _same_item(case, wanted, ItemKind.MONITORING_SPECIFICATION)


@rule(
    "labelling",
    Reason.COMPAT_CONTRACT,
    source=STATEMENT,
    clause="MDR 2017/745 Annex I 23; PCCP V.C",
)
def labelling_is_there(case: Case) -> Finding | str:
    """The release carries the instructions for use that clinical signed."""
    labelling = case.said.labelling
    ifu = None if labelling is None else labelling.ifu
    return _same_item(case, ifu, ItemKind.INSTRUCTIONS_FOR_USE)


@rule(
    "stage",
    Reason.ELIGIBILITY_STAGE,
    source=STATEMENT,
    clause="stage gate; 21 CFR 812; MDR 2017/745 Art. 62",
)
def stage_fits(case: Case) -> Finding:
    """The statement's stage is the device's, and not beyond what engineering built it for."""
    stage, serves, most = case.said.stage, case.question.trust_map.stage, case.manifest.max_stage
    return Finding(
        stage == serves and stage.rank <= most.rank, str(stage), f"{serves}, and at most {most}"
    )


@rule("validity", Reason.ELIGIBILITY_EXPIRED, source=STATEMENT, clause="validity period")
def it_is_valid_now(case: Case) -> Finding:
    """The statement has begun and has not ended, by the stricter of clock and proven time."""
    validity = case.said.validity
    # By whether it has begun.
    reasons = {
        None: Reason.TRUST_TIME_UNKNOWN,
        False: Reason.ELIGIBILITY_NOT_YET_VALID,
        True: Reason.ELIGIBILITY_EXPIRED,
    }
    return Finding(
        case.is_within(validity.not_before, validity.not_after),
        f"proven {told(case.question.proven)}, clock {told(case.question.clock)}",
        f"from {told(validity.not_before)} until before {told(validity.not_after)}",
        reason=reasons[case.is_within(validity.not_before, None)],
    )


@rule("index-age", Reason.TRUST_STALE_INDEX, source=INDEX, clause="freshness of the allow-list")
def index_is_young(case: Case) -> Finding:
    """The list is not older than the statement allows; the way back has the grace of what runs."""
    validity, now = case.said.validity, case.latest
    grace = validity.offline_grace_hours if case.question.phase == Phase.FALL_BACK else 0
    hours = validity.max_index_age_hours + grace
    issued = case.list_issued_at
    age = None if now is None or issued is None else (now - issued).total_seconds() / 3600
    return Finding(
        None if age is None else age <= hours,
        "unknown" if age is None else f"{max(age, 0):.1f} hours",
        f"at most {hours} hours",
        reason=Reason.TRUST_TIME_UNKNOWN if age is None else None,
    )


@rule(
    "site-acceptance",
    Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    source="site acceptance",
    clause="IEC 80001-1: the responsible organisation decides",
    phases=GRANTING,
)
def site_accepts(case: Case) -> Finding | str:
    """The responsible organisation, where the trust map names one, lets this statement in now."""
    view, digest = case.question.site, case.reading.statement_digest
    acceptance, context = case.reading.acceptance, case.context
    nobody = "no organisation on the trust map"
    if case.question.trust_map.site_root is None:
        # Shadow use needs a named organisation's yes: outputs of a stranger run at its bedside.
        if case.said.decision == Decision.SHADOW_ONLY:
            return refused(nobody, "an acceptance for shadow use")
        return nobody
    expected = f"an acceptance of statement {str(digest)[:12]} by this site, fresh and in time"
    if view is None or acceptance is None or digest is None:
        return refused(problem(case.reading, "site/acceptance.json", "silence"), expected)
    fresh = is_fresh(view, (), case)
    if not fresh.holds:
        return fresh
    accepted = acceptance.of(digest)
    if context.placement.site_id not in acceptance.sites or accepted is None:
        return refused("not accepted here", expected)
    start, until = accepted.accepted_from, accepted.accepted_until
    period = f"from {told(start)}" + (f" until {told(until)}" if until else "")
    return Finding(case.is_within(start, until), period, expected)


def _why_unread(reading: Reading, where: str) -> Reason | None:
    """The reason code of a document with a critical member that is not known here."""
    error = reading.problems.get(where)
    unknown = error is not None and error.reason == Reason.ELIGIBILITY_CRIT_UNKNOWN
    return Reason.ELIGIBILITY_CRIT_UNKNOWN if unknown else None


DOCUMENTS: tuple[Rule, ...] = (
    context_is_trusted,
    clinical_is_fresh,
    people_hold_one_function,
    no_notice_forbids,
    index_lists_it,
    statement_is_about_it,
    approvals_are_enough,
    ladder_is_climbed,
    evidence_is_named,
    open_issues_are_few,
    baselines_were_compared,
    tier_is_not_lowered,
    intended_use_is_the_same,
    thresholds_are_the_same,
    self_test_is_the_same,
    monitoring_is_there,
    labelling_is_there,
    stage_fits,
    it_is_valid_now,
    index_is_young,
    site_accepts,
)
"""Every rule about the clinical documents, in the order in which a refusal is explained."""
