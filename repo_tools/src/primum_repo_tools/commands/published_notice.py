"""``primum-repo notice``: sign again what is published."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from typing import Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    PersonPassphraseFile,
    WorkbenchFolder,
    Yes,
    command,
    confirm,
    new_app,
    person_secrets,
    pretty,
    secrets_from,
    table,
    tell,
)
from primum_repo_tools.commands.notice_options import People

app = new_app("Safety notices that are published.")


@command(app)
def sign_again(
    workbench: WorkbenchFolder,
    *,
    notice: Annotated[
        list[str], typer.Option("--notice", metavar="ID", help="Id of the notice; repeat it.")
    ],
    people: People,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Sign published notices by further people, before the key of a signer is struck off.

    The notice stays the same, with one signature more; the near-line key of safety is enough.

    Example:
      primum-repo notice sign-again clinical --as people/r.novak \
        --notice urn:uuid:1b4e28ba-2fa1-4d2e-883f-0016d3cca427
    """
    from primum_repo_tools import signing_again
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.people import open_approver
    from primum_repo_tools.policy import published_policy
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.summary import document_rows
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    now = now_utc()
    with bench.locked():
        repository = AuthorityRepository(bench, now=now)
        shown = [
            part
            for item in signing_again.notices_named(repository, notice)
            for part in (
                table("What is signed", ("", ""), document_rows(item.predicate)),
                pretty(item.to_bytes()),
            )
        ]
        data: dict[str, object] = {"notices": notice}
        if dry_run:
            tell({**data, "dryRun": True}, *shown, "Nothing was signed.", as_json=as_json)
            return
        own = person_secrets(person_passphrase_file, passphrase_file)
        policy = published_policy(repository)
        approvers = [open_approver(folder, policy=policy, secrets=own) for folder in people]
        if not as_json:
            tell({}, *shown, as_json=False)
        confirm("Sign this again and publish it?", yes=yes)
        secrets = secrets_from(passphrase_file)
        timestamp = signing_again.sign_again(bench, notice, approvers, secrets=secrets, now=now)
    names = [item.settings.person_id for item in approvers]
    told = (
        "All of them had signed already: nothing was signed."
        if timestamp is None
        else f"Signed again by {', '.join(names)}; published, timestamp {timestamp}."
    )
    tell({**data, "people": names, "timestamp": timestamp}, told, as_json=as_json)
