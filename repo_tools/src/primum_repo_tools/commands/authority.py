"""``primum-repo authority``: create, show, refresh, renew."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    WorkbenchFolder,
    command,
    new_app,
    secrets_from,
    table,
    tell,
)

app = new_app("Keys, roles and fresh signatures of an authority.")

TimestampLife = Annotated[
    str | None,
    typer.Option(metavar="LIFE", help="Life of the timestamp: 3s, 15m, 12h, 7d."),
]


@command(app)
def create(
    workbench: WorkbenchFolder,
    *,
    provisioning_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Public key of a provisioning station; repeat it; not for a site."
        ),
    ] = None,
    timestamp_life: TimestampLife = None,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Make the keys, sign the first version of every role and publish it.

    Example:
      primum-repo authority create engineering \
        --provisioning-key station-1/provisioning.public.json \
        --provisioning-key station-2/provisioning.public.json
      primum-repo authority create hospital
    """
    from primum_repo_tools.authority import create_authority, planned_roles
    from primum_repo_tools.keys import read_public_key
    from primum_repo_tools.moments import now_utc, parse_life
    from primum_repo_tools.workbench import open_workbench

    bench = open_workbench(workbench)
    keys = [read_public_key(path) for path in provisioning_key or ()]
    life = None if timestamp_life is None else parse_life(timestamp_life)
    planned = planned_roles(bench)
    shown = table(
        "Roles to be signed" if dry_run else "Roles signed",
        ("role", "keys", "threshold", "life"),
        [
            (
                r.role,
                ", ".join(r.addresses),
                f"{r.threshold} of {len(r.addresses)}",
                f"{r.life_days} d",
            )
            for r in planned
        ],
    )
    data: dict[str, object] = {
        "authority": bench.authority,
        "roles": {r.role: {"keys": r.addresses, "threshold": r.threshold} for r in planned},
        "provisioningKeys": [key.key_id for key in keys],
    }
    if dry_run:
        tell({**data, "dryRun": True}, shown, "Nothing was signed.", as_json=as_json)
        return
    with bench.locked():
        made = create_authority(
            bench,
            secrets=secrets_from(passphrase_file),
            provisioning=keys,
            now=now_utc(),
            timestamp_life=life,
        )
    tell(
        {**data, "keys": {address: key.key_id for address, key in made.items()}},
        shown,
        f"The {bench.authority} authority is published in {bench.web}.",
        as_json=as_json,
    )


@command(app)
def show(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """Show roles, versions, expiries, thresholds and keys.

    Example:
      primum-repo authority show engineering
    """
    from primum_repo_tools.commands.status import roles_table
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.status import roles_status
    from primum_repo_tools.workbench import open_workbench

    bench = open_workbench(workbench)
    now = now_utc()
    roles = roles_status(bench, AuthorityRepository(bench, now=now), now=now)
    tell({"authority": bench.authority, "roles": roles}, roles_table(roles), as_json=as_json)


@command(app)
def refresh(
    workbench: WorkbenchFolder,
    *,
    timestamp_life: TimestampLife = None,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sign snapshot and timestamp anew with the online key; nothing else can change.

    Meant for a timer: devices take a timestamp that is too old for an attack.

    Example:
      primum-repo authority refresh engineering
      primum-repo authority refresh clinical --timestamp-life 12h
    """
    from primum_repo_tools.authority import refresh_authority
    from primum_repo_tools.moments import now_utc, parse_life
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench)
    life = None if timestamp_life is None else parse_life(timestamp_life)
    if dry_run:
        told = "Would sign snapshot and timestamp; nothing was signed."
        tell({"roles": ["snapshot", "timestamp"], "dryRun": True}, told, as_json=as_json)
        return
    with bench.locked():
        version = refresh_authority(
            bench, secrets=secrets_from(passphrase_file), now=now_utc(), timestamp_life=life
        )
    tell({"timestamp": version}, f"Published timestamp {version}.", as_json=as_json)


@command(app)
def renew(
    workbench: WorkbenchFolder,
    *,
    role: Annotated[list[str], typer.Option(help="Role to sign again; repeat it.")],
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sign offline roles again before they expire; what they say does not change.

    A renewed index also marks as withdrawn what a notice took away.

    Example:
      primum-repo authority renew clinical --role safety --role eligibility
    """
    from primum_repo_tools.clinical import renew_roles
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench)
    if dry_run:
        told = f"Would sign {', '.join(role)}, snapshot and timestamp; nothing was signed."
        tell({"roles": role, "dryRun": True}, told, as_json=as_json)
        return
    with bench.locked():
        version = renew_roles(bench, role, secrets=secrets_from(passphrase_file), now=now_utc())
    tell({"roles": role, "timestamp": version}, f"Renewed {', '.join(role)}.", as_json=as_json)
