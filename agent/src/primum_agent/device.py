"""Everything that an attempt knows of its device, read once and checked against the trust map.

Here the parts are put together: behind each port stands the real thing, or what a caller brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from primum_agent.clock import Clock
from primum_agent.content_store import FolderStore
from primum_agent.contexts import context_path
from primum_agent.desk import AskSupervisor, ask
from primum_agent.installer import Installer, SetInstaller
from primum_agent.installers import component_installers
from primum_agent.journal import Journal
from primum_agent.journal_port import JournalPort
from primum_agent.key_trouble import problem_of
from primum_agent.layout import Layout
from primum_agent.mirrors import FileServers, Servers, addresses_of
from primum_agent.pauses import Pauses
from primum_agent.sensors import Sensors
from primum_agent.settings import Settings
from primum_agent.signer import Signer, open_or_recorded
from primum_agent.system_facts import operating_system
from primum_agent.trust_in_force import (
    read_provisioned,
    read_root,
    read_trust_map,
)
from primum_agent.trust_journal import JournalTrustStore, proofs_of
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import PrimumError, RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.authorities import Authorities
from primum_verifier.shell.bench import REFERENCE_COMMAND, Bench, ConfinedBench
from primum_verifier.shell.fetching import Body, FolderFetcher, RangeFetcher
from primum_verifier.shell.http_fetching import HttpFetcher, Patience, Wire


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What a device does its work through, besides its clock and its journal.

    Attributes:
        fetcher: where documents and files come from.
        store: where files and generations lie.
        installer: how a generation is laid out and becomes the active one.
        bench: what runs a model to prove it.
        signer: the device's key.
        sensors: opens what the device feels of itself; only where a gate looks at it.
        ask: asks the supervisor what the application declared.
        operating_system: what the device runs, empty where nobody can say.
        pauses: how an attempt waits.
    """

    fetcher: RangeFetcher
    store: FolderStore
    installer: Installer
    bench: Bench
    signer: Signer
    sensors: Callable[[], Sensors]
    ask: AskSupervisor
    operating_system: str
    pauses: Pauses = field(default_factory=Pauses)


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device in the hands of one attempt.

    Attributes:
        attempt: the id that runs through this attempt's events.
        trust_map: what the device was provisioned with.
        context: the exact bytes of the signed device context.
        device_key: the public text of the key that the device holds.
        key_id: its key id, by which enrolment and history name it.
        operating_system: what the device runs, empty where nobody can say.
        sensors: opens what the device feels of itself.
        ask: asks the supervisor what the application declared.
        pauses: how an attempt waits.
        signer: the device's key, or its recorded public half where it cannot be used.
        key_problem: why the key cannot be used, None when it can; nothing new is begun then.
        site_problem: why the organisation on the trust map cannot be asked, None when it can; a
            verdict then counts it as silent.
        proofs: the versions signed with two contents, as kept for an authority, by name.
        from_medium: whether copies on a medium are read: that reaches no authority.
    """

    settings: Settings
    layout: Layout
    clock: Clock
    journal: JournalPort
    store: FolderStore
    installer: Installer
    bench: Bench
    signer: Signer
    authorities: Authorities
    fetcher: RangeFetcher
    mirrors: FileServers
    trust_map: TrustMap
    context: bytes
    device_key: str
    key_id: str
    attempt: str
    operating_system: str
    sensors: Callable[[], Sensors]
    ask: AskSupervisor
    pauses: Pauses
    key_problem: PrimumError | None
    site_problem: PrimumError | None
    proofs: Callable[[str], Mapping[str, bytes]]
    from_medium: bool = False


@dataclass(frozen=True)
class SchemeFetcher:
    """Plain folders under ``file:``, everything else over http(s): a site may be served otherwise.

    Attributes:
        folders: for the ``file:`` addresses below each base; a link that leads out is refused.
        network: for all others; it refuses the schemes that are not allowed.
    """

    folders: Mapping[str, RangeFetcher]
    network: RangeFetcher

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`~primum_verifier.shell.fetching.Fetcher`."""
        return self._for(url).fetch(url, max_bytes=max_bytes, offset=offset)

    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> AbstractContextManager[Body]:
        """See :class:`~primum_verifier.shell.fetching.RangeFetcher`."""
        asked = self._for(url)
        return asked.open(url, max_bytes=max_bytes, offset=offset, validator=validator)

    def _for(self, url: str) -> RangeFetcher:
        known = (folder for base, folder in self.folders.items() if url.startswith(base))
        return next(known, self.network)


def make_fetcher(settings: Settings, layout: Layout) -> RangeFetcher:
    """The fetcher that the settings ask for: http(s), and plain folders where they name one."""
    network = HttpFetcher(
        _wire(settings, layout),
        patience=Patience(least_rate=settings.network.least_bytes_per_second),
    )
    addresses = [
        url
        for item in settings.repositories.all.values()
        for address in addresses_of(item)
        for url in (address.metadata_url, address.targets_url, address.artifacts_url)
    ]
    folders = {url: _folder(url) for url in addresses if url.startswith("file:")}
    return SchemeFetcher(folders=folders, network=network) if folders else network


