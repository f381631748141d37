"""From two empty folders to a withdrawn release, by the commands that a person types."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from primum_verifier.core.device import DeviceContext, TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.question import ArtifactsFact, Question, SelfTestFact
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import proven_time
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.authorities import Authorities, AuthorityAddress
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.trust_store import MemoryTrustStore


class Device:
    """What a device concludes from the two web roots and its provisioning folder."""

    def __init__(self, folder: Path, provisioning: Path, key: str) -> None:
        self.folder, self.provisioning, self.key = folder, provisioning, key
        where = "trust-map.json"
        self.trust_map = parse_document(TrustMap, (provisioning / where).read_bytes(), where=where)
        self.authorities = Authorities(
            trust_map=self.trust_map,
            roots={
                name: (provisioning / f"{name}.root.json").read_bytes()
                for name in ("engineering", "clinical")
            },
            addresses={
                name: AuthorityAddress(
                    *(
                        f"{(folder / name / 'web').as_uri()}/{part}/"
                        for part in ("metadata", "targets", "artifacts")
                    )
                )
                for name in ("engineering", "clinical")
            },
            fetcher=FolderFetcher(folder),
            stores={name: MemoryTrustStore() for name in ("engineering", "clinical")},
        )

    def verdict(self, version: str, *, phase: Phase = Phase.INSTALL) -> Any:
        now = datetime.now(UTC).replace(microsecond=0)
        seen = self.authorities.refresh(
            now=now, device_id="wearable-001", held=[("pvc-classifier", version)]
        )
        assert not seen.problems
        assert seen.engineering is not None
        assert seen.clinical is not None
        manifest = self.folder / f"engineering/releases/pvc-classifier/{version}/manifest.json"
        return judge(
            Question(
                phase=phase,
                release=sha256_hex(manifest.read_bytes()),
                trust_map=self.trust_map,
                engineering=seen.engineering,
                clinical=seen.clinical,
                device_context=(self.provisioning / "device-context.dsse.json").read_bytes(),
                agent_version="0.1.0",
                hardware_id="cardiowear-2",
                device_key=self.key,
                clock=now,
                proven=proven_time(seen.engineering, seen.clinical, powered_seconds=0),
                artifacts=ArtifactsFact.WHOLE,
                self_test=SelfTestFact.PASSED,
            )
        )


def provisioned(story: Any, enrolment: Path) -> Device:
    output = story.folder / "provisioning"
    story.run(
        "device", "provision", "--engineering", story.engineering, "--clinical", story.clinical,
        "--as", story.folder / "station-1", "--as", story.folder / "station-2",
        "--enrolment", enrolment, "--component", "pvc-classifier", "--jurisdiction", "DE",
        "--site", "site-a", "--care-setting", "home", "--udi", "04012345678901",
        "--engineering-url", "http://127.0.0.1:8001/", "--clinical-url", "http://127.0.0.1:8002",
        "--broker", "127.0.0.1:18830", "--output", output, "--poll-seconds", "2",
    )  # fmt: skip
    key = json.loads(enrolment.read_text())["publicKey"]["public"]
    return Device(story.folder, output, key)


def test_a_release_lives_from_build_to_withdrawal(story: Any, enrolment: Path) -> None:
    """The verifier's own verdict follows each command: nothing, staged, clinical, taken away."""
    device = provisioned(story, enrolment)
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


def test_a_device_gets_what_its_agent_reads(story: Any, enrolment: Path) -> None:
    """The provisioning folder holds exactly what was agreed, and the context names the key."""
    import tomllib

    device = provisioned(story, enrolment)
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
    assert settings["broker"]["port"] == 18830
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
