"""The application's library: it opens what was activated, or nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from primum_agent.application import (
    ActiveRelease,
    Answer,
    Episode,
    SafeMode,
    StandingError,
    open_active,
)
from primum_verifier.core.reasons import Reason

MODEL = b"the model's bytes"
TERMS: dict[str, Any] = {
    "mode": "clinical",
    "protocol": None,
    "banner": "",
    "notAfter": "2026-12-01T00:00:00Z",
    "onExpiry": "fall-back",
    "layers": [],
}


def standing(state: Path, **changes: Any) -> dict[str, Any]:
    folder = state / "generations" / "3"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(MODEL)
    content = {
        "schemaVersion": "0.1",
        "updatedAt": "2026-06-01T12:00:00Z",
        "mode": "clinical",
        "generation": 3,
        "component": "pvc-classifier",
        "version": "1.0.0",
        "release": "a" * 64,
        "statement": "b" * 64,
        "statementNumber": 5,
        "folder": str(folder),
        "files": [
            {
                "id": "model",
                "kind": "model",
                "path": "model.onnx",
                "sha256": hashlib.sha256(MODEL).hexdigest(),
            }
        ],
        "operatingPoint": {"output": "p", "threshold": "0.42"},
        "notAfter": "2026-12-01T00:00:00Z",
        "onExpiry": "fall-back",
        "reasons": [],
        "notice": "",
        "terms": TERMS,
        "ordered": None,
        "ending": None,
        "suspended": None,
        **changes,
    }
    (state / "run").mkdir(exist_ok=True)
    (state / "run" / "standing.json").write_text(json.dumps(content))
    return content


def active(state: Path) -> ActiveRelease:
    found = open_active(state)
    assert isinstance(found, ActiveRelease)
    return found


def test_the_active_release_is_opened_with_its_threshold_and_stamp(tmp_path: Path) -> None:
    standing(tmp_path)
    release = active(tmp_path)
    assert release.model.read_bytes() == MODEL
    assert release.threshold == 0.42
    assert release.stamp() == {
        "component": "pvc-classifier",
        "version": "1.0.0",
        "release": "a" * 64,
        "statement": "b" * 64,
        "statementNumber": 5,
        "generation": 3,
        "mode": "clinical",
    }


def test_a_model_that_is_not_the_one_activated_is_never_opened(tmp_path: Path) -> None:
    content = standing(tmp_path)
    (Path(content["folder"]) / "model.onnx").write_bytes(MODEL + b"?")
    with pytest.raises(StandingError) as found:
        open_active(tmp_path)
    assert found.value.reason == "artifact.digest"


@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": "9"},
        {"mode": "shadow"},
        {"mode": "something new"},
        {"files": []},
        {"files": None},
        {"files": [{"id": "m", "kind": "model", "path": "../../x", "sha256": "0" * 64}]},
        {"operatingPoint": None},
        {"operatingPoint": {"output": "p", "threshold": "high"}},
        {"notAfter": "soon"},
        {"generation": None},
        {"folder": None},
        {"folder": "/nowhere"},
    ],
)
def test_a_wrong_standing_is_an_error_and_never_a_guess(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    standing(tmp_path, **changes)
    with pytest.raises(StandingError):
        open_active(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", None])
def test_an_unreadable_standing_is_an_error(tmp_path: Path, data: bytes | None) -> None:
    (tmp_path / "run").mkdir()
    if data is not None:
        (tmp_path / "run" / "standing.json").write_bytes(data)
    with pytest.raises(StandingError) as found:
        open_active(tmp_path)
    assert found.value.reason == "state.damaged"


def test_safe_mode_says_why(tmp_path: Path) -> None:
    told = "Measure only."
    standing(tmp_path, mode="safe", generation=None, reasons=["eligibility.withdrawn"], notice=told)
    found = open_active(tmp_path)
    assert isinstance(found, SafeMode)
    assert found.notice == "Measure only."
    assert not found.changed()
    standing(tmp_path)
    assert found.changed()


def test_another_generation_is_noticed_and_ends_the_permission(tmp_path: Path) -> None:
    standing(tmp_path)
    release = active(tmp_path)
    assert release.may_use(now=datetime(2026, 7, 1, tzinfo=UTC))
    standing(tmp_path, generation=4)
    assert release.changed()
    assert release.may_use().reason == "eligibility.superseded"
    standing(tmp_path, mode="safe", generation=None)
    assert release.may_use().reason == "fallback.none"


def test_with_no_agent_the_end_in_the_statement_is_applied_here(tmp_path: Path) -> None:
    standing(tmp_path)
    late = datetime(2027, 1, 1, tzinfo=UTC)
    assert active(tmp_path).may_use(now=late).reason == "eligibility.expired"
    standing(tmp_path, terms={**TERMS, "onExpiry": "continue-with-notice"})
    assert active(tmp_path).may_use(now=late)


def test_without_an_agent_an_episode_still_runs(tmp_path: Path) -> None:
    standing(tmp_path)
    release = active(tmp_path)
    with release.episode():
        pass
    assert not release.prove_health()


def test_the_library_costs_the_application_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import primum_agent.application;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'primum_agent', 'primum_verifier'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_terms_ask_is_asked_of_the_episode(tmp_path: Path) -> None:
    layers = [{"ageYearsMin": 18}, {"patientCategories": ["adult"]}]
    standing(tmp_path, terms={**TERMS, "layers": layers, "banner": "Under review."})
    release, now = active(tmp_path), datetime(2026, 7, 1, tzinfo=UTC)
    allowed = release.may_use(Episode(age_years=54, patient_category="adult"), now=now)
    assert (allowed.answer, allowed.banner) == (Answer.ALLOW_WITH_BANNER, "Under review.")
    child = release.may_use(Episode(age_years=9, patient_category="paediatric"), now=now)
    assert (bool(child), child.reason) == (False, Reason.ELIGIBILITY_POPULATION)
    # A caller that says nothing of the episode is not believed to serve the right patient.
    assert release.may_use(now=now).reason is Reason.ELIGIBILITY_POPULATION


@pytest.mark.parametrize(
    "terms", [None, {}, [], "all", {**TERMS, "layers": [{"newLimit": 1}]}, {**TERMS, "layers": 7}]
)
def test_terms_that_are_missing_or_unknown_permit_nothing(tmp_path: Path, terms: Any) -> None:
    standing(tmp_path, terms=terms)
    assert not active(tmp_path).may_use(now=datetime(2026, 7, 1, tzinfo=UTC))


def test_a_release_that_is_being_taken_away_begins_no_episode(tmp_path: Path) -> None:
    standing(tmp_path)
    release, now = active(tmp_path), datetime(2026, 7, 1, tzinfo=UTC)
    ending = {"reason": "eligibility.expired", "maxUseSeconds": None}
    standing(tmp_path, ending=ending)
    assert release.may_use(now=now).reason is Reason.ELIGIBILITY_EXPIRED
    # The episode that runs is finished with what was opened.
    assert not release.changed()
    standing(tmp_path, ending={**ending, "reason": "a word of a newer agent"})
    assert release.may_use(now=now).reason is Reason.ELIGIBILITY_WITHDRAWN
    standing(tmp_path, ending=["unheard of"])
    assert not release.may_use(now=now)


@pytest.mark.parametrize(
    "changes",
    [
        {"operatingPoint": {"output": "p", "threshold": "0.8"}},
        {"operatingPoint": None},
        {"ordered": "advisory-only"},
        {"statement": "e" * 64, "statementNumber": 8},
        {"mode": "investigational"},
        {"generation": 4},
        {"mode": "safe", "generation": None},
    ],
)
def test_whatever_changes_how_it_is_used_makes_the_application_open_it_again(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    standing(tmp_path)
    release = active(tmp_path)
    assert not release.changed()
    standing(tmp_path, **changes)
    assert release.changed()


def test_no_episode_begins_under_a_statement_that_the_stamp_would_not_name(tmp_path: Path) -> None:
    standing(tmp_path)
    release, now = active(tmp_path), datetime(2026, 7, 1, tzinfo=UTC)
    assert release.may_use(now=now)
    standing(tmp_path, statement="e" * 64, statementNumber=8)
    assert release.may_use(now=now).reason is Reason.ELIGIBILITY_SUPERSEDED
    again = active(tmp_path)
    assert again.may_use(now=now)
    assert again.stamp()["statementNumber"] == 8


def test_an_investigational_release_is_stamped_as_such(tmp_path: Path) -> None:
    standing(tmp_path, mode="investigational", terms={**TERMS, "mode": "investigational"})
    assert active(tmp_path).stamp()["mode"] == "investigational"


def test_safe_mode_says_what_is_suspended_and_that_it_changed(tmp_path: Path) -> None:
    standing(tmp_path, mode="safe", generation=None)
    found = open_active(tmp_path)
    assert isinstance(found, SafeMode)
    assert not found.changed()
    standing(tmp_path, mode="safe", generation=None, suspended="device-function")
    assert found.changed()
