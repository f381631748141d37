"""Provisioning: which device this is and where it was supplied, signed for its own key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from cryptography import x509
from pydantic import Field

from primum_repo_tools.files import read_input, write_durably
from primum_repo_tools.keys import Secrets, Signer, load_key, read_public_key, sign_envelope
from primum_repo_tools.reading import FIRST_ROOT, read_web
from primum_repo_tools.workbench import SETTINGS_FILE
from primum_verifier.core.device import (
    MAX_RECEIVERS,
    PROVISIONING_TARGET,
    DeviceContext,
    FactoryFacts,
    PlacementFacts,
    ProvisioningKeys,
    TrustMap,
)
from primum_verifier.core.document import (
    DigestSet,
    Document,
    Name,
    Slug,
    Text,
    parse_document,
    sha256_hex,
)
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, PublicKey
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MAX_ROOT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.site import ACCEPTANCE_TARGET
from primum_verifier.core.vocabulary import Stage
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.trust_store import MemoryTrustStore

STATION_KEY = "provisioning.pem"
"""The provisioning key in the folder of a provisioning station."""


class Enrolment(Document):
    """What the device says of itself when its key was made on it."""

    device_id: Slug
    hardware_id: Slug
    serial_number: Name
    public_key: PublicKey


class Build(Document):
    """How the device was made, besides what it says of itself."""

    hardware_revision: Name
    udi_di: Name
    model_number: Name | None = None
    lot_number: Name | None = None
    boot_firmware: Name | None = None
    sensors: tuple[Slug, ...] = Field(default=(), max_length=100)


class Trust(Document):
    """Whom the device believes, besides the roots, and what it was made to serve."""

    component: Slug
    stage: Stage
    offline_allowance_days: Annotated[int, Field(ge=0, le=366)] = 0
    takes_drills: bool = False
    receivers: tuple[PublicKey, ...] = Field(default=(), max_length=MAX_RECEIVERS)


@dataclass(frozen=True)
class Root:
    """An authority as a device is to trust it.

    Attributes:
        data: the exact bytes of its first root.
        keys: the provisioning keys that it lists.
    """

    data: bytes
    keys: ProvisioningKeys


_MAX_CA_BYTES = 1_048_576
_SYSTEMS = "# About a broker those are believed that the system believes."
BROKER_CA = "broker-ca.pem"
"""Whom a device believes about its brokers, in the folder that it is provisioned with."""

_BELIEVED = f'ca_file = "{BROKER_CA}"'


class Connections(Document):
    """Where the device finds the two authorities and the broker, and how often it asks."""

    engineering_url: Text
    clinical_url: Text
    site_url: Text | None = None
    brokers: Annotated[tuple[Text, ...], Field(min_length=1, max_length=8)]
    broker_ca: bool = False
    fleet: Slug
    poll_seconds: Annotated[int, Field(ge=1, le=7 * 86_400)]
    poll_jitter: Annotated[float, Field(ge=0.0, le=1.0)]


def read_root(folder: Path, *, authority: str, now: datetime) -> Root:
    """Read a manufacturer's authority from its workbench or its web root, as a device does.

    Raises:
        UsageError: no authority is published there.
        PrimumError: what the client refuses.
    """
    data, found = _first_root(folder, authority=authority, target=PROVISIONING_TARGET, now=now)
    if found is None:
        raise UsageError(
            "The authority lists no provisioning keys.",
            reason=Reason.USAGE,
            where=f"{folder}: {PROVISIONING_TARGET}",
            remedy=f"Name the folder of {authority}, not of a site.",
        )
    where = f"{authority}: {PROVISIONING_TARGET}"
    return Root(data=data, keys=parse_document(ProvisioningKeys, found, where=where))


def read_site_root(folder: Path, *, now: datetime) -> bytes:
    """Read a responsible organisation's first root from its workbench or its web root.

    Raises:
        UsageError: nothing is published there, or it is no responsible organisation.
        PrimumError: what the client refuses.
    """
    data, found = _first_root(folder, authority="site", target=ACCEPTANCE_TARGET, now=now)
    if found is None:
        raise UsageError(
            "This authority accepts nothing: it is no responsible organisation.",
            reason=Reason.USAGE,
            where=f"{folder}: {ACCEPTANCE_TARGET}",
            remedy="Make one: primum-repo init FOLDER --authority site --site ID",
        )
    return data


def _first_root(
    folder: Path, *, authority: str, target: str, now: datetime
) -> tuple[bytes, bytes | None]:
    """The first root of an authority and one of its documents, read by the device's client."""
    is_workbench = (folder / SETTINGS_FILE).is_file()
    web = folder / "web" if is_workbench or (folder / "web").is_dir() else folder
    if not (web / "metadata" / FIRST_ROOT).is_file():
        raise UsageError(
            f"{authority} was not created yet." if is_workbench else f"No {authority} is here.",
            reason=Reason.USAGE,
            where=str(folder),
            expected="a workbench whose authority is created, or its web root",
            remedy=f"Create it: primum-repo authority create {folder}"
            + ("" if authority == "site" else " --provisioning-key FILE ..."),
        )
    data = read_input(
        web / "metadata" / FIRST_ROOT, what=f"{authority} root", max_bytes=MAX_ROOT_BYTES
    )
    with read_web(
        web, authority=authority, root=data, store=MemoryTrustStore(), now=now
    ) as session:
        found = session.document(target)
    return data, None if found is None else found.data


