"""``primum-repo fixtures``: make, degrade, decide, show, diff."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primum_repo_tools.commands.common import AsJson, command, new_app, table, tell
from primum_repo_tools.commands.fixtures_decide import decide
from primum_repo_tools.commands.fixtures_degrade import degrade

if TYPE_CHECKING:
    from primum_repo_tools.fixture_making import Made
    from primum_repo_tools.given_cases import GivenCases
    from primum_repo_tools.release_plan import SelfTestPlan

app = new_app("Fixtures of a self-test: known inputs, and what is expected of them.")

File = Annotated[Path, typer.Argument(metavar="FIXTURES.npz", help="A file of fixtures.")]


@command(app)
def make(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model.")],
    *,
    output: Annotated[Path, typer.Option(metavar="NPZ", help="Where the fixtures are written.")],
    arrays: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Cases: an .npz file or a folder of .npy files."),
    ] = None,
    onnx_test_data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cases: a folder with test_data_set_0 ...")
    ] = None,
    cohort: Annotated[
        str, typer.Option(metavar="NAME", help="Cohort of cases from ONNX test data.")
    ] = "test-data",
    references: Annotated[
        str, typer.Option(metavar="WHOSE", help="Reference outputs: computed or given.")
    ] = "computed",
    self_test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Existing self-test: release.toml, its table, a .json."),
    ] = None,
    origin: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where the cases come from.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the cases.")
    ] = None,
    vectors: Annotated[
        str | None, typer.Option(metavar="KIND", help="synthetic, or derived from recordings.")
    ] = None,
    risk_control: Annotated[
        str | None, typer.Option(metavar="REF", help="Risk control that the tests serve.")
    ] = None,
    decide: Annotated[
        str | None, typer.Option(metavar="OUTPUT", help="Output that decides; none decides else.")
    ] = None,
    element: Annotated[
        int | None, typer.Option(metavar="N", help="Its number, where it has several; from 0.")
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(metavar="VALUE", help="At or above it is positive.")
    ] = None,
    abs_tol: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Absolute tolerance; else 0.0001.")
    ] = None,
    rel_tol: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Relative tolerance; else 0.0001.")
    ] = None,
    fault_cohort: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A cohort of faults: outputs may be none; repeat it."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute, check and show; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    r"""Make fixtures from recorded arrays or ONNX test data; the model computes the references.

    The model runs confined, as on a device. Beside the fixtures the table [self_test] is written,
    for release.toml: from --self-test where one exists, else from what the options state.

    Example:
      primum-repo fixtures make model.onnx --arrays cases.npz --output fixtures.npz \
        --self-test release.toml
      primum-repo fixtures make model.onnx --onnx-test-data . --output fixtures.npz \
        --origin "ONNX model zoo" --licence Apache-2.0 --vectors synthetic --risk-control RC-01
    """
    from primum_repo_tools.fixture_delivery import deliver
    from primum_repo_tools.fixture_making import References, make_fixtures
    from primum_repo_tools.fixture_options import choice, stated_self_test
    from primum_repo_tools.reference_run import compute_references

    whose = choice(References, references, option="--references")
    plan = stated_self_test(
        model,
        self_test,
        {
            "origin": origin,
            "licence": licence,
            "vectors": vectors,
            "risk_control": risk_control,
            "decide": decide,
            "element": element,
            "threshold": threshold,
            "abs_tol": abs_tol,
            "rel_tol": rel_tol,
            "fault_cohort": fault_cohort,
        },
    )
    given = _given(arrays, onnx_test_data, cohort, plan)
    computed = compute_references(model, given, plan)
    faults = tuple(fault_cohort or ())
    made = make_fixtures(given, computed, plan, references=whose, faults=faults)
    deliver(made, output, carried=self_test, dry_run=dry_run)
    tell_made(made, output, dry_run=dry_run, as_json=as_json)


def tell_made(made: Made, output: Path, *, dry_run: bool, as_json: bool) -> None:
    """Tell what was made."""
    from primum_repo_tools.fixture_delivery import delivered_data, delivered_lines
    from primum_repo_tools.fixture_summary import COHORT_COLUMNS, cohort_counts

    title = f"{output}  {len(made.data)} bytes  sha256 {made.sha256}"
    tell(
        delivered_data(made, output, dry_run=dry_run),
        table(title, COHORT_COLUMNS, [count.as_row for count in cohort_counts(made.fixtures)]),
        *delivered_lines(made, output, dry_run=dry_run),
        as_json=as_json,
    )


command(app)(degrade)
command(app)(decide)


@command(app)
def show(fixtures: File, *, as_json: AsJson = False) -> None:
    """Show what is in a file of fixtures; nothing in it is unpickled.

    Example:
      primum-repo fixtures show fixtures.npz
    """
    from primum_repo_tools.fixture_file import read_fixture_file
    from primum_repo_tools.fixture_summary import COHORT_COLUMNS, arrays_of, cohort_counts
    from primum_verifier.core.document import sha256_hex

    read, data = read_fixture_file(fixtures)
    counts = cohort_counts(read)
    tell(
        {
            "fixtures": str(fixtures),
            "sha256": sha256_hex(data),
            "bytes": len(data),
            "cases": list(read.cases),
            "cohorts": {count.cohort: count.as_data for count in counts},
            "arrays": {
                name: {"dtype": dtype, "shape": shape, "bytes": size}
                for name, dtype, shape, size in arrays_of(read)
            },
            "earlierReleases": sorted(read.baselines),
        },
        table(
            f"{fixtures}  {len(data)} bytes  sha256 {sha256_hex(data)}",
            COHORT_COLUMNS,
            [count.as_row for count in counts],
        ),
        table("Arrays", ("array", "type", "shape", "bytes"), arrays_of(read)),
        *(f"Decisions of the earlier release {release}" for release in sorted(read.baselines)),
        as_json=as_json,
    )


@command(app)
def diff(one: File, other: File, *, as_json: AsJson = False) -> None:
    """Show in what two files of fixtures differ, case by case.

    Example:
      primum-repo fixtures diff 1.0.0/fixtures.npz 1.1.0/fixtures.npz
    """
    from primum_repo_tools.fixture_file import read_fixture_file
    from primum_repo_tools.fixture_summary import difference
    from primum_verifier.core.document import sha256_hex

    first, first_data = read_fixture_file(one)
    second, second_data = read_fixture_file(other)
    found = difference(first, second)
    digests = [sha256_hex(first_data), sha256_hex(second_data)]
    if digests[0] == digests[1]:
        told = "The same bytes: one artifact, in the repository and on a device."
    else:
        told = f"Two artifacts: a device that has the first fetches {len(second_data)} bytes."
        if found.is_none:
            told = f"The same cases in another file. {told}"
    tell(
        {
            "sha256": digests,
            "bytes": [len(first_data), len(second_data)],
            "added": list(found.added),
            "removed": list(found.removed),
            "changed": {case: list(parts) for case, parts in found.changed.items()},
            "same": len(found.same),
            "sameBytes": found.same_bytes,
            "elsewhere": list(found.elsewhere),
        },
        table(f"{one} and {other}", ("cases", "number", "which"), found.as_rows),
        *found.elsewhere,
        told,
        as_json=as_json,
    )


def _given(
    arrays: Path | None, test_data: Path | None, cohort: str, plan: SelfTestPlan
) -> GivenCases:
    from primum_repo_tools.given_arrays import cases_from_arrays
    from primum_repo_tools.onnx_test_data import cases_from_test_data
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    if arrays is not None and test_data is None:
        return cases_from_arrays(arrays, plan.interface)
    if test_data is not None and arrays is None:
        return cases_from_test_data(test_data, plan.interface, cohort=cohort)
    raise UsageError(
        "The cases are not named.",
        reason=Reason.USAGE,
        expected="--arrays PATH or --onnx-test-data DIR: one of them",
    )
