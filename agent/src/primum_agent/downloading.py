"""Fetching the files of a release into the content store, by the digests of its manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from primum_agent.collecting import collect_for
from primum_agent.content_store import ContentStore, StoredItem
from primum_agent.delta_files import DeltaFiles
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
        done: bytes that are there, of the files that were missing or of their deltas.
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
    deltas: DeltaFiles | None = None,
) -> int:
    """Fetch what is missing; what is there already is checked and kept, also a part of a file.

    A file that a signed delta makes of one that is there is made, and not fetched.

    Args:
        manifest: the signed manifest.
        device: where from and where to.
        watch: told how far it is; what it raises ends the download, to be gone on with later.
        deltas: takes in what came of deltas, for whoever wants to tell it.

    Returns:
        Bytes that came over the wire.

    Raises:
        RefusedError: ``artifact.digest`` or ``artifact.size``: every server holds wrong bytes;
            they were not kept, and files fetched before stay for the next attempt.
        FailedError: ``transport.*``: what came is kept for the next attempt;
            ``resource.storage``.
    """
    store = device.store
    missing = _missing(manifest, store)
    deltas = deltas or DeltaFiles(device)
    deltas.choose(manifest, missing)
    _make_room(manifest, sum(deltas.room_for(item) for item in missing), device=device)
    network = device.settings.network
    pauses = device.pauses
    pace = Pace(network.most_bytes_per_second, monotonic=pauses.monotonic, sleep=pauses.sleep)

    def came(count: int) -> None:
        fail_here(FailPoint.DOWNLOADING_IN_FILE)
        pace(count)

    def take(partial: PartialFile) -> None:
        fail_here(FailPoint.DOWNLOADING_BEFORE_NAME)
        store.complete(partial)

    total = min(network.total_seconds, device.settings.timing.attempt_seconds * _ATTEMPT_SHARE)
    before, wanted = 0, sum(deltas.wire_bytes(item) for item in missing)

    def tell(progress: Progress) -> None:
        done = before + progress.done
        watch(Fetched(done, wanted, progress.received, progress.base))

    transfer = Transfer(
        fetcher=device.fetcher,
        mirrors=device.mirrors,
        total_seconds=total,
        pace=came,
        watch=tell,
        monotonic=pauses.monotonic,
        sleep=pauses.sleep,
        draw=pauses.draw,
    )
    boot = device.clock.boot_id()

    def receive(sha256: str, length: int) -> None:
        partial = store.partial(sha256, length=length, boot=boot)
        with before_the_end(partial.checkpoint):
            transfer.receive(partial, take=take)

    for item in missing:
        planned = deltas.wire_bytes(item)
        if not deltas.make(item, receive=receive):
            wanted += item.length - planned
            receive(item.sha256, item.length)
        before += deltas.wire_bytes(item)
        fail_here(FailPoint.DOWNLOADING_AFTER_FILE)
    return transfer.received


def _missing(manifest: ReleaseManifest, store: ContentStore) -> list[StoredItem]:
    """What is not there with its bytes; what lies there damaged is removed."""
    missing = []
    for item in items_of(manifest):
        if store.holds(item.sha256):
            if store.verify(item.sha256):
                continue
            store.discard(item.sha256)
        missing.append(item)
    return missing


def _make_room(manifest: ReleaseManifest, needed: int, *, device: Device) -> None:
    try:
        device.store.make_room(needed)
    except FailedError:
        # Older releases go first, but for what is needed to go back.
        collect_for(device, manifest)
        device.store.make_room(needed)


def is_whole(manifest: ReleaseManifest, *, device: Device) -> bool:
    """Whether every file of the release lies in the store with its digest."""
    return all(device.store.verify(item.sha256) for item in items_of(manifest))
