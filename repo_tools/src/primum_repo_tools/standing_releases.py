"""The releases of a component that stand already, as each authority knows them.

Engineering knows what it signed, and reads from clinical's web root what patients got; clinical
knows its own list, and reads from engineering's web root in which order the releases came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from primum_repo_tools.baselines import EarlierRelease, require_baselines, require_rising
from primum_repo_tools.peer_release import PeerRelease
from primum_repo_tools.reading import is_peer_known, read_peer
from primum_repo_tools.releases import manifests_of, open_draft, signed_digests
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.eligibility import INDEX_TARGET, EligibilityIndex, IndexEntry
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import MANIFEST_ROLE, ReleaseManifest, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus


def published_releases(repository: AuthorityRepository, component: str) -> list[EarlierRelease]:
    """The releases of a component that engineering published."""
    found = []
    for name, target in manifests_of(repository.published_targets(MANIFEST_ROLE)).items():
        _, its_component, version, _ = name.split("/")
        data = repository.document(MANIFEST_ROLE, name) if its_component == component else None
        if data is not None:
            manifest = parse_document(ReleaseManifest, data, where=name)
            counter = manifest.bundle.release_counter
            found.append(EarlierRelease(version, target.hashes["sha256"], counter))
    return found


def signed_releases(
    workbench: Workbench, repository: AuthorityRepository, component: str
) -> list[EarlierRelease]:
    """The releases of a component that engineering signed: published, or staged to be."""
    found = {item.version: item for item in published_releases(repository, component)}
    for name, sha256 in signed_digests(repository).items():
        _, its_component, version, _ = name.split("/")
        if its_component == component and version not in found:
            bundle = open_draft(workbench, component, version).manifest.bundle
            found[version] = EarlierRelease(version, sha256, bundle.release_counter)
    return list(found.values())


def releases_before(
    workbench: Workbench, repository: AuthorityRepository, component: str, *, now: datetime
) -> list[EarlierRelease]:
    """What engineering compares with: what clinical lists, else what engineering signed.

    Raises:
        PrimumError: clinical's web root was known and now is gone, or the client refuses it.
    """
    signed = signed_releases(workbench, repository, component)
    if not signed:
        # Clinical can list nothing that engineering did not publish.
        return []
    known = {item.sha256: item for item in signed}
    listed = []
    for entry in _clinical_entries(workbench, component, now=now):
        if (item := known.get(entry.release.sha256)) is None:
            raise _missing(entry, "clinical's list")
        listed.append(replace(item, is_eligible=entry.status == IndexStatus.ELIGIBLE))
    return listed or signed


def check_counter(repository: AuthorityRepository, manifest: ReleaseManifest, release: str) -> None:
    """See to it that a release comes after every one that engineering published.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    published = published_releases(repository, manifest.bundle.component)
    require_rising(
        manifest,
        release,
        published,
        remedy="Raise release_counter in release.toml, then build again.",
    )


def check_baselines(
    workbench: Workbench,
    repository: AuthorityRepository,
    manifest: ReleaseManifest,
    release: str,
    *,
    now: datetime,
) -> None:
    """See to it that a release that is not published yet names what it must be compared with.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    component = manifest.bundle.component
    if any(item.sha256 == release for item in published_releases(repository, component)):
        return
    require_baselines(
        manifest,
        release,
        releases_before(workbench, repository, component, now=now),
        remedy='Say previous = "{previous}" and original = "{original}" in release.toml, under a '
        "version that is not signed yet; then build and compare.",
    )


def listed_releases(
    workbench: Workbench, entries: Sequence[IndexEntry], component: str, *, now: datetime
) -> list[EarlierRelease]:
    """The releases of a component on clinical's list, in the order that engineering gave them.

    Args:
        workbench: of clinical.
        entries: of the index, as it is or as it would be published.
        component: whose.
        now: the moment at which engineering's web root is read.

    Raises:
        RefusedError: engineering no longer publishes a release that is listed.
    """
    wanted = [entry for entry in entries if entry.component == component]
    if not wanted:
        return []
    found = []
    with read_peer(workbench, now=now) as session:
        for entry in wanted:
            target = manifest_target(component, entry.version)
            document = session.document(target)
            if document is None or sha256_hex(document.data) != entry.release.sha256:
                raise _missing(entry, "engineering's web root")
            manifest = parse_document(ReleaseManifest, document.data, where=target)
            found.append(
                EarlierRelease(
                    version=entry.version,
                    sha256=entry.release.sha256,
                    counter=manifest.bundle.release_counter,
                    is_eligible=entry.status == IndexStatus.ELIGIBLE,
                )
            )
    return found


def require_place(
    workbench: Workbench,
    release: PeerRelease,
    *,
    before: Sequence[IndexEntry],
    after: Sequence[IndexEntry],
    now: datetime,
) -> None:
    """Refuse a release that does not come after those listed, or is compared with other ones.

    Args:
        workbench: of clinical.
        release: as engineering published it.
        before: the entries of the list as it is.
        after: the entries as they would be: what is listed together is compared as well.
        now: the moment at which engineering's web root is read.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    manifest = release.manifest
    component = manifest.bundle.component
    require_rising(
        manifest,
        release.sha256,
        listed_releases(workbench, before, component, now=now),
        remedy="Ask engineering for a new version with a higher release counter.",
    )
    require_baselines(
        manifest,
        release.sha256,
        listed_releases(workbench, after, component, now=now),
        remedy='Ask engineering for a version built with previous = "{previous}" and original = '
        '"{original}" and compared with both.',
    )


def _clinical_entries(
    workbench: Workbench, component: str, *, now: datetime
) -> tuple[IndexEntry, ...]:
    if not is_peer_known(workbench):
        return ()
    with read_peer(workbench, now=now) as session:
        document = session.document(INDEX_TARGET)
    if document is None:
        return ()
    index = parse_document(EligibilityIndex, document.data, where=INDEX_TARGET)
    return tuple(entry for entry in index.listed if entry.component == component)


def _missing(entry: IndexEntry, where: str) -> RefusedError:
    return RefusedError(
        "A listed release is not one that engineering publishes.",
        reason=Reason.TRUST_NOT_FOUND,
        where=where,
        found=f"{entry.component} {entry.version}, sha256 {entry.release.sha256}",
        expected="every listed release, by the same digest",
        remedy="Compare both web roots; one of them was put back from an old backup or replaced.",
    )
