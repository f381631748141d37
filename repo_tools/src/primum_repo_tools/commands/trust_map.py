"""``primum-repo trust-map``: prepare, sign."""

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
    Yes,
    command,
    confirm,
    new_app,
    pretty,
    secrets_from,
    tell,
)
from primum_verifier.core.vocabulary import Stage

app = new_app("A change of whom devices believe: signed by the roots of both manufacturers.")

Authority = Path | None


@command(app)
def prepare(
    *,
    current: Annotated[
        Path, typer.Option(metavar="FILE", help="trust-map.json as it is on the devices.")
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the change is put.")],
    engineering_root: Annotated[
        Authority, typer.Option(metavar="FOLDER", help="Another engineering, by its web root.")
    ] = None,
    clinical_root: Annotated[
        Authority, typer.Option(metavar="FOLDER", help="Another clinical, by its web root.")
    ] = None,
    site_root: Annotated[
        Authority, typer.Option(metavar="FOLDER", help="Another responsible organisation.")
    ] = None,
    no_site: Annotated[
        bool, typer.Option("--no-site", help="No responsible organisation any more.")
    ] = False,
    component: Annotated[str | None, typer.Option(help="Another component.")] = None,
    stage: Annotated[Stage | None, typer.Option(help="Another stage.")] = None,
    offline_allowance_days: Annotated[
        int | None, typer.Option(min=0, max=366, help="Another allowance; 0: none.")
    ] = None,
    takes_drills: Annotated[
        bool | None,
        typer.Option("--takes-drills/--no-drills", help="Whether it takes part in exercises."),
    ] = None,
    receiver: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Public keys of all receivers from now on; repeat it."),
    ] = None,
    no_receivers: Annotated[
        bool, typer.Option("--no-receivers", help="No receiver is believed any more.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Write a change of the trust map that nobody signed yet, with the roots it pins anew.

    Example:
      primum-repo trust-map prepare --current wearable/provisioning/trust-map.json \\
        --site-root hospital --output change
    """
    from primum_repo_tools import devices, trust_maps
    from primum_repo_tools.moments import now_utc
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    for is_at_once, where in (
        (no_site and site_root is not None, "--site-root, --no-site"),
        (no_receivers and receiver is not None, "--receiver, --no-receivers"),
    ):
        if is_at_once:
            raise UsageError(
                "A site or receiver is named and taken away at once.",
                reason=Reason.USAGE,
                where=where,
                expected="one of them",
            )
    now = now_utc()
    roots = {
        name: devices.read_root(folder, authority=name, now=now).data
        for name, folder in (("engineering", engineering_root), ("clinical", clinical_root))
        if folder is not None
    }
    if site_root is not None:
        roots["site"] = devices.read_site_root(site_root, now=now)
    asked = {
        "component": component,
        "stage": stage,
        "offlineAllowanceDays": offline_allowance_days,
        "takesDrills": takes_drills,
        "receivers": None if receiver is None else devices.receiver_keys(receiver),
    }
    changes: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    if no_site:
        changes["siteRoot"] = None
    if no_receivers:
        changes["receivers"] = []
    trust_map = trust_maps.changed_trust_map(
        trust_maps.read_trust_map(current), roots=roots, changes=changes, now=now
    )
    shown = pretty(trust_map.to_bytes())
    data: dict[str, object] = {
        "trustMap": trust_map.model_dump(mode="json", by_alias=True, exclude_none=True),
        "roots": sorted(roots),
    }
    if dry_run:
        tell({**data, "dryRun": True}, shown, "Nothing was written.", as_json=as_json)
        return
    path = trust_maps.write_change(output, trust_map, roots=roots)
    tell(
        {**data, "file": str(path)},
        shown,
        f"Nobody signed it yet. In each workbench: primum-repo trust-map sign WORKBENCH {path}",
        as_json=as_json,
    )


@command(app)
def sign(
    workbench: WorkbenchFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As prepare wrote it.")],
    *,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Show a change of the trust map and sign it with the root keys of this workbench.

    Devices take it when engineering and clinical have both signed it at their threshold. Check
    it with: primum-verify trust --change FILE

    Example:
      primum-repo trust-map sign engineering change/trust-map.dsse.json
      primum-repo trust-map sign clinical change/trust-map.dsse.json
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.trust_maps import sign_change, signing_of
    from primum_repo_tools.workbench import open_created
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    bench = open_created(workbench)
    if bench.authority == "site":
        raise UsageError(
            "A trust map is the manufacturer's to change.",
            reason=Reason.USAGE,
            where=str(workbench),
            expected="the workbench of engineering, then that of clinical",
        )
    now = now_utc()
    with bench.locked():
        before = signing_of(bench, file, now=now)
        shown = pretty(before.trust_map.to_bytes())
        data: dict[str, object] = {
            "trustMap": before.trust_map.model_dump(mode="json", by_alias=True, exclude_none=True),
            "authority": bench.authority,
        }
        count = f"{bench.authority} root: {before.signed} of {before.threshold} signatures"
        if dry_run:
            tell({**data, "dryRun": True}, shown, count, "Nothing was signed.", as_json=as_json)
            return
        if not as_json:
            tell({}, shown, count, as_json=False)
        confirm("Sign this trust map?", yes=yes)
        repository = AuthorityRepository(bench, now=now, secrets=secrets_from(passphrase_file))
        after = sign_change(bench, repository, file, now=now)
    tell(
        {**data, "signed": after.signed, "threshold": after.threshold},
        f"{bench.authority} root: {after.signed} signatures, {after.threshold} needed.",
        as_json=as_json,
    )
