"""The signature page: who signed a statement, in which function, meaning what, and when.

What 21 CFR 11.50 asks to be shown with a signed record is here as data; 11.70, that a signature
cannot be moved to another record, is the digest that each approval is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from primum_verifier.core.approval import (
    MEANING_CODES,
    ApprovalPolicy,
    ApprovalScope,
    ApprovalStatement,
    Person,
)
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, envelope_lines, open_envelope
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.limits import MAX_APPROVALS


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One line of the page.

    Attributes:
        printed_name: of the signer, as signed.
        person_id: of the signer, as signed.
        function: the function in which the person signed.
        role_title: the person's own title; empty where none was signed.
        meaning: of the signature.
        meaning_code: of the meaning in ASTM E1762; empty where it has none.
        decision: approve, reject or abstain.
        signed_at: as signed; by itself it proves nothing about when.
        comment: as signed.
        key_id: of the key that signed; empty when no key of the policy did.
        why_not: why it does not count as an approval; empty when it does. An envelope that cannot
            be read is a line with nothing but this.
    """

    printed_name: str
    person_id: str
    function: str
    role_title: str
    meaning: str
    meaning_code: str
    decision: str
    signed_at: datetime | None
    comment: str
    key_id: str
    why_not: str

    @property
    def counts(self) -> bool:
        """Whether a device counts it."""
        return not self.why_not

    @property
    def is_valid(self) -> bool:
        """Whether that very person signed that very statement, whatever was decided."""
        return self.counts or self.why_not == _otherwise(self.decision)


def signature_page(
    lines: bytes,
    *,
    policy: ApprovalPolicy,
    statement: str,
    scope: ApprovalScope,
    where: str,
    engineering_keys: frozenset[str] = frozenset(),
) -> Iterator[Signature]:
    """Every signature beside a statement, those that do not count with the reason.

    Args:
        lines: the approvals, one DSSE envelope a line.
        policy: the approval policy in force.
        statement: SHA-256 of the eligibility statement.
        scope: the stage and tier that the statement is for.
        where: the name a person knows the approvals by.
        engineering_keys: the public keys that engineering lists; they count in neither authority.

    Raises:
        RefusedError: ``trust.limit``: there are more envelopes than are read.
    """
    for number, line in enumerate(envelope_lines(lines, where=where, at_most=MAX_APPROVALS), 1):
        place = f"{where}:{number}"
        try:
            opened = open_envelope(
                line,
                payload_type=INTOTO_PAYLOAD_TYPE,
                keys=[person.key for person in policy.people],
                where=place,
            )
            signed = parse_document(ApprovalStatement, opened.payload, where=place)
        except PrimumError as error:
            # A device passes it over as well: the others stand.
            yield _unreadable(f"it cannot be read: {error.found}")
            continue
        keys = {key.public for key in opened.signers}
        signers = [person for person in policy.people if person.key.public in keys]
        for person in signers or (None,):
            why_not = _why_not(signed, person, policy, statement, scope)
            if person is not None and person.key.public in engineering_keys:
                why_not = "engineering uses the same key: it counts in neither authority"
            yield _signature(signed, person, why_not=why_not)


def _unreadable(why_not: str) -> Signature:
    return Signature(
        printed_name="",
        person_id="",
        function="",
        role_title="",
        meaning="",
        meaning_code="",
        decision="",
        signed_at=None,
        comment="",
        key_id="",
        why_not=why_not,
    )


def _signature(signed: ApprovalStatement, person: Person | None, *, why_not: str) -> Signature:
    said = signed.predicate
    return Signature(
        printed_name=said.printed_name,
        person_id=said.person_id,
        function=str(said.function),
        role_title=said.role_title,
        meaning=str(said.meaning),
        meaning_code=MEANING_CODES.get(said.meaning, ""),
        decision=said.decision,
        signed_at=said.signed_at,
        comment=said.comment,
        key_id="" if person is None else person.key.key_id,
        why_not=why_not,
    )


def _why_not(
    signed: ApprovalStatement,
    person: Person | None,
    policy: ApprovalPolicy,
    statement: str,
    scope: ApprovalScope,
) -> str:
    said = signed.predicate
    if person is None:
        return "no key of the policy signed it"
    if (said.person_id, said.function) != (person.person_id, person.function):
        return f"signed with the key of {person.person_id}, {person.function}"
    if signed.subject[0].digest.sha256 != statement:
        return "it is about another statement"
    if said.scope != scope:
        return f"it was given for {said.scope.stage}, {said.scope.change_tier}"
    if person not in policy.approvers_of(statement):
        return f"the signer's key does not count any more: {person.status}"
    return "" if said.decision == "approve" else _otherwise(said.decision)


def _otherwise(decision: str) -> str:
    return f"the decision is {decision}"


def told(moment: datetime | None) -> str:
    """A moment as the page shows it."""
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_dict(signature: Signature) -> dict[str, object]:
    """A line of the page as JSON shows it."""
    return {
        "printedName": signature.printed_name,
        "personId": signature.person_id,
        "function": signature.function,
        "roleTitle": signature.role_title,
        "meaning": signature.meaning,
        "meaningCode": signature.meaning_code,
        "decision": signature.decision,
        "signedAt": told(signature.signed_at),
        "comment": signature.comment,
        "keyId": signature.key_id,
        "counts": signature.counts,
        "whyNot": signature.why_not,
    }
