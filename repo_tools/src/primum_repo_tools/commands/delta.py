"""``primum-repo delta``: make, list."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from typing import Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    Component,
    DryRun,
    PassphraseFile,
    Version,
    WorkbenchFolder,
    command,
    new_app,
    secrets_from,
    table,
    tell,
    told_progress,
)

app = new_app("Deltas: what makes the files of a release out of those of an earlier one.")


@command(app)
def make(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    start: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="VERSION", help="Earlier release; repeat it."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make deltas to a signed release, and sign their list by the role model; it is staged.

    They lead from the five newest releases that may still be used, or from those named. A delta
    that is no smaller than its file is left out. Devices check what it makes by the manifest.

    Example:
      primum-repo delta make engineering pvc-classifier 1.1.0
      primum-repo delta make engineering pvc-classifier 1.1.0 --from 1.0.0 --dry-run
    """
    from primum_repo_tools.deltas.releases import make_deltas, plan_deltas, sign_deltas
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.releases import open_draft
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="engineering")
    draft = open_draft(bench, component, version)
    now = now_utc()
    with bench.locked():
        secrets = None if dry_run else secrets_from(passphrase_file)
        repository = AuthorityRepository(bench, now=now, secrets=secrets)
        planned = plan_deltas(bench, repository, draft, versions=start or [], now=now)
        data: dict[str, object] = {"release": draft.manifest.name, "sha256": draft.sha256}
        if dry_run:
            rows = [(plan.item.path, plan.base_version, plan.item.length) for plan in planned]
            tell(
                {
                    **data,
                    "dryRun": True,
                    "deltas": [{"file": row[0], "from": row[1], "bytes": row[2]} for row in rows],
                },
                table(f"Deltas to {draft.manifest.name}", ("file", "from", "bytes"), rows),
                "Nothing was made or signed.",
                as_json=as_json,
            )
            return
        made = make_deltas(repository, draft, planned, progress=told_progress())
        deltas = [item.delta for item in made if item.delta is not None]
        if deltas:
            sign_deltas(repository, draft, deltas, now=now)
    shown = [
        (
            item.plan.item.path,
            item.plan.base_version,
            item.plan.item.length,
            item.why_none if item.delta is None else item.delta.length,
        )
        for item in made
    ]
    tell(
        {
            **data,
            "deltas": [
                {"file": file, "from": before, "bytes": length, "delta": delta}
                for file, before, length, delta in shown
            ],
            "signed": bool(deltas),
        },
        table(f"Deltas to {draft.manifest.name}", ("file", "from", "bytes", "delta"), shown),
        f"Signed and staged. Next: primum-repo publish {workbench}"
        if deltas
        else "No delta: nothing was signed. Devices fetch the whole files.",
        as_json=as_json,
    )


@command(app, name="list")
def show(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the deltas that lead to a release, staged or published.

    Example:
      primum-repo delta list engineering pvc-classifier 1.1.0
    """
    from primum_repo_tools.deltas.releases import read_delta_list
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.releases import open_draft
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="engineering")
    draft = open_draft(bench, component, version)
    listed = read_delta_list(AuthorityRepository(bench, now=now_utc()), component, version)
    deltas = () if listed is None else listed.deltas
    paths = {item.digest.sha256: item.path for item in draft.manifest.items}
    rows = [
        (
            paths.get(delta.result.sha256, delta.result.sha256),
            delta.base.sha256[:12],
            delta.result_length,
            delta.length,
        )
        for delta in deltas
    ]
    tell(
        {
            "release": draft.manifest.name,
            "number": None if listed is None else listed.number,
            "deltas": [delta.model_dump(mode="json", by_alias=True) for delta in deltas],
        },
        table(
            f"Deltas to {draft.manifest.name}", ("file", "made of sha256", "bytes", "delta"), rows
        ),
        as_json=as_json,
    )
