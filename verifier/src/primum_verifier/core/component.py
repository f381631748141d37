"""The components of a set: what of a release goes to which installer of the device, and in order.

A release is one manifest, one statement and one generation, however many components it has: what
belongs together is approved together, comes into effect together and goes back together.  Items
that no component claims are the files of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from primum_verifier.core.document import Document, Slug, Version


class ItemKind(StrEnum):
    """The kinds of thing a bundle holds; a threshold stands apart, so that its change shows."""

    APPLICATION = "application"
    MODEL = "model"
    PREPROCESSING = "preprocessing"
    CALIBRATION = "calibration"
    THRESHOLD_SET = "threshold-set"
    LABEL_MAP = "label-map"
    CONFIGURATION = "configuration"
    RUNTIME = "runtime"
    DRIVER = "driver"
    OS_IMAGE = "os-image"
    TREE_LIST = "tree-list"
    TREE_PACK = "tree-pack"
    SELF_TEST_SPECIFICATION = "self-test-specification"
    SELF_TEST_FIXTURES = "self-test-fixtures"
    MONITORING_SPECIFICATION = "monitoring-specification"
    INSTRUCTIONS_FOR_USE = "ifu"


class InstallerKind(StrEnum):
    """What a device brings a component into effect with."""

    TREE = "tree"
    """A folder of files beside the model's, and the service that runs from it."""

    RAUC = "rauc"
    """An image of the operating system, handed to the RAUC of the device."""

    HOOK = "hook"
    """Files handed to a program that the maker of the device put there."""


_TAKES: Mapping[InstallerKind, frozenset[ItemKind]] = {
    InstallerKind.TREE: frozenset({ItemKind.TREE_LIST, ItemKind.TREE_PACK}),
    InstallerKind.RAUC: frozenset({ItemKind.OS_IMAGE}),
    InstallerKind.HOOK: frozenset(
        {ItemKind.APPLICATION, ItemKind.CONFIGURATION, ItemKind.DRIVER, ItemKind.RUNTIME}
    ),
}
"""The kinds that an installer takes; tree and image take exactly one of each."""

_COMPONENT_ONLY = _TAKES[InstallerKind.TREE] | _TAKES[InstallerKind.RAUC]


RESERVED = frozenset({"manifest.json", "generation.json"})
"""What a device keeps beside the files of a release, under names of its own."""


class Component(Document):
    """One component of a set; the set comes into effect in the order in which they stand."""

    id: Slug
    version: Version
    installer: InstallerKind
    items: tuple[Slug, ...] = Field(min_length=1, max_length=50)


def component_faults(
    components: tuple[Component, ...], kinds: Mapping[str, ItemKind], paths: frozenset[str]
) -> str:
    """What is wrong with the components of a manifest; empty when nothing is.

    Args:
        components: as they stand in the manifest.
        kinds: the kind of each item, by its id.
        paths: the names of the files that lie in the generation beside the components' folders.
    """
    names = [item.id for item in components]
    if len(set(names)) != len(names) or RESERVED & (paths | set(names)) or paths & set(names):
        return "components, files, or what a device keeps beside them share a name"
    claimed = [item for component in components for item in component.items]
    if len(set(claimed)) != len(claimed):
        return "an item is claimed twice"
    for component in components:
        if not set(component.items) <= kinds.keys():
            return f"component {component.id} claims an item that is not there"
        found = [kinds[item] for item in component.items]
        taken = _TAKES[component.installer]
        one_of_each = component.installer is not InstallerKind.HOOK
        if not set(found) <= taken or (one_of_each and sorted(found) != sorted(taken)):
            return f"component {component.id}: installer {component.installer} takes other items"
    if any(kind in _COMPONENT_ONLY for item, kind in kinds.items() if item not in claimed):
        return "a tree or an image that no component claims"
    return ""
