"""The release manifest: what engineering signs as genuine and deployable, file by file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.component import Component, ItemKind, component_faults
from primum_verifier.core.document import (
    Count,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import MAX_ARTIFACT_BYTES
from primum_verifier.core.vocabulary import ChangeTier, Stage

MANIFEST_TYPE = "urn:primum:release-manifest:v0.1"
MANIFEST_ROLE = "model"
"""Every release holds a model, so every manifest is signed by the role ``model``, whatever its
track says: a model in a set must not get by with the keys of another role (ADR 17)."""


class Bundle(Document):
    """Which release this is."""

    component: Slug
    version: Version
    release_counter: Positive
    track: Literal["model", "software", "configuration", "combined"]
    created_at: Time
    build_id: Name | None = None


class Item(Document):
    """One file of the release; its bytes are fetched as ``artifacts/<sha256>``."""

    id: Slug
    kind: ItemKind
    path: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
    length: Annotated[int, Field(ge=1, le=MAX_ARTIFACT_BYTES)]
    digest: DigestSet
    version: Version | None = None
    purl: Name | None = None
    safety_class: Literal["A", "B", "C"] | None = None
    soup: bool = False


class SoftwareRange(Document):
    """A component of the device and the versions of it that are meant, both ends included."""

    component: Slug
    least: Version | None = None
    most: Version | None = None

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> SoftwareRange:
        if self.least and self.most and precedence(self.least) > precedence(self.most):
            raise ValueError("least is above most")
        return self

    def includes(self, version: str | None, *, unreadable: bool = False) -> bool:
        """Whether a version, as found on the device, is meant; what is not there never is.

        Args:
            version: the version found; None where the component is not there.
            unreadable: the answer about a version that cannot be ordered.
        """
        if version is None:
            return False
        try:
            found = precedence(version)
        except ValueError:
            return unreadable
        return (self.least is None or found >= precedence(self.least)) and (
            self.most is None or found <= precedence(self.most)
        )


def software_faults(
    requires: tuple[SoftwareRange, ...],
    conflicts: tuple[SoftwareRange, ...],
    installed: Mapping[str, str],
) -> str:
    """What of the software on a device is missing or in the way; empty when nothing is."""
    missing = [item for item in requires if not item.includes(installed.get(item.component))]
    # A version that nobody can order may be the one that it cannot live with.
    against = [
        item for item in conflicts if item.includes(installed.get(item.component), unreadable=True)
    ]
    return "; ".join(
        f"{what} {item.component}: found {installed.get(item.component, 'none')}"
        for what, items in (("needs another", missing), ("conflicts with", against))
        for item in items
    )


class Compatibility(Document):
    """What the release needs of a device."""

    hardware: tuple[Slug, ...] = Field(min_length=1, max_length=100)
    min_agent_version: Version
    requires: tuple[SoftwareRange, ...] = Field(default=(), max_length=100)
    conflicts: tuple[SoftwareRange, ...] = Field(default=(), max_length=100)


class SelfTestItems(Document):
    """Which items the device tests itself with before it activates."""

    specification: Slug
    fixtures: Slug


class Activation(Document):
    """How the new version proves itself."""

    health_window_seconds: Annotated[int, Field(ge=1, le=86_400)]
    max_attempts: Annotated[int, Field(ge=1, le=20)]


class Rollback(Document):
    """How far back a device may go: no release with a counter below the floor runs again.

    ``floor_counter`` holds once this release is proven; ``data_floor_counter`` from the moment it
    came into effect, because it may have changed stored data into a form that older ones cannot
    read.
    """

    floor_counter: Count
    data_floor_counter: Count = 0


class Labelling(Document):
    """What the device shows after activation."""

    ifu_version: Name
    udi_di: Name
    summary: Text


class Security(Document):
    """The vulnerabilities that the release mends, and the statement about those that remain."""

    fixes: tuple[Name, ...] = Field(default=(), max_length=200)
    vex: DigestSet | None = None


class ReleaseManifest(OpenDocument):
    """One release of one component, signed by the engineering role ``model``.

    A release of a model alone has the installer ``model``; one with further components is a
    ``set``, which an agent that knows no sets refuses.  ``materials`` names what it was made with
    and from: SBOM, ML-BOM, provenance, by digest.
    """

    type: Literal["urn:primum:release-manifest:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    bundle: Bundle
    items: tuple[Item, ...] = Field(min_length=1, max_length=100)
    compatibility: Compatibility
    installer: Literal["model", "set"]
    components: tuple[Component, ...] = Field(default=(), max_length=20)
    self_test: SelfTestItems
    activation: Activation
    rollback: Rollback
    labelling: Labelling
    max_stage: Stage
    intended_use: DigestSet
    change_tier: ChangeTier
    previous: DigestSet | None = None
    original: DigestSet | None = None
    severity: Literal["critical", "mandatory", "optional"] = "optional"
    security: Security | None = None
    materials: tuple[ResourceDescriptor, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _items_fit_together(self) -> ReleaseManifest:
        ids = [item.id for item in self.items]
        paths = [item.path for item in self.items]
        if len(set(ids)) != len(ids) or len(set(paths)) != len(paths):
            raise ValueError("two items share an id or a path")
        kinds = {item.id: item.kind for item in self.items}
        if kinds.get(self.self_test.specification) != ItemKind.SELF_TEST_SPECIFICATION:
            raise ValueError("selfTest.specification names no item of that kind")
        if kinds.get(self.self_test.fixtures) != ItemKind.SELF_TEST_FIXTURES:
            raise ValueError("selfTest.fixtures names no item of that kind")
        if ItemKind.MODEL not in kinds.values():
            raise ValueError("no item of kind model")
        if (self.previous is None) != (self.original is None):
            raise ValueError("previous and original stand together, or this is a first release")
        if (self.installer == "set") != bool(self.components):
            raise ValueError("a set has components, and a release with components is a set")
        if faults := component_faults(self.components, kinds, frozenset(paths)):
            raise ValueError(faults)
        if self.rollback.data_floor_counter > self.bundle.release_counter:
            raise ValueError("rollback.dataFloorCounter is above the counter of this very release")
        return self

    @property
    def claimed(self) -> frozenset[str]:
        """The ids of the items that a component claims; the others are the files of the model."""
        return frozenset(item for component in self.components for item in component.items)

    def item(self, item_id: str) -> Item:
        """The item with this id; the manifest was checked to hold those it names itself."""
        return next(item for item in self.items if item.id == item_id)

    def item_of_kind(self, kind: ItemKind) -> Item | None:
        """The first item of a kind, or None."""
        return next((item for item in self.items if item.kind == kind), None)

    @property
    def name(self) -> str:
        """Component and version as people write them."""
        return f"{self.bundle.component} {self.bundle.version}"


Precedence = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


def precedence(version: str) -> Precedence:
    """What a version is ordered by (Semantic Versioning 2.0.0, 11).

    Raises:
        ValueError: it is no version.
    """
    core, dash, pre = version.partition("+")[0].partition("-")
    major, minor, patch = (int(part) for part in core.split("."))
    parts = pre.split(".") if dash else []
    # Numbers order before words, and a version before its first words.
    order = tuple(
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts
    )
    return major, minor, patch, not dash, order


def manifest_target(component: str, version: str) -> str:
    """The name under which a manifest stands in the engineering repository."""
    return f"releases/{component}/{version}/manifest.json"
