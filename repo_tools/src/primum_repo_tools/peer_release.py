"""A release as clinical sees it: read from engineering's web root by the device's own client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import (
    read_input,
)
from primum_repo_tools.reading import peer_view
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import Model, parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import MANIFEST_ROLE, Item, ReleaseManifest, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.record.monitoring import MonitoringSpecification


@dataclass(frozen=True)
class PeerRelease:
    """A release as engineering signed and published it.

    Attributes:
        manifest: parsed.
        sha256: its digest.
        specification: its self-test specification, fetched by digest.
        monitoring: its monitoring specification, likewise; None where it carries none.
        view: engineering's view with the manifest in it, for the verifier's rules.
    """

    manifest: ReleaseManifest
    sha256: str
    specification: SelfTestSpec
    monitoring: MonitoringSpecification | None
    view: AuthorityView


def read_peer_release(
    workbench: Workbench, component: str, version: str, *, now: datetime
) -> PeerRelease:
    """Read a release from engineering's web root, as a device would.

    Raises:
        RefusedError: engineering did not sign it by its role for models, or its files are not
            those that it names.
    """
    target = manifest_target(component, version)
    view = peer_view(workbench, [target], now=now)
    found = view.documents.get(target)
    if found is None or found.role != MANIFEST_ROLE:
        raise RefusedError(
            "Engineering has not published this release.",
            reason=Reason.TRUST_NOT_FOUND,
            where=f"engineering: {target}",
            expected=f"a manifest signed by the role {MANIFEST_ROLE}",
            remedy="Ask engineering to sign and publish it first.",
        )
    manifest = parse_document(ReleaseManifest, found.data, where=target)
    watched = manifest.item_of_kind(ItemKind.MONITORING_SPECIFICATION)
    return PeerRelease(
        manifest=manifest,
        sha256=sha256_hex(found.data),
        specification=_artifact(
            workbench,
            SelfTestSpec,
            manifest.item(manifest.self_test.specification),
            what="self-test specification",
        ),
        monitoring=None
        if watched is None
        else _artifact(
            workbench, MonitoringSpecification, watched, what="monitoring specification"
        ),
        view=view,
    )


def _artifact(workbench: Workbench, model: type[Model], item: Item, *, what: str) -> Model:
    """One signed file of the release that is itself a document, fetched by its digest."""
    path = (workbench.peer or Path()) / "artifacts" / item.digest.sha256
    data = read_input(path, what=f"{what} in engineering's web root")
    if sha256_hex(data) != item.digest.sha256:
        raise RefusedError(
            "An artifact in engineering's web root is not the one that was signed.",
            reason=Reason.ARTIFACT_DIGEST,
            where=str(path),
            found=f"sha256 {sha256_hex(data)}",
            expected=f"sha256 {item.digest.sha256}",
        )
    return parse_document(model, data, where=str(path))
