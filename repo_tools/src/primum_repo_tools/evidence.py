"""What must be shown about a release before it is signed or published, and the logged overrides.

A gate refuses by name.  The only ways past one carry ``unsafe`` in their name, are written to the
records, and stay visible in ``primum-repo status``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from primum_repo_tools.comparison import require_met
from primum_repo_tools.files import digest_of, read_input
from primum_repo_tools.releases import COMPARISON_FILE, Draft, draft_of
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.retraining import check_retraining
from primum_repo_tools.self_test_run import require_passed, run_self_test, sign_if_possible
from primum_repo_tools.standing_releases import check_baselines, check_counter
from primum_repo_tools.workbench import Workbench
from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason


class Override(StrEnum):
    """A way past a gate; each use is logged."""

    FAILING_SELF_TEST = "unsafe-publish-failing-selftest"
    WITHOUT_VALIDATION = "unsafe-publish-without-validation"
    LIFT_NOTICES = "unsafe-lift-notices"


UNSAFE_ACT = "unsafe.override"
"""The act under which the records keep each use of an override."""


def check_artifacts(draft: Draft) -> None:
    """Digest every file of a release again.

    Raises:
        RefusedError: ``artifact.digest``; a file is not the one that the manifest names.
    """
    for item in draft.manifest.items:
        path = draft.file(item.id)
        found = digest_of(path, what=f"file {item.path} of the release")
        if found != item.digest.sha256:
            raise RefusedError(
                "A file of the release is not the one that its manifest names.",
                reason=Reason.ARTIFACT_DIGEST,
                where=str(path),
                found=f"sha256 {found}",
                expected=f"sha256 {item.digest.sha256}",
                remedy="Build the release again from its sources.",
            )


def read_comparison(path: Path) -> ComparisonReport:
    """Read a comparison report.

    Raises:
        RefusedError: ``document.invalid``.
        UsageError: it is not there.
    """
    return parse_document(
        ComparisonReport, read_input(path, what="comparison report"), where=str(path)
    )


def require_comparison(
    path: Path, *, release: str, previous: str | None, original: str | None, name: str
) -> ComparisonReport | None:
    """Refuse a changed release without a comparison that was met and is about it.

    Args:
        path: the comparison report.
        release: SHA-256 of the manifest of the candidate.
        previous: that of the last release, or None for a first release: nothing to compare.
        original: that of the original release.
        name: component and version, for the message.

    Raises:
        RefusedError: ``validation.not-met``: missing, not met, or about other releases.
    """
    if previous is None:
        return None
    if not path.is_file():
        raise RefusedError(
            "There is no comparison with the last and the original release.",
            reason=Reason.VALIDATION_NOT_MET,
            where=name,
            found=f"no {path.name}",
            expected="a comparison report that was met",
            remedy="Compare: primum-repo compare --candidate NPZ --last NPZ --original NPZ "
            f"--protocol TOML --workbench WORKBENCH --release {name.replace(' ', '/')}",
        )
    report = read_comparison(path)
    wanted = {"candidate": release, "last": previous, "original": original}
    named = {str(arm): item.release for arm, item in report.arms.items()}
    for arm, sha256 in wanted.items():
        found = named.get(arm)
        if found is None or found.sha256 != sha256:
            raise RefusedError(
                "The comparison is about other releases.",
                reason=Reason.VALIDATION_NOT_MET,
                where=str(path),
                found=f"{arm}: {found.sha256 if found else 'no release named'}",
                expected=f"{arm}: {sha256}",
                remedy="Compare again, naming the release with --workbench and --release.",
            )
    require_met(report, where=name)
    return report


def gate_release(
    workbench: Workbench,
    repository: AuthorityRepository,
    draft: Draft,
    *,
    overrides: frozenset[Override],
    now: datetime,
) -> Mapping[str, str]:
    """Every gate before a release is published; what was overridden is logged.

    What the self-test came to is signed as evidence, passed or not.

    Returns:
        The outcome of each gate in a word, for the report.

    Raises:
        RefusedError: a gate that was not overridden.
    """
    check_artifacts(draft)
    manifest = draft.manifest
    check_counter(repository, manifest, draft.sha256)
    signed: dict[str, str] = {}

    def self_test() -> object:
        result = run_self_test(draft)
        signed["self-test statement"] = sign_if_possible(repository, draft, result.report, now=now)
        return require_passed(draft, result)

    def comparison() -> object:
        check_baselines(workbench, repository, manifest, draft.sha256, now=now)
        return require_comparison(
            draft.folder / COMPARISON_FILE,
            release=draft.sha256,
            previous=manifest.previous.sha256 if manifest.previous else None,
            original=manifest.original.sha256 if manifest.original else None,
            name=manifest.name,
        )

    parent = draft_of(workbench, manifest.previous.sha256) if manifest.previous else None
    outcomes = {"artifacts": "whole", "retraining record": check_retraining(draft, parent)}
    for name, check, override in (
        ("self-test", self_test, Override.FAILING_SELF_TEST),
        ("comparison", comparison, Override.WITHOUT_VALIDATION),
    ):
        try:
            outcomes[name] = "not-applicable" if check() is None else "passed"
        except RefusedError as refusal:
            if override not in overrides:
                raise
            outcomes[name] = f"overridden: {refusal.reason}"
            workbench.record(
                UNSAFE_ACT,
                at=now,
                override=override,
                release=manifest.name,
                sha256=draft.sha256,
                refused=str(refusal.reason),
                found=refusal.found,
            )
    return outcomes | signed
