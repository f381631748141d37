"""Files of a release made of files that this device holds, by the deltas of a signed list.

1. The list is one that the role for manifests signs; without one there are no deltas here.
2. The old file's bytes are checked right before, and what is made is checked like a file that was
   fetched: under its name comes only what has the digest of the manifest.
3. A delta that fails is remembered by its digest, and the whole file is fetched.  A link that
   breaks is no failure of a delta: the next attempt goes on with it.

Made is a file as a stream, in pieces; a cut leaves what a cut of a download leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from primum_agent.content_store import StoredItem
from primum_agent.delta_memory import add_saved, failed_deltas, remember_failed
from primum_agent.device import Device
from primum_agent.fail_points import DeltaPoint, fail_here
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason
from primum_verifier.delta.applying import apply_delta
from primum_verifier.delta.choosing import DeltaTerms, Power, choose_delta
from primum_verifier.delta.delta_list import DELTA_LIST_ROLE, Delta, DeltaList, delta_list_target
from primum_verifier.shell.fetching import NotThereError

_PIECE_BYTES = 256 * 1024

Receive = Callable[[str, int], None]
"""Fetches the bytes of a digest and length into the store."""


@dataclass(frozen=True)
class Made:
    """What came of one delta.

    Attributes:
        file: the item's id in the manifest.
        delta: SHA-256 of the delta.
        saved: bytes that did not have to be fetched; 0 where the whole file had to.
        reason: why it failed, empty where it did not.
    """

    file: str
    delta: str
    saved: int
    reason: str = ""

    def as_detail(self) -> dict[str, object]:
        """For the event that tells what was fetched."""
        told = {"file": self.file, "delta": self.delta, "saved": self.saved}
        return {**told, "reason": self.reason} if self.reason else told


@dataclass
class DeltaFiles:
    """The deltas of one download.

    Attributes:
        device: whose files.
        chosen: the delta to each file that one is taken for, by the file's digest.
        made: what came of them, in order.
    """

    device: Device
    chosen: dict[str, Delta] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    @property
    def saved(self) -> int:
        """Bytes that did not have to be fetched."""
        return sum(item.saved for item in self.made)

    def as_detail(self) -> dict[str, object]:
        """For the event that tells what was fetched; empty where no delta was taken."""
        if not self.made:
            return {}
        return {"saved": self.saved, "deltas": [item.as_detail() for item in self.made]}

    def choose(self, manifest: ReleaseManifest, missing: Sequence[StoredItem]) -> None:
        """Decide which missing files are made and not fetched."""
        settings = self.device.settings.deltas
        listed = _listed(self.device, manifest) if settings.enabled and missing else None
        if listed is None:
            return
        terms = DeltaTerms(
            min_saving_percent=settings.min_saving_percent,
            low_battery_percent=settings.low_battery_percent,
            min_saving_percent_low_battery=settings.min_saving_percent_low_battery,
        )
        power = power_of(self.device)
        failed = failed_deltas(self.device.journal)
        for item in missing:
            delta = choose_delta(
                listed.deltas,
                result=item.sha256,
                length=item.length,
                holds=self._holds,
                failed=failed,
                terms=terms,
                power=power,
            )
            left = item.length - self.device.store.partial_bytes(item.sha256)
            if delta is not None and delta.length < left:
                self.chosen[item.sha256] = delta

    def wire_bytes(self, item: StoredItem) -> int:
        """Bytes of what is fetched for a file: its delta's while that may make it, or its own."""
        delta = self.chosen.get(item.sha256)
        return item.length if delta is None else delta.length

    def room_for(self, item: StoredItem) -> int:
        """Bytes of storage that a file still needs: with its delta, or what is left of it."""
        store = self.device.store
        delta = self.chosen.get(item.sha256)
        if delta is None:
            return max(0, item.length - store.partial_bytes(item.sha256))
        return item.length + max(0, delta.length - store.partial_bytes(delta.digest.sha256))

    def make(self, item: StoredItem, *, receive: Receive) -> bool:
        """Make one file by its delta.

        Args:
            item: the file.
            receive: fetches the delta.

        Returns:
            Whether the file is there; otherwise the whole of it is to be fetched.

        Raises:
            FailedError: the link or the storage; nothing is held against the delta.
        """
        delta = self.chosen.get(item.sha256)
        if delta is None:
            return False
        store, sha256 = self.device.store, delta.digest.sha256
        try:
            if not (store.holds(sha256) and store.verify(sha256)):
                receive(sha256, delta.length)
        except (NotThereError, RefusedError) as error:
            # The servers keep none, or another one: that says nothing of the delta.
            self._drop_partial(sha256, delta.length)
            return self._given_up(item, delta, error.reason)
        fail_here(DeltaPoint.BEFORE_FILE)
        try:
            self._apply(item, delta)
        except RefusedError as error:
            wrong = error.reason in {Reason.ARTIFACT_DIGEST, Reason.ARTIFACT_SIZE}
            remember_failed(self.device.journal, sha256)
            store.discard(sha256)
            return self._given_up(item, delta, Reason.DELTA_RESULT if wrong else error.reason)
        fail_here(DeltaPoint.AFTER_FILE)
        store.discard(sha256)
        # What came of the whole file before there was a delta is of no use any more.
        self._drop_partial(item.sha256, item.length)
        saved = item.length - delta.length
        add_saved(self.device.journal, saved)
        self.made.append(Made(item.id, sha256, saved))
        return True

    def _given_up(self, item: StoredItem, delta: Delta, reason: Reason) -> bool:
        """Leave a file to be fetched whole; False, for whoever asked for it."""
        del self.chosen[item.sha256]
        self.made.append(Made(item.id, delta.digest.sha256, 0, str(reason)))
        return False

    def _drop_partial(self, sha256: str, length: int) -> None:
        boot = self.device.clock.boot_id()
        self.device.store.partial(sha256, length=length, boot=boot).discard()

    def _holds(self, sha256: str, length: int) -> bool:
        store = self.device.store
        with suppress(OSError):
            return store.path_of(sha256).stat().st_size == length and store.verify(sha256)
        return False

    def _apply(self, item: StoredItem, delta: Delta) -> None:
        store = self.device.store
        base = _Old(store.path_of(delta.base.sha256))
        try:
            pieces = apply_delta(
                _pieces(store.path_of(delta.digest.sha256)),
                base=base.read,
                base_length=delta.base_length,
                length=item.length,
            )
            store.add(_watched(pieces), sha256=item.sha256, length=item.length)
        finally:
            base.close()


