"""The device context, the keys that may sign it, and the trust map a device is provisioned with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import (
    Country,
    DigestSet,
    Document,
    Name,
    Positive,
    SchemaVersion,
    Slug,
    Time,
    Urn,
)
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.vocabulary import Stage

PROVISIONING_TARGET = "provisioning/keys.json"


class FactoryFacts(Document):
    """What the device is; it does not change."""

    device_id: Slug
    serial_number: Name
    hardware_id: Slug
    hardware_revision: Name
    udi_di: Name
    public_key: PublicKey


class PlacementFacts(Document):
    """Where the device was supplied and stands."""

    jurisdiction: Country
    site_id: Slug
    care_setting: Slug


class DeviceContext(Document):
    """What eligibility is judged against: signed and numbered, never an editable local file."""

    type: Literal["urn:primum:device-context:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    not_after: Time
    factory: FactoryFacts
    placement: PlacementFacts


class ProvisioningKeys(Document):
    """The keys that may sign a device context; a key counts only if both authorities list it."""

    type: Literal["urn:primum:provisioning-keys:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    threshold: Annotated[int, Field(ge=1, le=10)]
    keys: tuple[PublicKey, ...] = Field(min_length=1, max_length=50)


class TrustMap(Document):
    """Which two roots must agree before anything new runs, and the stage this device serves."""

    type: Literal["urn:primum:trust-map:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    stage: Stage
    component: Slug
    engineering_root: DigestSet
    clinical_root: DigestSet
