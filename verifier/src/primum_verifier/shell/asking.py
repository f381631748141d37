"""The device's own question, put together from files: what a command says of the device is a fact.

A person cannot measure the device from here, so hardware and key are those of its signed context.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from primum_verifier.core.component import InstallerKind
from primum_verifier.core.device import DeviceContext
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.manifest import ReleaseManifest, manifest_target, precedence
from primum_verifier.core.question import ArtifactsFact, ClinicalUse, Question, SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import ENGINEERING, proven_time
from primum_verifier.core.vocabulary import Phase
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.web_roots import CONTEXT_FILE, WebRoots
from primum_verifier.shell.web_roots import add_arguments as add_web_roots


@dataclass(frozen=True)
class Asked:
    """A question, and what it was made from.

    Attributes:
        question: for the core.
        target: the name of the manifest in engineering's repository.
        manifest: the manifest's exact bytes.
    """

    question: Question
    target: str
    manifest: bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which release, which device and which moment; the facts have defaults."""
    parser.add_argument("component")
    parser.add_argument("version")
    add_web_roots(parser, required=True)
    parser.add_argument(
        "--context", type=Path, metavar="FILE", help="another device's signed context"
    )
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="judge as at this time")
    facts = parser.add_argument_group("facts that the device would find")
    facts.add_argument(
        "--agent-version",
        type=_version,
        default=version("primum-verifier"),
        metavar="VERSION",
        help="the agent on the device",
    )
    facts.add_argument(
        "--counter-floor", type=int, default=0, metavar="N", help="the lowest release counter"
    )
    facts.add_argument(
        "--fetched-at",
        type=moment,
        metavar="RFC3339",
        help="when the device fetched last, and has run since; at the time of --at when left out",
    )
    facts.add_argument(
        "--installed",
        type=_installed,
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="another component on the device; repeat it",
    )
    facts.add_argument(
        "--installer",
        type=_installer,
        action="append",
        default=[],
        metavar="COMPONENT=KIND",
        help="what the device brings a component of a set into effect with; repeat it",
    )
    facts.add_argument("--operating-system", default="", metavar="NAME")
    facts.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="CODE",
        help="a condition that the device finds to hold; repeat it",
    )
    facts.add_argument(
        "--asks-per-episode", action="store_true", help="the application asks at each episode"
    )
    facts.add_argument("--operator-agreed", action="store_true", help="a person agreed")
    facts.add_argument(
        "--self-test", type=SelfTestFact, choices=list(SelfTestFact), default=SelfTestFact.NOT_RUN
    )
    facts.add_argument("--in-use", action="store_true", help="a patient is being served")


def ask(options: argparse.Namespace, *, phase: Phase) -> Asked:
    """Read every view with public keys alone, and put the question.

    Raises:
        UsageError: a file cannot be read.
        RefusedError: a view is not to be trusted, or engineering signs no such release.
        FailedError: a web root cannot be reached.
    """
    now = options.at or datetime.now(UTC)
    fetched = options.fetched_at or now
    path: Path = options.context or options.provisioning / CONTEXT_FILE
    envelope = read_input(path, "device context", 2 * MAX_DOCUMENT_BYTES)
    opened = open_envelope(envelope, payload_type=CONTEXT_PAYLOAD_TYPE, keys=(), where=str(path))
    context = parse_document(DeviceContext, opened.payload, where=str(path))
    authorities = WebRoots(options)
    wanted = (options.component, options.version)
    views = authorities.refresh(now=fetched, device_id=context.factory.device_id, held=[wanted])
    target = manifest_target(*wanted)
    manifest = views.engineering.documents.get(target)
    if manifest is None:
        raise RefusedError(
            "Engineering signs no such release.",
            reason=Reason.TRUST_NOT_FOUND,
            where=" ".join(wanted),
            remedy="Check component and version, and that the release was published.",
        )
    question = Question(
        phase=phase,
        release=sha256_hex(manifest.data),
        trust_map=authorities.trust_map,
        engineering=views.engineering,
        clinical=views.clinical,
        site=views.site,
        device_context=envelope,
        agent_version=options.agent_version,
        hardware_id=context.factory.hardware_id,
        device_key=context.factory.public_key.public,
        clock=now,
        proven=proven_time(
            views.engineering,
            views.clinical,
            powered_seconds=(now - fetched).total_seconds(),
        ),
        counter_floor=options.counter_floor,
        artifacts=_artifacts(manifest.data, authorities),
        self_test=options.self_test,
        clinical_use=ClinicalUse.IN_USE if options.in_use else ClinicalUse.IDLE,
        installed=dict(options.installed),
        installers=dict(options.installer),
        operating_system=options.operating_system,
        conditions_met=frozenset(options.condition),
        asks_per_episode=options.asks_per_episode,
        operator_agreed=options.operator_agreed,
    )
    return Asked(question, target, manifest.data)


def _version(text: str) -> str:
    try:
        precedence(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no version such as 1.2.3") from error
    return text


def _installed(text: str) -> tuple[str, str]:
    name, equals, found = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VERSION")
    return name, _version(found)


def _installer(text: str) -> tuple[str, str]:
    name, equals, kind = text.partition("=")
    if not name or not equals or kind not in set(InstallerKind):
        raise argparse.ArgumentTypeError(f"{text!r} is not COMPONENT={'|'.join(InstallerKind)}")
    return name, kind


def _artifacts(manifest_data: bytes, authorities: WebRoots) -> ArtifactsFact:
    """Whether every file of the release is at its place with its signed length and digest."""
    manifest = parse_document(ReleaseManifest, manifest_data, where="release manifest")
    for item in manifest.items:
        url = authorities.addresses[ENGINEERING].artifacts_url + item.digest.sha256
        hasher, received = hashlib.sha256(), 0
        try:
            for piece in authorities.fetcher.fetch(url, max_bytes=item.length):
                hasher.update(piece)
                received += len(piece)
        except PrimumError as error:
            if error.reason == Reason.TRUST_LIMIT:
                return ArtifactsFact.DAMAGED
            raise
        if received != item.length or hasher.hexdigest() != item.digest.sha256:
            return ArtifactsFact.DAMAGED
    return ArtifactsFact.WHOLE
