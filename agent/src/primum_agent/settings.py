"""The settings of one device, read once from ``agent.toml`` into frozen values.

A member that is not known is refused: a mistyped limit must not silently be no limit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from primum_agent.bench_settings import BenchSettings, bench_faults
from primum_agent.component_settings import ComponentSettings, component_faults
from primum_agent.delta_settings import DeltaSettings, delta_faults
from primum_agent.gate_settings import GateSettings, WindowGate, gate_faults
from primum_agent.gate_window import MAX_SPANS, parse_span
from primum_agent.journal_bounds import MIB, JournalBounds
from primum_agent.key_address import parse_pattern
from primum_agent.network_settings import MOST_MIRRORS, NetworkSettings, network_faults
from primum_agent.self_test_settings import SelfTestSettings, self_test_faults
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_NAME
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.broker_address import BrokerAddress, parse_broker
from primum_verifier.shell.broker_proxy import ProxyAddress, parse_proxy

SCHEMA_VERSION = "0.1"
MAX_SETTINGS_BYTES = 65_536
"""Larger is no settings file."""

MAX_TEXTS = 1000
"""Entries in one list or table."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_VERSION = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
)
_SERVICE = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,240}\.service")
_DAY = 86_400
_ADDRESSES = "agent.toml: broker.addresses"
_PROXY = "agent.toml: broker.proxy"
_MAX_BROKERS = 8


@dataclass(frozen=True)
class Repository:
    """Where one authority's repository is served; addresses end in a slash.

    Attributes:
        mirrors: web roots that hold copies of it, asked before its own addresses in this order;
            each with ``metadata/``, ``targets/`` and, for engineering, ``artifacts/`` below it.
    """

    metadata_url: str
    targets_url: str
    artifacts_url: str = ""
    mirrors: tuple[str, ...] = ()

    @property
    def everywhere(self) -> tuple[Repository, ...]:
        """Each place that it is served at, in the order of the settings; its own is the last."""
        copies = (
            Repository(f"{root}metadata/", f"{root}targets/", f"{root}artifacts/")
            for root in self.mirrors
        )
        own = Repository(self.metadata_url, self.targets_url, self.artifacts_url)
        return (*copies, own)


@dataclass(frozen=True)
class Repositories:
    """The two authorities, and the responsible organisation's where the trust map names one."""

    engineering: Repository
    clinical: Repository
    site: Repository | None = None

    @property
    def all(self) -> dict[str, Repository]:
        """Those that are set, by authority."""
        found = {"engineering": self.engineering, "clinical": self.clinical, "site": self.site}
        return {name: item for name, item in found.items() if item is not None}


@dataclass(frozen=True)
class Transport:
    """What is allowed on the wire."""

    allow_http: bool = False


@dataclass(frozen=True)
class BrokerSettings:
    """The MQTT 5 brokers that take the reports, and the fleet whose topics they go to.

    Attributes:
        fleet: part of every topic.
        addresses: ``mqtts://HOST[:PORT]``, tried in this order.
        ca_file: certificates of whom to believe about the brokers, PEM, in the provisioning
            folder; without one, those that the system believes.
        proxy: the way to brokers over TLS, ``http://HOST:PORT`` or ``socks5://HOST:PORT``; empty
            for straight.
    """

    fleet: str
    addresses: tuple[str, ...]
    ca_file: str = ""
    proxy: str = ""

    @property
    def parsed(self) -> tuple[BrokerAddress, ...]:
        """The addresses, taken apart."""
        return tuple(parse_broker(item, where=_ADDRESSES) for item in self.addresses)

    @property
    def through(self) -> ProxyAddress | None:
        """The proxy, taken apart."""
        return parse_proxy(self.proxy, where=_PROXY) if self.proxy else None


@dataclass(frozen=True)
class Application:
    """What the maker of the application promises of it.

    Attributes:
        asks_per_episode: it calls ``may_use`` with what it knows before each episode, and keeps
            to the answer.
    """

    asks_per_episode: bool = False


