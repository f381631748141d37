"""Which files a generation holds, by its signed manifest alone.

The manifest and the lists of trees were parsed strictly before they were laid out, and are read
again only where their digests are still those that were signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

CARRIED = frozenset({"tree-pack", "os-image"})
"""Kinds that only carry something to where it is used; a generation does not hold them."""

TREE_LIST = "tree-list"


def place_of(item: Mapping[str, Any], inside: Mapping[str, str]) -> str:
    """The name of an item in the generation: that of a component lies in the component's folder.

    The list of a tree lies beside the tree's folder, where the tree has no name for it.

    Args:
        item: the item, as the manifest writes it.
        inside: the component that claims each item, by the item's id.
    """
    component = inside.get(str(item["id"]), "")
    return f"{component}/{item['path']}" if component else str(item["path"])


def claims(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The component in whose folder each claimed item lies, by the item's id."""
    kinds = {item["id"]: item["kind"] for item in manifest["items"]}
    return {
        item: component["id"]
        for component in manifest.get("components", ())
        for item in component["items"]
        if kinds[item] != TREE_LIST
    }


def signed_files(manifest: Mapping[str, Any], folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file that a generation must hold, with the digest that was signed for it.

    The list of a tree comes before the files it names: whoever finds it wrong asks no further.

    Args:
        manifest: the signed manifest of the generation.
        folder: the generation's folder.
    """
    inside = claims(manifest)
    trees = {item: one["id"] for one in manifest.get("components", ()) for item in one["items"]}
    for item in manifest["items"]:
        if item["kind"] in CARRIED:
            continue
        path = folder / place_of(item, inside)
        yield path, item["digest"]["sha256"]
        if item["kind"] == TREE_LIST:
            tree = folder / trees[item["id"]]
            for file in json.loads(path.read_bytes())["files"]:
                yield tree / file["path"], file["sha256"]


def tree_list_of(manifest: Mapping[str, Any], component: str) -> str:
    """The name of the list of a component's tree in the generation.

    Raises:
        KeyError: it has no such component, or that one is no tree.
    """
    for one in manifest.get("components", ()):
        for item in manifest["items"]:
            if one["id"] == component and item["kind"] == TREE_LIST and item["id"] in one["items"]:
                return str(item["path"])
    raise KeyError(component)


def components_of(folder: Path) -> dict[str, str]:
    """The components of a generation with their versions; empty where it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        return {str(one["id"]): str(one["version"]) for one in manifest.get("components", ())}
    return {}
