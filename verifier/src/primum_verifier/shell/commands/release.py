r"""Judge one release for one device, offline, rule by rule.

The provisioning folder names the device and pins both roots; --engineering and --clinical are
the web roots of the two authorities, as folders or addresses. Nothing is activated and nothing
is kept: the verdict is the same call that the device makes.

Exit codes: 0 deployable and eligible here (the device must still prove it), 1 refused (with the
primary reason code), 2 usage, 3 failed.

Example:
  primum-verify release pvc-classifier 1.1.0 --provisioning provisioning \
      --engineering engineering/web --clinical clinical/web
"""

from __future__ import annotations

import argparse
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from primum_verifier.core.device import DeviceContext
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_REFUSED,
    PrimumError,
    RefusedError,
)
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.manifest import ReleaseManifest, manifest_target
from primum_verifier.core.question import ArtifactsFact, Question
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import ENGINEERING, proven_time
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.table import verdict_table
from primum_verifier.shell.web_roots import CONTEXT_FILE, WebRoots
from primum_verifier.shell.web_roots import add_arguments as add_web_roots

_AGENT_VERSION = "0.1.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("component")
    parser.add_argument("version")
    add_web_roots(parser, required=True)
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="judge as at this time")
    parser.add_argument(
        "--agent-version", default=_AGENT_VERSION, help="judge for a device with this agent"
    )


def run(options: argparse.Namespace) -> int:
    """Refresh both views in memory, judge, and tell every rule."""
    now = options.at or datetime.now(UTC)
    folder: Path = options.provisioning
    envelope = read_input(folder / CONTEXT_FILE, "device context", 2 * MAX_DOCUMENT_BYTES)
    opened = open_envelope(envelope, payload_type=CONTEXT_PAYLOAD_TYPE, keys=(), where=CONTEXT_FILE)
    context = parse_document(DeviceContext, opened.payload, where=CONTEXT_FILE)
    authorities = WebRoots(options)
    wanted = (options.component, options.version)
    views = authorities.refresh(now=now, device_id=context.factory.device_id, held=[wanted])
    manifest = views.engineering.documents.get(manifest_target(*wanted))
    if manifest is None:
        raise RefusedError(
            "Engineering signs no such release.",
            reason=Reason.TRUST_NOT_FOUND,
            where=" ".join(wanted),
            remedy="Check component and version, and that the release was published.",
        )
    verdict = judge(
        Question(
            phase=Phase.INSTALL,
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
            proven=proven_time(views.engineering, views.clinical, powered_seconds=0),
            artifacts=_artifacts(manifest.data, authorities),
        )
    )
    if options.json:
        print(json.dumps(verdict.as_dict()))  # noqa: T201
    else:
        print(verdict_table(verdict))  # noqa: T201
    return EXIT_DONE if verdict.capability >= Capability.SELF_TEST else EXIT_REFUSED


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