@dataclass(frozen=True)
class Platform:
    """What the maker of the device promises of it, besides what is measured or signed.

    Attributes:
        conditions_met: the codes of the conditions that hold on every device of this make.
    """

    conditions_met: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyPlace:
    """Where the device's key has to lie.

    Attributes:
        address: what its ``pkcs11:`` address must be like; empty where a key file is right too.
    """

    address: str = ""


@dataclass(frozen=True)
class Health:
    """How a provisional release proves that it works, besides the word of the application.

    Attributes:
        probe: a command whose exit code 0 says that it works; empty for none.
        probe_seconds: between two of them, or between two looks at the unit.
        unit: a service whose watchdog vouches for it; empty for none.
        unit_seconds: that the service has to hold at least, beside two periods of its watchdog.
        repositories_reached: health is proven only once both authorities were read with it.
    """

    probe: tuple[str, ...] = ()
    probe_seconds: float = 5.0
    unit: str = ""
    unit_seconds: float = 0.0
    repositories_reached: bool = False


@dataclass(frozen=True)
class Store:
    """How much of the disk releases may use.

    Attributes:
        max_bytes: of files and generations; 0 for as much as the disk holds.
    """

    max_bytes: int = 0


@dataclass(frozen=True)
class Timing:
    """Periods in seconds; jitter as a share of the period.

    Attributes:
        refresh_seconds: the longest between two whole refreshes; polls between them may be no more
            than a question whether anything is new.
    """

    poll_seconds: float = 3600.0
    poll_jitter: float = 0.2
    health_seconds: float = 900.0
    attempt_seconds: float = 3600.0
    rehash_seconds: float = 86_400.0
    refresh_seconds: float = 21_600.0


@dataclass(frozen=True)
class Reports:
    """What a site lets leave the device.

    Attributes:
        breakdowns: whether counts are told by group; at a site of few patients a group is a person.
    """

    breakdowns: bool = True


