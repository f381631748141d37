"""What engineering, clinical and a site sign about releases, as whoever plays them says it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from primum_device_sim.authorities.authority import Authority
from primum_device_sim.authorities.documents import (
    COMPONENT,
    CONSTRAINTS,
    envelope,
    fixture_bytes,
    model_bytes,
    moment,
    public,
    specification_bytes,
)
from primum_device_sim.authorities.origin import THIS_MACHINE, Origin
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.envelope import (
    INTOTO_PAYLOAD_TYPE,
)
from primum_verifier.core.manifest import manifest_target


class Offices:
    """Both authorities and the people who approve.

    Args:
        folder: where their repositories lie, each below its own name.
        origin: where times, ids and keys come from.
    """

    def __init__(self, folder: Path, *, origin: Origin = THIS_MACHINE) -> None:
        self.folder = folder
        self.origin = origin
        self.engineering = Authority(
            folder / "engineering",
            {
                "model": ["releases/*/*/manifest.json", "releases/*/*/deltas.json"],
                "rollout": ["rollout/plan.json"],
            },
            origin=self.origin,
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
            origin=self.origin,
        )
        functions = ("clinical", "quality", "regulatory")
        self.people = {name: self.origin.new_key(name) for name in functions}
        self.stations = [self.origin.new_key("station") for _ in range(2)]
        self.releases: dict[str, str] = {}
        self.entries: list[dict[str, Any]] = []
        self.notices: list[bytes] = []
        self.notice_ids: list[str] = []
        self.numbers = iter(range(1, 1000))
        self.said: dict[str, Any] = {}
        self.site: Authority | None = None
        self.use = sha256_hex(b"detect premature ventricular beats")
        keys = {
            "type": "urn:primum:provisioning-keys:v0.1",
            "schemaVersion": "0.1",
            "id": self.origin.urn(),
            "number": 1,
            "issuedAt": moment(self.origin.now()),
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
        """Let both sign and lay out what was said."""
        self.engineering.publish()
        self.clinical.publish()

    def sign_again(self) -> None:
        """Let both say the same again, the list of what is eligible included."""
        self._index()
        self.publish()

    def _policy(self) -> bytes:
        return canonical_json(
            {
                "type": "urn:primum:approval-policy:v0.1",
                "schemaVersion": "0.1",
                "id": self.origin.urn(),
                "number": 1,
                "issuedAt": moment(self.origin.now()),
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
            "id": self.origin.urn(),
            "number": next(self.numbers),
            "issuedAt": moment(self.origin.now()),
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
                    "notBefore": moment(self.origin.now() - timedelta(hours=1)),
                    "rings": [{"name": "everyone", "devices": "all", "percentage": 100}],
                }
            )
        content = {
            "type": "urn:primum:rollout-plan:v0.1",
            "schemaVersion": "0.1",
            "id": self.origin.urn(),
            "number": next(self.numbers),
            "issuedAt": moment(self.origin.now()),
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
        monitoring: bytes = b"",
        **members: object,
    ) -> str:
        """Build, sign, approve, list and assign one release; its manifest's digest."""
        fixtures = fixture_bytes()
        specification = specification_bytes(fixtures, origin=self.origin)
        contents = {
            "model": ("model", f"model-{version}.onnx", model_bytes(scale)),
            "spec": ("self-test-specification", "selftest.json", specification),
            "fixtures": ("self-test-fixtures", "fixtures.npz", fixtures),
        }
        if monitoring:
            contents["monitoring"] = ("monitoring-specification", "monitoring.json", monitoring)
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
                "id": self.origin.urn(),
                "issuedAt": moment(self.origin.now()),
                "bundle": {
                    "component": COMPONENT,
                    "version": version,
                    "releaseCounter": counter,
                    "track": "model",
                    "createdAt": moment(self.origin.now()),
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
                "effectiveAt": moment(self.origin.now() - timedelta(hours=1)),
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
                "id": self.origin.urn(),
                "issuedAt": moment(self.origin.now()),
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
                    "notBefore": moment(self.origin.now() - timedelta(hours=1)),
                    "notAfter": moment(self.origin.now() + timedelta(days=300)),
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
                    "id": self.origin.urn(),
                    "function": person,
                    "personId": f"p-{person}",
                    "printedName": person.title(),
                    "meaning": "approved",
                    "decision": "approve",
                    "signedAt": moment(self.origin.now()),
                    "comment": "",
                    "scope": {"stage": "production", "changeTier": "minor"},
                },
            }
        )
        return envelope(payload, INTOTO_PAYLOAD_TYPE, self.people[person])
