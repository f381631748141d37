"""``primum-repo approve``: prepare, sign, list."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType

from primum_repo_tools.commands.common import (
    AsJson,
    Component,
    DryRun,
    PassphraseFile,
    PersonPassphraseFile,
    Version,
    WorkbenchFolder,
    Yes,
    command,
    confirm,
    new_app,
    person_secrets,
    pretty,
    table,
    tell,
)

if TYPE_CHECKING:
    from primum_repo_tools.eligibility import StatementDraft
    from primum_repo_tools.workbench import Workbench
    from primum_verifier.core.errors import UsageError

app = new_app("Eligibility: draft the statement, collect the approvals.")


@command(app)
def prepare(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    terms: Annotated[Path, typer.Option(metavar="TOML", help="Terms of eligibility.")],
    comparison: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Comparison report; needed unless a first release."),
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="More evidence, named by digest; repeat it."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Draft the eligibility statement for a release that engineering published.

    Example:
      primum-repo approve prepare clinical pvc-classifier 1.1.0 --terms terms.toml \
        --comparison comparison.json
    """
    from primum_repo_tools.eligibility import draft_statement, keep_draft
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.peer_release import read_peer_release
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    files = _evidence(evidence or [], comparison)
    now = now_utc()
    with bench.locked():
        release = read_peer_release(bench, component, version, now=now)
        statement = draft_statement(bench, release, terms_file=terms, evidence=files, now=now)
        data: dict[str, object] = {
            "release": release.manifest.name,
            "number": statement.predicate.statement_number,
            "statement": statement.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        if dry_run:
            shown = pretty(statement.to_bytes())
            tell({**data, "dryRun": True}, shown, "Nothing was kept.", as_json=as_json)
            return
        draft = keep_draft(bench, release, statement, evidence=files, now=now)
    tell(
        {**data, "sha256": draft.sha256, "file": str(draft.folder / "statement.json")},
        *_summary(bench, draft),
        f"Drafted. Each approver: primum-repo approve sign {workbench} {component} {version} "
        "--as FOLDER",
        as_json=as_json,
    )


@command(app)
def sign(
    workbench: WorkbenchFolder,
    component: Component,
    version: Version,
    *,
    person: Annotated[Path, typer.Option("--as", metavar="FOLDER", help="The person's folder.")],
    meaning: Annotated[
        Literal["authored", "reviewed", "verified", "approved", "responsibility"],
        typer.Option(help="Meaning of the signature (21 CFR 11.50)."),
    ] = "approved",
    decision: Annotated[Literal["approve", "reject"], typer.Option(help="What is decided.")] = (
        "approve"
    ),
    comment: Annotated[str, typer.Option(help="In words; needed with a rejection.")] = "",
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    person_passphrase_file: PersonPassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Show what is approved, summary first and then in full, and sign one person's approval.

    Example:
      primum-repo approve sign clinical pvc-classifier 1.0.0 --as people/a.berg
      primum-repo approve sign clinical pvc-classifier 1.0.0 --as people/q.lee \
        --decision reject --comment "Cohort under 18 is missing"
    """
    from primum_repo_tools.approvals import (
        approval_statement,
        given_approvals,
        refuse_rejected,
        sign_approval,
    )
    from primum_repo_tools.eligibility import open_statement
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.people import open_approver
    from primum_repo_tools.policy import published_policy
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created
    from primum_verifier.core.approval import Meaning
    from primum_verifier.record.signatures import as_dict

    if decision == "reject" and not comment.strip():
        raise _uncommented()
    bench = open_created(workbench, authority="clinical")
    now = now_utc()
    draft = open_statement(bench, component, version)
    policy = published_policy(AuthorityRepository(bench, now=now))
    refuse_rejected(draft, policy)
    approver = open_approver(
        person,
        policy=policy,
        secrets=person_secrets(person_passphrase_file, passphrase_file),
    )
    statement = approval_statement(
        draft,
        approver,
        meaning=Meaning(meaning),
        decision=decision,
        comment=comment,
        now=now,
    )
    who = approver.settings
    line = f"{who.printed_name}, {who.function}: "
    line += f"{meaning}, approve" if decision == "approve" else f"REJECTED: {comment}"
    earlier = [
        given
        for given in given_approvals(draft, policy)
        if given.is_valid and given.person_id == who.person_id
    ]
    again = [
        f"{who.printed_name} signed this statement already at {said.signed_at:%Y-%m-%dT%H:%M:%SZ} "
        f"({said.meaning}, {said.decision}); the new signature replaces it."
        for said in earlier
    ]
    data: dict[str, object] = {
        "release": draft.manifest.name,
        "statement": draft.sha256,
        "replaces": [as_dict(said) for said in earlier],
        "approval": statement.model_dump(mode="json", by_alias=True),
    }
    full = (*_summary(bench, draft), pretty(draft.data), line, *again)
    if dry_run:
        tell({**data, "dryRun": True}, *full, "Nothing was signed.", as_json=as_json)
        return
    if not as_json:
        tell({}, *full, as_json=False)
    confirm("Sign this?", yes=yes)
    with bench.locked():
        sign_approval(bench, draft, approver, statement, now=now)
    told = (
        "Signed." if decision == "approve" else "Signed: rejected. Nobody can approve it any more."
    )
    tell(data, told, as_json=as_json)


@command(app, "list")
def list_statements(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """List drafted statements: who signed, who is missing, what is published.

    Example:
      primum-repo approve list clinical
    """
    from primum_repo_tools.commands.status import statements_table
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.status import workbench_status
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    statements = workbench_status(bench, now=now_utc())["statements"]
    tell({"statements": statements}, statements_table(statements), as_json=as_json)


def _uncommented() -> UsageError:
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    return UsageError(
        "A rejection says why.",
        reason=Reason.USAGE,
        where="--comment",
        remedy='Say it in words: --decision reject --comment "Cohort under 18 is missing"',
    )


def _evidence(named: list[str], comparison: Path | None) -> dict[str, Path]:
    from primum_repo_tools.releases import COMPARISON_FILE
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    files = {} if comparison is None else {COMPARISON_FILE: comparison}
    for item in named:
        name, equals, path = item.partition("=")
        plain = name.replace("-", "").replace(".", "").replace("_", "")
        if not equals or not plain.isalnum() or not plain.isascii() or name in files:
            raise UsageError(
                "Evidence is named wrongly.",
                reason=Reason.USAGE,
                where="--evidence",
                found=item[:200],
                expected="NAME=FILE, each name once, such as risk-review=review.pdf",
            )
        files[name] = Path(path)
    return files


def _summary(bench: Workbench, draft: StatementDraft) -> tuple[RenderableType, ...]:
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.published_notices import published_notices
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.summary import statement_rows

    known = {
        item.predicate.id: f"{item.predicate.kind}: {item.predicate.reason.text}"
        for item in published_notices(AuthorityRepository(bench, now=now_utc()))
    }
    rows = statement_rows(draft.statement, draft.manifest, sha256=draft.sha256, notices=known)
    return (table("What is approved", ("", ""), rows),)
