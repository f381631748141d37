r"""Show the approval policy: who may approve, and what each stage needs.

From a file, or out of clinical's web root with public keys alone.

Exit codes: 0 shown, 1 refused (not trusted, or no policy), 2 usage, 3 failed.

Examples:
  primum-verify policy approval-policy.json
  primum-verify policy --provisioning provisioning --engineering engineering/web \
      --clinical clinical/web
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy, Person, Requirement
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import EXIT_DONE, RefusedError, UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL
from primum_verifier.core.vocabulary import ChangeTier
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.table import rows
from primum_verifier.shell.web_roots import WebRoots
from primum_verifier.shell.web_roots import add_arguments as add_web_roots


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE")
    add_web_roots(parser, required=False)
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="trust as at this time")


def run(options: argparse.Namespace) -> int:
    """Read the policy and show it."""
    data, where = _read(options)
    policy = parse_document(ApprovalPolicy, data, where=where)
    if options.json:
        print(json.dumps(policy.model_dump(mode="json", by_alias=True)))  # noqa: T201
    else:
        print("\n".join(_told(policy)))  # noqa: T201
    return EXIT_DONE


def _read(options: argparse.Namespace) -> tuple[bytes, str]:
    web = (options.provisioning, options.engineering, options.clinical)
    if options.file is not None and not any(web):
        return read_input(options.file, "approval policy", MAX_DOCUMENT_BYTES), str(options.file)
    if options.file is not None or None in web:
        raise UsageError(
            "The policy comes from a file, or from both web roots.",
            reason=Reason.USAGE,
            expected="FILE, or --provisioning, --engineering and --clinical",
        )
    now = options.at or datetime.now(UTC)
    found = WebRoots(options).document(CLINICAL, POLICY_TARGET, now=now)
    if found is None or found.role != "targets":
        raise RefusedError(
            "Clinical's top role signs no approval policy.",
            reason=Reason.TRUST_NOT_FOUND,
            where=POLICY_TARGET,
            remedy="Ask clinical whether its repository was published whole.",
        )
    return found.data, POLICY_TARGET


def _told(policy: ApprovalPolicy) -> list[str]:
    people = [(person.person_id, _person(person)) for person in policy.people]
    needs = [(str(item.stage), _requirement(item)) for item in policy.requirements]
    burned = ", ".join(item.sha256[:16] for item in policy.burned_statements) or "none"
    rules = [
        ("to hold", f"{policy.functions_to_hold} function"),
        ("to take away", f"{policy.functions_to_take_away} functions"),
        ("burned", burned),
        ("lowest number", str(policy.min_statement_number)),
    ]
    if policy.open_issues is not None:
        limits = policy.open_issues
        issues = f"{limits.critical} critical, {limits.major} major, {limits.minor} minor"
        rules.append(("open issues", f"at most {issues}"))
    head = f"Approval policy number {policy.number}, issued {policy.issued_at:%Y-%m-%d}"
    return [
        head,
        "",
        *rows("People: one function and one key each", people),
        "",
        *rows("What each stage needs", needs),
        "",
        *rows("Safety notices and statements", rules),
    ]


def _person(person: Person) -> str:
    honoured = f", {len(person.honoured)} documents honoured" if person.honoured else ""
    by = f", approve again by {person.reapprove_by:%Y-%m-%d}" if person.reapprove_by else ""
    return (
        f"{person.printed_name}; {person.function}; {person.status}{honoured}{by}; "
        f"key {person.key.key_id[:16]}"
    )


def _requirement(item: Requirement) -> str:
    people = ", ".join(f"{function} {count}" for function, count in item.functions.items())
    every = len(item.change_tiers) == len(ChangeTier)
    parts = ["every tier" if every else ", ".join(item.change_tiers), people]
    if item.rungs:
        parts.append(f"rungs {', '.join(item.rungs)}")
    if item.evidence:
        parts.append(f"evidence {', '.join(item.evidence)}")
    return "; ".join(parts)
