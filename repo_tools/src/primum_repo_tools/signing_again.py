"""A published notice, signed by further people: the same bytes, so devices see the same notice.

It is how a notice stays in force when the key of one of its signers is struck off.  It needs the
near-line role alone, like the notice itself, and can take no signature away.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from primum_repo_tools.keys import Secrets, add_signatures
from primum_repo_tools.people import Approver
from primum_repo_tools.published_notices import (
    notice_lines,
    notices_file,
    opened,
    published_notices,
)
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, PublicKey, open_envelope
from primum_verifier.core.errors import UsageError
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import NoticeKind


def notices_named(
    repository: AuthorityRepository, ids: Collection[str]
) -> list[SafetyNoticeStatement]:
    """The published notices with these ids, oldest first; each is what would be signed.

    Raises:
        UsageError: no published notice has such an id.
    """
    published = published_notices(repository)
    known = [item.predicate.id for item in published]
    if unknown := [item for item in ids if item not in known]:
        raise UsageError(
            "No published notice has this id.",
            reason=Reason.USAGE,
            where="--notice",
            found=", ".join(item[:80] for item in unknown),
            expected=", ".join(known) or "a published notice; there is none",
            remedy=f"See: primum-repo status {repository.workbench.folder} --json",
        )
    return [item for item in published if item.predicate.id in ids]


def sign_again(
    workbench: Workbench,
    ids: Collection[str],
    people: Sequence[Approver],
    *,
    secrets: Secrets,
    now: datetime,
) -> int | None:
    """Add people's signatures to published notices and publish them by the role safety alone.

    The caller holds the workbench's lock.

    Returns:
        The version of the new timestamp; None: all of them had signed already, nothing changed.

    Raises:
        UsageError: no published notice has such an id.
        RefusedError: an envelope would hold more signatures than devices read, or the clock is
            wrong.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    repository.check_clock()
    notices_named(repository, ids)
    before = notice_lines(repository)
    lines = [
        _signed(line, people)
        if (said := opened(line)) is not None and said.predicate.id in ids
        else line
        for line in before
    ]
    if lines == before:
        return None
    # No line is added, so the room that holds leave to withdrawals is not asked for here.
    data = notices_file(lines, kind=NoticeKind.WITHDRAWAL)
    repository.discard(SAFETY_ROLE)
    repository.put_target(SAFETY_ROLE, NOTICES_TARGET, data)
    version = publish_roles(workbench, repository, roles=[SAFETY_ROLE], now=now)
    workbench.record(
        "notice.signed-again",
        at=now,
        notices=list(ids),
        people=[person.settings.person_id for person in people],
    )
    return version


def _signed(line: bytes, people: Sequence[Approver]) -> bytes:
    """The envelope with the signature of everybody who has not signed it yet."""
    keys = tuple(person.signer.public for person in people)
    there = _signers(line, keys)
    signers = [person.signer for person in people if person.signer.public not in there]
    if not signers:
        return line
    signed = add_signatures(line, signers=signers, where=NOTICES_TARGET)
    # Read as a device reads it: an envelope with too many signatures would lose them all.
    _signers(signed, keys)
    return signed


def _signers(line: bytes, keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
    return open_envelope(
        line, payload_type=INTOTO_PAYLOAD_TYPE, keys=keys, where=NOTICES_TARGET
    ).signers
