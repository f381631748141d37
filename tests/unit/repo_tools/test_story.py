"""From two empty folders to a withdrawn release, by the commands that a person types."""

from __future__ import annotations

import json
from typing import Any

from primum_verifier.core.device import DeviceContext
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.vocabulary import Capability, Phase


def test_a_release_lives_from_build_to_withdrawal(story: Any, device: Any) -> None:
    """The verifier's own verdict follows each command: nothing, staged, clinical, taken away."""
    story.build("1.0.0")
    story.run("release", "check", story.engineering, "pvc-classifier", "1.0.0")
    story.sign("1.0.0")
    assert device.verdict("1.0.0").capability == Capability.NONE

    story.run("publish", story.engineering)
    signed_only = device.verdict("1.0.0")
    assert signed_only.capability == Capability.STAGE
    assert signed_only.primary == "eligibility.absent"
    approvals = next(check for check in signed_only.checks if check.name == "approvals")
    assert "quality 1" in approvals.found

    story.make_eligible("1.0.0")
    story.run(
        "rollout", story.engineering, "--component", "pvc-classifier", "--version", "1.0.0",
        "--ring", "pilot", "--devices", "wearable-001", "--percentage", "50",
    )  # fmt: skip
    assert device.verdict("1.0.0").capability == Capability.CLINICAL

    story.build("1.1.0", weights=(2.5, -1.0), previous="1.0.0")
    assert story.compare("1.1.0").code == 0
    story.sign("1.1.0")
    story.run("publish", story.engineering)
    report = story.engineering / "releases/pvc-classifier/1.1.0/comparison.json"
    story.make_eligible("1.1.0", "--comparison", report)
    assert device.verdict("1.1.0").capability == Capability.CLINICAL

    story.run(
        "withdraw", story.clinical, "--component", "pvc-classifier", "--version", "1.1.0",
        "--reason", "Misses bigeminy", "--hazard", "HAZ-03", "--fallback-version", "1.0.0",
        "--as", story.folder / "people/a.berg", "--as", story.folder / "people/q.lee", "--yes",
    )  # fmt: skip
    taken = device.verdict("1.1.0", phase=Phase.CONTINUE)
    assert taken.ordered == "fall-back"
    assert taken.primary == "eligibility.withdrawn"
    assert device.verdict("1.1.0").capability < Capability.SHADOW
    assert device.verdict("1.0.0").capability == Capability.CLINICAL

    status = story.run("status", story.clinical, "--json").json
    assert [item["index"] for item in status["statements"]] == ["eligible", "withdrawn"]
    assert status["unsafe"] == []


def test_a_device_gets_what_its_agent_reads(story: Any, device: Any) -> None:
    """The provisioning folder holds exactly what was agreed, and the context names the key."""
    import tomllib

    names = sorted(path.name for path in device.provisioning.iterdir())
    assert names == [
        "agent.toml", "clinical.root.json", "device-context.dsse.json",
        "engineering.root.json", "trust-map.json",
    ]  # fmt: skip
    settings = tomllib.loads((device.provisioning / "agent.toml").read_text())
    assert settings["repositories"]["clinical"] == {
        "metadata_url": "http://127.0.0.1:8002/metadata/",
        "targets_url": "http://127.0.0.1:8002/targets/",
    }
    assert settings["timing"] == {"poll_seconds": 2, "poll_jitter": 0.2}
    assert settings["broker"]["addresses"] == ["mqtt://127.0.0.1:18830"]
    for name in ("engineering", "clinical"):
        root = (device.provisioning / f"{name}.root.json").read_bytes()
        assert root == (story.folder / name / "web/metadata/1.root.json").read_bytes()
        assert getattr(device.trust_map, f"{name}_root").sha256 == sha256_hex(root)
    import base64

    envelope = json.loads((device.provisioning / "device-context.dsse.json").read_bytes())
    assert len(envelope["signatures"]) == 2
    payload = base64.b64decode(envelope["payload"])
    context = parse_document(DeviceContext, payload, where="context")
    assert context.factory.public_key.public == device.key


def test_off_a_terminal_nothing_is_wrapped(story: Any) -> None:
    """Digests and commands are copied from logs, whole."""
    story.build("1.0.0")
    told = story.run("release", "build", story.engineering, story.plan("1.0.0"))
    lines = told.out.splitlines()
    digests = [line for line in lines if len(line.split()[-1]) == 64]
    assert len(digests) == 4
    assert f"Next: primum-repo release check {story.engineering} pvc-classifier 1.0.0" in lines
    assert all(line == line.rstrip() for line in lines)
