"""The device context, the keys that may sign it, and the trust map a device is provisioned with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import (
    Country,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    Positive,
    SchemaVersion,
    Slug,
    Time,
    Urn,
)
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.vocabulary import PatientCategory, Stage

PROVISIONING_TARGET = "provisioning/keys.json"


class FactoryFacts(Document):
    """What the device is; it does not change."""

    device_id: Slug
    serial_number: Name
    hardware_id: Slug
    hardware_revision: Name
    udi_di: Name
    public_key: PublicKey
    model_number: Name | None = None
    lot_number: Name | None = None
    boot_firmware: Name | None = None
    sensors: tuple[Slug, ...] = Field(default=(), max_length=100)


class PlacementFacts(Document):
    """Where the device was supplied, where it stands, and for whom it has one fixed mode."""

    jurisdiction: Country
    site_id: Slug
    care_setting: Slug
    site_groups: tuple[Slug, ...] = Field(default=(), max_length=100)
    use_environment: Slug | None = None
    patient_category: PatientCategory | None = None


class DeviceContext(OpenDocument):
    """What eligibility is judged against: signed and numbered, never an editable local file."""

    type: Literal["urn:primum:device-context:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    not_after: Time
    factory: FactoryFacts
    placement: PlacementFacts


class ProvisioningKeys(OpenDocument):
    """The keys that may sign a device context; a key counts only if both authorities list it."""

    type: Literal["urn:primum:provisioning-keys:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    threshold: Annotated[int, Field(ge=1, le=10)]
    keys: tuple[PublicKey, ...] = Field(min_length=1, max_length=50)


MAX_RECEIVERS = 8
"""Keys of receivers on one trust map: one for each receiving end, and the next of each."""


class TrustMap(OpenDocument):
    """Which roots must agree before anything new runs, and what this device was made to serve.

    ``site_root`` adds the responsible organisation, which can only narrow.
    ``offline_allowance_days`` is how long after their end the short-lived roles of a repository
    on a medium are still taken, on a device that has no network by design.  A device with
    ``takes_drills`` acts on safety notices that only exercise the way.  ``receivers`` are the keys
    whose receipts it takes for what has arrived; they grant nothing.
    """

    type: Literal["urn:primum:trust-map:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    stage: Stage
    component: Slug
    engineering_root: DigestSet
    clinical_root: DigestSet
    site_root: DigestSet | None = None
    offline_allowance_days: Annotated[int, Field(ge=0, le=366)] = 0
    takes_drills: bool = False
    receivers: Annotated[tuple[PublicKey, ...], Field(max_length=MAX_RECEIVERS)] = ()
