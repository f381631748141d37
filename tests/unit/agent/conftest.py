"""A small real world for the agent: two authorities as plain folders, one enrolled device.

Everything is real but the network: keys, signatures, TUF metadata, an ONNX model, processes.
Addresses are ``file:`` so that a test spoils a server by changing a file.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from primum_agent.application import ActiveRelease, StandingError, open_active
from primum_agent.attempt import run_attempt
from primum_agent.clock import FakeClock, SystemClock
from primum_agent.content_store import FolderStore
from primum_agent.device import real_ports
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.settings import read_settings
from primum_agent.transitions import committed
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    INTOTO_PAYLOAD_TYPE,
    PublicKey,
    public_key_of,
)
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.question import ClinicalUse
from primum_verifier.shell.bench import FakeBench

COMPONENT = "pvc-classifier"
DEVICE = "wearable-001"
AGENT = [sys.executable, "-m", "primum_agent.cli"]
FEATURES = 4
CONSTRAINTS: dict[str, Any] = {
    "jurisdictions": ["DE"],
    "hardware": [{"hardwareId": "cardiowear-2"}],
    "sites": {"mode": "all", "ids": []},
}
"""For whom a release is eligible where a test says nothing else."""

WEIGHTS = np.linspace(-1.0, 1.0, FEATURES, dtype=np.float32).reshape(FEATURES, 1)


def urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def envelope(payload: bytes, payload_type: str, *signers: CryptoSigner) -> bytes:
    made = Envelope(payload, payload_type, {})
    for signer in signers:
        key_id = public_key_of(signer.public_key).key_id
        signature = signer.sign(made.pae())
        signature.keyid = key_id
        made.signatures[key_id] = signature
    return canonical_json(made.to_dict())


def public(signer: CryptoSigner) -> dict[str, Any]:
    return public_key_of(signer.public_key).model_dump(mode="json", by_alias=True)


def model_bytes(scale: float) -> bytes:
    """Sigmoid of a weighted sum; another scale than 1 computes something else."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(WEIGHTS * np.float32(scale), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def fixture_bytes() -> bytes:
    x = np.random.default_rng(7).normal(size=(6, FEATURES)).astype(np.float32)
    reference = (1 / (1 + np.exp(-(x.astype(np.float64) @ WEIGHTS)))).astype(np.float32)
    decisions = (reference[:, 0] >= 0.5).astype(np.int8)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "input.x": x,
        "reference.p": reference,
        "case": np.array([f"case-{index:02}" for index in range(6)]),
        "cohort": np.array(["sinus"] * 6),
        "label": decisions,
        "expected_decision": decisions,
    }
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def specification_bytes(fixtures: bytes) -> bytes:
    def test(name: str, level: str, **members: Any) -> dict[str, Any]:
        return {
            "id": name,
            "level": level,
            "qualityCriterion": "QC-1",
            "riskControlRef": "RC-1",
            "mandatory": True,
            "onFailure": "refuse",
            **members,
        }

    return canonical_json(
        {
            "schemaVersion": "0.1",
            "id": urn(),
            "component": COMPONENT,
            "interface": {
                "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", FEATURES]}],
                "outputs": [{"name": "p", "dtype": "float32", "shape": ["batch", 1]}],
            },
            "opsetMin": 13,
            "opsetMax": 21,
            "allowedDomains": [""],
            "operatingPoint": {"output": "p", "threshold": "0.5", "positiveWhen": "at-or-above"},
            "fixtures": {
                "digest": {"sha256": sha256_hex(fixtures)},
                "cases": 6,
                "origin": "drawn from a seeded generator",
                "licence": "Apache-2.0",
            },
            "tests": [
                test("bytes", "integrity"),
                test("loads", "load"),
                test("signature", "interface"),
                test("numbers", "numeric", absTol="0.00001", relTol="0.0001"),
                test("decisions", "functional", maxDecisionFlips=0, maxDecisionFlipsByCohort={}),
            ],
            "minTests": 5,
            "totalTimeLimitSeconds": 30,
            "memoryLimitMiB": 1024,
            "goldenVectorsOrigin": "synthetic",
        }
    )


