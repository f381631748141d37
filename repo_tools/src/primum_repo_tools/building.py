"""Building a release from ``release.toml``: the same inputs give the same bytes.

A draft may be built again until it is signed; a signed version is never reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.baseline_decisions import check_decisions
from primum_repo_tools.component_files import LaidComponent, lay_component
from primum_repo_tools.files import (
    make_folder,
    read_input,
    remove_tree,
    replace_folder,
    write_durably,
)
from primum_repo_tools.progress import Progress
from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.release_specification import derived_id, specification_bytes
from primum_repo_tools.releases import (
    MANIFEST_FILE,
    Draft,
    open_draft,
    read_intended_use,
    signed_digests,
)
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.settings import parse_settings
from primum_repo_tools.standing_releases import check_baselines, check_counter
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MIB
from primum_verifier.core.manifest import (
    MANIFEST_TYPE,
    ReleaseManifest,
    manifest_target,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.fixtures import MAX_FIXTURE_BYTES
from primum_verifier.record.monitoring import MonitoringSpecification

MAX_MODEL_BYTES = 2048 * MIB


_ITEM_NAMES = {
    ItemKind.MODEL: ("model", "model.onnx"),
    ItemKind.SELF_TEST_FIXTURES: ("fixtures", "fixtures.npz"),
    ItemKind.SELF_TEST_SPECIFICATION: ("self-test", "self-test.json"),
    ItemKind.THRESHOLD_SET: ("thresholds", "thresholds.json"),
    ItemKind.INSTRUCTIONS_FOR_USE: ("instructions", "instructions.md"),
    ItemKind.MONITORING_SPECIFICATION: ("monitoring", "monitoring.json"),
}
"""Item id and path by kind: one name on every device, whatever the file was called here."""


@dataclass(frozen=True)
class Built:
    """A release that was built, and what of its sources is not in it.

    Attributes:
        draft: the release.
        left_out: for each component with empty folders, their paths; no list can carry them.
    """

    draft: Draft
    left_out: dict[str, tuple[str, ...]]


def build_release(
    workbench: Workbench, plan_file: Path, *, now: datetime, progress: Progress
) -> Built:
    """Build a release from its plan; the caller holds the workbench's lock.

    Args:
        workbench: of engineering; holds the earlier releases that the plan names.
        plan_file: ``release.toml``; the files it names are relative to its folder.
        now: the moment at which clinical's list is read; it does not enter the release.
        progress: told over the files of the components, which may be large.

    Raises:
        UsageError: the plan or a file it names is wrong.
        RefusedError: this version was signed already with other bytes, or the plan does not name
            the releases that it must be compared with.
    """
    plan_bytes = read_input(plan_file, what="release plan")
    plan = parse_settings(ReleasePlan, plan_bytes, where=str(plan_file))
    contents = _contents(plan, plan_file.parent)
    check_decisions(
        workbench,
        plan,
        specification=contents[ItemKind.SELF_TEST_SPECIFICATION],
        fixtures=contents[ItemKind.SELF_TEST_FIXTURES],
        where=str(plan_file.parent / plan.files.fixtures),
    )
    intended_use = read_intended_use(plan_file.parent / plan.files.intended_use)
    folder = workbench.release(plan.component, plan.version)
    making = folder.with_name(f".{folder.name}.new")
    remove_tree(making)
    make_folder(making / "files")
    try:
        laid = [
            lay_component(item, plan_file.parent, making / "files", progress=progress)
            for item in plan.components
        ]
        manifest = _manifest(workbench, plan, contents, laid, sha256_hex(intended_use.encode()))
        data = manifest.to_bytes()
        _refuse_reuse(workbench, plan, data)
        repository = AuthorityRepository(workbench, now=now)
        check_counter(repository, manifest, sha256_hex(data))
        check_baselines(workbench, repository, manifest, sha256_hex(data), now=now)
        for kind, content in contents.items():
            write_durably(making / "files" / _ITEM_NAMES[kind][1], content)
        write_durably(making / "intended-use.txt", intended_use.encode())
        write_durably(making / "release.toml", plan_bytes)
        write_durably(making / MANIFEST_FILE, data)
        # The same release again: what was tested and compared about it still holds.
        if not _holds(folder / MANIFEST_FILE, data):
            replace_folder(folder, making)
    finally:
        remove_tree(making)
    draft = open_draft(workbench, plan.component, plan.version)
    left_out = {str(found.component["id"]): found.left_out for found in laid if found.left_out}
    return Built(draft, left_out)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and read_input(path, what="manifest") == data


def _contents(plan: ReleasePlan, folder: Path) -> dict[ItemKind, bytes]:
    contents = {
        ItemKind.MODEL: read_input(
            folder / plan.files.model, what="model", max_bytes=MAX_MODEL_BYTES
        ),
        ItemKind.SELF_TEST_FIXTURES: read_input(
            folder / plan.files.fixtures, what="fixtures", max_bytes=MAX_FIXTURE_BYTES
        ),
    }
    for kind, name, what in (
        (ItemKind.THRESHOLD_SET, plan.files.thresholds, "threshold set"),
        (ItemKind.INSTRUCTIONS_FOR_USE, plan.files.instructions, "instructions for use"),
        (ItemKind.MONITORING_SPECIFICATION, plan.files.monitoring, "monitoring specification"),
    ):
        if name is not None:
            contents[kind] = read_input(folder / name, what=what)
    if plan.files.monitoring is not None:
        where = str(folder / plan.files.monitoring)
        _check_monitoring(plan, contents[ItemKind.MONITORING_SPECIFICATION], where=where)
    spec = specification_bytes(plan, folder, contents[ItemKind.SELF_TEST_FIXTURES])
    contents[ItemKind.SELF_TEST_SPECIFICATION] = spec
    for kind, content in contents.items():
        if not content:
            raise UsageError(
                "A file of the release is empty.", reason=Reason.USAGE, where=f"{folder}: {kind}"
            )
    return contents


def _check_monitoring(plan: ReleasePlan, data: bytes, *, where: str) -> None:
    """A device that cannot read what it should watch would watch nothing."""
    component = parse_document(MonitoringSpecification, data, where=where).component
    if component != plan.component:
        raise UsageError(
            "The monitoring specification is about another component.",
            reason=Reason.USAGE,
            where=where,
            found=component,
            expected=plan.component,
        )


def _manifest(
    workbench: Workbench,
    plan: ReleasePlan,
    contents: dict[ItemKind, bytes],
    laid: Sequence[LaidComponent],
    intended_use: str,
) -> ReleaseManifest:
    content: dict[str, object] = {
        "type": MANIFEST_TYPE,
        "schemaVersion": "0.1",
        "issuedAt": plan.created_at.isoformat(),
        "bundle": {
            "component": plan.component,
            "version": plan.version,
            "releaseCounter": plan.release_counter,
            "track": "combined" if laid else "model",
            "createdAt": plan.created_at.isoformat(),
        },
        "items": [
            {
                "id": _ITEM_NAMES[kind][0],
                "kind": kind,
                "path": _ITEM_NAMES[kind][1],
                "length": len(data),
                "digest": {"sha256": sha256_hex(data)},
            }
            for kind, data in sorted(contents.items())
        ]
        + [item for found in laid for item in found.items],
        "compatibility": {
            "hardware": list(plan.hardware),
            "minAgentVersion": plan.min_agent_version,
        },
        "installer": "set" if laid else "model",
        "selfTest": {"specification": "self-test", "fixtures": "fixtures"},
        "activation": {
            "healthWindowSeconds": plan.health_window_seconds,
            "maxAttempts": plan.max_attempts,
        },
        "rollback": {
            "floorCounter": plan.floor_counter,
            "dataFloorCounter": plan.data_floor_counter,
        },
        "labelling": {
            "ifuVersion": plan.ifu_version,
            "udiDi": plan.udi_di,
            "summary": plan.summary,
        },
        "maxStage": plan.max_stage,
        "intendedUse": {"sha256": intended_use},
        "changeTier": plan.change_tier,
    }
    if laid:
        content["components"] = [found.component for found in laid]
    for member, version in (("previous", plan.previous), ("original", plan.original)):
        if version is not None:
            earlier = open_draft(workbench, plan.component, version)
            _check_order(plan, earlier)
            content[member] = {"sha256": earlier.sha256}
    content["id"] = derived_id(canonical_json(content))
    try:
        return parse_document(ReleaseManifest, canonical_json(content), where="release.toml")
    except RefusedError as error:
        raise UsageError(
            "The parts of the release do not fit together.",
            reason=Reason.USAGE,
            where="release.toml",
            found=error.found,
            expected="what devices read as a release",
            remedy="Compare with the example in the release engineer's guide.",
        ) from error


def _check_order(plan: ReleasePlan, earlier: Draft) -> None:
    counter = earlier.manifest.bundle.release_counter
    if counter >= plan.release_counter:
        raise UsageError(
            "The release counter does not rise.",
            reason=Reason.USAGE,
            where="release.toml: release_counter",
            found=str(plan.release_counter),
            expected=f"above {counter}, the counter of {earlier.manifest.name}",
        )


def _refuse_reuse(workbench: Workbench, plan: ReleasePlan, data: bytes) -> None:
    repository = AuthorityRepository(workbench, now=plan.created_at)
    signed = signed_digests(repository).get(manifest_target(plan.component, plan.version))
    if signed is not None and signed != sha256_hex(data):
        raise RefusedError(
            "This version was signed already and now would hold other bytes.",
            reason=Reason.USAGE,
            where=f"{plan.component} {plan.version}",
            found=f"sha256 {sha256_hex(data)}",
            expected=f"sha256 {signed}",
            remedy="Give the new bytes a new version; a version means one release for ever.",
        )
