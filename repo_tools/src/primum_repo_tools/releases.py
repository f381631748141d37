"""Releases as drafts: one folder for each, with the manifest and the files that it names.

A draft is ``releases/<component>/<version>/`` with ``manifest.json`` and ``files/``; what was shown
about it lies beside the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import TargetFile, Targets

from primum_repo_tools.files import (
    read_input,
)
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench, draft_bytes
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_TEXT
from primum_verifier.core.manifest import (
    MANIFEST_ROLE,
    ReleaseManifest,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_spec import OperatingPoint, SelfTestSpec

MANIFEST_FILE = "manifest.json"


COMPARISON_FILE = "comparison.json"


COMPARISONS_FOLDER = "comparisons"
"""Every comparison of a draft, by the digest of its report; the newest is the file above."""


SELF_TEST_FILE = "self-test.json"


SELF_TEST_STATEMENT = "self-test.dsse.json"


@dataclass(frozen=True)
class Draft:
    """One built release.

    Attributes:
        folder: where it lies.
        manifest: its manifest, parsed.
        data: the exact bytes of the manifest; their digest is the release.
    """

    folder: Path
    manifest: ReleaseManifest
    data: bytes

    @property
    def sha256(self) -> str:
        """The digest by which everybody knows this release."""
        return sha256_hex(self.data)

    def file(self, item_id: str) -> Path:
        """The file of one item."""
        return self.folder / "files" / self.manifest.item(item_id).path

    def artifacts(self) -> dict[str, Path]:
        """Each file by the SHA-256 under which devices fetch it."""
        return {item.digest.sha256: self.file(item.id) for item in self.manifest.items}

    def specification(self) -> SelfTestSpec:
        """The self-test specification of the release."""
        path = self.file(self.manifest.self_test.specification)
        return parse_document(
            SelfTestSpec, read_input(path, what="self-test specification"), where=str(path)
        )


def open_draft(workbench: Workbench, component: str, version: str) -> Draft:
    """The draft of one release.

    Raises:
        UsageError: it was not built.
        RefusedError: its manifest is damaged.
    """
    folder = workbench.release(component, version)
    data = draft_bytes(
        folder / MANIFEST_FILE,
        what="built release of this name",
        remedy=f"Build it: primum-repo release build {workbench.folder} RELEASE.toml",
    )
    manifest = parse_document(ReleaseManifest, data, where=str(folder / MANIFEST_FILE))
    return Draft(folder=folder, manifest=manifest, data=data)


def drafts(workbench: Workbench) -> list[Draft]:
    """Every draft, by component and release counter."""
    found = [
        open_draft(workbench, path.parent.parent.name, path.parent.name)
        for path in (workbench.folder / "releases").glob(f"*/[!.]*/{MANIFEST_FILE}")
    ]
    return sorted(
        found, key=lambda d: (d.manifest.bundle.component, d.manifest.bundle.release_counter)
    )


def manifests_of(targets: Mapping[str, TargetFile]) -> dict[str, TargetFile]:
    """The manifests among what the role that signs them says; delta lists stand beside them."""
    return {name: target for name, target in targets.items() if name.endswith(f"/{MANIFEST_FILE}")}


def draft_of(workbench: Workbench, sha256: str) -> Draft | None:
    """The draft whose manifest has this digest, None where it is not here any more."""
    return next((item for item in drafts(workbench) if item.sha256 == sha256), None)


def signed_digests(repository: AuthorityRepository) -> dict[str, str]:
    """The manifest digest of each signed release by target name, staged ones included."""
    signed = repository.published_targets(MANIFEST_ROLE)
    staged = repository.staged(MANIFEST_ROLE, Targets)
    if staged is not None:
        signed |= staged.targets
    return {name: target.hashes["sha256"] for name, target in manifests_of(signed).items()}


def read_intended_use(path: Path) -> str:
    """The intended use in words, without space around it: both authorities digest this text.

    Raises:
        UsageError: it is missing, no UTF-8, empty or too long.
    """
    try:
        text = read_input(path, what="intended use").decode("utf-8", "strict").strip()
    except UnicodeDecodeError:
        text = ""
    if not 0 < len(text) <= MAX_TEXT:
        raise UsageError(
            "The intended use cannot be taken.",
            reason=Reason.USAGE,
            where=str(path),
            found=f"{len(text)} characters",
            expected=f"1 to {MAX_TEXT} characters of UTF-8",
        )
    return text


def operating_point_of(specification: SelfTestSpec, *, name: str) -> OperatingPoint:
    """How the release called ``name`` decides.

    Raises:
        UsageError: its self-test states no operating point, so nobody could approve one.
    """
    point = specification.operating_point
    if point is None:
        raise UsageError(
            "The release states no operating point.",
            reason=Reason.USAGE,
            where=f"{name}: self-test specification",
            expected="the output and the threshold that its decisions are made with",
            remedy="Build a version whose self-test states one, or ask engineering for it.",
        )
    return point
