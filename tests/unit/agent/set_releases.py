"""Releases that are sets, for the agent's tests: real lists and packs, signed and published.

``publish_set(world, "1.1.0", counter=2, tree={"bin/run": b"..."})`` is all that most tests need;
what an attacker signs is made by bending the parts before they are published.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.agent.field import Field

from primum_device_sim.authorities.documents import fixture_bytes, model_bytes, specification_bytes
from primum_repo_tools.component_files import lay_component
from primum_repo_tools.component_plan import ComponentPlan
from primum_repo_tools.progress import silent
from primum_verifier.core.document import canonical_json, sha256_hex

TREE: Mapping[str, bytes] = {
    "bin/run": b"#!/bin/sh\nexec sleep 60\n",
    "etc/app.conf": b"gain = 2\n",
    "lib/data.bin": bytes(range(256)) * 64,
}
"""A tree of a few files, where a test says nothing else; what lies in ``bin/`` may be run."""


@dataclass
class Part:
    """One component before it is published: its entry, its items and their bytes.

    A test may change any of them; :meth:`put` makes length and digest right again, so that what
    is signed is what a device then finds to be hostile.
    """

    component: dict[str, Any]
    items: list[dict[str, Any]]
    contents: dict[str, bytes] = field(default_factory=dict)

    def item(self, kind: str) -> dict[str, Any]:
        """The first item of a kind."""
        return next(item for item in self.items if item["kind"] == kind)

    def put(self, kind: str, data: bytes) -> None:
        """Other bytes for an item, with their own length and digest."""
        item = self.item(kind)
        item.update(length=len(data), digest={"sha256": sha256_hex(data)})
        self.contents[item["id"]] = data

    def data(self, kind: str) -> bytes:
        """The bytes of an item."""
        return self.contents[self.item(kind)["id"]]


def tree_part(
    files: Mapping[str, bytes] = TREE, *, name: str = "bedside-app", version: str = "2.0.0"
) -> Part:
    """A software tree, listed and packed by the release side; files in ``bin/`` may be run."""
    with tempfile.TemporaryDirectory(prefix="primum-set-") as folder:
        for path, data in files.items():
            target = Path(folder) / "source" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o755 if path.startswith("bin/") else 0o644)
        return _laid(Path(folder), id=name, version=version, installer="tree", tree="source")


def image_part(
    data: bytes = b"an image\n" * 100, *, name: str = "os", version: str = "3.1.0"
) -> Part:
    """An image of the operating system, as RAUC would take it."""
    with tempfile.TemporaryDirectory(prefix="primum-set-") as folder:
        (Path(folder) / "image").write_bytes(data)
        return _laid(Path(folder), id=name, version=version, installer="rauc", image="image")


def hook_part(
    files: Mapping[str, bytes] | None = None,
    *,
    name: str = "pump",
    version: str = "1.0.0",
    kind: str = "driver",
) -> Part:
    """Files for a program of the device's maker."""
    with tempfile.TemporaryDirectory(prefix="primum-set-") as folder:
        for path, data in (files or {"pump.bin": b"firmware\n"}).items():
            (Path(folder) / path).write_bytes(data)
        listed = [{"file": path, "kind": kind} for path in files or ("pump.bin",)]
        return _laid(Path(folder), id=name, version=version, installer="hook", files=listed)


def _laid(folder: Path, **plan: Any) -> Part:
    parsed = ComponentPlan.model_validate_json(canonical_json(plan))
    (folder / "laid").mkdir()
    made = lay_component(parsed, folder, folder / "laid", progress=silent())
    items: list[dict[str, Any]] = [dict(item) for item in made.items]
    contents = {item["id"]: (folder / "laid" / item["path"]).read_bytes() for item in items}
    return Part(dict(made.component), items, contents)


def model_part(scale: float = 1.0) -> Part:
    """The model with its self-test: what no component claims."""
    fixtures = fixture_bytes()
    part = Part({}, [])
    for name, kind, path, data in (
        ("model", "model", "model.onnx", model_bytes(scale)),
        ("spec", "self-test-specification", "selftest.json", specification_bytes(fixtures)),
        ("fixtures", "self-test-fixtures", "fixtures.npz", fixtures),
    ):
        part.items.append({"id": name, "kind": kind, "path": path})
        part.put(kind, data)
    return part


def publish_parts(
    world: Field,
    version: str,
    *parts: Part,
    counter: int,
    data_floor: int = 0,
    scale: float = 1.0,
    **members: Any,
) -> str:
    """Sign, approve, list and assign a set of these components, in this order; its digest.

    Args:
        world: the authorities and the device.
        version: of the release.
        parts: the components beside the model.
        counter: of the release.
        data_floor: ``rollback.dataFloorCounter``.
        scale: of the model's weights; another than 1 fails its self-test.
        members: as :meth:`Field.release` takes them.
    """
    everything = [model_part(scale), *parts]
    for part in everything:
        for item in part.items:
            data = part.contents[item["id"]]
            (world.engineering.web / "artifacts" / item["digest"]["sha256"]).write_bytes(data)
    return world.release(
        version,
        counter=counter,
        scale=scale,
        items=[item for part in everything for item in part.items],
        installer="set",
        components=[part.component for part in parts],
        rollback={"floorCounter": 1, "dataFloorCounter": data_floor},
        **members,
    )


def publish_set(
    world: Field,
    version: str,
    *,
    counter: int,
    tree: Mapping[str, bytes] | None = TREE,
    image: bytes | None = None,
    hook: Mapping[str, bytes] | None = None,
    **members: Any,
) -> str:
    """A set with a tree, and an image and a hook's files where they are given; its digest.

    The image comes into effect first, then the hook's files, then the tree.
    """
    parts = []
    if image is not None:
        parts.append(image_part(image, version=version))
    if hook is not None:
        parts.append(hook_part(hook, version=version))
    if tree is not None:
        parts.append(tree_part(tree, version=version))
    return publish_parts(world, version, *parts, counter=counter, **members)
