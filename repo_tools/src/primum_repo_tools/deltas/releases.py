"""The deltas of a release: from which releases they lead, made, listed, signed, ready to publish.

They are made when it is known from which releases devices come, for a release that is signed
already; what its manifest says never changes for them.  The files lie in the draft's folder
``deltas`` by their digests; the list is signed by the role that signs manifests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from tuf.api.metadata import Targets

from primum_repo_tools.authority_settings import DELTA_LIST_PATHS
from primum_repo_tools.deltas.making import make_delta
from primum_repo_tools.files import digest_of, read_input, write_durably
from primum_repo_tools.progress import Progress
from primum_repo_tools.releases import Draft, manifests_of, open_draft, signed_digests
from primum_repo_tools.repository import AuthorityRepository, consistent_name
from primum_repo_tools.standing_releases import releases_before
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import DigestSet, parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.manifest import MANIFEST_ROLE, Item, ReleaseManifest, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.delta.delta_list import (
    DELTA_LIST_ROLE,
    Delta,
    DeltaList,
    delta_list_target,
)

MOST_RELEASES = 5
"""Releases from which deltas lead by themselves: the newest that a device may still run."""

_LIST_NAME = "/deltas.json"
_XZ = b"\xfd7zXZ"


@dataclass(frozen=True)
class PlannedDelta:
    """A file of the release and the older file that it may be made of.

    Attributes:
        item: the file, as the manifest names it.
        file: its bytes.
        base: the older file, as its own manifest names it.
        base_file: its bytes, as they are published.
        base_version: of the release that it belongs to.
    """

    item: Item
    file: Path
    base: Item
    base_file: Path
    base_version: str


@dataclass(frozen=True)
class ListedDelta:
    """What came of one plan.

    Attributes:
        plan: what was planned.
        delta: the delta, None where there is none.
        why_none: why there is none.
    """

    plan: PlannedDelta
    delta: Delta | None
    why_none: str = ""


def plan_deltas(
    workbench: Workbench,
    repository: AuthorityRepository,
    draft: Draft,
    *,
    versions: Sequence[str],
    now: datetime,
) -> list[PlannedDelta]:
    """Which deltas could lead to a release.

    Args:
        workbench: of engineering.
        repository: its metadata.
        draft: the release, signed.
        versions: from which releases; none for the newest that devices may still run.
        now: the moment at which clinical's list is read.

    Raises:
        UsageError: the release is not signed, or one of ``versions`` is not published before it.
        RefusedError: the draft is no longer what was signed.
    """
    bundle = draft.manifest.bundle
    signed = signed_digests(repository).get(manifest_target(bundle.component, bundle.version))
    if signed != draft.sha256:
        raise UsageError(
            "Deltas lead to a signed release.",
            reason=Reason.USAGE,
            where=draft.manifest.name,
            found="not signed" if signed is None else f"signed as sha256 {signed}",
            expected=f"sha256 {draft.sha256}",
            remedy=f"Sign it first: primum-repo release sign {workbench.folder} "
            f"{bundle.component} {bundle.version}",
        )
    planned: dict[tuple[str, str], PlannedDelta] = {}
    for version in _before(workbench, repository, draft, versions=versions, now=now):
        name = manifest_target(bundle.component, version)
        data = repository.document(MANIFEST_ROLE, name)
        if data is None:
            raise RuntimeError("a published release without a manifest")
        earlier = parse_document(ReleaseManifest, data, where=name)
        for item in draft.manifest.items:
            base = _like(item, earlier)
            if base is not None and base.digest != item.digest:
                plan = PlannedDelta(
                    item=item,
                    file=draft.file(item.id),
                    base=base,
                    base_file=workbench.web / "artifacts" / base.digest.sha256,
                    base_version=version,
                )
                planned.setdefault((base.digest.sha256, item.digest.sha256), plan)
    return list(planned.values())


def _before(
    workbench: Workbench,
    repository: AuthorityRepository,
    draft: Draft,
    *,
    versions: Sequence[str],
    now: datetime,
) -> list[str]:
    bundle = draft.manifest.bundle
    published = manifests_of(repository.published_targets(MANIFEST_ROLE))
    standing = [
        item
        for item in releases_before(workbench, repository, bundle.component, now=now)
        if item.counter < bundle.release_counter
        and manifest_target(bundle.component, item.version) in published
    ]
    if not versions:
        newest = sorted(standing, key=lambda item: item.counter, reverse=True)
        return [item.version for item in newest if item.is_eligible][:MOST_RELEASES]
    known = {item.version for item in standing}
    if unknown := [version for version in versions if version not in known]:
        raise UsageError(
            "A delta cannot lead from this release.",
            reason=Reason.USAGE,
            where=f"--from {unknown[0]}",
            found="not published, not listed, or not before the release",
            expected=", ".join(sorted(known)) or "a release that was published before",
        )
    return list(dict.fromkeys(versions))


def _like(item: Item, earlier: ReleaseManifest) -> Item | None:
    """The file of an earlier release that most likely has much in common with one of this."""
    same = [other for other in earlier.items if other.kind == item.kind]
    by_id = [other for other in same if other.id == item.id]
    return next(iter(by_id or (same if len(same) == 1 else [])), None)


def make_deltas(
    repository: AuthorityRepository,
    draft: Draft,
    planned: Sequence[PlannedDelta],
    *,
    progress: Progress,
) -> list[ListedDelta]:
    """Make what was planned; a delta that is no smaller than its file is none.

    What was made and listed before is taken again.

    Raises:
        UsageError: a file is missing or unreadable.
        RefusedError: a file is not the one that was signed.
        FailedError: the disk failed.
    """
    known = {
        (delta.base.sha256, delta.result.sha256): delta
        for delta in _listed_before(repository, draft)
        if (deltas_folder(draft) / delta.digest.sha256).is_file()
    }
    return [_made(draft, plan, known, progress) for plan in planned]


def _made(
    draft: Draft,
    plan: PlannedDelta,
    known: Mapping[tuple[str, str], Delta],
    progress: Progress,
) -> ListedDelta:
    way = plan.base.digest.sha256, plan.item.digest.sha256
    if way in known:
        return ListedDelta(plan, known[way])
    for path, sha256 in ((plan.base_file, way[0]), (plan.file, way[1])):
        _require_digest(path, sha256)
    if plan.item.kind is ItemKind.TREE_PACK and _is_compressed(plan.file, plan.base_file):
        return ListedDelta(plan, None, 'a compressed pack; build both with pack = "plain"')
    progress.step(f"Delta from {plan.base_version}: {plan.item.path}")
    made = make_delta(plan.base_file, plan.file)
    if len(made.data) >= plan.item.length:
        return ListedDelta(plan, None, "no smaller than the whole file")
    digest = sha256_hex(made.data)
    write_durably(deltas_folder(draft) / digest, made.data)
    content = {
        "result": {"sha256": way[1]},
        "resultLength": plan.item.length,
        "base": {"sha256": way[0]},
        "baseLength": plan.base.length,
        "length": len(made.data),
        "digest": {"sha256": digest},
        "computedBytes": made.computed,
    }
    return ListedDelta(plan, Delta.model_validate(content))


def _require_digest(path: Path, sha256: str) -> None:
    found = digest_of(path, what="file of a release")
    if found != sha256:
        raise RefusedError(
            "A file is not the one that was signed.",
            reason=Reason.ARTIFACT_DIGEST,
            where=str(path),
            found=f"sha256 {found}",
            expected=f"sha256 {sha256}",
            remedy="Restore it from what was signed or published.",
        )


def _is_compressed(*paths: Path) -> bool:
    for path in paths:
        with path.open("rb") as stream:
            if stream.read(len(_XZ)) == _XZ:
                return True
    return False


def deltas_folder(draft: Draft) -> Path:
    """Where the deltas that lead to a release lie, by their digests."""
    return draft.folder / "deltas"


def sign_deltas(
    repository: AuthorityRepository,
    draft: Draft,
    deltas: Sequence[Delta],
    *,
    now: datetime,
) -> DeltaList:
    """Stage the list of a release's deltas, signed by the role that signs manifests.

    Args:
        repository: holds what is signed and can sign.
        draft: the release.
        deltas: all that lead to it; what an earlier list held besides is no longer listed.
        now: the moment of signing.
    """
    bundle = draft.manifest.bundle
    before = read_delta_list(repository, bundle.component, bundle.version)
    listed = DeltaList(
        type="urn:primum:delta-list:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1 if before is None else before.number + 1,
        issued_at=now,
        release=DigestSet(sha256=draft.sha256),
        deltas=tuple(deltas),
    )
    _ensure_delegated(repository)
    target = delta_list_target(bundle.component, bundle.version)
    repository.put_target(DELTA_LIST_ROLE, target, listed.to_bytes())
    repository.workbench.record(
        "deltas.signed",
        at=now,
        release=draft.manifest.name,
        number=listed.number,
        deltas=[delta.digest.sha256 for delta in deltas],
    )
    return listed


def _ensure_delegated(repository: AuthorityRepository) -> None:
    """Let the role say delta lists, in an authority that was created before there were any."""
    if DELTA_LIST_PATHS not in _paths(repository.open(Targets.type).signed):
        with repository.edit_targets(Targets.type) as edited:
            _paths(edited).append(DELTA_LIST_PATHS)


def _paths(targets: Targets) -> list[str]:
    """What the role may say, as the role ``targets`` delegates it."""
    roles = None if targets.delegations is None else targets.delegations.roles
    role = (roles or {}).get(DELTA_LIST_ROLE)
    if role is None or role.paths is None:
        raise RuntimeError("an authority without the role that signs releases")
    return role.paths


def read_delta_list(
    repository: AuthorityRepository, component: str, version: str
) -> DeltaList | None:
    """The list of a release's deltas, as staged, else as published; None where there is none."""
    name = delta_list_target(component, version)
    staged = repository.staged(DELTA_LIST_ROLE, Targets)
    target = None if staged is None else staged.targets.get(name)
    if target is None:
        data = repository.document(DELTA_LIST_ROLE, name)
        return None if data is None else parse_document(DeltaList, data, where=name)
    for folder in (repository.workbench.staging, repository.workbench.web):
        path = folder / "targets" / consistent_name(target)
        if path.is_file():
            return parse_document(DeltaList, read_input(path, what="delta list"), where=name)
    return None


