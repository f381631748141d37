"""Small real repositories and documents for the verifier's tests: real keys, real signatures."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, INTOTO_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.question import ArtifactsFact, Question, SelfTestFact
from primum_verifier.core.view import AuthorityView, RoleState, SignedDocument
from primum_verifier.core.vocabulary import Phase
from primum_verifier.shell.fetching import FakeFetcher

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


def urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def envelope(payload: bytes, payload_type: str, *signers: CryptoSigner) -> bytes:
    made = Envelope(payload, payload_type, {})
    for signer in signers:
        key_id = public_key_of(signer.public_key).key_id
        signature = signer.sign(made.pae())
        signature.keyid = key_id
        made.signatures[key_id] = signature
    return canonical_json(made.to_dict())


@dataclass
class Repository:
    """A TUF repository in memory, served by the fetcher's double; each publish is a new version."""

    base: str = "https://repo.test/"
    fetcher: FakeFetcher = field(default_factory=FakeFetcher)
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.signers = {
            role: CryptoSigner.generate_ed25519()
            for role in ("root", "root2", "targets", "snapshot", "timestamp", "model")
        }
        self.root = Root(expires=LATER, consistent_snapshot=True)
        for role in ("targets", "snapshot", "timestamp"):
            self.root.add_key(self._key(role), role)
        self.root.add_key(self._key("root"), "root")
        self.root.add_key(self._key("root2"), "root")
        self.root.roles["root"].threshold = 2
        self.targets = Targets(expires=LATER)
        self.snapshot = Snapshot(expires=LATER)
        self.timestamp = Timestamp(expires=LATER)
        self.model = Targets(expires=LATER)
        self.targets.delegations = Delegations({}, {})
        self.targets.delegations.roles = {
            "model": DelegatedRole("model", [], 1, terminating=False, paths=["releases/*/*/*"])
        }
        self.targets.add_key(self._key("model"), "model")
        for part in (self.root, self.targets, self.snapshot, self.timestamp, self.model):
            part.version = 0
        self.root_bytes = self.publish_root()
        self.publish()

    def _key(self, role: str) -> Key:
        return self.signers[role].public_key

    def _sign(self, signed: Any, *roles: str) -> bytes:
        metadata = Metadata(signed)
        for role in roles:
            metadata.sign(self.signers[role], append=True)
        return metadata.to_bytes()

    def put(self, name: str, data: bytes) -> None:
        self.fetcher.files[f"{self.base}metadata/{name}"] = data

    def publish_root(self, *roles: str) -> bytes:
        self.root.version += 1
        data = self._sign(self.root, *(roles or ("root", "root2")))
        self.put(f"{self.root.version}.root.json", data)
        return data

    def add_target(self, name: str, data: bytes, *, role: str = "targets") -> None:
        info = TargetFile.from_data(name, data, ["sha256"])
        (self.model if role == "model" else self.targets).targets[name] = info
        folder, slash, base = name.rpartition("/")
        path = f"{folder}{slash}{info.hashes['sha256']}.{base}"
        self.fetcher.files[f"{self.base}targets/{path}"] = data

    def publish(self) -> None:
        self.targets.version += 1
        self.model.version += 1
        self.snapshot.version += 1
        self.put(f"{self.targets.version}.targets.json", self._sign(self.targets, "targets"))
        self.put(f"{self.model.version}.model.json", self._sign(self.model, "model"))
        self.snapshot.meta = {
            "targets.json": MetaFile(self.targets.version),
            "model.json": MetaFile(self.model.version),
        }
        self.put(f"{self.snapshot.version}.snapshot.json", self._sign(self.snapshot, "snapshot"))
        self.publish_timestamp()

    def publish_timestamp(self) -> None:
        self.timestamp.version += 1
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.timestamp.unrecognized_fields["issuedAt"] = moment(self.now)
        self.put("timestamp.json", self._sign(self.timestamp, "timestamp"))


@pytest.fixture
def repository() -> Repository:
    return Repository()


