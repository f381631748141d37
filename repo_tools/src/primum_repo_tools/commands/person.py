"""``primum-repo person``: add, retire, list."""

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


@command(app)
def retire(
    workbench: WorkbenchFolder,
    *,
    person_id: Annotated[str, typer.Option("--id", help="Short name of the person.")],
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised", help="The key may be in other hands: nothing it signed counts."
        ),
    ] = False,
    reapprove_by: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT",
            help="With --compromised: when what runs by such an approval alone is taken away.",
        ),
    ] = None,
    unsafe_lift_notices: Annotated[
        bool,
        typer.Option(
            "--unsafe-lift-notices",
            help="Also where a notice in force loses its strength by it. Logged, shown.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""End a person's key: who left is still honoured for what is published, a stolen key is not.

    A notice in force that needs a stolen key is first signed again by others.

    Example:
      primum-repo person retire clinical --id a.berg
      primum-repo person retire clinical --id q.lee --compromised \
        --reapprove-by 2027-01-31T12:00:00Z
    """
    from primum_repo_tools.evidence import Override
    from primum_repo_tools.moments import now_utc, parse_moment
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.retiring import plan_retirement, retire_person
    from primum_repo_tools.workbench import open_created
    from primum_verifier.core.approval import PersonStatus

    bench = open_created(workbench, authority="clinical")
    status = PersonStatus.COMPROMISED if compromised else PersonStatus.LEFT
    by = None if reapprove_by is None else parse_moment(reapprove_by)
    now = now_utc()
    with bench.locked():
        repository = AuthorityRepository(bench, now=now)
        planned = plan_retirement(
            repository, person_id=person_id, status=status, reapprove_by=by, now=now
        )
        if not dry_run:
            planned = retire_person(
                bench,
                person_id=person_id,
                status=status,
                reapprove_by=by,
                overrides=frozenset({Override.LIFT_NOTICES} if unsafe_lift_notices else ()),
                secrets=secrets_from(passphrase_file),
                now=now,
            )
    data: dict[str, object] = {
        "personId": person_id,
        "status": status,
        "policy": planned.policy.number,
        "approved": list(planned.approved),
        "notices": list(planned.notices),
        "lifted": list(planned.loss.notice_ids),
        "weakened": list(planned.loss.releases),
    }
    releases = ", ".join(planned.approved) or "nothing that is listed"
    lines = [f"{planned.person.printed_name} ({planned.person.function}): {status}."]
    if compromised:
        lines.append(f"Approvals that count no more: {releases}. Prepare and approve them again.")
        if by is not None and planned.approved:
            lines.append(f"What is not approved again by {by:%Y-%m-%d %H:%M} UTC is taken away.")
        if planned.loss.releases:
            lines.append(f"Too few approvals are left for: {', '.join(planned.loss.releases)}.")
    else:
        lines.append(f"Approvals that stay honoured: {releases}.")
        if planned.notices:
            lines.append(f"Notices that stay honoured: {', '.join(planned.notices)}.")
    if planned.loss.notices:
        lines.append(f"NOTICES THAT LOSE THEIR STRENGTH: {', '.join(planned.loss.notice_ids)}.")
        lines.append("Others can sign them again: primum-repo notice sign-again --help")
    if dry_run:
        tell({**data, "dryRun": True}, *lines, "Nothing was signed.", as_json=as_json)
        return
    lines.append(f"Policy {planned.policy.number} is published.")
    tell(data, *lines, as_json=as_json)


@command(app, "list")
def list_people(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """List the people of the approval policy.

    Example:
      primum-repo person list clinical
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.policy import published_policy
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
