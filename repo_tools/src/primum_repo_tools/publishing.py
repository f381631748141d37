"""Publishing: from staging into the web root, in an order that never shows half a state.

1. artifacts, 2. targets, 3. root, 4. delegated roles, 5. targets role, 6. snapshot,
7. timestamp.  Each file is written beside, synced and renamed.  A client is led to new metadata
by the timestamp alone, so until the last rename it sees the old state whole, and after it the
new one.  A cut anywhere leaves the staging as it was: the same command again finishes the work.

At the end the device's own TUF client reads what was published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from primum_repo_tools.files import digest_of, make_folder, pieces_of, read_input, write_durably
from primum_repo_tools.reading import read_web
from primum_repo_tools.repository import (
    AuthorityRepository,
    consistent_name,
    is_delegated,
    published_name,
)
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.errors import FailedError, PrimumError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.trust_store import FolderTrustStore


def publish_roles(
    workbench: Workbench,
    repository: AuthorityRepository,
    *,
    roles: list[str],
    now: datetime,
    artifacts: Mapping[str, Path] | None = None,
) -> int:
    """Publish the staged state of some roles, and nothing else that is staged.

    Args:
        workbench: whose web root.
        repository: holds the staged roles and can sign with the online key.
        roles: staged roles to publish; none for a fresh timestamp alone.
        now: the moment at which the client checks what was published.
        artifacts: files to put under ``artifacts/`` by their SHA-256.

    Returns:
        The version of the new timestamp.

    Raises:
        FailedError: the disk failed, or the client refuses what was published.
    """
    repository.stage_online([role for role in roles if role != Root.type])
    for sha256, path in sorted((artifacts or {}).items()):
        _put_artifact(workbench, sha256, path)
    ordered = sorted(roles, key=_order)
    for role in ordered:
        if role != Root.type:
            _put_targets(workbench, repository, role)
    for role in [*ordered, Snapshot.type, Timestamp.type]:
        _put_metadata(workbench, repository, role)
    repository.discard(*roles, Snapshot.type, Timestamp.type)
    if not repository.staged_roles():
        repository.discard_all()
    version = repository.published_version(Timestamp.type)
    workbench.record("metadata.published", at=now, roles=ordered, timestamp=version)
    check_published(workbench, now=now, roles=ordered)
    return version


def check_published(workbench: Workbench, *, now: datetime, roles: list[str]) -> None:
    """Read the web root with the client that devices run.

    What it accepted is kept with the records: a web root that was put back from an old backup,
    and whose numbers devices have seen before, is found here and not in the field.

    Raises:
        FailedError: the client refuses it; the message carries the client's reason.
    """
    root = read_input(workbench.web / "metadata" / "1.root.json", what="first root")
    repository = AuthorityRepository(workbench, now=now)
    trusted = workbench.folder / "records" / "trusted"
    make_folder(trusted)
    try:
        with read_web(
            workbench.web,
            authority=workbench.authority,
            root=root,
            store=FolderTrustStore(trusted),
            now=now,
        ) as session:
            for role in roles:
                for name in sorted(repository.published_targets(role)) if role != Root.type else ():
                    session.document(name)
    except PrimumError as error:
        workbench.record("publishing.check-failed", at=now, reason=str(error.reason))
        raise FailedError(
            "What was published is refused by the client that devices run.",
            reason=error.reason,
            where=error.where or str(workbench.web),
            found=error.message,
            expected="metadata and documents that a device accepts",
            remedy="Devices keep what they have; compare keys and settings, then publish again.",
        ) from error


def _order(role: str) -> tuple[int, str]:
    if role == Root.type:
        return (0, role)
    return (1 if is_delegated(role) else 2, role)


def _put_artifact(workbench: Workbench, sha256: str, source: Path) -> None:
    target = workbench.web / "artifacts" / sha256
    if target.exists() and digest_of(target, what="published artifact") == sha256:
        return
    write_durably(target, _signed_pieces(source, sha256))


def _signed_pieces(source: Path, sha256: str) -> Iterator[bytes]:
    """The bytes of an artifact, digested as they are copied: what is put there is what was read."""
    hasher = hashlib.sha256()
    for piece in pieces_of(source, what="artifact"):
        hasher.update(piece)
        yield piece
    if hasher.hexdigest() != sha256:
        raise FailedError(
            "An artifact is not the one that was signed.",
            reason=Reason.ARTIFACT_DIGEST,
            where=str(source),
            found=f"sha256 {hasher.hexdigest()}",
            expected=f"sha256 {sha256}",
            remedy="Build the release again under a new version.",
        )


def _put_targets(workbench: Workbench, repository: AuthorityRepository, role: str) -> None:
    staged = repository.staged(role, Targets)
    for target in staged.targets.values() if staged else ():
        name = consistent_name(target)
        published = workbench.web / "targets" / name
        if not published.exists():
            source = workbench.staging / "targets" / name
            write_durably(published, read_input(source, what="staged document"))


def _put_metadata(workbench: Workbench, repository: AuthorityRepository, role: str) -> None:
    data = repository.staged_bytes(role)
    if data is None:
        raise RuntimeError(f"role {role} is not staged")
    version = repository.staged_version(role)
    folder = workbench.web / "metadata"
    if role == Timestamp.type:
        # Kept under its number too: history is proved with the timestamp of its time.
        write_durably(folder / f"{version}.{role}.json", data)
    write_durably(folder / published_name(role, version), data)
