"""Everything that an attempt knows of its device, read once and checked against the trust map.

Here the parts are put together: behind each port stands the real thing, or what a caller brings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from primum_agent.clock import Clock
from primum_agent.content_store import FolderStore
from primum_agent.installer import Installer, ModelInstaller
from primum_agent.journal import Journal
from primum_agent.journal_port import JournalPort
from primum_agent.layout import Layout
from primum_agent.settings import Repository, Settings
from primum_agent.signer import Signer, open_device_key
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING
from primum_verifier.shell.authorities import Authorities, AuthorityAddress
from primum_verifier.shell.bench import REFERENCE_BENCH, Bench
from primum_verifier.shell.fetching import Fetcher, FolderFetcher, HttpFetcher


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What a device does its work through, besides its clock and its journal.

    Attributes:
        fetcher: where documents and files come from.
        store: where files and generations lie.
        installer: how a generation is laid out and becomes the active one.
        bench: what runs a model to prove it.
        signer: the device's key.
    """

    fetcher: Fetcher
    store: FolderStore
    installer: Installer
    bench: Bench
    signer: Signer


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device in the hands of one attempt.

    Attributes:
        attempt: the id that runs through this attempt's events.
        trust_map: what the device was provisioned with.
        context: the exact bytes of the signed device context.
        device_key: the public text of the key that the device holds.
        key_id: its key id, by which enrolment and history name it.
    """

    settings: Settings
    layout: Layout
    clock: Clock
    journal: JournalPort
    store: FolderStore
    installer: Installer
    bench: Bench
    authorities: Authorities
    fetcher: Fetcher
    trust_map: TrustMap
    context: bytes
    device_key: str
    key_id: str
    attempt: str


def read_provisioned(path: Path) -> bytes:
    """One file of the provisioning folder.

    Raises:
        UsageError: it is missing, unreadable or too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise UsageError(
            "The device is not provisioned.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.strerror or str(error),
            remedy="Make the provisioning folder with `primum-repo device`, copy all of it.",
        ) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UsageError(
            "A provisioned file is too large.",
            reason=Reason.USAGE,
            where=str(path),
            expected=f"at most {MAX_DOCUMENT_BYTES} bytes",
        )
    return data


def make_fetcher(settings: Settings) -> Fetcher:
    """The fetcher that the settings ask for: http(s), or plain folders under ``file:``."""
    addresses = [settings.repositories.engineering, settings.repositories.clinical]
    if all(item.metadata_url.startswith("file:") for item in addresses):
        return FolderFetcher(Path("/"))
    return HttpFetcher(allow_http=frozenset({"http"} if settings.transport.allow_http else ()))


def real_ports(settings: Settings, layout: Layout) -> Ports:
    """The ports of a device in use.

    Raises:
        UsageError: the device is not enrolled.
        FailedError: the key cannot be used.
    """
    store = FolderStore(layout)
    return Ports(
        fetcher=make_fetcher(settings),
        store=store,
        installer=ModelInstaller(store),
        bench=REFERENCE_BENCH,
        signer=open_device_key(layout),
    )


def _address(repository: Repository) -> AuthorityAddress:
    return AuthorityAddress(
        metadata_url=repository.metadata_url,
        targets_url=repository.targets_url,
        artifacts_url=repository.artifacts_url,
    )


def open_device(
    *,
    settings: Settings,
    layout: Layout,
    clock: Clock,
    journal: Journal,
    attempt: str,
    ports: Ports | None = None,
) -> Device:
    """Read trust map, roots, context and key.

    Args:
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        journal: the open journal; the trusted views lie in its database.
        attempt: the id of this attempt.
        ports: what to put the device together from, instead of the real ones.

    Raises:
        UsageError: the device is not provisioned or not enrolled, or for another component.
        RefusedError: a root is not the one that the trust map pins.
        FailedError: the key cannot be used.
    """
    trust_map = parse_document(
        TrustMap, read_provisioned(settings.trust_map), where=str(settings.trust_map)
    )
    if trust_map.component != settings.component:
        raise UsageError(
            "The settings are for another component than the trust map.",
            reason=Reason.USAGE,
            where=str(settings.folder / "agent.toml"),
            found=settings.component,
            expected=trust_map.component,
        )
    names = (ENGINEERING, CLINICAL)
    roots = {name: read_provisioned(settings.root_of(name)) for name in names}
    context = read_provisioned(settings.context)
    ports = ports or real_ports(settings, layout)
    return Device(
        settings=settings,
        layout=layout,
        clock=clock,
        journal=journal,
        store=ports.store,
        installer=ports.installer,
        bench=ports.bench,
        fetcher=ports.fetcher,
        authorities=Authorities(
            trust_map=trust_map,
            roots=roots,
            addresses={
                ENGINEERING: _address(settings.repositories.engineering),
                CLINICAL: _address(settings.repositories.clinical),
            },
            fetcher=ports.fetcher,
            stores={name: JournalTrustStore(journal, name) for name in names},
            # Not the system's temporary folder: on a device that is often a small RAM disk.
            scratch=layout.scratch if layout.scratch.is_dir() else None,
        ),
        trust_map=trust_map,
        context=context,
        device_key=ports.signer.public_key().public,
        key_id=ports.signer.public_key().key_id,
        attempt=attempt,
    )
