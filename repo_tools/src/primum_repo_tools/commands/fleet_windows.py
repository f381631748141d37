"""``primum-repo fleet windows`` and ``whose``: what was counted, for somebody else's eyes."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum_repo_tools.commands.common import AsJson, DryRun, table, tell
from primum_repo_tools.commands.fleet_store import (
    FILE,
    DatabaseAddress,
    Fleet,
    check_name,
    opened_store,
)
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

if TYPE_CHECKING:
    from primum_repo_tools.fleet.campaigns import Days

CampaignName = Annotated[
    str, typer.Option("--campaign", metavar="NAME", help="Campaign, by a name of yours.")
]


def windows(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines to be written.")],
    *,
    campaign: CampaignName,
    begins: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="First day of a campaign that is new."),
    ] = None,
    ends: Annotated[
        str | None, typer.Option("--until", metavar="DAY", help="The day after its last one.")
    ] = None,
    least_devices: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="Leave out the windows of a release that fewer devices have in common.",
        ),
    ] = 11,
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Write the windows of all monitors for others, under names that hold for one campaign.

    Nothing in the file names a device, or tells which of another campaign is the same one.

    Example:
      primum-repo fleet windows second-quarter.jsonl --campaign 2026-q2 \
        --from 2026-04-01 --until 2026-07-01 --database sqlite:///fleet.db
    """
    from primum_repo_tools.files import write_durably
    from primum_repo_tools.fleet.campaigns import begun
    from primum_repo_tools.fleet.handing_on import handed_on, look_through

    check_name("--campaign", campaign)
    days = _days(begins, ends)
    with opened_store(database, fleet) as store:
        with store.database.writing() as session:
            known = begun(session, fleet=fleet, name=campaign, days=days, keep=not dry_run)
        with store.database.reading() as session:
            found = look_through(session, fleet=fleet, campaign=known, least=least_devices)

            def lines() -> Iterator[bytes]:
                for item in handed_on(session, fleet=fleet, campaign=known, found=found):
                    yield json.dumps(item, sort_keys=True).encode() + b"\n"

            if not dry_run:
                write_durably(file, lines())
    kinds: list[dict[str, Any]] = [
        {
            "release": kind[0],
            "monitoringSpecification": kind[1],
            "devices": found.devices[kind],
            "windows": count,
            "handedOn": found.goes_on(kind),
        }
        for kind, count in sorted(found.windows.items())
    ]
    written = sum(kind["windows"] for kind in kinds if kind["handedOn"])
    left = sum(kind["windows"] for kind in kinds) - written
    done = "would be" if dry_run else "are"
    parts: list[Any] = [f"{written} windows of {known.days} {done} in {file}, {left} left out."]
    if kinds:
        rows = [
            (
                kind["release"][:16],
                kind["monitoringSpecification"][:16],
                kind["devices"],
                kind["windows"],
                "" if kind["handedOn"] else f"left out: fewer than {least_devices} devices",
            )
            for kind in kinds
        ]
        columns = ("release", "specification", "devices", "windows", "")
        parts.append(table("Windows", columns, rows))
    told = {
        "campaign": campaign,
        "from": known.days.begins.isoformat(),
        "until": known.days.ends.isoformat(),
        "file": str(file),
        "windows": written,
        "leftOut": left,
        "kinds": kinds,
        "dryRun": dry_run,
    }
    tell(told, *parts, as_json=as_json)


def whose(
    pseudonym: Annotated[
        str, typer.Argument(metavar="PSEUDONYM", help="Name of a device in the campaign.")
    ],
    *,
    campaign: CampaignName,
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    as_json: AsJson = False,
) -> None:
    """Say which device stands behind a name: for a field action that needs to know.

    Example:
      primum-repo fleet whose 0c2f5a91d0b74e63a1f0c9d8e7b6a594 --campaign 2026-q2
    """
    from primum_repo_tools.fleet.campaigns import campaign_of
    from primum_repo_tools.fleet.handing_on import whose as device_of

    with opened_store(database, fleet) as store, store.database.reading() as session:
        known = campaign_of(session, fleet=fleet, name=campaign)
        device = device_of(session, fleet=fleet, campaign=known, pseudonym=pseudonym)
    if device is None:
        raise UsageError(
            "No device has this name in this campaign.",
            reason=Reason.USAGE,
            where=f"campaign {campaign}",
            found=pseudonym[:100],
            remedy="Copy it whole from the file, and name the campaign that stands beside it.",
        )
    tell({"campaign": campaign, "pseudonym": pseudonym, "device": device}, device, as_json=as_json)


def _days(begins: str | None, ends: str | None) -> Days | None:
    from primum_repo_tools.fleet.campaigns import Days
    from primum_repo_tools.moments import parse_day

    if begins is None and ends is None:
        return None
    if begins is None or ends is None:
        raise UsageError(
            "A campaign has a first day and a day on which it is over.",
            reason=Reason.USAGE,
            expected="--from DAY and --until DAY",
        )
    return Days(parse_day(begins), parse_day(ends))
