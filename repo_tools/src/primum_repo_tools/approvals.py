"""Approvals: each person signs that person's own statement over the digest of the statement.

All signers of one envelope sign the same bytes, so a signer's own name, meaning and time cannot
be in them; one envelope for each person can carry them (21 CFR 11.50, 11.70).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import uuid4

from primum_repo_tools.eligibility import StatementDraft
from primum_repo_tools.files import write_durably
from primum_repo_tools.keys import sign_envelope
from primum_repo_tools.peer_release import PeerRelease
from primum_repo_tools.people import Approver
from primum_repo_tools.policy import published_policy
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.approval import (
    POLICY_TARGET,
    Approval,
    ApprovalPolicy,
    ApprovalScope,
    ApprovalStatement,
    Meaning,
    Requirement,
)
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import DigestSet, ResourceDescriptor
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    STATEMENT_TYPE,
    EligibilityIndex,
    approvals_target,
    statement_target,
)
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE
from primum_verifier.core.question import Question
from primum_verifier.core.reading import read
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import Case, Rule
from primum_verifier.core.rules_deployable import authorities_are_disjoint, manifest_is_signed
from primum_verifier.core.rules_documents import (
    approvals_are_enough,
    baselines_were_compared,
    evidence_is_named,
    index_lists_it,
    intended_use_is_the_same,
    it_is_valid_now,
    labelling_is_there,
    ladder_is_climbed,
    monitoring_is_there,
    no_notice_forbids,
    open_issues_are_few,
    self_test_is_the_same,
    stage_fits,
    statement_is_about_it,
    thresholds_are_the_same,
    tier_is_not_lowered,
)
from primum_verifier.core.view import AuthorityView, SignedDocument
from primum_verifier.core.vocabulary import Phase
from primum_verifier.record.signatures import Signature, signature_page

_RULES: tuple[Rule, ...] = (
    manifest_is_signed,
    authorities_are_disjoint,
    statement_is_about_it,
    intended_use_is_the_same,
    stage_fits,
    it_is_valid_now,
    ladder_is_climbed,
    evidence_is_named,
    open_issues_are_few,
    baselines_were_compared,
    tier_is_not_lowered,
    thresholds_are_the_same,
    self_test_is_the_same,
    monitoring_is_there,
    labelling_is_there,
    approvals_are_enough,
    index_lists_it,
    no_notice_forbids,
)
"""The device's own rules, as far as they can be asked without a device."""


def approval_statement(
    draft: StatementDraft,
    approver: Approver,
    *,
    meaning: Meaning,
    decision: Literal["approve", "reject"],
    comment: str,
    now: datetime,
) -> ApprovalStatement:
    """What one person is about to sign."""
    predicate = draft.statement.predicate
    return ApprovalStatement.model_validate(
        {
            "_type": STATEMENT_TYPE,
            "subject": (
                ResourceDescriptor(
                    name="eligibility statement", digest=DigestSet(sha256=draft.sha256)
                ),
            ),
            "predicateType": "urn:primum:approval:v0.1",
            "predicate": Approval(
                schema_version="0.1",
                id=uuid4().urn,
                function=approver.settings.function,
                person_id=approver.settings.person_id,
                printed_name=approver.settings.printed_name,
                meaning=meaning,
                decision=decision,
                signed_at=now,
                scope=ApprovalScope(stage=predicate.stage, change_tier=predicate.change_tier),
                comment=comment,
            ),
        }
    )


def sign_approval(
    workbench: Workbench,
    draft: StatementDraft,
    approver: Approver,
    statement: ApprovalStatement,
    *,
    now: datetime,
) -> None:
    """Sign one approval with the person's key and lay it beside the draft.

    A person who signs again replaces what that person said before; both stay in the records.

    Raises:
        RefusedError: the statement was rejected, or the clock is wrong.
    """
    repository = AuthorityRepository(workbench, now=now)
    repository.check_clock()
    refuse_rejected(draft, published_policy(repository))
    envelope = sign_envelope(
        statement.to_bytes(), payload_type=INTOTO_PAYLOAD_TYPE, signers=[approver.signer]
    )
    person = approver.settings.person_id
    write_durably(draft.folder / "approvals" / f"{person}.dsse.json", envelope)
    said = statement.predicate
    workbench.record(
        "approval.signed",
        at=now,
        release=draft.manifest.name,
        statement=draft.sha256,
        person=person,
        function=said.function,
        meaning=said.meaning,
        decision=said.decision,
    )


