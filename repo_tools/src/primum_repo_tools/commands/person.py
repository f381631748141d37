"""``primum-repo person``: add, list."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    PersonPassphraseFile,
    WorkbenchFolder,
    command,
    new_app,
    person_secrets,
    secrets_from,
    table,
    tell,
)
from primum_verifier.core.vocabulary import Function

app = new_app("The people who approve: one person, one function, one key.")


@command(app)
def add(
    workbench: WorkbenchFolder,
    *,
    person_id: Annotated[str, typer.Option("--id", help="Short name of the person.")],
    name: Annotated[str, typer.Option(help="Printed name, as it stands under an approval.")],
    function: Annotated[Function, typer.Option(help="The one function the person holds.")],
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The person's own folder; the key goes there.")
    ],
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Make a person's key and list the person in the approval policy.

    Example:
      primum-repo person add clinical --id a.berg --name "Dr Anna Berg" \
        --function clinical --output people/a.berg
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.people import PersonSettings, add_person
    from primum_repo_tools.settings import checked_settings
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    person = checked_settings(
        PersonSettings,
        {
            "schemaVersion": "0.1",
            "personId": person_id,
            "printedName": name,
            "function": function,
        },
        where="--id, --name, --function",
    )
    if dry_run:
        told = f"Would list {name} as {function} and sign the policy; nothing was signed."
        tell({"personId": person_id, "function": function, "dryRun": True}, told, as_json=as_json)
        return
    with bench.locked():
        policy = add_person(
            bench,
            person=person,
            folder=output,
            secrets=secrets_from(passphrase_file),
            own=person_secrets(person_passphrase_file, passphrase_file),
            now=now_utc(),
        )
    tell(
        {"personId": person_id, "function": function, "policy": policy.number},
        f"{name} approves as {function}: policy {policy.number} is published.",
        f"The key is in {output}; it is the person's own.",
        as_json=as_json,
    )


@command(app, "list")
def list_people(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """List the people of the approval policy.

    Example:
      primum-repo person list clinical
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.people import published_policy
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.status import people_status
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    policy = published_policy(AuthorityRepository(bench, now=now_utc()))
    people = people_status(policy)
    rows = [(p["personId"], p["printedName"], p["function"], p["status"]) for p in people]
    tell(
        {"policy": policy.number, "people": people},
        table(f"Approval policy {policy.number}", ("id", "name", "function", "status"), rows),
        as_json=as_json,
    )
