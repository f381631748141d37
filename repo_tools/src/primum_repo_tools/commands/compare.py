"""``primum-repo compare``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from primum_repo_tools.commands.common import AsJson, table, tell

if TYPE_CHECKING:
    from primum_repo_tools.comparison import ArmName
    from primum_repo_tools.releases import Draft
    from primum_verifier.change.comparison_report import Bounds, ComparisonReport

Predicted = Annotated[Path, typer.Option(metavar="NPZ", help="Its locked predictions.")]


def compare(
    *,
    candidate: Predicted,
    last: Predicted,
    original: Predicted,
    protocol: Annotated[Path, typer.Option(metavar="TOML", help="The frozen protocol.")],
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM=VALUE", help="Operating point of an arm; repeat it."),
    ] = None,
    workbench: Annotated[
        Path | None,
        typer.Option(metavar="WORKBENCH", help="Engineering's; binds the report to releases."),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(metavar="COMPONENT/VERSION", help="The candidate as built there."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the report as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    r"""Compare a candidate with the last and the original release; 1 when it is not met.

    With --workbench and --release the operating points come from the signed self-test
    specifications and the report is kept beside the draft. A failed report is kept too: it is a
    record, not a retry.

    Example:
      primum-repo compare --candidate 1.1.0.npz --last 1.0.0.npz --original 1.0.0.npz \
        --protocol protocol.toml --workbench engineering --release pvc-classifier/1.1.0
      primum-repo compare --candidate c.npz --last l.npz --original o.npz \
        --protocol protocol.toml --threshold candidate=0.5 --threshold last=0.5 \
        --threshold original=0.5 --output comparison.json
    """
    from primum_repo_tools import comparison
    from primum_repo_tools.files import read_input, write_durably
    from primum_repo_tools.predictions import check_aligned, read_predictions
    from primum_repo_tools.protocol import Protocol
    from primum_repo_tools.settings import parse_settings
    from primum_verifier.core.document import sha256_hex

    protocol_bytes = read_input(protocol, what="protocol")
    frozen = parse_settings(Protocol, protocol_bytes, where=str(protocol))
    points, releases, folder = _operating_points(threshold or [], workbench, release)
    paths: dict[ArmName, Path] = {"candidate": candidate, "last": last, "original": original}
    read = {name: read_predictions(path) for name, path in paths.items()}
    check_aligned({str(name): (path, read[name]) for name, path in paths.items()})
    report = comparison.compare(
        {
            name: comparison.ComparedArm(read[name], points[name], releases.get(name))
            for name in paths
        },
        protocol=frozen,
        protocol_sha256=sha256_hex(protocol_bytes),
    )
    for target in _targets(folder, output):
        write_durably(target, report.to_bytes())
    tell(report.model_dump(mode="json", by_alias=True), *_shown(report), as_json=as_json)
    comparison.require_met(report, where=str(candidate))


def _targets(folder: Path | None, output: Path | None) -> list[Path]:
    from primum_repo_tools.releases import COMPARISON_FILE

    kept = [] if folder is None else [folder / COMPARISON_FILE]
    return kept + ([] if output is None else [output])


def _operating_points(
    threshold: list[str], workbench: Path | None, release: str | None
) -> tuple[Mapping[str, str], Mapping[str, str], Path | None]:
    """Thresholds and manifest digests by arm, and the folder of the draft."""
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    if workbench is not None and release is not None and not threshold:
        return _from_releases(workbench, release)
    points = dict(item.split("=", 1) for item in threshold if "=" in item)
    wanted = {"candidate", "last", "original"}
    if workbench is not None or release is not None or set(points) != wanted:
        raise UsageError(
            "The operating points are not stated.",
            reason=Reason.USAGE,
            expected="--workbench with --release, or --threshold for candidate, last and original",
        )
    for arm, value in points.items():
        _check_number(arm, value)
    return points, {}, None


def _check_number(arm: str, value: str) -> None:
    from decimal import Decimal, InvalidOperation

    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    try:
        finite = Decimal(value).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise UsageError(
            "A threshold is no number.",
            reason=Reason.USAGE,
            where=f"--threshold {arm}",
            found=value[:40],
            expected="a decimal number, such as 0.5",
        )


def _from_releases(
    workbench: Path, release: str
) -> tuple[Mapping[str, str], Mapping[str, str], Path]:
    from primum_repo_tools.releases import drafts, open_draft
    from primum_repo_tools.workbench import open_workbench
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    bench = open_workbench(workbench, authority="engineering")
    component, _, version = release.partition("/")
    draft = open_draft(bench, component, version)
    manifest = draft.manifest
    if manifest.previous is None or manifest.original is None:
        raise UsageError(
            "A first release has nothing to be compared with.",
            reason=Reason.USAGE,
            where=manifest.name,
            remedy="Name previous and original in its release.toml.",
        )
    digests = {
        "candidate": draft.sha256,
        "last": manifest.previous.sha256,
        "original": manifest.original.sha256,
    }
    known = {item.sha256: item for item in drafts(bench)}
    points = {arm: _threshold(known[sha256]) for arm, sha256 in digests.items() if sha256 in known}
    if len(points) != len(digests):
        raise UsageError(
            "A baseline is no longer in the workbench as it was signed.",
            reason=Reason.USAGE,
            where=manifest.name,
            expected=", ".join(sorted(set(digests.values()) - set(known))),
        )
    return points, digests, draft.folder


def _threshold(draft: Draft) -> str:
    from primum_repo_tools.releases import operating_point_of

    return operating_point_of(draft.specification(), name=draft.manifest.name).threshold


def _bounds(bounds: Bounds | None) -> str:
    if bounds is None:
        return "-"
    return f"{float(bounds.estimate):.4f} ({float(bounds.low):.4f} to {float(bounds.high):.4f})"


def _shown(report: ComparisonReport) -> tuple[RenderableType, ...]:
    arms = [
        (name, arm.threshold, _bounds(arm.sensitivity), _bounds(arm.specificity), _bounds(arm.auc))
        for name, arm in report.arms.items()
    ]
    endpoints = [
        (
            item.id,
            item.role,
            _bounds(item.difference),
            item.margin or "-",
            f"{item.patients}/{item.cases}",
            item.decision,
        )
        for item in report.endpoints
    ]
    return (
        table("Each alone", ("arm", "threshold", "sensitivity", "specificity", "AUC"), arms),
        table(
            f"Compared by {report.protocol.id}, unit {report.unit}",
            ("endpoint", "role", "difference", "margin", "patients/cases", "decision"),
            endpoints,
        ),
        f"Overall: {report.overall}",
    )
