"""What differs between two releases, part by part, and the least tier that such a change has.

The tier is a floor: a person may raise it, and lowers it only by a signed justification.  What
this build does not know how to weigh counts as the heaviest change.

===============================================  ===============
differs                                          at least
===============================================  ===============
instructions for use, labelling text, stage      none-clinical
model, calibration, application, runtime,        minor
driver, operating system, tree, self-test,
monitoring, agent version, order of components
preprocessing, thresholds, configuration, UDI    moderate
label map; a part added or taken away;           material
hardware, intended use, installer, component,
anything that is not named here
===============================================  ===============
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from primum_verifier.core.component import ItemKind
from primum_verifier.core.manifest import Item, ReleaseManifest
from primum_verifier.core.vocabulary import ChangeTier

_ITEM_TIERS: Mapping[str, ChangeTier] = {
    ItemKind.INSTRUCTIONS_FOR_USE: ChangeTier.NONE_CLINICAL,
    ItemKind.MODEL: ChangeTier.MINOR,
    ItemKind.CALIBRATION: ChangeTier.MINOR,
    ItemKind.APPLICATION: ChangeTier.MINOR,
    ItemKind.RUNTIME: ChangeTier.MINOR,
    ItemKind.DRIVER: ChangeTier.MINOR,
    ItemKind.OS_IMAGE: ChangeTier.MINOR,
    ItemKind.TREE_LIST: ChangeTier.MINOR,
    ItemKind.TREE_PACK: ChangeTier.MINOR,
    ItemKind.SELF_TEST_SPECIFICATION: ChangeTier.MINOR,
    ItemKind.SELF_TEST_FIXTURES: ChangeTier.MINOR,
    ItemKind.MONITORING_SPECIFICATION: ChangeTier.MINOR,
    ItemKind.PREPROCESSING: ChangeTier.MODERATE,
    ItemKind.THRESHOLD_SET: ChangeTier.MODERATE,
    ItemKind.CONFIGURATION: ChangeTier.MODERATE,
    ItemKind.LABEL_MAP: ChangeTier.MATERIAL,
}
_MAY_COME_AND_GO = frozenset(
    {
        ItemKind.INSTRUCTIONS_FOR_USE,
        ItemKind.SELF_TEST_SPECIFICATION,
        ItemKind.SELF_TEST_FIXTURES,
        ItemKind.MONITORING_SPECIFICATION,
    }
)
"""Parts that are no part of what computes a result; any other new part is a new architecture."""

_MEMBER_TIERS: Mapping[str, ChangeTier] = {
    "labelling.summary": ChangeTier.NONE_CLINICAL,
    "labelling.ifuVersion": ChangeTier.NONE_CLINICAL,
    "labelling.udiDi": ChangeTier.MODERATE,
    "maxStage": ChangeTier.NONE_CLINICAL,
    "severity": ChangeTier.NONE_CLINICAL,
    "security": ChangeTier.NONE_CLINICAL,
    "materials": ChangeTier.NONE_CLINICAL,
    "compatibility.minAgentVersion": ChangeTier.MINOR,
    "compatibility.requires": ChangeTier.MINOR,
    "compatibility.conflicts": ChangeTier.MINOR,
    "selfTest": ChangeTier.MINOR,
    "activation": ChangeTier.MINOR,
    "rollback": ChangeTier.MINOR,
    "bundle.track": ChangeTier.MINOR,
    "components": ChangeTier.MINOR,
}
_NAMES_THE_RELEASE = frozenset(
    {
        *("id", "issuedAt", "previous", "original", "changeTier", "items"),
        *("bundle.version", "bundle.releaseCounter", "bundle.createdAt", "bundle.buildId"),
    }
)
"""Members that always differ and say nothing of what the release does; items are compared apart."""

_OPENED = frozenset({"bundle", "compatibility", "labelling"})
"""Members of which each part is compared by itself."""


class ItemChange(StrEnum):
    """What became of one part."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True)
class ItemDifference:
    """One part of two releases, found again by its id and kind.

    Attributes:
        id: the item's id.
        kind: the item's kind as manifests write it.
        change: what became of it.
    """

    id: str
    kind: str
    change: ItemChange

    @property
    def floor(self) -> ChangeTier:
        """The least tier of a release in which this part changed so."""
        if self.change == ItemChange.SAME:
            return ChangeTier.NONE_CLINICAL
        if self.change != ItemChange.CHANGED and self.kind not in _MAY_COME_AND_GO:
            return ChangeTier.MATERIAL
        return _ITEM_TIERS.get(self.kind, ChangeTier.MATERIAL)


@dataclass(frozen=True)
class MemberDifference:
    """One member of the manifest itself that differs, by its path: ``compatibility.hardware``."""

    name: str

    @property
    def floor(self) -> ChangeTier:
        """The least tier of a release in which this member differs."""
        return _MEMBER_TIERS.get(self.name, ChangeTier.MATERIAL)


@dataclass(frozen=True)
class ReleaseDifference:
    """Everything in which two releases differ.

    Attributes:
        items: every part of either, by id and kind; those that are the same too.
        members: what differs in the manifest beside its items.
    """

    items: tuple[ItemDifference, ...]
    members: tuple[MemberDifference, ...]

    @property
    def changed_items(self) -> tuple[ItemDifference, ...]:
        """The parts that are not the same."""
        return tuple(item for item in self.items if item.change != ItemChange.SAME)

    @property
    def changed_kinds(self) -> frozenset[str]:
        """The kinds of the parts that are not the same."""
        return frozenset(item.kind for item in self.changed_items)

    def differs_in(self, member: str) -> bool:
        """Whether a member of the manifest differs."""
        return any(item.name == member for item in self.members)


def differences(before: ReleaseManifest, after: ReleaseManifest) -> ReleaseDifference:
    """Compare two releases part by part.

    Args:
        before: the release that stands.
        after: the release that is to take its place.
    """
    old = {(item.id, str(item.kind)): item for item in before.items}
    new = {(item.id, str(item.kind)): item for item in after.items}
    items = tuple(
        ItemDifference(key[0], key[1], _change(old.get(key), new.get(key)))
        for key in sorted(old.keys() | new.keys())
    )
    earlier, later = dict(_members(before)), dict(_members(after))
    members = tuple(
        MemberDifference(name)
        for name in sorted(earlier.keys() | later.keys())
        if earlier.get(name) != later.get(name)
    )
    return ReleaseDifference(items, members)


def tier_floor(difference: ReleaseDifference) -> ChangeTier:
    """The least tier of a release that differs so; nothing that differs is ``none-clinical``."""
    found = [item.floor for item in difference.items]
    found += [member.floor for member in difference.members]
    return max(found, key=lambda tier: tier.rank, default=ChangeTier.NONE_CLINICAL)


def _change(old: Item | None, new: Item | None) -> ItemChange:
    if old is None:
        return ItemChange.ADDED
    if new is None:
        return ItemChange.REMOVED
    return ItemChange.SAME if old == new else ItemChange.CHANGED


def _members(manifest: ReleaseManifest) -> Iterator[tuple[str, Any]]:
    content = manifest.model_dump(mode="json", by_alias=True, exclude_none=True)
    for name, value in content.items():
        parts = (
            {f"{name}.{part}": inner for part, inner in value.items()}
            if name in _OPENED
            else {name: value}
        )
        for path, inner in parts.items():
            if path not in _NAMES_THE_RELEASE:
                # The order of a list of hardware, requirements or materials means nothing; that of
                # components is the order in which they come into effect.
                listed = isinstance(inner, list) and path != "components"
                yield path, sorted(inner, key=repr) if listed else inner
