"""What ``primum-repo compare`` is given: operating points, releases, and who opens the test set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import write_durably
from primum_repo_tools.releases import (
    COMPARISON_FILE,
    COMPARISONS_FOLDER,
    Draft,
    drafts,
    open_draft,
    operating_point_of,
)
from primum_repo_tools.workbench import Workbench, open_workbench
from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?")
ARMS = frozenset({"candidate", "last", "original"})


@dataclass(frozen=True)
class OperatingPoints:
    """Where each arm decides.

    Attributes:
        thresholds: by arm, exact decimal text.
        releases: SHA-256 of the manifest by arm; empty where no releases are named.
        kept: the workbench and the candidate's draft, None where no release is named.
    """

    thresholds: Mapping[str, str]
    releases: Mapping[str, str]
    kept: tuple[Workbench, Draft] | None


def operating_points(
    threshold: list[str], workbench: Path | None, release: str | None
) -> OperatingPoints:
    """The operating points, from the signed self-tests or from the command line.

    Raises:
        UsageError: they are not stated, or no numbers.
    """
    if workbench is not None and release is not None and not threshold:
        return _from_releases(workbench, release)
    points = dict(item.split("=", 1) for item in threshold if "=" in item)
    if workbench is not None or release is not None or set(points) != ARMS:
        raise UsageError(
            "The operating points are not stated.",
            reason=Reason.USAGE,
            expected="--workbench with --release, or --threshold for candidate, last and original",
        )
    for arm, value in points.items():
        _check_number(arm, value)
    return OperatingPoints(points, {}, None)


def _check_number(arm: str, value: str) -> None:
    # As the report writes it: what it could not hold would be found when all is computed.
    if not _DECIMAL.fullmatch(value):
        raise UsageError(
            "A threshold is no number.",
            reason=Reason.USAGE,
            where=f"--threshold {arm}",
            found=value[:40],
            expected="a decimal number, such as 0.5",
        )


def _from_releases(workbench: Path, release: str) -> OperatingPoints:
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
    return OperatingPoints(points, digests, (bench, draft))


def _threshold(draft: Draft) -> str:
    return operating_point_of(draft.specification(), name=draft.manifest.name).threshold


def keep_beside_draft(points: OperatingPoints, report: ComparisonReport, now: datetime) -> None:
    """Keep a report beside its draft, and a record of it for ever: a later one replaces neither.

    Args:
        points: names the draft; without one nothing is kept.
        report: what was found, met or not.
        now: the moment.
    """
    if points.kept is None:
        return
    bench, draft = points.kept
    data = report.to_bytes()
    sha256 = sha256_hex(data)
    write_durably(draft.folder / COMPARISONS_FOLDER / f"{sha256}.json", data)
    write_durably(draft.folder / COMPARISON_FILE, data)
    bench.record(
        "release.compared",
        at=now,
        release=draft.manifest.name,
        sha256=draft.sha256,
        protocol=report.protocol.digest.sha256,
        report=sha256,
        overall=report.overall,
    )


def require_ledger(ledger: Path | None, person: Path | None, *, bound: bool, where: str) -> None:
    """See to it that a bound protocol runs with its ledger, and an unbound one without.

    Raises:
        UsageError: it is otherwise, or nobody is named who opens the set.
    """
    if bound and (ledger is None or person is None):
        raise UsageError(
            "The protocol is bound to a locked test set, whose use has to be recorded.",
            reason=Reason.USAGE,
            where=where,
            expected="--ledger and --as, the folder of who keeps the set",
        )
    if not bound and (ledger is not None or person is not None):
        raise UsageError(
            "The protocol is bound to no test set, so no ledger can count its use.",
            reason=Reason.USAGE,
            where=where,
            expected="a table [testSet]; primum-repo test-set show LEDGER prints it",
        )
