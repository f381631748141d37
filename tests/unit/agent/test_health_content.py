"""A report of health of a real device says what runs, what it trusts, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import ClockQuality, FakeClock, SystemClock
from primum_agent.health import health_message
from primum_agent.health_told import told_health
from primum_agent.journal import Journal
from primum_agent.receipts import TOPIC
from primum_agent.sensors import FakeSensors
from primum_agent.trusted_roles import note_roles, trusted_roles
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.record.health import HealthData, HealthReport

DEVICE = "wearable-001"


def report(field: Any, **more: Any) -> HealthData:
    journal = field.journal() if not isinstance(field, Journal) else field
    state = journal.state()
    generations = None if isinstance(field, Journal) else field.layout.generations
    told = told_health(
        journal,
        state,
        generations=generations,
        now=more.pop("now", SystemClock().now()),
        quality=more.pop("quality", ClockQuality.SYNCHRONISED),
        counted=more.pop("counted", {}),
    )
    line = health_message(
        device_id=DEVICE,
        state=state,
        readings=FakeSensors().readings,
        now=SystemClock().now(),
        quality=ClockQuality.SYNCHRONISED,
        waiting=0,
        restarts=1,
        problems=(),
        requests={"taken": 0, "refused": 0},
        told=told,
    )
    return parse_document(HealthReport, line, where="health").data


@pytest.fixture
def running(in_the_field: Any, attempt_now: Callable[..., int]) -> Any:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    return in_the_field


def test_every_file_in_use_is_told_with_the_digest_that_was_signed(running: Any) -> None:
    data = report(running)
    manifest = json.loads((running.layout.generations / "1/manifest.json").read_bytes())
    assert {item.id: item.sha256 for item in data.items} == {
        item["id"]: item["digest"]["sha256"] for item in manifest["items"]
    }
    journal = running.journal()
    used = journal.state().in_use
    journal.close()
    assert data.eligibility is not None
    assert (data.eligibility.number, data.eligibility.sha256) == (
        used.statement_number,
        used.statement,
    )
    assert data.eligibility.age_seconds is not None
    assert data.eligibility.age_seconds < 600


def test_every_role_of_both_authorities_is_told_as_it_was_published(running: Any) -> None:
    """What is compared between devices is what was signed, whoever else signs it too."""
    told = report(running).roles
    assert set(told) == {"engineering", "clinical"}
    for authority, found in told.items():
        web: Path = getattr(running, authority).web / "metadata"
        published: dict[str, dict[int, str]] = {}
        for path in web.glob("*.json"):
            signed = json.loads(path.read_bytes())["signed"]
            name = path.name.removesuffix(".json")
            role = name.partition(".")[2] or name
            published.setdefault(role, {})[signed["version"]] = sha256_hex(canonical_json(signed))
        assert {"root", "timestamp", "snapshot", "targets"} < set(found.roles)
        for role, one in found.roles.items():
            assert published[role][one.version] == one.sha256, role
            assert one.version == max(published[role])
        assert found.pinned_root is not None


def test_a_further_signature_over_the_same_content_is_no_other_content(journal: Journal) -> None:
    signed = {"version": 4, "_type": "timestamp", "x": "é"}
    digests = []
    for signatures in ([], [{"keyid": "a", "sig": "b"}]):
        data = json.dumps({"signed": signed, "signatures": signatures}).encode()
        note_roles(journal, "clinical", {"timestamp.json": data}, accepted=None)
        digests.append(trusted_roles(journal)["clinical"]["roles"]["timestamp"]["sha256"])
    assert digests[0] == digests[1] == sha256_hex(canonical_json(signed))


def test_of_the_roots_that_are_kept_the_newest_is_told(journal: Journal) -> None:
    kept = {
        f"root_history/{version}.root.json": json.dumps({"signed": {"version": version}}).encode()
        for version in (2, 10, 3)
    }
    note_roles(journal, "clinical", kept, accepted=None)
    assert trusted_roles(journal)["clinical"]["roles"]["root"]["version"] == 10


def test_gates_last_result_and_self_test_are_told(running: Any) -> None:
    data = report(running)
    assert data.last_result is not None
    assert (data.last_result.code, data.last_result.text) == (0, "current")
    assert data.self_test is not None
    assert data.self_test.passed_at is not None
    assert {"clinical-use", "battery"} <= {gate.gate for gate in data.gates}


def test_before_anything_was_installed_nothing_is_invented(journal: Journal) -> None:
    data = report(journal)
    assert (data.items, data.components, data.roles, data.gates) == ((), {}, {}, ())
    assert (data.eligibility, data.last_result) == (None, None)
    assert data.attack_indicators == {}


def test_a_clock_that_was_never_set_tells_no_age(running: Any) -> None:
    eligibility = report(running, quality=ClockQuality.UNSET, now=FakeClock().now()).eligibility
    assert eligibility is not None
    assert (eligibility.age_seconds, eligibility.accepted_at is None) == (None, False)


def test_what_may_be_somebodys_doing_is_counted(journal: Journal) -> None:
    journal.note_problem(topic=TOPIC, what="trust.equivocation: event 4", text="x")
    journal.note_problem(topic="fetching", what="transport.unreachable", text="x")
    journal.set_counters(equivocations_told='["clinical/timestamp"]')
    found = report(journal, counted={"requests refused": 3, "receipts dropped": 0})
    assert found.attack_indicators == {
        "requests refused": 3,
        "receipt: trust.equivocation: event 4": 1,
        "trust.equivocation": 1,
    }