class World:
    """Everything that bears on one release, as dictionaries that a test bends before it judges."""

    def __init__(self) -> None:
        self.people = {
            name: CryptoSigner.generate_ed25519() for name in ("clinical", "quality", "regulatory")
        }
        self.provisioning = [CryptoSigner.generate_ed25519() for _ in range(2)]
        self.device = CryptoSigner.generate_ed25519()
        self.device_public = public_key_of(self.device.public_key)
        use = sha256_hex(b"detect premature ventricular beats")
        self.manifest: dict[str, Any] = {
            "type": "urn:primum:release-manifest:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "issuedAt": moment(NOW),
            "bundle": {
                "component": "pvc-classifier",
                "version": "1.1.0",
                "releaseCounter": 2,
                "track": "model",
                "createdAt": moment(NOW),
            },
            "items": [
                {"id": key, "kind": kind, "path": path, "length": 3, "digest": {"sha256": "0" * 64}}
                for key, kind, path in (
                    ("model", "model", "model.onnx"),
                    ("spec", "self-test-specification", "selftest.json"),
                    ("fixtures", "self-test-fixtures", "fixtures.npz"),
                )
            ],
            "compatibility": {"hardware": ["cardiowear-2"], "minAgentVersion": "0.1.0"},
            "installer": "model",
            "selfTest": {"specification": "spec", "fixtures": "fixtures"},
            "activation": {"healthWindowSeconds": 30, "maxAttempts": 3},
            "rollback": {"floorCounter": 1},
            "labelling": {"ifuVersion": "1", "udiDi": "01234", "summary": "better"},
            "maxStage": "production",
            "intendedUse": {"sha256": use},
            "changeTier": "minor",
        }
        self.statement: dict[str, Any] = {
            "schemaVersion": "0.1",
            "id": urn(),
            "issuedAt": moment(NOW),
            "statementNumber": 5,
            "decision": "eligible",
            "stage": "production",
            "use": {"mode": "clinical"},
            "changeTier": "minor",
            "intendedUse": {
                "digest": {"sha256": use},
                "text": "detect premature ventricular beats",
                "significance": "inform",
                "decisionRole": "decision-support",
            },
            "constraints": {
                "jurisdictions": ["DE", "FR"],
                "hardware": [{"hardwareId": "cardiowear-2"}],
                "sites": {"mode": "list", "ids": ["ward-7"]},
            },
            "operatingPoint": {"output": "pvc_probability", "threshold": "0.5"},
            "validity": {
                "notBefore": moment(NOW),
                "notAfter": moment(NOW + timedelta(days=300)),
                "maxIndexAgeHours": 240,
                "offlineGraceHours": 48,
            },
            "exposure": {"maxPercentage": 100},
            "onExpiry": {"action": "continue-with-notice", "hazardRef": "HZ-1"},
            "onWithdrawal": {"action": "fall-back", "hazardRef": "HZ-1"},
            "failSafe": {
                "mode": "ai-function-off",
                "userNotice": "Measure only.",
                "hazardRef": "HZ-1",
            },
        }
        self.context: dict[str, Any] = {
            "type": "urn:primum:device-context:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(NOW),
            "notAfter": moment(NOW + timedelta(days=300)),
            "factory": {
                "deviceId": "wearable-001",
                "serialNumber": "SN1",
                "hardwareId": "cardiowear-2",
                "hardwareRevision": "B",
                "udiDi": "01234",
                "publicKey": self.device_public.model_dump(mode="json", by_alias=True),
            },
            "placement": {"jurisdiction": "DE", "siteId": "ward-7", "careSetting": "home"},
        }
        self.policy: dict[str, Any] = {
            "type": "urn:primum:approval-policy:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(NOW),
            "people": [
                {
                    "personId": f"p-{name}",
                    "printedName": name.title(),
                    "function": name,
                    "key": public_key_of(signer.public_key).model_dump(mode="json", by_alias=True),
                    "status": "active",
                }
                for name, signer in self.people.items()
            ],
            "requirements": [{"stage": "production", "functions": dict.fromkeys(self.people, 1)}],
            "functionsToHold": 1,
            "functionsToTakeAway": 2,
            "minStatementNumber": 0,
            "burnedStatements": [],
        }
        self.index_status = "eligible"
        self.index: dict[str, Any] | None = {
            "type": "urn:primum:eligibility-index:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 9,
            "issuedAt": moment(NOW),
            "entries": [],
        }
        self.listed = True
        self.stage = "production"
        self.trust_map: dict[str, Any] = {}
        self.acceptance: dict[str, Any] | None = None
        self.site_roles: dict[str, RoleState] | None = None
        self.approvals: list[dict[str, Any]] = [
            {
                "function": name,
                "personId": f"p-{name}",
                "printedName": name.title(),
                "meaning": "approved",
                "decision": "approve",
                "signer": name,
                "scope": {"stage": "production", "changeTier": "minor"},
            }
            for name in self.people
        ]
        self.notices: list[tuple[dict[str, Any], list[str]]] = []
        self.provisioning_listed = {"engineering": [0, 1], "clinical": [0, 1]}
        self.context_signers = [0, 1]
        self.notices_there = True
        self.elsewhere: set[int] = set()
        self.roles = {"manifest": "model", "index": "eligibility", "notices": "safety"}
        self.statement_changed = b""
        self.junk = 0
        self.effective_at = NOW
        self.awaited = ""
        self.expires: dict[str, datetime] = {}
        self.shared_keys: set[str] = set()
        self.missing: set[str] = set()
        self.about: str | None = None
        self.shared_with_engineering: set[str] = set()
        self.vouched: datetime | None = NOW
        self.more_entries: list[dict[str, Any]] = []
        self.tamper: Callable[[str, bytes], bytes] = lambda _, data: data
        self.facts: dict[str, Any] = {
            "phase": Phase.INSTALL,
            "agent_version": "0.1.0",
            "hardware_id": "cardiowear-2",
            "device_key": self.device_public.public,
            "clock": NOW + timedelta(hours=1),
            "proven": NOW + timedelta(minutes=30),
            "counter_floor": 1,
            "artifacts": ArtifactsFact.WHOLE,
            "self_test": SelfTestFact.PASSED,
        }

    @property
    def manifest_bytes(self) -> bytes:
        return canonical_json(self.manifest)

    @property
    def release(self) -> str:
        return sha256_hex(self.manifest_bytes)

    def notice(self, *signers: str, **changes: Any) -> None:
        """Add a notice about the release, signed by these people."""
        self.notices.append(
            (
                {
                    "schemaVersion": "0.1",
                    "id": urn(),
                    "issuedAt": moment(NOW),
                    "kind": "withdrawal",
                    "action": "fall-back",
                    "reason": {"code": "missed-beats", "text": "misses beats", "hazardRef": "HZ-2"},
                    "scope": {"mode": "all", "jurisdictions": []},
                    "effectiveAt": moment(NOW),
                    "gracePeriodSeconds": 0,
                    "fallback": {"order": []},
                    "userNotice": "Withdrawn.",
                    **changes,
                },
                list(signers),
            )
        )

    def run(self) -> None:
        """Let the release run, activated under the statement as it now stands."""
        self.facts.update(phase=Phase.CONTINUE, activated_under=self.statement_bytes())

    def hire(self, name: str, function: str) -> None:
        """One more person in the policy, with a key of their own."""
        self.people[name] = CryptoSigner.generate_ed25519()
        key = public_key_of(self.people[name].public_key).model_dump(mode="json", by_alias=True)
        self.policy["people"].append(
            {
                "personId": f"p-{name}",
                "printedName": name.title(),
                "function": function,
                "key": key,
                "status": "active",
            }
        )

    def decide(self, decision: str) -> None:
        """Let the statement decide otherwise, with what that decision needs besides."""
        mode = {"investigational": "investigational", "shadow-only": "shadow"}.get(decision)
        self.statement.update(decision=decision, use={"mode": mode or "clinical"})
        if mode is not None:
            self.statement["study"] = {
                "protocolId": "PVC-1",
                "approvalRef": "EC-2026-17",
                "until": moment(NOW + timedelta(days=200)),
                "devices": ["wearable-001"],
            }
        if decision == "eligible-with-conditions":
            self.statement["conditions"] = [
                {"code": "on-mains", "text": "On mains power.", "enforce": "labelling"}
            ]
        if decision == "shadow-only":
            self.accept()

    def accept(self, **changes: Any) -> None:
        """Put the hospital on the trust map, and let it accept the statement."""
        self.acceptance = {
            "type": "urn:primum:site-acceptance:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(NOW),
            "organisation": "Hospital",
            "sites": ["ward-7"],
            "accepted": [{"acceptedFrom": moment(NOW), "person": "Head", "conditions": []}],
            **changes,
        }

    def _site(self, digest: str) -> AuthorityView | None:
        if self.acceptance is None:
            return None
        accepted = [
            {"statement": {"sha256": digest}, **entry} for entry in self.acceptance["accepted"]
        ]
        content = canonical_json({**self.acceptance, "accepted": accepted})
        return AuthorityView(
            "site",
            self._roles() if self.site_roles is None else self.site_roles,
            NOW,
            self._tampered({"site/acceptance.json": SignedDocument(content, "targets")}),
            frozenset({"s1"}),
        )

    def _tampered(self, documents: dict[str, SignedDocument]) -> dict[str, SignedDocument]:
        return {
            name: SignedDocument(self.tamper(name, document.data), document.role)
            for name, document in documents.items()
        }

    def _roles(self, *names: str) -> dict[str, RoleState]:
        return {
            name: RoleState(1, self.expires.get(name, LATER), sha256_hex(name.encode()))
            for name in ("root", "timestamp", "snapshot", "targets", *names)
            if name not in self.missing
        }

    def _provisioning(self, authority: str) -> SignedDocument:
        content = {
            "type": "urn:primum:provisioning-keys:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(NOW),
            "threshold": 2,
            "keys": [
                public_key_of(self.provisioning[place].public_key).model_dump(
                    mode="json", by_alias=True
                )
                for place in self.provisioning_listed[authority]
            ],
        }
        return SignedDocument(canonical_json(content), "targets")

    def statement_bytes(self) -> bytes:
        return canonical_json(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [
                    {"name": "manifest.json", "digest": {"sha256": self.about or self.release}}
                ],
                "predicateType": "urn:primum:eligibility:v0.1",
                "predicate": self.statement,
            }
        )

    def approval_lines(self, statement: str) -> bytes:
        lines = []
        for approval in self.approvals:
            said: dict[str, Any] = {
                key: value for key, value in approval.items() if key not in {"signer", "over"}
            }
            payload = canonical_json(
                {
                    "_type": "https://in-toto.io/Statement/v1",
                    "subject": [
                        {
                            "name": "statement.json",
                            "digest": {"sha256": approval.get("over", statement)},
                        }
                    ],
                    "predicateType": "urn:primum:approval:v0.1",
                    "predicate": said
                    | {
                        "schemaVersion": "0.1",
                        "id": urn(),
                        "signedAt": moment(NOW),
                        "comment": "",
                    },
                }
            )
            lines.append(envelope(payload, INTOTO_PAYLOAD_TYPE, self.people[approval["signer"]]))
        return b"".join(lines)

    def notice_lines(self) -> bytes:
        lines = []
        for number, (said, signers) in enumerate(self.notices):
            about = "9" * 64 if number in self.elsewhere else self.release
            payload = canonical_json(
                {
                    "_type": "https://in-toto.io/Statement/v1",
                    "subject": [{"name": "manifest.json", "digest": {"sha256": about}}],
                    "predicateType": "urn:primum:safety-notice:v0.1",
                    "predicate": said,
                }
            )
            who = [self.people[name] for name in signers]
            lines.append(envelope(payload, INTOTO_PAYLOAD_TYPE, *who))
        return b"".join(lines) + b"not an envelope\n" * self.junk

    def question(self) -> Question:
        """Sign everything as it now stands and ask."""
        statement = self.statement_bytes()
        digest = sha256_hex(statement)
        component, version = "pvc-classifier", self.manifest["bundle"]["version"]
        engineering = {
            manifest_target(component, version): SignedDocument(
                self.manifest_bytes, self.roles["manifest"]
            ),
            "provisioning/keys.json": self._provisioning("engineering"),
        }
        clinical = {
            "policy/approval-policy.json": SignedDocument(canonical_json(self.policy), "targets"),
            "provisioning/keys.json": self._provisioning("clinical"),
            statement_target(digest): SignedDocument(
                statement + self.statement_changed, "eligibility"
            ),
            approvals_target(digest): SignedDocument(self.approval_lines(digest), "eligibility"),
            "safety/notices.jsonl": SignedDocument(self.notice_lines(), self.roles["notices"]),
        }
        if not self.notices_there:
            del clinical["safety/notices.jsonl"]
        if self.index is not None:
            entry = {
                "component": component,
                "version": version,
                "release": {"sha256": self.release},
                "statement": {"sha256": digest},
                "status": self.index_status,
                "effectiveAt": moment(self.effective_at),
            }
            index = {
                **self.index,
                "entries": [*([entry] if self.listed else []), *self.more_entries],
            }
            clinical["eligibility/index.json"] = SignedDocument(
                canonical_json(index), self.roles["index"]
            )
        trust_map = TrustMap.model_validate_json(
            json.dumps(
                {
                    "type": "urn:primum:trust-map:v0.1",
                    "schemaVersion": "0.1",
                    "id": urn(),
                    "number": 1,
                    "issuedAt": moment(NOW),
                    "stage": self.stage,
                    "component": component,
                    "engineeringRoot": {"sha256": "1" * 64},
                    "clinicalRoot": {"sha256": "2" * 64},
                    **({} if self.acceptance is None else {"siteRoot": {"sha256": "3" * 64}}),
                    **self.trust_map,
                }
            )
        )
        context = envelope(
            canonical_json(self.context),
            CONTEXT_PAYLOAD_TYPE,
            *(self.provisioning[place] for place in self.context_signers),
        )
        return Question(
            release=self.release,
            trust_map=trust_map,
            engineering=AuthorityView(
                "engineering",
                self._roles("model", "rollout"),
                NOW,
                self._tampered(engineering),
                frozenset({"e1", "e2"} | self.shared_keys | self.shared_with_engineering),
            ),
            clinical=AuthorityView(
                "clinical",
                self._roles("eligibility", "safety"),
                self.vouched,
                self._tampered(clinical),
                frozenset({"c1", "c2"} | self.shared_keys),
                self.awaited,
            ),
            site=self._site(digest),
            device_context=self.tamper("context", context),
            **self.facts,
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> Callable[[], World]:
    return World
