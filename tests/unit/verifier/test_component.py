"""The components of a set: every item in one place, every component what its installer takes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.verifier.bending import HOOK, IMAGE, TREE, Bend, a_set, both, digest, within
from tests.unit.verifier.conftest import World

from primum_verifier.core.component import (
    Component,
    InstallerKind,
    ItemKind,
    component_faults,
)
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason


def parsed(content: dict[str, Any]) -> ReleaseManifest:
    return parse_document(ReleaseManifest, canonical_json(content), where="manifest")


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(RefusedError) as caught:
        parsed(content)
    assert caught.value.reason is Reason.DOCUMENT_INVALID
    return caught.value.found


def with_item(name: str, kind: str, path: str = "") -> Bend:
    entry = {"id": name, "kind": kind, "path": path or name, "length": 3, "digest": digest("d")}
    return lambda world: world.manifest["items"].append(entry)


def with_component(**changes: Any) -> Bend:
    """The components of the manifest are a tree that is otherwise in this."""
    return both(a_set(TREE), lambda world: world.manifest["components"][0].update(changes))


def test_a_set_keeps_the_order_and_leaves_the_model_its_own_files(world: World) -> None:
    a_set(IMAGE, TREE, HOOK)(world)
    found = parsed(world.manifest)
    assert [item.id for item in found.components] == ["os", "app", "pump"]
    assert found.claimed == {"os.image", "app.list", "app.pack", "pump.bin"}
    assert {item.id for item in found.items} - found.claimed == {"model", "spec", "fixtures"}
    assert parsed(copy.deepcopy(world.manifest) | {"x": 1}).not_understood == ("x",)


def test_a_release_of_a_model_claims_nothing(world: World) -> None:
    assert parsed(world.manifest).claimed == frozenset()


WRONG: dict[str, tuple[Bend, str]] = {
    "a set without components": (
        lambda world: world.manifest.update(installer="set"),
        "a set has components",
    ),
    "components without a set": (
        both(a_set(TREE), within("manifest", "installer", "model")),
        "a set has components",
    ),
    "an item that is not there": (
        with_component(items=["app.list", "app.pack", "app.more"]),
        "claims an item that is not there",
    ),
    "the same item twice in one component": (
        with_component(items=["app.list", "app.pack", "app.pack"]),
        "claimed twice",
    ),
    "an item of two components": (
        both(
            a_set(TREE, HOOK),
            within("manifest", "components.1.items", ["pump.bin", "app.pack"]),
        ),
        "claimed twice",
    ),
    "two components of one name": (
        a_set(TREE, {**HOOK, "id": "app"}),
        "share a name",
    ),
    "a component of the name of a model's file": (
        with_component(id="model.onnx"),
        "share a name",
    ),
    "a component of the name of its own file": (
        with_component(id="app.list"),
        "share a name",
    ),
    "the list of a tree alone": (with_component(items=["app.list"]), "takes other items"),
    "two lists in one tree": (
        both(
            a_set(TREE),
            with_item("more.list", "tree-list"),
            within("manifest", "components.0.items", ["app.list", "more.list"]),
        ),
        "takes other items",
    ),
    "two packs beside a list": (
        both(
            a_set(TREE),
            with_item("more.pack", "tree-pack"),
            within("manifest", "components.0.items", ["app.list", "app.pack", "more.pack"]),
        ),
        "takes other items",
    ),
    "an image in a tree": (
        both(
            a_set(TREE),
            with_item("os.image", "os-image"),
            within("manifest", "components.0.items", ["app.list", "app.pack", "os.image"]),
        ),
        "takes other items",
    ),
    "two images": (
        both(
            a_set(IMAGE),
            with_item("os.more", "os-image"),
            within("manifest", "components.0.items", ["os.image", "os.more"]),
        ),
        "takes other items",
    ),
    "the model handed to a hook": (
        both(a_set(HOOK), within("manifest", "components.0.items", ["pump.bin", "model"])),
        "takes other items",
    ),
    "the self-test handed to a hook": (
        both(a_set(HOOK), within("manifest", "components.0.items", ["spec"])),
        "takes other items",
    ),
    "an image handed to a hook": (
        both(a_set(HOOK, IMAGE), within("manifest", "components.1.installer", "hook")),
        "takes other items",
    ),
    "an image that nobody installs": (
        both(a_set(TREE), with_item("os.image", "os-image")),
        "no component claims",
    ),
    "a tree in a release of a model alone": (
        both(with_item("a", "tree-list"), with_item("b", "tree-pack")),
        "no component claims",
    ),
    "a component of nothing": (with_component(items=[]), "components.0.items"),
    "an installer that this build does not know": (
        with_component(installer="script"),
        "components.0.installer",
    ),
    "a component outside of the folder": (with_component(id="../app"), "components.0.id"),
    "a component that says more": (with_component(run="./now"), "components.0.run"),
    "no model": (
        both(a_set(TREE), lambda world: world.manifest["items"].pop(0)),
        "no item of kind model",
    ),
    "twenty-one components": (
        lambda world: world.manifest.update(
            installer="set", components=[{**TREE, "id": f"c{n}"} for n in range(21)]
        ),
        "components",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_set_that_does_not_fit_together_is_refused(world: World, name: str) -> None:
    bend, told = WRONG[name]
    bend(world)
    assert told in refusal(world.manifest)


@pytest.mark.parametrize(("counter", "floor", "fits"), [(2, 0, True), (2, 2, True), (2, 3, False)])
def test_stored_data_cannot_shut_out_the_release_itself(
    world: World, counter: int, floor: int, *, fits: bool
) -> None:
    """Danger: a device that took the release could never take it again, nor anything else."""
    a_set(TREE)(world)
    world.manifest["bundle"]["releaseCounter"] = counter
    world.manifest["rollback"]["dataFloorCounter"] = floor
    if fits:
        assert parsed(world.manifest).rollback.data_floor_counter == floor
    else:
        assert "dataFloorCounter" in refusal(world.manifest)


def test_no_release_changes_stored_data_unless_it_says_so(world: World) -> None:
    assert parsed(world.manifest).rollback.data_floor_counter == 0


names = st.sampled_from(["a", "b", "c", "d"])
components = st.lists(
    st.builds(
        Component,
        id=names,
        version=st.just("1.0.0"),
        installer=st.sampled_from(InstallerKind),
        items=st.lists(names, min_size=1, max_size=4).map(tuple),
    ),
    max_size=4,
).map(tuple)


@given(
    components=components,
    kinds=st.dictionaries(names, st.sampled_from(ItemKind)),
    paths=st.frozensets(st.sampled_from(["a", "model.onnx"])),
)
def test_what_has_no_fault_has_one_place_for_everything(
    components: tuple[Component, ...], kinds: dict[str, ItemKind], paths: frozenset[str]
) -> None:
    if component_faults(components, kinds, paths):
        return
    claims = [name for component in components for name in component.items]
    folders = [component.id for component in components]
    assert len(set(claims)) == len(claims)
    assert len({*folders, *paths}) == len(folders) + len(paths)
    of_installers = {ItemKind.TREE_LIST, ItemKind.TREE_PACK, ItemKind.OS_IMAGE}
    assert {name for name, kind in kinds.items() if kind in of_installers} <= set(claims)
    for component in components:
        found = sorted(kinds[name] for name in component.items)
        match component.installer:
            case InstallerKind.TREE:
                assert found == [ItemKind.TREE_LIST, ItemKind.TREE_PACK]
            case InstallerKind.RAUC:
                assert found == [ItemKind.OS_IMAGE]
            case InstallerKind.HOOK:
                assert not of_installers & set(found)
                assert ItemKind.MODEL not in found


def a_hook(name: str, *items: str) -> Component:
    return Component(id=name, version="1.0.0", installer=InstallerKind.HOOK, items=items)


@pytest.mark.parametrize(
    ("components", "kinds", "paths", "told"),
    [
        ((a_hook("pump", "bin"),), {"bin": ItemKind.DRIVER}, frozenset(), ""),
        (
            (a_hook("pump", "bin"),),
            {"bin": ItemKind.DRIVER},
            frozenset({"manifest.json"}),
            "components, files, or what a device keeps beside them share a name",
        ),
        (
            (a_hook("pump", "bin"), a_hook("other", "bin")),
            {"bin": ItemKind.DRIVER},
            frozenset(),
            "an item is claimed twice",
        ),
        (
            (a_hook("pump", "bin"),),
            {"bin": ItemKind.DRIVER, "list": ItemKind.TREE_LIST},
            frozenset(),
            "a tree or an image that no component claims",
        ),
    ],
)
def test_what_is_wrong_with_components_is_said_in_words_and_nothing_where_all_is_claimed(
    components: tuple[Component, ...],
    kinds: dict[str, ItemKind],
    paths: frozenset[str],
    told: str,
) -> None:
    """Every item claimed is right too: a release may hold nothing besides its components."""
    assert component_faults(components, kinds, paths) == told