@dataclass(frozen=True)
class Settings:
    """Everything a device is told from outside, apart from its trust map and context.

    Attributes:
        folder: the provisioning folder the settings came from; other files lie beside them.
        installed: the versions of the other components on the device, by name.
        components: the components of a set that this device takes, by name.
    """

    schema_version: str
    device_id: str
    component: str
    hardware_id: str
    repositories: Repositories
    folder: Path
    transport: Transport = field(default_factory=Transport)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    deltas: DeltaSettings = field(default_factory=DeltaSettings)
    broker: BrokerSettings | None = None
    timing: Timing = field(default_factory=Timing)
    health: Health = field(default_factory=Health)
    journal: JournalBounds = field(default_factory=JournalBounds)
    store: Store = field(default_factory=Store)
    application: Application = field(default_factory=Application)
    key: KeyPlace = field(default_factory=KeyPlace)
    platform: Platform = field(default_factory=Platform)
    bench: BenchSettings = field(default_factory=BenchSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    reports: Reports = field(default_factory=Reports)
    self_test: SelfTestSettings = field(default_factory=SelfTestSettings)
    installed: Mapping[str, str] = field(default_factory=dict)
    components: Mapping[str, ComponentSettings] = field(default_factory=dict)

    @property
    def broker_ca(self) -> Path | None:
        """The certificates of whom to believe about the brokers, where they are given."""
        given = "" if self.broker is None else self.broker.ca_file
        return self.folder / given if given else None

    @property
    def network_ca(self) -> Path | None:
        """The certificates of whom to believe about the servers, where they are given."""
        return self.folder / self.network.ca_file if self.network.ca_file else None

    @property
    def trust_map(self) -> Path:
        """The trust map the device was provisioned with."""
        return self.folder / "trust-map.json"

    @property
    def context(self) -> Path:
        """The signed device context."""
        return self.folder / "device-context.dsse.json"

    def root_under(self, authority: str, digest: str) -> Path:
        """Where a change of the trust map lays the root down that it pins."""
        return self.folder / f"{authority}.{digest}.root.json"

    def root_of(self, authority: str) -> Path:
        """The root of an authority, as shipped; its digest is pinned by the trust map."""
        return self.folder / f"{authority}.root.json"


def _wrong(where: str, found: str, expected: str) -> UsageError:
    return UsageError(
        "The settings cannot be used.",
        reason=Reason.USAGE,
        where=f"agent.toml: {where}" if where else "agent.toml",
        found=found,
        expected=expected,
        remedy="Correct agent.toml, or make the folder again with `primum-repo device`.",
    )


def _build(cls: type[Any], table: object, where: str, **given: object) -> Any:  # noqa: ANN401
    """One frozen value out of one TOML table, every member named and typed."""
    if not isinstance(table, Mapping):
        raise _wrong(where, type(table).__name__, "a table")
    hints = get_type_hints(cls)
    known = {item.name: item for item in fields(cls) if item.name not in given}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise _wrong(where, f"unknown member {unknown[0]!r}", ", ".join(sorted(known)))
    values = dict(given)
    for name, item in known.items():
        if name not in table:
            if item.default is MISSING and item.default_factory is MISSING:
                raise _wrong(f"{where}{name}", "nothing", "a value")
            continue
        values[name] = _value(hints[name], table[name], f"{where}{name}")
    return cls(**values)


def _value(kind: Any, found: object, where: str) -> object:  # noqa: ANN401
    if get_origin(kind) is Mapping and hasattr(get_args(kind)[1], "__dataclass_fields__"):
        if not isinstance(found, dict):
            raise _wrong(where, type(found).__name__, "a table of tables")
        return {name: _value(get_args(kind)[1], found[name], f"{where}.{name}") for name in found}
    if get_origin(kind) in {tuple, Mapping}:
        return _texts(kind, found, where)
    choices = [item for item in get_args(kind) if item is not NoneType] or [kind]
    wanted = choices[0]
    if hasattr(wanted, "__dataclass_fields__"):
        return _build(wanted, found, f"{where}.")
    if wanted is float and isinstance(found, int) and not isinstance(found, bool):
        return float(found)
    if type(found) is not wanted:
        raise _wrong(where, type(found).__name__, wanted.__name__)
    return found


def _texts(kind: Any, found: object, where: str) -> object:  # noqa: ANN401
    """A list of texts, or a table of them."""
    wanted = list if get_origin(kind) is tuple else dict
    if type(found) is not wanted:
        raise _wrong(where, type(found).__name__, "a list" if wanted is list else "a table")
    texts = found if isinstance(found, list) else list(found.values())
    if len(texts) > MAX_TEXTS:
        raise _wrong(where, f"{len(texts)} entries", f"at most {MAX_TEXTS}")
    for text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME:
            raise _wrong(where, repr(text)[:80], f"texts of 1 to {MAX_NAME} characters")
    return tuple(texts) if wanted is list else dict(found)


def _check(settings: Settings) -> None:
    if settings.schema_version != SCHEMA_VERSION:
        raise _wrong("schema_version", settings.schema_version, SCHEMA_VERSION)
    names = {
        "device_id": settings.device_id,
        "component": settings.component,
        "hardware_id": settings.hardware_id,
    }
    if settings.broker is not None:
        # The name becomes a topic segment: a slash or a wildcard would reach other devices.
        names["broker.fleet"] = settings.broker.fleet
        _check_broker(settings.broker)
    for where, name in names.items():
        if not _SLUG.fullmatch(name):
            raise _wrong(where, repr(name[:80]), "lower-case letters, digits, '.', '_' and '-'")
    _check_installed(settings.installed)
    _check_components(settings.components, settings.timing)
    for authority in settings.repositories.all:
        _check_addresses(settings, authority)
    _check_timing(settings.timing)
    _check_health(settings.health)
    if settings.key.address:
        parse_pattern(settings.key.address, where="agent.toml: key.address")
    _check_journal(settings.journal)
    _check_store(settings.store)
    _check_gates(settings.gates)
    _check_network(settings.network)
    for where, found, expected in delta_faults(settings.deltas):
        raise _wrong(f"deltas.{where}", found, expected)
    for where, found, expected in bench_faults(settings.bench):
        raise _wrong(f"bench.{where}", found, expected)
    for where, found, expected in self_test_faults(settings.self_test):
        raise _wrong(f"self_test.{where}", found, expected)


def _check_broker(broker: BrokerSettings) -> None:
    if not 1 <= len(broker.parsed) <= _MAX_BROKERS:
        raise _wrong("broker.addresses", f"{len(broker.addresses)}", f"1 to {_MAX_BROKERS}")
    if broker.ca_file and Path(broker.ca_file).name != broker.ca_file:
        raise _wrong("broker.ca_file", repr(broker.ca_file[:80]), "a file in the same folder")
    if broker.through is not None and not any(one.tls for one in broker.parsed):
        raise _wrong("broker.proxy", broker.proxy, "none: only brokers over TLS lie behind it")


def _check_installed(installed: Mapping[str, str]) -> None:
    for component, version in installed.items():
        if not _SLUG.fullmatch(component):
            raise _wrong("installed", repr(component[:80]), "names of components")
        if not _VERSION.fullmatch(version):
            raise _wrong(f"installed.{component}", repr(version[:80]), "a version such as 1.2.0")


def _check_components(components: Mapping[str, ComponentSettings], timing: Timing) -> None:
    for name in components:
        if not _SLUG.fullmatch(name):
            raise _wrong("components", repr(name[:80]), "names of components")
    for where, found, expected in component_faults(components):
        raise _wrong(f"components.{where}".rstrip("."), found, expected)
    for name, item in components.items():
        if item.step_seconds >= timing.attempt_seconds:
            found, most = (
                f"{item.step_seconds:g}",
                f"below attempt_seconds, {timing.attempt_seconds:g}",
            )
            raise _wrong(f"components.{name}.step_seconds", found, most)


def _check_timing(timing: Timing) -> None:
    for where, value, least, most in (
        ("timing.poll_seconds", timing.poll_seconds, 0.2, 30 * _DAY),
        ("timing.poll_jitter", timing.poll_jitter, 0.0, 1.0),
        ("timing.health_seconds", timing.health_seconds, 1.0, _DAY),
        ("timing.attempt_seconds", timing.attempt_seconds, 10.0, _DAY),
        ("timing.refresh_seconds", timing.refresh_seconds, 0.0, 7 * _DAY),
        ("timing.rehash_seconds", timing.rehash_seconds, 1.0, 365 * _DAY),
    ):
        if not least <= value <= most:
            raise _wrong(where, str(value), f"{least:g} to {most:g}")


def _check_health(health: Health) -> None:
    if health.probe and not health.probe[0].startswith("/"):
        raise _wrong("health.probe", repr(health.probe[0][:80]), "the absolute path of a program")
    if not 0.1 <= health.probe_seconds <= _DAY:  # noqa: PLR2004 - said in the message
        raise _wrong("health.probe_seconds", str(health.probe_seconds), f"0.1 to {_DAY}")
    if health.unit and not _SERVICE.fullmatch(health.unit):
        raise _wrong("health.unit", repr(health.unit[:80]), "the name of a service")
    if health.unit and health.probe:
        raise _wrong("health.unit", "set with probe", "one of the two")
    if not 0.0 <= health.unit_seconds <= _DAY:
        raise _wrong("health.unit_seconds", str(health.unit_seconds), f"0 to {_DAY}")


def _check_gates(gates: GateSettings) -> None:
    for where, found, expected in gate_faults(gates):
        raise _wrong(f"gates.{where}", found, expected)
    if gates.window is not None:
        _check_window(gates.window, where="gates.window")
    if gates.download_window is not None:
        _check_window(gates.download_window, where="gates.download_window")


def _check_network(network: NetworkSettings) -> None:
    for where, found, expected in network_faults(network):
        raise _wrong(f"network.{where}", found, expected)


def _check_window(window: WindowGate, *, where: str) -> None:
    if not 1 <= len(window.spans) <= MAX_SPANS:
        raise _wrong(f"{where}.spans", str(len(window.spans)), f"1 to {MAX_SPANS}")
    for text in window.spans:
        try:
            parse_span(text)
        except ValueError as error:
            raise _wrong(f"{where}.spans", repr(text[:80]), str(error)) from error
    _check_zone(window.zone, where=f"{where}.zone")


def _check_zone(name: str, *, where: str) -> None:
    """A mistyped zone is refused here; a device without any zones says so at the gate."""
    import zoneinfo  # noqa: PLC0415 - only where a window is set

    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        if any((Path(folder) / "UTC").is_file() for folder in zoneinfo.TZPATH):
            expected = "an IANA name such as Europe/Berlin"
            raise _wrong(where, repr(name[:80]), expected) from error


def _check_journal(bounds: JournalBounds) -> None:
    for where, value, least, most in (
        ("journal.keep_days", bounds.keep_days, 1.0, 3650.0),
        ("journal.keep_events", bounds.keep_events, 10, 1_000_000),
        ("journal.max_bytes", bounds.max_bytes, 4 * MIB, 4096 * MIB),
        ("journal.telemetry_rows", bounds.telemetry_rows, 0, 100_000),
        ("journal.telemetry_bytes", bounds.telemetry_bytes, 0, 1024 * MIB),
    ):
        if not least <= value <= most:
            raise _wrong(where, str(value), f"{least:g} to {most:g}")


def _check_store(store: Store) -> None:
    least, most = MIB, MIB * MIB
    if store.max_bytes and not least <= store.max_bytes <= most:
        raise _wrong("store.max_bytes", str(store.max_bytes), f"0, or {least} to {most}")


def _check_addresses(settings: Settings, authority: str) -> None:
    repository = settings.repositories.all[authority]
    addresses = {"metadata_url": repository.metadata_url, "targets_url": repository.targets_url}
    if authority == "engineering" or repository.artifacts_url:
        addresses["artifacts_url"] = repository.artifacts_url
    if len(repository.mirrors) > MOST_MIRRORS:
        found, expected = str(len(repository.mirrors)), f"at most {MOST_MIRRORS}"
        raise _wrong(f"repositories.{authority}.mirrors", found, expected)
    addresses |= {f"mirrors[{number}]": url for number, url in enumerate(repository.mirrors)}
    allowed = ("https", "file", "http") if settings.transport.allow_http else ("https", "file")
    for name, url in addresses.items():
        where = f"repositories.{authority}.{name}"
        if parts_of(url).scheme not in allowed:
            raise _wrong(where, repr(url[:200]), " or ".join(f"{item}://" for item in allowed))
        if not url.endswith("/"):
            raise _wrong(where, repr(url[:200]), "an address that ends in '/'")


def read_settings(provisioning: Path) -> Settings:
    """Read ``agent.toml`` from a provisioning folder.

    Raises:
        UsageError: the folder or the file is missing, or a member is wrong; it names the member.
    """
    path = provisioning / "agent.toml"
    try:
        data = path.read_bytes()[: MAX_SETTINGS_BYTES + 1]
    except OSError as error:
        raise UsageError(
            "The device is not provisioned.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.strerror or str(error),
            expected="a provisioning folder with agent.toml",
            remedy="Name the folder that `primum-repo device` made with --provisioning DIR.",
        ) from error
    if len(data) > MAX_SETTINGS_BYTES:
        raise _wrong("", "a larger file", f"at most {MAX_SETTINGS_BYTES} bytes")
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong("", str(error)[:200], "TOML in UTF-8") from error
    settings: Settings = _build(Settings, table, "", folder=provisioning.resolve())
    _check(settings)
    return settings
