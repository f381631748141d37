"""Provisioning: which device this is and where it was supplied, signed for its own key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import Field

from primum_repo_tools.files import read_input, write_durably
from primum_repo_tools.keys import Secrets, Signer, load_key, sign_envelope
from primum_repo_tools.reading import FIRST_ROOT, read_web
from primum_repo_tools.workbench import SETTINGS_FILE
from primum_verifier.core.device import (
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
from primum_verifier.core.vocabulary import Stage
from primum_verifier.shell.trust_store import MemoryTrustStore

STATION_KEY = "provisioning.pem"
"""The provisioning key in the folder of a provisioning station."""


class Enrolment(Document):
    """What the device says of itself when its key was made on it."""

    device_id: Slug
    hardware_id: Slug
    serial_number: Name
    public_key: PublicKey


@dataclass(frozen=True)
class Root:
    """An authority as a device is to trust it.

    Attributes:
        data: the exact bytes of its first root.
        keys: the provisioning keys that it lists.
    """

    data: bytes
    keys: ProvisioningKeys


class Connections(Document):
    """Where the device finds the two authorities and the broker, and how often it asks."""

    engineering_url: Text
    clinical_url: Text
    broker_host: Text
    broker_port: Annotated[int, Field(ge=1, le=65_535)]
    fleet: Slug
    poll_seconds: Annotated[int, Field(ge=1, le=7 * 86_400)]
    poll_jitter: Annotated[float, Field(ge=0.0, le=1.0)]


def read_root(folder: Path, *, authority: str, now: datetime) -> Root:
    """Read an authority from its workbench or its web root, with the device's own client.

    Raises:
        UsageError: no authority is published there.
        PrimumError: what the client refuses.
    """
    is_workbench = (folder / SETTINGS_FILE).is_file()
    web = folder / "web" if is_workbench or (folder / "web").is_dir() else folder
    if not (web / "metadata" / FIRST_ROOT).is_file():
        raise UsageError(
            f"{authority} was not created yet." if is_workbench else f"No {authority} is here.",
            reason=Reason.USAGE,
            where=str(folder),
            expected="a workbench whose authority is created, or its web root",
            remedy=f"Create it: primum-repo authority create {folder} --provisioning-key FILE ...",
        )
    data = read_input(
        web / "metadata" / FIRST_ROOT, what=f"{authority} root", max_bytes=MAX_ROOT_BYTES
    )
    with read_web(
        web, authority=authority, root=data, store=MemoryTrustStore(), now=now
    ) as session:
        found = session.document(PROVISIONING_TARGET)
    if found is None:
        raise UsageError(
            "The authority lists no provisioning keys.",
            reason=Reason.USAGE,
            where=f"{web}: {PROVISIONING_TARGET}",
        )
    where = f"{authority}: {PROVISIONING_TARGET}"
    return Root(data=data, keys=parse_document(ProvisioningKeys, found.data, where=where))


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
    hardware_revision: str,
    udi_di: str,
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
            hardware_revision=hardware_revision,
            udi_di=udi_di,
            public_key=enrolment.public_key,
        ),
        placement=placement,
    )


def write_provisioning(
    output: Path,
    *,
    context: DeviceContext,
    signers: list[Signer],
    engineering: Root,
    clinical: Root,
    component: str,
    stage: Stage,
    connections: Connections,
    now: datetime,
) -> TrustMap:
    """Write the folder that a device is provisioned with; ``agent.toml`` comes last."""
    trust_map = TrustMap(
        type="urn:primum:trust-map:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1,
        issued_at=now,
        stage=stage,
        component=component,
        engineering_root=DigestSet(sha256=sha256_hex(engineering.data)),
        clinical_root=DigestSet(sha256=sha256_hex(clinical.data)),
    )
    envelope = sign_envelope(context.to_bytes(), payload_type=CONTEXT_PAYLOAD_TYPE, signers=signers)
    write_durably(output / "engineering.root.json", engineering.data)
    write_durably(output / "clinical.root.json", clinical.data)
    write_durably(output / "trust-map.json", trust_map.to_bytes())
    write_durably(output / "device-context.dsse.json", envelope)
    write_durably(output / "agent.toml", agent_settings(context, component, connections).encode())
    return trust_map


def agent_settings(context: DeviceContext, component: str, connections: Connections) -> str:
    """The text of ``agent.toml``.

    Raises:
        UsageError: an address is no http(s) address.
    """
    engineering = _base(connections.engineering_url)
    clinical = _base(connections.clinical_url)
    plain = any(url.startswith("http:") for url in (engineering, clinical))
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

[transport]
# Plain http hides nothing; what is fetched is trusted by its signatures alone.
allow_http = {"true" if plain else "false"}

[broker]
host = "{connections.broker_host}"
port = {connections.broker_port}
fleet = "{connections.fleet}"

[timing]
poll_seconds = {connections.poll_seconds}
poll_jitter = {connections.poll_jitter:g}
"""


def _base(url: str) -> str:
    parts = urlsplit(url)
    clean = all(letter.isprintable() and letter not in '"\\ ' for letter in url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not clean or parts.query:
        raise UsageError(
            "This is no address of a web root.",
            reason=Reason.USAGE,
            found=url[:200],
            expected="such as https://updates.example.org/engineering/",
            remedy="Give --engineering-url and --clinical-url with http:// or https:// and a host.",
        )
    return url if url.endswith("/") else f"{url}/"
