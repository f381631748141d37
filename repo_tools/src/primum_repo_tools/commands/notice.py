"""``primum-repo hold``, ``primum-repo restrict`` and ``primum-repo withdraw``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from primum_repo_tools.commands import notice_options as options
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
    table,
    tell,
)
from primum_verifier.core.vocabulary import EpisodeRule, NoticeAction, NoticeKind

if TYPE_CHECKING:
    from primum_repo_tools.notice_terms import NoticeTerms
    from primum_repo_tools.notices import Marking
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import Workbench
    from primum_verifier.core.notice import FieldAction, NoticeScope

Only = list[str] | None


def hold(
    workbench: WorkbenchFolder,
    *,
    component: options.Component,
    version: options.Version,
    reason: options.Why,
    hazard: options.Hazard,
    people: options.People,
    code: options.Code = "under-review",
    user_notice: options.UserNotice = "This function is under review. Go on as instructed.",
    jurisdiction: options.Jurisdictions = None,
    site: options.Sites = None,
    site_group: options.SiteGroups = None,
    model_number: options.Models = None,
    lot_number: options.Lots = None,
    serial_number: options.Serials = None,
    look_back_from: options.LookBack = None,
    preserve_evidence: options.Preserve = False,
    field_action: options.FieldFile = None,
    drill: options.Drill = False,
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
      primum-repo hold clinical --component pvc-classifier --version 1.1.0 --site site-a \
        --reason "Complaint 118 under review" --hazard HAZ-03 --as people/q.lee
    """
    from primum_repo_tools.notice_terms import NoticeTerms

    terms = NoticeTerms(
        kind=NoticeKind.HOLD,
        action=NoticeAction.NO_NEW_ACTIVATION,
        code=code,
        reason=reason,
        hazard_ref=hazard,
        user_notice=user_notice,
        scope=_scope(jurisdiction, site, site_group, model_number, lot_number, serial_number),
        look_back_from=_moment(look_back_from),
        preserve_evidence=preserve_evidence,
        field_action=_field_action(field_action),
        drill=drill,
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


def restrict(
    workbench: WorkbenchFolder,
    *,
    component: options.Component,
    version: options.Version,
    reason: options.Why,
    hazard: options.Hazard,
    people: options.People,
    code: options.Code = "field-report",
    user_notice: options.UserNotice = "The use of this function was narrowed by its manufacturer.",
    only_jurisdiction: Annotated[
        Only, typer.Option(help="Stays allowed in this country; repeat it.")
    ] = None,
    only_site: Annotated[Only, typer.Option(help="Stays allowed at this site; repeat it.")] = None,
    only_site_group: Annotated[
        Only, typer.Option(help="Stays allowed at sites of this group; repeat it.")
    ] = None,
    only_care_setting: Annotated[
        Only, typer.Option(help="Stays allowed in this care setting; repeat it.")
    ] = None,
    only_patient_category: Annotated[
        Only, typer.Option(help="adult, paediatric or neonatal; repeat it.")
    ] = None,
    min_age: Annotated[int | None, typer.Option(min=0, help="Youngest patient, years.")] = None,
    max_age: Annotated[int | None, typer.Option(min=0, help="Oldest patient, years.")] = None,
    only_sex: Annotated[
        Literal["female", "male"] | None, typer.Option(help="Patients of this sex alone.")
    ] = None,
    include: Annotated[
        Only, typer.Option(metavar="SYSTEM|CODE", help="Only patients with it; repeat it.")
    ] = None,
    exclude: Annotated[
        Only, typer.Option(metavar="SYSTEM|CODE", help="No patients with it; repeat it.")
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(metavar="ID", help="Another one that the statement approved.")
    ] = None,
    jurisdiction: options.Jurisdictions = None,
    site: options.Sites = None,
    site_group: options.SiteGroups = None,
    model_number: options.Models = None,
    lot_number: options.Lots = None,
    serial_number: options.Serials = None,
    grace_seconds: options.Grace = 0,
    running_episode: options.Episode = EpisodeRule.FINISH_EPISODE,
    max_use_seconds: options.MaxUse = None,
    look_back_from: options.LookBack = None,
    preserve_evidence: options.Preserve = False,
    field_action: options.FieldFile = None,
    drill: options.Drill = False,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Narrow the use of a release, signed by two functions; what is left stays in use.

    A device that cannot hold the restriction takes the release as withdrawn.

    Example:
      primum-repo restrict clinical --component pvc-classifier --version 1.1.0 \
        --reason "Misses bigeminy in children" --hazard HAZ-03 \
        --only-patient-category adult --as people/a.berg --as people/q.lee
      primum-repo restrict clinical --component pvc-classifier --version 1.1.0 \
        --reason "Too many alarms" --hazard HAZ-04 --operating-point fewer-alarms \
        --site site-a --as people/a.berg --as people/q.lee
    """
    from primum_repo_tools.notice_terms import Allowed, NoticeTerms, restriction_of

    allowed = Allowed(
        jurisdictions=only_jurisdiction or (),
        sites=only_site or (),
        site_groups=only_site_group or (),
        care_settings=only_care_setting or (),
        patient_categories=only_patient_category or (),
        min_age=min_age,
        max_age=max_age,
        sex=only_sex,
        include=include or (),
        exclude=exclude or (),
        operating_point=operating_point,
    )
    terms = NoticeTerms(
        kind=NoticeKind.RESTRICTION,
        action=NoticeAction.RESTRICT,
        restriction=restriction_of(allowed),
        code=code,
        reason=reason,
        hazard_ref=hazard,
        user_notice=user_notice,
        scope=_scope(jurisdiction, site, site_group, model_number, lot_number, serial_number),
        grace_seconds=grace_seconds,
        running_episode=running_episode,
        max_use_seconds=max_use_seconds,
        look_back_from=_moment(look_back_from),
        preserve_evidence=preserve_evidence,
        field_action=_field_action(field_action),
        drill=drill,
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


def withdraw(
    workbench: WorkbenchFolder,
    *,
    component: options.Component,
    version: options.Version,
    reason: options.Why,
    hazard: options.Hazard,
    people: options.People,
    code: options.Code = "field-report",
    user_notice: options.UserNotice = "This function was withdrawn by its manufacturer.",
    action: Annotated[
        Literal["fall-back", "suspend-ai-function"], typer.Option(help="What devices do.")
    ] = "fall-back",
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            "--fallback-version",
            "--fallback",
            metavar="VERSION",
            help="Version to go back to, best first; repeat it.",
        ),
    ] = None,
    explicit_downgrade: Annotated[
        bool,
        typer.Option("--explicit-downgrade", help="Devices may go back to it below their floor."),
    ] = False,
    jurisdiction: options.Jurisdictions = None,
    site: options.Sites = None,
    site_group: options.SiteGroups = None,
    model_number: options.Models = None,
    lot_number: options.Lots = None,
    serial_number: options.Serials = None,
    grace_seconds: options.Grace = 0,
    running_episode: options.Episode = EpisodeRule.FINISH_EPISODE,
    max_use_seconds: options.MaxUse = None,
    look_back_from: options.LookBack = None,
    preserve_evidence: options.Preserve = False,
    field_action: options.FieldFile = None,
    drill: options.Drill = False,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Take an eligible release away: a notice signed by two functions, then the index.

    The notice needs the near-line key of the role safety alone and comes first. The index is
    marked as well where the offline keys of the role eligibility can be opened, and the
    statement burned where those of targets can.

    Example:
      primum-repo withdraw clinical --component pvc-classifier --version 1.1.0 \
        --reason "Misses bigeminy" --hazard HAZ-03 \
        --as people/a.berg --as people/q.lee --fallback-version 1.0.0
      primum-repo withdraw clinical --component pvc-classifier --version 1.1.0 \
        --reason "Exercise 2026" --hazard HAZ-03 --drill \
        --as people/a.berg --as people/q.lee
    """
    from primum_repo_tools.notice_terms import NoticeTerms

    terms = NoticeTerms(
        kind=NoticeKind.WITHDRAWAL,
        action=NoticeAction(action),
        fallback_versions=tuple(fallback or ()),
        explicit_downgrade=explicit_downgrade,
        code=code,
        reason=reason,
        hazard_ref=hazard,
        user_notice=user_notice,
        scope=_scope(jurisdiction, site, site_group, model_number, lot_number, serial_number),
        grace_seconds=grace_seconds,
        running_episode=running_episode,
        max_use_seconds=max_use_seconds,
        look_back_from=_moment(look_back_from),
        preserve_evidence=preserve_evidence,
        field_action=_field_action(field_action),
        drill=drill,
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


def _scope(  # noqa: PLR0917 - the options of three commands, in one order
    jurisdictions: Only, sites: Only, groups: Only, models: Only, lots: Only, serials: Only
) -> NoticeScope:
    from primum_repo_tools.notice_terms import Place, scope_of

    return scope_of(
        Place(
            jurisdictions=jurisdictions or (),
            sites=sites or (),
            site_groups=groups or (),
            models=models or (),
            lots=lots or (),
            serials=serials or (),
        )
    )


def _field_action(text: str | None) -> FieldAction | None:
    from primum_repo_tools.notice_terms import field_action_of

    return None if text is None else field_action_of(text)


def _moment(text: str | None) -> datetime | None:
    from primum_repo_tools.moments import parse_moment

    return None if text is None else parse_moment(text)


def _publish(  # noqa: PLR0917 - the commands above hand on what they got
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
    from primum_repo_tools.summary import document_rows
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    now = now_utc()
    with bench.locked():
        repository = AuthorityRepository(bench, now=now)
        index = published_index(repository)
        entry = notices.listed_release(index, *release)
        is_withdrawal = terms.kind == NoticeKind.WITHDRAWAL and not terms.drill
        if is_withdrawal and (known := notices.already_withdrawn(repository, entry, now=now)):
            burned = [] if dry_run else _burn_the_rest(bench, repository, passphrase_file, now=now)
            facts = {
                "release": " ".join(release),
                "kind": terms.kind,
                "alreadyBy": known,
                "burned": burned,
            }
            done = f"Burned {', '.join(burned)}." if burned else "Nothing was signed."
            told = f"{' '.join(release)} is already withdrawn by notice {known}. {done}"
            tell(facts, told, as_json=as_json)
            return
        statement = notices.notice_statement(repository, entry, terms, now=now)
        # What the document leaves to its defaults is shown as well: a running episode, a drill.
        rows = document_rows(statement.predicate)
        shown = (table("What is signed", ("", ""), rows), pretty(statement.to_bytes()))
        data: dict[str, object] = {
            "release": " ".join(release),
            "kind": terms.kind,
            "notice": statement.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        if dry_run:
            tell({**data, "dryRun": True}, *shown, "Nothing was signed.", as_json=as_json)
            return
        own = person_secrets(person_passphrase_file, passphrase_file)
        policy = published_policy(repository)
        approvers = [open_approver(folder, policy=policy, secrets=own) for folder in people]
        notices.require_functions(bench, repository, approvers, terms.kind)
        if not as_json:
            tell({}, *shown, as_json=False)
        confirm("Sign and publish this notice?", yes=yes)
        secrets = secrets_from(passphrase_file)
        timestamp = notices.publish_notice(bench, statement, approvers, secrets=secrets, now=now)
        marking = notices.mark_index(bench, secrets=secrets, now=now)
        unburned = burn_withdrawn(bench, secrets=secrets, now=now)
    exercise = "EXERCISE: " if terms.drill else ""
    lines = [f"{exercise}{terms.kind} of {' '.join(release)} is published, timestamp {timestamp}."]
    lines += _what_remains(workbench, marking, unburned)
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


def _what_remains(workbench: Path, marking: Marking, unburned: tuple[str, ...]) -> list[str]:
    from primum_verifier.core.eligibility import ELIGIBILITY_ROLE

    lines = []
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
    return lines


def _burn_the_rest(
    bench: Workbench,
    repository: AuthorityRepository,
    passphrase_file: Path | None,
    *,
    now: datetime,
) -> list[str]:
    """Finish what a cut between index and policy left undone; the statements that it burned."""
    from primum_repo_tools.policy import burn_withdrawn, left_to_burn

    left = left_to_burn(repository)
    if not left:
        return []
    remaining = burn_withdrawn(bench, secrets=secrets_from(passphrase_file), now=now)
    return [item for item in left if item not in remaining]
