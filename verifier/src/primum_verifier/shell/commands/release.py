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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from primum_verifier.core.device import DeviceContext, TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_REFUSED,
    FailedError,
    PrimumError,
    RefusedError,
)
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES, MAX_ROOT_BYTES
from primum_verifier.core.manifest import ReleaseManifest, manifest_target
from primum_verifier.core.question import ArtifactsFact, Question
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import CLINICAL, ENGINEERING, proven_time
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.authorities import Authorities, AuthorityAddress
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.fetching import Fetcher, FolderFetcher, HttpFetcher
from primum_verifier.shell.table import verdict_table
from primum_verifier.shell.trust_store import MemoryTrustStore

TRUST_MAP_FILE = "trust-map.json"
CONTEXT_FILE = "device-context.dsse.json"
ROOT_FILES = {ENGINEERING: "engineering.root.json", CLINICAL: "clinical.root.json"}

_AGENT_VERSION = "0.1.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("component")
    parser.add_argument("version")
    parser.add_argument("--provisioning", type=Path, required=True, metavar="DIR")
    parser.add_argument("--engineering", required=True, metavar="WEBROOT")
    parser.add_argument("--clinical", required=True, metavar="WEBROOT")
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="judge as at this time")
    parser.add_argument("--allow-http", action="store_true", help="allow plain http")
    parser.add_argument(
        "--agent-version", default=_AGENT_VERSION, help="judge for a device with this agent"
    )


@dataclass(frozen=True)
class _Routes:
    """Sends each address to the fetcher for its scheme."""

    folders: tuple[FolderFetcher, ...]
    roots: tuple[str, ...]
    http: HttpFetcher

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`Fetcher`."""
        for root, folder in zip(self.roots, self.folders, strict=True):
            if url.startswith(root):
                return folder.fetch(url, max_bytes=max_bytes, offset=offset)
        return self.http.fetch(url, max_bytes=max_bytes, offset=offset)


def run(options: argparse.Namespace) -> int:
    """Refresh both views in memory, judge, and tell every rule."""
    now = options.at or datetime.now(UTC)
    folder: Path = options.provisioning
    trust_map = parse_document(
        TrustMap,
        read_input(folder / TRUST_MAP_FILE, "trust map", MAX_DOCUMENT_BYTES),
        where=TRUST_MAP_FILE,
    )
    envelope = read_input(folder / CONTEXT_FILE, "device context", 2 * MAX_DOCUMENT_BYTES)
    opened = open_envelope(envelope, payload_type=CONTEXT_PAYLOAD_TYPE, keys=(), where=CONTEXT_FILE)
    context = parse_document(DeviceContext, opened.payload, where=CONTEXT_FILE)
    addresses, fetcher = _routes(options)
    authorities = Authorities(
        trust_map=trust_map,
        roots={
            name: read_input(folder / file, f"{name} root", MAX_ROOT_BYTES)
            for name, file in ROOT_FILES.items()
        },
        addresses=addresses,
        fetcher=fetcher,
        stores={name: MemoryTrustStore() for name in ROOT_FILES},
    )
    wanted = (options.component, options.version)
    refreshed = authorities.refresh(now=now, device_id=context.factory.device_id, held=[wanted])
    for problem in refreshed.problems.values():
        raise problem
    if refreshed.engineering is None or refreshed.clinical is None:
        raise FailedError("An authority could not be read.", reason=Reason.TRUST_METADATA)
    manifest = refreshed.engineering.documents.get(manifest_target(*wanted))
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
            trust_map=trust_map,
            engineering=refreshed.engineering,
            clinical=refreshed.clinical,
            device_context=envelope,
            agent_version=options.agent_version,
            hardware_id=context.factory.hardware_id,
            device_key=context.factory.public_key.public,
            clock=now,
            proven=proven_time(refreshed.engineering, refreshed.clinical, powered_seconds=0),
            artifacts=_artifacts(manifest.data, addresses, fetcher),
        )
    )
    if options.json:
        print(json.dumps(verdict.as_dict()))  # noqa: T201
    else:
        print(verdict_table(verdict))  # noqa: T201
    return EXIT_DONE if verdict.capability >= Capability.SELF_TEST else EXIT_REFUSED


def _routes(options: argparse.Namespace) -> tuple[dict[str, AuthorityAddress], Fetcher]:
    addresses, folders, roots = {}, [], []
    for name in ROOT_FILES:
        base: str = getattr(options, name)
        if urlsplit(base).scheme not in {"http", "https"}:
            path = Path(base)
            base = path.resolve().as_uri()
            folders.append(FolderFetcher(path))
            roots.append(f"{base}/")
        base = base.rstrip("/")
        addresses[name] = AuthorityAddress(
            f"{base}/metadata/", f"{base}/targets/", f"{base}/artifacts/"
        )
    http = HttpFetcher(allow_http=frozenset({"http"}) if options.allow_http else None)
    return addresses, _Routes(tuple(folders), tuple(roots), http)


def _artifacts(
    manifest_data: bytes,
    addresses: dict[str, AuthorityAddress],
    fetcher: Fetcher,
) -> ArtifactsFact:
    """Whether every file of the release is at its place with its signed length and digest."""
    manifest = parse_document(ReleaseManifest, manifest_data, where="release manifest")
    for item in manifest.items:
        url = addresses[ENGINEERING].artifacts_url + item.digest.sha256
        hasher, received = hashlib.sha256(), 0
        try:
            for piece in fetcher.fetch(url, max_bytes=item.length):
                hasher.update(piece)
                received += len(piece)
        except PrimumError as error:
            if error.reason == Reason.TRUST_LIMIT:
                return ArtifactsFact.DAMAGED
            raise
        if received != item.length or hasher.hexdigest() != item.digest.sha256:
            return ArtifactsFact.DAMAGED
    return ArtifactsFact.WHOLE
