"""``primum-repo rollout``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from typing import Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    WorkbenchFolder,
    pretty,
    secrets_from,
    tell,
)


def rollout(
    workbench: WorkbenchFolder,
    *,
    component: Annotated[str, typer.Option(help="Of which component.")],
    version: Annotated[str, typer.Option(help="Which release.")],
    ring: Annotated[str, typer.Option(help="Name of the ring.")] = "everyone",
    devices: Annotated[str, typer.Option(help="all, or device ids with commas.")] = "all",
    percentage: Annotated[int, typer.Option(min=0, max=100, help="Share of the ring.")] = 100,
    pause_until: Annotated[
        str | None, typer.Option(metavar="RFC3339", help="Stop until then; it ends by itself.")
    ] = None,
    pause_reason: Annotated[str, typer.Option(help="Why it is paused.")] = "",
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Give a release to a ring of devices, inside the exposure that clinical signed.

    Example:
      primum-repo rollout engineering --component pvc-classifier --version 1.0.0 \
        --ring pilot --devices wearable-001,wearable-002
      primum-repo rollout engineering --component pvc-classifier --version 1.0.0 \
        --percentage 10
    """
    from primum_repo_tools import rollout as plans
    from primum_repo_tools.moments import now_utc, parse_moment
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.settings import checked_settings
    from primum_repo_tools.workbench import open_created
    from primum_verifier.keeping.rollout import Pause, Ring

    bench = open_created(workbench, authority="engineering")
    now = now_utc()
    meant = "all" if devices == "all" else [item.strip() for item in devices.split(",")]
    content = {"name": ring, "devices": meant, "percentage": percentage}
    pause = (
        None
        if pause_until is None
        else Pause(until=parse_moment(pause_until), why=pause_reason or "paused by engineering")
    )
    step = plans.Step(
        component=component,
        version=version,
        ring=checked_settings(Ring, content, where="--ring, --devices"),
        pause=pause,
    )
    with bench.locked():
        repository = AuthorityRepository(bench, now=now)
        plan = plans.next_plan(repository, step, now=now)
        replaces = plans.replaced_ring(plans.published_plan(repository), step)
        release = plan.assignments[0].release.sha256
        ceiling, known = plans.clinical_ceiling(bench, release, now=now)
        plans.check_ceiling(plan, ceiling)
        data: dict[str, object] = {
            "number": plan.number,
            "release": f"{component} {version}",
            "eligibility": known,
            "replaces": replaces,
            "plan": plan.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        if dry_run:
            shown = pretty(plan.to_bytes())
            told = (f"Would replace {replaces}.", "Nothing was signed.")
            tell({**data, "dryRun": True}, shown, *told, as_json=as_json)
            return
        if not as_json:
            tell({}, f"Replaces {replaces}.", as_json=False)
        timestamp = plans.publish_plan(bench, plan, secrets=secrets_from(passphrase_file), now=now)
    notes = {
        "eligible": "Clinical lists it as eligible.",
        "not-eligible-yet": "Clinical does not list it as eligible: devices stage it, inactive.",
        "peer-unknown": "No peer is named: clinical's ceiling was not checked.",
    }
    tell(
        {**data, "timestamp": timestamp},
        f"Plan {plan.number}: {component} {version} to {percentage} % of {devices} ({ring}).",
        notes[known],
        as_json=as_json,
    )
