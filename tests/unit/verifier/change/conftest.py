"""One change with all its papers, as dictionaries that a test bends before it asks the plan."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.change.answer import PlanAnswer, read
from primum_verifier.change.check import check_change
from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.description import ChangeDescription, ModificationHistory
from primum_verifier.change.plan import ChangeControlPlan
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.manifest import ReleaseManifest

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
FROZEN = NOW - timedelta(days=98)
"""A day before the candidate is made."""

URN = "urn:uuid:00000000-0000-4000-8000-00000000000{}"


def moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(text: str) -> dict[str, str]:
    return {"sha256": sha256_hex(text.encode())}


class Case:
    """Base, original and candidate, the plan and the change of the examples, reports, history."""

    def __init__(self) -> None:
        self.now = NOW
        self.jurisdiction = "DE"
        self.plan: dict[str, Any] = json.loads((EXAMPLES / "change-control-plan.json").read_text())
        self.change: dict[str, Any] = json.loads((EXAMPLES / "change.json").read_text())
        self.original = self.release("1.0.0", 1, "ifu-1")
        self.base = self.release("1.1.0", 2, "ifu-2")
        self.candidate = self.release("1.2.0", 3, "ifu-3")
        self.reports = [self.report()]
        self.entries: list[dict[str, Any]] | None = [self.entry("1.1.0", days_ago=60)]
        self.listed_at = NOW
        self.kept: dict[str, Any] = {}
        """Digests that a test sets by hand, by the place they stand in."""

    @property
    def retrain(self) -> dict[str, Any]:
        found: dict[str, Any] = self.plan["modifications"][0]
        return found

    @property
    def move_threshold(self) -> dict[str, Any]:
        found: dict[str, Any] = self.plan["modifications"][1]
        return found

    def release(self, version: str, counter: int, ifu: str) -> dict[str, Any]:
        kinds = {
            "model": "model",
            "thresholds": "threshold-set",
            "spec": "self-test-specification",
            "fixtures": "self-test-fixtures",
            "instructions": "ifu",
        }
        changing = {"model", "self-test-specification", "ifu"}
        return {
            "type": "urn:primum:release-manifest:v0.1",
            "schemaVersion": "0.1",
            "id": URN.format(counter),
            "issuedAt": moment(NOW - timedelta(days=100 - counter)),
            "bundle": {
                "component": "pvc-classifier",
                "version": version,
                "releaseCounter": counter,
                "track": "model",
                "createdAt": moment(NOW - timedelta(days=100 - counter)),
            },
            "items": [
                {
                    "id": name,
                    "kind": kind,
                    "path": f"{name}.bin",
                    "length": 3,
                    "digest": digest(f"{name} {version if kind in changing else 'ever'}"),
                }
                for name, kind in kinds.items()
            ],
            "compatibility": {"hardware": ["cardiowear-2"], "minAgentVersion": "0.1.0"},
            "installer": "model",
            "selfTest": {"specification": "spec", "fixtures": "fixtures"},
            "activation": {"healthWindowSeconds": 30, "maxAttempts": 3},
            "rollback": {"floorCounter": 1},
            "labelling": {"ifuVersion": ifu, "udiDi": "01234", "summary": version},
            "maxStage": "production",
            "intendedUse": self.plan["intendedUse"],
            "changeTier": "minor",
        }

    def report(self, modification: int = 0) -> dict[str, Any]:
        planned = self.plan["modifications"][modification]
        asked = {
            (item["metric"], item["cohort"], item["versus"])
            for item in [*planned["acceptance"], *self.cumulative()]
        }
        arms = {
            name: {
                "predictions": digest(f"predictions {name}"),
                "threshold": "0.5",
                "noDecision": 0,
            }
            for name in ("candidate", "last", "original")
        }
        return {
            "type": "urn:primum:comparison-report:v0.1",
            "schemaVersion": "0.1",
            "protocol": {
                "id": "comparison-7",
                "digest": digest("protocol"),
                "frozenAt": moment(FROZEN),
                "author": "statistics",
                "rung": "retrospective",
            },
            "methods": copy.deepcopy(planned["protocol"]),
            "unit": "patient",
            "unitRationale": "beats of one patient are not independent",
            "seed": 7,
            "replicates": 2000,
            "accounting": {"patients": 400, "cases": 9000, "positives": 900, "negatives": 8100},
            "arms": arms,
            "endpoints": [self.endpoint(*key) for key in sorted(asked)],
            "overall": "met",
            "software": "primum-repo",
        }

    def cumulative(self) -> list[dict[str, Any]]:
        return [{**item, "versus": "original"} for item in self.plan["cumulative"]["acceptance"]]

    @staticmethod
    def endpoint(metric: str, cohort: str, versus: str, low: str = "-0.010000") -> dict[str, Any]:
        cases = {"sensitivity": 900, "specificity": 8100}.get(metric, 9000)
        cases = cases if cohort == "all" else cases // 2
        return {
            "id": f"{metric} vs {versus} in {cohort}",
            "metric": metric,
            "versus": versus,
            "cohort": cohort,
            "role": "co-primary" if cohort == "all" else "cohort-claim",
            "method": "patient-level cluster bootstrap",
            "margin": "0.05",
            "difference": {
                "estimate": f"{4 / cases:.6f}",
                "low": low,
                "high": "0.018000",
                "confidence": "0.95",
            },
            "patients": 400 if cohort == "all" else 200,
            "cases": cases,
            "gained": 12,
            "lost": 8,
            "decision": "met",
            "why": "lower bound above the margin",
        }

    def entry(self, version: str, *, days_ago: float, what: str = "retrain") -> dict[str, Any]:
        return {
            "release": digest(version),
            "version": version,
            "modificationIds": [what],
            "implementedAt": moment(NOW - timedelta(days=days_ago)),
        }

    def endpoints(self, metric: str, cohort: str, versus: str) -> list[dict[str, Any]]:
        return [
            item
            for report in self.reports
            for item in report["endpoints"]
            if (item["metric"], item["cohort"], item["versus"]) == (metric, cohort, versus)
        ]

    def item(self, release: dict[str, Any], name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(item for item in release["items"] if item["id"] == name)
        return found

    def link(self) -> None:
        """Write each digest where it belongs, but for those that a test keeps."""

        def put(place: str, holder: dict[str, Any], member: str, value: str) -> None:
            found = self.kept.get(place, value)
            if found is None:
                holder.pop(member, None)
            else:
                holder[member] = {"sha256": found}

        original = self.sha256(self.original)
        put("plan.original", self.plan["originalDevice"], "manifest", original)
        for release in (self.base, self.candidate):
            if release is self.original:
                continue
            previous = original if release is self.base else self.sha256(self.base)
            place = "base" if release is self.base else "candidate"
            put(f"{place}.previous", release, "previous", previous)
            put(f"{place}.original", release, "original", original)
        base, candidate = self.sha256(self.base), self.sha256(self.candidate)
        put("change.release", self.change, "release", candidate)
        put("change.plan", self.change, "plan", sha256_hex(canonical_json(self.plan)))
        for report in self.reports:
            arms = {"candidate": candidate, "last": base, "original": original}
            for name, sha256 in arms.items():
                if name in report["arms"]:
                    put(f"report.{name}", report["arms"][name], "release", sha256)
        for entry in self.entries or []:
            known = {"1.1.0": base, "1.2.0": candidate}
            if entry["version"] in known:
                put("history.release", entry, "release", known[entry["version"]])

    @staticmethod
    def sha256(content: dict[str, Any]) -> str:
        return sha256_hex(canonical_json(content))

    def history(self) -> dict[str, Any] | None:
        if self.entries is None:
            return None
        digest_of_list = {"sha256": self.kept.get("history.original", self.sha256(self.original))}
        return {
            "type": "urn:primum:modification-history:v0.1",
            "schemaVersion": "0.1",
            "id": URN.format(9),
            "issuedAt": moment(self.listed_at),
            "original": digest_of_list,
            "entries": self.entries,
        }

    def ask(self) -> PlanAnswer:
        """Link everything as it now stands and ask the plan."""
        self.link()
        history = self.history()
        return check_change(
            read(ChangeControlPlan, canonical_json(self.plan), where="plan"),
            base=read(ReleaseManifest, canonical_json(self.base), where="base"),
            original=read(ReleaseManifest, canonical_json(self.original), where="original"),
            candidate=read(ReleaseManifest, canonical_json(self.candidate), where="candidate"),
            change=read(ChangeDescription, canonical_json(self.change), where="change"),
            reports=[
                read(ComparisonReport, canonical_json(report), where=f"report {place}")
                for place, report in enumerate(self.reports)
            ],
            history=None
            if history is None
            else read(ModificationHistory, canonical_json(history), where="history"),
            now=self.now,
            jurisdiction=self.jurisdiction,
        )

    def refused(self) -> tuple[str, set[str]]:
        """The answer, and the names of the checks that stand in the way."""
        answer = self.ask()
        return str(answer.answer), {check.name for check in answer.in_the_way}


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.fixture
def make_case() -> Callable[[], Case]:
    return Case
