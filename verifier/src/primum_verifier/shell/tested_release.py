"""A release whose files were checked, and which reports and statements are about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from primum_verifier.core.component import ItemKind
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import Item, ReleaseManifest
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.shell.selftest_view import Checked


@dataclass(frozen=True, kw_only=True)
class TestedRelease:
    """A release whose files were checked.

    Attributes:
        manifest: what its maker says of it.
        sha256: the digest of its exact bytes, by which everybody knows the release.
        checked: what was verified on the way, and what was not.
        files: where the files of the self-test lie, by the id of the item.
    """

    __test__ = False

    manifest: ReleaseManifest
    sha256: str
    checked: tuple[Checked, ...]
    files: Mapping[str, Path]

    @property
    def model(self) -> Item:
        """The model that a device tests."""
        return _model(self.manifest)

    @property
    def specification(self) -> Item:
        """What is asked of it."""
        return self.manifest.item(self.manifest.self_test.specification)

    @property
    def fixtures(self) -> Item:
        """What it is asked with."""
        return self.manifest.item(self.manifest.self_test.fixtures)

    def require_subject(self, report: SelfTestReport) -> None:
        """Refuse a report that is about other files than those of this release.

        Raises:
            RefusedError: ``artifact.digest``.
        """
        subject = report.subject
        for item, digest in (
            (self.model, subject.model),
            (self.specification, subject.specification),
            (self.fixtures, subject.fixtures),
        ):
            if item.digest != digest:
                raise RefusedError(
                    "The report is about another file than the one of this release.",
                    reason=Reason.ARTIFACT_DIGEST,
                    where=item.path,
                    found=f"sha256 {digest.sha256}",
                    expected=f"sha256 {item.digest.sha256}",
                    remedy="Name the release that the report is about, or run its self-test.",
                )

    def require_release(self, sha256: str) -> None:
        """Refuse a statement that is about another release, although its files may be the same.

        Raises:
            RefusedError: ``artifact.digest``.
        """
        if sha256 != self.sha256:
            raise RefusedError(
                "The statement is about another release.",
                reason=Reason.ARTIFACT_DIGEST,
                where=self.manifest.name,
                found=f"a manifest with sha256 {sha256}",
                expected=f"sha256 {self.sha256}",
                remedy="Name the release that was tested, or the statement about this one.",
            )


def asked_items(manifest: ReleaseManifest) -> frozenset[str]:
    """The items that the self-test needs."""
    test = manifest.self_test
    return frozenset({_model(manifest).id, test.specification, test.fixtures})


def _model(manifest: ReleaseManifest) -> Item:
    model = manifest.item_of_kind(ItemKind.MODEL)
    if model is None:
        raise RuntimeError("a manifest was checked to hold a model")
    return model
