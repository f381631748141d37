"""Fixtures on their way out: the file, the self-test beside it, and what is told about both."""

from __future__ import annotations

from pathlib import Path

from primum_repo_tools.files import read_input, write_durably
from primum_repo_tools.fixture_making import Made
from primum_repo_tools.fixture_summary import cohort_counts
from primum_repo_tools.given_cases import shown
from primum_repo_tools.self_test_file import self_test_toml, sidecar_of, was_edited
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason


def deliver(made: Made, output: Path, *, carried: Path | None, dry_run: bool) -> None:
    """Write the fixtures and their self-test; the same fixtures give the same bytes.

    Args:
        made: the fixtures.
        output: the file; one of this name is replaced.
        carried: the file whose self-test is carried over; it may be replaced.
        dry_run: check everything and write nothing.

    Raises:
        UsageError: a self-test that somebody edited lies where this one would.
        FailedError: the disk.
    """
    if output.suffix != ".npz":
        raise UsageError(
            "Fixtures are written as an .npz file.",
            reason=Reason.USAGE,
            where="--output",
            found=str(output),
            expected="a name that ends in .npz",
            remedy=f"--output {output}.npz",
        )
    beside = sidecar_of(output)
    table = self_test_toml(made.plan, fixtures=output.name, sha256=made.sha256)
    theirs = carried is not None and beside.resolve() == carried.resolve()
    if beside.exists() and not theirs and was_edited(read_input(beside, what="self-test")):
        raise UsageError(
            "An edited self-test lies there already, and is not the one that was named.",
            reason=Reason.USAGE,
            where=str(beside),
            found="a table that was edited after it was written",
            expected="no file, or the one named with --self-test",
            remedy=f"Carry it over with --self-test {beside}, or move it away.",
        )
    if not dry_run:
        write_durably(output, made.data)
        write_durably(beside, table)


def delivered_data(made: Made, output: Path, *, dry_run: bool) -> dict[str, object]:
    """What ``--json`` tells."""
    return {
        "fixtures": str(output),
        "selfTest": str(sidecar_of(output)),
        "sha256": made.sha256,
        "bytes": len(made.data),
        "cases": len(made.fixtures.cases),
        "cohorts": {count.cohort: count.as_data for count in cohort_counts(made.fixtures)},
        "references": made.references,
        "origin": made.plan.origin,
        "licence": made.plan.licence,
        "nearThreshold": list(made.near_threshold),
        "unexpected": list(made.unexpected),
        "beyondGiven": list(made.beyond_given),
        "dryRun": dry_run,
    }


def delivered_lines(made: Made, output: Path, *, dry_run: bool) -> list[str]:
    """What a person reads below the table, warnings first."""
    lines = [f"References: {made.references}."]
    for cases, told in (
        (made.near_threshold, "so near the threshold that a deviation within tolerance decides"),
        (made.unexpected, "decided otherwise than expected: the functional test counts flips"),
        (made.beyond_given, "with given outputs that are not what was computed"),
    ):
        if cases:
            lines.append(f"WARNING: {len(cases)} cases {told}: {shown(cases)}")
    lines.append(f"Origin: {made.plan.origin}")
    lines.append(f"Licence: {made.plan.licence}")
    where = f"{output} and {sidecar_of(output)}"
    if dry_run:
        return [*lines, f"Nothing was written; it would be {where}."]
    return [*lines, f"Written: {where}. Put the second into release.toml and review it."]
