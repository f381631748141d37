"""Fetching the files of a release into the content store, by the digests of its manifest."""

from __future__ import annotations

from primum_agent.collecting import collect_for
from primum_agent.device import Device
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.installer import items_of
from primum_verifier.core.errors import FailedError
from primum_verifier.core.manifest import ReleaseManifest


def download(manifest: ReleaseManifest, *, device: Device) -> int:
    """Fetch what is missing; what is there already is checked and kept.

    Args:
        manifest: the signed manifest.
        device: where from and where to.

    Returns:
        Bytes fetched.

    Raises:
        RefusedError: ``artifact.digest`` or ``artifact.size``: a server holds wrong bytes; they
            were not kept, and files fetched before stay for the next attempt.
        FailedError: ``transport.*`` or ``resource.storage``.
    """
    store = device.store
    missing = []
    for item in items_of(manifest):
        if store.holds(item.sha256):
            if store.verify(item.sha256):
                continue
            store.discard(item.sha256)
        missing.append(item)
    needed = sum(item.length for item in missing)
    try:
        store.make_room(needed)
    except FailedError:
        # Older releases go first, but for what is needed to go back.
        collect_for(device, manifest)
        store.make_room(needed)
    base = device.settings.repositories.engineering.artifacts_url
    for item in missing:
        pieces = device.fetcher.fetch(base + item.sha256, max_bytes=item.length + 1)
        store.add(pieces, sha256=item.sha256, length=item.length)
        fail_here(FailPoint.DOWNLOADING_AFTER_FILE)
    return needed


def is_whole(manifest: ReleaseManifest, *, device: Device) -> bool:
    """Whether every file of the release lies in the store with its digest."""
    return all(device.store.verify(item.sha256) for item in items_of(manifest))