class Authority:
    """One TUF repository as a plain folder; each publish signs new versions of everything."""

    def __init__(self, web: Path, delegated: dict[str, list[str]]) -> None:
        self.web = web
        self.delegated = delegated
        names = ("root", "targets", "online", *delegated)
        self.signers = {name: CryptoSigner.generate_ed25519() for name in names}
        self.files: dict[str, dict[str, bytes]] = {name: {} for name in ("targets", *delegated)}
        self.version = 0
        for name in ("metadata", "targets", "artifacts"):
            (web / name).mkdir(parents=True)
        root = Root(expires=now() + timedelta(days=300), consistent_snapshot=True)
        for role in ("root", "targets"):
            root.add_key(self.signers[role].public_key, role)
        for role in ("snapshot", "timestamp"):
            root.add_key(self.signers["online"].public_key, role)
        self.root = self._sign(root, "root")
        (web / "metadata" / "1.root.json").write_bytes(self.root)

    def _sign(self, signed: Any, by: str) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.signers[by])
        return metadata.to_bytes()

    def put(self, role: str, name: str, data: bytes) -> None:
        self.files[role][name] = data

    def publish(self, *, life: timedelta = timedelta(days=30)) -> None:
        self.version += 1
        expires = now() + timedelta(days=60)
        metadata = self.web / "metadata"
        meta = {}
        for role, files in self.files.items():
            signed = Targets(version=self.version, expires=expires)
            for name, data in files.items():
                info = TargetFile.from_data(name, data, ["sha256"])
                signed.targets[name] = info
                folder, _, base = name.rpartition("/")
                path = self.web / "targets" / folder / f"{info.hashes['sha256']}.{base}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            if role == "targets":
                signed.delegations = Delegations({}, {})
                signed.delegations.roles = {
                    name: DelegatedRole(name, [], 1, terminating=False, paths=paths)
                    for name, paths in self.delegated.items()
                }
                for name in self.delegated:
                    signed.add_key(self.signers[name].public_key, name)
            data = self._sign(signed, role)
            (metadata / f"{self.version}.{role}.json").write_bytes(data)
            meta[f"{role}.json"] = MetaFile(self.version)
        snapshot = Snapshot(version=self.version, expires=expires)
        snapshot.meta = meta
        (metadata / f"{self.version}.snapshot.json").write_bytes(self._sign(snapshot, "online"))
        timestamp = Timestamp(version=self.version, expires=now() + life)
        timestamp.snapshot_meta = MetaFile(self.version)
        timestamp.unrecognized_fields["issuedAt"] = moment(now())
        (metadata / "timestamp.json").write_bytes(self._sign(timestamp, "online"))

    another_life = timedelta(days=29)
    """For a second content of one version."""

    def sign_snapshot_twice(self) -> None:
        """A newer timestamp announces another content of the snapshot that was served."""
        metadata = self.web / "metadata"
        path = metadata / f"{self.version}.snapshot.json"
        snapshot = Metadata[Snapshot].from_file(str(path)).signed
        snapshot.expires += timedelta(days=1)
        data = self._sign(snapshot, "online")
        path.write_bytes(data)
        timestamp = Timestamp(version=self.version + 1, expires=now() + timedelta(days=30))
        timestamp.snapshot_meta = MetaFile.from_data(self.version, data, ["sha256"])
        timestamp.unrecognized_fields["issuedAt"] = moment(now())
        (metadata / "timestamp.json").write_bytes(self._sign(timestamp, "online"))

    def sign_targets_twice(self) -> None:
        """A newer snapshot announces another content of the targets that were trusted."""
        metadata = self.web / "metadata"
        path = metadata / f"{self.version}.targets.json"
        targets = Metadata[Targets].from_file(str(path)).signed
        targets.expires += timedelta(days=1)
        data = self._sign(targets, "targets")
        path.write_bytes(data)
        old = metadata / f"{self.version}.snapshot.json"
        snapshot = Metadata[Snapshot].from_file(str(old)).signed
        snapshot.version += 1
        snapshot.meta["targets.json"] = MetaFile.from_data(self.version, data, ["sha256"])
        new = metadata / f"{snapshot.version}.snapshot.json"
        new.write_bytes(self._sign(snapshot, "online"))
        timestamp = Timestamp(version=self.version + 1, expires=now() + timedelta(days=30))
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        timestamp.unrecognized_fields["issuedAt"] = moment(now())
        (metadata / "timestamp.json").write_bytes(self._sign(timestamp, "online"))