def _wire(settings: Settings, layout: Layout) -> Wire:
    """What is allowed on the wire; a client certificate that is not there yet is not shown."""
    network = settings.network
    shown = network.client_certificate and layout.client.is_file()
    return Wire(
        allow_http=settings.transport.allow_http,
        ca_file=settings.network_ca,
        client_file=layout.client if shown else None,
        proxy=network.proxy,
        direct=frozenset(network.direct),
    )


def _folder(url: str) -> FolderFetcher:
    return FolderFetcher(Path(unquote(parts_of(url).path)))


def real_ports(settings: Settings, layout: Layout) -> Ports:
    """The ports of a device in use.

    Raises:
        UsageError: the device is not enrolled.
        FailedError: the key cannot be used, and there is no record of its public half.
    """
    store = FolderStore(layout, max_bytes=settings.store.max_bytes)
    components = component_installers(settings.components, layout=layout, store=store)
    return Ports(
        fetcher=make_fetcher(settings, layout),
        store=store,
        installer=SetInstaller(store, components),
        bench=ConfinedBench(
            required=settings.bench.required,
            command=settings.bench.command or REFERENCE_COMMAND,
        ),
        signer=open_or_recorded(layout),
        sensors=partial(_system_sensors, settings, layout),
        ask=partial(ask, layout.socket),
        operating_system=operating_system(),
    )


def _system_sensors(settings: Settings, layout: Layout) -> Sensors:
    # psutil is loaded where it is needed.
    from primum_agent.system_sensors import SystemSensors, sources_of  # noqa: PLC0415

    return SystemSensors(layout.root, sources_of(settings))


def open_device(
    *,
    settings: Settings,
    layout: Layout,
    clock: Clock,
    journal: Journal,
    attempt: str,
    ports: Ports | None = None,
    from_medium: bool = False,
) -> Device:
    """Read trust map, roots, context and key.

    Args:
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        journal: the open journal; the trusted views lie in its database.
        attempt: the id of this attempt.
        ports: what to put the device together from, instead of the real ones.
        from_medium: whether the settings name copies on a medium.

    Raises:
        UsageError: the device is not provisioned or not enrolled, or for another component.
        RefusedError: a root is not the one that the trust map pins.
        FailedError: the key cannot be used.
    """
    trust_map = read_trust_map(settings)
    roots, site_problem = _roots(settings, trust_map)
    ports = ports or real_ports(settings, layout)
    servers = Servers(settings, journal=journal, clock=clock, attempt=attempt)
    context = read_provisioned(context_path(settings, ports.signer.public_key().key_id))
    return Device(
        settings=settings,
        layout=layout,
        clock=clock,
        journal=journal,
        store=ports.store,
        installer=ports.installer,
        bench=ports.bench,
        signer=ports.signer,
        fetcher=ports.fetcher,
        mirrors=servers.of_files(),
        authorities=Authorities(
            trust_map=trust_map
            if SITE in roots
            else trust_map.model_copy(update={"site_root": None}),
            roots=roots,
            ways=servers,
            fetcher=ports.fetcher,
            stores={name: JournalTrustStore(journal, name) for name in roots},
            # Not the system's temporary folder: on a device that is often a small RAM disk.
            scratch=layout.scratch if layout.scratch.is_dir() else None,
        ),
        trust_map=trust_map,
        context=context,
        device_key=ports.signer.public_key().public,
        key_id=ports.signer.public_key().key_id,
        attempt=attempt,
        operating_system=ports.operating_system,
        sensors=ports.sensors,
        ask=ports.ask,
        pauses=ports.pauses,
        key_problem=problem_of(ports.signer),
        site_problem=site_problem,
        proofs=lambda name: proofs_of(journal, name),
        from_medium=from_medium,
    )


def _roots(settings: Settings, trust_map: TrustMap) -> tuple[dict[str, bytes], PrimumError | None]:
    """The pinned root files by authority, and why the site's is not among them."""
    roots = {
        ENGINEERING: read_root(settings, ENGINEERING, digest=trust_map.engineering_root.sha256),
        CLINICAL: read_root(settings, CLINICAL, digest=trust_map.clinical_root.sha256),
    }
    if trust_map.site_root is None:
        return roots, None
    try:
        roots[SITE] = _site_root(settings, trust_map.site_root.sha256)
    except PrimumError as error:
        # A site only narrows: its silence, whatever the cause, stops new activations and no more.
        return roots, error
    return roots, None


def _site_root(settings: Settings, digest: str) -> bytes:
    if settings.repositories.site is None:
        raise UsageError(
            "The trust map names a responsible organisation, the settings no address for it.",
            reason=Reason.USAGE,
            where="agent.toml: repositories.site",
            remedy="Add [repositories.site] to agent.toml; until then nothing new is activated.",
        )
    data = read_root(settings, SITE, digest=digest)
    if sha256_hex(data) != digest:
        raise RefusedError(
            "The root of the responsible organisation is not the one that the trust map pins.",
            reason=Reason.TRUST_SIGNATURE,
            where=str(settings.root_of(SITE)),
            found=sha256_hex(data),
            expected=digest,
            remedy="Put the organisation's root there; until then nothing new is activated.",
        )
    return data
