"""``primum-repo release``: build, check, retrained, sign, unsign."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
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
    pretty,
    secrets_from,
    table,
    tell,
    told_progress,
)

app = new_app("Releases of engineering: built to the bit, tested, signed.")


@command(app)
def build(
    workbench: WorkbenchFolder,
    plan: Annotated[Path, typer.Argument(metavar="RELEASE.toml", help="The release as code.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Build a release from its plan; the same inputs give the same bytes.

    A plan with [[components]] builds a set: beside the model, folders of software, an image of
    the operating system, and files for a hook of the device's maker.

    Example:
      primum-repo release build engineering model/release.toml
    """
    from primum_repo_tools.building import build_release
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.summary import component_rows
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="engineering")
    with bench.locked():
        built = build_release(bench, plan, now=now_utc(), progress=told_progress())
    draft = built.draft
    bundle = draft.manifest.bundle
    rows = [(item.id, item.kind, item.length, item.digest.sha256) for item in draft.manifest.items]
    tell(
        {
            "release": draft.manifest.name,
            "sha256": draft.sha256,
            "manifest": str(draft.folder / "manifest.json"),
            "items": {item.id: item.digest.sha256 for item in draft.manifest.items},
            "components": {item.id: item.version for item in draft.manifest.components},
            "leftOut": built.left_out,
        },
        table(
            f"{draft.manifest.name}  sha256 {draft.sha256}",
            ("item", "kind", "bytes", "sha256"),
            rows,
        ),
        *(f"{name}: {said}" for name, said in component_rows(draft.manifest)),
        *(
            f"Left out of {name}, because a release carries files alone: {', '.join(folders)}"
            for name, folders in built.left_out.items()
        ),
        f"Next: primum-repo release check {workbench} {bundle.component} {bundle.version}",
        as_json=as_json,
    )


@command(app)
def check(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    sign_it: Annotated[
        bool, typer.Option("--sign", help="Sign the result by the role model, as evidence.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Run the device's own self-test on this machine; 1 when it does not pass.

    Example:
      primum-repo release check engineering pvc-classifier 1.0.0
      primum-repo release check engineering pvc-classifier 1.0.0 --sign
    """
    from primum_repo_tools.evidence import check_artifacts
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.releases import SELF_TEST_FILE, open_draft
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.self_test_run import require_passed, run_self_test, sign_report
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="engineering")
    draft = open_draft(bench, component, version)
    signed: dict[str, str] = {}
    with bench.locked():
        check_artifacts(draft)
        result = run_self_test(draft)
        if sign_it:
            now = now_utc()
            repository = AuthorityRepository(bench, now=now, secrets=secrets_from(passphrase_file))
            signed["statement"] = str(sign_report(repository, draft, result.report, now=now))
    rows = [(t.id, t.level, t.status, t.found, t.expected) for t in result.tests]
    tell(
        {
            "release": draft.manifest.name,
            "overall": result.overall,
            "summary": result.summary,
            "tests": {t.id: t.status for t in result.tests},
            "report": str(draft.folder / SELF_TEST_FILE),
            **signed,
        },
        table(
            f"{draft.manifest.name}: {result.overall}",
            ("test", "level", "status", "found", "expected"),
            rows,
        ),
        *(f"Signed: {path}" for path in signed.values()),
        as_json=as_json,
    )
    require_passed(draft, result)


@command(app)
def retrained(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    plan: Annotated[Path, typer.Argument(metavar="RETRAINING.toml", help="What was done.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Record a retraining beside its draft; refused where a patient was seen and tested.

    Example:
      primum-repo release retrained engineering pvc-classifier 1.1.0 model/1.1.0/retraining.toml
    """
    from primum_repo_tools.releases import draft_of, open_draft
    from primum_repo_tools.retraining import RETRAINING_FILE, record_retraining
    from primum_repo_tools.workbench import open_created
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    bench = open_created(workbench, authority="engineering")
    draft = open_draft(bench, component, version)
    previous = draft.manifest.previous
    parent = None if previous is None else draft_of(bench, previous.sha256)
    if parent is None:
        raise UsageError(
            "There is no release here that this one was retrained from.",
            reason=Reason.USAGE,
            where=draft.manifest.name,
            expected="a previous release, in this workbench as it was signed",
        )
    with bench.locked():
        record = record_retraining(plan, draft=draft, parent=parent)
    rows = [(item.role, item.name, item.patients) for item in record.data_sets]
    tell(
        {
            "release": draft.manifest.name,
            "record": str(draft.folder / RETRAINING_FILE),
            "dataSets": {item.name: item.patients for item in record.data_sets},
            "overlaps": len(record.overlaps),
        },
        table(
            f"{draft.manifest.name}, from {record.parent.version}",
            ("role", "data set", "patients"),
            rows,
        ),
        f"No patient was seen and tested; held against each other: {len(record.overlaps)} pairs.",
        f"Kept: {draft.folder / RETRAINING_FILE}",
        as_json=as_json,
    )


@command(app)
def sign(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sign a release by the role model, at threshold; it is staged, not published.

    Example:
      primum-repo release sign engineering pvc-classifier 1.0.0
    """
    from primum_repo_tools.engineering import check_signable, sign_release
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.releases import open_draft
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.summary import component_rows
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="engineering")
    draft = open_draft(bench, component, version)
    role = bench.settings.roles["model"]
    data: dict[str, object] = {
        "release": draft.manifest.name,
        "sha256": draft.sha256,
        "role": "model",
        "keys": list(role.keys),
    }
    shown = (
        f"{draft.manifest.name}  sha256 {draft.sha256}",
        *(f"{name}: {said}" for name, said in component_rows(draft.manifest)),
        f"role model, {role.threshold} of {len(role.keys)}: {', '.join(role.keys)}",
    )
    now = now_utc()
    if dry_run:
        with bench.locked():
            check_signable(bench, draft, AuthorityRepository(bench, now=now), now=now)
        tell(
            {**data, "dryRun": True},
            *shown,
            pretty(draft.data),
            "Nothing was signed.",
            as_json=as_json,
        )
        return
    with bench.locked():
        sign_release(bench, draft, secrets=secrets_from(passphrase_file), now=now)
    tell(data, *shown, f"Signed and staged. Next: primum-repo publish {workbench}", as_json=as_json)


@command(app)
def unsign(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take a signed release that never was published out of staging; the records keep it.

    Example:
      primum-repo release unsign engineering pvc-classifier 1.0.0
    """
    from primum_repo_tools.engineering import staged_digest, unsign_release
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="engineering")
    now = now_utc()
    with bench.locked():
        if dry_run:
            sha256 = staged_digest(bench, AuthorityRepository(bench, now=now), component, version)
        else:
            secrets = secrets_from(passphrase_file)
            sha256 = unsign_release(bench, component, version, secrets=secrets, now=now)
    data: dict[str, object] = {"release": f"{component} {version}", "sha256": sha256}
    shown = f"{component} {version}  sha256 {sha256}"
    if dry_run:
        told = "Would be taken out of staging; nothing was changed."
        tell({**data, "dryRun": True}, shown, told, as_json=as_json)
        return
    tell(data, shown, "No longer staged; its draft stands.", as_json=as_json)
