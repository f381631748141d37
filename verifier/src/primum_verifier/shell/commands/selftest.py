r"""Run a release's self-test on this machine, with the code that a device runs.

It is drawn in the terminal, and with --html FILE as one page that holds its plots.

RELEASE is a folder: a release that was built (`manifest.json` and `files/`), or a generation on a
device. Or name COMPONENT VERSION with the web roots: then the manifest's signature is verified with
public keys alone and the files are fetched. The web roots named beside a folder hold its manifest
against the signed one. Every file has to be the one that the manifest names, before anything runs.

With --report FILE nothing is run: a report that a device or `primum-repo release check` kept is
drawn, or what --json printed, which holds the values of single cases as well. A RELEASE named
beside it must be the one that the report is about. Who made a stored report is not verified.

A test may ask to be no worse than the release that is active on a device and than the original one.
Where --active names no other, the previous release counts as the active one. Limits of time and
memory are signed for each kind of hardware: --hardware says which one this machine stands in for.

The model runs in a confined process: --require names confinements without which it must not be
loaded, --bench another program that keeps the same contract. A bench says itself what it held.

Exit codes: 0 passed, 1 failed, or a file or signature was refused, 2 usage, 3 could not be run to
its end.

Examples:
  primum-verify selftest engineering/releases/pvc-classifier/1.1.0
  primum-verify selftest engineering/releases/pvc-classifier/1.1.0 --html self-test.html
  primum-verify selftest pvc-classifier 1.1.0 --provisioning provisioning \
      --engineering engineering/web --clinical clinical/web --require landlock
  primum-verify selftest --report engineering/releases/pvc-classifier/1.1.0/self-test.json
  primum-verify selftest --report self-tests/93f1….dsse.json --device-key device.public.json
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from primum_verifier.core.document import parse_document, read_json, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement
from primum_verifier.proof.observed import Observed
from primum_verifier.proof.selftest_result import Baselines, SelfTestReport
from primum_verifier.proof.selftest_statement import SelfTestStatement, open_statement
from primum_verifier.shell.bench import REFERENCE_COMMAND, ConfinedBench
from primum_verifier.shell.commands.fetch import read_input
from primum_verifier.shell.commands.history import read_device_key
from primum_verifier.shell.durable import storage_error, write_file
from primum_verifier.shell.listening import ListeningBench
from primum_verifier.shell.selftest import self_test
from primum_verifier.shell.selftest_page import selftest_page
from primum_verifier.shell.selftest_release import add_arguments as add_release
from primum_verifier.shell.selftest_release import find_release
from primum_verifier.shell.selftest_text import selftest_text
from primum_verifier.shell.selftest_view import (
    MAX_VIEW_BYTES,
    Checked,
    SelfTestView,
    Standing,
)

NO_COLOUR = "NO_COLOR"
"""A variable that asks every program for none (no-color.org)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_release(parser)
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="draw a stored report; run nothing"
    )
    parser.add_argument(
        "--active",
        type=_digest,
        metavar="SHA256",
        help="the manifest of the release that a device leaves for this one; the previous one "
        "where it is left out",
    )
    parser.add_argument(
        "--hardware",
        metavar="ID",
        help="the hardware that this machine stands in for, whose limits of time and memory count; "
        "the first that the manifest names where it is left out",
    )
    parser.add_argument(
        "--device-key",
        type=Path,
        metavar="FILE",
        help="with a signed report: the public key of who signed it, or a device's enrolment or "
        "context",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write it as one page")
    parser.add_argument(
        "--bench", type=_command, metavar="COMMAND", help="another bench than the one installed"
    )
    parser.add_argument(
        "--require",
        choices=[str(name) for name in Confinement],
        action="append",
        default=[],
        metavar="CONFINEMENT",
        help=f"do not load the model without it; repeat it: {', '.join(Confinement)}",
    )


def run(options: argparse.Namespace) -> int:
    """Run or read the self-test, and show it."""
    if options.report is None and options.release is None:
        raise UsageError(
            "Nothing to test is named.",
            reason=Reason.USAGE,
            expected="a release's folder, COMPONENT VERSION, or --report FILE",
        )
    with _scratch() as folder:
        view = (
            _run_now(options, Path(folder))
            if options.report is None
            else _stored(options, Path(folder))
        )
    if options.html is not None:
        write_file(options.html, selftest_page(view).encode())
    if options.json:
        print(view.to_bytes().decode(), end="")  # noqa: T201
    else:
        print(selftest_text(view, colours=_wants_colours()))  # noqa: T201
    return view.exit_code


def _scratch() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="primum-self-test-")
    except OSError as error:
        raise storage_error(error, Path(tempfile.gettempdir())) from error


