"""The rollout plan: the first assignment that fits a device is its release, and none is forced."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.share import share_of
from primum_verifier.keeping import rollout
from primum_verifier.keeping.rollout import RolloutPlan, assigned_release

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NEW, OLD = "3" * 64, "4" * 64


def assignment(release: str = NEW, **changes: Any) -> dict[str, Any]:
    return {
        "component": "pvc-classifier",
        "version": "1.1.0",
        "release": {"sha256": release},
        "notBefore": "2026-06-01T12:00:00Z",
        "rings": [{"name": "all", "devices": "all", "percentage": 100}],
        **changes,
    }


def assigned(*assignments: dict[str, Any], device: str = "wearable-001") -> str | None:
    plan = {
        "type": "urn:primum:rollout-plan:v0.1",
        "schemaVersion": "0.1",
        "id": "urn:uuid:6a2d1f3e-7b7b-4f53-9f0e-0f3f8f1f2f3f",
        "number": 1,
        "issuedAt": "2026-06-01T12:00:00Z",
        "assignments": assignments,
    }
    found = assigned_release(
        parse_document(RolloutPlan, canonical_json(plan), where="plan"),
        component="pvc-classifier",
        device_id=device,
        now=NOW,
    )
    return None if found is None else found.release.sha256


@pytest.mark.parametrize(
    "passed_over",
    [
        {"component": "pump-firmware"},
        {"notBefore": "2026-06-01T12:00:01Z"},
        {"pause": {"until": "2026-06-01T12:00:01Z", "why": "alarm burden"}},
        {"rings": [{"name": "none", "devices": "all", "percentage": 0}]},
        {"rings": [{"name": "pilot", "devices": ["wearable-002"], "percentage": 100}]},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_does_not_fit_leaves_the_next_assignment_standing(
    passed_over: dict[str, Any],
) -> None:
    """Danger: one paused or foreign assignment at the top withholds a correction from all."""
    assert assigned(assignment(NEW, **passed_over), assignment(OLD)) == OLD
    assert assigned(assignment(NEW, **passed_over)) is None


def test_the_first_that_fits_is_taken() -> None:
    assert assigned(assignment(NEW), assignment(OLD)) == NEW
    assert assigned() is None


def test_a_pause_that_ends_now_holds_no_longer() -> None:
    assert assigned(assignment(pause={"until": "2026-06-01T12:00:00Z", "why": "over"})) == NEW


def test_a_later_ring_may_name_who_an_earlier_one_left_out() -> None:
    rings = [
        {"name": "none", "devices": "all", "percentage": 0},
        {"name": "pilot", "devices": ["wearable-001"], "percentage": 100},
    ]
    assert assigned(assignment(rings=rings)) == NEW


@pytest.mark.parametrize(("draw", "goes"), [(0.0, False), (49.9, True), (50.0, False)])
def test_a_share_is_reached_below_the_percentage_and_not_at_it(
    monkeypatch: pytest.MonkeyPatch, draw: float, *, goes: bool
) -> None:
    """Danger: at nought per cent the device that drew nought goes all the same."""
    monkeypatch.setattr(rollout, "share_of", lambda *_: draw)
    percentage = 0 if draw == 0 else 50
    rings = [{"name": "part", "devices": "all", "percentage": percentage}]
    assert (assigned(assignment(rings=rings)) == NEW) is goes


def test_each_release_is_drawn_for_anew() -> None:
    """Danger: the same devices are the first to try every release."""
    rings = [{"name": "half", "devices": "all", "percentage": 50}]
    devices = [f"wearable-{number:03}" for number in range(200)]
    first = {one for one in devices if assigned(assignment(NEW, rings=rings), device=one)}
    second = {one for one in devices if assigned(assignment(OLD, rings=rings), device=one)}
    assert 60 < len(first) < 140
    assert 60 < len(second) < 140
    assert 20 < len(first & second) < 80
    assert first == {one for one in devices if share_of(NEW, one) < 50}


def test_the_draw_is_the_same_in_every_version() -> None:
    assert share_of(NEW, "wearable-001") == pytest.approx(88.79949, abs=1e-5)
    assert share_of(OLD, "wearable-001") == pytest.approx(35.06479, abs=1e-5)


def test_the_last_draw_there_is_stays_below_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Danger: a draw that rounds up to a hundred leaves a device out of every release for good."""

    class Highest:
        def digest(self) -> bytes:
            return b"\xff" * 32

    monkeypatch.setattr(hashlib, "sha256", lambda _: Highest())
    assert 99.9 < share_of(NEW, "wearable-001") < 100


@given(device=st.text("abcdefgh0123456789-", min_size=1, max_size=20))
def test_a_draw_lies_in_a_hundred(device: str) -> None:
    assert 0 <= share_of(NEW, device) < 100