def read_enrolment(path: Path) -> Enrolment:
    """Read what a device wrote when it made its key.

    Raises:
        UsageError: it is missing or no enrolment.
    """
    try:
        return parse_document(Enrolment, read_input(path, what="enrolment"), where=str(path))
    except RefusedError as error:
        raise UsageError(
            "This is no enrolment of a device.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.found,
            remedy="Make it on the device: primum-agent enroll --state DIR --device-id ID "
            "--hardware-id ID --output FILE",
        ) from error


def open_stations(
    folders: Sequence[Path], *, engineering: Root, clinical: Root, secrets: Secrets
) -> list[Signer]:
    """Open the keys of provisioning stations, enough of them and each listed by both authorities.

    Raises:
        RefusedError: a key is not listed by both, or too few sign.
    """
    both = {key.public for key in engineering.keys.keys} & {
        key.public for key in clinical.keys.keys
    }
    signers = [load_key(folder / STATION_KEY, secrets=secrets) for folder in folders]
    needed = max(engineering.keys.threshold, clinical.keys.threshold)
    counted = {signer.public.public for signer in signers} & both
    if len(counted) < needed or len(counted) < len(signers):
        raise RefusedError(
            "Too few provisioning keys that both authorities list would sign.",
            reason=Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
            where=", ".join(str(folder) for folder in folders),
            found=f"{len(counted)} of {len(signers)} count",
            expected=f"{needed} distinct keys, listed by engineering and clinical",
            remedy="Name the stations whose keys both authorities were created with.",
        )
    return signers


def device_context(
    enrolment: Enrolment,
    *,
    placement: PlacementFacts,
    build: Build,
    number: int,
    life: timedelta,
    now: datetime,
) -> DeviceContext:
    """The facts about one device; what ``--dry-run`` shows and the stations sign."""
    return DeviceContext(
        type="urn:primum:device-context:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=number,
        issued_at=now,
        not_after=now + life,
        factory=FactoryFacts(
            device_id=enrolment.device_id,
            serial_number=enrolment.serial_number,
            hardware_id=enrolment.hardware_id,
            hardware_revision=build.hardware_revision,
            udi_di=build.udi_di,
            public_key=enrolment.public_key,
            model_number=build.model_number,
            lot_number=build.lot_number,
            boot_firmware=build.boot_firmware,
            sensors=build.sensors,
        ),
        placement=placement,
    )


def first_trust_map(trust: Trust, roots: Mapping[str, bytes], *, now: datetime) -> TrustMap:
    """The trust map of a new device.

    Args:
        trust: what it was made to serve.
        roots: the first root of engineering and clinical, and of a site where it obeys one.
        now: the moment of issue.
    """
    pinned = {name: DigestSet(sha256=sha256_hex(data)) for name, data in roots.items()}
    return TrustMap(
        type="urn:primum:trust-map:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1,
        issued_at=now,
        stage=trust.stage,
        component=trust.component,
        engineering_root=pinned["engineering"],
        clinical_root=pinned["clinical"],
        site_root=pinned.get("site"),
        offline_allowance_days=trust.offline_allowance_days,
        takes_drills=trust.takes_drills,
        receivers=trust.receivers,
    )