class Field:
    """Both authorities, the people who approve, and one device in the field."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engineering = Authority(
            folder / "engineering",
            {"model": ["releases/*/*/manifest.json"], "rollout": ["rollout/plan.json"]},
        )
        self.clinical = Authority(
            folder / "clinical",
            {
                "eligibility": [
                    "eligibility/index.json",
                    "eligibility/*/statement.json",
                    "eligibility/*/approvals.jsonl",
                ],
                "safety": ["safety/notices.jsonl"],
            },
        )
        functions = ("clinical", "quality", "regulatory")
        self.people = {name: CryptoSigner.generate_ed25519() for name in functions}
        self.stations = [CryptoSigner.generate_ed25519() for _ in range(2)]
        self.state = folder / "state"
        self.provisioning = folder / "provisioning"
        self.layout = Layout(self.state)
        self.releases: dict[str, str] = {}
        self.entries: list[dict[str, Any]] = []
        self.notices: list[bytes] = []
        self.notice_ids: list[str] = []
        self.numbers = iter(range(1, 1000))
        self.said: dict[str, Any] = {}
        self.site: Authority | None = None
        self.more_settings = ""
        self.use = sha256_hex(b"detect premature ventricular beats")
        keys = {
            "type": "urn:primum:provisioning-keys:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(now()),
            "threshold": 2,
            "keys": [public(item) for item in self.stations],
        }
        for authority in (self.engineering, self.clinical):
            authority.put("targets", "provisioning/keys.json", canonical_json(keys))
        self.clinical.put("targets", "policy/approval-policy.json", self._policy())
        self.clinical.put("safety", "safety/notices.jsonl", b"")
        self.assign(None)
        self._index()
        self.publish()

    def publish(self) -> None:
        self.engineering.publish()
        self.clinical.publish()

    def _policy(self) -> bytes:
        return canonical_json(
            {
                "type": "urn:primum:approval-policy:v0.1",
                "schemaVersion": "0.1",
                "id": urn(),
                "number": 1,
                "issuedAt": moment(now()),
                "people": [
                    {
                        "personId": f"p-{name}",
                        "printedName": name.title(),
                        "function": name,
                        "key": public(signer),
                        "status": "active",
                    }
                    for name, signer in self.people.items()
                ],
                "requirements": [
                    {"stage": "production", "functions": dict.fromkeys(self.people, 1)}
                ],
                "functionsToHold": 1,
                "functionsToTakeAway": 2,
                "burnedStatements": [],
            }
        )

    def _index(self) -> None:
        content = {
            "type": "urn:primum:eligibility-index:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": next(self.numbers),
            "issuedAt": moment(now()),
            "entries": self.entries,
        }
        self.clinical.put("eligibility", "eligibility/index.json", canonical_json(content))

    def assign(self, version: str | None) -> None:
        """Let the plan give this release to every device."""
        assignments = []
        if version is not None:
            assignments.append(
                {
                    "component": COMPONENT,
                    "version": version,
                    "release": {"sha256": self.releases[version]},
                    "notBefore": moment(now() - timedelta(hours=1)),
                    "rings": [{"name": "everyone", "devices": "all", "percentage": 100}],
                }
            )
        content = {
            "type": "urn:primum:rollout-plan:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": next(self.numbers),
            "issuedAt": moment(now()),
            "assignments": assignments,
        }
        self.engineering.put("rollout", "rollout/plan.json", canonical_json(content))

    def release(
        self,
        version: str,
        *,
        counter: int,
        scale: float = 1.0,
        approved_by: tuple[str, ...] = ("clinical", "quality", "regulatory"),
        health_window: int = 30,
        max_attempts: int = 3,
        **members: Any,
    ) -> str:
        """Build, sign, approve, list and assign one release; its manifest's digest."""
        fixtures = fixture_bytes()
        contents = {
            "model": ("model", f"model-{version}.onnx", model_bytes(scale)),
            "spec": ("self-test-specification", "selftest.json", specification_bytes(fixtures)),
            "fixtures": ("self-test-fixtures", "fixtures.npz", fixtures),
        }
        items = []
        for key, (kind, path, data) in contents.items():
            digest = sha256_hex(data)
            (self.engineering.web / "artifacts" / digest).write_bytes(data)
            item = {"id": key, "kind": kind, "path": path, "length": len(data)}
            items.append({**item, "digest": {"sha256": digest}})
        manifest = canonical_json(
            {
                "type": "urn:primum:release-manifest:v0.1",
                "schemaVersion": "0.1",
                "id": urn(),
                "issuedAt": moment(now()),
                "bundle": {
                    "component": COMPONENT,
                    "version": version,
                    "releaseCounter": counter,
                    "track": "model",
                    "createdAt": moment(now()),
                },
                "items": items,
                "compatibility": {"hardware": ["cardiowear-2"], "minAgentVersion": "0.1.0"},
                "installer": "model",
                "selfTest": {"specification": "spec", "fixtures": "fixtures"},
                "activation": {
                    "healthWindowSeconds": health_window,
                    "maxAttempts": max_attempts,
                },
                "rollback": {"floorCounter": 1},
                "labelling": {"ifuVersion": "1", "udiDi": "01234", "summary": "a release"},
                "maxStage": "production",
                "intendedUse": {"sha256": self.use},
                "changeTier": "minor",
                **members,
            }
        )
        self.releases[version] = sha256_hex(manifest)
        self.engineering.put("model", manifest_target(COMPONENT, version), manifest)
        self.approve(version, approved_by)
        self.assign(version)
        self.publish()
        return self.releases[version]

    def approve(self, version: str, people: tuple[str, ...]) -> None:
        """Sign and list the eligibility of a release; nobody's approval lists nothing."""
        if not people:
            return
        statement = self._statement(self.releases[version])
        digest = sha256_hex(statement)
        self.clinical.put("eligibility", statement_target(digest), statement)
        lines = b"".join(self._approval(digest, name) for name in people)
        self.clinical.put("eligibility", approvals_target(digest), lines)
        self.entries.append(
            {
                "component": COMPONENT,
                "version": version,
                "release": {"sha256": self.releases[version]},
                "statement": {"sha256": digest},
                "status": "eligible",
                "effectiveAt": moment(now() - timedelta(hours=1)),
            }
        )
        self._index()

    def _statement(self, release: str) -> bytes:
        content: dict[str, Any] = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "manifest.json", "digest": {"sha256": release}}],
            "predicateType": "urn:primum:eligibility:v0.1",
            "predicate": {
                "schemaVersion": "0.1",
                "id": urn(),
                "issuedAt": moment(now()),
                "statementNumber": next(self.numbers),
                "decision": "eligible",
                "stage": "production",
                "use": {"mode": "clinical"},
                "changeTier": "minor",
                "intendedUse": {
                    "digest": {"sha256": self.use},
                    "text": "detect premature ventricular beats",
                    "significance": "inform",
                    "decisionRole": "decision-support",
                },
                "constraints": {**CONSTRAINTS},
                "operatingPoint": {"output": "p", "threshold": "0.5"},
                "validity": {
                    "notBefore": moment(now() - timedelta(hours=1)),
                    "notAfter": moment(now() + timedelta(days=300)),
                    "maxIndexAgeHours": 240,
                    "offlineGraceHours": 48,
                },
                "exposure": {"maxPercentage": 100},
                **self.said,
                "onExpiry": {"action": "fall-back", "hazardRef": "HZ-1"},
                "onWithdrawal": {"action": "fall-back", "hazardRef": "HZ-1"},
                "failSafe": {
                    "mode": "ai-function-off",
                    "userNotice": "Measure only.",
                    "hazardRef": "HZ-1",
                },
            },
        }
        return canonical_json(content)

    def _approval(self, statement: str, person: str) -> bytes:
        payload = canonical_json(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": "statement.json", "digest": {"sha256": statement}}],
                "predicateType": "urn:primum:approval:v0.1",
                "predicate": {
                    "schemaVersion": "0.1",
                    "id": urn(),
                    "function": person,
                    "personId": f"p-{person}",
                    "printedName": person.title(),
                    "meaning": "approved",
                    "decision": "approve",
                    "signedAt": moment(now()),
                    "comment": "",
                    "scope": {"stage": "production", "changeTier": "minor"},
                },
            }
        )
        return envelope(payload, INTOTO_PAYLOAD_TYPE, self.people[person])

    def withdraw(self, version: str, *, action: str = "fall-back") -> None:
        """A notice signed by two functions, and the index."""
        self.notify(version, action=action)
        for entry in self.entries:
            if entry["version"] == version:
                entry["status"] = "withdrawn"
        self._index()
        self.publish()

    def notify(self, version: str, *people: str, kind: str = "withdrawal", **members: Any) -> None:
        """One more safety notice about a release, signed by two functions where none is named."""
        content: dict[str, Any] = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "manifest.json", "digest": {"sha256": self.releases[version]}}],
            "predicateType": "urn:primum:safety-notice:v0.1",
            "predicate": {
                "schemaVersion": "0.1",
                "id": urn(),
                "issuedAt": moment(now()),
                "kind": kind,
                "reason": {"code": "missed-beats", "text": "misses", "hazardRef": "HZ-2"},
                "scope": {"mode": "all", "jurisdictions": []},
                "effectiveAt": moment(now()),
                "gracePeriodSeconds": 0,
                "fallback": {"order": []},
                "userNotice": f"{version} was withdrawn.",
                **members,
            },
        }
        self.notice_ids.append(content["predicate"]["id"])
        signers = [self.people[name] for name in people or ("clinical", "quality")]
        self.notices.append(envelope(canonical_json(content), INTOTO_PAYLOAD_TYPE, *signers))
        self._put_notices()

    def forget_notices(self) -> None:
        """Take every notice off the list."""
        self.notices.clear()
        self._put_notices()

    def answered(self, version: str) -> None:
        """A new statement of a release, with every approval, that answers all its notices."""
        entry = next(item for item in self.entries if item["version"] == version)
        self.entries.remove(entry)
        said = self.said
        self.said = {**said, "answers": list(self.notice_ids)}
        self.approve(version, tuple(self.people))
        self.said = said
        self.publish()

    def restated(self, version: str, *people: str, **said: Any) -> dict[str, Any]:
        """Another statement of a release takes the place of the one listed; the entry before."""
        entry = self.unlisted(version)
        before, self.said = self.said, {**self.said, **said}
        self.approve(version, people or tuple(self.people))
        self.said = before
        self.publish()
        return entry

    def unlisted(self, version: str) -> dict[str, Any]:
        """The list loses the entry of a release; the entry that was lost."""
        entry = next(item for item in self.entries if item["version"] == version)
        self.entries.remove(entry)
        self._index()
        self.publish()
        return entry

    def listed(self, entry: dict[str, Any]) -> None:
        """The list names this again, and nothing else of that release."""
        self.entries = [item for item in self.entries if item["version"] != entry["version"]]
        self.entries.append(entry)
        self._index()
        self.publish()

    def _put_notices(self) -> None:
        self.clinical.put("safety", "safety/notices.jsonl", b"".join(self.notices))
        self.publish()

    @staticmethod
    def envelope(payload: bytes, payload_type: str, *signers: CryptoSigner) -> bytes:
        """A DSSE envelope."""
        return envelope(payload, payload_type, *signers)

    def replace_clinical(self) -> None:
        """Clinical lost its root: a repository with other keys stands at the same address."""
        old = self.clinical
        shutil.rmtree(old.web)
        self.clinical = Authority(old.web, old.delegated)
        self.clinical.files = old.files
        self.clinical.publish()

    def add_site(self) -> None:
        """A responsible organisation with a repository of its own; it has accepted nothing yet."""
        self.site = Authority(self.folder / "site", {})
        self.accept()

    def accept(self, *versions: str) -> None:
        """The organisation lets the statements of these releases in, and no others."""
        assert self.site is not None
        content = {
            "type": "urn:primum:site-acceptance:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": next(self.numbers),
            "issuedAt": moment(now()),
            "organisation": "a hospital",
            "sites": ["ward-7"],
            "accepted": [
                {
                    "statement": entry["statement"],
                    "acceptedFrom": moment(now() - timedelta(hours=1)),
                    "person": "somebody",
                }
                for entry in self.entries
                if entry["version"] in versions
            ],
        }
        self.site.put("targets", "site/acceptance.json", canonical_json(content))
        self.site.publish()

    # The device

    def enroll(
        self, *, poll_seconds: float = 3600, broker_port: int | None = None, key: str = ""
    ) -> None:
        """Make the device's key with the real command, and provision it.

        Args:
            poll_seconds: between two polls.
            broker_port: the broker's port on this machine; None for no broker.
            key: the address of a key on a token; empty for a key file.
        """
        output = self.folder / "enrolment.json"
        names = ["--device-id", DEVICE, "--hardware-id", "cardiowear-2", "--output", output]
        done = self.agent("enroll", *names, *(["--key", key] if key else []))
        assert done.returncode == 0, done.stderr
        enrolment = json.loads(output.read_text())
        self.device_key = PublicKey.model_validate(enrolment["publicKey"])
        self.provisioning.mkdir(exist_ok=True)
        self.write("device-context.dsse.json", self.context(enrolment))
        self.write("engineering.root.json", self.engineering.root)
        self.write("clinical.root.json", self.clinical.root)
        if self.site is not None:
            self.write("site.root.json", self.site.root)
        self.write("trust-map.json", self.trust_map(1))
        self.write("agent.toml", self.settings(poll_seconds, broker_port).encode())

    def context(
        self,
        enrolment: dict[str, Any],
        *signers: CryptoSigner,
        number: int = 1,
        **factory: Any,
    ) -> bytes:
        """A device context for the key of an enrolment, signed by the provisioning stations."""
        context = {
            "type": "urn:primum:device-context:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": number,
            "issuedAt": moment(now()),
            "notAfter": moment(now() + timedelta(days=300)),
            "factory": {
                "deviceId": DEVICE,
                "serialNumber": enrolment["serialNumber"],
                "hardwareId": "cardiowear-2",
                "hardwareRevision": "B",
                "udiDi": "01234",
                "publicKey": enrolment["publicKey"],
                **factory,
            },
            "placement": {"jurisdiction": "DE", "siteId": "ward-7", "careSetting": "home"},
        }
        data = canonical_json(context)
        return envelope(data, CONTEXT_PAYLOAD_TYPE, *(signers or self.stations))

    def trust_map(self, number: int, **members: Any) -> bytes:
        """A trust map over the authorities as they are now."""
        site = {} if self.site is None else {"siteRoot": {"sha256": sha256_hex(self.site.root)}}
        return canonical_json(
            {
                "type": "urn:primum:trust-map:v0.1",
                "schemaVersion": "0.1",
                "id": urn(),
                "number": number,
                "issuedAt": moment(now()),
                "stage": "production",
                "component": COMPONENT,
                "engineeringRoot": {"sha256": sha256_hex(self.engineering.root)},
                "clinicalRoot": {"sha256": sha256_hex(self.clinical.root)},
                **site,
                **members,
            }
        )

    def write(self, name: str, data: bytes) -> None:
        (self.provisioning / name).write_bytes(data)

    def settings(self, poll_seconds: float = 3600, broker_port: int | None = None) -> str:
        lines = [
            'schema_version = "0.1"',
            f'device_id = "{DEVICE}"',
            f'component = "{COMPONENT}"',
            'hardware_id = "cardiowear-2"',
        ]
        authorities = {"engineering": self.engineering, "clinical": self.clinical}
        if self.site is not None:
            authorities["site"] = self.site
        for name, authority in authorities.items():
            base = authority.web.as_uri()
            lines += [
                f"[repositories.{name}]",
                f'metadata_url = "{base}/metadata/"',
                f'targets_url = "{base}/targets/"',
                f'artifacts_url = "{base}/artifacts/"',
            ]
        lines += ["[timing]", f"poll_seconds = {poll_seconds:g}", "poll_jitter = 0.0"]
        if broker_port is not None:
            lines += ["[broker]", 'host = "127.0.0.1"', f"port = {broker_port}", 'fleet = "demo"']
        return "\n".join(lines) + "\n" + self.more_settings

    @property
    def folders(self) -> list[str]:
        """The two folders that ``run`` is started with."""
        return ["--state", str(self.state), "--provisioning", str(self.provisioning)]

    def agent(self, command: str, *words: object, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ``primum-agent`` as a user would."""
        return subprocess.run(
            [*AGENT, command, "--state", str(self.state), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **extra},
        )

    def once(self, **extra: str) -> subprocess.CompletedProcess[str]:
        """One poll by a whole supervisor; health is not proven by anybody."""
        return self.agent("run", "--once", "--provisioning", self.provisioning, **extra)

    @contextmanager
    def running(self, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
        """A supervisor for as long as the block runs; ended by SIGTERM, within ten seconds."""
        log = (self.folder / "supervisor.log").open("ab")
        process = subprocess.Popen(
            [*AGENT, "run", *self.folders],
            stderr=log,
            env={**os.environ, **extra},
        )
        try:
            yield process
        finally:
            log.close()
            # A process that a test has just killed is not asked again.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=10) == 0

    def journal(self) -> Journal:
        return Journal.open_to_read(self.layout, clock=FakeClock(), device_id=DEVICE)

    @contextmanager
    def journal_to_write(self) -> Iterator[Journal]:
        """The journal as another process would write to it."""
        journal = Journal.open(self.layout, clock=SystemClock(), device_id=DEVICE)
        try:
            yield journal
        finally:
            journal.close()

    def commit(self) -> None:
        """The application proves the health of what is provisional."""
        with self.journal_to_write() as journal:
            used = journal.state().in_use
            if used is not None and not used.proven:
                journal.record(committed(used))

    def counter(self, name: str) -> str:
        """One small value of the journal."""
        journal = self.journal()
        try:
            return journal.counter(name, "")
        finally:
            journal.close()

    def history(self) -> list[bytes]:
        """Every line that an export would hold."""
        journal = self.journal()
        try:
            return list(journal.history())
        finally:
            journal.close()

    def heads(self) -> int:
        """The newest event that a signed head covers."""
        journal = self.journal()
        try:
            return journal.last_head()
        finally:
            journal.close()

    def events(self) -> list[dict[str, Any]]:
        with suppress(Exception):
            journal = self.journal()
            try:
                return [json.loads(line) for line in journal.events()]
            finally:
                journal.close()
        return []

    def kinds(self) -> list[str]:
        return [item["type"].removeprefix("primum.device.") for item in self.events()]

    def event(self, kind: str) -> dict[str, Any]:
        """The newest event of a kind."""
        return next(
            item for item in reversed(self.events()) if item["type"] == f"primum.device.{kind}"
        )

    def opened(self) -> ActiveRelease | None:
        """The release that an application would open now."""
        try:
            found = open_active(self.state)
        except StandingError:
            return None
        return found if isinstance(found, ActiveRelease) else None

    def standing_or_none(self) -> int | None:
        """The generation that an application would be told to use."""
        return self.standing()["generation"] if self.layout.standing.is_file() else None

    def standing(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.layout.standing.read_bytes())
        return content


def wait_for(what: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Look again until it is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def new_field() -> Callable[[Path], Field]:
    """Two authorities and a device that is not enrolled yet, in a folder."""
    return Field


@pytest.fixture
def in_the_field(tmp_path: Path) -> Field:
    """Two authorities and one enrolled device; nothing released yet."""
    made = Field(tmp_path)
    made.enroll()
    return made


@pytest.fixture
def attempt_now(in_the_field: Field, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """One attempt in this process, over settings read anew, with a bench that finds all well.

    The journal is begun as a supervisor would; nobody is served unless a test says so.
    """
    monkeypatch.setattr("primum_agent.candidate.clinical_use", lambda _: ClinicalUse.IDLE)
    layout = in_the_field.layout
    for folder in (layout.run, layout.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    FolderStore(layout).prepare()
    Journal.open_or_restart(layout, clock=SystemClock(), device_id=DEVICE).close()

    def run(reason: str = "poll", *, clock: Any = None) -> int:
        settings = read_settings(in_the_field.provisioning)
        ports = replace(real_ports(settings, layout), bench=FakeBench())
        return run_attempt(
            settings=settings,
            layout=layout,
            clock=clock or SystemClock(),
            reason=reason,
            ports=ports,
        )

    return run


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty state folder with its run folder."""
    made = Layout(tmp_path / "state")
    made.run.mkdir(parents=True)
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(layout: Layout, clock: FakeClock) -> Iterator[Journal]:
    opened = Journal.open_or_restart(layout, clock=clock, device_id=DEVICE)
    yield opened
    opened.close()
