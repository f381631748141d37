"""Eligibility statements as drafts: what clinical is about to sign about one signed manifest.

A draft is ``statements/<component>/<version>/`` in the clinical workbench: ``statement.json``,
the ``evidence/`` it names by digest, and one file in ``approvals/`` for each person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.evidence import require_comparison
from primum_repo_tools.files import (
    copy_input,
    digest_of,
    make_folder,
    read_input,
    remove_tree,
    replace_folder,
    write_durably,
)
from primum_repo_tools.peer_release import PeerRelease
from primum_repo_tools.policy import published_policy
from primum_repo_tools.predicate import predicate_of
from primum_repo_tools.published_notices import notices_in_force
from primum_repo_tools.releases import COMPARISON_FILE, read_intended_use
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.retraining import RETRAINING_FILE, require_about
from primum_repo_tools.settings import checked_settings, read_settings
from primum_repo_tools.standing_releases import require_place
from primum_repo_tools.terms import Terms
from primum_repo_tools.workbench import Workbench, draft_bytes
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    STATEMENT_TYPE,
    EligibilityIndex,
    EligibilityStatement,
)
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason

STATEMENT_FILE = "statement.json"


@dataclass(frozen=True)
class StatementDraft:
    """One drafted statement.

    Attributes:
        folder: where it lies.
        statement: parsed.
        data: the exact bytes that people approve.
        manifest: the manifest it is about.
    """

    folder: Path
    statement: EligibilityStatement
    data: bytes
    manifest: ReleaseManifest

    @property
    def sha256(self) -> str:
        """The digest that every approval names."""
        return sha256_hex(self.data)

    def envelopes(self) -> list[bytes]:
        """The approvals given so far, one envelope each."""
        paths = sorted((self.folder / "approvals").glob("*.dsse.json"))
        return [read_input(path, what="approval").strip() for path in paths]

    def approvals(self) -> bytes:
        """The approvals as they are published: one envelope a line."""
        return b"".join(envelope + b"\n" for envelope in self.envelopes())


def published_index(repository: AuthorityRepository) -> EligibilityIndex:
    """The eligibility index as clinical published it.

    Raises:
        FailedError: there is none; the authority was not created whole.
    """
    data = repository.document(ELIGIBILITY_ROLE, INDEX_TARGET)
    if data is None:
        raise FailedError(
            "There is no eligibility index.", reason=Reason.STATE_DAMAGED, where=INDEX_TARGET
        )
    index = parse_document(EligibilityIndex, data, where=INDEX_TARGET)
    if len(index.listed) != len(index.entries) or index.not_understood:
        raise RefusedError(
            "The eligibility index holds what this version of the tool cannot read.",
            reason=Reason.DOCUMENT_INVALID,
            where=INDEX_TARGET,
            found=", ".join(index.not_understood) or "entries of another form",
            expected="entries and members that this version knows",
            remedy="Update the tool: written by this version, they would be lost.",
        )
    return index


def draft_statement(
    workbench: Workbench,
    release: PeerRelease,
    *,
    terms_file: Path,
    evidence: Mapping[str, Path],
    now: datetime,
) -> EligibilityStatement:
    """The statement that the terms and the release give; nothing is written.

    It answers every safety notice about the release that is in force: what was withdrawn comes
    back by a statement that says so to everybody who approves it.

    Args:
        workbench: of clinical; its earlier statements give the next number.
        release: as engineering published it.
        terms_file: ``terms.toml``; the intended use it names is relative to its folder.
        evidence: files by name; the statement names them by digest.
        now: the moment from which it is valid.

    Raises:
        RefusedError: terms and manifest contradict each other, or the release is not compared
            with what patients last got.
    """
    repository = AuthorityRepository(workbench, now=now)
    repository.check_clock()
    entries = published_index(repository).listed
    require_place(workbench, release, before=entries, after=entries, now=now)
    terms = read_settings(Terms, terms_file, what="terms of eligibility")
    intended_use = read_intended_use(terms_file.parent / terms.intended_use.file)
    _check_terms(terms, release, sha256_hex(intended_use.encode()), where=str(terms_file))
    predicate = predicate_of(
        terms,
        release,
        intended_use=intended_use,
        folder=terms_file.parent,
        number=max(_next_number(workbench), published_policy(repository).min_statement_number),
        now=now,
    )
    predicate["evidence"] = [
        {"name": name, "digest": {"sha256": digest_of(path, what=f"evidence {name}")}}
        for name, path in sorted(evidence.items())
    ]
    if answers := [
        item.predicate.id
        for item in notices_in_force(repository, release.sha256, now=now)
        if not item.predicate.drill
    ]:
        predicate["answers"] = answers
    content = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": release.manifest.name, "digest": {"sha256": release.sha256}}],
        "predicateType": "urn:primum:eligibility:v0.1",
        "predicate": predicate,
    }
    return checked_settings(EligibilityStatement, content, where=str(terms_file))


def _check_terms(terms: Terms, release: PeerRelease, intended_use: str, *, where: str) -> None:
    manifest = release.manifest
    hardware = {item.hardware_id for item in terms.listed_hardware}
    for what, holds, found, expected in (
        (
            "intended use",
            manifest.intended_use.sha256 == intended_use,
            f"sha256 {intended_use}",
            f"sha256 {manifest.intended_use.sha256}, which engineering built for",
        ),
        (
            "stage",
            terms.stage.rank <= manifest.max_stage.rank,
            str(terms.stage),
            f"at most {manifest.max_stage}, which engineering built for",
        ),
        (
            "change tier",
            (terms.change_tier or manifest.change_tier).rank >= manifest.change_tier.rank,
            str(terms.change_tier),
            f"{manifest.change_tier}, as engineering judged the change, or higher",
        ),
        (
            "hardware",
            hardware <= set(manifest.compatibility.hardware),
            ", ".join(sorted(hardware)),
            f"only {', '.join(manifest.compatibility.hardware)}",
        ),
    ):
        if not holds:
            raise RefusedError(
                f"The terms do not fit the release: {what}.",
                reason=Reason.ELIGIBILITY_STAGE if what == "stage" else Reason.USAGE,
                where=where,
                found=found,
                expected=expected,
                remedy="One of the two must change; ask engineering which.",
            )


def _next_number(workbench: Workbench) -> int:
    numbers = [draft.statement.predicate.statement_number for draft in statement_drafts(workbench)]
    records = workbench.records()
    numbers += [int(str(item["number"])) for item in records if item["act"] == "statement.drafted"]
    return max(numbers, default=0) + 1


def keep_draft(
    workbench: Workbench,
    release: PeerRelease,
    statement: EligibilityStatement,
    *,
    evidence: Mapping[str, Path],
    now: datetime,
) -> StatementDraft:
    """Keep a statement as the draft that people approve; approvals of an older draft go with it.

    Raises:
        RefusedError: the release changes an earlier one, and the evidence holds no met comparison,
            or a retraining record about another release.
    """
    manifest = release.manifest
    bundle = manifest.bundle
    folder = workbench.statement(bundle.component, bundle.version)
    making = folder.with_name(f".{folder.name}.new")
    remove_tree(making)
    make_folder(making / "approvals")
    make_folder(making / "evidence")
    for name, path in evidence.items():
        copy_input(path, making / "evidence" / name, what=f"evidence {name}")
    require_met_comparison(making, manifest, release.sha256)
    _require_right_record(making, manifest, release.sha256)
    write_durably(making / "manifest.json", manifest.to_bytes())
    write_durably(making / STATEMENT_FILE, statement.to_bytes())
    replace_folder(folder, making)
    draft = open_statement(workbench, bundle.component, bundle.version)
    workbench.record(
        "statement.drafted",
        at=now,
        release=manifest.name,
        sha256=draft.sha256,
        number=statement.predicate.statement_number,
    )
    return draft


def require_met_comparison(folder: Path, manifest: ReleaseManifest, release: str) -> None:
    """Refuse a changed release whose evidence holds no met comparison about it.

    Raises:
        RefusedError: ``validation.not-met``.
    """
    require_comparison(
        folder / "evidence" / COMPARISON_FILE,
        release=release,
        previous=manifest.previous.sha256 if manifest.previous else None,
        original=manifest.original.sha256 if manifest.original else None,
        name=manifest.name,
    )


def _require_right_record(folder: Path, manifest: ReleaseManifest, release: str) -> None:
    """Refuse a retraining record among the evidence that is about another release."""
    path = folder / "evidence" / RETRAINING_FILE
    if path.is_file():
        previous = manifest.previous.sha256 if manifest.previous else None
        require_about(path, release=release, previous=previous)


def open_statement(workbench: Workbench, component: str, version: str) -> StatementDraft:
    """The draft of one statement.

    Raises:
        UsageError: it was not prepared.
    """
    folder = workbench.statement(component, version)
    data = draft_bytes(
        folder / STATEMENT_FILE,
        what="eligibility statement drafted for this release",
        remedy=f"Prepare it: primum-repo approve prepare {workbench.folder} {component} {version} "
        "--terms TOML",
    )
    manifest = read_input(folder / "manifest.json", what="manifest of the draft")
    return StatementDraft(
        folder=folder,
        statement=parse_document(EligibilityStatement, data, where=str(folder / STATEMENT_FILE)),
        data=data,
        manifest=parse_document(ReleaseManifest, manifest, where=str(folder / "manifest.json")),
    )


def statement_drafts(workbench: Workbench) -> list[StatementDraft]:
    """Every drafted statement, published ones included, by number."""
    found = [
        open_statement(workbench, path.parent.parent.name, path.parent.name)
        for path in (workbench.folder / "statements").glob(f"*/[!.]*/{STATEMENT_FILE}")
    ]
    return sorted(found, key=lambda draft: draft.statement.predicate.statement_number)
