"""The retraining record of a draft: made from files, held against each other, kept beside it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field

from primum_repo_tools.files import digest_of, read_input, write_durably
from primum_repo_tools.predictions import cases_sha256, read_predictions
from primum_repo_tools.releases import Draft
from primum_repo_tools.settings import FileName, read_settings
from primum_verifier.change.comparison_analysis import Excluded
from primum_verifier.change.retraining_record import (
    MAX_DATA_SETS,
    RETRAINING_TYPE,
    CohortWindow,
    Commit,
    Labels,
    RetrainingRecord,
    SetRole,
    Trigger,
)
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import (
    Count,
    Document,
    Name,
    SchemaVersion,
    Text,
    canonical_json,
    parse_document,
    sha256_hex,
)
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MIB
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason

RETRAINING_FILE = "retraining.json"
MAX_LIST_BYTES = 256 * MIB
_SHOWN = 5


class DataSetPlan(Document):
    """One data set in ``retraining.toml``.

    ``patients`` is a text file with one pseudonym a line, or locked predictions (``.npz``).
    """

    name: Name
    role: SetRole
    manifest: FileName
    patients: FileName


class CodePlan(Document):
    """What trained; ``archive`` is a file."""

    repository: Text
    commit: Commit | None = None
    archive: FileName | None = None
    container: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class RetrainingPlan(Document):
    """The whole of ``retraining.toml``; files are relative to it."""

    schema_version: SchemaVersion
    trigger: Trigger
    window: CohortWindow
    inclusion: tuple[Text, ...]
    exclusion: tuple[Excluded, ...] = ()
    data_sets: Annotated[tuple[DataSetPlan, ...], Field(max_length=MAX_DATA_SETS)]
    added: tuple[Name, ...] = ()
    removed: tuple[Name, ...] = ()
    labels: Labels
    seed: Count
    hyper_parameters: FileName
    code: CodePlan


@dataclass(frozen=True)
class _Read:
    """A data set with the pseudonyms of its patients."""

    plan: DataSetPlan
    patients: frozenset[str]
    manifest: str
    cases: str | None

    def described(self) -> dict[str, object]:
        text = "".join(f"{name}\n" for name in sorted(self.patients))
        return {
            "name": self.plan.name,
            "role": self.plan.role,
            "manifest": {"sha256": self.manifest},
            "patients": len(self.patients),
            "patientList": {"sha256": sha256_hex(text.encode())},
            "cases": None if self.cases is None else {"sha256": self.cases},
        }


def record_retraining(path: Path, *, draft: Draft, parent: Draft) -> RetrainingRecord:
    """Make the record of a retraining and keep it beside the draft.

    Args:
        path: ``retraining.toml``.
        draft: the release that carries the new model.
        parent: the release whose model was retrained.

    Raises:
        RefusedError: ``validation.retraining``; a patient was seen and tested.
        UsageError: a file is missing, or the record would contradict itself.
    """
    plan = read_settings(RetrainingPlan, path, what="retraining")
    sets = [_read(item, path.parent) for item in plan.data_sets]
    overlaps = _overlaps(sets, where=str(path))
    manifest = draft.manifest
    content = {
        "type": RETRAINING_TYPE,
        "schemaVersion": "0.1",
        "component": manifest.bundle.component,
        "changeTier": manifest.change_tier,
        **{
            name: getattr(plan, name).model_dump(mode="json", by_alias=True)
            for name in ("trigger", "window", "labels")
        },
        "inclusion": list(plan.inclusion),
        "exclusion": [item.model_dump(mode="json", by_alias=True) for item in plan.exclusion],
        "dataSets": [item.described() for item in sets],
        "added": list(plan.added),
        "removed": list(plan.removed),
        "overlaps": overlaps,
        "seed": plan.seed,
        "hyperParameters": _digest(path.parent / plan.hyper_parameters, "hyper-parameters"),
        "code": {
            "repository": plan.code.repository,
            "commit": plan.code.commit,
            "archive": None
            if plan.code.archive is None
            else _digest(path.parent / plan.code.archive, "archive of the code"),
            "container": None if plan.code.container is None else {"sha256": plan.code.container},
        },
        "result": _trained(draft),
        "parent": _trained(parent),
    }
    try:
        record = parse_document(RetrainingRecord, canonical_json(content), where=str(path))
    except RefusedError as error:
        raise UsageError(
            "The record of the retraining would contradict itself.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.found,
            remedy="Compare with the example in the release engineer's guide.",
        ) from error
    write_durably(draft.folder / RETRAINING_FILE, record.to_bytes())
    return record


def _read(item: DataSetPlan, base: Path) -> _Read:
    path = base / item.patients
    manifest = digest_of(base / item.manifest, what=f"manifest of {item.name}")
    if path.suffix == ".npz":
        cases = read_predictions(path)
        return _Read(item, frozenset(cases.patient.tolist()), manifest, cases_sha256(cases))
    data = read_input(path, what=f"patients of {item.name}", max_bytes=MAX_LIST_BYTES)
    names = frozenset(line.strip() for line in data.decode("utf-8", "replace").splitlines())
    return _Read(item, names - {""}, manifest, None)


def _overlaps(sets: list[_Read], *, where: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for seen, tested in product(sets, sets):
        if seen.plan.role == "test" or tested.plan.role != "test":
            continue
        both = seen.patients & tested.patients
        if both:
            shown = ", ".join(sorted(both)[:_SHOWN]) + (", ..." if len(both) > _SHOWN else "")
            raise RefusedError(
                "Patients were tested on whom the model had seen.",
                reason=Reason.VALIDATION_RETRAINING,
                where=where,
                found=f"{len(both)} of {tested.plan.name} in {seen.plan.name}: {shown}",
                expected="no patient on both sides",
                remedy="Train again without them; a comparison on them is no evidence.",
            )
        found.append({"seen": seen.plan.name, "tested": tested.plan.name, "patients": 0})
    return found


def _digest(path: Path, what: str) -> dict[str, str]:
    return {"sha256": digest_of(path, what=what)}


def _trained(draft: Draft) -> dict[str, object]:
    return {
        "version": draft.manifest.bundle.version,
        "release": {"sha256": draft.sha256},
        "model": {"sha256": _model(draft.manifest)},
    }


def _model(manifest: ReleaseManifest) -> str:
    """The digest of the model that a release carries."""
    item = manifest.item_of_kind(ItemKind.MODEL)
    if item is None:
        raise UsageError(
            "The release carries no model.",
            reason=Reason.USAGE,
            where=manifest.name,
            expected="a release with a model",
        )
    return item.digest.sha256


def check_retraining(draft: Draft, parent: Draft | None) -> str:
    """How a draft stands to the record of its retraining, in a word.

    Args:
        draft: the release.
        parent: the release before it; None for a first release, or where it is not at hand.

    Raises:
        RefusedError: ``validation.retraining``; the record is about another release.
    """
    if parent is None or _model(parent.manifest) == _model(draft.manifest):
        return "not-applicable"
    path = draft.folder / RETRAINING_FILE
    if not path.is_file():
        return "missing"
    require_about(path, release=draft.sha256, previous=parent.sha256)
    return "recorded"


def require_about(path: Path, *, release: str, previous: str | None) -> RetrainingRecord:
    """Read a record and refuse one about another release.

    Args:
        path: the record.
        release: SHA-256 of the manifest of the release with the new model.
        previous: that of the release whose model was retrained.

    Raises:
        RefusedError: ``validation.retraining``, or ``document.invalid`` for no whole record.
    """
    data = read_input(path, what="retraining record")
    record = parse_document(RetrainingRecord, data, where=str(path))
    found = (record.result.release.sha256, record.parent.release.sha256)
    if found != (release, previous):
        raise RefusedError(
            "The record of the retraining is about another release.",
            reason=Reason.VALIDATION_RETRAINING,
            where=str(path),
            found=f"{found[0][:12]} from {found[1][:12]}",
            expected=f"{release[:12]} from {(previous or 'none')[:12]}",
            remedy="Record it again: primum-repo release retrained WORKBENCH COMPONENT VERSION "
            "RETRAINING.toml",
        )
    return record
