"""``primum-repo fixtures decide``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primum_repo_tools.commands.common import AsJson, table, tell


def decide(
    fixtures: Annotated[
        Path, typer.Argument(metavar="FIXTURES.npz", help="Fixtures of the new release.")
    ],
    *,
    workbench: Annotated[
        Path, typer.Option(metavar="WORKBENCH", help="Engineering's; it holds the releases.")
    ],
    release: Annotated[
        list[str],
        typer.Option(metavar="COMPONENT/VERSION", help="An earlier release; repeat it."),
    ],
    output: Annotated[
        Path, typer.Option(metavar="NPZ", help="Where they are written; may be the same file.")
    ],
    self_test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Self-test of the fixtures; the one beside them else."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Decisions that stand there and say otherwise give way."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute, check and show; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    r"""Let earlier releases decide on new cases, for tests that ask for no_worse_than.

    Each runs confined, as on a device, with its own signed operating point; its own self-test is
    run first. What it decides is written as decision.SHA256, by the digest of its manifest.

    Example:
      primum-repo fixtures decide fixtures.npz --workbench engineering \
        --release pvc-classifier/1.0.0 --release pvc-classifier/1.1.0 --output fixtures.npz
    """
    from primum_repo_tools.earlier_decisions import decide_earlier, signed_release, with_decisions
    from primum_repo_tools.fixture_delivery import deliver, delivered_data, delivered_lines
    from primum_repo_tools.fixture_file import read_fixture_file
    from primum_repo_tools.fixture_making import finished
    from primum_repo_tools.given_cases import shown
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.self_test_file import read_self_test, sidecar_of
    from primum_repo_tools.workbench import open_created

    read, _ = read_fixture_file(fixtures)
    carried = self_test or sidecar_of(fixtures)
    plan = read_self_test(carried)
    bench, now = open_created(workbench, authority="engineering"), now_utc()
    # All of them are found before any is run.
    drafts = [signed_release(bench, name, now=now) for name in dict.fromkeys(release)]
    decided = [decide_earlier(read, draft, where=str(fixtures)) for draft in drafts]
    whole, entered = with_decisions(read, decided, may_replace=replace, where=str(fixtures))
    made = finished(whole, plan, references="as they stand in the fixtures")
    deliver(made, output, carried=carried, dry_run=dry_run)
    rows = [
        (one.name, one.sha256[:16], one.threshold, *one.counts.values(), entered[one.sha256])
        for one in decided
    ]
    tell(
        {
            **delivered_data(made, output, dry_run=dry_run),
            "decided": {
                one.name: {
                    "sha256": one.sha256,
                    "threshold": one.threshold,
                    "decisions": one.counts,
                    "nearThreshold": list(one.near_threshold),
                    "entered": entered[one.sha256],
                }
                for one in decided
            },
            "earlierReleases": sorted(whole.baselines),
        },
        table(
            f"{output}  {len(made.data)} bytes  sha256 {made.sha256}",
            ("release", "sha256", "threshold", "positive", "negative", "no decision", ""),
            rows,
        ),
        *(
            f"WARNING: {one.name}: {len(one.near_threshold)} cases so near its threshold that "
            f"another processor may decide otherwise: {shown(one.near_threshold)}"
            for one in decided
            if one.near_threshold
        ),
        *delivered_lines(made, output, dry_run=dry_run),
        as_json=as_json,
    )
