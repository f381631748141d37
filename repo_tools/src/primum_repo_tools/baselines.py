"""Which earlier releases a release must be compared with; leaving them out is no way past it.

The last release is the newest that clinical lists as eligible: what patients last got.  Where
clinical lists nothing of the component, it is the newest that engineering signed.  The original is
the first of them.  A first release has neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason


@dataclass(frozen=True)
class EarlierRelease:
    """A release that stands already.

    Attributes:
        version: its version.
        sha256: the digest of its manifest.
        counter: its release counter; the order of releases.
        is_eligible: whether it may be used: listed as eligible, or not judged by clinical yet.
    """

    version: str
    sha256: str
    counter: int
    is_eligible: bool = True


@dataclass(frozen=True)
class Baselines:
    """What a release must be compared with."""

    previous: EarlierRelease
    original: EarlierRelease


def required_baselines(
    manifest: ReleaseManifest, release: str, standing: Sequence[EarlierRelease]
) -> Baselines | None:
    """What a release must name as ``previous`` and ``original``, None for a first release.

    Args:
        manifest: of the release.
        release: SHA-256 of its manifest.
        standing: the releases of its component that stand already; it may be among them.
    """
    counter = manifest.bundle.release_counter
    earlier = sorted(
        (item for item in standing if item.sha256 != release and item.counter < counter),
        key=lambda item: item.counter,
    )
    if not earlier:
        return None
    # Where all were withdrawn, the newest of them still is what patients last got.
    eligible = [item for item in earlier if item.is_eligible]
    return Baselines(previous=(eligible or earlier)[-1], original=earlier[0])


def require_baselines(
    manifest: ReleaseManifest, release: str, standing: Sequence[EarlierRelease], *, remedy: str
) -> None:
    """Refuse a release that does not name the releases it must be compared with.

    Args:
        manifest: of the release.
        release: SHA-256 of its manifest.
        standing: the releases of its component that stand already.
        remedy: who does what about it; ``{previous}`` and ``{original}`` are put in.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    required = required_baselines(manifest, release, standing)
    if required is None:
        return
    named = {
        "previous": manifest.previous.sha256 if manifest.previous else None,
        "original": manifest.original.sha256 if manifest.original else None,
    }
    versions = {item.sha256: item.version for item in standing}
    for member, item in (("previous", required.previous), ("original", required.original)):
        found = named[member]
        if found == item.sha256:
            continue
        told = "none" if found is None else versions.get(found, f"sha256 {found}")
        raise RefusedError(
            f"The release does not name the {member} release that it must be compared with.",
            reason=Reason.VALIDATION_NOT_MET,
            where=manifest.name,
            found=f"{member}: {told}",
            expected=f"{member}: {item.version}, sha256 {item.sha256}",
            remedy=remedy.format(
                previous=required.previous.version, original=required.original.version
            ),
        )


def require_rising(
    manifest: ReleaseManifest, release: str, standing: Sequence[EarlierRelease], *, remedy: str
) -> None:
    """Refuse a new release whose counter is not above every one that stands already.

    A lower one would have nothing before it, and so nothing to be compared with.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    if any(item.sha256 == release for item in standing):
        return
    newest = max(standing, key=lambda item: item.counter, default=None)
    if newest is not None and manifest.bundle.release_counter <= newest.counter:
        raise RefusedError(
            "The release counter is not above that of every release that stands already.",
            reason=Reason.VALIDATION_NOT_MET,
            where=manifest.name,
            found=str(manifest.bundle.release_counter),
            expected=f"above {newest.counter}, the counter of {newest.version}",
            remedy=remedy,
        )
