"""A notice narrows as far as it says and no further; what it says is seen before it is signed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from primum_repo_tools.moments import now_utc, plain
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

COMPONENT = "pvc-classifier"


def words(story: Any, act: str, *people: str) -> list[Any]:
    signers = [item for name in people for item in ("--as", story.folder / "people" / name)]
    return [
        act, story.clinical, "--component", COMPONENT, "--version", "1.0.0",
        "--reason", "Misses bigeminy", "--hazard", "HAZ-03", "--yes", "--json", *signers,
    ]  # fmt: skip


def withdraw(story: Any, *more: object) -> Any:
    return story.try_run(*words(story, "withdraw", "a.berg", "q.lee"), *more)


def restrict(story: Any, *more: object) -> Any:
    return story.try_run(*words(story, "restrict", "a.berg", "q.lee"), *more)


def ordered(device: Any) -> Any:
    return device.verdict("1.0.0", phase=Phase.CONTINUE).order


@pytest.fixture
def in_use(story: Any, device: Any, terms_text: str) -> Any:
    story.publish_first()
    points = 'restricted_operating_points = [{ id = "fewer-alarms", threshold = "0.7" }]\n'
    terms = terms_text.replace("\n[intended_use]", f"{points}\n[intended_use]")
    story.make_eligible("1.0.0", terms_text=terms)
    story.run(
        "rollout", story.engineering, "--component", COMPONENT, "--version", "1.0.0"
    )  # fmt: skip
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    return story


@pytest.mark.parametrize(
    ("option", "here", "elsewhere"),
    [
        ("--jurisdiction", "DE", "US"),
        ("--site", "site-a", "site-b"),
        ("--serial-number", "SN-1", "SN-2"),
    ],
)
def test_a_scope_bears_on_the_devices_it_names(
    in_use: Any, device: Any, option: str, here: str, elsewhere: str
) -> None:
    assert withdraw(in_use, option, elsewhere).code == 0
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    assert withdraw(in_use, option, here).code == 0
    assert device.verdict("1.0.0").capability < Capability.SHADOW
    assert ordered(device).action == NoticeAction.FALL_BACK


def test_what_is_withdrawn_at_one_site_stays_listed_and_unburned(in_use: Any) -> None:
    """The index and the policy are for everybody: a mark there would take it away everywhere."""
    answer = withdraw(in_use, "--site", "site-b").json
    assert (answer["index"]["marked"], answer["leftToBurn"]) == ([], [])
    status = in_use.run("status", in_use.clinical, "--json").json
    assert status["statements"][0]["index"] == "eligible"
    assert status["policy"].get("burnedStatements", []) == []
    assert "site-b" in in_use.run("status", in_use.clinical).out
    assert in_use.run("authority", "renew", in_use.clinical, "--role", "eligibility").code == 0
    again = in_use.run("status", in_use.clinical, "--json").json
    assert again["statements"][0]["index"] == "eligible"


def test_a_restriction_leaves_what_it_names(in_use: Any, device: Any) -> None:
    assert restrict(in_use, "--only-site", "site-a").code == 0
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    assert restrict(in_use, "--only-care-setting", "ward").code == 0
    verdict = device.verdict("1.0.0")
    assert verdict.capability < Capability.SHADOW
    assert "care setting home" in next(c.found for c in verdict.checks if c.name == "restriction")


def test_a_restriction_chooses_an_operating_point_that_was_approved(
    in_use: Any, device: Any
) -> None:
    refused = restrict(in_use, "--operating-point", "more-alarms")
    assert refused.code == 2
    assert "fewer-alarms" in refused.json["error"]["expected"]
    assert restrict(in_use, "--operating-point", "fewer-alarms").code == 0
    assert ordered(device).operating_point == "fewer-alarms"


def test_an_application_that_does_not_ask_cannot_hold_an_age(in_use: Any, device: Any) -> None:
    exclude = "http://snomed.info/sct|441509002"
    answer = restrict(in_use, "--min-age", "18", "--only-sex", "female", "--exclude", exclude).json
    population = answer["notice"]["predicate"]["restriction"]["population"]
    assert (population["ageYearsMin"], population["enforce"]) == (18, "inference")
    assert population["exclude"][0]["code"] == "441509002"
    assert device.verdict("1.0.0").capability < Capability.SHADOW


def test_one_function_restricts_nothing(in_use: Any) -> None:
    before = in_use.tree("clinical/web")
    answer = in_use.try_run(*words(in_use, "restrict", "q.lee"), "--only-site", "site-b")
    assert answer.code == 1
    assert in_use.tree("clinical/web") == before


def test_a_withdrawal_says_how_and_until_when_it_is_obeyed(in_use: Any, device: Any) -> None:
    since = plain(now_utc() - timedelta(days=9))
    answer = withdraw(
        in_use, "--running-episode", "next-safe-point", "--max-use-seconds", "600",
        "--look-back-from", since, "--preserve-evidence", "--field-action", "BfArM,2026-118,fsca",
    ).json  # fmt: skip
    said = answer["notice"]["predicate"]
    assert said["lookBackFrom"] == since
    assert said["fieldAction"] == {"authority": "BfArM", "number": "2026-118", "type": "fsca"}
    order = ordered(device)
    assert (order.running_episode, order.max_use_seconds) == ("next-safe-point", 600)
    assert order.preserve_evidence


def test_an_exercise_takes_nothing_away_and_ends(in_use: Any, device: Any) -> None:
    """A drill on a device that takes no part, or one that never ended, would be a withdrawal."""
    answer = withdraw(in_use, "--drill").json
    said = answer["notice"]["predicate"]
    assert said["userNotice"].startswith("EXERCISE")
    assert said["expiresAt"]
    assert answer["index"]["marked"] == []
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    assert "EXERCISE: withdrawal" in in_use.run("status", in_use.clinical).out
    assert in_use.prepare("1.0.0").code == 0
    draft = in_use.clinical / f"statements/{COMPONENT}/1.0.0/statement.json"
    assert "answers" not in json.loads(draft.read_text())["predicate"]
    assert withdraw(in_use).json["index"]["marked"] == [f"{COMPONENT} 1.0.0"], "no drill this time"


@pytest.mark.parametrize(
    ("act", "more", "told"),
    [
        ("restrict", [], "says what stays allowed"),
        ("restrict", ["--only-site", "a", "--only-site-group", "b"], "Two ways"),
        ("restrict", ["--only-jurisdiction", "EU"], "group of countries"),
        ("restrict", ["--only-patient-category", "old"], "patientCategories"),
        ("restrict", ["--exclude", "441509002"], "SYSTEM|CODE"),
        ("withdraw", ["--site", "a", "--site-group", "b"], "Two ways"),
        ("withdraw", ["--model-number", "a", "--lot-number", "b"], "Two ways"),
        ("withdraw", ["--jurisdiction", "Germany"], "jurisdictions"),
        ("withdraw", ["--explicit-downgrade"], "--fallback-version"),
        ("withdraw", ["--look-back-from", "2100-01-01T00:00:00Z"], "has passed"),
        ("withdraw", ["--field-action", "BfArM"], "AUTHORITY,NUMBER,TYPE"),
        ("withdraw", ["--field-action", "BfArM,1,recall"], "type"),
    ],
)
def test_what_is_said_wrongly_is_named_and_nothing_signed(
    published: Any, act: str, more: list[str], told: str
) -> None:
    before = published.tree("clinical/web", "clinical/records")
    answer = published.try_run(*words(published, act, "a.berg", "q.lee"), *more)
    assert answer.code == 2
    assert told in json.dumps(answer.json["error"])
    assert published.tree("clinical/web", "clinical/records") == before


def test_the_whole_notice_is_shown_before_it_is_signed(published: Any) -> None:
    before = published.tree("clinical/web")
    command = words(published, "restrict", "a.berg", "q.lee")
    command.remove("--json")
    shown = published.run(
        *command, "--only-jurisdiction", "DE", "--site", "site-a", "--dry-run"
    ).out  # fmt: skip
    for word in ("restriction", '"DE"', '"site-a"', "HAZ-03", "finish-episode", "Nothing was"):
        assert word in shown
    assert published.tree("clinical/web") == before
