"""``primum-repo withdraw`` and ``primum-repo hold``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    PersonPassphraseFile,
    WorkbenchFolder,
    Yes,
    confirm,
    person_secrets,
    pretty,
    secrets_from,
    tell,
)

if TYPE_CHECKING:
    from primum_repo_tools.notices import NoticeTerms

NoticeComponent = Annotated[str, typer.Option("--component", help="Of which component.")]
NoticeVersion = Annotated[str, typer.Option("--version", help="Which release.")]
Why = Annotated[str, typer.Option("--reason", help="Why, in words.")]
Hazard = Annotated[str, typer.Option("--hazard", help="Hazard that it answers.")]
Code = Annotated[str, typer.Option("--code", help="Reason in a code.")]
UserNotice = Annotated[str, typer.Option("--user-notice", help="What the user is told.")]
People = Annotated[
    list[Path], typer.Option("--as", metavar="FOLDER", help="Person who signs; repeat it.")
]


def withdraw(
    workbench: WorkbenchFolder,
    *,
    component: NoticeComponent,
    version: NoticeVersion,
    reason: Why,
    hazard: Hazard,
    people: People,
    code: Code = "field-report",
    user_notice: UserNotice = "This function was withdrawn by its manufacturer.",
    action: Annotated[
        Literal["fall-back", "suspend-ai-function"], typer.Option(help="What devices do.")
    ] = "fall-back",
    grace_seconds: Annotated[
        int, typer.Option(min=0, max=2_592_000, help="How long it may go on.")
    ] = 0,
    fallback_version: Annotated[
        list[str] | None, typer.Option(help="Version to go back to, best first; repeat it.")
    ] = None,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Take an eligible release away: a notice signed by two functions, then the index.

    The notice needs the near-line key of the role safety alone and comes first. The index is
    marked as well where the offline keys of the role eligibility can be opened.

    Example:
      primum-repo withdraw clinical --component pvc-classifier --version 1.1.0 \
        --reason "Misses bigeminy" --hazard HAZ-03 \
        --as people/a.berg --as people/q.lee --fallback-version 1.0.0
    """
    from primum_repo_tools.notices import NoticeTerms
    from primum_verifier.core.vocabulary import NoticeAction, NoticeKind

    terms = NoticeTerms(
        kind=NoticeKind.WITHDRAWAL,
        action=NoticeAction(action),
        code=code,
        reason=reason,
        hazard_ref=hazard,
        user_notice=user_notice,
        grace_seconds=grace_seconds,
        fallback_versions=tuple(fallback_version or ()),
    )
    _publish(
        workbench,
        (component, version),
        terms,
        people,
        passphrase_file,
        person_passphrase_file,
        yes=yes,
        dry_run=dry_run,
        as_json=as_json,
    )


def hold(
    workbench: WorkbenchFolder,
    *,
    component: NoticeComponent,
    version: NoticeVersion,
    reason: Why,
    hazard: Hazard,
    people: People,
    code: Code = "under-review",
    user_notice: UserNotice = "This function is under review. Go on as instructed.",
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Stop new activations of a release for 72 hours; one function is enough.

    Example:
      primum-repo hold clinical --component pvc-classifier --version 1.1.0 \
        --reason "Complaint 118 under review" --hazard HAZ-03 --as people/q.lee
    """
    from primum_repo_tools.notices import NoticeTerms
    from primum_verifier.core.vocabulary import NoticeAction, NoticeKind

    terms = NoticeTerms(
        kind=NoticeKind.HOLD,
        action=NoticeAction.NO_NEW_ACTIVATION,
        code=code,
        reason=reason,
        hazard_ref=hazard,
        user_notice=user_notice,
    )
    _publish(
        workbench,
        (component, version),
        terms,
        people,
        passphrase_file,
        person_passphrase_file,
        yes=yes,
        dry_run=dry_run,
        as_json=as_json,
    )


def _publish(  # noqa: PLR0917 - the two commands above hand on what they got
    workbench: Path,
    release: tuple[str, str],
    terms: NoticeTerms,
    people: list[Path],
    passphrase_file: Path | None,
    person_passphrase_file: Path | None,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from primum_repo_tools import notices
    from primum_repo_tools.eligibility import published_index
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.people import open_approver
    from primum_repo_tools.policy import burn_withdrawn, published_policy
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created
    from primum_verifier.core.eligibility import ELIGIBILITY_ROLE
    from primum_verifier.core.vocabulary import NoticeKind

    bench = open_created(workbench, authority="clinical")
    now = now_utc()
    with bench.locked():
        repository = AuthorityRepository(bench, now=now)
        index = published_index(repository)
        entry = notices.listed_release(index, *release)
        if terms.kind == NoticeKind.WITHDRAWAL and (
            known := notices.already_withdrawn(repository, entry, now=now)
        ):
            told = (
                f"{' '.join(release)} is already withdrawn by notice {known}. Nothing was signed."
            )
            facts = {"release": " ".join(release), "kind": terms.kind, "alreadyBy": known}
            tell(facts, told, as_json=as_json)
            return
        statement = notices.notice_statement(index, entry, terms, now=now)
        shown = pretty(statement.to_bytes())
        data: dict[str, object] = {
            "release": " ".join(release),
            "kind": terms.kind,
            "notice": statement.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        if dry_run:
            tell({**data, "dryRun": True}, shown, "Nothing was signed.", as_json=as_json)
            return
        own = person_secrets(person_passphrase_file, passphrase_file)
        policy = published_policy(repository)
        approvers = [open_approver(folder, policy=policy, secrets=own) for folder in people]
        notices.require_functions(bench, repository, approvers, terms.kind)
        if not as_json:
            tell({}, shown, as_json=False)
        confirm("Sign and publish this notice?", yes=yes)
        secrets = secrets_from(passphrase_file)
        timestamp = notices.publish_notice(bench, statement, approvers, secrets=secrets, now=now)
        marking = notices.mark_index(bench, secrets=secrets, now=now)
        unburned = burn_withdrawn(bench, secrets=secrets, now=now)
    lines = [f"{terms.kind} of {' '.join(release)} is published, timestamp {timestamp}."]
    if marking.marked:
        lines.append(f"Withdrawn on the index: {', '.join(marking.marked)}.")
    if marking.remaining:
        left = ", ".join(marking.remaining)
        lines.append(f"REMAINS TO BE DONE: the index still lists {left}. {marking.why}")
        renew = f"primum-repo authority renew {workbench} --role {ELIGIBILITY_ROLE}"
        lines.append(f"Devices obey the notice. When the eligibility keys are there: {renew}")
    if unburned:
        lines.append(f"REMAINS TO BE DONE: the policy does not burn {', '.join(unburned)} yet.")
        lines.append(f"When the targets keys are there: primum-repo policy sign {workbench}")
    tell(
        {
            **data,
            "timestamp": timestamp,
            "leftToBurn": list(unburned),
            "index": {
                "marked": list(marking.marked),
                "remaining": list(marking.remaining),
                "why": marking.why,
            },
        },
        *lines,
        as_json=as_json,
    )