def receiver_keys(paths: Sequence[Path]) -> list[dict[str, object]]:
    """The public keys in files, as a trust map names them.

    Raises:
        UsageError: a file holds none.
    """
    return [read_public_key(path).model_dump(mode="json", by_alias=True) for path in paths]


def read_broker_ca(path: Path) -> bytes:
    """Certificates of whom a device believes about its brokers.

    Raises:
        UsageError: the file cannot be read, or holds no certificate.
    """
    data = read_input(path, what="file of authorities of brokers", max_bytes=_MAX_CA_BYTES)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        found = []
    if not found:
        raise UsageError(
            "This file holds no certificate.",
            reason=Reason.DOCUMENT_INVALID,
            where=str(path),
            expected="certificates in PEM, at least one",
            remedy="Give the certificates of whoever signed the broker's.",
        )
    return data


def write_provisioning(
    output: Path,
    *,
    context: DeviceContext,
    signers: list[Signer],
    roots: Mapping[str, bytes],
    trust_map: TrustMap,
    settings: str,
    broker_ca: bytes | None,
) -> None:
    """Write the folder that a device is provisioned with; ``agent.toml`` comes last."""
    envelope = sign_envelope(context.to_bytes(), payload_type=CONTEXT_PAYLOAD_TYPE, signers=signers)
    for name, data in roots.items():
        write_durably(output / f"{name}.root.json", data)
    write_durably(output / "trust-map.json", trust_map.to_bytes())
    write_durably(output / "device-context.dsse.json", envelope)
    if broker_ca is not None:
        write_durably(output / BROKER_CA, broker_ca)
    write_durably(output / "agent.toml", settings.encode())


def agent_settings(context: DeviceContext, component: str, connections: Connections) -> str:
    """The text of ``agent.toml``.

    Raises:
        UsageError: an address is no http(s) address.
    """
    engineering = _base(connections.engineering_url)
    clinical = _base(connections.clinical_url)
    site = "" if connections.site_url is None else _base(connections.site_url)
    plain = any(url.startswith("http:") for url in (engineering, clinical, site))
    return f"""\
# What this device is and where it finds its authorities. Trust is in the other files.
schema_version = "0.1"
device_id = "{context.factory.device_id}"
component = "{component}"
hardware_id = "{context.factory.hardware_id}"

[repositories.engineering]
metadata_url = "{engineering}metadata/"
targets_url = "{engineering}targets/"
artifacts_url = "{engineering}artifacts/"

[repositories.clinical]
metadata_url = "{clinical}metadata/"
targets_url = "{clinical}targets/"
{_site_table(site)}
[transport]
# Plain http hides nothing; what is fetched is trusted by its signatures alone.
allow_http = {"true" if plain else "false"}

[broker]
fleet = "{connections.fleet}"
# Tried in this order.
addresses = [{", ".join(f'"{uri}"' for uri in connections.brokers)}]
{_BELIEVED if connections.broker_ca else _SYSTEMS}

[timing]
poll_seconds = {connections.poll_seconds}
poll_jitter = {connections.poll_jitter:g}
"""


def _site_table(site: str) -> str:
    if not site:
        return ""
    return f"""
[repositories.site]
metadata_url = "{site}metadata/"
targets_url = "{site}targets/"
"""


def _base(url: str) -> str:
    parts = parts_of(url)
    clean = all(letter.isprintable() and letter not in '"\\ ' for letter in url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not clean or parts.query:
        raise UsageError(
            "This is no address of a web root.",
            reason=Reason.USAGE,
            found=url[:200],
            expected="such as https://updates.example.org/engineering/",
            remedy="Give --engineering-url, --clinical-url and --site-url with http:// or https:// "
            "and a host.",
        )
    return url if url.endswith("/") else f"{url}/"
