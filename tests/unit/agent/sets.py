"""Releases that are sets: a model with software trees, hooks and images beside it."""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.agent.field import Field

from primum_device_sim.authorities.documents import fixture_bytes, model_bytes, specification_bytes
from primum_verifier.core.document import canonical_json, sha256_hex


@dataclass
class Set:
    """What a test wants a set to hold.

    Attributes:
        world: the world that signs and serves it.
        items: the items of the manifest.
        components: its components, in order.
    """

    world: Field
    items: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)

    def item(self, name: str, kind: str, path: str, data: bytes) -> str:
        digest = sha256_hex(data)
        (self.world.engineering.web / "artifacts" / digest).write_bytes(data)
        given = {"id": name, "kind": kind, "path": path, "length": len(data)}
        self.items.append({**given, "digest": {"sha256": digest}})
        return name

    def tree(self, name: str, version: str, held: Mapping[str, bytes], **given: Any) -> Set:
        """A component that is a tree; names that end in ``*`` are executable."""
        named = sorted((path.rstrip("*"), path.endswith("*"), data) for path, data in held.items())
        content = {
            "type": "urn:primum:tree-list:v0.1",
            "schemaVersion": "0.1",
            "compression": "xz",
            "files": [
                {"path": path, "length": len(data), "sha256": sha256_hex(data)}
                | ({"executable": True} if executable else {})
                for path, executable, data in named
            ],
        } | given
        # How small it gets is tried with the release side; this one is to be made fast.
        pack = lzma.compress(b"".join(data for _, _, data in named), preset=0)
        listed = canonical_json(content)
        ids = [
            self.item(f"{name}-list", "tree-list", f"{name}.tree-list.json", listed),
            self.item(f"{name}-pack", "tree-pack", f"{name}.tree-pack", pack),
        ]
        return self.component(name, version, "tree", ids)

    def hook(self, name: str, version: str, data: bytes) -> Set:
        ids = [self.item(f"{name}-firmware", "driver", f"{name}.bin", data)]
        return self.component(name, version, "hook", ids)

    def image(self, name: str, version: str, data: bytes) -> Set:
        return self.component(
            name, version, "rauc", [self.item(f"{name}-image", "os-image", f"{name}.raucb", data)]
        )

    def component(self, name: str, version: str, installer: str, items: list[str]) -> Set:
        self.components.append(
            {"id": name, "version": version, "installer": installer, "items": items}
        )
        return self

    def release(self, version: str, *, counter: int, **given: Any) -> str:
        """Sign, approve, list and assign it; its manifest's digest."""
        fixtures = fixture_bytes()
        self.item("model", "model", f"model-{version}.onnx", model_bytes(1.0))
        self.item("spec", "self-test-specification", "selftest.json", specification_bytes(fixtures))
        self.item("fixtures", "self-test-fixtures", "fixtures.npz", fixtures)
        return self.world.release(
            version,
            counter=counter,
            items=self.items,
            components=self.components,
            installer="set",
            **given,
        )
