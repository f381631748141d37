"""A responsible organisation narrows, and does nothing else: its silence takes nothing away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from primum_repo_tools.moments import now_utc, plain
from primum_verifier.core.vocabulary import Capability, Phase

COMPONENT = "pvc-classifier"


@pytest.fixture
def hospital(published: Any) -> Any:
    """A hospital beside the manufacturer, with release 1.0.0 rolled out."""
    published.run(
        "init", published.folder / "hospital", "--authority", "site", "--title", "Hospital A",
        "--site", "site-a", "--peer", published.clinical / "web",
    )  # fmt: skip
    published.run("authority", "create", published.folder / "hospital")
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0"
    )  # fmt: skip
    return published


@pytest.fixture
def bedside(hospital: Any, provision: Callable[..., Any]) -> Any:
    """A device that obeys the hospital."""
    return provision(
        "--site-root", hospital.folder / "hospital", "--site-url", "http://127.0.0.1:8003/"
    )


def accept(story: Any, *more: object) -> Any:
    return story.try_run(
        "site", "accept", story.folder / "hospital", COMPONENT, "1.0.0", "--yes",
        "--person", "Dr Mia Stein", *more,
    )  # fmt: skip


def may(device: Any) -> Capability:
    found: Capability = device.verdict("1.0.0").capability
    return found


def test_nothing_new_is_activated_before_the_hospital_lets_it_in(
    hospital: Any, bedside: Any
) -> None:
    assert may(bedside) < Capability.CLINICAL
    assert accept(hospital).code == 0
    assert may(bedside) == Capability.CLINICAL
    settings = (bedside.provisioning / "agent.toml").read_text()
    assert '[repositories.site]\nmetadata_url = "http://127.0.0.1:8003/metadata/"' in settings


def test_what_is_let_in_waits_for_no_clock_of_the_hospital(
    hospital: Any, bedside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices prove time by the manufacturer's signatures, which are older than this moment."""
    later = now_utc() + timedelta(hours=1)
    monkeypatch.setattr("primum_repo_tools.moments.now_utc", lambda: later)
    accept(hospital)
    assert may(bedside) == Capability.CLINICAL


def test_an_end_stops_what_is_new_and_nothing_that_runs(hospital: Any, bedside: Any) -> None:
    accept(hospital)
    listed = hospital.run("site", "list", hospital.folder / "hospital", "--json").json
    statement = listed["acceptance"]["accepted"][0]["statement"]["sha256"]
    hospital.run("site", "end", hospital.folder / "hospital", "--statement", statement[:12])
    assert may(bedside) < Capability.CLINICAL
    running = bedside.verdict("1.0.0", phase=Phase.CONTINUE)
    assert running.order is None
    again = hospital.try_run(
        "site", "end", hospital.folder / "hospital", "--statement", statement
    )  # fmt: skip
    assert again.code == 2
    assert "expected: a statement that is accepted; there is none" in again.err


def test_a_hospital_that_fell_silent_takes_nothing_away(hospital: Any, bedside: Any) -> None:
    accept(hospital)
    assert may(bedside) == Capability.CLINICAL
    shutil.rmtree(hospital.folder / "hospital/web")
    assert bedside.verdict("1.0.0", phase=Phase.CONTINUE).order is None


def test_a_condition_of_the_hospital_is_asked_before_activation(
    hospital: Any, bedside: Any
) -> None:
    accept(hospital, "--condition", "alarm-relay,activation,The alarm relay is connected, tested")
    verdict = bedside.verdict("1.0.0")
    assert verdict.capability < Capability.CLINICAL
    found = next(check for check in verdict.checks if check.name == "conditions")
    assert "The alarm relay is connected, tested" in found.found


def test_an_acceptance_begins_and_ends_when_it_says(hospital: Any, bedside: Any) -> None:
    tomorrow = plain(now_utc() + timedelta(days=1))
    accept(hospital, "--from", tomorrow)
    assert may(bedside) < Capability.CLINICAL
    assert accept(hospital, "--until", "2020-01-01T00:00:00Z").code == 2
    accept(hospital, "--until", tomorrow)
    assert may(bedside) == Capability.CLINICAL


def test_a_withdrawal_does_not_wait_for_the_hospital(hospital: Any, bedside: Any) -> None:
    accept(hospital)
    hospital.run(
        "withdraw", hospital.clinical, "--component", COMPONENT, "--version", "1.0.0", "--yes",
        "--reason", "x", "--hazard", "H", "--as", hospital.folder / "people/a.berg",
        "--as", hospital.folder / "people/q.lee",
    )  # fmt: skip
    assert bedside.verdict("1.0.0", phase=Phase.CONTINUE).order is not None
    refused = accept(hospital)
    assert refused.code == 1
    assert "not eligible" in refused.err


def test_what_clinical_does_not_list_cannot_be_let_in(hospital: Any) -> None:
    before = hospital.tree("hospital/web")
    answer = hospital.try_run(
        "site", "accept", hospital.folder / "hospital", COMPONENT, "9.9.9", "--yes",
        "--person", "Dr Mia Stein",
    )  # fmt: skip
    assert answer.code == 2
    assert "pvc-classifier 1.0.0" in answer.err
    assert accept(hospital, "--condition", "one").code == 2
    assert accept(hospital, "--condition", "a,sometimes,b").code == 2
    assert hospital.tree("hospital/web") == before


def test_what_is_let_in_is_shown_before_it_is_signed(hospital: Any) -> None:
    before = hospital.tree("hospital/web")
    shown = accept(hospital, "--dry-run").out
    for word in ("What clinical lists", "Hospital A", "on expiry", "HAZ-07", "Nothing was signed"):
        assert word in shown
    assert hospital.tree("hospital/web") == before


def test_a_site_signs_nothing_that_is_the_manufacturer_s(hospital: Any) -> None:
    bench = hospital.folder / "hospital"
    assert not (bench / "keys/safety-1.pem").exists()
    for command in (
        ["policy", "sign", bench, "--yes"],
        ["publish", bench],
        ["hold", bench, "--component", COMPONENT, "--version", "1.0.0", "--reason", "x",
         "--hazard", "H", "--as", hospital.folder / "people/q.lee", "--yes"],
    ):  # fmt: skip
        answer = hospital.try_run(*command)
        assert answer.code == 2, answer.err
    status = hospital.run("status", bench, "--json").json
    assert [role["role"] for role in status["roles"]] == [
        "root",
        "targets",
        "snapshot",
        "timestamp",
    ]
    hospital.run("status", bench)
    hospital.run("authority", "renew", bench, "--role", "targets")


def test_a_site_needs_its_sites_and_no_station(story: Any) -> None:
    folder = story.folder / "hospital"
    refused = story.try_run("init", folder, "--authority", "site", "--title", "H")
    assert refused.code == 2
    assert not folder.exists()
    story.run("init", folder, "--authority", "site", "--title", "H", "--site", "site-a")
    station = story.folder / "station-1/provisioning.public.json"
    answer = story.try_run("authority", "create", folder, "--provisioning-key", station)
    assert answer.code == 2
    assert "manufacturer" in answer.err


def test_a_root_of_the_wrong_authority_pins_no_site(
    hospital: Any, provision: Callable[..., Any]
) -> None:
    with pytest.raises(AssertionError, match="no responsible organisation"):
        provision("--site-root", hospital.clinical, "--site-url", "http://127.0.0.1:8003/")
    with pytest.raises(AssertionError, match="named by half"):
        provision("--site-root", hospital.folder / "hospital")
