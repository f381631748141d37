"""``primum-repo site``: accept, list, end."""

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
    Yes,
    command,
    confirm,
    new_app,
    pretty,
    secrets_from,
    table,
    tell,
)

app = new_app("A responsible organisation: what it lets in. It can only narrow.")


@command(app)
def accept(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    person: Annotated[str, typer.Option(help="Who decided, by printed name.")],
    since: Annotated[
        str | None, typer.Option("--from", metavar="MOMENT", help="From when; else at once.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Until when new activations are let in.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE,ENFORCE,TEXT", help="A further condition; repeat it."),
    ] = None,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Let in what clinical lists: show its statement, then sign the acceptance.

    Example:
      primum-repo site accept hospital pvc-classifier 1.1.0 --person "Dr Mia Stein"
      primum-repo site accept hospital pvc-classifier 1.1.0 --person "Dr Mia Stein" \\
        --until 2027-06-30T00:00:00Z --condition "trained,labelling,Only after training"
    """
    from primum_repo_tools import sites
    from primum_repo_tools.moments import now_utc, parse_moment
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.summary import document_rows
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="site")
    now = now_utc()
    with bench.locked():
        offered = sites.offered_release(bench, component, version, now=now)
        accepted = sites.accepted_terms(
            offered,
            person=person,
            since=None if since is None else parse_moment(since),
            until=None if until is None else parse_moment(until),
            conditions=condition or (),
        )
        repository = AuthorityRepository(bench, now=now)
        acceptance = sites.next_acceptance(repository, accepted, now=now)
        shown = (
            table("What clinical lists", ("", ""), document_rows(offered.statement.predicate)),
            pretty(acceptance.to_bytes()),
        )
        data: dict[str, object] = {
            "release": offered.name,
            "statement": offered.sha256,
            "acceptance": acceptance.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        if dry_run:
            tell({**data, "dryRun": True}, *shown, "Nothing was signed.", as_json=as_json)
            return
        if not as_json:
            tell({}, *shown, as_json=False)
        confirm("Sign and publish this acceptance?", yes=yes)
        sites.publish_acceptance(
            bench,
            AuthorityRepository(bench, now=now, secrets=secrets_from(passphrase_file)),
            acceptance,
            act="statement.accepted",
            statement=offered.sha256,
            now=now,
        )
    tell(data, f"{offered.name} is let in: acceptance {acceptance.number}.", as_json=as_json)


@command(app, "list")
def list_accepted(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """List what the organisation let in, and until when.

    Example:
      primum-repo site list hospital
    """
    from primum_repo_tools.moments import now_utc, plain
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.sites import published_acceptance
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="site")
    acceptance = published_acceptance(AuthorityRepository(bench, now=now_utc()))
    rows = [
        (
            item.statement.sha256,
            plain(item.accepted_from),
            "-" if item.accepted_until is None else plain(item.accepted_until),
            item.person,
        )
        for item in acceptance.accepted
    ]
    title = f"{acceptance.organisation}: acceptance {acceptance.number}"
    tell(
        {"acceptance": acceptance.model_dump(mode="json", by_alias=True, exclude_none=True)},
        table(title, ("statement", "from", "until", "decided by"), rows),
        as_json=as_json,
    )


@command(app)
def end(
    workbench: WorkbenchFolder,
    *,
    statement: Annotated[str, typer.Option(metavar="SHA256", help="As site list shows it.")],
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let no new device activate it any more; what runs goes on.

    To end what runs is the manufacturer's: ask for a withdrawal at this site.

    Example:
      primum-repo site end hospital --statement 9f86d081884c7d65
    """
    from primum_repo_tools import sites
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="site")
    now = now_utc()
    with bench.locked():
        repository = AuthorityRepository(bench, now=now)
        over = sites.ended(repository, statement, now=now)
        acceptance = sites.next_acceptance(repository, over, now=now)
        data: dict[str, object] = {
            "statement": over.statement.sha256,
            "acceptance": acceptance.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        if dry_run:
            shown = pretty(acceptance.to_bytes())
            tell({**data, "dryRun": True}, shown, "Nothing was signed.", as_json=as_json)
            return
        sites.publish_acceptance(
            bench,
            AuthorityRepository(bench, now=now, secrets=secrets_from(passphrase_file)),
            acceptance,
            act="acceptance.ended",
            statement=over.statement.sha256,
            now=now,
        )
    told = f"No new device activates it here: acceptance {acceptance.number}. What runs goes on."
    tell(data, told, as_json=as_json)
