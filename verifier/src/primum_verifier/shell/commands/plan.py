r"""Say how a change stands to its change-control plan, rule by rule, as advice.

The answer is consistent, not-listed (the plan does not hold this kind of change for this country)
or protocol-not-followed (it was not made or shown as the plan says). A person decides; this is no
decision about a submission.

PLAN and the three manifests are files. Or, with --provisioning, --engineering and --clinical, they
are read out of both authorities' web roots with public keys alone: then PLAN is left out and each
release is named COMPONENT/VERSION. Reports, change and history are files in both cases.

Exit codes: 0 consistent, 1 not-listed, protocol-not-followed or a document that is refused,
2 usage, 3 failed.

Examples:
  primum-verify plan change-control-plan.json --candidate 1.2.0.json --base 1.1.0.json \
      --original 1.0.0.json --report comparison.json --change change.json \
      --history history.json --jurisdiction DE
  primum-verify plan --candidate pvc-classifier/1.2.0 --base pvc-classifier/1.1.0 \
      --original pvc-classifier/1.0.0 --report comparison.json --change change.json \
      --history history.json --jurisdiction DE --provisioning provisioning \
      --engineering engineering/web --clinical clinical/web
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from primum_verifier.change.answer import Consistency, PlanAnswer, Read, read
from primum_verifier.change.check import check_change
from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.description import ChangeDescription, ModificationHistory
from primum_verifier.change.plan import PLAN_ROLE, PLAN_TARGET, ChangeControlPlan
from primum_verifier.core.document import OpenDocument
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED, RefusedError, UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.manifest import MANIFEST_ROLE, ReleaseManifest, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.table import check_lines, printable
from primum_verifier.shell.web_roots import WebRoots
from primum_verifier.shell.web_roots import add_arguments as add_web_roots

RELEASES = ("candidate", "base", "original")

MAX_REPORTS = 50
"""Reports of one change; more are no evidence that a person reads."""

_WEB = ("provisioning", "engineering", "clinical")
_MANIFESTS = frozenset({MANIFEST_ROLE})
_NO_DEVICE = "assessor"
"""Who asks; a rollout plan may give even this name a release, which changes nothing here."""

AnyOpen = TypeVar("AnyOpen", bound=OpenDocument)


@dataclass(frozen=True)
class _Signed:
    """What is signed, or handed in as files in its place."""

    plan: Read[ChangeControlPlan]
    releases: dict[str, Read[ReleaseManifest]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN")
    for name in RELEASES:
        parser.add_argument(f"--{name}", required=True, metavar="MANIFEST")
    parser.add_argument(
        "--report", action="append", type=Path, default=[], metavar="FILE", help="repeat it"
    )
    parser.add_argument("--change", type=Path, required=True, metavar="FILE")
    parser.add_argument("--history", type=Path, metavar="FILE")
    parser.add_argument("--jurisdiction", type=_country, required=True, metavar="COUNTRY")
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="judge as at this time")
    add_web_roots(parser, required=False)


def run(options: argparse.Namespace) -> int:
    """Read everything, ask every rule, and tell the answer with its evidence."""
    now = options.at or datetime.now(UTC)
    if len(options.report) > MAX_REPORTS:
        raise UsageError(
            "There are more reports than a person reads.",
            reason=Reason.USAGE,
            where="--report",
            found=str(len(options.report)),
            expected=f"at most {MAX_REPORTS}",
        )
    signed = _from_web_roots(options, now) if _asks_web_roots(options) else _from_files(options)
    answer = check_change(
        signed.plan,
        **signed.releases,
        change=_file(ChangeDescription, options.change, "change description"),
        reports=[_file(ComparisonReport, path, "comparison report") for path in options.report],
        history=None
        if options.history is None
        else _file(ModificationHistory, options.history, "modification history"),
        now=now,
        jurisdiction=options.jurisdiction,
    )
    if options.json:
        print(json.dumps(_as_json(signed, answer, options.jurisdiction)))  # noqa: T201
    else:
        print(_as_table(signed, answer, options.jurisdiction))  # noqa: T201
    return EXIT_DONE if answer.answer == Consistency.CONSISTENT else EXIT_REFUSED


def _country(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 3166-1 alpha-2 code, such as DE")
    return text


def _asks_web_roots(options: argparse.Namespace) -> bool:
    """Whether plan and manifests come out of web roots.

    Raises:
        UsageError: neither way is stated whole, or both are.
    """
    given = [name for name in _WEB if getattr(options, name) is not None]
    if (given and (len(given) < len(_WEB) or options.plan)) or not (given or options.plan):
        raise UsageError(
            "Where the plan comes from is not stated in one way.",
            reason=Reason.USAGE,
            found=", ".join([*(["PLAN"] if options.plan else []), *given]) or "nothing",
            expected="the file PLAN, or --provisioning, --engineering and --clinical together",
        )
    return bool(given)


def _file(model: type[AnyOpen], path: Path, what: str) -> Read[AnyOpen]:
    return read(model, read_input(path, what, MAX_DOCUMENT_BYTES), where=path.name)


def _from_files(options: argparse.Namespace) -> _Signed:
    return _Signed(
        _file(ChangeControlPlan, options.plan, "change-control plan"),
        {
            name: _file(ReleaseManifest, Path(getattr(options, name)), f"{name} manifest")
            for name in RELEASES
        },
    )


def _from_web_roots(options: argparse.Namespace, now: datetime) -> _Signed:
    named = {name: _release(name, getattr(options, name)) for name in RELEASES}
    roots = WebRoots(options)
    views = roots.refresh(now=now, device_id=_NO_DEVICE, held=named.values())
    plan = roots.document(CLINICAL, PLAN_TARGET, now=now)
    if plan is None or plan.role != PLAN_ROLE:
        raise _not_signed("Clinical signs no change-control plan.", PLAN_TARGET)
    releases = {}
    for name, wanted in named.items():
        data = views.engineering.document(manifest_target(*wanted), roles=_MANIFESTS)
        if data is None:
            raise _not_signed("Engineering signs no such release.", " ".join(wanted))
        releases[name] = read(ReleaseManifest, data, where=f"{name} manifest")
    return _Signed(read(ChangeControlPlan, plan.data, where=PLAN_TARGET), releases)


def _release(option: str, text: str) -> tuple[str, str]:
    component, _, version = text.partition("/")
    if not component or not version:
        raise UsageError(
            "The release is not named.",
            reason=Reason.USAGE,
            where=f"--{option}",
            found=text[:80],
            expected="COMPONENT/VERSION, with web roots",
        )
    return component, version


def _not_signed(message: str, where: str) -> RefusedError:
    return RefusedError(
        message,
        reason=Reason.TRUST_NOT_FOUND,
        where=where,
        remedy="Check the name, and that it was published by the role that may sign it.",
    )


def _as_json(signed: _Signed, answer: PlanAnswer, jurisdiction: str) -> dict[str, object]:
    plan = signed.plan
    return {
        "outcome": str(answer.answer),
        "plan": {
            "title": plan.document.title,
            "version": plan.document.version,
            "sha256": plan.sha256,
            "notUnderstood": list(plan.document.not_understood),
        },
        "releases": {
            name: {"name": item.document.name, "sha256": item.sha256}
            for name, item in signed.releases.items()
        },
        "jurisdiction": jurisdiction,
        **answer.as_dict(),
    }


def _as_table(signed: _Signed, answer: PlanAnswer, jurisdiction: str) -> str:
    plan = signed.plan.document
    names = [check.name for check in answer.in_the_way]
    candidate = signed.releases["candidate"].document.name
    lines = [
        f"{candidate} in {jurisdiction}: {answer.answer}"
        + (f" ({', '.join(names)})" if names else ""),
        f"  plan: {printable(plan.title)}, version {plan.version}",
        f"  least tier of this change: {answer.floor}",
    ]
    if plan.not_understood:
        unknown = printable(", ".join(plan.not_understood))
        lines.append(f"  members of the plan not understood: {unknown}")
    return "\n".join([*lines, "", *check_lines(answer.checks), "", answer.advice])
