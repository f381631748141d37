"""``primum-repo publish``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    WorkbenchFolder,
    secrets_from,
    tell,
)

if TYPE_CHECKING:
    from primum_repo_tools.workbench import Workbench


def publish(
    workbench: WorkbenchFolder,
    *,
    component: Annotated[
        str | None, typer.Option(help="Clinical: one statement only; with --version.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="See --component.")] = None,
    unsafe_publish_failing_selftest: Annotated[
        bool,
        typer.Option(
            "--unsafe-publish-failing-selftest",
            help="Engineering: publish a release that fails its self-test. Logged, shown.",
        ),
    ] = False,
    unsafe_publish_without_validation: Annotated[
        bool,
        typer.Option(
            "--unsafe-publish-without-validation",
            help="Engineering: publish without a met comparison. Logged, shown.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Publish what is signed, after its gates, in an order that never shows half a state.

    Engineering: every release that release sign staged, and every delta list that delta make
    staged. Clinical: statements with their
    approvals, listed in the eligibility index. At the end the device's own client reads it.

    Example:
      primum-repo publish engineering
      primum-repo publish clinical --component pvc-classifier --version 1.0.0
    """
    from primum_repo_tools.evidence import Override
    from primum_repo_tools.workbench import open_created
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    bench = open_created(workbench)
    if bench.authority == "site":
        raise UsageError(
            "A site publishes with each acceptance; nothing waits here.",
            reason=Reason.USAGE,
            where=str(workbench),
            remedy=f"See: primum-repo site list {workbench}",
        )
    named = component is not None and version is not None
    chosen = {
        Override.FAILING_SELF_TEST: unsafe_publish_failing_selftest,
        Override.WITHOUT_VALIDATION: unsafe_publish_without_validation,
    }
    overrides = frozenset(override for override, is_chosen in chosen.items() if is_chosen)
    if (component is None) != (version is None) or (named and bench.authority == "engineering"):
        raise UsageError(
            "--component and --version stand together, for the clinical workbench.",
            reason=Reason.USAGE,
        )
    if overrides and bench.authority == "clinical":
        raise UsageError(
            "No gate of clinical can be overridden.",
            reason=Reason.USAGE,
            found=", ".join(sorted(f"--{item}" for item in overrides)),
        )
    with bench.locked():
        if bench.authority == "engineering":
            _engineering(bench, overrides, passphrase_file, dry_run=dry_run, as_json=as_json)
        else:
            _clinical(bench, component, version, passphrase_file, dry_run=dry_run, as_json=as_json)


def _engineering(
    bench: Workbench,
    overrides: frozenset[str],
    passphrase_file: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from primum_repo_tools.deltas.releases import staged_delta_lists
    from primum_repo_tools.engineering import newest_published, publish_releases, staged_releases
    from primum_repo_tools.evidence import Override
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.summary import component_rows

    now = now_utc()
    repository = AuthorityRepository(bench, now=now)
    staged = staged_releases(bench, repository)
    lists = staged_delta_lists(repository)
    if not staged and not lists:
        _nothing(newest_published(repository), dry_run=dry_run, as_json=as_json)
        return
    parts = [
        f"{draft.manifest.name}, {name}: {said}"
        for draft in staged
        for name, said in component_rows(draft.manifest)
    ]
    deltas = {name: len(listed.deltas) for name, listed in lists.items()}
    parts += [f"{name}: {count} deltas" for name, count in deltas.items()]
    if dry_run:
        names = [draft.manifest.name for draft in staged]
        what = names or [f"the deltas of {name}" for name in deltas]
        tell(
            {"releases": names, "deltas": deltas, "dryRun": True},
            *parts,
            f"Would gate and publish: {', '.join(what)}.",
            as_json=as_json,
        )
        return
    outcomes, timestamp = publish_releases(
        bench,
        overrides=frozenset(Override(item) for item in overrides),
        secrets=secrets_from(passphrase_file),
        now=now,
    )
    lines = [
        f"{name}: " + ", ".join(f"{gate} {outcome}" for gate, outcome in gates.items())
        for name, gates in outcomes.items()
    ]
    tell(
        {"releases": outcomes, "deltas": deltas, "timestamp": timestamp},
        *lines,
        *parts,
        f"Published, timestamp {timestamp}; a device's client accepts it.",
        as_json=as_json,
    )


def _nothing(newest: list[str], *, dry_run: bool, as_json: bool) -> None:
    """Everything was published before: to say it again is no mistake."""
    told = f"newest published is {', '.join(newest)}." if newest else "none was published before."
    data: dict[str, object] = {"releases": [], "newest": newest, "nothingToPublish": True}
    if dry_run:
        data["dryRun"] = True
    tell(data, f"Nothing to publish; {told}", as_json=as_json)


def _clinical(
    bench: Workbench,
    component: str | None,
    version: str | None,
    passphrase_file: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from primum_repo_tools.clinical import (
        chosen_drafts,
        gate_statements,
        is_listed,
        publish_statements,
    )
    from primum_repo_tools.eligibility import published_index
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.repository import AuthorityRepository

    now = now_utc()
    repository = AuthorityRepository(bench, now=now)
    drafts = chosen_drafts(bench, repository, component=component, version=version)
    if drafts:
        # What was published is asked again too: a notice may stand in its way by now.
        gate_statements(bench, repository, drafts, now=now)
    drafts = [draft for draft in drafts if not is_listed(repository, draft)]
    if not drafts:
        entries = published_index(repository).listed
        _nothing(
            [f"{e.component} {e.version} ({e.status})" for e in entries],
            dry_run=dry_run,
            as_json=as_json,
        )
        return
    names = [draft.manifest.name for draft in drafts]
    if dry_run:
        told = f"Would list as eligible, all gates passed: {', '.join(names)}. Nothing was signed."
        tell({"releases": names, "dryRun": True}, told, as_json=as_json)
        return
    timestamp = publish_statements(bench, drafts, secrets=secrets_from(passphrase_file), now=now)
    tell(
        {"releases": names, "timestamp": timestamp},
        f"Eligible: {', '.join(names)}. Published, timestamp {timestamp}.",
        as_json=as_json,
    )
