"""The safety notices that are published: what they say, what may drop out, what is left to mark.

The notice is near-line and comes first; the index is offline and follows.  Whatever a notice took
away and the index does not say yet is found here, and the next index that is signed says it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from primum_repo_tools.repository import AuthorityRepository
from primum_verifier.core.document import parse_document
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    EligibilityIndex,
    EligibilityStatement,
    IndexEntry,
    statement_target,
)
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, envelope_lines, open_envelope
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES, MAX_HOLD_HOURS, MAX_NOTICES
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus, NoticeAction, NoticeKind

KEPT_AFTER_END = timedelta(days=30)
"""How long a hold that ended stays in the file; the workbench's records keep it for ever."""

_SHARE_OF_HOLDS = 0.9
"""Of the file's room: holds, which one function signs, never crowd out a withdrawal."""


def notice_lines(repository: AuthorityRepository) -> list[bytes]:
    """The envelopes that are published, each still unopened; none where there is no file yet."""
    data = repository.document(SAFETY_ROLE, NOTICES_TARGET) or b""
    return [line for line in data.split(b"\n") if line.strip()]


def opened(line: bytes) -> SafetyNoticeStatement | None:
    """What a published envelope says, or None when it cannot be read.

    Whose signatures count is the device's to judge; here it is only asked what was published.
    """
    try:
        payload = open_envelope(
            line, payload_type=INTOTO_PAYLOAD_TYPE, keys=(), where=NOTICES_TARGET
        ).payload
        return parse_document(SafetyNoticeStatement, payload, where=NOTICES_TARGET)
    except PrimumError:
        return None


def published_notices(repository: AuthorityRepository) -> list[SafetyNoticeStatement]:
    """Every published notice that can be read, oldest first."""
    return [said for line in notice_lines(repository) if (said := opened(line)) is not None]


def end_of(statement: SafetyNoticeStatement) -> datetime | None:
    """When a notice ends as devices see it; None: only a new statement ends it."""
    said = statement.predicate
    if said.kind != NoticeKind.HOLD:
        restricts = said.action.rank >= NoticeAction.RESTRICT.rank
        lasts = said.kind == NoticeKind.WITHDRAWAL or restricts
        return None if lasts and not said.drill else said.expires_at
    longest = said.issued_at + timedelta(hours=MAX_HOLD_HOURS)
    return longest if said.expires_at is None else min(said.expires_at, longest)


def kept_lines(lines: list[bytes], *, now: datetime) -> list[bytes]:
    """The envelopes without holds and drills that ended long ago; what cannot be read is kept."""
    return [line for line in lines if not _ended_long_ago(opened(line), now=now)]


def _ended_long_ago(statement: SafetyNoticeStatement | None, *, now: datetime) -> bool:
    if statement is None or not (
        statement.predicate.kind == NoticeKind.HOLD or statement.predicate.drill
    ):
        return False
    ends = end_of(statement)
    return ends is not None and ends + KEPT_AFTER_END < now


def notices_file(lines: list[bytes], *, kind: NoticeKind) -> bytes:
    """The file of these envelopes, as large as devices read it.

    Args:
        lines: the envelopes, the new one last.
        kind: of the new one; holds leave room for what takes away.

    Raises:
        RefusedError: ``trust.limit``; devices would read none of them.
    """
    data = b"".join(line.strip() + b"\n" for line in lines)
    share = _SHARE_OF_HOLDS if kind == NoticeKind.HOLD else 1.0
    at_most, room = int(MAX_NOTICES * share), int(MAX_DOCUMENT_BYTES * share)
    if len(lines) > at_most or len(data) > room:
        raise RefusedError(
            "There are more safety notices than devices read; this one was not published.",
            reason=Reason.TRUST_LIMIT,
            where=NOTICES_TARGET,
            found=f"{len(lines)} notices, {len(data)} bytes",
            expected=f"at most {at_most} notices and {room} bytes for a {kind}",
            remedy=f"A hold drops out {KEPT_AFTER_END.days} days after its end. What must be "
            "taken away for good needs no hold before: withdraw it.",
        )
    # Read as a device reads it: a file that devices would refuse must never be published.
    envelope_lines(data, where=NOTICES_TARGET, at_most=MAX_NOTICES)
    return data


def ensure_notices(repository: AuthorityRepository) -> None:
    """Put the notices into the open edit of the role safety, empty where none was published."""
    if NOTICES_TARGET not in repository.published_targets(SAFETY_ROLE):
        repository.put_target(SAFETY_ROLE, NOTICES_TARGET, b"")


def notices_in_force(
    repository: AuthorityRepository, release: str, *, now: datetime
) -> list[SafetyNoticeStatement]:
    """The published notices about a release that have not ended, oldest first.

    Args:
        repository: of clinical.
        release: SHA-256 of the release's manifest.
        now: the moment judged.
    """
    return [
        item
        for item in published_notices(repository)
        if item.names(release) and ((ends := end_of(item)) is None or ends > now)
    ]


def answered_by(repository: AuthorityRepository, entry: IndexEntry) -> frozenset[str]:
    """The ids of the notices that a listed statement answers, as devices read them."""
    target = statement_target(entry.statement.sha256)
    data = repository.document(ELIGIBILITY_ROLE, target)
    if data is None:
        return frozenset()
    return frozenset(parse_document(EligibilityStatement, data, where=target).predicate.answers)


def takes_away_everywhere(statement: SafetyNoticeStatement) -> bool:
    """Whether a notice is the end of a release, not only of its use at some place or in a drill."""
    said, scope = statement.predicate, statement.predicate.scope
    ends = said.kind == NoticeKind.WITHDRAWAL or (
        said.kind == NoticeKind.FIELD_ACTION and said.action.takes_away
    )
    everywhere = scope.mode == "all" and scope.sites is None and scope.devices is None
    return ends and said.restriction is None and everywhere and not said.drill


def unanswered(
    notices: list[SafetyNoticeStatement], release: str, answers: Collection[str]
) -> list[SafetyNoticeStatement]:
    """The notices that take a release away everywhere and that its statement does not answer."""
    return [
        item
        for item in notices
        if takes_away_everywhere(item) and item.names(release) and item.predicate.id not in answers
    ]


def left_to_mark(index: EligibilityIndex, repository: AuthorityRepository) -> dict[str, IndexEntry]:
    """Entries that a notice took away and that the index still calls eligible, as they should be.

    A release whose listed statement answers the notice came back by it.

    Returns:
        The changed entry by the SHA-256 of its release.
    """
    notices, found = published_notices(repository), {}
    for entry in index.listed:
        if entry.status != IndexStatus.ELIGIBLE:
            continue
        release = entry.release.sha256
        against = unanswered(notices, release, answered_by(repository, entry))
        if against:
            since = min(item.predicate.effective_at for item in against)
            update = {"status": IndexStatus.WITHDRAWN, "effective_at": since}
            found[release] = entry.model_copy(update=update)
    return found


def marked(index: EligibilityIndex, repository: AuthorityRepository) -> EligibilityIndex:
    """The index with every entry marked that a notice took away; its number stands."""
    changed = left_to_mark(index, repository)
    entries = tuple(changed.get(entry.release.sha256, entry) for entry in index.listed)
    return index.model_copy(update={"entries": entries})
