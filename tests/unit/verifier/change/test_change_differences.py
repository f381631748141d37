"""What differs between two releases, and the least tier of it; the unknown weighs heaviest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from primum_verifier.change.differences import (
    ItemChange,
    ItemDifference,
    MemberDifference,
    ReleaseDifference,
    differences,
    tier_floor,
)
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.vocabulary import ChangeTier

NONE, MINOR, MODERATE, MATERIAL = ChangeTier

EXPECTED = {
    "ifu": NONE,
    "model": MINOR,
    "calibration": MINOR,
    "application": MINOR,
    "runtime": MINOR,
    "driver": MINOR,
    "os-image": MINOR,
    "tree-list": MINOR,
    "tree-pack": MINOR,
    "self-test-specification": MINOR,
    "self-test-fixtures": MINOR,
    "monitoring-specification": MINOR,
    "preprocessing": MODERATE,
    "threshold-set": MODERATE,
    "configuration": MODERATE,
    "label-map": MATERIAL,
}


def difference(before: dict[str, Any], after: dict[str, Any]) -> ReleaseDifference:
    first, second = (
        parse_document(ReleaseManifest, canonical_json(item), where="manifest")
        for item in (before, after)
    )
    return differences(first, second)


def bent(case: Any, bend: Callable[[Any], object]) -> ReleaseDifference:
    after = copy.deepcopy(case.base)
    bend(after)
    return difference(case.base, after)


def test_a_release_does_not_differ_from_itself(case: Any) -> None:
    found = difference(case.base, case.base)
    assert (found.changed_items, found.members) == ((), ())
    assert {item.change for item in found.items} == {ItemChange.SAME}
    assert tier_floor(found) == NONE
    assert tier_floor(ReleaseDifference((), ())) == NONE


def test_the_next_release_differs_in_its_parts_and_its_label(case: Any) -> None:
    found = difference(case.base, case.candidate)
    assert found.changed_kinds == {"model", "self-test-specification", "ifu"}
    assert [item.name for item in found.members] == ["labelling.ifuVersion", "labelling.summary"]
    assert found.differs_in("labelling.ifuVersion")
    assert not found.differs_in("labelling.udiDi")
    assert tier_floor(found) == MINOR


def test_every_kind_of_part_has_a_tier() -> None:
    assert set(EXPECTED) == {str(kind) for kind in ItemKind}


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_changed_part_has_the_tier_of_its_kind(kind: str) -> None:
    assert ItemDifference("part", kind, ItemChange.CHANGED).floor == EXPECTED[kind]
    assert ItemDifference("part", kind, ItemChange.SAME).floor == NONE


@pytest.mark.parametrize("change", [ItemChange.ADDED, ItemChange.REMOVED])
@pytest.mark.parametrize("kind", EXPECTED)
def test_a_part_that_comes_or_goes_is_another_architecture(kind: str, change: ItemChange) -> None:
    aside = {"ifu", "self-test-specification", "self-test-fixtures", "monitoring-specification"}
    wanted = EXPECTED[kind] if kind in aside else MATERIAL
    assert ItemDifference("part", kind, change).floor == wanted


@pytest.mark.parametrize(
    ("member", "floor"),
    [
        ("severity", NONE),
        ("security", NONE),
        ("materials", NONE),
        ("compatibility.requires", MINOR),
        ("compatibility.conflicts", MINOR),
        ("selfTest", MINOR),
    ],
)
def test_a_member_has_the_tier_of_its_name(member: str, floor: ChangeTier) -> None:
    assert MemberDifference(member).floor == floor


@pytest.mark.parametrize("change", sorted(set(ItemChange) - {ItemChange.SAME}))
def test_a_kind_that_this_build_does_not_know_is_material(change: ItemChange) -> None:
    assert ItemDifference("part", "neural-firmware", change).floor == MATERIAL
    assert MemberDifference("contract").floor == MATERIAL


MEMBERS: dict[str, tuple[Callable[[Any], object], str, ChangeTier]] = {
    "text of the label": (
        lambda after: after["labelling"].update(summary="other"),
        "labelling.summary",
        NONE,
    ),
    "stage": (lambda after: after.update(maxStage="validation"), "maxStage", NONE),
    "device identifier": (
        lambda after: after["labelling"].update(udiDi="999"),
        "labelling.udiDi",
        MODERATE,
    ),
    "agent": (
        lambda after: after["compatibility"].update(minAgentVersion="0.2.0"),
        "compatibility.minAgentVersion",
        MINOR,
    ),
    "hardware": (
        lambda after: after["compatibility"].update(hardware=["cardiowear-2", "cardiowear-3"]),
        "compatibility.hardware",
        MATERIAL,
    ),
    "track": (lambda after: after["bundle"].update(track="combined"), "bundle.track", MINOR),
    "component": (
        lambda after: after["bundle"].update(component="other"),
        "bundle.component",
        MATERIAL,
    ),
    "intended use": (
        lambda after: after.update(intendedUse={"sha256": "1" * 64}),
        "intendedUse",
        MATERIAL,
    ),
    "health window": (
        lambda after: after["activation"].update(maxAttempts=4),
        "activation",
        MINOR,
    ),
    "roll-back": (lambda after: after["rollback"].update(floorCounter=2), "rollback", MINOR),
    "something new": (
        lambda after: after.update(contract={"outputs": ["probability"]}),
        "contract",
        MATERIAL,
    ),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_differs_is_named_and_weighed(case: Any, name: str) -> None:
    bend, member, floor = MEMBERS[name]
    found = bent(case, bend)
    assert [item.name for item in found.members] == [member]
    assert tier_floor(found) == floor
    # A member that goes weighs as much as one that comes.
    assert tier_floor(difference({**case.base, "contract": 1}, case.base)) == MATERIAL


def test_what_only_names_a_release_is_no_difference(case: Any) -> None:
    def rename(after: dict[str, Any]) -> None:
        after.update(id="urn:uuid:" + "1" * 36, issuedAt="2026-05-01T00:00:00Z")
        after.update(previous={"sha256": "1" * 64}, original={"sha256": "2" * 64})
        after.update(changeTier="material")
        after["bundle"].update(version="9.9.9", releaseCounter=99, createdAt="2026-05-01T00:00:00Z")

    found = bent(case, rename)
    assert (found.changed_items, found.members) == ((), ())


def test_a_part_is_found_again_by_id_and_kind(case: Any) -> None:
    def retype(after: dict[str, Any]) -> None:
        case.item(after, "thresholds")["kind"] = "configuration"

    found = bent(case, retype)
    assert {(item.id, item.kind, item.change) for item in found.changed_items} == {
        ("thresholds", "threshold-set", ItemChange.REMOVED),
        ("thresholds", "configuration", ItemChange.ADDED),
    }
    assert tier_floor(found) == MATERIAL


def test_another_place_for_the_same_bytes_is_a_change(case: Any) -> None:
    found = bent(case, lambda after: case.item(after, "model").update(path="other.bin"))
    assert [item.change for item in found.changed_items] == [ItemChange.CHANGED]


def test_the_order_of_hardware_says_nothing(case: Any) -> None:
    case.base["compatibility"]["hardware"] = ["a-1", "b-2"]
    found = bent(case, lambda after: after["compatibility"]["hardware"].reverse())
    assert found.members == ()


SET = [
    {"id": "os", "version": "3.1.0", "installer": "rauc", "items": ["image"]},
    {"id": "app", "version": "2.0.0", "installer": "tree", "items": ["list", "pack"]},
]
SET_ITEMS = (("image", "os-image"), ("list", "tree-list"), ("pack", "tree-pack"))


def as_a_set(content: Any) -> None:
    content.update(installer="set", components=copy.deepcopy(SET))
    content["items"] += [
        {"id": name, "kind": kind, "path": name, "length": 3, "digest": {"sha256": "5" * 64}}
        for name, kind in SET_ITEMS
    ]


def test_a_component_that_comes_is_another_architecture(case: Any) -> None:
    found = bent(case, as_a_set)
    assert [item.name for item in found.members] == ["components", "installer"]
    assert found.changed_kinds == {"os-image", "tree-list", "tree-pack"}
    assert tier_floor(found) == MATERIAL


def test_another_order_of_components_is_a_change(case: Any) -> None:
    """Danger: the application starts before the system that it needs, and nothing told."""
    as_a_set(case.base)
    found = bent(case, lambda after: after["components"].reverse())
    assert ([item.name for item in found.members], found.changed_items) == (["components"], ())
    assert tier_floor(found) == MINOR


def test_a_component_that_another_installer_takes_is_another_architecture(case: Any) -> None:
    as_a_set(case.base)

    def retype(after: dict[str, Any]) -> None:
        after["components"][0]["installer"] = "hook"
        case.item(after, "image")["kind"] = "driver"

    assert tier_floor(bent(case, retype)) == MATERIAL
