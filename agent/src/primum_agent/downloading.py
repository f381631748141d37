"""Fetching the files of a release into the content store, by the digests of its manifest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from primum_agent.collecting import collect_for
from primum_agent.device import Device
from primum_agent.ending import before_the_end
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.installer import items_of
from primum_agent.pacing import Pace
from primum_agent.partial_files import PartialFile
from primum_agent.transfer import Progress, Transfer
from primum_verifier.core.errors import FailedError
from primum_verifier.core.manifest import ReleaseManifest

_ATTEMPT_SHARE = 0.9
"""How much of an attempt's time fetching may take: what ends by itself ends in order."""


@dataclass(frozen=True)
class Fetched:
    """How far a release is.

    Attributes:
        done: bytes that are there, of the files that were missing.
        total: bytes that these are to have.
        received: bytes that came over the wire in this attempt.
        server: who sends.
    """

    done: int
    total: int
    received: int
    server: str


def download(
    manifest: ReleaseManifest,
    *,
    device: Device,
    watch: Callable[[Fetched], None] = lambda _: None,
) -> int:
    """Fetch what is missing; what is there already is checked and kept, also a part of a file.

    Args:
        manifest: the signed manifest.
        device: where from and where to.
        watch: told how far it is; what it raises ends the download, to be gone on with later.

    Returns:
        Bytes that came over the wire.

    Raises:
        RefusedError: ``artifact.digest`` or ``artifact.size``: every server holds wrong bytes;
            they were not kept, and files fetched before stay for the next attempt.
        FailedError: ``transport.*``: what came is kept for the next attempt;
            ``resource.storage``.
    """
    store = device.store
    missing = []
    for item in items_of(manifest):
        if store.holds(item.sha256):
            if store.verify(item.sha256):
                continue
            store.discard(item.sha256)
        missing.append(item)
    needed = sum(max(0, item.length - store.partial_bytes(item.sha256)) for item in missing)
    try:
        store.make_room(needed)
    except FailedError:
        # Older releases go first, but for what is needed to go back.
        collect_for(device, manifest)
        store.make_room(needed)
    network = device.settings.network
    pace = Pace(network.most_bytes_per_second)

    def came(count: int) -> None:
        fail_here(FailPoint.DOWNLOADING_IN_FILE)
        pace(count)

    def take(partial: PartialFile) -> None:
        fail_here(FailPoint.DOWNLOADING_BEFORE_NAME)
        store.complete(partial)

    total = min(network.total_seconds, device.settings.timing.attempt_seconds * _ATTEMPT_SHARE)
    before, wanted = 0, sum(item.length for item in missing)

    def tell(progress: Progress) -> None:
        done = before + progress.done
        watch(Fetched(done, wanted, progress.received, progress.base))

    transfer = Transfer(
        fetcher=device.fetcher,
        mirrors=device.mirrors,
        total_seconds=total,
        pace=came,
        watch=tell,
        draw=random.random,
    )
    boot = device.clock.boot_id()
    for item in missing:
        partial = store.partial(item.sha256, length=item.length, boot=boot)
        with before_the_end(partial.checkpoint):
            transfer.receive(partial, take=take)
        before += item.length
        fail_here(FailPoint.DOWNLOADING_AFTER_FILE)
    return transfer.received


def is_whole(manifest: ReleaseManifest, *, device: Device) -> bool:
    """Whether every file of the release lies in the store with its digest."""
    return all(device.store.verify(item.sha256) for item in items_of(manifest))
