"""The release whose model is mutated: the demo's PVC classifier, its fixtures and its self-test.

What is signed of the self-test is taken from the ``release.toml`` of the demo as it stands, but for
two things: the time limit is shorter, since a campaign meets models that never end, and the test
of performance is left aside, since it is about the machine and not about what a model answers.
"""

from __future__ import annotations

import io
import json
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from primum_device_sim.demo.models import load_model
from primum_device_sim.demo.release_folders import COMPONENT, write_release_folders
from primum_verifier.core.document import sha256_hex

VERSION = "1.1.0"
TIME_LIMIT_SECONDS = 10
_URN = "urn:uuid:00000000-0000-4000-8000-0000000000a1"

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One release on disk, to be tested with another model in the place of its own.

    Attributes:
        model: the bytes of its own model.
        spec: the bytes of the signed specification.
        fixtures: the ``.npz`` file.
    """

    model: bytes
    spec: bytes
    fixtures: Path

    def arrays(self) -> dict[str, Array]:
        """The fixtures as numpy reads them."""
        with np.load(io.BytesIO(self.fixtures.read_bytes()), allow_pickle=False) as npz:
            return {name: npz[name] for name in npz.files}

    def says(self) -> dict[str, Any]:
        """The specification as plain JSON."""
        content: dict[str, Any] = json.loads(self.spec)
        return content

    @property
    def digest(self) -> str:
        """What outcomes are about, beside the code: model and self-test."""
        return f"{zlib.crc32(self.model):08x}-{sha256_hex(self.spec)[:16]}"


def _alone(test: dict[str, Any]) -> dict[str, Any]:
    """The test as one model by itself is held to it: no earlier release, no clock."""
    asked = {name: value for name, value in test.items() if name != "noWorseThan"}
    if test["level"] == "performance":
        asked |= {"mandatory": False, "onFailure": "warn"}
    return asked


def write_subject(folder: Path) -> Subject:
    """Write the release into ``folder`` as the demo hands it to its release engineer."""
    written = {home.name: home for home in write_release_folders(folder)}
    home = written[VERSION]
    fixtures = home / "fixtures.npz"
    plan = tomllib.loads((home / "release.toml").read_text("utf-8"))["selfTest"]
    content = {
        **{name: value for name, value in plan.items() if name not in ("origin", "licence")},
        "schemaVersion": "0.1",
        "id": _URN,
        "component": COMPONENT,
        "tests": [_alone(test) for test in plan["tests"]],
        "totalTimeLimitSeconds": TIME_LIMIT_SECONDS,
        "fixtures": {
            "digest": {"sha256": sha256_hex(fixtures.read_bytes())},
            "cases": len(np.load(fixtures)["case"]),
            "origin": plan["origin"],
            "licence": plan["licence"],
        },
    }
    model = load_model(VERSION).onnx
    return Subject(model=model, spec=json.dumps(content).encode(), fixtures=fixtures)
