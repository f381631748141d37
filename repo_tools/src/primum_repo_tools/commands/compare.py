"""``primum-repo compare``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from primum_repo_tools.commands.common import (
    AsJson,
    PersonPassphraseFile,
    person_secrets,
    table,
    tell,
    told_progress,
)

if TYPE_CHECKING:
    from primum_repo_tools.comparison import ArmName
    from primum_verifier.change.comparison_report import ComparisonReport
    from primum_verifier.change.comparison_terms import Bounds

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
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="LEDGER", help="Of the locked test set that the protocol names."),
    ] = None,
    person: Annotated[
        Path | None,
        typer.Option("--as", metavar="FOLDER", help="Folder of who keeps the test set."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The files of the test set, where it has files."),
    ] = None,
    deviation: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A deviation from the protocol and why; repeat it."),
    ] = None,
    repeat_reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why this candidate is compared again.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the report as well.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it as one page with its plots.")
    ] = None,
    person_passphrase_file: PersonPassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    r"""Compare a candidate with the last and the original release; 1 when it is not met.

    With --workbench and --release the operating points come from the signed self-test
    specifications and the report is kept beside the draft. A failed report is kept too: it is a
    record, not a retry. Where the protocol names a locked test set, its use is recorded in the
    ledger before anything is compared, and the report is kept there.

    Example:
      primum-repo compare --candidate 1.1.0.npz --last 1.0.0.npz --original 1.0.0.npz \
        --protocol protocol.toml --workbench engineering --release pvc-classifier/1.1.0
      primum-repo compare --candidate c.npz --last l.npz --original o.npz \
        --protocol protocol.toml --threshold candidate=0.5 --threshold last=0.5 \
        --threshold original=0.5 --ledger ledger --as people/q.lee --output comparison.json
    """
    from primum_repo_tools import comparison
    from primum_repo_tools.commands.compare_options import (
        keep_beside_draft,
        operating_points,
        require_ledger,
    )
    from primum_repo_tools.files import read_input, write_durably
    from primum_repo_tools.locked_set import held, keep_report, open_custodian
    from primum_repo_tools.locked_set_use import Intent, begin_use
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.predictions import check_aligned, read_predictions
    from primum_repo_tools.protocol import Protocol
    from primum_repo_tools.settings import parse_settings
    from primum_verifier.core.document import sha256_hex
    from primum_verifier.shell.comparison_page import comparison_page

    protocol_bytes = read_input(protocol, what="protocol")
    frozen = parse_settings(Protocol, protocol_bytes, where=str(protocol))
    require_ledger(ledger, person, bound=frozen.test_set is not None, where=str(protocol))
    points = operating_points(threshold or [], workbench, release)
    paths: dict[ArmName, Path] = {"candidate": candidate, "last": last, "original": original}
    read = {name: read_predictions(path) for name, path in paths.items()}
    check_aligned({str(name): (path, read[name]) for name, path in paths.items()})
    comparison.check_accounting(read["candidate"], frozen)
    arms = {
        name: comparison.ComparedArm(read[name], points.thresholds[name], points.releases.get(name))
        for name in paths
    }
    intent = Intent(
        protocol=frozen,
        protocol_sha256=sha256_hex(protocol_bytes),
        candidate=read["candidate"],
        release=points.releases.get("candidate"),
        deviations=tuple(deviation or ()),
        repeat_reason=repeat_reason,
    )
    with ExitStack() as stack:
        use = keeper = None
        if ledger is not None and person is not None:
            stack.enter_context(held(ledger))
            keeper = open_custodian(person, secrets=person_secrets(person_passphrase_file, None))
            use = begin_use(ledger, intent, keeper, data=data, now=now_utc())
        report = comparison.compare(
            arms,
            protocol=frozen,
            run=comparison.Run(
                protocol_sha256=intent.protocol_sha256,
                test_set=use,
                deviations=intent.deviations,
                told=told_progress().step,
            ),
        )
        if ledger is not None and use is not None and keeper is not None:
            keep_report(ledger, report, use, keeper, now_utc())
    written = report.to_bytes()
    keep_beside_draft(points, report, now_utc())
    if output is not None:
        write_durably(output, written)
    if html is not None:
        write_durably(html, comparison_page(report, sha256_hex(written)).encode())
    tell(report.model_dump(mode="json", by_alias=True), *_shown(report), as_json=as_json)
    comparison.require_met(report, where=str(candidate))


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
    agreement = report.analysis is not None and report.analysis.agreement
    names = (
        ("positive agreement", "negative agreement")
        if agreement
        else ("sensitivity", "specificity")
    )
    return (
        table("Each alone", ("arm", "threshold", *names, "AUC"), arms),
        table(
            f"Compared by {report.protocol.id}, unit {report.unit}",
            ("endpoint", "role", "difference", "margin", "patients/cases", "decision"),
            endpoints,
        ),
        *_further(report),
        f"Overall: {report.overall}",
    )


def _further(report: ComparisonReport) -> tuple[RenderableType, ...]:
    """Criteria of the protocol, and the endpoints that undecided cases would turn."""
    if report.analysis is None:
        return ()
    by_id = {item.id: item.decision for item in report.endpoints}
    rows = [
        (
            item.id,
            item.role,
            _bounds(item.value),
            _limits(item.at_least, item.at_most),
            item.decision,
        )
        for item in report.analysis.criteria
        if item.population == "intention-to-diagnose"
        or item.decides
        or item.decision != by_id.get(item.id.removesuffix(f" {item.population}"))
    ]
    use = report.analysis.test_set
    told = (
        "Test set: bound to none; nobody counts how often it was used."
        if use is None
        else f"Test set {use.id}: use {use.use_number} of {use.uses_allowed}"
        + (f", run again: {use.repeat_reason}" if use.repeats else "")
    )
    heads = ("criterion", "role", "value", "limits", "decision")
    return (*([table("Further", heads, rows)] if rows else []), told)


def _limits(at_least: str | None, at_most: str | None) -> str:
    shown = [f"above {at_least}"] if at_least is not None else []
    return " and ".join(shown + ([f"below {at_most}"] if at_most is not None else [])) or "-"