def given_approvals(draft: StatementDraft, policy: ApprovalPolicy) -> tuple[Signature, ...]:
    """The signature page of a draft: what each person said, and why one does not count.

    Raises:
        RefusedError: an approval beside the draft cannot be read.
    """
    where, said = str(draft.folder / "approvals"), draft.statement.predicate
    scope = ApprovalScope(stage=said.stage, change_tier=said.change_tier)
    return tuple(
        signature_page(
            draft.approvals(), policy=policy, statement=draft.sha256, scope=scope, where=where
        )
    )


def missing_functions(
    given: Iterable[Signature], requirement: Requirement | None
) -> dict[str, int]:
    """How many people of each function are missing; nobody where the policy asks for none."""
    people = {(item.function, item.person_id) for item in given if item.counts}
    approved = Counter(function for function, _ in people)
    needed = {} if requirement is None else requirement.functions
    return {
        str(function): count - approved[function]
        for function, count in needed.items()
        if approved[function] < count
    }


def refuse_rejected(draft: StatementDraft, policy: ApprovalPolicy) -> None:
    """Refuse a draft that somebody rejected: it is neither signed further nor published.

    Raises:
        RefusedError: ``eligibility.approvals``, with who rejected it and why.
    """
    for given in given_approvals(draft, policy):
        if given.is_valid and given.decision == "reject":
            bundle = draft.manifest.bundle
            raise RefusedError(
                "The statement was rejected.",
                reason=Reason.ELIGIBILITY_APPROVALS,
                where=draft.manifest.name,
                found=f"{given.printed_name} ({given.function}): {given.comment or 'no comment'}",
                expected="no rejection",
                remedy="Answer the rejection, then prepare a new statement: primum-repo approve "
                f"prepare {draft.folder.parents[2]} {bundle.component} {bundle.version} "
                "--terms TOML",
            )


def require_approvals(
    draft: StatementDraft,
    *,
    release: PeerRelease,
    index: EligibilityIndex,
    policy: ApprovalPolicy,
    notices: bytes,
    clinical_keys: frozenset[str],
    now: datetime,
) -> None:
    """Ask the device's own rules whether this statement would be eligible, and who is missing.

    Args:
        draft: the statement with its approvals.
        release: as engineering published it.
        index: the index as it would be published.
        policy: the approval policy that is published.
        notices: the safety notices that are published, one envelope a line.
        clinical_keys: every public key of the clinical authority.
        now: the moment judged.

    Raises:
        RefusedError: the first rule that refuses, or somebody rejected it.
    """
    refuse_rejected(draft, policy)
    documents = {
        INDEX_TARGET: SignedDocument(index.to_bytes(), ELIGIBILITY_ROLE),
        statement_target(draft.sha256): SignedDocument(draft.data, ELIGIBILITY_ROLE),
        approvals_target(draft.sha256): SignedDocument(
            b"\n".join(draft.envelopes()) + b"\n", ELIGIBILITY_ROLE
        ),
        POLICY_TARGET: SignedDocument(policy.to_bytes(), "targets"),
        NOTICES_TARGET: SignedDocument(notices, SAFETY_ROLE),
    }
    question = Question(
        phase=Phase.INSTALL,
        release=release.sha256,
        trust_map=_any_device(draft, now=now),
        engineering=release.view,
        clinical=AuthorityView("clinical", {}, now, documents, clinical_keys),
        device_context=b"{}",
        agent_version="0.1.0",
        hardware_id=draft.statement.predicate.constraints.hardware[0].hardware_id,
        device_key="",
        clock=now,
        proven=now,
    )
    case = Case(question, read(question))
    for rule in _RULES:
        check = rule.ask(case)
        if check.stands_in_the_way:
            raise RefusedError(
                "The release would not be eligible on any device.",
                reason=check.reason or Reason.ELIGIBILITY_ABSENT,
                where=f"{draft.manifest.name}: {check.name} ({check.source})",
                found=check.found,
                expected=check.expected,
                remedy=_remedy(draft, check.name),
            )


def _remedy(draft: StatementDraft, check: str) -> str:
    workbench, bundle = draft.folder.parents[2], draft.manifest.bundle
    if check == "safety-notices":
        return (
            "Prepare a new statement, which answers the notice, and collect every approval: "
            f"primum-repo approve prepare {workbench} {bundle.component} {bundle.version} "
            "--terms TOML"
        )
    return f"See who signed: primum-repo approve list {workbench}"


def _any_device(draft: StatementDraft, *, now: datetime) -> TrustMap:
    """A trust map of the statement's own stage: the rules are asked for the devices it is for."""
    nobody = DigestSet(sha256="0" * 64)
    return TrustMap(
        type="urn:primum:trust-map:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1,
        issued_at=now,
        stage=draft.statement.predicate.stage,
        component=draft.manifest.bundle.component,
        engineering_root=nobody,
        clinical_root=nobody,
    )
