"""``primum-repo monitoring``: make, show."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primum_repo_tools.commands.common import AsJson, command, new_app, table, tell

if TYPE_CHECKING:
    from primum_verifier.record.monitoring import MonitoringSpecification

app = new_app("Monitoring: what devices count of a release, and when they say so.")

_COLUMNS = ("channel", "of", "reference", "counters", "says something from", "alarms")


@command(app)
def make(
    plan: Annotated[Path, typer.Argument(metavar="MONITORING.toml", help="What is counted.")],
    *,
    arrays: Annotated[
        list[Path],
        typer.Option(
            metavar="PATH",
            help="Reference data: an .npz or .csv file, a folder of .npy files; repeat it.",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="JSON", help="Where it is written.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make, check and show it; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    r"""Make the monitoring specification of a release from reference data.

    Bins, expected shares, daily rates and limits follow from the data; the release that names the
    file under [files] signs it, and approve prepare binds it into the statement.

    Example:
      primum-repo monitoring make monitoring.toml --arrays reference.npz --arrays days.csv \
        --output monitoring.json
    """
    from primum_repo_tools.files import write_durably
    from primum_repo_tools.monitoring_making import make_specification
    from primum_repo_tools.monitoring_plan import MonitoringPlan
    from primum_repo_tools.reference_columns import read_columns
    from primum_repo_tools.settings import read_settings

    found = read_settings(MonitoringPlan, plan, what="monitoring plan")
    made = make_specification(found, read_columns(arrays))
    data = made.to_bytes()
    if not dry_run:
        write_durably(output, data)
    done = "would be written" if dry_run else "written"
    _tell(made, data, title=f"{output} {done}", as_json=as_json, written=not dry_run)


@command(app)
def show(
    specification: Annotated[Path, typer.Argument(metavar="MONITORING.json", help="The file.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a monitoring specification lets devices count, and how rare its alarms are.

    Example:
      primum-repo monitoring show monitoring.json
    """
    from primum_repo_tools.files import read_input
    from primum_verifier.core.document import parse_document
    from primum_verifier.record.monitoring import MonitoringSpecification

    data = read_input(specification, what="monitoring specification")
    found = parse_document(MonitoringSpecification, data, where=str(specification))
    _tell(found, data, title=str(specification), as_json=as_json)


def _tell(
    found: MonitoringSpecification,
    data: bytes,
    *,
    title: str,
    as_json: bool,
    written: bool | None = None,
) -> None:
    from primum_repo_tools.monitoring_shown import alarm_rows, channel_rows, shown
    from primum_verifier.core.document import sha256_hex

    digest = sha256_hex(data)
    told = shown(found) | {"sha256": digest, "bytes": len(data)}
    if written is not None:
        told["written"] = written
    tell(
        told,
        table(f"{title}  {len(data)} bytes  sha256 {digest}", _COLUMNS, channel_rows(found)),
        table("Alarms", ("alarm", "channel", "action", "passed", "by chance"), alarm_rows(found)),
        f"{found.component}: {found.cells} counters, windows of {found.window_hours} h, "
        f"no cell below {found.suppression.minimum_cell_count} is told.",
        as_json=as_json,
    )
