"""``primum-repo fixtures degrade``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primum_repo_tools.commands.common import AsJson, table, tell


def degrade(
    fixtures: Annotated[
        Path, typer.Argument(metavar="FIXTURES.npz", help="Fixtures with clean cases.")
    ],
    *,
    model: Annotated[Path, typer.Option(metavar="ONNX", help="The model they were made with.")],
    output: Annotated[Path, typer.Option(metavar="NPZ", help="Where all cases are written.")],
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=EXPECTATION", help="A degradation, and what is expected."),
    ] = None,
    accept_computed: Annotated[
        bool,
        typer.Option("--accept-computed", help="Sign what the model computes for as-computed."),
    ] = False,
    signal: Annotated[
        str | None, typer.Option("--input", metavar="NAME", help="The input that is the signal.")
    ] = None,
    time_axis: Annotated[
        int, typer.Option(metavar="N", help="Axis of time in one case; the last, by default.")
    ] = -1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything that is drawn.")] = 1,
    rails: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="Of the converter, in the unit of the input."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="HZ", help="Samples per second of the input.")
    ] = None,
    snr_db: Annotated[
        float, typer.Option(metavar="DB", help="Power of the signal over the noise.")
    ] = 6.0,
    gap: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of a strip that is missing.")
    ] = 0.2,
    noise: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=NPY", help="Recorded noise, in the place of synthetic one."),
    ] = None,
    cases: Annotated[int, typer.Option(metavar="N", min=1, help="Cases of each kind.")] = 4,
    from_: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="COHORT", help="Take cases of this one; repeat it."),
    ] = None,
    risk_control: Annotated[
        str, typer.Option(metavar="REF", help="Risk control that the new tests serve.")
    ],
    self_test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Self-test of the fixtures; the one beside them else."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute, check and show; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    r"""Add robustness cases: clean ones, degraded, each kind a cohort with a test of its own.

    Kinds: missing-nan, missing-hold, lead-off, saturation, baseline-wander, muscle-noise, motion,
    gain-half, gain-double, gain-unit, nan, constant, polarity.
    Expectations: as-clean, no-decision, and, with --accept-computed, as-computed.
    Where the model does otherwise nothing is written, and the end is 1.

    Example:
      primum-repo fixtures degrade fixtures.npz --model model.onnx --output all.npz \
        --expect lead-off=no-decision --expect gain-half=as-clean --rails -5.12,5.115 \
        --risk-control RC-06
    """
    from primum_repo_tools.degrading import degrade_fixtures
    from primum_repo_tools.degrading_asked import Degrading, Expectation
    from primum_repo_tools.fixture_delivery import deliver, delivered_data, delivered_lines
    from primum_repo_tools.fixture_file import read_fixture_file
    from primum_repo_tools.fixture_options import expectations_from, field_from, wrong_option
    from primum_repo_tools.fixture_summary import COHORT_COLUMNS, cohort_counts
    from primum_repo_tools.self_test_file import read_self_test, sidecar_of

    expectations = expectations_from(expect or [], accept_computed=accept_computed)
    clean, _ = read_fixture_file(fixtures)
    carried = self_test or sidecar_of(fixtures)
    if signal is None and len(clean.inputs) > 1:
        names = ", ".join(array.name for array in clean.inputs)
        raise wrong_option("--input", "not stated", f"one of {names}")
    asked = Degrading(
        expectations=expectations,
        field=field_from(
            list(expectations),
            seed=seed,
            rails=rails,
            rate_hz=rate,
            snr_db=snr_db,
            gap=gap,
            noise=noise or [],
        ),
        signal=signal or clean.inputs[0].name,
        time_axis=time_axis,
        cases=cases,
        cohorts=tuple(from_ or ()),
        risk_control=risk_control,
    )
    done = degrade_fixtures(clean, read_self_test(carried), asked, model=model)
    made = done.made
    deliver(made, output, carried=carried, dry_run=dry_run)
    decided = [
        (
            kind,
            expected,
            ", ".join(f"{count} {word}" for word, count in done.decided[kind].items()),
            "ACCEPTED AS COMPUTED" if expected is Expectation.AS_COMPUTED else "met",
        )
        for kind, expected in expectations.items()
    ]
    title = f"{output}  {len(made.data)} bytes  sha256 {made.sha256}"
    tell(
        {
            **delivered_data(made, output, dry_run=dry_run),
            "degraded": {
                kind: {"expected": expected, "decided": done.decided[kind]}
                for kind, expected in expectations.items()
            },
        },
        table(title, COHORT_COLUMNS, [count.as_row for count in cohort_counts(made.fixtures)]),
        table("Degraded", ("kind", "expected", "the model decides", ""), decided),
        *delivered_lines(made, output, dry_run=dry_run),
        as_json=as_json,
    )
