"""How many people approved a statement, of those whom the approval policy asks for.

Only distinct people count, each in the function that the policy gives them, for the stage and the
tier of change that they signed for, and over this very statement (21 CFR 11.50, 11.70).
"""

from __future__ import annotations

from primum_verifier.core.approval import PersonStatus, Requirement
from primum_verifier.core.rules import Case
from primum_verifier.core.vocabulary import ChangeTier, Function, Stage


def scope_of(case: Case) -> tuple[Stage, ChangeTier]:
    """Stage and tier of the statement, or those that one about this release would have."""
    if case.reading.statement is None:
        return case.question.trust_map.stage, case.manifest.change_tier
    return case.said.stage, case.said.change_tier


def needed_approvals(case: Case) -> Requirement | None:
    """What the policy asks for this stage and tier; None when it cannot be said."""
    policy = case.reading.policy
    return None if policy is None else policy.needed_for(*scope_of(case))


def missing_approvals(case: Case, *, forgiven: bool = False) -> tuple[str, str] | None:
    """What is missing of the approvals, and what was found; empty: nothing; None: unknown.

    Args:
        case: the question, and what was read for it.
        forgiven: count as if no key of a person had been compromised.
    """
    policy, needed, digest = (
        case.reading.policy,
        needed_approvals(case),
        case.reading.statement_digest,
    )
    if policy is None or needed is None:
        return None
    people: dict[Function, set[str]] = {}
    for approval in case.reading.approvals:
        words, person = approval.statement.predicate, approval.person
        approved = approval.statement.subject[0].digest.sha256
        if (
            approved == digest
            and (
                person.counts_for(approved)
                or (forgiven and person.status == PersonStatus.COMPROMISED)
            )
            and words.decision == "approve"
            and (words.function, words.person_id) == (person.function, person.person_id)
            and (words.scope.stage, words.scope.change_tier) == scope_of(case)
        ):
            people.setdefault(person.function, set()).add(person.person_id)
    counted = {function: len(people.get(function, ())) for function in needed.functions}
    missing = [
        f"{function} {count - counted[function]}"
        for function, count in needed.functions.items()
        if counted[function] < count
    ]
    return ", ".join(missing), ", ".join(f"{name} {count}" for name, count in counted.items())