def _run_now(options: argparse.Namespace, folder: Path) -> SelfTestView:
    release = find_release(options, into=folder)
    manifest = release.manifest
    previous = options.active or (manifest.previous.sha256 if manifest.previous else None)
    baselines = Baselines(
        active=previous, original=manifest.original.sha256 if manifest.original else None
    )
    bench = ListeningBench(
        ConfinedBench(
            required=ALWAYS_POSSIBLE | frozenset(map(Confinement, options.require)),
            command=options.bench or REFERENCE_COMMAND,
        ),
        sys.stderr,
        baselines,
    )
    specification = release.files[release.specification.id]
    result = self_test(
        model=release.files[release.model.id],
        spec=read_input(specification, "self-test specification", release.specification.length),
        fixtures=release.files[release.fixtures.id],
        scratch=folder,
        bench=bench,
        baselines=baselines,
        hardware=options.hardware or manifest.compatibility.hardware[0],
    )
    # What was run is what was checked, even where somebody changed a folder in between.
    release.require_subject(result.report)
    return SelfTestView(
        outcome=result.overall,
        reason=result.reason,
        release=manifest.name,
        checked=release.checked,
        report=result.report,
        observed=bench.observed,
    )


def _stored(options: argparse.Namespace, folder: Path) -> SelfTestView:
    data = read_input(options.report, "self-test report", MAX_VIEW_BYTES)
    where = str(options.report)
    content = read_json(data, where=where, max_bytes=MAX_VIEW_BYTES)
    observed, stated = None, ""
    signed = Checked(
        what="report",
        standing=Standing.NOT_VERIFIED,
        found="read from a file; who made it was not verified",
        sha256=sha256_hex(data),
    )
    if isinstance(content, dict) and "payload" in content:
        statement, signed = _signed(data, options.device_key, where=where)
        report, stated = statement.predicate.report, statement.release
    elif isinstance(content, dict) and "report" in content:
        view = parse_document(SelfTestView, data, where=where, max_bytes=MAX_VIEW_BYTES)
        report, observed = view.report, view.observed
    else:
        report = parse_document(SelfTestReport, data, where=where)
    if options.release is None:
        return _shown(report, checked=(signed,), observed=observed)
    release = find_release(options, into=folder)
    release.require_subject(report)
    if stated:
        release.require_release(stated)
    about = Checked(
        what="subject",
        standing=Standing.VERIFIED,
        found="the report names model, test specification and fixtures of this release",
    )
    return _shown(
        report,
        checked=(signed, about, *release.checked),
        observed=observed,
        release=release.manifest.name,
    )


def _signed(data: bytes, key: Path | None, *, where: str) -> tuple[SelfTestStatement, Checked]:
    """A signed statement, with what is verified of it."""
    if key is None:
        raise UsageError(
            "The report is signed, and no key to check it with is named.",
            reason=Reason.USAGE,
            where=where,
            expected="--device-key FILE: an enrolment, a signed context or a public key",
        )
    public = read_device_key(key)
    statement = open_statement(data, keys=(public,), where=where)
    said = statement.predicate
    when = "at a time that its clock did not know"
    if said.tested_at is not None:
        when = f"at {said.tested_at:%Y-%m-%dT%H:%M:%SZ} by its clock"
    if said.occasion is not None:
        when += f" ({said.occasion})"
    return statement, Checked(
        what="report",
        standing=Standing.VERIFIED,
        found=f"signed by the key {public.key_id[:16]}: {said.tester} tested "
        f"{statement.subject[0].name} {when}",
        sha256=sha256_hex(data),
    )


def _shown(
    report: SelfTestReport,
    *,
    checked: tuple[Checked, ...],
    observed: Observed | None,
    release: str = "",
) -> SelfTestView:
    return SelfTestView(
        outcome=report.overall,
        reason=report.reason,
        release=release,
        checked=checked,
        report=report,
        observed=observed,
    )


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256 in lower-case hexadecimal")
    return text


def _command(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no command line: {error}") from error
    if not words or not words[0]:
        raise argparse.ArgumentTypeError("a bench needs a name")
    return words


def _wants_colours() -> bool:
    """Only where a person looks, and did not say otherwise."""
    asked_for_none = bool(os.environ.get(NO_COLOUR)) or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not asked_for_none
