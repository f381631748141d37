r"""Prove one release with public keys alone: files, eligibility, signatures.

The provisioning folder names the device and pins the roots; --engineering and --clinical are
the web roots of the two authorities, as folders or addresses. Nothing is activated and nothing
is kept. The answer is the same call that the device makes; `explain` tells every rule of it.

Exit codes: 0 deployable and eligible here (the device must still prove it), 1 refused (with the
primary reason code), 2 usage, 3 failed.

Example:
  primum-verify release pvc-classifier 1.1.0 --provisioning provisioning \
      --engineering engineering/web --clinical clinical/web
"""

from __future__ import annotations

import argparse
import json

from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy, ApprovalScope
from primum_verifier.core.document import parse_document
from primum_verifier.core.eligibility import approvals_target
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED
from primum_verifier.core.question import Question, Verdict
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.record.signatures import Signature, as_dict, signature_page, told
from primum_verifier.shell.asking import add_arguments, ask
from primum_verifier.shell.table import answer, check_lines, printable, rows

__all__ = ["add_arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Judge the release and show what is signed about it."""
    asked = ask(options, phase=Phase.INSTALL)
    verdict = judge(asked.question)
    page = _page(asked.question, verdict)
    if options.json:
        signatures = [as_dict(signature) for signature in page]
        print(json.dumps({**verdict.as_dict(), "signatures": signatures}))  # noqa: T201
    else:
        print("\n".join(_told(verdict, page)))  # noqa: T201
    return EXIT_DONE if verdict.capability >= Capability.SELF_TEST else EXIT_REFUSED


def _page(question: Question, verdict: Verdict) -> list[Signature]:
    """The signature page of the statement; empty where there is none."""
    digest = verdict.statement_digest
    policy = question.clinical.documents.get(POLICY_TARGET)
    if digest is None or policy is None or verdict.statement is None:
        return []
    said = verdict.statement.predicate
    target = approvals_target(digest)
    lines = question.clinical.documents.get(target)
    return list(
        signature_page(
            b"" if lines is None else lines.data,
            policy=parse_document(ApprovalPolicy, policy.data, where=POLICY_TARGET),
            statement=digest,
            scope=ApprovalScope(stage=said.stage, change_tier=said.change_tier),
            where=target,
            engineering_keys=question.engineering.public_keys,
        )
    )


def _told(verdict: Verdict, page: list[Signature]) -> list[str]:
    lines = [answer(verdict), "", *rows("Release", _of_release(verdict))]
    if verdict.statement is not None:
        lines += ["", *rows("Eligibility", _of_statement(verdict))]
    if page:
        lines += ["", "  Signatures (21 CFR 11.50)"]
    for item in page:
        title = f", {printable(item.role_title)}" if item.role_title else ""
        counts = "counts" if item.counts else f"does not count: {item.why_not}"
        lines += [
            f"    {printable(item.printed_name) or 'nobody'}{title}; {item.function}",
            f"      {item.meaning}, {item.decision}; {told(item.signed_at)}",
            f"      key {item.key_id[:16] or 'unknown'}; {counts}",
        ]
    if verdict.in_the_way:
        lines += ["", "  What stands in the way", *check_lines(verdict.in_the_way)]
    return lines


def _of_release(verdict: Verdict) -> list[tuple[str, str]]:
    manifest = verdict.manifest
    if manifest is None:
        return [("manifest", f"sha256 {verdict.release}")]
    found = [
        ("manifest", f"sha256 {verdict.release}"),
        ("made", f"{manifest.issued_at:%Y-%m-%d}, counter {manifest.bundle.release_counter}"),
        ("change", f"{manifest.change_tier}: {manifest.labelling.summary}"),
    ]
    return found + [
        (item.id, f"{item.path}, {item.length} bytes, sha256 {item.digest.sha256[:16]}")
        for item in manifest.items
    ]


def _of_statement(verdict: Verdict) -> list[tuple[str, str]]:
    statement = verdict.statement
    if statement is None:
        return []
    said = statement.predicate
    return [
        ("statement", f"number {said.statement_number}, sha256 {verdict.statement_digest}"),
        ("decision", f"{said.decision}, {said.use.mode} use, stage {said.stage}"),
        ("intended use", said.intended_use.text),
        ("where", ", ".join(said.constraints.jurisdictions)),
        ("valid", f"{said.validity.not_before:%Y-%m-%d} to {said.validity.not_after:%Y-%m-%d}"),
        ("evidence", ", ".join(item.name for item in said.evidence) or "none named"),
    ]