class _Old:
    """The old file, read where a delta asks for it."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise self._gone(error) from error

    def read(self, place: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        try:
            found = os.pread(self._file, length, place)
        except OSError as error:
            raise self._gone(error) from error
        if len(found) != length:
            raise self._gone(None)
        return found

    def close(self) -> None:
        os.close(self._file)

    @staticmethod
    def _gone(error: OSError | None) -> RefusedError:
        return RefusedError(
            "The file that a delta begins with is no longer what it was.",
            reason=Reason.DELTA_BASE,
            where="content store",
            found="shorter than before" if error is None else str(error.strerror),
            expected="the file that was checked just before",
            remedy="The whole file is fetched instead.",
        )


def _watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        fail_here(DeltaPoint.IN_FILE)
        yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                yield piece
    except OSError as error:
        raise FailedError(
            "A delta cannot be read.",
            reason=Reason.STATE_DAMAGED,
            where=str(path),
            found=error.strerror or str(error),
            remedy="The next attempt fetches it again.",
        ) from error


def _listed(device: Device, manifest: ReleaseManifest) -> DeltaList | None:
    """The signed list of a release's deltas; one that cannot be read is as good as none."""
    stored = device.authorities.stored(now=device.clock.now(), device_id=device.settings.device_id)
    target = delta_list_target(manifest.bundle.component, manifest.bundle.version)
    view = stored.engineering
    data = None if view is None else view.document(target, roles=frozenset({DELTA_LIST_ROLE}))
    if data is None:
        return None
    try:
        return parse_document(DeltaList, data, where=target)
    except PrimumError:
        return None


def power_of(device: Device) -> Power:
    """What the device runs on, as its sensors say."""
    readings = device.sensors().read()
    return Power(battery_percent=readings.battery, is_charging=bool(readings.charging))