def _listed_before(repository: AuthorityRepository, draft: Draft) -> tuple[Delta, ...]:
    bundle = draft.manifest.bundle
    found = read_delta_list(repository, bundle.component, bundle.version)
    return () if found is None else found.deltas


def staged_delta_lists(repository: AuthorityRepository) -> dict[str, DeltaList]:
    """The delta lists that are signed and not published, by the names of their releases."""
    published = repository.published_targets(DELTA_LIST_ROLE)
    staged = repository.staged(DELTA_LIST_ROLE, Targets)
    found = {}
    for name, target in sorted(({} if staged is None else staged.targets).items()):
        known = published.get(name)
        if not name.endswith(_LIST_NAME) or (known is not None and known.hashes == target.hashes):
            continue
        _, component, version, _ = name.split("/")
        listed = read_delta_list(repository, component, version)
        if listed is not None:
            found[f"{component} {version}"] = listed
    return found


def delta_artifacts(workbench: Workbench, lists: Mapping[str, DeltaList]) -> dict[str, Path]:
    """Each delta of some lists by the SHA-256 under which devices fetch it.

    Args:
        workbench: of engineering.
        lists: by the names of their releases.
    """
    return {
        delta.digest.sha256: deltas_folder(open_draft(workbench, *name.split(" ")))
        / delta.digest.sha256
        for name, listed in lists.items()
        for delta in listed.deltas
    }
